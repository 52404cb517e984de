"""Keeps the consumer group and the database at one mind about how far the log is projected, and tells the lag.

The database is right: its offsets are written with its rows. A group that is ahead of it (the database is new, or was
restored from a backup) is set back before records flow, so that an empty database is filled from the whole log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import structlog
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from sqlalchemy import Engine

from services.insights.applying import Partition, read_progress
from services.insights.metrics import LAG
from services.insights.patience import Patience
from services.insights.projection import TOPICS
from shared.database import AWAY
from shared.streaming.connection import security
from shared.streaming.topics import PARTITIONS

T = TypeVar("T")
Offsets = Mapping[Partition, int]

log = structlog.get_logger(__name__)


def positions_to_set_back(committed: Offsets, projected: Offsets) -> dict[Partition, int]:
    """Return where the group has to go back to: wherever it has committed more than the database holds."""
    return {at: projected.get(at, 0) for at, offset in committed.items() if offset > projected.get(at, 0)}


def check_same_log(projected: Offsets, ends: Offsets) -> None:
    """Find a database that was filled from another log than this one.

    Raises:
        AnotherLog: it holds records that this log does not have.
    """
    ahead = {at: offset for at, offset in projected.items() if at in ends and offset > ends[at]}
    if ahead:
        (topic, partition), offset = min(ahead.items())
        raise AnotherLog(
            f"the database says that {topic}, partition {partition} is projected up to offset {offset}, but the topic "
            f"ends at {ends[(topic, partition)]}: it was filled from another log, or the topics were made anew. Start "
            "with an empty database (for SQLite delete the file; or set INSIGHTS_DATABASE_URL), it fills by itself"
        )


def lag_of(projected: Offsets, ends: Offsets) -> dict[Partition, int]:
    """Return how many records of each partition are not in the database."""
    return {at: max(0, end - projected.get(at, 0)) for at, end in ends.items()}


class AnotherLog(Exception):
    """The database and Kafka do not belong together; the message says what to do."""


class GroupBusy(Exception):
    """The group still has a member, so its offsets can't be set; a process that was killed is one for some seconds."""


class LogEnds:
    """Asks Kafka where topics end and what a consumer group has committed; a connection each time.

    Args:
        bootstrap_servers: Kafka.
        group: the consumer group.
    """

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._bootstrap_servers = bootstrap_servers.split(",")
        self._group = group

    def ends(self) -> dict[Partition, int]:
        """Return where each partition ends that is projected."""
        return self.asked(_ends)

    def set_group(self, offsets: Offsets) -> None:
        """Make the group go on from these offsets.

        Raises:
            GroupBusy: it has members.
        """
        self.asked(lambda admin: _set_group(admin, self._group, offsets))

    def asked(self, ask: Callable[[KafkaAdminClient], T]) -> T:
        """Return what `ask` returns of a connection that is closed then."""
        admin = KafkaAdminClient(bootstrap_servers=self._bootstrap_servers, **security())
        try:
            return ask(admin)
        finally:
            admin.close()


class LogPosition:
    """Sets the group back where it must be, at the start; then looks at the ends of the topics now and then.

    Args:
        bootstrap_servers: Kafka.
        group: the consumer group.
        engine: the read model.
        every_seconds: time between two looks.
    """

    def __init__(self, bootstrap_servers: str, group: str, engine: Engine, every_seconds: float) -> None:
        self._log = LogEnds(bootstrap_servers, group)
        self._group = group
        self._engine = engine
        self._every_seconds = every_seconds
        self._ends: dict[Partition, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.patience = Patience("Kafka, with its topics, to look at offsets", (KafkaError, GroupBusy, *AWAY), _said)

    @property
    def ends(self) -> Offsets:
        """The ends of the partitions when last looked at; empty before that."""
        return self._ends

    async def start(self) -> None:
        """Set the group back to where the database is, if it is ahead.

        Raises:
            AnotherLog: the database was filled from another log.
        """
        back = await self.patience.until_done(lambda: self._log.asked(self._align))
        if back:
            log.info(
                "the database is behind the consumer group: projecting again from where it is",
                partitions=len(back),
            )
        self._task = asyncio.create_task(self._look_now_and_then())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _align(self, admin: KafkaAdminClient) -> dict[Partition, int]:
        projected = read_progress(self._engine)
        self._ends = _ends(admin)
        check_same_log(projected, self._ends)
        back = positions_to_set_back(_committed(admin, self._group), projected)
        if back:
            _set_group(admin, self._group, back)
        return back

    async def _look_now_and_then(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._log.asked, self._look)
            except (KafkaError, *AWAY) as exc:
                # The readiness of Kafka and of the database is others' to tell; the lag stays as last seen.
                log.debug("could not look at offsets", error=_said(exc))
            await asyncio.sleep(self._every_seconds)

    def _look(self, admin: KafkaAdminClient) -> None:
        self._ends = _ends(admin)
        by_topic = dict.fromkeys(TOPICS, 0)
        for (topic, _), records in lag_of(read_progress(self._engine), self._ends).items():
            by_topic[topic] += records
        for topic, records in by_topic.items():
            LAG.labels(topic).set(records)


def _set_group(admin: KafkaAdminClient, group: str, offsets: Offsets) -> None:
    wanted = {TopicPartition(*at): OffsetAndMetadata(offset, "", -1) for at, offset in offsets.items()}
    for outcome in admin.alter_group_offsets(group, wanted).values():
        if getattr(outcome, "errno", 0):
            raise GroupBusy(
                f"can't set the offsets of the consumer group {group!r} while it has members ({outcome.__name__}): "
                "stop the other process, or wait for Kafka to miss it"
            )


def _ends(admin: KafkaAdminClient) -> dict[Partition, int]:
    wanted: dict[Any, Any] = {
        TopicPartition(topic, partition): OffsetSpec.LATEST for topic in TOPICS for partition in range(PARTITIONS)
    }
    return {(at.topic, at.partition): found.offset for at, found in admin.list_partition_offsets(wanted).items()}


def _committed(admin: KafkaAdminClient, group: str) -> dict[Partition, int]:
    found = admin.list_group_offsets({group: None})[group]
    return {(at.topic, at.partition): entry.offset for at, entry in found.items() if at.topic in TOPICS}


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
