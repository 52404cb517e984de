"""What the write-back store keeps, saves, forgets and rebuilds, on real RocksDB folders without a broker."""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.engine import partition_db
from shared.engine import store as store_module
from shared.engine.partition_db import FolderInUse, PartitionDb
from shared.engine.runs import Run
from shared.engine.store import AtRest, WriteBackStore

LARGEST = 1 << 20


class Claimed:
    """A partition that is claimed without a broker: what is written to it lies at one offset after the other."""

    def __init__(self, changelog: list[tuple[bytes, bytes | None]]) -> None:
        self.changelog = changelog

    async def write(self, changes: dict[bytes, bytes | None], largest: int) -> int:
        self.changelog.extend(changes.items())
        return len(self.changelog) - 1

    async def release(self) -> None:
        pass


class Stores:
    """One table's store, its partitions open, and opened again as after a restart."""

    def __init__(self, folder: Path, *, cache_bytes: int = 1 << 20, at_rest: AtRest | None = None) -> None:
        self.folder = folder
        self.cache_bytes = cache_bytes
        self.at_rest = at_rest
        self.store: Any = None
        self.changelog_ends = 1000
        self.standbys: set[int] = set()
        self.claimed: list[int] = []
        self.changelogs: dict[int, list[tuple[bytes, bytes | None]]] = {}

    def highwater(self, tp: TP) -> int:
        return self.changelog_ends

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self.changelog_ends)

    async def opened(self, *partitions: int) -> WriteBackStore:
        if self.store is not None:
            await self.store.on_stop()
        conf = SimpleNamespace(table_standby_replicas=len(self.standbys))
        app: Any = SimpleNamespace(consumer=self, assignor=self, conf=conf)
        table: Any = SimpleNamespace(name="t", partitions=1, changelog_topic=SimpleNamespace(topics=["t-changelog"]))
        self.store = WriteBackStore(
            "rocksdb://", app, table, folder=self.folder, cache_bytes=self.cache_bytes, at_rest=self.at_rest
        )
        await self.rebalanced(*(partitions or (0, 1)))
        store: WriteBackStore = self.store
        return store

    async def rebalanced(self, *partitions: int) -> None:
        with patch.object(store_module, "claim", self.claim):
            await self.store.on_rebalance({TP("t-changelog", p) for p in partitions}, set(), set())

    def assigned_standbys(self) -> set[TP]:
        return {TP("t-changelog", partition) for partition in self.standbys}

    async def claim(self, app: Any, topic: str, partition: int) -> Claimed:
        self.claimed.append(partition)
        return Claimed(self.changelogs.setdefault(partition, []))


def values(store: WriteBackStore, partition: int, keys: list[bytes]) -> list[bytes | None]:
    return [store.value(partition, key) for key in keys]


@pytest.fixture
async def stores(tmp_path: Path) -> Any:
    made = Stores(tmp_path)
    yield made
    if made.store is not None:
        await made.store.on_stop()


async def test_a_change_is_seen_at_once_and_on_disk_after_its_checkpoint_with_its_offset(stores: Stores) -> None:
    store = await stores.opened()
    store.change(1, {b"a": b"1", b"b": b"2"})
    assert values(store, 1, [b"a", b"b", b"c"]) == [b"1", b"2", None]
    assert store.value(0, b"a") is None
    assert (await stores.opened()).value(1, b"a") is None  # killed before the checkpoint
    store = stores.store
    store.change(1, {b"a": b"1", b"b": b"2"})
    assert store.dirty_bytes(1) > 0
    store.saved(1, 41)
    assert (await store.write_changelog(LARGEST), store.dirty_bytes(1)) == ({}, 0)
    store = await stores.opened()
    assert values(store, 1, [b"a", b"b"]) == [b"1", b"2"]
    assert [store.persisted_offset(TP("t-changelog", p)) for p in (0, 1)] == [None, 41]


async def test_a_deleted_key_stays_deleted(stores: Stores) -> None:
    store = await stores.opened()
    store.change(0, {b"a": b"1"})
    store.saved(0, 1)
    store.change(0, {b"a": None})
    assert (store.value(0, b"a"), store.scan(0, b"", 10)) == (None, [])
    assert await store.write_changelog(LARGEST) == {0: 0}
    store.saved(0, 2)
    assert (store.value(0, b"a"), (await stores.opened()).value(0, b"a")) == (None, None)


