"""What a handler is given and gives back: a record read from Kafka, a record to be written, a record it can't take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

Headers = tuple[tuple[str, bytes], ...]


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
