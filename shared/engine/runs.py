"""What an agent is given: a run of records of one partition, cut from what was fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class FetchedRecord(Protocol):
    """A record as aiokafka has fetched it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int
    """Milliseconds since the epoch, as the producer or the broker has said; nobody checks it."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition that follow each other; never empty.

    Their offsets rise, but may have gaps: compaction takes records away, and the ends of transactions have offsets too.
    """

    topic: str
    partition: int
    records: Sequence[FetchedRecord]

    @property
    def first_offset(self) -> int:
        """The offset of the first record."""
        return self.records[0].offset

    @property
    def last_offset(self) -> int:
        """The offset of the last record."""
        return self.records[-1].offset


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How large a run may become.

    Attributes:
        records: how many records at most.
        size: bytes of keys, values and headers at most; a single record that is larger is a run of its own.
    """

    records: int
    size: int

    def __post_init__(self) -> None:
        if self.records < 1 or self.size < 1:
            raise ValueError(f"a run must have room for a record, not {self.records} records of {self.size} bytes")


def cut(fetched: Sequence[FetchedRecord], limits: RunLimits) -> Iterator[Sequence[FetchedRecord]]:
    """Yield the records in the same order, in pieces within the limits."""
    begin = size = 0
    for at, record in enumerate(fetched):
        grown = size + _size(record)
        if at > begin and (at - begin == limits.records or grown > limits.size):
            yield fetched[begin:at]
            begin, grown = at, grown - size
        size = grown
    if begin < len(fetched):
        yield fetched[begin:]


def _size(record: FetchedRecord) -> int:
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value)
    return size
