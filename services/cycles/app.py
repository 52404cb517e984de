"""Wires the cycles service: `feeds.cycles` and the clock in, a copy for every partition of `career-events` out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from services.cycles.handlers import WallClock, taker
from services.cycles.settings import CyclesSettings
from shared.contracts.feeds import CYCLES
from shared.streaming.intake import intake
from shared.streaming.service import RunHandler, StreamService
from shared.streaming.state import KeyedState
from shared.streaming.topics import feed_topic

FEED: Final = "cycles"
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the time is due: a process that becomes the one to tell it starts this soon."""


class Cycles(StreamService):
    """The service. Of several processes, the one that reads partition 0 of the feed tells the time."""

    def __init__(self, settings: CyclesSettings) -> None:
        super().__init__("cycles", settings)
        self._wall_clock: WallClock | None = None
        if settings.clock == "wall":
            self._wall_clock = WallClock(
                settings.tick_seconds,
                lambda: self.holds(feed_topic(FEED), 0),
                lambda: datetime.now(UTC),
                monotonic,
            )
            self.every(min(LOOK_SECONDS, settings.tick_seconds), self._wall_clock.when_due)
        intake(self, FEED, CYCLES, taker(settings.clock))

    def consume(
        self, topics: Sequence[str], handle: RunHandler, *, state: KeyedState | None = None, max_run: int = 500
    ) -> None:
        """Give the records of `topics` to `handle`, and let the time follow the news in them."""
        if self._wall_clock is not None:
            handle = self._wall_clock.after_news(handle)
        super().consume(topics, handle, state=state, max_run=max_run)


def build(settings: CyclesSettings) -> Cycles:
    """Return the service."""
    return Cycles(settings)
