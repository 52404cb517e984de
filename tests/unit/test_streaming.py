"""What the streams promise without a broker: state by partition, dead letters with their reason, topics that fit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from shared.engine import Run
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import StreamService, dead_letter, each, gathered, reason_of
from shared.streaming.topics import (
    ALL_TOPICS,
    IDENTITIES,
    LARGEST_RECORD,
    PARTITIONS,
    PERSON_KEYS,
    READS_AUDIT,
    SCIM_RESOURCES,
    SOURCES_CURSORS,
    SOURCES_ROWS,
    dead_topic,
)
from tests.states import a_state, changed


def a_record(value: bytes | None = b"v", *, key: bytes | None = b"k", offset: int = 7) -> Record:
    return Record("feeds.people", 2, offset, key, value, (("trace", b"1"),), datetime(2026, 1, 1, tzinfo=UTC))


def test_a_change_is_seen_at_once_and_not_in_the_table_before_it_has_settled() -> None:
    state = a_state()
    state.put(1, "a", b"1")
    assert state.get(1, "a") == b"1"
    assert state._store.held == {}
    state.settle()
    assert state._store.held == {b"1/a": b"1"}
    assert (state.get(1, "a"), changed(state)) == (b"1", [])


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


def test_a_run_settles_what_it_changed_in_its_order_and_what_it_deleted_is_gone() -> None:
    state = a_state()
    state.put(3, "kept", b"1")
    state.put(3, "gone", b"1")
    state.put(3, "gone", None)
    assert changed(state) == [b"3/kept", b"3/gone"]
    assert state._store.held == {b"3/kept": b"1"}


def test_how_far_a_topic_was_taken_in_is_kept_with_what_was_made_of_it_and_is_no_key() -> None:
    state = a_state()
    assert state.taken("feeds.people", 1) == -1
    state.put(1, "a", b"1")
    state.take("feeds.people", 1, 41)
    assert state.taken("feeds.people", 1) == 41
    assert len(changed(state)) == 2
    assert [state.taken(*place) for place in (("feeds.people", 1), ("feeds.people", 2), ("feeds", 1))] == [41, -1, -1]
    assert list(state.items(1)) == [("a", b"1")]


@pytest.mark.parametrize(
    ("taken", "end", "left"),
    [(-1, 20, [7, 8, 9]), (6, 20, [7, 8, 9]), (8, 20, [9]), (9, 20, []), (30, 20, [7, 8, 9]), (8, None, [9])],
)
def test_a_handler_gets_no_record_that_its_state_has_taken_in_unless_the_topic_was_made_anew(
    taken: int, end: int | None, left: list[int]
) -> None:
    state = a_state()
    state.take("t", 1, taken)
    fetched: Any = [SimpleNamespace(offset=n, key=b"k", value=b"v", headers=(), timestamp=0) for n in (7, 8, 9)]
    service: Any = SimpleNamespace(app=SimpleNamespace(consumer=SimpleNamespace(highwater=lambda tp: end)))
    assert [record.offset for record in StreamService._untaken(service, Run("t", 1, fetched), state)] == left
    assert len(StreamService._untaken(service, Run("t", 1, fetched), None)) == 3


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
    keyed = {spec.name: spec.partitions for spec in ALL_TOPICS if spec.name not in dead | {PERSON_KEYS}}
    assert set(keyed.values()) == {PARTITIONS}
    read = keyed.keys()
    # What is in these was never anybody's input.
    ours_alone = {IDENTITIES, READS_AUDIT, SCIM_RESOURCES, SOURCES_CURSORS, SOURCES_ROWS}
    assert all(dead_topic(name) in dead for name in read - ours_alone if not name.endswith((".parked", ".attributed")))


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ("12", 0, "12"),
        ("", 0, "4"),
        ("many", 2, "TOPIC_PARTITIONS: Input should be a valid integer"),
        ("0", 2, "equal to 1"),
    ],
)
def test_how_many_partitions_topics_have_is_a_setting_and_a_wrong_one_ends_the_process(
    setting: str, code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from shared.streaming.topics import ALL_TOPICS; print(ALL_TOPICS[0].partitions)"],
        env={**os.environ, "TOPIC_PARTITIONS": setting},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert said in ended.stdout + ended.stderr


def test_parts_of_a_state_have_keys_of_their_own_and_change_together() -> None:
    state = a_state()
    people, units = state.part("person"), state.part("unit")
    people.put(1, "a", b"1")
    units.put(1, "a", b"2")
    assert (people.get(1, "a"), units.get(1, "a")) == (b"1", b"2")
    assert list(people.items(1)) == [("a", b"1")]
    assert changed(state) == [b"1/person/a", b"1/unit/a"]


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


async def test_a_checkpoint_waits_for_the_disk_without_holding_the_event_loop() -> None:
    others_had_a_turn = threading.Event()
    saved: list[bool] = []

    async def acknowledged(writing: Coroutine[Any, Any, dict[int, int]]) -> dict[int, int]:
        return await writing

    async def write_changelog() -> dict[int, int]:
        return {0: 7}

    state = SimpleNamespace(
        write_changelog=write_changelog, saved=lambda *_: saved.append(others_had_a_turn.wait(timeout=20))
    )
    service: Any = SimpleNamespace(_states=[state], _acknowledged=acknowledged, _done=[])
    asyncio.get_running_loop().call_soon(others_had_a_turn.set)
    await StreamService._checkpoint(service)
    assert saved == [True]
