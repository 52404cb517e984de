"""Follows the log into the store: reads all partitions of what the portal needs, in a thread of its own.

There is no consumer group: each process reads everything, for a sponsor may ask any of them, and the store says where
to read on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from services.portal.metrics import LAG, RECORDS, UNREADABLE
from services.portal.projection import TOPICS, Row, project
from services.portal.store import Partition, Store
from shared.database import trouble
from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Record, as_read
from shared.streaming.topics import PARTITIONS, OtherPartitions, expect_partitions

_LONGEST_RUN: Final = 2000
_POLL_MS: Final = 250
_AGAIN_AFTER_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class NoTopics(Exception):
    """Topics are missing; the message names them."""


class Follower:
    """Keeps the store up with the log; tries on where Kafka or the disk fails.

    Args:
        bootstrap_servers: Kafka.
        store: what is kept up.
        keys: open what is sealed.
    """

    def __init__(self, bootstrap_servers: str, store: Store, keys: Keyring) -> None:
        self._keys = keys
        self._servers = bootstrap_servers.split(",")
        self._store = store
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow-log", daemon=True)
        self._trouble: str | None = "reading the log"
        self._fault: BaseException | None = None

    def objection(self) -> str | None:
        """Return why pages would not be up to date, in words for an operator; None when they are."""
        return self._trouble

    async def start(self) -> None:
        """Begin to follow; does not wait for anything."""
        self._thread.start()

    async def run(self) -> None:
        """Return when it has been stopped, else only by raising: a fault that trying again does not mend."""
        await asyncio.to_thread(self._thread.join)
        if self._fault is None and self._stopping.is_set():
            return
        raise RuntimeError("the log is followed no more") from self._fault

    async def stop(self) -> None:
        """Follow no more; what was read is kept."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, 10)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._follow()
                except (KafkaError, NoTopics, OtherPartitions, OSError) as exc:
                    self._wait(f"Kafka: {exc or type(exc).__name__}")
                except SQLAlchemyError as exc:
                    self._wait(f"the read model's file: {trouble(exc)}")
        except BaseException as exc:
            self._fault = exc
            raise

    def _wait(self, said: str) -> None:
        if said != self._trouble:
            log.warning("the log can't be followed, trying on", error=said)
        self._trouble = said
        self._stopping.wait(_AGAIN_AFTER_SECONDS)

    def _follow(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._servers,
            **security(),
            client_id="portal",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=_LONGEST_RUN,
            bootstrap_timeout_ms=5000,
            reconnect_backoff_max_ms=1000,
            metrics_enabled=False,
        )
        try:
            self._keys.start()
            partitions = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
            ends = self._ends(consumer, partitions)
            reached = self._store.begin(self._cluster(), ends)
            consumer.assign(partitions)
            for at in partitions:
                consumer.seek(at, reached.get((at.topic, at.partition), 0))
            self._read_on(consumer, {at: reached.get(at, 0) for at in ends}, ends)
        finally:
            consumer.close()

    def _read_on(self, consumer: Any, reached: dict[Partition, int], ends: Mapping[Partition, int]) -> None:
        """Read until asked to stop; up to date is who has reached the ends as they were at the start."""
        while not self._stopping.is_set():
            polled = consumer.poll(timeout_ms=_POLL_MS)
            rows: list[Row] = []
            for at, records in polled.items():
                for record in self._keys.open_all([as_read(record) for record in records]):
                    rows += _read(record)
                reached[(at.topic, at.partition)] = records[-1].offset + 1
                RECORDS.labels(at.topic).inc(len(records))
            if polled:
                self._store.apply(rows, {(at.topic, at.partition): reached[(at.topic, at.partition)] for at in polled})
            behind = sum(max(0, end - reached[at]) for at, end in ends.items())
            LAG.set(max(behind, self._lag(consumer)))
            if self._trouble is not None and not behind:
                log.info("up to date with the log")
                self._trouble = None

    def _lag(self, consumer: Any) -> int:
        marks = ((consumer.highwater(at), consumer.position(at, timeout_ms=0)) for at in consumer.assignment())
        return sum(max(0, high - position) for high, position in marks if high is not None and position is not None)

    def _ends(self, consumer: Any, partitions: list[TopicPartition]) -> dict[Partition, int]:
        missing = sorted(set(TOPICS) - consumer.topics())
        if missing:
            raise NoTopics(f"{', '.join(missing)}: not there; if this goes on: python -m deploy.topics")
        for topic in TOPICS:
            expect_partitions(topic, len(consumer.partitions_for_topic(topic)))
        return {(at.topic, at.partition): end for at, end in consumer.end_offsets(partitions).items()}

    def _cluster(self) -> str:
        admin = KafkaAdminClient(bootstrap_servers=self._servers, **security())
        try:
            return str(admin.describe_cluster()["cluster_id"])
        finally:
            admin.close()


def _read(record: Record) -> list[Row]:
    try:
        return project(record)
    except Exception as exc:
        # It stays in its topic, and whoever owns that keeps a dead letter of it: here it only must hold up nobody.
        # Never its text: that is people's business.
        UNREADABLE.labels(record.topic).inc()
        log.warning(
            "a record can't be read, passed over",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=type(exc).__name__,
        )
        return []
