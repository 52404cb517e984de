"""The engine on a real Kafka: agents with runs and agents with records in one app, gaps, and where it begins again."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from deploy.broker import Broker, ExternalBroker
from shared.engine import Run, RunApp

Kafka = Broker | ExternalBroker


class Reading:
    """An app with one agent that reads a topic in runs and one that reads another record by record."""

    def __init__(self, kafka: Kafka, folder: Path, *, topics: tuple[str, str], group: str) -> None:
        self.servers = kafka.bootstrap_servers
        self.group = group
        self.runs: list[Run] = []
        self.singles: list[bytes] = []
        self.app = RunApp(
            group,
            broker=f"kafka://{self.servers}",
            autodiscover=False,
            datadir=str(folder),
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=0.2,
            stream_wait_empty=False,
        )

        async def in_runs(stream: Any) -> None:
            async for run in stream:
                self.runs.append(run)

        async def one_by_one(stream: Any) -> None:
            async for value in stream:
                self.singles.append(value)

        self.app.agent(self.app.run_topic(topics[0], max_records=100), name="in-runs")(in_runs)
        self.app.agent(self.app.topic(topics[1], value_serializer="raw", value_type=bytes), name="single")(one_by_one)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        await self.app.start()
        try:
            yield
        finally:
            await self.app.stop()

    def committed(self, topic: str, partition: int = 0) -> int | None:
        with closing(KafkaAdminClient(bootstrap_servers=self.servers)) as admin:
            found = admin.list_group_offsets([self.group]).get(self.group, {})
        at = found.get(TopicPartition(topic, partition))
        return None if at is None else at.offset


async def until(holds: Callable[[], bool], *, within: float = 40.0) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 (what it waits for happens in Kafka)
            await asyncio.sleep(0.1)


def made_topics(kafka: Kafka) -> tuple[str, str]:
    name = uuid.uuid4().hex[:8]
    topics = (f"engine-{name}.runs", f"engine-{name}.single")
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
    return topics


async def test_an_agent_with_runs_and_an_ordinary_one_share_an_app_and_both_commit_all(
    kafka: Kafka, tmp_path: Path
) -> None:
    topics = made_topics(kafka)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")) as producer:
        for topic in topics:
            for number in range(1000):
                producer.send(topic, value=b"%d" % number)
        producer.flush(20)
    reading = Reading(kafka, tmp_path, topics=topics, group=f"g-{topics[0]}")
    async with reading.going_on():
        await until(lambda: (reading.committed(topics[0]), reading.committed(topics[1])) == (1000, 1000))
    assert [record.value for run in reading.runs for record in run.records] == [b"%d" % n for n in range(1000)]
    assert reading.singles == [b"%d" % n for n in range(1000)]
    assert max(len(run.records) for run in reading.runs) == 100


async def test_the_gaps_that_transactions_leave_hold_up_no_commit(kafka: Kafka, tmp_path: Path) -> None:
    topics = made_topics(kafka)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=topics[0])) as producer:
        producer.init_transactions()
        for number in range(20):  # each leaves a marker, which has an offset and is not delivered
            producer.begin_transaction()
            for topic in topics:
                producer.send(topic, value=b"%d" % number)
            producer.commit_transaction()
    reading = Reading(kafka, tmp_path, topics=topics, group=f"g-{topics[0]}")
    async with reading.going_on():
        await until(lambda: (reading.committed(topics[0]), reading.committed(topics[1])) == (39, 39))
    assert [record.offset for run in reading.runs for record in run.records] == list(range(0, 40, 2))


async def test_a_second_start_reads_what_the_first_has_not_committed(kafka: Kafka, tmp_path: Path) -> None:
    topics = made_topics(kafka)
    group = f"g-{topics[0]}"
    read: list[int] = []
    for number in range(2):
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")) as producer:
            producer.send(topics[0], value=b"a")
            producer.send(topics[0], value=b"b").get(20)
        reading = Reading(kafka, tmp_path / str(number), topics=topics, group=group)
        async with reading.going_on():
            await until(lambda: reading.committed(topics[0]) == 2 * number + 2)  # noqa: B023
        read += [record.offset for run in reading.runs for record in run.records]
    assert read == [0, 1, 2, 3]
