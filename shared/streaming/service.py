"""Moves records through a Faust app in runs: read, handle, write, keep, commit, in the order in which nothing is lost.

For each run of records: outputs acknowledged by Kafka, then state changes acknowledged by their changelog, then the
local state, then the offsets. A crash anywhere repeats a run; handlers are such that a repetition changes nothing.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
    Set,
)
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from faust.exceptions import ConsumerNotStarted, NotReady
from faust.types import TP
from pydantic import Field, ValidationError
from starlette.types import ASGIApp

from shared.engine import Run, RunApp
from shared.engine.batches import Entry, partition_for, write_records
from shared.engine.claims import Fenced
from shared.service.health import Health, operations_app
from shared.service.settings import ServiceSettings
from shared.streaming.connection import faust_credentials
from shared.streaming.metrics import (
    CHECKPOINT_SECONDS,
    DEAD_LETTERS,
    LAG,
    OUTPUTS,
    RECORDS,
    RUN_RECORDS,
    RUN_SECONDS,
    RUNS,
    WRITE_RETRIES,
)
from shared.streaming.person_keys import Keyring, KeysAway
from shared.streaming.records import Output, Poison, Record, written_at
from shared.streaming.sealed_states import CHANGELOG_SUFFIX, Shape
from shared.streaming.state import KeyedState, SealedAtRest
from shared.streaming.topics import (
    LARGEST_RECORD,
    PARTITIONS,
    changelog,
    check_partitions,
    create_topics,
    dead_topic,
)
from shared.streaming.turns import Turns

T = TypeVar("T")
RunHandler = Callable[[Sequence[Record]], Awaitable[Sequence[Output]]]

_WRITE_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TOGETHER = 768 * 1024
"""Bytes of outputs in a batch. Brokers refuse batches above their `message.max.bytes`, 1 MiB by default."""
_LONGEST_REASON = 4000
"""Characters. A payload with ten thousand faults gives ten thousand reasons, which no header has room for."""
_SILENCE_SECONDS = 10.0
"""After so long without an acknowledgement the service says that it can't write."""
_CHECKPOINT_SECONDS = 0.5
"""How long a run that is done may wait for its checkpoint. It is what a crash makes repeat."""
_CACHE_BYTES = 128 << 20
"""What values that were read may take in memory, for each state."""
_STOP_SECONDS = 20
"""How long the run in hand may take to end at a stop."""
_LEAVE_SECONDS = 5
"""How long the last commit and the leaving of the group may then take; both together stay below the 30 s that
supervisors give. Faust alone would wait for as long as Kafka is away."""

log = structlog.get_logger(__name__)


class StreamSettings(ServiceSettings):
    """Settings of every service that reads from Kafka."""

    data_dir: Path = Field(
        Path(".local/faust"), validation_alias="DATA_DIR", description="folder for the stream engine's local files"
    )
    standbys: int = Field(
        0,
        validation_alias="STANDBYS",
        ge=0,
        description="how many other workers of the service keep a copy of each partition's state, to take over at once",
    )


class Part(Protocol):
    """Something that begins before records flow and ends after."""

    async def start(self) -> None:
        """Begin; records flow when this has returned."""

    async def stop(self) -> None:
        """End."""


class Unwritten(Exception):
    """Kafka has not acknowledged what was to be written, in time."""


class UncleanStop(Exception):
    """The service has stopped without having said to Kafka what it had done."""