async def test_a_rebalance_drops_what_was_not_saved_and_lets_go_of_what_is_not_ours(stores: Stores) -> None:
    store = await stores.opened()
    store.change(0, {b"a": b"1"})
    store.saved(0, 1)
    store.change(0, {b"a": b"2", b"b": b"2"})
    assert store.value(0, b"a") == b"2"
    await stores.rebalanced(0)
    assert (values(store, 0, [b"a", b"b"]), await store.write_changelog(LARGEST)) == ([b"1", None], {})
    assert store.dirty_bytes(0) == 0
    other = PartitionDb(stores.folder / "t" / "1")  # would be in use
    with pytest.raises(FolderInUse):
        PartitionDb(stores.folder / "t" / "0")
    other.close()


async def test_the_changelog_gets_the_changes_of_each_partition_and_says_where_they_lie(stores: Stores) -> None:
    store = await stores.opened()
    store.change(0, {b"a": b"1", b"b": None})
    store.change(1, {b"c": b"1"})
    assert await store.write_changelog(LARGEST) == {0: 1, 1: 0}
    store.saved(1, 0)
    assert await store.write_changelog(LARGEST) == {0: 3}


async def test_of_several_folders_the_one_that_knows_most_is_taken_and_the_others_are_deleted(stores: Stores) -> None:
    for name, offset in (("0", 5), ("0-1", 9), ("0-2", None)):
        db = PartitionDb(stores.folder / "t" / name)
        if offset is not None:
            db.write([(b"a", name.encode())], offset)
        db.close()
    PartitionDb(stores.folder / "t" / "01").close()  # of another partition, if there were one
    store = await stores.opened(0)
    assert store.value(0, b"a") == b"0-1"
    assert sorted(folder.name for folder in (stores.folder / "t").iterdir()) == ["0-1", "01"]


