"""Keeps a service's state by partition and key: read and changed at once, made durable by checkpoints.

State changes of a run are held back until the run's outputs are acknowledged; then they settle in the table's memory. A
checkpoint, some runs later, writes what has settled to the changelog, then to the local disk, then lets the offsets go.
So the state is never ahead of the outputs that it caused, and a run that is handled again after a crash gives the same
outputs again instead of none. (A stock Faust table writes locally first and to the changelog some time after: see
docs/decisions.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Protocol

from shared.engine.batches import RECORD_OVERHEAD
from shared.streaming.metrics import STATE_KEYS
from shared.streaming.person_keys import BadKeys, Keyring
from shared.streaming.records import Poison
from shared.streaming.sealed_states import SEALED_KEY, Shape
from shared.streaming.topics import LARGEST_BATCH, LARGEST_RECORD

_LARGEST_VALUE = LARGEST_RECORD - 64 * 1024
"""Bytes: beside the value, the record has a key."""
_BATCH_ROOM = LARGEST_BATCH - 64 * 1024
"""Bytes of records that surely go into one record batch of a changelog."""
_SLICE = 500
_SEALED_GROWS: Final = 4
"""How many times its size an entry may take once it is sealed: some 60 bytes come with each part that is about another,
of which the shortest is a name."""

Changes = dict[bytes, bytes | None]
"""What keys are now, as they are stored; None for what is deleted."""
Patiently = Callable[[Callable[[], list[bytes]]], Awaitable[list[bytes]]]
"""Runs what needs keys on another thread, and again for as long as they are away."""


class State(Protocol):
    """What a handler sees of state: values by (partition, key), as bytes."""

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value; None deletes the key."""

    def items(self, partition: int, beginning: str = "") -> Iterator[tuple[str, bytes]]:
        """Return the keys of a partition that begin so, and their values, as they are now.

        In the key of a sealed entry a mark stands in the place of the name.
        """


