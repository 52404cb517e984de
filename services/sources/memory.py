"""Reads what polling has to remember, from Kafka, as it stands when it is asked: cursors, and rows that are known."""

from __future__ import annotations

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from shared.sources.known_rows import read_known_rows
from shared.sources.polling import Cursor
from shared.streaming.connection import security
from shared.streaming.records import Output
from shared.streaming.topics import PARTITIONS, SOURCES_CURSORS

_PLACES: Final = tuple(TopicPartition(SOURCES_CURSORS, number) for number in range(PARTITIONS))


class KafkaMemory:
    """What is remembered in `sources.cursors` and `sources.rows`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    async def cursor(self, name: str) -> Cursor:
        """Return the newest cursor of that name; an empty one where there is none, or none that can be understood.

        Raises:
            KafkaError: it can't be read.
        """
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, **security(), enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(_PLACES)
            await consumer.seek_to_beginning(*_PLACES)
            ends = await consumer.end_offsets(_PLACES)
            found: bytes | None = None
            while any([await consumer.position(place) < ends[place] for place in _PLACES]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        if record.key == name.encode():
                            found = record.value
        finally:
            await consumer.stop()
        return _cursor(found)

    async def known_rows(self, owner: str) -> dict[str, bytes | int]:
        """Return the digest of each row that was sent of that list, by its key.

        Raises:
            KafkaError: it can't be read.
        """
        known, _ = await read_known_rows(owner, self._bootstrap_servers)
        return known


def cursor_record(name: str, cursor: Cursor) -> Output:
    """Return the record that keeps a cursor; to be written once what it says was had is safe."""
    return Output(SOURCES_CURSORS, name.encode(), cursor.model_dump_json(exclude_none=True).encode())


def _cursor(found: bytes | None) -> Cursor:
    try:
        return Cursor() if found is None else Cursor.model_validate_json(found)
    except ValidationError:  # of a version that is none of ours: all is polled anew, which changes nothing
        return Cursor()
