"""A Faust table store that writes back: changes gather in memory, and go to the changelog and to RocksDB together.

Who uses it decides when: `unsaved` gives what the changelog has to get, `saved` takes the offsets once it has.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from faust.stores.base import Store
from faust.types import TP

from shared.engine.metrics import CACHE, DIRTY_BYTES, RECOVERED, RECOVERY_LEFT
from shared.engine.partition_db import FolderInUse, PartitionDb
from shared.engine.runs import Run

Changes = dict[bytes, bytes | None]

_OVERHEAD: Final = 150
"""Bytes that a key and its value take in a dict beside their own."""
_OPEN_SECONDS: Final = 60
"""How long another process may keep a folder open after its partition has come to us."""
_PROGRESS_SECONDS: Final = 2.0


class WriteBackStore(Store[bytes, bytes]):
    """Keys and values by partition: in RocksDB what a checkpoint has saved, in memory what has changed since.

    Args:
        folder: where the tables of this process lie, a folder each.
        cache_bytes: what values that were read may take in memory.
    """

    def __init__(self, *args: Any, folder: Path, cache_bytes: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._folder = folder / self.table_name
        self._dbs: dict[int, PartitionDb] = {}
        self._dirty: dict[int, Changes] = defaultdict(dict)
        self._dirty_bytes: dict[int, int] = defaultdict(int)
        self._cache = _Cache(cache_bytes)
        self._fault: Exception | None = None
        self._told = 0.0
        DIRTY_BYTES.labels(self.table_name).set_function(lambda: sum(self._dirty_bytes.values()))

    # -- reading and changing ---------------------------------------------------------------------

    def value(self, partition: int, key: bytes) -> bytes | None:
        """Return a value as it is now, or None."""
        return self.load(partition, [key])[0]

    def load(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values as they are now, None where there is none; what is not in memory is read at once."""
        dirty, cache = self._dirty[partition], self._cache
        found: dict[bytes, bytes | None] = {}
        missing = []
        for key in keys:
            if key in dirty:
                found[key] = dirty[key]
            elif (partition, key) in cache:
                found[key] = cache.get((partition, key))
            else:
                missing.append(key)
        CACHE.labels(self.table_name, "hit").inc(len(keys) - len(missing))
        if missing:
            CACHE.labels(self.table_name, "miss").inc(len(missing))
            for key, value in zip(missing, self._db(partition).get_many(missing), strict=True):
                found[key] = value
                cache.put((partition, key), value)
        return [found[key] for key in keys]

    def change(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes; None deletes. They are seen at once, and saved by the next checkpoint."""
        dirty = self._dirty[partition]
        for key, value in changes.items():
            if key in dirty:
                self._dirty_bytes[partition] -= _size(key, dirty[key])
            dirty[key] = value
            self._dirty_bytes[partition] += _size(key, value)

    def scan(self, partition: int, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """Return about `most` keys behind `after`, in their order, with their values as they are now.

        An empty list is the end. Deleted keys may make it shorter.
        """
        while True:
            saved = self._db(partition).scan(after, most)
            last = saved[-1][0] if len(saved) == most else None
            merged: Changes = dict(saved)
            for key, value in self._dirty[partition].items():
                if key > after and (last is None or key <= last):
                    merged[key] = value
            found = sorted((key, value) for key, value in merged.items() if value is not None)
            if found or last is None:
                return found
            after = last  # all of these have been deleted

    def estimated_keys(self) -> int:
        """Return about how many keys there are, in all partitions of this process."""
        return sum(db.estimated_keys() for db in self._dbs.values())

    # -- saving -----------------------------------------------------------------------------------

    def dirty_bytes(self, partition: int) -> int:
        """Return what the unsaved changes of a partition take."""
        return self._dirty_bytes[partition]

    def unsaved(self) -> dict[int, Changes]:
        """Return the changes since the last checkpoint, by partition."""
        return {partition: dict(changes) for partition, changes in self._dirty.items() if changes}

    def saved(self, offsets: Mapping[int, int]) -> None:
        """Write the unsaved changes to RocksDB: the changelog has them, up to these offsets by partition.

        Raises:
            OSError: the disk is full or refuses.
            FolderBroken: the folder is torn and was set aside.
        """
        self._raise_fault()
        for partition, offset in offsets.items():
            dirty = self._dirty.pop(partition)
            self._db(partition).write(dirty.items(), offset)
            self._dirty_bytes.pop(partition)
            for key, value in dirty.items():
                self._cache.put((partition, key), value)

    # -- what Faust asks --------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the offset from which recovery goes on."""
        return self._db(tp.partition).offset

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Do nothing: an offset is written with the changes that it covers."""

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002 (Faust's)
        """Write runs of changelog records, each with its offset at once."""
        # Faust logs what is raised here and goes on with the next batch, whose offset would cover this one.
        self._raise_fault()
        try:
            for event in batch:
                run: Run = event.value
                self._db(run.partition).write(((r.key or b"", r.value) for r in run.records), run.last_offset)
                self._tell(run)
        except Exception as exc:
            self._fault = exc
            asyncio.ensure_future(self.app.crash(exc))  # noqa: RUF006 (the app ends by it)
            raise

    def reset_state(self) -> None:
        """Delete what is on disk, as `faust reset` asks; the changelog has it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Refuse: the changelog is the backup."""
        raise NotImplementedError("a write-back table has no backup beside its changelog")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Refuse: the changelog is the backup."""
        raise NotImplementedError("a write-back table has no backup beside its changelog")

    async def on_rebalance(self, assigned: set[TP], *_: Any, **__: Any) -> None:
        """Let go of partitions that are not ours any more, open those that are; what was not saved comes again."""
        ours = {tp.partition for tp in assigned if tp.topic in self.table.changelog_topic.topics}
        self._dirty.clear()
        self._dirty_bytes.clear()
        self._cache.clear()
        self._close(self._dbs.keys() - ours)
        for partition in ours - self._dbs.keys():
            self._dbs[partition] = await self._opened(self._folder / str(partition))

    async def _opened(self, folder: Path) -> PartitionDb:
        until = monotonic() + _OPEN_SECONDS
        while True:
            try:
                return await asyncio.to_thread(PartitionDb, folder)
            except FolderInUse:
                if monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def on_stop(self) -> None:
        """Close all."""
        self._close(self._dbs.keys())

    def _close(self, partitions: Collection[int]) -> None:
        for partition in list(partitions):
            self._dbs.pop(partition).close()

    def _db(self, partition: int) -> PartitionDb:
        return self._dbs[partition]

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _tell(self, run: Run) -> None:
        RECOVERED.labels(self.table_name).inc(len(run.records))
        end = self.app.consumer.highwater(TP(run.topic, run.partition)) or run.last_offset + 1
        RECOVERY_LEFT.labels(self.table_name, str(run.partition)).set(max(0, end - 1 - run.last_offset))
        if monotonic() > self._told + _PROGRESS_SECONDS:
            self._told = monotonic()
            self.log.info("recovering %s/%s: at %s of %s", run.topic, run.partition, run.last_offset + 1, end)


class _Cache:
    """The values that were asked for last, as many as there is room for; that there is none is also remembered."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._size = 0
        self._held: OrderedDict[tuple[int, bytes], bytes | None] = OrderedDict()

    def __contains__(self, key: tuple[int, bytes]) -> bool:
        return key in self._held

    def get(self, key: tuple[int, bytes]) -> bytes | None:
        self._held.move_to_end(key)
        return self._held[key]

    def put(self, key: tuple[int, bytes], value: bytes | None) -> None:
        if key in self._held:
            self._size -= _size(key[1], self._held.pop(key))
        self._held[key] = value
        self._size += _size(key[1], value)
        while self._size > self._room:
            (_, oldest), dropped = self._held.popitem(last=False)
            self._size -= _size(oldest, dropped)

    def clear(self) -> None:
        self._held.clear()
        self._size = 0


def _size(key: bytes, value: bytes | None) -> int:
    return _OVERHEAD + len(key) + len(value or b"")
