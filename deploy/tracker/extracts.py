"""Loads an extract: sends the rows that are news to `sources.received`, and remembers them once they are safe."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer

from shared.engine.batches import Entry, write_with
from shared.service.settings import PersonKeySettings
from shared.sources.declaration import Bulk, Declaration
from shared.sources.delivery import Delivery, to_record
from shared.sources.known_rows import known_row, read_known_rows
from shared.sources.mapping import key_of
from shared.sources.rows import BadRow, NotReadable, Row, news
from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring, opened_keyring
from shared.streaming.records import Output
from shared.streaming.topics import LARGEST_RECORD, partition_of

BATCH: Final = 2000
"""Rows that are acknowledged together, and remembered with the next; after a kill twice as many at most are sent again,
with the same ids."""
_BYTES_TOGETHER: Final = 512 * 1024
"""Bytes of a batch of several records; Kafka's topics take 1 MiB unasked."""


class ExtractError(Exception):
    """The extract can't be loaded; the message says why, and what to do."""


@dataclass
class Loaded:
    """What came of a load."""

    rows: int = 0
    sent: int = 0
    missing: int = 0
    """Rows of earlier extracts that are not in this one. Nothing is said of them."""
    faults: list[BadRow] = field(default_factory=list)


def load(
    declaration: Declaration, path: Path, as_of: datetime, bootstrap_servers: str, *, dry_run: bool = False
) -> Loaded:
    """Send the rows that are news, and remember them.

    Args:
        declaration: the source; it has `bulk`.
        path: the extract.
        as_of: when it was made; aware. The same file has to have the same each time, for it is part of the ids.
        bootstrap_servers: where Kafka is.
        dry_run: send nothing, remember nothing.

    Raises:
        ExtractError: it is older than one that was loaded, or can't be read.
        aiokafka.errors.KafkaError: what was sent before can't be read, or Kafka did not take a row. Those before it
            are safe; load it again.
    """
    if declaration.bulk is None:
        raise ExtractError(f"{declaration.name} has no bulk in its file, so it has no extracts")
    return asyncio.run(_load(declaration, declaration.bulk, path, as_of, bootstrap_servers, dry_run=dry_run))


async def _load(
    declaration: Declaration, bulk: Bulk, path: Path, as_of: datetime, bootstrap_servers: str, *, dry_run: bool
) -> Loaded:
    known, newest = await read_known_rows(declaration.name, bootstrap_servers)
    if newest is not None and as_of < newest:
        raise ExtractError(
            f"an extract of {newest.isoformat()} was loaded, and this one is of {as_of.isoformat()}: it would put the "
            "past in place of the present; say --as-of if the file's time is wrong"
        )
    loaded = Loaded()
    with opened_keyring(PersonKeySettings(), bootstrap_servers) as keys:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, **security(), enable_idempotence=True)
        await producer.start()
        try:
            rows = _Sending(declaration, as_of, keys, producer)
            for row in news(bulk, path, known):
                if isinstance(row, BadRow):
                    loaded.faults.append(row)
                    continue
                loaded.sent += 1
                if not dry_run:
                    await rows.add(row)
            await rows.end()
        except NotReadable as exc:
            raise ExtractError(str(exc)) from exc
        finally:
            await producer.stop()
    for seen in known.values():
        loaded.missing += isinstance(seen, bytes)
        loaded.rows += isinstance(seen, int) and seen > 0
    return loaded


class _Sending:
    """Sends rows some at a time, and remembers each once it is safe: with the next, so as to wait once for both.

    Remembered first, a row that was then not sent would never be news again.
    """

    def __init__(self, declaration: Declaration, as_of: datetime, keys: Keyring, producer: AIOKafkaProducer) -> None:
        self._declaration = declaration
        self._as_of = as_of
        self._keys = keys
        self._producer = producer
        self._waiting: list[Row] = []
        self._safe: list[Row] = []

    async def add(self, row: Row) -> None:
        """Send it, with others."""
        self._waiting.append(row)
        if len(self._waiting) >= BATCH:
            await self._send()

    async def end(self) -> None:
        """Return once all is sent and remembered."""
        while self._waiting or self._safe:
            await self._send()

    async def _send(self) -> None:
        name = self._declaration.name
        deliveries = [Delivery(name, row.body(self._as_of), {}, self._as_of) for row in self._waiting]
        records = [to_record(self._declaration, one, key_of(self._declaration, one)) for one in deliveries]
        remembered = [known_row(name, row.key, row.digest, self._as_of) for row in self._safe]
        await _acknowledged(self._producer, [*self._keys.seal_all(records), *remembered])
        self._safe, self._waiting = self._waiting, []


async def _acknowledged(producer: AIOKafkaProducer, outputs: Sequence[Output]) -> None:
    places: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for output in outputs:
        key = output.key or b""
        partition = partition_of(key) if output.partition is None else output.partition
        places[output.topic, partition].append((key, output.value, output.headers))
    for written in await asyncio.gather(
        *(
            write_with(producer, topic, partition, entries, LARGEST_RECORD, together=_BYTES_TOGETHER)
            for (topic, partition), entries in places.items()
        )
    ):
        if written.error is not None:
            raise written.error
