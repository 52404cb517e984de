"""Reads the whole of a topic into memory, in no consumer group, and goes on reading."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring
from shared.streaming.records import as_read
from shared.streaming.topics import PARTITIONS, expect_partitions

Learn = Callable[[bytes, bytes | None], None]
"""Takes a record's key and value; None is a tombstone."""

log = structlog.get_logger(__name__)


class Follower:
    """Keeps what is made of a keyed topic up with it.

    Args:
        bootstrap_servers: where Kafka is.
        topic: the topic.
        learn: is given each record that has a key, in the order of its partition; must not raise.
        keys: open what is sealed; None for a topic that never is.
    """

    def __init__(self, bootstrap_servers: str, topic: str, learn: Learn, keys: Keyring | None = None) -> None:
        self._keys = keys
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._learn = learn
        self._consumer: AIOKafkaConsumer | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reached: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()

    async def start(self) -> None:
        """Read all that there is; return when the end, as it was at the start, has been reached.

        Raises:
            KafkaError: it can't be read.
            OtherPartitions: it has more or fewer partitions.
        """
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            **security(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await self._consumer.start()
        # Kafka holds a fetch without news for 500 ms, and answers what comes after it on the same connection after it.
        # An intake asks for the ends with each run: behind fetches a prompt came 1.5 s after its webhook.
        self._asker = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers, **security(), enable_auto_commit=False
        )
        await self._asker.start()
        self._consumer.assign(self._partitions)
        while not (there := self._consumer.partitions_for_topic(self._topic)):
            log.info("waiting for a topic", topic=self._topic, do="if this goes on: python -m deploy.topics")
            await asyncio.sleep(0.2)
        expect_partitions(self._topic, len(there))
        await self._consumer.seek_to_beginning(*self._partitions)
        self._reading = asyncio.create_task(self._read(self._consumer))
        await self.catch_up()

    async def run(self) -> None:
        """Return only by raising what ended the reading."""
        if self._reading is None:
            raise RuntimeError("the follower has not been started")
        await self._reading

    async def stop(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        for consumer in (self._consumer, self._asker):
            if consumer is not None:
                await consumer.stop()

    async def catch_up(self) -> None:
        """Return when all that had been written to the topic at the time of the call is known here.

        Raises:
            KafkaError: it can't be read, or its ends can't be had for 40 s.
        """
        asker, reading = self._asker, self._reading
        if asker is None or reading is None:
            raise RuntimeError("the follower has not been started")
        ends = await asker.end_offsets(self._partitions)
        async with self._moved:
            while True:
                if reading.done():
                    await reading  # raises what ended it: who waited on would wait for ever
                if all(self._reached.get(at, 0) >= end for at, end in ends.items()):
                    return
                await self._moved.wait()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await self._read_on(consumer)
        finally:
            async with self._moved:
                self._moved.notify_all()

    async def _read_on(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            said = [as_read(record) for records in batches.values() for record in records]
            if said and self._keys is not None and self._keys.is_on:
                said = list(await asyncio.to_thread(self._keys.open_all, said))
            for record in said:
                if record.key is not None:
                    self._learn(record.key, record.value)
            # Also when nothing came: a position can move over records that were compacted away.
            reached = {at: await consumer.position(at) for at in self._partitions}
            async with self._moved:
                self._reached = reached
                self._moved.notify_all()