async def test_beside_a_folder_that_another_process_keeps_open_an_empty_one_is_begun(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LET_GO_SECONDS", 0.2)
    held = PartitionDb(stores.folder / "t" / "0")
    held.write([(b"a", b"1")], 7)
    store = await stores.opened(0)
    assert (store.value(0, b"a"), store.persisted_offset(TP("t-changelog", 0))) == (None, None)
    held.close()
    store.change(0, {b"a": b"2"})
    store.saved(0, 3)
    store = await stores.opened(0)  # what nobody has open is compared now, and the first knows more
    assert (store.value(0, b"a"), store.persisted_offset(TP("t-changelog", 0))) == (b"1", 7)


def test_what_has_to_wait_for_the_disk_waits_where_others_can_run_and_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(partition_db, "_WRITE_BUFFER", 1 << 16)
    monkeypatch.setattr(partition_db, "sleep", wait)
    db = PartitionDb(tmp_path / "0")
    changes = {b"%06d" % n: os.urandom(1000) for n in range(20_000)}
    db.write(changes.items(), 7)
    assert waited  # else this says nothing: RocksDB would have let its writer wait
    assert (dict(zip(changes, db.get_many(list(changes)), strict=True)), db.offset) == (changes, 7)


def test_the_offset_is_not_there_before_all_that_it_covers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = PartitionDb(tmp_path / "0")
    db.write([(b"a", b"1")], 1)
    real, left = db._write_batch, [2]

    def full(changes: Any) -> None:
        if left[0] == 0:
            raise OSError("no space left")
        left[0] -= 1
        real(changes)

    monkeypatch.setattr(db, "_write_batch", full)
    with pytest.raises(OSError, match="no space"):
        db.write([(b"%d" % n, b"v" * 100_000) for n in range(10)], 2)
    assert (db.get_many([b"0", b"9"]), db.offset) == ([b"v" * 100_000, None], 1)


@pytest.mark.parametrize("torn", ["*.sst", "CURRENT", "MANIFEST-*"])
async def test_a_torn_folder_is_set_aside_and_begun_anew(stores: Stores, torn: str) -> None:
    store = await stores.opened(0)
    store.change(0, {b"%d" % n: b"v" * 100 for n in range(1000)})
    store.saved(0, 999)
    store._parts[0].db._db.flush()
    await store.on_stop()
    stores.store = None
    (victim,) = list((stores.folder / "t" / "0").glob(torn))[:1]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    store = await stores.opened(0)
    assert (store.persisted_offset(TP("t-changelog", 0)), store.scan(0, b"", 10)) == (None, [])
    store.change(0, {b"a": b"1"})
    store.saved(0, 1)
    assert store.value(0, b"a") == b"1"


@pytest.mark.parametrize(("ends", "kept"), [(42, True), (41, False), (0, False)])
async def test_a_folder_that_knows_more_than_its_changelog_has_is_begun_anew(
    stores: Stores, ends: int, kept: bool
) -> None:
    store = await stores.opened(0)
    store.change(0, {b"a": b"1"})
    store.saved(0, 41)
    stores.changelog_ends = ends
    store = await stores.opened(0)
    assert (store.value(0, b"a"), store.persisted_offset(TP("t-changelog", 0))) == (
        (b"1", 41) if kept else (None, None)
    )


async def test_who_stands_by_keeps_a_folder_of_its_own_and_claims_nothing_until_it_takes_over(stores: Stores) -> None:
    active = PartitionDb(stores.folder / "t" / "1")
    stores.standbys = {1}
    store = await stores.opened(0, 1)
    assert stores.claimed == [0]
    fetched: Any = [SimpleNamespace(offset=8, key=b"a", value=b"1")]
    store.apply_changelog_batch([SimpleNamespace(value=Run("t-changelog", 1, fetched))], None, None)
    active.close()
    stores.standbys = set()
    await stores.rebalanced(0, 1)
    assert sorted(stores.claimed) == [0, 0, 1]
    assert (store.value(1, b"a"), store.persisted_offset(TP("t-changelog", 1))) == (b"1", 8)
    store.change(1, {b"a": b"2"})
    assert await store.write_changelog(LARGEST) == {1: 0}


async def test_recovery_writes_a_run_with_its_offset(stores: Stores) -> None:
    store = await stores.opened()

    def event(partition: int, *records: tuple[int, bytes, bytes | None]) -> Any:
        fetched: Any = [SimpleNamespace(offset=o, key=k, value=v) for o, k, v in records]
        return SimpleNamespace(value=Run("t-changelog", partition, fetched))

    first = event(0, (3, b"a", b"1"), (4, b"b", b"1"), (9, b"a", b"2"))
    store.apply_changelog_batch([first, event(1, (1, b"c", b"1")), event(0, (10, b"b", None))], None, None)
    assert store.scan(0, b"", 10) == [(b"a", b"2")]
    assert store.scan(1, b"", 10) == [(b"c", b"1")]
    assert [store.persisted_offset(TP("t-changelog", p)) for p in (0, 1)] == [10, 1]


async def test_after_a_fault_in_recovery_nothing_later_covers_the_hole(stores: Stores) -> None:
    store = await stores.opened(0)
    crashed: list[BaseException] = []

    async def crash(fault: BaseException) -> None:
        crashed.append(fault)

    store.app.crash = crash
    fetched: Any = [SimpleNamespace(offset=1, key=b"a", value=b"1")]
    missing = SimpleNamespace(value=Run("t-changelog", 3, fetched))  # no such partition here
    good = SimpleNamespace(value=Run("t-changelog", 0, fetched))
    for batch in ([missing], [good]):
        with pytest.raises(KeyError):
            store.apply_changelog_batch(batch, None, None)
    assert store.persisted_offset(TP("t-changelog", 0)) is None


async def test_memory_for_values_that_were_read_has_a_bound(tmp_path: Path) -> None:
    made = Stores(tmp_path, cache_bytes=10_000)
    store = await made.opened(0)
    store.change(0, {b"%04d" % n: b"v" * 100 for n in range(1000)})
    store.saved(0, 1)
    assert values(store, 0, [b"%04d" % n for n in range(1000)]) == [b"v" * 100] * 1000
    part = store._parts[0]
    assert (
        sum(len(key) + len(value or b"") + 150 for key, value in (*part._young.items(), *part._old.items())) <= 10_000
    )
    assert 0 < len(part._old) < 50
    await store.on_stop()


Steps = st.lists(st.tuples(st.sampled_from("pdcr"), st.integers(0, 12), st.binary(max_size=4)), min_size=1, max_size=60)


@settings(max_examples=30, deadline=None)
@given(steps=Steps, most=st.integers(1, 4))
async def test_whatever_happens_it_reads_like_a_dict_and_restarts_at_its_last_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bytes]], most: int
) -> None:
    made = Stores(tmp_path_factory.mktemp("store"), cache_bytes=2000)
    store = await made.opened(0)
    now: dict[bytes, bytes] = {}
    saved: dict[bytes, bytes] = {}
    for at, (what, number, value) in enumerate(steps):
        key = b"k%02d" % number
        if what == "p":
            store.change(0, {key: value})
            now[key] = value
        elif what == "d":
            store.change(0, {key: None})
            now.pop(key, None)
        elif what == "c":
            for partition in await store.write_changelog(LARGEST):
                store.saved(partition, at)
            saved = dict(now)
        else:
            store = await made.opened(0)
            now = dict(saved)
        assert store.value(0, key) == now.get(key)
        found: list[tuple[bytes, bytes]] = []
        while piece := store.scan(0, found[-1][0] if found else b"", most):
            found += piece
        assert found == sorted(now.items())
    await store.on_stop()
