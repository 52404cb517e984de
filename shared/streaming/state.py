"""Keeps a service's state by partition and key: read and changed at once, made durable by checkpoints.

State changes of a run are held back until the run's outputs are acknowledged; then they settle in the table's memory. A
checkpoint, some runs later, writes what has settled to the changelog, then to the local disk, then lets the offsets go.
So the state is never ahead of the outputs that it caused, and a run that is handled again after a crash gives the same
outputs again instead of none. (A stock Faust table writes locally first and to the changelog some time after: see
docs/decisions.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from shared.engine.batches import RECORD_OVERHEAD
from shared.streaming.metrics import STATE_KEYS
from shared.streaming.records import Poison
from shared.streaming.topics import LARGEST_BATCH, LARGEST_RECORD

_LARGEST_VALUE = LARGEST_RECORD - 64 * 1024
"""Bytes: beside the value, the record has a key."""
_BATCH_ROOM = LARGEST_BATCH - 64 * 1024
"""Bytes of records that surely go into one record batch of a changelog."""
_SLICE = 500

Changes = dict[bytes, bytes | None]
"""What keys are now, as they are stored; None for what is deleted."""


class State(Protocol):
    """What a handler sees of state: values by (partition, key), as bytes."""

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value; None deletes the key."""

    def items(self, partition: int, beginning: str = "") -> Iterator[tuple[str, bytes]]:
        """Return the keys of a partition that begin so, and their values, as they are now."""


class KeyedState:
    """Values by (partition, key), as bytes.

    A key lives in the partition of the records that concern it. The same key in two partitions is two values.
    After a crash all changes that a checkpoint saved in a partition are there, or none (they are one record batch).
    What belongs together belongs into one state, therefore; `part` keeps kinds of keys apart in it.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._store = table.data
        self._pending: dict[int, Changes] = {}
        STATE_KEYS.labels(table.name).set_function(self._store.estimated_keys)

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""
        return self._value(partition, _stored(partition, key))

    def _value(self, partition: int, stored: bytes) -> bytes | None:
        pending = self._pending.get(partition)
        if pending is not None and stored in pending:
            return pending[stored]
        value: bytes | None = self._store.value(partition, stored)
        return value

    def expect(self, places: Iterable[tuple[int, str]]) -> None:
        """Read together what `get` is about to be asked for one by one, as (partition, key)."""
        keys: dict[int, list[bytes]] = defaultdict(list)
        for partition, key in places:
            keys[partition].append(_stored(partition, key))
        for partition, of_it in keys.items():
            self._store.load(partition, of_it)

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
        self._change(partition, _stored(partition, key), value)

    def _change(self, partition: int, stored: bytes, value: bytes | None) -> None:
        pending = self._pending.get(partition)
        if pending is None:
            pending = self._pending[partition] = {}
        pending[stored] = value

    def taken(self, topic: str, partition: int) -> int:
        """Return the offset of the last record of a topic's partition that this state has taken in; -1 for none."""
        return int(self._value(partition, _place(topic, partition)) or -1)

    def take(self, topic: str, partition: int, offset: int) -> None:
        """Note that it has taken in a topic's partition up to this offset; saved with what it made of that."""
        self._change(partition, _place(topic, partition), b"%d" % offset)

    def items(self, partition: int, beginning: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys of a partition that begin so, and their values, in the order of the keys' bytes.

        They are read in slices, so no more than one is in memory. Changes that are made meanwhile to keys further on
        may be seen.
        """
        wanted = _stored(partition, beginning)
        after = wanted
        while True:
            slice_ = [item for item in self._store.scan(partition, after, _SLICE) if item[0].startswith(wanted)]
            last = slice_[-1][0] if slice_ else None
            merged: Changes = dict(slice_)
            for key, changed in self._pending.get(partition, {}).items():
                if after < key and key.startswith(wanted) and (last is None or key <= last):
                    merged[key] = changed
            for stored, value in sorted(merged.items()):
                if value is not None:
                    yield stored.partition(b"/")[2].decode(), value
            if last is None:
                return
            after = last

    def part(self, name: str) -> State:
        """Return the state of the keys that begin with `name/`, without that beginning."""
        return _Part(self, f"{name}/")

    def fits(self) -> bool:
        """Tell whether the present run's changes and the settled ones of earlier runs go into one batch a partition.

        If not, the earlier ones have to be saved before these settle. A batch is there whole or not at all; of several
        the first alone may be, and keys that changed in several runs could then be older in it than their order says.
        """
        for partition, changes in self._pending.items():
            unsaved = self._store.dirty_bytes(partition)
            if unsaved and unsaved + sum(map(_size, changes.items())) > _BATCH_ROOM:
                return False
        return True

    def settle(self) -> None:
        """Hand the changes to the table: seen by later runs, saved by the next checkpoint."""
        for partition, changes in self._pending.items():
            self._store.change(partition, changes)
        self._pending = {}

    async def write_changelog(self) -> dict[int, int]:
        """Write what has settled since the last checkpoint to the changelog, and return its last offset by partition.

        It takes as long as Kafka is away; nothing may settle meanwhile.

        Raises:
            Fenced: a partition is another worker's by now.
            aiokafka.errors.KafkaError: Kafka refuses, and will refuse what comes after it.
        """
        offsets: dict[int, int] = await self._store.write_changelog(LARGEST_BATCH)
        return offsets

    def saved(self, partition: int, offset: int) -> None:
        """Move a partition's settled changes to disk. The changelog has them by now, up to this offset."""
        self._store.saved(partition, offset)

    @property
    def changelog(self) -> str:
        """The topic that the changes go to."""
        name: str = self._table.changelog_topic_name
        return name


class _Part:
    def __init__(self, whole: State, prefix: str) -> None:
        self._whole = whole
        self._prefix = prefix

    def get(self, partition: int, key: str) -> bytes | None:
        return self._whole.get(partition, self._prefix + key)

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        self._whole.put(partition, self._prefix + key, value)

    def items(self, partition: int, beginning: str = "") -> Iterator[tuple[str, bytes]]:
        for key, value in self._whole.items(partition, self._prefix + beginning):
            yield key[len(self._prefix) :], value


def _stored(partition: int, key: str) -> bytes:
    # So that a key says where it belongs, in the changelog too. (Once Faust's store was one dict for all partitions.)
    return b"%d/%s" % (partition, key.encode())


def _place(topic: str, partition: int) -> bytes:
    # Without the slash that all other keys have behind their partition.
    return b"%d\x00%s" % (partition, topic.encode())


def _size(change: tuple[bytes, bytes | None]) -> int:
    key, value = change
    return RECORD_OVERHEAD + len(key) + len(value or b"")
