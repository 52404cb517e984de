"""Keeps a partition's keys in RocksDB, with the changelog offset up to which they hold; sets a broken folder aside."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import sleep
from typing import Any, Final, cast

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch, WriteOptions

_OFFSET: Final = b"\x00offset"
"""Where the offset lies among the keys; no key of ours begins with a zero byte."""
_WRITE_BUFFER: Final = 16 << 20
_AT_ONCE: Final[Any] = WriteOptions()  # attributes, which the package's stubs take for methods
_AT_ONCE.disable_wal = True
_AT_ONCE.no_slowdown = True
_TOGETHER: Final = 256 * 1024
"""Bytes of a batch. rocksdict (0.3.29) keeps the interpreter's lock while it writes, so that nothing else runs: 20 to
40 ms for 14 MB, and a tenth of a second where RocksDB makes a writer wait until its buffer is on disk."""
_STALLED: Final = "Write stall"
"""What RocksDB says instead of making a writer wait."""
_STALL_SECONDS: Final = 0.005
"""Until a batch is tried again that RocksDB would have made wait. Meanwhile others have the interpreter."""
_BLOCK_CACHE: Final = 16 << 20
"""Bytes, for each partition: what is asked for often lies in our own cache, decoded from no block."""

log = logging.getLogger(__name__)


class FolderInUse(Exception):
    """Another process has the folder open: one that has not let go of the partition yet, or keeps a copy of it."""


class FolderBroken(Exception):
    """The folder turned out to be torn while it was used. It has been set aside; a restart rebuilds it."""


class PartitionDb:
    """One partition's keys and values, as bytes.

    A folder that can't be opened is set aside as `<folder>.broken`, in place of an earlier one, and an empty one is
    begun, which has no offset and is filled from the changelog. RocksDB keeps no log: what a crash finds in its write
    buffer is read from the changelog again, for the offset lies in the same buffer. With a log, a MANIFEST that was cut
    short gave the tables of an earlier time and then the newest writes and offset, with a hole between (seen here).

    Raises:
        FolderInUse: another process has it open.
        OSError: a fault that a new folder would have too, such as a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _opened(folder)
        except FolderBroken:
            self._db = _opened(folder)

    @property
    def offset(self) -> int | None:
        """The offset of the last changelog record that is in here; None for an empty folder."""
        (stored,) = self.get_many([_OFFSET])
        return None if stored is None else int(stored)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values, None where there is none."""
        with _Guard(self.folder):
            found: Any = self._db.get(list(keys))
        return cast(list[bytes | None], found)

    def write(self, changes: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write the changes, then the offset of the last of their changelog records; None deletes.

        In batches, the offset with the last of them: of what a crash leaves in between, recovery from the offset before
        makes what it has to be, for a change says what a key is and not what becomes of it. Waits where RocksDB has to
        write to disk first; other threads run meanwhile.
        """
        together: list[tuple[bytes, bytes | None]] = []
        size = 0
        for change in changes:
            together.append(change)
            size += len(change[0]) + len(change[1] or b"")
            if size >= _TOGETHER:
                self._write_batch(together)
                together, size = [], 0
        self._write_batch([*together, (_OFFSET, b"%d" % offset)])

    def _write_batch(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        while True:
            batch = WriteBatch(raw_mode=True)  # RocksDB refuses one that it has seen
            for key, value in changes:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            with _Guard(self.folder):
                try:
                    self._db.write(batch, _AT_ONCE)
                except Exception as exc:  # as they all come
                    if _STALLED not in str(exc):
                        raise
                else:
                    return
            sleep(_STALL_SECONDS)

    def scan(self, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """Return up to `most` keys behind `after`, in their order, with their values."""
        with _Guard(self.folder):
            return list(self._behind(max(after, _OFFSET), most))

    def _behind(self, after: bytes, most: int) -> Iterator[tuple[bytes, bytes]]:
        at = self._db.iter()
        at.seek(after + b"\x00")
        for _ in range(most):
            if not at.valid():
                at.status()
                return
            yield at.key(), at.value()
            at.next()

    def estimated_keys(self) -> int:
        """Return about how many keys there are."""
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def begin_anew(self) -> None:
        """Delete all, the offset too."""
        self._db.close()
        shutil.rmtree(self.folder)
        self._db = _opened(self.folder)

    def close(self) -> None:
        """Write out what is in the buffer, and let another process open the folder."""
        with _Guard(self.folder):
            self._db.flush()
            self._db.close()


def newest(folder: Path) -> PartitionDb | None:
    """Open, of `folder` and those that lie beside it as `folder-1` and so on, the one that knows most.

    There are several where two processes of a host had to do with a partition at once: one that is a standby, or one
    that stands still and keeps its folder open. What nobody has open and is not taken is deleted.

    Returns:
        None when others have all of them open; an empty one when there is none.

    Raises:
        OSError: a fault that a new folder would have too, such as a full disk.
    """
    free: list[PartitionDb] = []
    in_use = False
    for beside in _beside(folder):
        try:
            free.append(PartitionDb(beside))
        except FolderInUse:
            in_use = True
    if not free:
        return None if in_use else PartitionDb(folder)
    free.sort(key=lambda db: -1 if db.offset is None else db.offset)
    for older in free[:-1]:
        older.close()
        shutil.rmtree(older.folder)
    return free[-1]


def another(folder: Path) -> PartitionDb:
    """Begin an empty folder beside those that others have open.

    Raises:
        OSError: a fault such as a full disk.
    """
    number = 1
    while (beside := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return PartitionDb(beside)


def _beside(folder: Path) -> list[Path]:
    numbered = re.compile(re.escape(folder.name) + r"(-\d+)?")
    return sorted(found for found in folder.parent.glob(f"{folder.name}*") if numbered.fullmatch(found.name))


def _opened(folder: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(_BLOCK_CACHE))
    blocks.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(blocks)
    with _Guard(folder):
        return Rdict(str(folder), options=options)


class _Guard:
    """Tells RocksDB's faults apart, which all come as bare exceptions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if fault is None:
            return
        said = str(fault)
        if "LOCK" in said:
            raise FolderInUse(f"{self._folder} is open in another process: {said}") from fault
        if said.startswith("Corruption") or "No such file" in said or said.startswith("Invalid argument"):
            aside = self._folder.with_name(self._folder.name + ".broken")
            shutil.rmtree(aside, ignore_errors=True)
            self._folder.rename(aside)
            log.error(
                "%s is torn, set aside as %s; it will be rebuilt from the changelog: %s", self._folder, aside, said
            )
            raise FolderBroken(f"{self._folder} is torn: {said}") from fault
        if said.startswith("IO error"):
            raise OSError(f"{self._folder}: {said}") from fault
