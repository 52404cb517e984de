"""Reads single records again, by where they lie."""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Record, written_at

_PATIENCE_SECONDS: Final = 30.0


class Lookup:
    """Returns records by topic, partition and offset. A part of a `StreamService`; connects when it is first asked.

    Args:
        bootstrap_servers: Kafka.
        keys: open what is sealed.
    """

    def __init__(self, bootstrap_servers: str, keys: Keyring) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._keys = keys
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Do nothing yet: most services are never asked."""

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """Return the record that lies there; None when it does not any more, or is about somebody who was erased.

        Raises:
            KafkaError: it can't be read.
            TimeoutError: Kafka does not give it within 30 s.
            KeysAway: it is sealed, and its keys can't be had now.
        """
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap_servers,
                **security(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            await self._consumer.start()
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        begins, ends = (await self._consumer.beginning_offsets([place]), await self._consumer.end_offsets([place]))
        if not begins[place] <= offset < ends[place]:
            return None
        self._consumer.seek(place, offset)
        found = await asyncio.wait_for(self._consumer.getone(place), _PATIENCE_SECONDS)
        if found.offset != offset:
            return None
        record = Record(
            topic, partition, offset, found.key, found.value, tuple(found.headers), written_at(found.timestamp)
        )
        if not self._keys.is_on:
            return record
        return next(iter(await asyncio.to_thread(self._keys.open_all, [record])), None)
