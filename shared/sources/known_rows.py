"""Remembers, in `sources.rows`, what was sent of each row last, so that what has not changed is not sent again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.sources.rows import DIGEST_BYTES
from shared.streaming.connection import security
from shared.streaming.records import Output
from shared.streaming.topics import PARTITIONS, SOURCES_ROWS

_TOGETHER: Final = 10_000
_FETCH_BYTES: Final = 4 * 1024 * 1024


def known_row(owner: str, key: str, digest: bytes, as_of: datetime) -> Output:
    """Return the record that remembers a row; to be written once the row itself is safe.

    Args:
        owner: the source, or a list of it.
        key: the row's.
        digest: of what was sent.
        as_of: the extract's or round's time.
    """
    return Output(SOURCES_ROWS, _memory_key(owner, key), digest + int(as_of.timestamp()).to_bytes(8, "big"))


async def read_known_rows(owner: str, bootstrap_servers: str) -> tuple[dict[str, bytes | int], datetime | None]:
    """Return the digest of each row that was sent, by its key, and the time of the newest extract.

    Raises:
        aiokafka.errors.KafkaError: Kafka can't be read, or the topic is not there.
    """
    known: dict[str, bytes | int] = {}
    newest = 0
    prefix = _memory_key(owner, "")
    begins = len(prefix)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        **security(),
        enable_auto_commit=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        places = [TopicPartition(SOURCES_ROWS, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=1000, max_records=_TOGETHER)).values():
                for record in batch:
                    if record.key.startswith(prefix) and record.value is not None:
                        known[record.key[begins:].decode()] = record.value[:DIGEST_BYTES]
                        newest = max(newest, int.from_bytes(record.value[DIGEST_BYTES:], "big"))
    finally:
        await consumer.stop()
    return known, datetime.fromtimestamp(newest, tz=UTC) if newest else None


def _memory_key(owner: str, key: str) -> bytes:
    return f"{owner}/{key}".encode()
