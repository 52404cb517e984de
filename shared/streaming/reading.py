"""Reads topics as they are at one moment, for tools and answers: records of some keys or of all, with no group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from shared.streaming.connection import security
from shared.streaming.person_keys import BadKeys, Keyring, KeysAway
from shared.streaming.records import Record, as_read
from shared.streaming.topics import PARTITIONS, OtherPartitions, expect_partitions

BOOTSTRAP_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 30.0
"""A broker that has said nothing for so long is away."""

_POLL_SECONDS: Final = 0.5
_CONSUMER: Final[Mapping[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "bootstrap_timeout_ms": int(BOOTSTRAP_SECONDS * 1000),
    "max_poll_records": 10_000,
    "max_partition_fetch_bytes": 8 * 1024 * 1024,
    "receive_buffer_bytes": 1024 * 1024,
}

Wanted = Callable[[bytes | None], bool]
"""Tells by a record's key whether it is wanted; the others cost no more than their way here."""
Progress = Callable[[int, int], None]
"""Is told how many records have been read, and how many there are."""


def unwatched(_what: str) -> Progress:
    """Take the progress of reading something, and tell nobody."""
    return lambda _read, _all: None


class NotRead(Exception):
    """Kafka did not give what was asked for; the message says why, and what to do."""


def partitions_by_topic(bootstrap_servers: str) -> dict[str, list[int]]:
    """Return all topics that there are, with the numbers of their partitions.

    Raises:
        NotRead: Kafka is away.
    """
    try:
        with closing(
            KafkaConsumer(bootstrap_servers=bootstrap_servers.split(","), **security(), **_CONSUMER)
        ) as consumer:
            return {topic: sorted(consumer.partitions_for_topic(topic) or ()) for topic in consumer.topics()}
    except KafkaError as exc:
        raise NotRead(f"can't reach Kafka at {bootstrap_servers}: {exc}. Is it running there?") from exc


def read_to_the_end(
    bootstrap_servers: str,
    topic: str,
    partitions: Sequence[int] = tuple(range(PARTITIONS)),
    *,
    wanted: Wanted = lambda _key: True,
    progress: Progress = lambda _read, _all: None,
    keys: Keyring | None = None,
    although_erased: bool = False,
) -> Iterator[Record]:
    """Yield the wanted records of some partitions of a topic, up to the ends that they have now, in the order of each.

    Args:
        bootstrap_servers: Kafka.
        topic: what is read.
        partitions: of it.
        wanted: tells by a record's key whether it is yielded.
        progress: is told how far it is.
        keys: open what is sealed; without them it is yielded as it lies.
        although_erased: yield what of an erased person can still be read.

    Raises:
        NotRead: Kafka is away, or has no such topic, or one of other partitions; or the keys can't be had.
    """
    try:
        for records in _read(bootstrap_servers, topic, partitions, progress):
            if keys is None or not keys.is_on:
                yield from (as_read(record) for record in records if wanted(record.key))
            else:
                opened = keys.open_all([as_read(record) for record in records], although_erased=although_erased)
                yield from (record for record in opened if wanted(record.key))
    except (KeysAway, BadKeys) as exc:
        raise NotRead(f"can't open {topic} at {bootstrap_servers}: {exc}") from exc
    except OtherPartitions as exc:
        raise NotRead(f"can't read {topic} at {bootstrap_servers}: {exc}") from exc
    except KafkaError as exc:
        raise NotRead(f"can't read {topic} at {bootstrap_servers}: {exc}. Is Kafka running there?") from exc


def _read(bootstrap_servers: str, topic: str, numbers: Sequence[int], progress: Progress) -> Iterator[list[Any]]:
    with closing(KafkaConsumer(bootstrap_servers=bootstrap_servers.split(","), **security(), **_CONSUMER)) as consumer:
        there = consumer.partitions_for_topic(topic)
        if not there:
            raise NotRead(f"Kafka at {bootstrap_servers} has no topic {topic}: python -m deploy.topics")
        # Who reads all that there are need not know how many: a cluster has others' topics too.
        if set(numbers) != there:
            expect_partitions(topic, len(there))
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
        there_are = sum(ends.values()) - sum(begins.values())
        stalled_at = monotonic() + STALLED_SECONDS
        left = list(partitions)
        progress(0, there_are)
        while left := [partition for partition in left if consumer.position(partition) < ends[partition]]:
            found = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
            for partition, records in found.items():
                end = ends[partition]
                yield [record for record in records if record.offset < end]
            if found:
                stalled_at = monotonic() + STALLED_SECONDS
            elif monotonic() > stalled_at:
                raise NotRead(f"Kafka at {bootstrap_servers} has sent nothing of {topic} for {STALLED_SECONDS:.0f} s")
            progress(sum(min(consumer.position(p), ends[p]) - begins[p] for p in partitions), there_are)
