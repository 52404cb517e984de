"""Reads what polling has to remember, from Kafka, as it stands when it is asked: cursors, and rows that are known."""

from __future__ import annotations

from pydantic import ValidationError

from shared.sources.known_rows import read_known_rows
from shared.sources.polling import Cursor
from shared.streaming.following import Follower
from shared.streaming.records import Output
from shared.streaming.topics import SOURCES_CURSORS


class KafkaMemory:
    """What is remembered in `sources.cursors` and `sources.rows`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    async def cursor(self, name: str) -> Cursor:
        """Return the newest cursor of that name; an empty one where there is none, or none that can be understood.

        Raises:
            KafkaError: it can't be read.
        """
        found: bytes | None = None

        def learn(key: bytes, value: bytes | None) -> None:
            nonlocal found
            if key == name.encode():
                found = value

        cursors = Follower(self._bootstrap_servers, SOURCES_CURSORS, learn)
        try:
            await cursors.start()  # returns at the end
        finally:
            await cursors.stop()
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
