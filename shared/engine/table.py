"""A Faust table that is read and changed through its write-back store, and recovered in runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faust.tables.table import Table
from faust.types import StoreT

from shared.engine.app import RunApp
from shared.engine.runs import RunLimits
from shared.engine.store import AtRest, WriteBackStore

_RECOVERY_RUN = RunLimits(10_000, 4 << 20)


class WriteBackTable(Table[bytes, bytes]):
    """Recovery and rebalancing are Faust's; `data` is a `WriteBackStore`, which is used instead of the table's own API.

    Args:
        folder: where the tables of this process lie.
        cache_bytes: what values that were read may take in memory.
        at_rest: how values lie in the changelog and on disk; None for as they are.
    """

    def __init__(
        self, app: RunApp, name: str, *, partitions: int, folder: Path, cache_bytes: int, at_rest: AtRest | None = None
    ) -> None:
        self._folder, self._cache_bytes, self._at_rest = folder, cache_bytes, at_rest
        # Faust applies changelog records when so many events are there; an event is a run here. (1 means something
        # else to it.)
        super().__init__(
            app, name=name, partitions=partitions, key_type=bytes, value_type=bytes, recovery_buffer_size=2
        )
        app.run_limits[self.changelog_topic_name] = _RECOVERY_RUN

    def _new_store(self) -> StoreT[Any, Any]:
        return WriteBackStore(
            "rocksdb://",
            self.app,
            self,
            table_name=self.name,
            folder=self._folder,
            cache_bytes=self._cache_bytes,
            at_rest=self._at_rest,
            loop=self.loop,
        )
