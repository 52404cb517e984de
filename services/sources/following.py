"""Reads companies' own topics: a record is safe in `sources.received`, or as a dead letter, before its offset moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.sources.deliveries import received
from services.sources.metrics import FOLLOWED, QUIET_SINCE, SILENT_AFTER
from shared.sources.declaration import Declaration, Topic
from shared.sources.delivery import Delivery
from shared.streaming.connection import security
from shared.streaming.records import Output, written_at

_TOGETHER: Final = 500
_WAIT_MILLISECONDS: Final = 500
_AGAIN_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Follower:
    """Reads the topics of all sources that name one, each in the group that its file names; runs beside a service.

    Args:
        sources: the sources, by name.
        bootstrap_servers: where Kafka is.
        write: returns when Kafka has acknowledged what it is given.
        consumer: makes a consumer; aiokafka's own unless a test has another.
    """

    def __init__(
        self,
        sources: Mapping[str, Declaration],
        bootstrap_servers: str,
        write: Callable[[Sequence[Output]], Awaitable[None]],
        consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        self._followed = [(source, source.kafka) for source in sources.values() if source.kafka is not None]
        self._bootstrap_servers = bootstrap_servers
        self._write = write
        self._consumer = consumer

    async def run(self) -> None:
        """Read until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for source, topic in self._followed:
                group.create_task(self._follow(source, topic))
            await asyncio.Event().wait()

    async def _follow(self, source: Declaration, topic: Topic) -> None:
        QUIET_SINCE.labels(source.name, topic.name).set(datetime.now(UTC).timestamp())
        if (hours := source.silent_after_hours) is not None:
            SILENT_AFTER.labels(source.name).set(hours * 3600)
        FOLLOWED.labels(source.name, topic.name)
        while True:
            consumer = self._consumer(
                topic.name,
                bootstrap_servers=self._bootstrap_servers,
                **security(),
                group_id=topic.group,
                enable_auto_commit=False,
                auto_offset_reset=topic.start,
                max_poll_records=_TOGETHER,
            )
            try:
                await consumer.start()
                while True:
                    await self._take(source, topic, consumer)
            except KafkaError as exc:
                # Also what a rebalance makes of a commit: whoever has the partitions now reads the records again, and
                # they have the same ids.
                log.warning(
                    "a topic can't be read, trying again",
                    source=source.name,
                    topic=topic.name,
                    error=str(exc) or type(exc).__name__,
                    again_in_seconds=_AGAIN_SECONDS,
                )
            finally:
                await consumer.stop()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _take(self, source: Declaration, topic: Topic, consumer: Any) -> None:
        batches = await consumer.getmany(timeout_ms=_WAIT_MILLISECONDS, max_records=_TOGETHER)
        if not batches:
            if not consumer.partitions_for_topic(topic.name):
                log.warning("waiting for a topic", topic=topic.name, do="is kafka.name of the source's file right?")
                await asyncio.sleep(_AGAIN_SECONDS)
            return
        records = [record for batch in batches.values() for record in batch]
        await self._write([received(source, delivery_of(source, record)) for record in records])
        await consumer.commit({place: batch[-1].offset + 1 for place, batch in batches.items()})
        FOLLOWED.labels(source.name, topic.name).inc(len(records))
        QUIET_SINCE.labels(source.name, topic.name).set(max(record.timestamp for record in records) / 1000)


def delivery_of(source: Declaration, record: Any) -> Delivery:
    """Return the delivery that a record of a company's topic is.

    Its headers are the record's, and ``kafka-key``, ``kafka-position`` and ``kafka-timestamp``; the body of a tombstone
    is null.
    """
    at = written_at(record.timestamp)
    headers = {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    headers["kafka-position"] = f"{record.topic}/{record.partition}/{record.offset}"
    headers["kafka-timestamp"] = at.isoformat()
    if record.key is not None:
        headers["kafka-key"] = record.key.decode("utf-8", "replace")
    return Delivery(source.name, b"null" if record.value is None else record.value, headers, at)
