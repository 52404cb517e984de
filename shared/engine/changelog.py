"""Writes a checkpoint's changes to a changelog: one record batch a partition, so that all of it or nothing is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.producer.message_accumulator import BatchBuilder
from faust.types import AppT

Change = tuple[bytes, bytes | None]

RECORD_OVERHEAD: Final = 32
"""Bytes that a record takes at most beside its key and value, in Kafka's record format v2 and without headers."""
_BATCH_OVERHEAD: Final = 64
"""Bytes, at least what the format takes for a batch's head."""


async def write_changelog(
    app: AppT, topic: str, changes: Mapping[int, Mapping[bytes, bytes | None]], largest_batch: int
) -> dict[int, int]:
    """Return, by partition, the offset of the last record, once Kafka has acknowledged all.

    Args:
        app: whose producer writes.
        topic: the changelog.
        changes: by partition, what each key is now; None deletes.
        largest_batch: bytes of a batch at most. What fits into one is appended to its partition whole or not at all;
            more goes in several, in order, and of those only the first may be there after a crash.

    Raises:
        aiokafka.errors.KafkaError: a batch was not acknowledged; any of them may have been written all the same.
    """
    written = await asyncio.gather(
        *(_write(app, topic, partition, changed, largest_batch) for partition, changed in changes.items())
    )
    return dict(zip(changes, written, strict=True))


def batches(changes: Iterable[Change], largest: int) -> list[list[Change]]:
    """Return the changes, in order, in as few batches as have room for them; `largest` is in bytes."""
    found: list[list[Change]] = []
    room = 0
    for key, value in changes:
        takes = len(key) + len(value or b"") + RECORD_OVERHEAD
        if takes > room:
            found.append([])
            room = largest - _BATCH_OVERHEAD
        found[-1].append((key, value))
        room -= takes
    return found


async def _write(
    app: AppT, topic: str, partition: int, changes: Mapping[bytes, bytes | None], largest_batch: int
) -> int:
    # Faust's producer has no batches; its aiokafka producer has, and acknowledges each by a future. `flush` would not
    # tell of a batch that failed.
    producer: Any = app.producer._ensure_producer()  # type: ignore[attr-defined]
    offset = -1
    for batch in batches(changes.items(), largest_batch):
        builder = BatchBuilder(largest_batch, compression_type=0)
        for key, value in batch:
            if builder.append(timestamp=None, key=key, value=value) is None:
                raise RuntimeError(f"a batch for {topic} is larger than was worked out: a fault in `batches`")
        acknowledged = await (await producer.send_batch(builder, topic, partition=partition))
        offset = acknowledged.offset + len(batch) - 1
    return offset
