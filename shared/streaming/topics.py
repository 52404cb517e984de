"""The topics of the system: their names, partitions and retention, and the one function that creates them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic, sleep
from typing import Any, Final

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, OffsetSpec
from kafka.errors import (
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.partitioner.default import murmur2
from pydantic import ValidationError

from shared.service.settings import EXIT_BAD_SETTINGS, TopicSettings
from shared.streaming.connection import security

_AS_THE_BROKER_SAYS: Final = -1
"""Replication factor: the broker's `default.replication.factor` (KIP-464)."""


class OtherPartitions(Exception):
    """A topic has another number of partitions than TOPIC_PARTITIONS says; the message has both and what to do."""


def _partitions_of_the_system() -> int:
    """Return what TOPIC_PARTITIONS says, or end the process as a service ends on a bad setting.

    It is read with this module, and not with a service's other settings: which partition a key lies in is no matter of
    one service, and can't change while a process lives.
    """
    try:
        return TopicSettings().topic_partitions
    except ValidationError as exc:
        print(f"setting TOPIC_PARTITIONS: {exc.errors()[0]['msg']}", file=sys.stderr)  # noqa: T201 (no logs yet)
        raise SystemExit(EXIT_BAD_SETTINGS) from exc


PARTITIONS: Final = _partitions_of_the_system()
"""Partitions of every keyed topic. One number, for an event, its parked copy and the identity it waits for meet in
one partition, and a key's place must not change while there is state about it."""

FEEDS: Final = ("people", "achievements", "cycles", "endorsements")
"""Feeds that an intake of their own takes to `career-events`."""
ATTRIBUTES_FEED: Final = "attributes"
"""Protected attributes of people, where a company compares by any: read by insights, and by nothing that decides."""

FEED_PREFIX: Final = "feeds."
DEAD_SUFFIX: Final = ".dead"
CAREER_EVENTS: Final = "career-events"
PEOPLE_CHANGES: Final = "people-changes"
IDENTITIES: Final = "identities"
PROMPTS: Final = "prompts"
GAPS: Final = "gaps"
DELIVERIES: Final = "deliveries"
SPONSOR_CHOICES: Final = "sponsor-choices"
PORTAL_AUDIT: Final = "portal-audit"
READS_AUDIT: Final = "reads-audit"
SOURCES_RECEIVED: Final = "sources.received"
"""What sources' webhooks sent, as it came; keyed by what the source names as its subject, or by the source."""
SOURCES_ROWS: Final = "sources.rows"
"""Which rows of a source's extracts are known, by a digest of each; what has not changed is not sent again."""
PERSON_KEYS: Final = "person-keys"
"""The keys under which records are sealed, wrapped, and who has been erased; see `shared/streaming/person_keys.py`."""

SCIM_RESOURCES: Final = "scim.resources"
"""The users and groups that an identity system has provisioned, each as it is now, and claims of names."""
SOURCES_CURSORS: Final = "sources.cursors"
"""How far each list of a source that is polled has been read."""

LARGEST_RECORD: Final = 4 * 1024 * 1024
"""Bytes of the largest record that a service writes. A source may write as much as a broker takes unasked, which is
1 MiB; its dead letter, or its parked copy, is that and our headers."""
LARGEST_BATCH: Final = 16 * 1024 * 1024
"""Bytes of the largest batch of a changelog, which is what one run changes in a partition. Each has a request of its
own, and brokers take 100 MiB (`socket.request.max.bytes`)."""

_KEEP_FOREVER: Final[Mapping[str, str]] = {"retention.ms": "-1"}
_KEEP_WHATEVER_THE_SIZE: Final[Mapping[str, str]] = {
    **_KEEP_FOREVER,
    "max.message.bytes": str(LARGEST_RECORD + 1024),
}
_KEEP_A_MONTH: Final[Mapping[str, str]] = {"retention.ms": str(30 * 86_400_000)}
_COMPACTED: Final[Mapping[str, str]] = {"cleanup.policy": "compact"}
_CHANGELOG: Final[Mapping[str, str]] = {**_COMPACTED, "max.message.bytes": str(LARGEST_BATCH)}


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it has to exist."""

    name: str
    partitions: int = PARTITIONS
    config: Mapping[str, str] = field(default_factory=dict)


def feed_topic(feed: str) -> str:
    """Return the topic that holds a feed's payloads as sent."""
    return FEED_PREFIX + feed


def parked_topic(feed: str) -> str:
    """Return the topic of a feed's events that wait for a person not known yet; keyed by that person's ref."""
    return f"{feed_topic(feed)}.parked"


def attributed_topic(feed: str) -> str:
    """Return the topic that tells of a feed's events whom they were taken to be about; keyed by a ref that they use.

    Each is a note of where the event lies in its feed. Intakes keep them in their state, so they may go after a while.
    """
    return f"{feed_topic(feed)}.attributed"


def changelog(name: str) -> TopicSpec:
    """Return the spec of a state's changelog of that name."""
    return TopicSpec(name, config=_CHANGELOG)


def dead_topic(topic: str) -> str:
    """Return the topic for records of `topic` that could not be understood or dealt with."""
    return topic + DEAD_SUFFIX


