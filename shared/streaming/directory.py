"""Knows which employee a ref names: reads the whole of `identities` into memory, and goes on reading."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.contracts.identities import read_identity
from shared.contracts.ids import EmployeeId, Ref
from shared.streaming.metrics import IDENTITIES_KNOWN
from shared.streaming.names import Names
from shared.streaming.topics import IDENTITIES, PARTITIONS

log = structlog.get_logger(__name__)


class Directory:
    """All refs that are known, in this process. A part of a `StreamService`: up to date before records flow."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._names = Names()
        self._consumer: AIOKafkaConsumer | None = None
        self._reading: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()

    def find(self, ref: Ref, at: datetime) -> EmployeeId | None:
        """Return the employee whom `ref`, said at `at`, names, or None."""
        return self._names.find(ref, at)

    async def start(self) -> None:
        """Read all that there is; return when the end, as it was at the start, has been reached."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await self._consumer.start()
        partitions = [TopicPartition(IDENTITIES, number) for number in range(PARTITIONS)]
        self._consumer.assign(partitions)
        while not self._consumer.partitions_for_topic(IDENTITIES):
            log.info("waiting for a topic", topic=IDENTITIES, do="if this goes on: python -m deploy.topics")
            await asyncio.sleep(0.2)
        await self._consumer.seek_to_beginning(*partitions)
        self._reading = asyncio.create_task(self._read(self._consumer))
        await self.catch_up()
        log.info("directory read", refs=len(self._names))

    async def stop(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._consumer is not None:
            await self._consumer.stop()

    async def catch_up(self) -> None:
        """Return when all that had been written to `identities` at the time of the call is known here.

        Raises:
            KafkaError: it can't be read, or its ends can't be had for 40 s.
        """
        consumer, reading = self._consumer, self._reading
        if consumer is None or reading is None:
            raise RuntimeError("the directory has not been started")
        ends = await consumer.end_offsets(list(consumer.assignment()))
        async with self._moved:
            while True:
                if reading.done():
                    await reading  # raises what ended it: who waited on would wait for ever
                behind = [tp for tp, end in ends.items() if await consumer.position(tp) < end]
                if not behind:
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
            async with self._moved:
                for records in batches.values():
                    for record in records:
                        self._learn(record.key, record.value)
                # also when nothing came: a position can move over records that were compacted away
                self._moved.notify_all()
            IDENTITIES_KNOWN.set(len(self._names))

    def _learn(self, key: bytes | None, value: bytes | None) -> None:
        if value is None:
            return  # nobody writes tombstones here: a claim that has ended says so
        try:
            self._names.learn(read_identity(key, value))
        except ValueError:
            log.exception("a record of identities can't be read", key=key)
