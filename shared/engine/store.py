"""A Faust table store that writes back: changes gather in memory, and go to the changelog and to RocksDB together.

Who uses it decides when: `write_changelog` writes what has changed there, `saved` takes the offsets once it has.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from faust.stores.base import Store
from faust.types import TP

from shared.engine.claims import Claim, claim
from shared.engine.metrics import CACHE, DIRTY_BYTES, RECOVERED, RECOVERY_LEFT
from shared.engine.partition_db import PartitionDb, another, newest
from shared.engine.runs import Run

Changes = dict[bytes, bytes | None]

_OVERHEAD: Final = 150
"""Bytes that a key and its value take in a dict beside their own."""
_LET_GO_SECONDS: Final = 1.5
"""How long other processes of this host, which have just lost partitions to us, may take to let their folders go, all
together: until a rebalance is over nobody tells the group that we live, and it takes us for dead after the session."""
_PROGRESS_SECONDS: Final = 2.0
_ABSENT: Final[Any] = object()


class AtRest(Protocol):
    """How values lie in the changelog and on disk, where that is not how they are in memory."""

    async def write(self, changes: Changes) -> Changes:
        """Return what is written of these changes, under the same keys."""

    def read(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return what the values of these keys are in memory; None for one that is none any more."""


class WriteBackStore(Store[bytes, bytes]):
    """Keys and values by partition: in RocksDB what a checkpoint has saved, in memory what has changed since.

    Args:
        folder: where the tables of this process lie, a folder each.
        cache_bytes: about what values that were read or saved may take in memory, beside the unsaved ones; a checkpoint
            may add its own size to that.
        at_rest: how values lie in the changelog and on disk.
    """

    def __init__(
        self, *args: Any, folder: Path, cache_bytes: int, at_rest: AtRest | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._at_rest = at_rest
        self._folder = folder / self.table_name
        self._parts: dict[int, _Partition] = {}
        self._claims: dict[int, Claim] = {}
        self._standbys: set[int] = set()
        self._cache_bytes = cache_bytes
        self._reads = self._misses = 0
        self._fault: Exception | None = None
        self._told = 0.0
        DIRTY_BYTES.labels(self.table_name).set_function(lambda: sum(p.dirty_bytes for p in self._parts.values()))

    # -- reading and changing ---------------------------------------------------------------------

    def value(self, partition: int, key: bytes) -> bytes | None:
        """Return a value as it is now, or None."""
        part = self._parts[partition]
        found = part.held(key)
        self._reads += 1
        if found is _ABSENT:
            self._misses += 1
            (found,) = part.read([key])
        value: bytes | None = found
        return value

    def load(self, partition: int, keys: Iterable[bytes]) -> None:
        """Read what is not in memory yet, all at once, for `value` to find."""
        part = self._parts[partition]
        missing = [key for key in dict.fromkeys(keys) if part.held(key) is _ABSENT]
        if missing:
            self._misses += len(missing)  # `value` will count the reads
            part.read(missing)

    def change(self, partition: int, changes: Changes) -> None:
        """Take changes; None deletes. They are seen at once, and saved by the next checkpoint."""
        self._parts[partition].change(changes)

    def scan(self, partition: int, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """Return about `most` keys behind `after`, in their order, with their values as they are now.

        An empty list is the end. Deleted keys may make it shorter.
        """
        part = self._parts[partition]
        while True:
            saved = part.scan(after, most)
            last = saved[-1][0] if len(saved) == most else None
            unsaved = part.dirty.items()
            merged = dict(saved) | {k: value for k, value in unsaved if k > after and (last is None or k <= last)}
            found = sorted((key, value) for key, value in merged.items() if value is not None)
            if found or last is None:
                return found
            after = last  # all of these have been deleted

    def estimated_keys(self) -> int:
        """Return about how many keys there are, in all partitions of this process."""
        return sum(part.db.estimated_keys() for part in self._parts.values())

    # -- saving -----------------------------------------------------------------------------------

    def dirty_bytes(self, partition: int) -> int:
        """Return what the unsaved changes of a partition take."""
        return self._parts[partition].dirty_bytes

    async def write_changelog(self, largest: int) -> dict[int, int]:
        """Write the changes since the last checkpoint to the changelog, and return its last offset for each partition.

        It takes as long as Kafka is away. Nothing may be changed meanwhile.

        Args:
            largest: bytes of a batch at most; what fits into one is there whole or not at all.

        Raises:
            Fenced: a partition is another worker's by now.
            aiokafka.errors.KafkaError: Kafka refuses, and will refuse what is written to this partition from now on.
        """
        unsaved = {number: part.dirty for number, part in self._parts.items() if part.dirty}
        if self._at_rest is not None:
            for number, dirty in unsaved.items():
                unsaved[number] = self._parts[number].at_rest = await self._at_rest.write(dirty)
        offsets = await asyncio.gather(
            *(self._claims[number].write(of_it, largest) for number, of_it in unsaved.items())
        )
        return dict(zip(unsaved, offsets, strict=True))

    def saved(self, partition: int, offset: int) -> None:
        """Write a partition's unsaved changes to RocksDB: the changelog has them, up to this offset.

        Raises:
            OSError: the disk is full or refuses.
            FolderBroken: the folder is torn and was set aside.
        """
        self._raise_fault()
        self._parts[partition].save(offset)
        CACHE.labels(self.table_name, "hit").inc(max(0, self._reads - self._misses))
        CACHE.labels(self.table_name, "miss").inc(self._misses)
        self._reads = self._misses = 0

    # -- what Faust asks --------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the offset from which recovery goes on."""
        return self._parts[tp.partition].db.offset

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Do nothing: an offset is written with the changes that it covers."""

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002 (Faust's)
        """Write runs of changelog records, each with its offset at once."""
        # Faust logs what is raised here and goes on with the next batch, whose offset would cover this one.
        self._raise_fault()
        try:
            for event in batch:
                run: Run = event.value
                self._parts[run.partition].db.write(((r.key or b"", r.value) for r in run.records), run.last_offset)
                self._tell(run)
        except Exception as exc:
            self._fault = exc
            asyncio.ensure_future(self.app.crash(exc))  # noqa: RUF006 (the app ends by it)
            raise

    def reset_state(self) -> None:
        """Delete what is on disk, as `faust reset` asks too; the changelog has what counts."""
        if self._folder.exists():
            self.log.warning("%s is deleted; the changelog has what counts", self._folder)
            shutil.rmtree(self._folder)

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Refuse: the changelog is the backup."""
        raise NotImplementedError("a write-back table has no backup beside its changelog")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Refuse: the changelog is the backup."""
        raise NotImplementedError("a write-back table has no backup beside its changelog")

    async def on_rebalance(self, assigned: set[TP], *_: Any, **__: Any) -> None:
        """Let go of partitions that are not ours any more, open those that are; what was not saved comes again.

        Partitions that we only stand by for are filled from the changelog by Faust all the while, and not claimed.
        """
        changelogs = {tp.partition: tp for tp in assigned if tp.topic in self.table.changelog_topic.topics}
        standbys = {tp.partition for tp in self.app.assignor.assigned_standbys() if tp in changelogs.values()}
        self._close(self._parts.keys() - changelogs.keys())
        for part in self._parts.values():
            part.forget()
        # Before the ends are asked for: what somebody else writes behind our claim is refused. Also for what was ours
        # before, for who was put out of the group meanwhile does not know it.
        await self._claim(tp for partition, tp in changelogs.items() if partition not in standbys)
        self._standbys = standbys
        new = [tp for partition, tp in changelogs.items() if partition not in self._parts]
        ends = await self.app.consumer.highwaters(*new) if new else {}
        until = monotonic() + _LET_GO_SECONDS
        for tp in new:
            db = await self._opened(tp.partition, until)
            if db.offset is not None and db.offset >= (ends.get(tp) or 0):
                # Of a changelog that has been deleted, or of Kafka as it was before it was restored from a backup.
                self.log.warning("%s knows more than %s has: it is begun anew", db.folder, tp)
                db.begin_anew()
            room = self._cache_bytes // (self.table.partitions or 1)
            self._parts[tp.partition] = _Partition(db, room, self._at_rest)

    async def _claim(self, changelogs: Iterable[TP]) -> None:
        await self._release()
        tps = list(changelogs)
        claims = await asyncio.gather(*(claim(self.app, tp.topic, tp.partition) for tp in tps))
        self._claims = {tp.partition: of_it for tp, of_it in zip(tps, claims, strict=True)}

    async def _release(self) -> None:
        claims, self._claims = self._claims, {}
        await asyncio.gather(*(of_it.release() for of_it in claims.values()))

    async def _opened(self, partition: int, until: float) -> PartitionDb:
        folder = self._folder / str(partition)
        while (db := await asyncio.to_thread(newest, folder)) is None:
            # Where there are standbys, who has lost a partition often stands by for it, and keeps its folder.
            if self.app.conf.table_standby_replicas or monotonic() > until:
                db = await asyncio.to_thread(another, folder)
                self.log.info(
                    "another process has %s open: %s is begun, and filled from the changelog", folder, db.folder
                )
                break
            await asyncio.sleep(0.1)
        return db

    async def on_stop(self) -> None:
        """Close all."""
        await self._release()
        self._close(self._parts.keys())

    def _close(self, partitions: Collection[int]) -> None:
        for partition in list(partitions):
            self._parts.pop(partition).db.close()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _tell(self, run: Run) -> None:
        RECOVERED.labels(self.table_name).inc(len(run.records))
        end = self.app.consumer.highwater(TP(run.topic, run.partition)) or run.last_offset + 1
        RECOVERY_LEFT.labels(self.table_name, str(run.partition)).set(max(0, end - 1 - run.last_offset))
        if run.partition not in self._standbys and monotonic() > self._told + _PROGRESS_SECONDS:
            self._told = monotonic()
            self.log.info("recovering %s/%s: at %s of %s", run.topic, run.partition, run.last_offset + 1, end)


class _Partition:
    """A partition's database, and before it the values in memory: those that changed, and those that were read last.

    The latter are in two generations. What is found in the older moves to the younger; when the younger fills half of
    the room, it becomes the older, whose values are forgotten. That costs a lookup or two where a list in the order of
    use costs a change of it with every read.
    """

    def __init__(self, db: PartitionDb, cache_bytes: int, opener: AtRest | None) -> None:
        self.db = db
        self._opener = opener
        self.dirty: Changes = {}
        self.at_rest: Changes = {}
        """What is dirty, as the changelog has it, where that is something else."""
        self.dirty_bytes = 0
        self._room = cache_bytes // 2
        self._young: Changes = {}
        self._old: Changes = {}
        self._young_bytes = 0

    def held(self, key: bytes) -> Any:
        """Return the value, None if it is known that there is none, `_ABSENT` if that has to be read."""
        if key in self.dirty:
            return self.dirty[key]
        found = self._young.get(key, _ABSENT)
        if found is _ABSENT and key in self._old:
            found = self._old[key]
            self._keep({key: found}, _size(key, found))
        return found

    def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return values from the database, and keep them in memory."""
        found = self._opened(keys, self.db.get_many(keys))
        self._keep(dict(zip(keys, found, strict=True)), sum(map(_size, keys, found)))
        return found

    def scan(self, after: bytes, most: int) -> list[tuple[bytes, bytes | None]]:
        """Return keys and values from the database; None for a value that is none any more."""
        found = self.db.scan(after, most)
        if self._opener is None:
            return list(found)
        keys = [key for key, _ in found]
        return list(zip(keys, self._opener.read(keys, [value for _, value in found]), strict=True))

    def _opened(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        return values if self._opener is None else self._opener.read(keys, values)

    def change(self, changes: Changes) -> None:
        dirty = self.dirty
        for key, value in changes.items():
            if key in dirty:
                self.dirty_bytes -= _size(key, dirty[key])
            dirty[key] = value
            self.dirty_bytes += _size(key, value)

    def save(self, offset: int) -> None:
        self.db.write((self.dirty if self._opener is None else self.at_rest).items(), offset)
        self._keep(self.dirty, self.dirty_bytes)
        self.dirty, self.at_rest, self.dirty_bytes = {}, {}, 0

    def forget(self) -> None:
        """Drop what is in memory, saved or not."""
        self.dirty, self.at_rest, self.dirty_bytes = {}, {}, 0
        self._young, self._old, self._young_bytes = {}, {}, 0

    def _keep(self, values: Changes, size: int) -> None:
        # What is in the younger generation already is counted twice, so there is room for no more than is said.
        self._young.update(values)
        self._young_bytes += size
        if self._young_bytes > self._room:
            self._old, self._young, self._young_bytes = self._young, {}, 0


def _size(key: bytes, value: bytes | None) -> int:
    return _OVERHEAD + len(key) + len(value or b"")
