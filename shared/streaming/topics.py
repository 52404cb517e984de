"""The topics of the system: their names, partitions and retention, and the one function that creates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

PARTITIONS: Final = 4
"""Partitions of every keyed topic. One number, for an event, its parked copy and the identity it waits for meet in
one partition, and a key's place must not change while there is state about it."""

FEEDS: Final = ("people", "achievements", "cycles", "endorsements")

FEED_PREFIX: Final = "feeds."
CAREER_EVENTS: Final = "career-events"
PEOPLE_CHANGES: Final = "people-changes"
IDENTITIES: Final = "identities"
PROMPTS: Final = "prompts"
GAPS: Final = "gaps"
DELIVERIES: Final = "deliveries"

_KEEP_FOREVER: Final[Mapping[str, str]] = {"retention.ms": "-1"}
_COMPACTED: Final[Mapping[str, str]] = {"cleanup.policy": "compact"}


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


def dead_topic(topic: str) -> str:
    """Return the topic for records of `topic` that could not be understood or dealt with."""
    return f"{topic}.dead"


_READ_TOPICS: Final = (
    *(feed_topic(feed) for feed in FEEDS),
    PEOPLE_CHANGES,
    CAREER_EVENTS,
    PROMPTS,
    GAPS,
    DELIVERIES,
)

ALL_TOPICS: Final[tuple[TopicSpec, ...]] = (
    *(TopicSpec(name, config=_KEEP_FOREVER) for name in _READ_TOPICS),
    *(TopicSpec(parked_topic(feed), config=_KEEP_FOREVER) for feed in FEEDS),
    *(TopicSpec(dead_topic(name), partitions=1, config=_KEEP_FOREVER) for name in _READ_TOPICS),
    TopicSpec(IDENTITIES, config=_COMPACTED),
)


def create_topics(bootstrap_servers: str, replication_factor: int = 1) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises:
        kafka.errors.KafkaError: the cluster can't be reached or refuses.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        present = set(admin.list_topics())
        created = []
        for spec in ALL_TOPICS:
            if spec.name in present:
                continue
            topic = NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=dict(spec.config))
            try:
                admin.create_topics([topic])
            except TopicAlreadyExistsError:  # another process was quicker
                continue
            created.append(spec.name)
        return created
    finally:
        admin.close()
