"""Takes events of `feeds.cycles` and tells every partition of the log what they say, and what time it is.

The time goes to the people service as well, which tells logs of people that others are tied to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from services.cycles.metrics import NOW, TICKS
from services.cycles.normalise import ClockSource, normalise, tick
from shared.contracts.base import Payload
from shared.contracts.career import ClockTicked
from shared.contracts.cloudevents import FeedEvent
from shared.streaming.intake import Normalise, Resolve, to_every_partition
from shared.streaming.records import Output, Record
from shared.streaming.service import RunHandler
from shared.streaming.topics import CAREER_EVENTS, PEOPLE_CHANGES

SOURCE = "cycles"
"""How the service names itself as the source of the time."""


def taker(clock: ClockSource) -> Normalise:
    """Return what takes an event, where the log's time comes from `clock`."""

    def take(event: FeedEvent, payload: Payload, _: Resolve) -> list[Output]:
        said = normalise(event, payload, clock)
        if isinstance(said, ClockTicked):
            _count(clock, said)
            return _told_the_time(said)
        return to_every_partition(said)

    return take


class WallClock:
    """Tells the log the time of this machine.

    Args:
        seconds: between two times told.
        appointed: whether this process is the one of its group that tells the time now.
        wall: the time, aware.
        monotonic: seconds that only grow, for the distance between two times told.
    """

    def __init__(
        self,
        seconds: float,
        appointed: Callable[[], bool],
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._seconds, self._appointed, self._wall, self._monotonic = seconds, appointed, wall, monotonic
        self._told: float | None = None

    async def when_due(self) -> list[Output]:
        """Return the time for every partition if it is time to tell it, and this process is the one to do so."""
        if not self._appointed():
            self._told = None  # whoever is appointed again tells the time at once
            return []
        if self._told is not None and self._monotonic() - self._told < self._seconds:
            return []
        return self._tell()

    def after_news(self, handle: RunHandler) -> RunHandler:
        """Return `handle` with the time behind its outputs, if a run told the log anything.

        So a cycle that is open already opens with its announcement, and not up to a tick later. Whoever has the news
        tells the time with it, appointed or not: behind the news, in the same order in every partition.
        """

        async def handle_run(run: Sequence[Record]) -> list[Output]:
            outputs = list(await handle(run))
            if any(output.topic == CAREER_EVENTS for output in outputs):
                outputs.extend(self._tell())
            return outputs

        return handle_run

    def _tell(self) -> list[Output]:
        self._told, now = self._monotonic(), self._wall()
        told = tick(now, at=now, source=f"{SOURCE}#{now.isoformat()}")
        _count("wall", told)
        return _told_the_time(told)


def _told_the_time(tick: ClockTicked) -> list[Output]:
    told = to_every_partition(tick)
    return [*told, *(replace(output, topic=PEOPLE_CHANGES) for output in told)]


def _count(clock: ClockSource, told: ClockTicked) -> None:
    TICKS.labels(clock).inc()
    NOW.set(told.now.timestamp())
