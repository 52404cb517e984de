"""Moves records to Kafka, from the event loop through kafka-python's threads, and tells when they are safe.

Nothing here blocks the event loop: a producer's `send` can wait for metadata, so it is called in a thread of ours (one,
so that the order of the records is that of the calls), and acknowledgements come back from the producer's own thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from prometheus_client import Gauge, Histogram

from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Output

_CONNECT_SECONDS = 5
_METADATA_SECONDS = 2
_PROBE_SECONDS = 2
_CLOSE_SECONDS = 5
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

log = structlog.get_logger(__name__)


class NotWritten(Exception):
    """It is not known that Kafka has the records; they may be written again, as they were, under their ids."""


class NoRoom(NotWritten):
    """Too much is under way already."""


class Unacknowledged(NotWritten):
    """Kafka can't be reached, or did not acknowledge in time."""


class RecordTooLarge(NotWritten):
    """Kafka takes no record of this size."""


@dataclass(frozen=True, slots=True)
class SinkMetrics:
    """A service's metrics of what it writes."""

    records_in_flight: Gauge
    bytes_in_flight: Gauge
    ack_seconds: Histogram


class Room:
    """Bounds what is under way. It is open while it holds less than its bounds; what enters may then exceed them.

    So a request larger than the room can still enter, and the excess is at most one request.
    """

    def __init__(self, records: int, size: int, metrics: SinkMetrics) -> None:
        self._bounds = (records, size)
        self._metrics = metrics
        self._records = 0
        self._size = 0
        self._left = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether something may enter."""
        return self._records < self._bounds[0] and self._size < self._bounds[1]

    async def enter(self, records: int, size: int, patience_seconds: float) -> None:
        """Hold a place until `leave`; wait for it for `patience_seconds`.

        Raises:
            NoRoom: there was none.
        """
        if not self.is_open:
            try:
                async with asyncio.timeout(patience_seconds):
                    while not self.is_open:
                        self._left.clear()
                        await self._left.wait()
            except TimeoutError:
                raise NoRoom("too many events wait for Kafka's acknowledgement; try again later") from None
        self._change(records, size)

    def leave(self, records: int, size: int) -> None:
        """Give a place back."""
        self._change(-records, -size)
        self._left.set()

    def _change(self, records: int, size: int) -> None:
        self._records += records
        self._size += size
        self._metrics.records_in_flight.set(self._records)
        self._metrics.bytes_in_flight.set(self._size)


class _Sending:
    """Records handed over together: awaits all their acknowledgements, each of which comes in the producer's thread."""

    def __init__(self, records: Sequence[Output], ack_seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self.records = records
        self.begun = monotonic()
        self.deadline = self.begun + ack_seconds
        self.done: asyncio.Future[Exception | None] = loop.create_future()
        self.producer: KafkaProducer | None = None
        self._loop = loop
        self._pending = len(records)
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def __await__(self) -> Generator[Any, None, None]:
        return self._safe().__await__()

    async def _safe(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self.deadline - monotonic())):
                error = await asyncio.shield(self.done)
        except TimeoutError:
            raise Unacknowledged("Kafka did not acknowledge in time") from None
        if error is not None:
            raise _told(error) from error

    def settled(self, error: Exception | None, records: int = 1) -> None:
        """Note the end of some records, from any thread; the first error is the one that is told."""
        with self._lock:
            self._pending -= records
            self._error = self._error or error
            if self._pending:
                return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who could be told
            self._loop.call_soon_threadsafe(self.finish, self._error)

    def finish(self, error: Exception | None) -> None:
        """Settle all records, whatever may still come of them; on the event loop."""
        if not self.done.done():
            self.done.set_result(error)


