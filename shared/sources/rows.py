"""Reads the rows of an extract, and decides which are news: those that are new, or differ from what was sent last.

Most of a nightly extract is as it was the night before. So a row is only looked at as far as telling that takes: its
fields are put together for those that are news.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from shared.sources.declaration import Bulk

LONGEST_ROW: Final = 900_000
"""Bytes of the largest row that is sent; as the gateway has it for events."""
DIGEST_BYTES: Final = 16
_TOGETHER: Final = 4096
"""Rows of a Parquet file that are taken out of its columns together."""
_SORTED: Final = orjson.OPT_SORT_KEYS


class Row:
    """A row of an extract.

    Attributes:
        line: where it ends in the file, counted from 1; in Parquet, its number.
        key: what tells it apart from the others.
        digest: what changes when a field does, in whatever order the columns are.
    """

    __slots__ = ("_cells", "_head", "digest", "key", "line")

    def __init__(self, line: int, key: str, digest: bytes, head: Sequence[str], cells: Sequence[Any]) -> None:
        self.line = line
        self.key = key
        self.digest = digest
        self._head = head
        self._cells = cells

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return its columns; text in a CSV, anything in NDJSON and Parquet."""
        return dict(zip(self._head, self._cells, strict=True))

    def body(self, as_of: datetime) -> bytes:
        """Return the body of the delivery that the row is."""
        return row_body(self.fields, as_of)


class BadRow:
    """A row that can't be sent; the others are."""

    __slots__ = ("line", "reason")

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason


class NotReadable(ValueError):
    """The file is not what its declaration says; the message says what to do."""


def row_body(fields: Any, as_of: datetime) -> bytes:
    """Return the body of the delivery that a row is, as it was at that time."""
    return orjson.dumps({"row": fields, "as_of": as_of.isoformat()}, default=_plain)


def row_digest(fields: Any) -> bytes:
    """Return what changes when a field does, in whatever order they are."""
    return blake2b(orjson.dumps(fields, default=_plain, option=_SORTED), digest_size=DIGEST_BYTES).digest()


def read_rows(bulk: Bulk, path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of an extract, as its declaration says: each is news.

    Raises:
        NotReadable: the file is none of that format or encoding.
    """
    return news(bulk, path, {})


def news(bulk: Bulk, path: Path, known: MutableMapping[str, bytes | int]) -> Iterator[Row | BadRow]:
    """Yield the rows that are not as they are known, and those that can't be sent.

    Args:
        bulk: the declaration.
        path: the extract. A row of it is in memory at a time, in Parquet a row group.
        known: the digest of what was sent of each row last, by its key. What the extract has gets its line instead,
            less than 0 where the row can't be sent; so a key that still has a digest is of a row not in the extract.

    Raises:
        NotReadable: the file is none of that format or encoding.
    """
    for found in _READERS[bulk.format](bulk, path):
        if isinstance(found, BadRow):
            yield found
            continue
        line, said, content, head, cells = found
        if not isinstance(said, str | int) or isinstance(said, bool) or not (key := str(said).strip()):
            yield BadRow(line, f"has nothing in {bulk.key}, which tells rows apart")
            continue
        before = known.get(key)
        if isinstance(before, int):
            # Sent both, they would take turns to be news at each load.
            yield BadRow(line, f"has the same {bulk.key} as line {abs(before)}; which of them holds is not known")
            continue
        known[key] = line
        digest = blake2b(content, digest_size=DIGEST_BYTES).digest()
        if digest == before:
            continue
        if len(content) > LONGEST_ROW:
            known[key] = -line
            yield BadRow(line, f"has more than {LONGEST_ROW} bytes")
        else:
            yield Row(line, key, digest, head, cells)


_Found = tuple[int, Any, bytes, Sequence[str], Sequence[Any]]
"""Line, key, content (the columns' names and the cells, in the order of the names), names, cells."""


def _not_in(bulk: Bulk, path: Path, exc: UnicodeError) -> NotReadable:
    # UTF-16 without its mark is an error of the kind that has no reason of its own.
    reason = exc.reason if isinstance(exc, UnicodeDecodeError) else str(exc)
    return NotReadable(f"{path} is not {bulk.encoding}: {reason}; set bulk.encoding")


def _csv_rows(bulk: Bulk, path: Path) -> Iterator[_Found | BadRow]:
    try:
        with path.open(encoding=bulk.encoding, newline="") as file:
            yield from _csv_lines(bulk, csv.reader(file, delimiter=bulk.delimiter, strict=True))
    except UnicodeError as exc:
        raise _not_in(bulk, path, exc) from exc


def _csv_lines(bulk: Bulk, lines: Any) -> Iterator[_Found | BadRow]:
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
            if (wrong := _head_is_wrong(bulk, head)) is not None:
                yield wrong
                return
            key_at, names, in_order = head.index(bulk.key), orjson.dumps(sorted(head)), _in_order(head)
        elif cells and len(cells) != len(head):
            yield BadRow(lines.line_num, f"has {len(cells)} cells, and the head has {len(head)}")
        elif cells:
            yield lines.line_num, cells[key_at], names + orjson.dumps(in_order(cells)), head, cells


def _ndjson_rows(bulk: Bulk, path: Path) -> Iterator[_Found | BadRow]:
    try:
        with path.open(encoding=bulk.encoding, newline="") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    fields = orjson.loads(line)
                except orjson.JSONDecodeError as exc:
                    yield BadRow(number, f"is not JSON: {exc}")
                    continue
                if isinstance(fields, dict):
                    content = orjson.dumps(fields, option=_SORTED)
                    yield number, fields.get(bulk.key), content, tuple(fields), tuple(fields.values())
                else:
                    yield BadRow(number, "is not a JSON object")
    except UnicodeError as exc:
        raise _not_in(bulk, path, exc) from exc


def _parquet_rows(bulk: Bulk, path: Path) -> Iterator[_Found | BadRow]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            head = list(file.schema_arrow.names)
            if (wrong := _head_is_wrong(bulk, head)) is not None:
                yield wrong
                return
            key_at, names, in_order = head.index(bulk.key), orjson.dumps(sorted(head)), _in_order(head)
            for batch in file.iter_batches(batch_size=_TOGETHER):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    try:
                        content = names + orjson.dumps(in_order(cells), default=_plain)
                    except TypeError as exc:
                        yield BadRow(number, f"has a cell that JSON can't say: {exc}")
                        continue
                    yield number, cells[key_at], content, head, cells
    except (pyarrow.ArrowException, OSError) as exc:
        if number == 0:
            raise NotReadable(f"{path} is no Parquet: {' '.join(str(exc).split())[:300]}") from exc
        yield BadRow(number + 1, f"is no Parquet: {' '.join(str(exc).split())[:300]}; what follows it was not read")


_READERS: Final = {"csv": _csv_rows, "ndjson": _ndjson_rows, "parquet": _parquet_rows}


def _head_is_wrong(bulk: Bulk, head: Sequence[str]) -> BadRow | None:
    if bulk.key in head and len(set(head)) == len(head):
        return None
    return BadRow(1, f"has to name the columns, {bulk.key} among them, each once; it names {', '.join(head)[:300]}")


def _in_order(head: Sequence[str]) -> Any:
    """Return what takes a row's cells in the order of the columns' names."""
    order = sorted(range(len(head)), key=head.__getitem__)
    return itemgetter(*order) if len(order) > 1 else tuple


def _plain(value: Any) -> str:
    """Return a cell that JSON has no form for as text; Parquet has numbers of fixed scale."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
