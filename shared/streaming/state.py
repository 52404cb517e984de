"""Keeps a service's state by partition and key: read and changed at once, made durable when its run settles.

State changes of a run are held back in memory until the run's outputs are acknowledged; then they go to the changelog,
and when that is acknowledged, to the local table. So the state is never ahead of the outputs that it caused, and a run
that is handled again after a crash gives the same outputs again instead of none.
(A stock Faust table writes locally first and to the changelog some time after: see docs/decisions.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol

from shared.streaming.metrics import STATE_KEYS
from shared.streaming.records import Output, Poison
from shared.streaming.topics import LARGEST_RECORD

_LARGEST_VALUE = LARGEST_RECORD - 64 * 1024
"""Bytes: beside the value, the record has a key."""


class State(Protocol):
    """What a handler sees of state: values by (partition, key), as bytes."""

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value; None deletes the key."""

    def items(self, partition: int) -> Iterator[tuple[str, bytes]]:
        """Return the keys and values of a partition as they are now."""


class KeyedState:
    """Values by (partition, key), as bytes.

    A key lives in the partition of the records that concern it. The same key in two partitions is two values.
    After a crash all changes that a run made in a partition are there, or none (`StreamService` writes them as one
    batch). What belongs together belongs into one state, therefore; `part` keeps kinds of keys apart in it.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._pending: dict[bytes, bytes | None] = {}
        STATE_KEYS.labels(table.name).set_function(lambda: len(table.data.data))

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""
        stored = _stored(partition, key)
        if stored in self._pending:
            return self._pending[stored]
        value: bytes | None = self._table.data.data.get(stored)
        return value

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value; None deletes the key.

        Raises:
            Poison: the value is larger than a record of the changelog may be; nothing has changed. What made it grow
                is to be buried, for written it would stop the service now and at each start.
        """
        if value is not None and len(value) > _LARGEST_VALUE:
            raise Poison(
                f"the state {self._table.name} of {key!r} would take {len(value):,} bytes, and there is room for "
                f"{_LARGEST_VALUE:,}: is something sent again and again under new ids?"
            )
        self._pending[_stored(partition, key)] = value

    def items(self, partition: int) -> Iterator[tuple[str, bytes]]:
        """Return the keys and values of a partition as they are now; changes made meanwhile are not seen."""
        prefix = _prefix(partition)
        merged = {k: v for k, v in self._table.data.data.items() if k.startswith(prefix)}
        merged.update((k, v) for k, v in self._pending.items() if k.startswith(prefix))
        for stored, value in merged.items():
            if value is not None:
                yield stored[len(prefix) :].decode(), value

    def part(self, name: str) -> State:
        """Return the state of the keys that begin with `name/`, without that beginning."""
        return _Part(self, f"{name}/")

    def changes(self) -> list[Output]:
        """Return the present run's changes as records for the changelog; a tombstone for a deleted key."""
        return [
            Output(self.changelog, stored, value, partition=_partition(stored))
            for stored, value in self._pending.items()
        ]

    def settle(self) -> None:
        """Move the changes to the local table. The changelog has them by now."""
        local = self._table.data.data
        for stored, value in self._pending.items():
            if value is None:
                local.pop(stored, None)
            else:
                local[stored] = value
        self._pending.clear()

    @property
    def changelog(self) -> str:
        """The topic that the changes go to."""
        name: str = self._table.changelog_topic_name
        return name

    def forget_all_but(self, partitions: Collection[int]) -> None:
        """Drop what is held of partitions that are not ours any more.

        They may come back with keys deleted by another worker, whose tombstones the changelog may have lost by then
        (Faust drops only what it has recovered itself, not what was settled since).
        """
        local = self._table.data.data
        for stored in [stored for stored in local if _partition(stored) not in partitions]:
            del local[stored]


class _Part:
    def __init__(self, whole: State, prefix: str) -> None:
        self._whole = whole
        self._prefix = prefix

    def get(self, partition: int, key: str) -> bytes | None:
        return self._whole.get(partition, self._prefix + key)

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        self._whole.put(partition, self._prefix + key, value)

    def items(self, partition: int) -> Iterator[tuple[str, bytes]]:
        for key, value in self._whole.items(partition):
            if key.startswith(self._prefix):
                yield key[len(self._prefix) :], value


def _prefix(partition: int) -> bytes:
    return b"%d/" % partition


def _partition(stored: bytes) -> int:
    return int(stored.partition(b"/")[0])


def _stored(partition: int, key: str) -> bytes:
    # Faust's in-memory store is one dict for all partitions, so the partition has to be part of the key.
    return _prefix(partition) + key.encode()
