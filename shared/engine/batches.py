"""Writes records in batches of one partition each, which Kafka appends whole or not at all.

Faust's producer sends records one by one, with a future for each, which takes most of the time of an agent that says
as much as it hears. The aiokafka producer below it takes batches, and acknowledges each by a future of its own; its
`flush` would not tell of a batch that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.types import AppT

Entry = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value and headers of a record."""

RECORD_OVERHEAD: Final = 32
"""Bytes that a record takes at most beside key, value and headers, in Kafka's record format v2."""
_HEADER_OVERHEAD: Final = 10
_BATCH_OVERHEAD: Final = 64
"""Bytes, at least what the format takes for a batch's head."""
_any_partition: Final = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Written:
    """How far writing to a partition came.

    Attributes:
        records: so many, the first ones, are acknowledged.
        last_offset: of the last of them; -1 for none.
        error: why no more are. What follows may have been written all the same, and has to be written again.
    """

    records: int
    last_offset: int
    error: KafkaError | None = None


async def write_records(
    app: AppT, topic: str, partition: int, entries: Sequence[Entry], largest: int, *, together: int
) -> Written:
    """Write records to a partition, in their order, and return when Kafka has acknowledged all, or one batch failed.

    Args:
        app: whose producer writes.
        topic: where to.
        partition: where to.
        entries: the records.
        largest: bytes of a record at most.
        together: bytes of a batch of several records at most; not more than the topic's `max.message.bytes`, which is
            1 MiB unless somebody has said otherwise. What fits into one is appended whole or not at all.
    """
    return await write_with(_producer(app), topic, partition, entries, largest, together=together)


async def write_with(
    producer: Any, topic: str, partition: int, entries: Sequence[Entry], largest: int, *, together: int
) -> Written:
    """Do what `write_records` does, by this aiokafka producer."""
    records, last_offset = 0, -1
    for batch in batches(entries, together):
        try:
            acknowledged = await (await producer.send_batch(_built(batch, largest), topic, partition=partition))
        except KafkaError as exc:
            return Written(records, last_offset, exc)
        records += len(batch)
        last_offset = acknowledged.offset + len(batch) - 1
    return Written(records, last_offset)


async def partition_for(app: AppT, topic: str, key: bytes | None) -> int:
    """Return the partition that Kafka's own clients choose for a key; any for none.

    Raises:
        aiokafka.errors.KafkaError: Kafka knows no such topic, or does not answer.
    """
    partitions = await _producer(app).partitions_for(topic)
    if key is None:
        return int(_any_partition(None, sorted(partitions), None))
    return _hashed(key) % len(partitions)


def batches(entries: Iterable[Entry], largest: int) -> list[list[Entry]]:
    """Return the records, in order, in as few batches as have room for them; `largest` is in bytes."""
    found: list[list[Entry]] = []
    room = 0
    for entry in entries:
        takes = _size(entry)
        if takes > room:
            found.append([])
            room = largest - _BATCH_OVERHEAD
        found[-1].append(entry)
        room -= takes
    return found


def _size(entry: Entry) -> int:
    key, value, headers = entry
    size = RECORD_OVERHEAD + len(key or b"") + len(value or b"")
    for name, content in headers:
        size += _HEADER_OVERHEAD + len(name.encode()) + len(content)
    return size


def _built(batch: Sequence[Entry], largest: int) -> BatchBuilder:
    if len(batch) == 1 and (size := _size(batch[0])) > largest - _BATCH_OVERHEAD:
        raise MessageSizeTooLargeError(f"a record of {size:,} bytes, and a batch has room for {largest:,}")
    builder = BatchBuilder(largest, compression_type=0)
    for key, value, headers in batch:
        if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            raise RuntimeError("a batch is larger than was worked out: a fault in `batches`")
    builder.close()  # else others could add to it
    return builder


@lru_cache(maxsize=1 << 14)  # the hash is pure Python, and takes as long as all else that is done for a record
def _hashed(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def _producer(app: AppT) -> Any:
    return app.producer._ensure_producer()  # type: ignore[attr-defined]