class StreamService:
    """A service on Kafka: consumers with handlers, state, and an HTTP server for its operators.

    Args:
        name: the service's name; also its consumer group and the first part of its changelogs' names.
        settings: where Kafka is, and the rest.
        http: makes the HTTP application.
        keys: of the persons whom records name, where others use them too; they start and stop with the service.
    """

    def __init__(
        self,
        name: str,
        settings: StreamSettings,
        http: Callable[[Health], ASGIApp] = operations_app,
        keys: Keyring | None = None,
    ) -> None:
        self.name = name
        self.health = Health()
        self.http = http(self.health)
        self.bootstrap_servers = settings.kafka_bootstrap_servers
        self.keys = keys or Keyring(settings, self.bootstrap_servers)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._tables_folder = settings.data_dir / name / "tables"
        self.app = RunApp(
            name,
            broker=";".join(f"kafka://{server}" for server in self.bootstrap_servers.split(",")),
            broker_credentials=faust_credentials(),
            autodiscover=False,
            datadir=str(settings.data_dir / name),
            store="memory://",
            key_serializer="raw",
            value_serializer="raw",
            web_enabled=False,
            topic_disable_leader=True,
            topic_partitions=PARTITIONS,
            consumer_auto_offset_reset="earliest",
            producer_acks=-1,
            producer_linger_ms=2,
            producer_max_request_size=LARGEST_RECORD,
            # A request that is not answered is given up after 10 s, not after 20 minutes; `write` tries again. See
            # docs/decisions/005-faust.md.
            producer_request_timeout=10,
            broker_commit_interval=0.5,
            # A worker that was killed is missed after 10 s, not after Faust's 60, so that its partitions move on.
            broker_session_timeout=10,
            broker_heartbeat_interval=2,
            # Heartbeats come from a thread of their own; a run may take minutes (a receiver that is slow).
            broker_max_poll_interval=600,
            # Who joins waits so long for a run in hand to end before its worker is put out of the group.
            broker_rebalance_timeout=300,
            stream_buffer_maxsize=4,  # runs of a changelog, in recovery
            table_standby_replicas=settings.standbys,
            # Faust would wait, at a stop and a rebalance, for all that is buffered to be acked, which what we drop as
            # stale never is; the run in hand is waited for by `stop` and `_when_revoked`.
            stream_wait_empty=False,
        )
        self._topics: set[str] = set()
        self._states: list[KeyedState] = []
        self._parts: list[Part] = []
        self._forget: list[Callable[[], None]] = []
        self._timers: list[tuple[float, Callable[[], Awaitable[Sequence[Output]]]]] = []
        self._works: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._leaving: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._busy = asyncio.Lock()
        self._done: list[tuple[Any, Any]] = []
        """Streams and events of the runs that are done and wait for a checkpoint."""
        self._checkpointed = monotonic()
        self._stopping = False
        self._failure: Exception | None = None
        self._write_trouble: str | None = None
        self.health.require("kafka", self._kafka_objection)
        self.app.on_partitions_revoked.connect(self._when_revoked)
        self.app.on_partitions_assigned.connect(self._when_assigned)

    # -- wiring, before start ---------------------------------------------------------------------

    def consume(
        self, topics: Sequence[str], handle: RunHandler, *, state: KeyedState | None = None, max_run: int = 500
    ) -> None:
        """Give the records of `topics` to `handle`, in runs, order kept within a partition.

        Args:
            topics: what is read.
            handle: is given each run, and returns what has to be written.
            state: what `handle` changes. With what it made of a partition it remembers how far it has taken it in, so
                that it gets no record twice: what has to be repeated begins with the state as it was.
            max_run: records of a run at most.
        """
        self._topics.update(topics)
        channel = self.app.run_topic(*topics, max_records=max_run)
        label = ",".join(topics)

        async def agent(stream: Any) -> None:
            stream = stream.noack()
            async for events in gathered(stream.events(), stream.channel.queue.empty, max_run):
                await self._handle_run(stream, label, events, handle, state)

        agent.__name__ = f"{self.name}-{topics[0]}"
        self.app.agent(channel, name=agent.__name__)(agent)

    def state(self, name: str, shape: Shape | None = None) -> KeyedState:
        """Return the state of that name; its keys live in the partitions of the topics that are consumed.

        Args:
            name: the state's.
            shape: whom its entries are about, under whose keys they lie sealed where that is set; None for nobody.
        """
        changelog_name = f"{self.name}-{name}{CHANGELOG_SUFFIX}"
        sealed = None
        if shape is not None and self.keys.seals:
            sealed = SealedAtRest(self.keys, changelog_name, shape, self._by_keys)
        table = self.app.write_back_table(
            name, partitions=PARTITIONS, folder=self._tables_folder, cache_bytes=_CACHE_BYTES, at_rest=sealed
        )
        state = KeyedState(table, sealed)
        self._states.append(state)
        self._forget.append(state.moved)
        return state

    def when_moved(self, forget: Callable[[], None]) -> None:
        """Call `forget` when partitions have come or gone: what is held in memory about them may be stale."""
        self._forget.append(forget)

    def alongside(self, part: Part) -> None:
        """Start `part` before records flow, and stop it after."""
        self._parts.append(part)

    def every(self, seconds: float, make: Callable[[], Awaitable[Sequence[Output]]]) -> None:
        """While running, write what `make` returns, each `seconds`."""
        self._timers.append((seconds, make))

    def beside(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        before_moved: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """While running, let `work` run too; what it raises makes the service fail.

        Args:
            work: goes on until it is cancelled.
            before_moved: awaited before partitions go; what `work` has in hand of them has to end by then.
        """
        self._works.append(work)
        if before_moved is not None:
            self._leaving.append(before_moved)

    # -- running ----------------------------------------------------------------------------------

    def recovered(self, topic: str) -> frozenset[int]:
        """Return the partitions of `topic` that are read here with their state whole; none while that is open."""
        tables: Any = self.app.tables
        is_open = self.app.rebalancing or tables.recovery.in_recovery or not self.app.flow_control.is_active()
        if self._stopping or is_open:
            return frozenset()
        return frozenset(tp.partition for tp in self._assignment() if tp.topic == topic)

    async def change(self, make: Callable[[], Sequence[Output]]) -> None:
        """Make outputs and state changes that no record asks for, in the same order of safety as a run's.

        Args:
            make: is called while no run is in hand, and changes state; the outputs that it returns go first.
        """
        async with self._busy:
            if self._failure is not None:  # what the failed run has changed must not become durable without its outputs
                raise self._failure
            await self.keep(make())

    def holds(self, topic: str, partition: int) -> bool:
        """Tell whether this process is the one that reads this partition now."""
        return TP(topic, partition) in self._assignment()

    async def start(self) -> None:
        """Start the parts, then the app; records flow when the state has been recovered from its changelogs.

        Raises:
            OtherPartitions: a topic that is read here has not as many partitions as TOPIC_PARTITIONS says.
        """
        await asyncio.to_thread(check_partitions, self.bootstrap_servers, self._topics)
        await asyncio.to_thread(self.keys.start)
        for part in self._parts:
            await part.start()
        # Faust would make these itself, with what brokers say of size, and write to them before they have leaders.
        changelogs = [changelog(state.changelog) for state in self._states]
        await asyncio.to_thread(create_topics, self.bootstrap_servers, changelogs)
        await self.app.start()
        for seconds, make in self._timers:
            self._tasks.append(asyncio.create_task(self._tick(seconds, make)))
        self._tasks.extend(asyncio.create_task(work()) for work in self._works)
        self._tasks.append(asyncio.create_task(self._measure_lag()))
        self._tasks.append(asyncio.create_task(self._checkpoint_in_time()))

    async def run(self) -> None:
        """Return only by raising: what made the service fail."""
        while not self.app.crashed:
            done, _ = await asyncio.wait(self._tasks, timeout=0.5)
            for ended in done:
                ended.result()
            if self._failure is not None:
                raise self._failure
        raise RuntimeError(f"the stream engine stopped: {self.app.crash_reason!r}") from self.app.crash_reason

    async def stop(self) -> None:
        """End the run in hand, commit its offsets, leave the group.

        Raises:
            UncleanStop: Kafka did not answer for as long as a stop may take. Nothing is lost; what was in hand will be
                repeated, here after a start or by the worker that takes over.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if not await _within(_STOP_SECONDS, self._end_run()):
            log.warning("the run in hand did not end in time; it will be repeated at the next start")
        left = not self.app.started or await _within(_LEAVE_SECONDS, self.app.stop())
        for part in reversed(self._parts):
            await part.stop()
        await asyncio.to_thread(self.keys.stop)
        if not left:
            raise UncleanStop(f"Kafka did not answer for {_LEAVE_SECONDS} s: left without committing")

    async def _end_run(self) -> None:
        async with self._busy:
            if self.app.started and not self.app.crashed:
                await self._finish()

    async def write(self, outputs: Sequence[Output]) -> None:
        """Return when Kafka has acknowledged all outputs; try for as long as it takes.

        Order is kept for each key: when one fails, all from it on are written again, which readers see as repeats.

        Raises:
            KafkaError: for a record that Kafka will never take (too large, no such topic).
        """
        outputs = await self._sealed(outputs)
        left = await self._placed(outputs)
        attempt = 0
        while left:
            written = await asyncio.gather(
                *(
                    write_records(self.app, *place, entries, LARGEST_RECORD, together=_TOGETHER)
                    for place, entries in left.items()
                )
            )
            failed = [of_one.error for of_one in written if of_one.error is not None]
            if not failed:
                break
            left = {
                place: entries[of_one.records :]
                for (place, entries), of_one in zip(left.items(), written, strict=True)
                if of_one.error is not None
            }
            await self._trouble(next(filter(_is_hopeless, failed), failed[0]), attempt)
            attempt += 1
        self._write_trouble = None
        for topic, records in Counter(output.topic for output in outputs).items():
            OUTPUTS.labels(topic).inc(records)

    async def write_within(self, seconds: float, outputs: Sequence[Output]) -> None:
        """Return when Kafka has acknowledged all outputs.

        Raises:
            Unwritten: it has not, in time; they may be there all the same.
        """
        try:
            await asyncio.wait_for(self.write(outputs), seconds)
        except (TimeoutError, KafkaError, NotReady) as exc:
            raise Unwritten(f"Kafka took no record within {seconds:.0f} s: {exc!r}") from exc

    async def _sealed(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """Return the outputs as they may lie in Kafka."""
        return outputs if not self.keys.is_on else await self._by_keys(lambda: self.keys.seal_all(outputs))

    async def _opened(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records as they were before they were sealed, without those of erased people."""
        return records if not self.keys.is_on else await self._by_keys(lambda: self.keys.open_all(records))

    async def _by_keys(self, work: Callable[[], T]) -> T:
        """Do what needs keys; try for as long as they can't be had, or a new one can't be made safe."""
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(work)
            except KeysAway as exc:
                await self._wait_to_write(exc, attempt)
                attempt += 1

    async def _placed(self, outputs: Sequence[Output]) -> dict[tuple[str, int], list[Entry]]:
        """Return the outputs by topic and partition."""
        placed: dict[tuple[str, int], list[Entry]] = defaultdict(list)
        attempt = at = 0
        turns = Turns()
        while at < len(outputs):
            await turns.give()
            output = outputs[at]
            partition = output.partition
            try:
                if partition is None:
                    partition = await partition_for(self.app, output.topic, output.key)
            except KafkaError as exc:
                await self._trouble(exc, attempt)
                attempt += 1
            else:
                placed[output.topic, partition].append((output.key, output.value, output.headers))
                at += 1
        return placed

    async def _handle_run(
        self, stream: Any, label: str, events: Sequence[Any], handle: RunHandler, state: KeyedState | None
    ) -> None:
        async with self._busy:
            begun = monotonic()
            try:
                current = [event for event in events if self._is_current(event.message)]
                if not current:
                    return
                records = [record for event in current for record in self._untaken(event.value, state)]
                if opened := await self._opened(records):
                    await self.write(await handle(opened))
                if state is not None:
                    for place, offset in {(r.topic, r.partition): r.offset for r in records}.items():  # the last counts
                        state.take(*place, offset)
                await self._settle()
                self._done.extend((stream, event) for event in current)
                if not self._states or self._checkpoint_is_due():
                    await self._checkpoint()
            except Exception as exc:
                self._stopping = True  # nothing after this run may be handled, or its offset would cover this one
                self._failure = exc
                return
            RUNS.labels(label).inc()
            RUN_SECONDS.labels(label).observe(monotonic() - begun)
            for event in current:
                RECORDS.labels(event.value.topic).inc(len(event.value.records))
                RUN_RECORDS.labels(event.value.topic).observe(len(event.value.records))

    def _untaken(self, run: Run, state: KeyedState | None) -> list[Record]:
        records = _records(run)
        if state is None:
            return records
        taken = state.taken(run.topic, run.partition)
        if taken < run.first_offset:
            return records
        end = self.app.consumer.highwater(TP(run.topic, run.partition))
        if end is not None and end <= taken:
            log.warning(
                "a topic ends before what was read of it: it was made anew", topic=run.topic, taken=taken, end=end
            )
            return records
        return [record for record in records if record.offset > taken]

    async def keep(self, outputs: Sequence[Output]) -> None:
        """Make outputs, and the state as it is after them, safe in the midst of a run: for what can't be repeated."""
        await self.write(outputs)
        await self._settle()
        await self._checkpoint()

    async def _settle(self) -> None:
        if not all(state.fits() for state in self._states):
            await self._checkpoint()
        for state in self._states:
            state.settle()

    def _checkpoint_is_due(self) -> bool:
        return monotonic() > self._checkpointed + _CHECKPOINT_SECONDS

    async def _checkpoint(self) -> None:
        """Save what has settled, changelog first, then let the offsets of the runs that are done be committed."""
        begun = monotonic()
        for state in self._states:
            for partition, offset in (await self._acknowledged(state.write_changelog())).items():
                # In a thread, for it waits for a disk. Nothing changes meanwhile, and reads find what is being written.
                await asyncio.to_thread(state.saved, partition, offset)
        for stream, event in self._done:
            await stream.ack(event)
        self._done.clear()
        self._checkpointed = monotonic()
        CHECKPOINT_SECONDS.observe(self._checkpointed - begun)

    async def _acknowledged(self, writing: Coroutine[Any, Any, dict[int, int]]) -> dict[int, int]:
        """Wait for a changelog's acknowledgement, which the engine asks for again and again, and say so if it lasts."""
        task = asyncio.create_task(writing)
        begun = monotonic()
        while not (await asyncio.wait({task}, timeout=_SILENCE_SECONDS))[0]:
            self._write_trouble = f"can't write: the changelog is not acknowledged since {monotonic() - begun:.0f} s"
            WRITE_RETRIES.inc()
            log.warning("Kafka does not acknowledge the changelog, waiting", seconds=round(monotonic() - begun))
        self._write_trouble = None
        return task.result()

    async def _trouble(self, error: KafkaError, attempt: int) -> None:
        """Wait before a write is tried again.

        Raises:
            KafkaError: `error`, when Kafka will never take it.
        """
        if _is_hopeless(error):
            raise error
        await self._wait_to_write(error, attempt)

    async def _wait_to_write(self, error: Exception, attempt: int) -> None:
        wait = _WRITE_BACKOFF_SECONDS[min(attempt, len(_WRITE_BACKOFF_SECONDS) - 1)]
        self._write_trouble = f"can't write: {error}"
        WRITE_RETRIES.inc()
        log.warning("Kafka did not take the outputs, trying again", error=str(error), again_in_seconds=wait)
        await asyncio.sleep(wait)

    async def _checkpoint_in_time(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            async with self._busy:
                if self._done and not self._stopping and self._checkpoint_is_due():
                    try:
                        await self._checkpoint()
                    except Exception as exc:
                        self._stopping = True
                        self._failure = exc

    def _is_current(self, message: Any) -> bool:
        """Tell whether the run is still ours: after a rebalance it comes again, here or elsewhere."""
        return (
            not self._stopping
            # Flow is suspended from the revocation on. Until the group has agreed anew, all else looks as before, but
            # what is begun now would be written when another worker may have recovered our partitions' state.
            and self.app.flow_control.is_active()
            and message.generation_id == self.app.consumer_generation_id
            and message.tp in self.app.consumer.assignment()
        )

    async def _when_revoked(self, *_: Any, **__: Any) -> None:
        # The group waits for us here, so the run in hand can end and commit before its partitions go elsewhere.
        for before_moved in self._leaving:
            await before_moved()
        async with self._busy:
            await self._finish()
            self._done.clear()  # of a failed service; it comes again, here or elsewhere
            for forget in self._forget:
                forget()

    async def _finish(self) -> None:
        if self._failure is None:
            try:
                await self._checkpoint()
            except Fenced as exc:  # it stood still, and others have its partitions: nothing of it counts any more
                log.warning("what was in hand is dropped", reason=str(exc))
                self._done.clear()
        await self.app.consumer.commit()

    async def _when_assigned(self, *told: Any, **_: Any) -> None:
        _, assigned = told
        tables: Any = self.app.tables
        for state in self._states:
            ours = {tp.partition for tp in assigned if tp.topic == state.changelog}
            for partition in set(range(PARTITIONS)) - ours:  # when it is back, the disk says where to begin
                tables.recovery.revoke(TP(state.changelog, partition))

    async def _tick(self, seconds: float, make: Callable[[], Awaitable[Sequence[Output]]]) -> None:
        while True:
            await self.write(await make())
            await asyncio.sleep(seconds)

    async def _measure_lag(self) -> None:
        shown: set[TP] = set()
        while True:
            consumer: Any = self.app._consumer
            ours = {tp for tp in self._assignment() if tp.topic in self._topics}
            for tp in shown - ours:
                LAG.remove(tp.topic, str(tp.partition))  # another worker tells it now
            for tp in ours:
                end, read = consumer.highwater(tp), consumer._read_offset.get(tp)
                if end is not None:
                    LAG.labels(tp.topic, str(tp.partition)).set(max(0, end - 1 - (read if read is not None else -1)))
            shown = ours
            await asyncio.sleep(1)

    def _kafka_objection(self) -> str | None:
        if self._write_trouble is not None:
            return self._write_trouble
        tables: Any = self.app.tables
        if not self.app.started or self.app.rebalancing or tables.recovery.in_recovery:
            return "joining the consumer group and recovering state"
        if not self._assignment() and not self.app.unassigned:  # one worker too many has none, and stands by
            return "no partitions assigned yet"
        return None

    def _assignment(self) -> Set[TP]:
        consumer = self.app._consumer  # the public property would make a consumer where there is none yet
        if consumer is None:
            return frozenset()
        try:
            return consumer.assignment()
        except ConsumerNotStarted:
            return frozenset()


def _is_hopeless(error: KafkaError) -> bool:
    return isinstance(error, MessageSizeTooLargeError | UnknownTopicOrPartitionError)


async def gathered(events: AsyncIterable[Any], none_waits: Callable[[], bool], most: int) -> AsyncIterator[list[Any]]:
    """Yield events of runs, as many together as wait, and never of more than `most` records (a single run may have).

    What trickles in from many partitions would otherwise cost, for each, as much as a full run. Nothing is waited for.
    """
    together: list[Any] = []
    size = 0
    async for event in events:
        more = len(event.value.records)
        if together and size + more > most:
            yield together
            together, size = [], 0
        together.append(event)
        size += more
        if size >= most or none_waits():
            yield together
            together, size = [], 0


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> bool:
    """Tell whether `work` has ended in time; when not it is left alone, for Faust does not always obey a cancellation.

    Raises:
        Exception: what `work` raised.
    """
    task = asyncio.create_task(work)
    ended, _ = await asyncio.wait({task}, timeout=seconds)
    if ended:
        await task
    return bool(ended)


def each(handle: Callable[[Record], Iterable[Output]], service: str) -> RunHandler:
    """Make a run's handler of a record's: a record that can't be handled becomes a dead letter, the rest go on.

    Whatever a handler raises means that this one record can't be dealt with, now or when it is tried again; its bytes
    are kept in the dead letter topic, with the reason, and the service lives.
    """

    async def handle_run(run: Sequence[Record]) -> list[Output]:
        outputs: list[Output] = []
        for record in run:
            try:
                outputs.extend(handle(record))
            except Exception as exc:
                outputs.append(buried(record, exc, service))
        return outputs

    return handle_run


def buried(record: Record, error: Exception, service: str) -> Output:
    """Return the dead letter of a record whose handling raised `error`.

    Bad input says what is wrong with it; anything else is a fault of ours, and is logged with its traceback as such.
    """
    if isinstance(error, Poison | ValidationError):
        return dead_letter(record, reason_of(error), service)
    log.error(
        "a handler failed",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        exc_info=error,
    )
    where = traceback.extract_tb(error.__traceback__)[-1]
    fault = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return dead_letter(record, f"fault in the service: {fault}", service)


def dead_letter(record: Record, reason: str, service: str) -> Output:
    """Return the record as it came, for its dead letter topic, with the reason and where it lay in the headers."""
    log.warning("dead letter", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason)
    DEAD_LETTERS.labels(record.topic).inc()
    # Kafka holds records with neither key nor value, and aiokafka refuses to write one.
    value = b"" if record.key is None and record.value is None else record.value
    return Output(
        dead_topic(record.topic),
        record.key,
        value,
        headers=(
            *record.headers,
            ("dead-reason", reason[:_LONGEST_REASON].encode()),
            ("dead-service", service.encode()),
            ("dead-topic", record.topic.encode()),
            ("dead-partition", b"%d" % record.partition),
            ("dead-offset", b"%d" % record.offset),
        ),
    )


def reason_of(error: Exception) -> str:
    """Return what was wrong, field by field where pydantic says so, without the values (they may be personal)."""
    if not isinstance(error, ValidationError):
        return str(error)
    fields: dict[str, list[str]] = defaultdict(list)
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        fields[".".join(str(part) for part in problem["loc"]) or "payload"].append(problem["msg"])
    return "; ".join(f"{field}: {', '.join(messages)}" for field, messages in fields.items())


def _records(run: Run) -> list[Record]:
    topic, partition = run.topic, run.partition
    return [
        Record(topic, partition, r.offset, r.key, r.value, tuple(r.headers), written_at(r.timestamp))
        for r in run.records
    ]
