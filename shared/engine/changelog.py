"""Writes a checkpoint's changes to a changelog: one record batch a partition, so that all of it or nothing is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.types import AppT


async def write_changelog(app: AppT, topic: str, changes: Mapping[int, Mapping[bytes, bytes | None]]) -> dict[int, int]:
    """Return, by partition, the offset of the last record, once Kafka has acknowledged all.

    What fits into one batch (`producer_max_batch_size`) is appended to its partition whole or not at all. More goes in
    several, in order: of those only the first may be there after a crash.

    Raises:
        aiokafka.errors.KafkaError: a batch was not acknowledged; any of them may have been written all the same.
    """
    written = await asyncio.gather(*(_write(app, topic, number, changed) for number, changed in changes.items()))
    return dict(zip(changes, written, strict=True))


async def _write(app: AppT, topic: str, partition: int, changes: Mapping[bytes, bytes | None]) -> int:
    # Faust's producer has no batches; its aiokafka producer has, and acknowledges each by a future. `flush` would not
    # tell of a batch that failed.
    producer: Any = app.producer._ensure_producer()  # type: ignore[attr-defined]
    offset = -1
    batch = producer.create_batch()
    for key, value in changes.items():
        if batch.append(timestamp=None, key=key, value=value) is None:
            offset = await _sent(producer, batch, topic, partition)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    return await _sent(producer, batch, topic, partition) if batch.record_count() else offset


async def _sent(producer: Any, batch: Any, topic: str, partition: int) -> int:
    acknowledged = await (await producer.send_batch(batch, topic, partition=partition))
    first: int = acknowledged.offset
    records: int = batch.record_count()
    return first + records - 1
