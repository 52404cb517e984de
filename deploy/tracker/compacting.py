"""Makes Kafka compact topics now, and waits until what was deleted from them is off the brokers' disks.

Kafka compacts when it pleases: never the newest segment of a partition, a tombstone only a day after, and files are
deleted a minute after they have been replaced. All of that are settings of a topic, set here for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from time import monotonic, sleep
from typing import Any, Final

from kafka import KafkaProducer
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, KafkaAdminClient

from shared.streaming.connection import security

FILLER: Final = b"compaction"
"""Key of the tombstones that are written so that a segment ends. No key of ours is one word without a slash."""

_AT_ONCE: Final[Mapping[str, str]] = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "100",
}
_EVERY_SECONDS: Final = 1.0


def compact(
    bootstrap_servers: str,
    partitions: Mapping[str, Sequence[int]],
    is_clean: Callable[[str], bool],
    *,
    within: float,
    tell: Callable[[int], None],
) -> list[str]:
    """Have topics compacted until each is clean; return those that were not in time, which Kafka does later.

    Args:
        bootstrap_servers: Kafka.
        partitions: the topics, with their partitions.
        is_clean: looks whether a topic is.
        within: seconds that it may take. Brokers look for work every `log.cleaner.backoff.ms`, 15 s unless they are
            told otherwise, and a tombstone takes two turns.
        tell: is told how many topics are left.

    Raises:
        kafka.errors.KafkaError: Kafka is away, or refuses.
    """
    left = [topic for topic in partitions if not is_clean(topic)]
    tell(len(left))
    if not left:
        return []
    until = monotonic() + within
    with (
        _set_for_now(bootstrap_servers, left),
        closing(KafkaProducer(bootstrap_servers=bootstrap_servers.split(","), **security(), acks="all")) as producer,
    ):
        while left and monotonic() < until:
            sent = [
                producer.send(topic, None, FILLER, partition=partition)
                for topic in left
                for partition in partitions[topic]
            ]
            for future in sent:
                future.get(timeout=30)
            sleep(_EVERY_SECONDS)
            left = [topic for topic in left if not is_clean(topic)]
            tell(len(left))
        sleep(_EVERY_SECONDS)  # for the files that were replaced last
    return left


@contextmanager
def _set_for_now(bootstrap_servers: str, topics: Sequence[str]) -> Iterator[None]:
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers.split(","), **security())) as admin:
        before = configs_of(admin, topics)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(_AT_ONCE)) for topic in topics])
        try:
            yield
        finally:
            admin.alter_configs(
                [
                    ConfigResource(
                        ConfigResourceType.TOPIC,
                        topic,
                        {name: before[topic].get(name, (AlterConfigOp.DELETE, None)) for name in _AT_ONCE},
                    )
                    for topic in topics
                ]
            )


def configs_of(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what was set for each topic, by name; what follows the brokers' defaults is not among it."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: Mapping[Any, Any] = admin.describe_configs(wanted, config_filter="modified")
    by_topic = next(iter(found.values())) if found else {}
    return {topic: {name: told["value"] for name, told in by_topic.get(topic, {}).items()} for topic in topics}
