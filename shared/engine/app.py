"""A Faust app whose consumer reads runs: what it delivers, what it commits, and where it begins after a rebalance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import faust
from faust.transport.drivers import aiokafka as aiokafka_driver
from faust.types import TP, ConsumerMessage
from faust.types.transports import TransportT
from mode.utils.objects import cached_property
from mode.utils.queues import FlowControlEvent

from shared.engine.deliveries import Deliveries
from shared.engine.runs import FetchedRecord, Run, RunLimits, cut

if TYPE_CHECKING:
    from shared.engine.store import AtRest

_RUNS_WAITING = 16
"""Runs that may wait for an agent before reading is held up: enough for the few records of each of many partitions, and
not too many when each is large."""


class RunApp(faust.App):
    """A Faust app in which agents may ask for runs; all others get their records one at a time, as ever."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.run_limits: dict[str, RunLimits] = {}
        super().__init__(*args, **options)

    def run_topic(self, *topics: str, max_records: int = 5000, max_bytes: int = 1 << 20) -> Any:
        """Return a channel for an agent that gets the topics' records as `Run`s.

        A run is what has been fetched of one partition, cut at `max_records` records or `max_bytes` bytes of keys,
        values and headers; nothing is waited for. Acking the run's event finishes all its records.
        All agents on a topic get the same runs, so a topic is read in runs by all of its agents or by none.

        Raises:
            ValueError: a limit leaves no room for a record, or another agent has other limits for one of the topics.
        """
        limits = RunLimits(max_records, max_bytes)
        for topic in topics:
            if self.run_limits.setdefault(topic, limits) != limits:
                raise ValueError(f"{topic} is read in runs of at most {self.run_limits[topic]} already, not {limits}")
        # "raw" hands on whatever it is given, so the run comes through Faust's decoding as it is.
        return self.topic(*topics, key_serializer="raw", value_serializer="raw", maxsize=_RUNS_WAITING)

    def write_back_table(
        self, name: str, *, partitions: int, folder: Path, cache_bytes: int, at_rest: AtRest | None = None
    ) -> Any:
        """Return a table that writes back; its `data` is a `WriteBackStore`."""
        from shared.engine.table import WriteBackTable

        return self.tables.add(
            WriteBackTable(self, name, partitions=partitions, folder=folder, cache_bytes=cache_bytes, at_rest=at_rest)
        )

    @cached_property
    def flow_control(self) -> FlowControlEvent:
        """What holds up and lets go the streams in a rebalance."""
        return _FlowControl(loop=self.loop)

    def _new_transport(self) -> TransportT:
        return _Transport(self.conf.broker_consumer, self)


class _FlowControl(FlowControlEvent):
    """Lets records flow again without emptying the queues.

    mode's own `resume` empties them, and Faust calls it after fetching has begun again: what was fetched in between is
    lost, and the offset of the next record covers it (mode-streaming 0.7.1, faust-streaming 0.15.3; seen here as 1 or
    2 of 2,000 records lost in half of all restarts). Faust empties the queues itself when partitions are revoked.
    Can go when `FlowControlEvent.resume` no longer calls `clear`.
    """

    def resume(self) -> None:
        """Resume; what waits in the queues stays."""
        self._suspend.clear()
        self._resume.set()