class KafkaSink:
    """Writes to Kafka with an idempotent producer, and an answer only once all in-sync replicas have a record.

    It starts without Kafka, and finds it again when it was away.

    Args:
        bootstrap_servers: brokers to connect to, host:port, separated by commas.
        name: what the producer calls itself.
        topics: where records go; they have to be there.
        metrics: the service's.
        keys: seal what is written; they are read before the first record is.
        ack_seconds: how long records may take to be acknowledged.
        max_records: how many records may be under way.
        max_bytes: how many bytes of records may be under way.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        name: str,
        topics: Sequence[str],
        metrics: SinkMetrics,
        keys: Keyring,
        ack_seconds: float,
        max_records: int,
        max_bytes: int,
    ) -> None:
        self._keys = keys
        self._name = name
        self._topics = tuple(topics)
        self._metrics = metrics
        self._servers = [server.strip() for server in bootstrap_servers.split(",") if server.strip()]
        self._ack_seconds = ack_seconds
        self._room = Room(max_records, max_bytes, metrics)
        self._hands = ThreadPoolExecutor(1, thread_name_prefix="kafka-send")
        self._producer: KafkaProducer | None = None
        self._replace = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way: set[_Sending] = set()
        self._missing: str | None = "connecting to Kafka"
        self._unreachable: str | None = None

    def objection(self) -> str | None:
        """Return why records could not be written now, in words for an operator; None when they could."""
        return self._missing or self._unreachable

    async def start(self) -> None:
        """Begin to connect; does not wait for it."""
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._probe())]

    async def run(self) -> None:
        """Return only by raising: a fault that trying again does not mend."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Flush, then close; what Kafka does not take in time was acknowledged to nobody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._in_thread(self._close, self._producer, _CLOSE_SECONDS)
        self._producer, self._missing = None, "stopped"
        await self._in_thread(self._keys.stop)
        self._hands.shutdown(wait=False)

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        """Take `records`, in order; return what to await for their being safe, which raises if they are not.

        Args:
            records: what to write.
            patient: when there is no room, wait for some instead of raising.

        Raises:
            NoRoom: too much is under way.
            Unacknowledged: Kafka can't be reached.
        """
        if self._missing is not None:
            raise Unacknowledged("Kafka can't be reached")
        size = sum(len(record.value or b"") + len(record.key or b"") for record in records)
        await self._room.enter(len(records), size, self._ack_seconds if patient else 0)
        sending = _Sending(records, self._ack_seconds, asyncio.get_running_loop())
        self._under_way.add(sending)
        sending.done.add_done_callback(partial(self._when_done, sending, size))
        if records:
            self._hands.submit(self._hand_over, sending)
        else:
            sending.done.set_result(None)
        return sending

    def _hand_over(self, sending: _Sending) -> None:
        """Give records to the producer; runs in our thread."""
        left = len(sending.records)
        sending.producer = self._producer
        try:
            records = self._keys.seal_all(sending.records)
            if len(records) < left:  # of people who have been erased: to their sender it is as if they were taken
                sending.settled(None, left - len(records))
                left = len(records)
            for record in records:
                future = self._give(record, sending)
                left -= 1
                future.add_callback(lambda _: sending.settled(None))
                future.add_errback(sending.settled)
        except Exception as exc:
            # Nothing that comes after a record that was not taken is sent: order within a subject would break.
            sending.settled(exc, left)

    def _give(self, record: Output, sending: _Sending) -> Any:
        # A producer that waits for metadata holds up those behind it; whose time is over is not sent any more.
        if monotonic() > sending.deadline:
            raise KafkaTimeoutError("not handed over in time")
        if sending.producer is None:
            raise KafkaTimeoutError("the producer is being replaced")
        return sending.producer.send(record.topic, record.value, record.key, list(record.headers), record.partition)

    def _when_done(self, sending: _Sending, size: int, done: asyncio.Future[Exception | None]) -> None:
        self._under_way.discard(sending)
        self._room.leave(len(sending.records), size)
        error = None if done.cancelled() else done.result()
        if error is None:
            self._metrics.ack_seconds.observe(monotonic() - sending.begun)
            return
        log.warning("Kafka did not take records", records=len(sending.records), error=repr(error))
        if not isinstance(error, _TOO_LARGE) and sending.producer is self._producer:
            # kafka-python 3.0.12: an idempotent producer whose record expires after it was sent gives up its id and
            # never asks for another (`reset_producer_id` leaves the state READY, in which `init_producer_id` does
            # nothing), so it hangs for good. No better after being fenced. To be dropped when upstream has mended both.
            self._replace.set()

    async def _keep_connected(self) -> None:
        while True:
            try:
                self._producer = await self._in_thread(self._connect)
            except (KafkaError, OSError) as exc:
                trouble = f"no producer at {','.join(self._servers)}: {exc or type(exc).__name__}"
                if trouble != self._missing:
                    log.warning("can't connect to Kafka, trying on", error=trouble)
                self._missing = trouble
                await asyncio.sleep(1)
                continue
            self._missing = None
            log.info("connected to Kafka")
            self._replace.clear()
            await self._replace.wait()
            self._missing, failed, self._producer = "replacing a producer that failed", self._producer, None
            log.warning("the producer failed, making a new one")
            await self._in_thread(self._close, failed, 0)
            for sending in [sending for sending in self._under_way if sending.producer is failed]:
                sending.finish(KafkaTimeoutError("the producer was replaced"))

    def _connect(self) -> KafkaProducer:
        """Make a producer that knows its topics, so that its first `send` need not wait; blocks."""
        self._keys.start()
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            **security(),
            client_id=self._name,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            batch_size=128 * 1024,
            delivery_timeout_ms=int(self._ack_seconds * 1000),
            request_timeout_ms=int(self._ack_seconds * 500),
            max_block_ms=_METADATA_SECONDS * 1000,
            bootstrap_timeout_ms=_CONNECT_SECONDS * 1000,
            # The default lets half a minute pass before a broker that is back is found.
            reconnect_backoff_max_ms=1000,
            # A mistyped topic must be an error; topics are made with their partitions by `create_topics`.
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            for topic in self._topics:
                try:
                    producer.partitions_for(topic)
                except KafkaTimeoutError as exc:
                    raise KafkaTimeoutError(f"topic {topic} can't be found; were the topics created?") from exc
        except BaseException:
            self._close(producer, 0)
            raise
        return producer

    def _close(self, producer: KafkaProducer | None, seconds: float) -> None:
        """Flush for so long, then close; blocks."""
        if producer is None:
            return
        try:
            producer.close(timeout=seconds)
        except KafkaTimeoutError:
            # kafka-python (3.0) raises here before it has ended its thread, and has no other way to do that.
            log.warning("some records were not acknowledged; their senders are told so")
            producer._sender.force_close()

    async def _probe(self) -> None:
        """See whether a broker can be reached, and whether the producer keeps its word to fail what is overdue."""
        while True:
            if any(monotonic() > sending.deadline + _PROBE_SECONDS for sending in self._under_way):
                self._replace.set()
            self._unreachable = await self._try_servers()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _try_servers(self) -> str | None:
        for server in self._servers:
            host, _, port = server.rpartition(":")
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return None
        return f"no broker can be reached at {', '.join(self._servers)}"

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        # Not in the thread that sends: a send that waits must not keep the service from connecting or closing.
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _told(error: Exception) -> NotWritten:
    if isinstance(error, _TOO_LARGE):
        return RecordTooLarge("Kafka takes no record of this size")
    return Unacknowledged("Kafka did not acknowledge")
