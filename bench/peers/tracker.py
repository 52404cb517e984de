"""This project: a tally by employee on `StreamService` with state, as one of its services would be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from pydantic import Field

from bench.peers.events import Tally as PlainTally
from bench.peers.events import read
from shared.service.main import run_service
from shared.service.settings import http_port
from shared.streaming.records import Output, Record
from shared.streaming.service import StreamService, StreamSettings, each
from shared.streaming.state import KeyedState


class Settings(StreamSettings):
    """Where from, and as whom."""

    http_port: int = http_port(0)
    topic: str = Field(validation_alias="BENCH_TOPIC", description="topic of achievements")
    group: str = Field(validation_alias="BENCH_GROUP", description="consumer group")


class Tally(PlainTally):
    """What is kept of an employee."""

    offset: int
    """Of the last record counted: what is read again after a crash is passed over."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Tally).decode


class Tallies:
    """Handles runs, a record at a time once all that they read is there."""

    def __init__(self, state: KeyedState, group: str) -> None:
        self._state = state
        self._each = each(self._count, group)

    async def __call__(self, run: Sequence[Record]) -> Sequence[Output]:
        self._state.expect((record.partition, (record.key or b"").decode()) for record in run)
        return await self._each(run)

    def _count(self, record: Record) -> Iterable[Output]:
        event = read(record.value or b"")
        stored = self._state.get(record.partition, event.employee_id)
        tally = decode(stored) if stored is not None else Tally(0, 0, [], -1)
        if record.offset <= tally.offset:
            return ()
        tally.count += 1
        tally.impact += event.achievement.impact
        tally.titles = [*tally.titles[-4:], event.achievement.title]
        tally.offset = record.offset
        self._state.put(record.partition, event.employee_id, encode(tally))
        return ()


def build(settings: Settings) -> StreamService:
    """Return the service, not started."""
    service = StreamService(settings.group, settings)
    state = service.state("tallies")
    service.consume([settings.topic], Tallies(state, settings.group), state=state, max_run=1000)
    return service


if __name__ == "__main__":
    run_service("tracker", "Keeps a tally of achievements by employee.", Settings, build)
