"""Remembers, in `sources.rows`, what was sent of each row last, so that what has not changed is not sent again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import UnknownTopicOrPartitionError

from shared.sources.rows import DIGEST_BYTES
from shared.streaming.records import Output
from shared.streaming.topics import SOURCES_ROWS

_TOGETHER: Final = 5000


def known_row(owner: str, key: str, digest: bytes, as_of: datetime) -> Output:
    """Return the record that remembers a row; to be written once the row itself is safe.

    Args:
        owner: the source, or a list of it.
        key: the row's.
        digest: of what was sent.
        as_of: the extract's or round's time.
    """
    return Output(SOURCES_ROWS, _memory_key(owner, key), digest + int(as_of.timestamp()).to_bytes(8, "big"))


def read_known_rows(owner: str, servers: Sequence[str]) -> tuple[dict[str, bytes], datetime | None]:
    """Return the digest of each row that was sent, by its key, and the time of the newest extract; blocks.

    Raises:
        kafka.errors.KafkaError: Kafka can't be read, or the topic is not there.
    """
    known: dict[str, bytes] = {}
    newest = 0
    prefix = _memory_key(owner, "")
    with closing(KafkaConsumer(bootstrap_servers=list(servers), auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(SOURCES_ROWS, p) for p in consumer.partitions_for_topic(SOURCES_ROWS) or ()]
        if not partitions:
            raise UnknownTopicOrPartitionError(
                f"there is no topic {SOURCES_ROWS}; create it with python -m deploy.topics"
            )
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=1000, max_records=_TOGETHER).values():
                for record in batch:
                    if record.key.startswith(prefix) and record.value is not None:
                        known[record.key[len(prefix) :].decode()] = record.value[:DIGEST_BYTES]
                        newest = max(newest, int.from_bytes(record.value[DIGEST_BYTES:], "big"))
    return known, datetime.fromtimestamp(newest, tz=UTC) if newest else None


def _memory_key(owner: str, key: str) -> bytes:
    return f"{owner}/{key}".encode()
