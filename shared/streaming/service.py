"""Moves records through a Faust app in runs: read, handle, write, keep, commit, in the order in which nothing is lost.

For each run of records: outputs acknowledged by Kafka, then state changes acknowledged by their changelog, then the
local state, then the offsets. A crash anywhere repeats a run; handlers are such that a repetition changes nothing.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.exceptions import ConsumerNotStarted, ProducerSendError
from faust.types import TP
from pydantic import Field, ValidationError
from starlette.types import ASGIApp

from shared.engine import FetchedRecord, Run, RunApp
from shared.service.health import Health, operations_app
from shared.service.settings import ServiceSettings
from shared.streaming.metrics import DEAD_LETTERS, LAG, OUTPUTS, RECORDS, RUN_SECONDS, RUNS, WRITE_RETRIES
from shared.streaming.records import Output, Poison, Record
from shared.streaming.state import KeyedState
from shared.streaming.topics import LARGEST_BATCH, LARGEST_RECORD, PARTITIONS, changelog, create_topics, dead_topic

_What = TypeVar("_What")
RunHandler = Callable[[Sequence[Record]], Awaitable[Sequence[Output]]]

_WRITE_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_BATCH_OVERHEAD, _LARGEST_RECORD_OVERHEAD = 64, 32
"""Bytes, at least what Kafka's record format v2 takes for a batch's head, and for a record without headers."""
_LONGEST_REASON = 4000
"""Characters. A payload with ten thousand faults gives ten thousand reasons, which no header has room for."""
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


class Part(Protocol):
    """Something that begins before records flow and ends after."""

    async def start(self) -> None:
        """Begin; records flow when this has returned."""

    async def stop(self) -> None:
        """End."""


class UncleanStop(Exception):
    """The service has stopped without having said to Kafka what it had done."""


class StreamService:
    """A service on Kafka: consumers with handlers, state, and an HTTP server for its operators.

    Args:
        name: the service's name; also its consumer group and the first part of its changelogs' names.
        settings: where Kafka is, and the rest.
        http: makes the HTTP application.
    """

    def __init__(self, name: str, settings: StreamSettings, http: Callable[[Health], ASGIApp] = operations_app) -> None:
        self.name = name
        self.health = Health()
        self.http = http(self.health)
        self.bootstrap_servers = settings.kafka_bootstrap_servers
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.app = RunApp(
            name,
            broker=";".join(f"kafka://{server}" for server in self.bootstrap_servers.split(",")),
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
            stream_buffer_maxsize=8192,
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
        self._stopping = False
        self._failure: Exception | None = None
        self._write_trouble: str | None = None
        self.health.require("kafka", self._kafka_objection)
        self.app.on_partitions_revoked.connect(self._when_revoked)
        self.app.on_partitions_assigned.connect(self._when_assigned)

    # -- wiring, before start ---------------------------------------------------------------------

    def consume(self, topics: Sequence[str], handle: RunHandler, *, max_run: int = 500) -> None:
        """Give the records of `topics` to `handle`, in runs of at most `max_run`, order kept within a partition."""
        self._topics.update(topics)
        channel = self.app.run_topic(*topics, max_records=max_run)
        label = ",".join(topics)

        async def agent(stream: Any) -> None:
            stream = stream.noack()
            async for events in gathered(stream.events(), stream.channel.queue.empty, max_run):
                await self._handle_run(stream, label, events, handle)

        agent.__name__ = f"{self.name}-{topics[0]}"
        self.app.agent(channel, name=agent.__name__)(agent)

    def state(self, name: str) -> KeyedState:
        """Return the state of that name; its keys live in the partitions of the topics that are consumed."""
        # A store in memory can't be taken over from a copy: it would be read, held and never used.
        self.app.conf.table_standby_replicas = 0
        table = self.app.Table(
            name,
            partitions=PARTITIONS,
            key_type=bytes,
            value_type=bytes,
        )
        state = KeyedState(table)
        self._states.append(state)
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
        self, work: Callable[[], Coroutine[Any, Any, None]], before_moved: Callable[[], Awaitable[None]]
    ) -> None:
        """While running, let `work` run too; what it raises makes the service fail.

        Args:
            work: goes on until it is cancelled.
            before_moved: awaited before partitions go; what `work` has in hand of them has to end by then.
        """
        self._works.append(work)
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
            await self.write(make())
            await self._keep_changes()

    def holds(self, topic: str, partition: int) -> bool:
        """Tell whether this process is the one that reads this partition now."""
        return TP(topic, partition) in self._assignment()

    async def start(self) -> None:
        """Start the parts, then the app; records flow when the state has been recovered from its changelogs."""
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
        if not left:
            raise UncleanStop(f"Kafka did not answer for {_LEAVE_SECONDS} s: left without committing")

    async def _end_run(self) -> None:
        async with self._busy:
            if self.app.started and not self.app.crashed:
                await self.app.consumer.commit()

    async def write(self, outputs: Sequence[Output]) -> None:
        """Return when Kafka has acknowledged all outputs; try for as long as it takes.

        Order is kept for each key: when one fails, all from it on are written again, which readers see as repeats.

        Raises:
            KafkaError: for a record that Kafka will never take (too large, no such topic).
        """
        await self._until_written(outputs, self._send)
        for output in outputs:
            OUTPUTS.labels(output.topic).inc()

    async def _keep_changes(self) -> None:
        await self._keep([change for state in self._states for change in state.changes()])
        for state in self._states:
            state.settle()

    async def _keep(self, changes: Sequence[Output]) -> None:
        """Return when the changelogs have all changes of a run: of each partition all at once, whatever happens."""
        await self._until_written(batches(changes), self._send_batch)

    async def _until_written(self, what: Iterable[_What], send: Callable[[_What], Awaitable[Awaitable[Any]]]) -> None:
        attempt = 0
        pending = list(what)
        while pending:
            results = await _all_sent(pending, send)
            failed = next((i for i, result in enumerate(results) if isinstance(result, BaseException)), None)
            if failed is None:
                break
            error = results[failed]
            if isinstance(error, MessageSizeTooLargeError | UnknownTopicOrPartitionError) or not isinstance(
                error, KafkaError
            ):
                raise error
            pending = pending[failed:]
            wait = _WRITE_BACKOFF_SECONDS[min(attempt, len(_WRITE_BACKOFF_SECONDS) - 1)]
            attempt += 1
            self._write_trouble = f"can't write: {error}"
            WRITE_RETRIES.inc()
            log.warning("Kafka did not take the outputs, trying again", error=str(error), again_in_seconds=wait)
            await asyncio.sleep(wait)
        self._write_trouble = None

    async def _send(self, output: Output) -> Awaitable[Any]:
        o = output
        try:
            return await self.app.producer.send(o.topic, o.key, o.value, o.partition, None, list(o.headers) or None)
        except ProducerSendError as exc:  # Faust's wrapping: the buffer stayed full, or the record is too large
            raise exc.__cause__ or exc from None

    async def _send_batch(self, batch: Batch) -> Awaitable[Any]:
        producer: AIOKafkaProducer = cast(Any, self.app.producer)._ensure_producer()
        builder = BatchBuilder(LARGEST_BATCH, compression_type=0)
        for record in batch.records:
            if builder.append(timestamp=None, key=record.key, value=record.value) is None:
                raise RuntimeError(f"a batch for {batch.topic} is larger than was worked out: a fault in `batches`")
        sent: Awaitable[Any] = await producer.send_batch(builder, batch.topic, partition=batch.partition)
        return sent

    async def _handle_run(self, stream: Any, label: str, events: Sequence[Any], handle: RunHandler) -> None:
        async with self._busy:
            begun = monotonic()
            try:
                current = [event for event in events if self._is_current(event.message)]
                if not current:
                    return
                outputs = await handle([record for event in current for record in _records(event.value)])
                await self.write(outputs)
                await self._keep_changes()
                for event in current:
                    await stream.ack(event)
            except Exception as exc:
                self._stopping = True  # nothing after this run may be handled, or its offset would cover this one
                self._failure = exc
                return
            RUNS.labels(label).inc()
            RUN_SECONDS.labels(label).observe(monotonic() - begun)
            for event in current:
                RECORDS.labels(event.value.topic).inc(len(event.value.records))

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
            await self.app.consumer.commit()
            for forget in self._forget:
                forget()

    async def _when_assigned(self, *told: Any, **_: Any) -> None:
        _, assigned = told
        tables: Any = self.app.tables
        for state in self._states:
            ours = {tp.partition for tp in assigned if tp.topic == state.changelog}
            state.forget_all_but(ours)
            for partition in set(range(PARTITIONS)) - ours:  # so that all of it is read again when it comes back
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


async def _all_sent(what: Iterable[_What], send: Callable[[_What], Awaitable[Awaitable[Any]]]) -> list[Any]:
    """Return for each what came of it, up to the first that was not even accepted for sending."""
    sent: list[Awaitable[Any]] = []
    refused: list[BaseException] = []
    for one in what:
        try:
            sent.append(await send(one))
        except (KafkaError, ProducerSendError) as exc:
            refused.append(exc)
            break
    return [*await asyncio.gather(*sent, return_exceptions=True), *refused]


class Batch(NamedTuple):
    """Records that Kafka appends to a partition together or not at all."""

    topic: str
    partition: int
    records: Sequence[Output]


def batches(changes: Iterable[Output]) -> list[Batch]:
    """Return a run's changes as one batch for each partition.

    Only what is larger than a batch may be, becomes several: a crash between them leaves some keys of the run ahead of
    the others. Handlers whose keys depend on one another have to be content with that, at this size.
    """
    by_partition: dict[tuple[str, int], list[Output]] = defaultdict(list)
    for change in changes:
        if change.partition is None:
            raise ValueError(f"a change of {change.topic} without a partition")
        by_partition[change.topic, change.partition].append(change)
    found = []
    for (topic, partition), records in by_partition.items():
        begin = size = 0
        for at, record in enumerate(records):
            of_record = len(record.key or b"") + len(record.value or b"") + _LARGEST_RECORD_OVERHEAD
            if size + of_record > LARGEST_BATCH - _BATCH_OVERHEAD:
                found.append(Batch(topic, partition, records[begin:at]))
                begin, size = at, 0
            size += of_record
        found.append(Batch(topic, partition, records[begin:]))
    return found


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
    return [_record(run.topic, run.partition, fetched) for fetched in run.records]


def _record(topic: str, partition: int, fetched: FetchedRecord) -> Record:
    return Record(
        topic=topic,
        partition=partition,
        offset=fetched.offset,
        key=fetched.key,
        value=fetched.value,
        headers=tuple(fetched.headers),
        time=_written_at(fetched.timestamp),
    )


def _written_at(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):  # a producer may say anything, most often in the wrong unit
        return datetime.fromtimestamp(0, tz=UTC)
