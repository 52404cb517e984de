"""Loads an extract: sends the rows that are news to `sources.received`, and remembers them once they are safe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer

from shared.service.settings import PersonKeySettings
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, to_record
from shared.sources.known_rows import known_row, read_known_rows
from shared.sources.mapping import key_of
from shared.sources.rows import BadRow, NotReadable, Row, news
from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring, opened_keyring
from shared.streaming.records import Output

BATCH: Final = 500
"""Rows that are acknowledged together, and then remembered; after a kill so many are sent again, with the same ids."""


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
        aiokafka.errors.KafkaError: what was sent before can't be read.
        kafka.errors.KafkaError: Kafka did not take a row. Those before it are safe; load it again.
    """
    if declaration.bulk is None:
        raise ExtractError(f"{declaration.name} has no bulk in its file, so it has no extracts")
    known, newest = asyncio.run(read_known_rows(declaration.name, bootstrap_servers))
    if newest is not None and as_of < newest:
        raise ExtractError(
            f"an extract of {newest.isoformat()} was loaded, and this one is of {as_of.isoformat()}: it would put the "
            "past in place of the present; say --as-of if the file's time is wrong"
        )
    loaded = Loaded()
    servers = bootstrap_servers.split(",")
    with (
        opened_keyring(PersonKeySettings(), bootstrap_servers) as keys,
        closing(
            KafkaProducer(bootstrap_servers=servers, **security(), acks="all", enable_idempotence=True, linger_ms=5)
        ) as producer,
    ):
        waiting: list[Row] = []
        try:
            for row in news(declaration.bulk, path, known):
                if isinstance(row, BadRow):
                    loaded.faults.append(row)
                    continue
                loaded.sent += 1
                if dry_run:
                    continue
                waiting.append(row)
                if len(waiting) >= BATCH:
                    _send(producer, keys, declaration, waiting, as_of)
                    waiting = []
        except NotReadable as exc:
            raise ExtractError(str(exc)) from exc
        if waiting:
            _send(producer, keys, declaration, waiting, as_of)
    for seen in known.values():
        loaded.missing += isinstance(seen, bytes)
        loaded.rows += isinstance(seen, int) and seen > 0
    return loaded


def _send(
    producer: KafkaProducer, keys: Keyring, declaration: Declaration, rows: Sequence[Row], as_of: datetime
) -> None:
    deliveries = [Delivery(declaration.name, row.body(as_of), {}, as_of) for row in rows]
    _acknowledged(
        producer, keys.seal_all([to_record(declaration, one, key_of(declaration, one)) for one in deliveries])
    )
    # Only now: remembered first, a row that was then not sent would never be news again.
    _acknowledged(producer, [known_row(declaration.name, row.key, row.digest, as_of) for row in rows])


def _acknowledged(producer: KafkaProducer, outputs: Sequence[Output]) -> None:
    sent: list[Any] = [
        producer.send(output.topic, output.value, output.key, list(output.headers), output.partition)
        for output in outputs
    ]
    for future in sent:
        future.get(timeout=60)
