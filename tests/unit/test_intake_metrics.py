"""What an intake counts of each source: few labels, whatever a record's headers say."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from shared.contracts.base import utc
from shared.streaming.records import SOURCE_HEADER, Record
from shared.streaming.topics import feed_topic
from tests.intake_events import a_cycle, as_sent
from tests.world import NORMALISERS, World

CYCLES = feed_topic("cycles")


def counted(source: str, outcome: str) -> float:
    labels = {"feed": "cycles", "source": source, "outcome": outcome}
    return REGISTRY.get_sample_value("intake_events_total", labels) or 0.0


async def test_events_are_counted_by_the_file_of_their_source_and_strange_names_together() -> None:
    intake = World(feeds=list(NORMALISERS)).intakes["cycles"]

    def a_record(offset: int, source: bytes | None, value: bytes) -> Record:
        headers: Any = () if source is None else ((SOURCE_HEADER, source),)
        return Record(CYCLES, 0, offset, b"c", value, headers, utc(2026, 3, 3))

    good = as_sent("cycle.opened", a_cycle(), event_id="1")
    before = {of: counted(*of) for of in (("lattice", "accepted"), ("lattice", "repeated"), ("other", "dead"))}
    await intake.take([a_record(0, b"lattice", good), a_record(1, b"lattice", good), a_record(2, None, b"no event")])
    assert {of: counted(*of) - known for of, known in before.items()} == dict.fromkeys(before, 1.0)
    seen = {"feed": "cycles", "source": "lattice"}
    newest = REGISTRY.get_sample_value("intake_source_last_event_timestamp_seconds", seen)
    assert newest == utc(2026, 3, 3).timestamp()
    assert REGISTRY.get_sample_value("intake_source_delay_seconds", seen)
    others = counted("other", "dead")
    await intake.take([a_record(n, f"s{n}".encode(), b"no event") for n in range(150)])
    await intake.take([a_record(200, b"No Name!", b"no event")])
    assert counted("s0", "dead") == 1
    assert counted("other", "dead") - others == 150 - 99 + 1
