"""What the streams promise without a broker: state by partition, dead letters with their reason, topics that fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic import BaseModel

from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import batches, dead_letter, each, gathered, reason_of
from shared.streaming.state import KeyedState
from shared.streaming.topics import (
    ALL_TOPICS,
    IDENTITIES,
    LARGEST_BATCH,
    LARGEST_RECORD,
    PARTITIONS,
    SOURCES_ROWS,
    dead_topic,
)


def a_state() -> KeyedState:
    table = SimpleNamespace(name="test", changelog_topic_name="test-changelog", data=SimpleNamespace(data={}))
    return KeyedState(table)


def a_record(value: bytes | None = b"v", *, key: bytes | None = b"k", offset: int = 7) -> Record:
    return Record("feeds.people", 2, offset, key, value, (("trace", b"1"),), datetime(2026, 1, 1, tzinfo=UTC))


def test_a_change_is_seen_at_once_and_not_in_the_table_before_it_has_settled() -> None:
    state = a_state()
    state.put(1, "a", b"1")
    assert state.get(1, "a") == b"1"
    assert state._table.data.data == {}
    state.settle()
    assert state._table.data.data == {b"1/a": b"1"}
    assert (state.get(1, "a"), state.changes()) == (b"1", [])


def test_a_value_that_no_record_can_hold_is_refused_and_changes_nothing() -> None:
    state = a_state()
    state.put(1, "a", b"1")
    with pytest.raises(Poison, match=r"state test of 'a' would take 4,194,304 bytes"):
        state.put(1, "a", bytes(LARGEST_RECORD))
    assert state.get(1, "a") == b"1"


def test_a_key_in_two_partitions_is_two_values() -> None:
    state = a_state()
    state.put(1, "a", b"one")
    state.put(11, "a", b"eleven")
    state.settle()
    assert (state.get(1, "a"), state.get(11, "a"), state.get(2, "a")) == (b"one", b"eleven", None)
    assert list(state.items(1)) == [("a", b"one")]


def test_the_changelog_gets_each_change_in_its_partition_and_a_tombstone_for_what_was_deleted() -> None:
    state = a_state()
    state.put(3, "kept", b"1")
    state.put(3, "gone", b"1")
    state.put(3, "gone", None)
    assert state.changes() == [
        Output("test-changelog", b"3/kept", b"1", partition=3),
        Output("test-changelog", b"3/gone", None, partition=3),
    ]
    state.settle()
    assert state._table.data.data == {b"3/kept": b"1"}


def test_items_show_the_changes_of_the_present_run() -> None:
    state = a_state()
    state.put(0, "a", b"1")
    state.put(0, "b", b"1")
    state.settle()
    state.put(0, "a", None)
    state.put(0, "c", b"2")
    assert dict(state.items(0)) == {"b": b"1", "c": b"2"}


def test_a_dead_letter_is_the_record_byte_for_byte_with_the_reason_beside_it() -> None:
    letter = dead_letter(a_record(b"\x00\xff"), "no name", "people")
    assert (letter.topic, letter.key, letter.value) == ("feeds.people.dead", b"k", b"\x00\xff")
    assert letter.headers[0] == ("trace", b"1")
    assert dict(letter.headers[1:]) == {
        "dead-reason": b"no name",
        "dead-service": b"people",
        "dead-topic": b"feeds.people",
        "dead-partition": b"2",
        "dead-offset": b"7",
    }


def test_a_record_of_nothing_can_be_buried() -> None:
    assert dead_letter(a_record(None, key=None), "empty", "people").value == b""


async def test_a_record_that_cannot_be_handled_is_buried_and_the_rest_go_on() -> None:
    def handle(record: Record) -> list[Output]:
        if record.offset == 1:
            raise Poison("type: unknown")
        if record.offset == 2:
            raise ZeroDivisionError("our own fault")
        return [Output("out", record.key, record.value)]

    outputs = await each(handle, "people")([a_record(offset=offset) for offset in range(4)])
    assert [output.topic for output in outputs] == ["out", "feeds.people.dead", "feeds.people.dead", "out"]
    reasons = [dict(output.headers)["dead-reason"].decode() for output in outputs if output.headers]
    assert reasons[0] == "type: unknown"
    assert reasons[1].startswith("fault in the service: ZeroDivisionError: our own fault (test_streaming.py:")


def test_a_reason_names_each_field_and_never_its_value() -> None:
    class Thing(BaseModel):
        level: int
        name: str

    with pytest.raises(ValueError) as caught:  # noqa: PT011 (pydantic's own error is one)
        Thing.model_validate({"level": "secret"})
    reason = reason_of(caught.value)
    assert "level: " in reason
    assert "name: Field required" in reason
    assert "secret" not in reason


def test_what_is_joined_by_key_has_the_same_number_of_partitions() -> None:
    dead = {spec.name for spec in ALL_TOPICS if spec.name.endswith(".dead")}
    assert {spec.partitions for spec in ALL_TOPICS if spec.name not in dead} == {PARTITIONS}
    read = {spec.name for spec in ALL_TOPICS} - dead
    ours_alone = {IDENTITIES, SOURCES_ROWS}  # what is in them was never anybody's input
    assert all(dead_topic(name) in dead for name in read - ours_alone if not name.endswith(".parked"))


# -- a run's changes are one batch -----------------------------------------------------------------


def a_change(partition: int = 1, size: int = 1, topic: str = "changelog") -> Output:
    return Output(topic, b"key", bytes(size), partition=partition)


def test_what_a_run_changes_in_a_partition_is_one_batch_in_its_order() -> None:
    changes = [a_change(n % 2, size=n + 1, topic=f"changelog-{n % 3}") for n in range(60)]
    found = batches(changes)
    assert len(found) == 6
    for batch in found:
        assert list(batch.records) == [c for c in changes if (c.topic, c.partition) == (batch.topic, batch.partition)]


def test_only_what_is_larger_than_a_batch_becomes_several_and_each_fits() -> None:
    found = batches(a_change(size=LARGEST_RECORD - 100_000) for _ in range(7))
    assert [len(batch.records) for batch in found] == [4, 3]
    for batch in [*found, *batches(a_change(size=n % 40) for n in range(300_000))]:
        builder = BatchBuilder(LARGEST_BATCH, compression_type=0)
        assert all(builder.append(timestamp=None, key=r.key, value=r.value) for r in batch.records)
        assert len(builder._build()) <= LARGEST_BATCH


def test_parts_of_a_state_have_keys_of_their_own_and_change_together() -> None:
    state = a_state()
    people, units = state.part("person"), state.part("unit")
    people.put(1, "a", b"1")
    units.put(1, "a", b"2")
    assert (people.get(1, "a"), units.get(1, "a")) == (b"1", b"2")
    assert list(people.items(1)) == [("a", b"1")]
    (batch,) = batches(state.changes())
    assert [record.key for record in batch.records] == [b"1/person/a", b"1/unit/a"]


@pytest.mark.parametrize(
    ("sizes", "most", "together"),
    [
        ([1, 1, 1], 500, [[1, 1, 1]]),
        ([500, 500, 3], 500, [[500], [500], [3]]),
        ([300, 300, 200, 1], 500, [[300], [300, 200], [1]]),
        ([500, 1, 1], 500, [[500], [1, 1]]),
        ([7], 5, [[7]]),
    ],
)
async def test_runs_that_wait_are_handled_together_up_to_the_limit(
    sizes: list[int], most: int, together: list[list[int]]
) -> None:
    assert await handled_together(sizes, most) == together


async def test_a_run_is_not_held_back_for_others_to_come() -> None:
    assert await handled_together([1, 2, 3], 500, nothing_waits=True) == [[1], [2], [3]]


async def handled_together(sizes: list[int], most: int, *, nothing_waits: bool = False) -> list[list[int]]:
    left = len(sizes)

    async def events() -> AsyncIterator[Any]:
        nonlocal left
        for size in sizes:
            left -= 1
            yield SimpleNamespace(value=SimpleNamespace(records=[None] * size))

    found = gathered(events(), lambda: nothing_waits or left == 0, most)
    return [[len(event.value.records) for event in run] async for run in found]