class _Consumer(aiokafka_driver.Consumer):
    """Delivers runs, commits by order of delivery, and reads no source before it has been set to where the group was.

    While Faust recovers state it drops what it happens to fetch of the sources, and relies on a seek to the committed
    offsets to get it again. aiokafka makes no seek where nothing has been committed yet: what had been dropped of such
    a partition was never read. Seen here whenever a worker was killed before its first commit to some partition.

    Faust also resumes the sources first and asks for the committed offsets while they are read already, so that what is
    read in between comes twice, or is taken for older than what was read and dropped. faust-streaming 0.15.3,
    `Recovery.on_recovery_completed`; `resume_partitions` and `perform_seek` can go when that seeks before it resumes.

    Of a changelog nothing is committed, and a recovery that lacks a record of it waits for ever: seen here of a worker
    that stood still for longer than its session while it recovered, as a fetch of the recovery before came back in the
    midst of the next. So for changelogs it is kept what is to be delivered next, and what had to be dropped is read
    again from there.
    """

    app: RunApp

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deliveries: Deliveries[TP] = Deliveries()
        self._until_sought: set[TP] = set()
        self._seeks = 0
        self._lost_place = False
        self._places: dict[TP, int] = {}
        """Of each changelog since a recovery set it: the offset from which nothing has been delivered."""
        self._lost_changelogs: set[TP] = set()

    # -- delivering -------------------------------------------------------------------------------

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 (Faust's)
        """Yield what is fetched now: runs of the topics that are read in runs, single records of the others."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        if self._lost_place or self._lost_changelogs:
            await self._find_place()
        seeks = self._seeks
        records, active = await self._wait_next_records(timeout)
        if not records or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        pieces = {tp: list(self._pieces(tp, fetched)) for tp, fetched in records.items()}
        for tp, piece in self.scheduler.iterate(pieces):
            moved = self._seeks != seeks or self.app.consumer_generation_id != generation
            if moved or not self.flow_active:
                # Whether this was fetched before a seek or after it can't be known, so neither what it lacks.
                self._lose_place(pieces)
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                message = self._to_message(tp, piece)
                if self.app.topics.acks_enabled_for(tp.topic):
                    self._deliveries.add(tp, message)
                elif tp in self._places:
                    self._places[tp] = message.offset + 1
                yield tp, message
            else:
                self._lose_place((tp,))  # paused meanwhile, and its position has moved, perhaps behind a seek's back

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 (Faust's)
        # Faust hands its own set to the fetching thread and goes on changing it. Empty, as in a recovery, it means all
        # partitions to aiokafka: records of sources came that nobody wanted, and were dropped.
        active = None if active_partitions is None else set(active_partitions)
        return await super()._getmany(active_partitions=active, timeout=timeout)

    def _pieces(self, tp: TP, fetched: Sequence[FetchedRecord]) -> Iterator[Run | FetchedRecord]:
        limits = self.app.run_limits.get(tp.topic)
        if limits is None:
            yield from fetched
            return
        for records in cut(fetched, limits):
            yield Run(tp.topic, tp.partition, records)

    def _to_message(self, tp: TP, piece: Any) -> ConsumerMessage:
        if not isinstance(piece, Run):
            return super()._to_message(tp, piece)
        # To Faust a run is a message like any other; its offset is the run's last.
        message: Any = super()._to_message(tp, piece.records[-1])
        message.key, message.value, message.headers = None, piece, []
        return cast(ConsumerMessage, message)

    def on_buffer_full(self, tp: TP) -> None:
        """Read on from a partition of runs: delivery waits for room in the agent's queue.

        Faust takes the partition out of those that are fetched. When it puts it in again, a fetch that waits for the
        others does not notice for up to a second, and with none left it sleeps for a second: with thousands of records
        in the queue that does no harm, with a few runs it is most of the time.
        """
        if tp.topic not in self.app.run_limits:
            super().on_buffer_full(tp)

    # -- committing -------------------------------------------------------------------------------

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: gaps don't matter to `Deliveries`."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp in self._deliveries.pending():
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        # Streams and `ack` also write these, for the arithmetic that is replaced here. `Message.acked` says the same.
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._deliveries.committable(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the app finish and commit what is in hand, then forget what was delivered."""
        await super().on_partitions_revoked(revoked)
        self._deliveries.forget(revoked)
        self._places, self._lost_changelogs = {}, set()  # a recovery sets all of them again

    # -- where to begin ---------------------------------------------------------------------------

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume changelogs now, sources when they have been set to the committed offsets."""
        changelogs = {tp for tp in tps if self._is_changelog_tp(tp)}
        self._until_sought |= set(tps) - changelogs
        super().resume_partitions(changelogs)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Pause, also what was about to be resumed."""
        self._until_sought -= set(tps)
        super().pause_partitions(tps)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Set partitions to offsets; what is being fetched meanwhile is overtaken."""
        self._seeks += 1
        self._places.update((tp, offset) for tp, offset in partitions.items() if self._is_changelog_tp(tp))
        await super().seek_wait(partitions)
        self._seeks += 1

    async def perform_seek(self) -> None:
        """Set the sources to the committed offsets, or their beginning, then resume those that wait for that."""
        self._lost_place = False
        self._seeks += 1  # what is fetched from here on is overtaken until the end, wherever it was read
        await super().perform_seek()
        sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        if untouched := [tp for tp in sources if not self._committed_offset[tp]]:
            await self.seek_wait(await self.earliest_offsets(*untouched))
        self._seeks += 1
        self._deliveries.forget(sources)
        super().resume_partitions(self._until_sought)
        self._until_sought = set()

    def _lose_place(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            if not self._is_changelog_tp(tp):
                self._lost_place = True
            elif tp in self._places:
                self._lost_changelogs.add(tp)

    async def _find_place(self) -> None:
        of_sources = self._lost_place
        try:
            if of_sources:
                await self.perform_seek()
            if changelogs := {tp: self._places[tp] for tp in self._lost_changelogs}:
                await self.seek_wait(changelogs)
                self._lost_changelogs -= changelogs.keys()
        except Exception as exc:  # a rebalance has begun, most often; it ends with a seek
            self._lost_place = of_sources
            self.log.warning("can't go back to where reading goes on, trying again: %r", exc)


class _Transport(aiokafka_driver.Transport):
    Consumer = _Consumer
