"""What a handler is given and gives back: a record read from Kafka, a record to be written, a record it can't take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

Headers = tuple[tuple[str, bytes], ...]


SOURCE_HEADER: Final = "source"
"""On what came of a source: the name of its file."""


class Record(Struct, frozen=True, gc=False):
    """A record as it was read.

    A Struct of msgspec: one is made of each record that comes in, and a frozen dataclass takes twelve times as long.

    Attributes:
        time: the record's time stamp (for feeds: when it was written to Kafka), aware, UTC.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    time: datetime


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written.

    Attributes:
        value: None is a tombstone.
        partition: where to; None lets the key decide, by the same hash as Kafka's own clients (murmur2).
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()


class Poison(Exception):
    """A record that can't be understood or dealt with; the message says why, for whoever will read the dead letter."""


def as_read(record: Any) -> Record:
    """Return a record of kafka-python's consumer as a handler would be given it."""
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        time=written_at(record.timestamp),
    )


@lru_cache(maxsize=1024)  # records that were written together have one time stamp
def written_at(milliseconds: int) -> datetime:
    """Return a record's time stamp as a time; the epoch where it lies outside of what a time can be."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):  # a producer may say anything, most often in the wrong unit
        return datetime.fromtimestamp(0, tz=UTC)
