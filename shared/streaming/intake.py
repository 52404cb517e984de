"""Turns a feed's events into canonical ones, as every intake service does: read, resolve people, park, bury, pass on.

An event about a person not known yet is parked, as it came, in `feeds.<feed>.parked` under that person's ref. Parked
events and identities lie in the same partition for the same ref, so one process sees both: when the identity comes,
what waited for it is handled as if it had just arrived.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from shared.contracts.base import Payload
from shared.contracts.career import CareerEvent, write_contract
from shared.contracts.cloudevents import BadCloudEvent, FeedEvent, read_feed_event
from shared.contracts.ids import EmployeeId, EventId, Ref, feed_event_id
from shared.streaming.directory import Directory
from shared.streaming.metrics import INTAKE, LAST_SEEN, RELEASED
from shared.streaming.records import Output, Poison, Record
from shared.streaming.sealing import ERASED_SCHEME
from shared.streaming.service import StreamService, buried
from shared.streaming.state import KeyedState
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PARTITIONS, feed_topic, parked_topic

Resolve = Callable[[Ref], EmployeeId]
"""Returns the employee whom a ref names; raises `UnknownPerson`."""
Normalise = Callable[[FeedEvent, Payload, Resolve], Iterable[Output]]
"""Returns what a feed event becomes. Raises `UnknownPerson` to have it parked, `Poison` to have it buried."""

Clean = Callable[[str, bytes | None, bytes], bytes | None]
"""Returns a topic's value without erased people; None where without them it is nothing."""

_REMEMBERED = 100_000
"""How many event ids an intake remembers to drop repeats early. An economy only: ids are stable, and all who read
career events take a repeat for what it is."""


class ErasedPerson(Exception):
    """Whoever was known by this ref has been erased, and nothing is to be known of them again."""


class UnknownPerson(Exception):
    """Nobody is known by this ref, yet."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(f"nobody is known as {ref} yet")
        self.ref = ref


def intake(service: StreamService, feed: str, shapes: Mapping[str, type[Payload]], normalise: Normalise) -> None:
    """Make `service` take in a feed.

    Args:
        service: gets a directory of people and the consumers.
        feed: the feed's name, as in `feeds.<feed>`.
        shapes: the payload's shape for each event type that the feed may have.
        normalise: decides what an event becomes.
    """
    directory = Directory(service.bootstrap_servers, service.keys)
    service.alongside(directory)
    parked = service.state("parked")
    taker = _Intake(service.name, feed, shapes, normalise, directory, parked, service.keys.is_erased)
    service.consume([feed_topic(feed)], taker.take)
    service.consume([IDENTITIES, parked_topic(feed)], taker.release, state=parked)


def to_career_log(event: CareerEvent) -> Output:
    """Return the event as a record of its employee's log."""
    if event.employee_id is None:
        raise ValueError(f"{event.type} concerns everybody: send it to every partition")
    return Output(CAREER_EVENTS, event.employee_id.encode(), write_contract(event))


def to_every_partition(event: CareerEvent) -> list[Output]:
    """Return a copy of the event for each partition of the log, for what concerns everybody."""
    value = write_contract(event)
    return [Output(CAREER_EVENTS, None, value, partition=partition) for partition in range(PARTITIONS)]


class _Origin(msgspec.Struct, frozen=True):
    """Where a parked event lay in its feed; its value and headers are kept as they came."""

    key: bytes | None
    partition: int
    offset: int
    time: datetime


class _Kept(msgspec.Struct, frozen=True):
    """A parked event in the state."""

    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_ORIGIN_HEADER = "parked-from"
_encode = msgspec.msgpack.Encoder().encode
_decode_origin = msgspec.msgpack.Decoder(_Origin).decode
_decode_kept = msgspec.msgpack.Decoder(_Kept).decode


def _number_key(ref: Ref) -> str:
    return f"n/{ref}"


def _kept_key(ref: Ref, number: int) -> str:
    return f"{number}/{ref}"


def forget_parked(feed: str, key: str, value: bytes, clean: Clean, is_erased: Callable[[Ref], bool]) -> bytes | None:
    """Return what is left of an entry of the state `parked` once a person has been erased; None where nothing is.

    Args:
        feed: whose intake keeps it.
        key: of the entry, without its partition.
        value: of the entry.
        clean: see `Keyring.cleaned`.
        is_erased: tells it of a ref.
    """
    number, _, ref = key.partition("/")
    if is_erased(Ref(ref)):
        return None
    if not number.isdigit():
        return value
    kept = _decode_kept(value)
    origin = _decode_origin(dict(kept.headers)[_ORIGIN_HEADER])
    left = clean(feed_topic(feed), origin.key, kept.value or b"")
    return None if left is None else _encode(_Kept(left, kept.headers))


