"""Decides which rows of an extract are news: those that are new, or differ from what was sent of them last."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, TextIO

import orjson

from shared.sources.declaration import Bulk

LONGEST_ROW: Final = 900_000
"""Bytes of the largest row that is sent; as the gateway has it for events."""
DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an extract.

    Attributes:
        line: where it ends in the file, counted from 1.
        key: what tells it apart from the others.
        fields: its columns; text in a CSV, anything in NDJSON.
    """

    line: int
    key: str
    fields: Mapping[str, Any] = field(repr=False)

    def body(self, as_of: datetime) -> bytes:
        """Return the body of the delivery that the row is."""
        return row_body(self.fields, as_of)

    def digest(self) -> bytes:
        """Return what changes when a field does, in whatever order the columns are."""
        return row_digest(self.fields)


def row_body(fields: Any, as_of: datetime) -> bytes:
    """Return the body of the delivery that a row is, as it was at that time."""
    return orjson.dumps({"row": fields, "as_of": as_of.isoformat()})


def row_digest(fields: Any) -> bytes:
    """Return what changes when a field does, in whatever order they are."""
    return blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be sent; the others are."""

    line: int
    reason: str


def read_rows(bulk: Bulk, file: TextIO) -> Iterator[Row | BadRow]:
    """Yield the rows of an extract, as its declaration says; only one is held at a time, and the keys of all.

    Args:
        bulk: the declaration.
        file: opened with ``newline=""``.
    """
    first_seen: dict[str, int] = {}
    for found in _csv_rows(bulk, file) if bulk.format == "csv" else _ndjson_rows(file):
        if isinstance(found, BadRow):
            yield found
            continue
        line, fields = found
        key = fields.get(bulk.key)
        if not isinstance(key, str | int) or isinstance(key, bool) or not str(key).strip():
            yield BadRow(line, f"has nothing in {bulk.key}, which tells rows apart")
            continue
        row = Row(line, str(key).strip(), fields)
        if first_seen.setdefault(row.key, line) != line:
            # Sent both, they would take turns to be news at each load.
            yield BadRow(
                line, f"has the same {bulk.key} as line {first_seen[row.key]}; which of them holds is not known"
            )
        elif len(orjson.dumps(fields)) > LONGEST_ROW:
            yield BadRow(line, f"has more than {LONGEST_ROW} bytes")
        else:
            yield row


def news(rows: Iterable[Row], known: Mapping[str, bytes]) -> Iterator[tuple[Row, bytes]]:
    """Yield the rows that are not as they are known, with their digests.

    Args:
        rows: of one extract.
        known: the digest of what was sent of each row last, by its key.
    """
    for row in rows:
        digest = row.digest()
        if known.get(row.key) != digest:
            yield row, digest


def _csv_rows(bulk: Bulk, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]] | BadRow]:
    lines = csv.reader(file, delimiter=bulk.delimiter, strict=True)
    head: list[str] | None = None
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as exc:
            yield BadRow(lines.line_num, f"is no CSV: {exc}; what follows it was not read")
            return
        if cells is None:
            return
        if head is None:
            head = [name.strip() for name in cells]
            if bulk.key not in head or len(set(head)) != len(head):
                yield BadRow(
                    1, f"has to name the columns, {bulk.key} among them, each once; it names {', '.join(head)[:300]}"
                )
                return
        elif cells and len(cells) != len(head):
            yield BadRow(lines.line_num, f"has {len(cells)} cells, and the head has {len(head)}")
        elif cells:
            yield lines.line_num, dict(zip(head, cells, strict=True))


def _ndjson_rows(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]] | BadRow]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            yield BadRow(number, f"is not JSON: {exc}")
            continue
        if isinstance(fields, dict):
            yield number, fields
        else:
            yield BadRow(number, "is not a JSON object")
