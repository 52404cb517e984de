"""A service as small as one can be on the streaming base: counts records by key and tells each new count.

Run as `python -m tests.counting_service`; the tests of the base kill it, stop it and take Kafka away from it. It does
what the base asks of every handler: a record that is handled again changes nothing and says the same, for each key
knows the last offset that it has counted.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from shared.service.main import run_service
from shared.service.settings import http_port
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import RunHandler, StreamService, StreamSettings, each
from shared.streaming.state import KeyedState
from tests.impatient import missed_after

POISON: Final = b"poison"
FATAL: Final = b"fatal"


class CountingSettings(StreamSettings):
    """Settings of the counting service."""

    http_port: int = http_port(0)
    group: str = Field(validation_alias="COUNTING_GROUP", description="consumer group")
    topics: str = Field(validation_alias="COUNTING_TOPICS", description="topics to count, a consumer each: a,b")
    out: str = Field(validation_alias="COUNTING_OUT", description="topic that the counts go to")
    record_seconds: float = Field(
        0.0, validation_alias="COUNTING_RECORD_SECONDS", ge=0, description="what the work on one record takes"
    )
    session_seconds: float = Field(
        10.0, validation_alias="COUNTING_SESSION_SECONDS", gt=0, description="until a dead worker is missed"
    )
    largest_file: int | None = Field(
        None, validation_alias="COUNTING_LARGEST_FILE", description="bytes; beyond that the disk is full for a file"
    )


class Counter:
    """Counts one topic by key, into a state that it shares with the others."""

    def __init__(self, topic: str, out: str, counts: KeyedState) -> None:
        self._topic = topic
        self._out = out
        self._counts = counts

    def __call__(self, record: Record) -> Iterable[Output]:
        if record.value == POISON:
            raise Poison("this is poison")
        key = state_key(self._topic, record.key)
        count, last = read_count(self._counts.get(record.partition, key))
        if record.offset <= last:
            return []
        counted = b"%d@%d" % (count + 1, record.offset)
        self._counts.put(record.partition, key, counted)
        source = f"{record.topic}/{record.partition}/{record.offset}".encode()
        return [Output(self._out, record.key, counted, headers=(("source", source),))]


def state_key(topic: str, key: bytes | None) -> str:
    """Return the key of a count in the state."""
    return f"{topic}/{(key or b'').decode()}"


def read_count(stored: bytes | None) -> tuple[int, int]:
    """Return a count and the offset of the last record that is in it."""
    if stored is None:
        return 0, -1
    count, _, offset = stored.partition(b"@")
    return int(count), int(offset)


def build(settings: CountingSettings) -> StreamService:
    """Return the service of its settings."""
    if settings.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings.largest_file, settings.largest_file))
    service = StreamService(settings.group, settings)
    missed_after(service, settings.session_seconds)
    counts = service.state("counts")
    for topic in settings.topics.split(","):
        counter = each(Counter(topic, settings.out, counts), settings.group)
        service.consume([topic], _at_work(counter, settings.record_seconds), state=counts)
    return service


def _at_work(handle: RunHandler, record_seconds: float) -> RunHandler:
    async def handle_run(run: Sequence[Record]) -> Sequence[Output]:
        if any(record.value == FATAL for record in run):
            raise RuntimeError("this is fatal")
        outputs = await handle(run)
        # After the changes to the state: the other consumers have time to meet them, if the base lets them.
        await asyncio.sleep(record_seconds * len(run))
        return outputs

    return handle_run


if __name__ == "__main__":
    run_service("counting", "Counts records by key.", CountingSettings, build)