class SealedAtRest:
    """Seals a state's entries on their way to the changelog and to disk, and opens what is read from there.

    Args:
        keys: of the people whom entries are about.
        changelog: the state's.
        shape: of the state.
        patiently: runs what needs keys.
    """

    def __init__(self, keys: Keyring, changelog: str, shape: Shape, patiently: Patiently) -> None:
        self._keys, self._changelog, self._shape, self._patiently = keys, changelog, shape, patiently
        self._names: dict[bytes, str] = {}
        """The service's key, by the one under which it is stored, of entries that have changed and are not written."""
        self.key = lru_cache(maxsize=1 << 16)(self._sealed_key)
        """Returns the key under which an entry is stored, by the service's; the same where it is about nobody."""

    def _sealed_key(self, key: str) -> str:
        return self._shape.sealed_key(key, self._keys.wire_key)

    def changes(self, stored: bytes, key: str) -> None:
        """Note which entry is about to change."""
        self._names[stored] = key

    async def write(self, changes: Changes) -> Changes:
        """Return the changes with what is about somebody sealed."""
        entries = []
        for stored, value in changes.items():
            key = self._names.get(stored)
            if key is not None and value is not None:
                partition = stored.partition(b"/")[0]
                entries.append((stored, (b"%b/%b" % (partition, key.encode()), key, value)))
        sealed = await self._patiently(
            lambda: self._keys.seal_entries(self._changelog, self._shape, [entry for _, entry in entries])
        )
        return changes | {stored: value for (stored, _), value in zip(entries, sealed, strict=True)}

    def read(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return the values opened; None for those of people who have been erased.

        Raises:
            BadKeys: they can't be opened, or would not be found by their keys.
        """
        opened = self._keys.open_entries(self._changelog, self._shape, values)
        for stored, (key, _) in zip(keys, opened, strict=True):
            if key is not None and stored != self._stored(key):
                raise BadKeys(
                    f"an entry of {self._changelog} lies under another mark than its name has: is PERSON_MARKS_KEY "
                    "what it was?"
                )
        return [value for _, value in opened]

    def _stored(self, plain: bytes) -> bytes:
        partition, _, key = plain.partition(b"/")
        return b"%b/%b" % (partition, self.key(key.decode()).encode())

    def written(self, unwritten: Iterable[bytes]) -> None:
        """Forget the names of all entries but these."""
        self._names = {stored: self._names[stored] for stored in unwritten if stored in self._names}

    def is_about_somebody(self, stored: bytes) -> bool:
        """Tell it of an entry that lies under a plain key."""
        return self._shape.whose(stored.partition(b"/")[2].decode()) is not None


class KeyedState:
    """Values by (partition, key), as bytes.

    A key lives in the partition of the records that concern it. The same key in two partitions is two values.
    After a crash all changes that a checkpoint saved in a partition are there, or none (they are one record batch).
    What belongs together belongs into one state, therefore; `part` keeps kinds of keys apart in it.

    Where entries are sealed, those about somebody lie under keys that do not name them. What was there before lies
    under its plain key until it is next changed; it is looked for there too.

    Args:
        table: the write-back table.
        sealed: seals what the table writes.
    """

    def __init__(self, table: Any, sealed: SealedAtRest | None = None) -> None:
        self._table = table
        self._store = table.data
        self._sealed = sealed
        self._has_plain: dict[int, bool] = {}
        """Whether a partition has entries about somebody under plain keys; of those that were looked at."""
        self._pending: dict[int, Changes] = {}
        STATE_KEYS.labels(table.name).set_function(self._store.estimated_keys)

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, with the changes of the present run, or None."""
        if self._sealed is None:
            return self._value(partition, _stored(partition, key))
        value = self._value(partition, _stored(partition, self._sealed.key(key)))
        if value is None and self._is_mixed(partition):
            value = self._value(partition, _stored(partition, key))
        return value

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
            keys[partition].append(_stored(partition, key if self._sealed is None else self._sealed.key(key)))
        for partition, of_it in keys.items():
            self._store.load(partition, of_it)

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value; None deletes the key.

        Raises:
            Poison: the value is larger than a record of the changelog may be; nothing has changed. What made it grow
                is to be buried, for written it would stop the service now and at each start.
        """
        room = _LARGEST_VALUE if self._sealed is None else _LARGEST_VALUE // _SEALED_GROWS
        if value is not None and len(value) > room:
            raise Poison(
                f"the state {self._table.name} of {key!r} would take {len(value):,} bytes, and there is room for "
                f"{room:,}: is something sent again and again under new ids?"
            )
        stored = plain = _stored(partition, key)
        if self._sealed is not None and (sealed_key := self._sealed.key(key)) != key:
            stored = _stored(partition, sealed_key)
            self._sealed.changes(stored, key)
            if self._is_mixed(partition) and self._value(partition, plain) is not None:
                self._change(partition, plain, None)
        self._change(partition, stored, value)

    def _change(self, partition: int, stored: bytes, value: bytes | None) -> None:
        pending = self._pending.get(partition)
        if pending is None:
            pending = self._pending[partition] = {}
        pending[stored] = value

    def taken(self, topic: str, partition: int) -> int:
        """Return the offset of the last record of a topic's partition that this state has taken in; -1 for none.

        Raises:
            BadKeys: the partition has sealed entries, and they can't be opened.
        """
        self._look(partition)
        return int(self._value(partition, _place(topic, partition)) or -1)

    def take(self, topic: str, partition: int, offset: int) -> None:
        """Note that it has taken in a topic's partition up to this offset; saved with what it made of that."""
        self._change(partition, _place(topic, partition), b"%d" % offset)

    def items(self, partition: int, beginning: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys of a partition that begin so, and their values, in the order of the keys' bytes.

        They are read in slices, so no more than one is in memory. Changes that are made meanwhile to keys further on
        may be seen. Sealed entries come first; in their keys a mark stands in the place of the name.
        """
        if self._sealed is None:
            return self._items(partition, beginning)
        sealed_key = self._sealed.key(beginning)
        marked = sealed_key if sealed_key != beginning else SEALED_KEY + beginning
        return chain(
            ((key.removeprefix(SEALED_KEY), value) for key, value in self._items(partition, marked)),
            self._items(partition, beginning, but=SEALED_KEY),
        )

    def _items(self, partition: int, beginning: str, but: str | None = None) -> Iterator[tuple[str, bytes]]:
        wanted = _stored(partition, beginning)
        # Nothing that is not sealed lies in front of what is.
        after = max(wanted, _stored(partition, but) + b"\xff") if but is not None else wanted
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
            room = _BATCH_ROOM if self._sealed is None else _BATCH_ROOM // _SEALED_GROWS
            if unsaved and unsaved + sum(map(_size, changes.items())) > room:
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
        if self._sealed is not None:
            self._sealed.written(stored for changes in self._pending.values() for stored in changes)
        return offsets

    def saved(self, partition: int, offset: int) -> None:
        """Move a partition's settled changes to disk. The changelog has them by now, up to this offset."""
        self._store.saved(partition, offset)

    def moved(self) -> None:
        """Take note that partitions have come or gone."""
        self._has_plain.clear()

    def _is_mixed(self, partition: int) -> bool:
        if partition not in self._has_plain:
            self._look(partition)
        return self._has_plain[partition]

    def _look(self, partition: int) -> None:
        """Find out whether a partition has entries about somebody under plain keys, and whether sealed ones are found.

        Raises:
            BadKeys: they are not: with other settings than those that they were sealed by, all would begin anew.
        """
        if partition in self._has_plain:
            return
        sealed = _stored(partition, SEALED_KEY)
        first = next(iter(self._store.scan(partition, sealed, 1)), None)
        if first is not None and first[0].startswith(sealed) and self._sealed is None:
            raise BadKeys(
                f"the state {self._table.name} is sealed: set PERSON_MARKS_KEY and PERSON_MASTER_KEYS to what sealed it"
            )
        self._has_plain[partition] = self._sealed is not None and any(
            self._sealed.is_about_somebody(stored) for stored in self._plain_keys(partition)
        )

    def _plain_keys(self, partition: int) -> Iterator[bytes]:
        after, beginning = _stored(partition, SEALED_KEY) + b"\xff", _stored(partition, "")
        while slice_ := self._store.scan(partition, after, _SLICE):
            for stored, _ in slice_:
                if not stored.startswith(beginning):
                    return
                yield stored
            after = slice_[-1][0]

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
