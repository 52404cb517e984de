"""Loads an extract: sends the rows that are news to `sources.received`, and remembers them once they are safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from shared.service.settings import PersonKeySettings
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, to_record
from shared.sources.mapping import key_of
from shared.sources.rows import DIGEST_BYTES, BadRow, Row, news, read_rows
from shared.streaming.person_keys import Keyring, opened_keyring
from shared.streaming.records import Output
from shared.streaming.topics import SOURCES_ROWS

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
        kafka.errors.KafkaError: Kafka did not take a row. Those before it are safe; load it again.
    """
    if declaration.bulk is None:
        raise ExtractError(f"{declaration.name} has no bulk in its file, so it has no extracts")
    servers = bootstrap_servers.split(",")
    known, newest = _known(declaration.name, servers)
    if newest is not None and as_of < newest:
        raise ExtractError(
            f"an extract of {newest.isoformat()} was loaded, and this one is of {as_of.isoformat()}: it would put the "
            "past in place of the present; say --as-of if the file's time is wrong"
        )
    loaded = Loaded()
    seen = 0
    with (
        opened_keyring(PersonKeySettings(), bootstrap_servers) as keys,
        closing(KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=5)) as producer,
    ):
        waiting: list[tuple[Row, bytes]] = []
        for row, digest in news(_rows(declaration, path, loaded), known):
            seen += row.key in known
            loaded.sent += 1
            if dry_run:
                continue
            waiting.append((row, digest))
            if len(waiting) >= BATCH:
                _send(producer, keys, declaration, waiting, as_of)
                waiting = []
        if waiting:
            _send(producer, keys, declaration, waiting, as_of)
    unchanged = loaded.rows - loaded.sent
    loaded.missing = len(known) - unchanged - seen
    return loaded


def _rows(declaration: Declaration, path: Path, loaded: Loaded) -> Iterator[Row]:
    assert declaration.bulk is not None  # noqa: S101 - `load` has looked
    try:
        with path.open(encoding=declaration.bulk.encoding, newline="") as file:
            for row in read_rows(declaration.bulk, file):
                if isinstance(row, BadRow):
                    loaded.faults.append(row)
                else:
                    loaded.rows += 1
                    yield row
    except UnicodeDecodeError as exc:
        raise ExtractError(f"{path} is not {declaration.bulk.encoding}: {exc.reason}; set bulk.encoding") from exc


def _send(
    producer: KafkaProducer,
    keys: Keyring,
    declaration: Declaration,
    rows: Sequence[tuple[Row, bytes]],
    as_of: datetime,
) -> None:
    deliveries = [Delivery(declaration.name, row.body(as_of), {}, as_of) for row, _ in rows]
    records = [to_record(declaration, one, key_of(declaration, one)) for one in deliveries]
    _acknowledged(producer, keys.seal_all(records))
    # Only now: remembered first, a row that was then not sent would never be news again.
    stamp = int(as_of.timestamp()).to_bytes(8, "big")
    _acknowledged(
        producer,
        [Output(SOURCES_ROWS, _memory_key(declaration.name, row.key), digest + stamp) for row, digest in rows],
    )


def _acknowledged(producer: KafkaProducer, outputs: Sequence[Output]) -> None:
    sent: list[Any] = [
        producer.send(output.topic, output.value, output.key, list(output.headers), output.partition)
        for output in outputs
    ]
    for future in sent:
        future.get(timeout=60)


def _memory_key(source: str, key: str) -> bytes:
    return f"{source}/{key}".encode()


def _known(source: str, servers: Sequence[str]) -> tuple[dict[str, bytes], datetime | None]:
    """Return the digest of each row of the source that was sent, and of when the newest extract is."""
    known: dict[str, bytes] = {}
    newest = 0
    prefix = _memory_key(source, "")
    with closing(KafkaConsumer(bootstrap_servers=list(servers), auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(SOURCES_ROWS, p) for p in consumer.partitions_for_topic(SOURCES_ROWS) or ()]
        if not partitions:
            raise ExtractError(f"there is no topic {SOURCES_ROWS}; create it with python -m deploy.topics")
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=1000, max_records=5000).values():
                for record in batch:
                    if record.key.startswith(prefix) and record.value is not None:
                        known[record.key[len(prefix) :].decode()] = record.value[:DIGEST_BYTES]
                        newest = max(newest, int.from_bytes(record.value[DIGEST_BYTES:], "big"))
    return known, datetime.fromtimestamp(newest, tz=UTC) if newest else None