@lru_cache(maxsize=1 << 14)  # the hash is pure Python
def partition_of(key: bytes) -> int:
    """Return the partition that a keyed topic has for a key: by murmur2, as Kafka's clients choose it."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


ATTRIBUTES: Final = feed_topic(ATTRIBUTES_FEED)
"""Compacted, other than the feeds: what somebody no longer says of themselves is not to stay in a log for ever."""

_READ_TOPICS: Final = (
    *(feed_topic(feed) for feed in FEEDS),
    PEOPLE_CHANGES,
    CAREER_EVENTS,
    PROMPTS,
    GAPS,
    DELIVERIES,
    SPONSOR_CHOICES,
    PORTAL_AUDIT,
    SOURCES_RECEIVED,
)

ALL_TOPICS: Final[tuple[TopicSpec, ...]] = (
    *(TopicSpec(name, config=_KEEP_FOREVER) for name in _READ_TOPICS),
    *(TopicSpec(parked_topic(feed), config=_KEEP_WHATEVER_THE_SIZE) for feed in FEEDS),
    *(
        TopicSpec(dead_topic(name), partitions=1, config=_KEEP_WHATEVER_THE_SIZE)
        for name in (*_READ_TOPICS, ATTRIBUTES)
    ),
    *(TopicSpec(attributed_topic(feed), config=_KEEP_A_MONTH) for feed in FEEDS),
    TopicSpec(READS_AUDIT, config=_KEEP_FOREVER),
    TopicSpec(ATTRIBUTES, config=_COMPACTED),
    TopicSpec(IDENTITIES, config=_COMPACTED),
    TopicSpec(SOURCES_ROWS, config=_COMPACTED),
    TopicSpec(PERSON_KEYS, partitions=1, config=_COMPACTED),
    TopicSpec(SCIM_RESOURCES, config=_COMPACTED),
    TopicSpec(SOURCES_CURSORS, config=_COMPACTED),
)


def create_topics(
    bootstrap_servers: str, specs: Iterable[TopicSpec] = ALL_TOPICS, *, within: float = 60.0
) -> list[str]:
    """Create the topics that are missing, wait until all can be written, and return the names of the new ones.

    A topic is known to the cluster some time before its partitions have leaders that answer. A produce request that is
    sent in between can stay without an answer until it times out (seen here under load, with 10 s each).

    Args:
        bootstrap_servers: where Kafka is.
        specs: the topics. They get as many replicas as the brokers' `default.replication.factor` says.
        within: seconds that all may take.

    Raises:
        kafka.errors.KafkaError: the cluster can't be reached or refuses.
        OtherPartitions: a topic was there, with another number of partitions.
        TimeoutError: some partitions have no leader in time; the message names them.
    """
    until = monotonic() + within
    specs = tuple(specs)
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers, **security())) as admin:
        present = set(admin.list_topics())
        created = []
        for spec in specs:
            if spec.name in present:
                continue
            topic = NewTopic(spec.name, spec.partitions, _AS_THE_BROKER_SAYS, topic_configs=dict(spec.config))
            try:
                admin.create_topics([topic])
            except TopicAlreadyExistsError:  # another process was quicker
                continue
            created.append(spec.name)
        names = [spec.name for spec in specs]
        others = {spec.name for spec in specs if spec.partitions == PARTITIONS}.difference(created)
        while True:
            found = _described(admin, names)
            for name in others & found.keys():
                expect_partitions(name, len(found[name]))
            leaderless = _without_leader(admin, names, found)
            if not leaderless:
                return created
            if monotonic() > until:
                raise TimeoutError(f"no leader after {within:.0f} s for {', '.join(leaderless)}: is a broker down?")
            sleep(0.05)


def check_partitions(bootstrap_servers: str, topics: Iterable[str]) -> None:
    """See that keyed topics have as many partitions as keys are spread over here; those that are missing may be.

    Raises:
        kafka.errors.KafkaError: the cluster can't be reached or refuses.
        OtherPartitions: one has not.
    """
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers, **security())) as admin:
        present = sorted(set(topics) & set(admin.list_topics()))
        for name, partitions in _described(admin, present).items():
            expect_partitions(name, len(partitions))


def expect_partitions(topic: str, there: int) -> None:
    """See that a keyed topic, which has so many partitions, has as many as keys are spread over here.

    Raises:
        OtherPartitions: it has not. Its keys would be looked for in the wrong places, and some never read.
    """
    if there != PARTITIONS:
        raise OtherPartitions(
            f"{topic} has {there} partitions, and should have {PARTITIONS} as TOPIC_PARTITIONS says: set that to what "
            "all other processes of this system have; topics that exist keep their number"
        )


def _described(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the partitions of those of the topics that the cluster knows, as it describes them."""
    return {topic["name"]: topic["partitions"] for topic in admin.describe_topics(names) if not topic["error_code"]}


def _without_leader(
    admin: KafkaAdminClient, names: Sequence[str], found: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Return the partitions, as `topic/partition`, or whole topics, that can't be written now."""
    missing = [name for name in names if name not in found]
    leaderless = [
        f"{name}/{partition['partition_index']}"
        for name, partitions in found.items()
        for partition in partitions
        if partition["error_code"] or partition["leader_id"] < 0
    ]
    if missing or leaderless:
        return missing + leaderless
    wanted = {TopicPartition(name, p["partition_index"]): OffsetSpec.LATEST for name in found for p in found[name]}
    try:
        admin.list_partition_offsets(wanted)  # answered by the leaders: says that they know what they lead
    except (NotLeaderForPartitionError, UnknownTopicOrPartitionError, LeaderNotAvailableError) as exc:
        return [str(exc)]
    return []