class _Intake:
    """Handles a feed's records, and what was parked of them."""

    def __init__(
        self,
        service: str,
        feed: str,
        shapes: Mapping[str, type[Payload]],
        normalise: Normalise,
        directory: Directory,
        parked: KeyedState,
        is_erased: Callable[[Ref], bool],
    ) -> None:
        self._service = service
        self._feed = feed
        self._shapes = shapes
        self._normalise = normalise
        self._directory = directory
        self._parked = parked
        self._is_erased = is_erased
        self._seen: OrderedDict[EventId, None] = OrderedDict()
        for outcome in ("accepted", "repeated", "parked", "dead", "erased"):
            INTAKE.labels(feed, outcome)  # so that a rate over an outcome that never came is 0 and not absent

    async def take(self, run: Sequence[Record]) -> Sequence[Output]:
        """Handle a run of the feed's own records."""
        outputs = [output for record in run for output in self._outcome(record, {}, first_time=True)]
        LAST_SEEN.labels(self._feed).set(max(record.time.timestamp() for record in run))
        return outputs

    async def release(self, run: Sequence[Record]) -> Sequence[Output]:
        """Handle a run of identities and parked events: let go what need not wait any more, keep the rest."""
        if any(record.topic != IDENTITIES for record in run):
            # Whatever had been said of identities by now is known from here on; what is said later comes after this
            # run on our own partition of identities. So no event can slip between "not known yet" and "kept".
            await self._directory.catch_up()
        outputs: list[Output] = []
        for record in run:
            if record.key is None:
                continue
            ref = Ref(record.key.decode())
            if record.topic == IDENTITIES:
                if record.value is not None:
                    outputs.extend(self._let_go(record.partition, ref, EmployeeId(record.value.decode())))
            elif self._directory.find(ref) is not None:
                outputs.extend(self._released(record.value, record.headers, {}))
            else:
                self._keep(record, ref)
        return outputs

    def _keep(self, record: Record, ref: Ref) -> None:
        # A key for each event, and their number under the ref: a value must not grow with what waits (Kafka limits it).
        waiting = int(self._parked.get(record.partition, _number_key(ref)) or 0)
        self._parked.put(record.partition, _kept_key(ref, waiting), _encode(_Kept(record.value, record.headers)))
        self._parked.put(record.partition, _number_key(ref), b"%d" % (waiting + 1))

    def _let_go(self, partition: int, ref: Ref, employee: EmployeeId) -> Iterable[Output]:
        waiting = int(self._parked.get(partition, _number_key(ref)) or 0)
        for number in range(waiting):
            stored = self._parked.get(partition, _kept_key(ref, number))
            if stored is not None:
                kept = _decode_kept(stored)
                yield from self._released(kept.value, kept.headers, {ref: employee})
            self._parked.put(partition, _kept_key(ref, number), None)
        if waiting:
            self._parked.put(partition, _number_key(ref), None)

    def _released(
        self, value: bytes | None, headers: tuple[tuple[str, bytes], ...], also_known: Mapping[Ref, EmployeeId]
    ) -> list[Output]:
        RELEASED.labels(self._feed).inc()
        origin = _decode_origin(dict(headers)[_ORIGIN_HEADER])
        original = Record(
            feed_topic(self._feed),
            origin.partition,
            origin.offset,
            origin.key,
            value,
            tuple(header for header in headers if header[0] != _ORIGIN_HEADER),
            origin.time,
        )
        return self._outcome(original, also_known, first_time=False)

    def _park(self, record: Record, ref: Ref) -> Output:
        origin = _encode(_Origin(record.key, record.partition, record.offset, record.time))
        return Output(
            parked_topic(self._feed), ref.encode(), record.value, headers=(*record.headers, (_ORIGIN_HEADER, origin))
        )

    def _outcome(self, record: Record, also_known: Mapping[Ref, EmployeeId], *, first_time: bool) -> list[Output]:
        """Return what becomes of a record of the feed; never raises: what can't be dealt with is buried."""
        try:
            outcome, outputs = self._handle(record, also_known, first_time=first_time)
        except Exception as exc:  # as in `each`: this one record can't be dealt with, and the service lives
            outcome, outputs = "dead", [buried(record, exc, self._service)]
        INTAKE.labels(self._feed, outcome).inc()
        return outputs

    def _handle(
        self, record: Record, also_known: Mapping[Ref, EmployeeId], *, first_time: bool
    ) -> tuple[str, list[Output]]:
        event = self._read(record)
        event_id = feed_event_id(event.source, event.id)
        if first_time and event_id in self._seen:
            return "repeated", []

        def resolve(ref: Ref) -> EmployeeId:
            if ref.startswith(f"{ERASED_SCHEME}:") or self._is_erased(ref):
                raise ErasedPerson(ref)
            found = also_known.get(ref) or self._directory.find(ref)
            if found is None:
                raise UnknownPerson(ref)
            return found

        try:
            outputs = list(self._normalise(event, self._payload(event), resolve))
        except UnknownPerson as exc:
            return "parked", [self._park(record, exc.ref)]
        except ErasedPerson:
            return "erased", []
        self._remember(event_id)
        return "accepted", outputs

    def _read(self, record: Record) -> FeedEvent:
        try:
            return read_feed_event(record.key, record.value, record.headers, record.time)
        except BadCloudEvent as exc:
            raise Poison(str(exc)) from exc

    def _payload(self, event: FeedEvent) -> Payload:
        if event.type not in self._shapes:
            known = ", ".join(sorted(self._shapes))
            raise Poison(f"type: {event.type!r} is none that feeds.{self._feed} understands; those are {known}")
        return self._shapes[event.type].model_validate(event.data)

    def _remember(self, event_id: EventId) -> None:
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
