"""Records of a company's own topic are safe before their offsets move, whatever is in them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from pydantic import ValidationError

from services.sources import following
from services.sources.following import Follower, delivery_of
from shared.contracts.base import utc
from shared.sources.declaration import Declaration
from shared.sources.mappers import read
from shared.streaming.records import Output

PLACE = TopicPartition("hr.workers", 1)


def a_source(**changes: Any) -> Declaration:
    declared = {
        "name": "workers",
        "title": "Workers",
        "source": "urn:own:workers",
        "kafka": {"name": "hr.workers", "group": "tracker"},
        "subject": 'headers."kafka-key"',
        "id": 'headers."kafka-position"',
        "time": 'headers."kafka-timestamp"',
        "events": [
            {"feed": "people", "type": "employee.changed", "when": "body", "data": {"employee_id": "body.no"}},
            {
                "feed": "people",
                "type": "employee.left",
                "when": "!(body)",
                "data": {"employee_id": 'headers."kafka-key"'},
            },
        ],
    }
    return Declaration.model_validate(
        {name: value for name, value in (declared | changes).items() if value is not None}
    )


def a_record(offset: int, value: bytes | None, key: bytes | None = b"7") -> Any:
    headers = (("Trace", b"abc"), ("empty", None))
    return SimpleNamespace(
        topic="hr.workers", partition=1, offset=offset, key=key, value=value, headers=headers, timestamp=1772442000000
    )


class Consumer:
    """A consumer of a topic in memory, and what was done in which order."""

    def __init__(self, done: list[Any], runs: list[list[Any]]) -> None:
        self.done = done
        self.runs = runs
        self.fails = False
        self.drained = asyncio.Event()

    def __call__(self, *topics: str, **options: Any) -> Consumer:
        self.done.append(("opened", topics, options["group_id"], options["enable_auto_commit"]))
        return self

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.done.append("closed")

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {1}

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        if not self.runs:
            self.drained.set()
            await asyncio.Event().wait()
        return {PLACE: self.runs.pop(0)}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.fails:
            self.fails = False
            raise CommitFailedError
        self.done.append(offsets)


async def followed(consumer: Consumer) -> None:
    async def write(outputs: Sequence[Output]) -> None:
        consumer.done.append([(output.topic, output.key) for output in outputs])

    follower = Follower({"workers": a_source()}, "kafka:9092", write, consumer)
    task = asyncio.create_task(follower.run())
    await consumer.drained.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_offset_moves_once_its_record_is_safe() -> None:
    consumer = Consumer(
        [], [[a_record(3, b'{"no": "7"}'), a_record(4, b"no json", b"8")], [a_record(5, b"x" * 1_000_000)]]
    )
    await followed(consumer)
    assert consumer.done == [
        ("opened", ("hr.workers",), "tracker", False),
        [("sources.received", b"hris:7"), ("sources.received", b"workers")],
        {PLACE: 5},
        [("sources.received.dead", b"workers")],
        {PLACE: 6},
        "closed",
    ]


async def test_a_rebalance_in_the_midst_of_a_run_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_AGAIN_SECONDS", 0)
    consumer = Consumer([], [[a_record(3, b"{}")], [a_record(3, b"{}")]])
    consumer.fails = True
    await followed(consumer)
    assert [step for step in consumer.done if isinstance(step, dict)] == [{PLACE: 4}]
    assert sum(step == [("sources.received", b"hris:7")] for step in consumer.done) == 2


def test_a_record_is_read_with_its_key_and_its_place() -> None:
    source = a_source()
    (event,) = read(source, delivery_of(source, a_record(9, b'{"no": "7"}'))).events
    assert (event.subject, event.id, event.time) == ("hris:7", "hr.workers/1/9/employee.changed", utc(2026, 3, 2, 9))
    (gone,) = read(source, delivery_of(source, a_record(10, None))).events
    assert gone.type == "employee.left"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": None}, 'headers."kafka-position" names the record'),
        ({"kafka": {"name": "feeds.people", "group": "g"}}, "is a topic of this system's own"),
        ({"kafka": {"name": "hr workers", "group": "g"}}, "kafka.name"),
    ],
)
def test_a_topic_that_cannot_be_followed_is_told(changes: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        a_source(**changes)
    assert told in str(refused.value)
