"""Turns a feed's events into canonical ones, as every intake service does: read, resolve people, park, bury, pass on.

A ref means whom it meant when the event was said (`shared.contracts.identities.holder`).

An event about a person not known yet is parked, as it came, in `feeds.<feed>.parked` under that person's ref. Parked
events and identities lie in the same partition for the same ref, so one process sees both: when the identity comes,
what waited for it is handled as if it had just arrived.

Of an event that was passed on a note goes to `feeds.<feed>.attributed`, under its refs. When it becomes known that they
mean somebody else, the event is taken back where it was passed to, and passed on anew: so it ends where it belongs,
whichever came first.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Final, Protocol

import msgspec
import structlog

from shared.contracts.base import Payload
from shared.contracts.career import CareerEvent, StatementDisowned, read_career_event, write_contract
from shared.contracts.cloudevents import BadCloudEvent, FeedEvent, read_feed_event
from shared.contracts.identities import EmployeeMergedInto, RefClaimed, read_identity
from shared.contracts.ids import EmployeeId, EventId, Ref, feed_event_id, stable_id
from shared.streaming.attribution import (
    ENTRY,
    LINK,
    SEPARATOR,
    Attribution,
    Attributions,
    Meant,
    read_attribution,
    refs_in,
    write_attribution,
)
from shared.streaming.directory import Directory
from shared.streaming.lookup import Lookup
from shared.streaming.metrics import INTAKE, LAST_SEEN, MOVED, RELEASED, SOURCE_DELAY, SOURCE_LAST_SEEN
from shared.streaming.records import SOURCE_HEADER, Output, Poison, Record
from shared.streaming.sealed_states import Shape
from shared.streaming.sealing import ERASED_SCHEME, names_in
from shared.streaming.service import StreamService, buried
from shared.streaming.state import State
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PARTITIONS, attributed_topic, feed_topic, parked_topic

Resolve = Callable[[Ref], EmployeeId]
"""Returns the employee whom a ref names; raises `UnknownPerson`."""
Normalise = Callable[[FeedEvent, Payload, Resolve], Iterable[Output]]
"""Returns what a feed event becomes. Raises `UnknownPerson` to have it parked, `Poison` to have it buried."""
Disown = Callable[[Output], Iterable[Output]]
"""Returns what takes back a record that a `Normalise` returned."""

log = structlog.get_logger(__name__)

Clean = Callable[[str, bytes | None, bytes], bytes | None]
"""Returns a topic's value without erased people; None where without them it is nothing."""

_SOURCE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,49}")
_SOURCES_TOLD_APART: Final = 100
"""Beyond so many they are told as `other`: who may write to a feed may write any header."""
_OTHER: Final = "other"

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


def disown_in_log(output: Output) -> Iterable[Output]:
    """Return what takes back a record of `career-events`."""
    event = read_career_event(output.value or b"")
    if event.employee_id is not None:
        yield to_career_log(
            StatementDisowned(
                id=EventId(stable_id("disowned", event.id, event.employee_id)),
                at=event.at,
                source=event.source,
                employee_id=event.employee_id,
                statement_id=event.id,
            )
        )


def intake(
    service: StreamService,
    feed: str,
    shapes: Mapping[str, type[Payload]],
    normalise: Normalise,
    disown: Disown = disown_in_log,
) -> None:
    """Make `service` take in a feed.

    Args:
        service: gets a directory of people and the consumers.
        feed: the feed's name, as in `feeds.<feed>`.
        shapes: the payload's shape for each event type that the feed may have.
        normalise: decides what an event becomes.
        disown: says how that is taken back, when its names turn out to mean others.
    """
    directory = Directory(service.bootstrap_servers, service.keys)
    lookup = Lookup(service.bootstrap_servers, service.keys)
    service.alongside(directory)
    service.alongside(lookup)
    parked = service.state("parked", parked_shape(feed))
    taker = Intake(
        service.name,
        feed,
        shapes,
        normalise,
        disown,
        directory,
        parked,
        lookup.record_at,
        service.keep,
        service.keys.is_erased,
    )
    service.consume([feed_topic(feed)], taker.take)
    service.consume([IDENTITIES, parked_topic(feed), attributed_topic(feed)], taker.release, state=parked)


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


_PARKED_KEY: Final = re.compile(rf"(?:\w+)/(?P<name>[^{SEPARATOR}]+)(?:{SEPARATOR}.*)?", re.DOTALL)


def _number_key(ref: Ref) -> str:
    return f"n/{ref}"


def _kept_key(ref: Ref, number: int) -> str:
    return f"{number}/{ref}"


def parked_shape(feed: str) -> Shape:
    """Return whom the entries of an intake's state are about: an event that waits, or a note of one, is nothing
    without anybody whom it names.

    Args:
        feed: whose intake keeps it.
    """

    def names(key: str, value: bytes) -> Iterable[Ref]:
        number = key.partition("/")[0]
        if number in (ENTRY, LINK):
            return refs_in(read_attribution(value))
        if not number.isdigit():
            return ()
        kept = _decode_kept(value)
        origin = _decode_origin(dict(kept.headers)[_ORIGIN_HEADER])
        return names_in(feed_topic(feed), origin.key, kept.value or b"")

    return Shape(_PARKED_KEY, names=names)


def forget_parked(feed: str, key: str, value: bytes, clean: Clean, is_erased: Callable[[Ref], bool]) -> bytes | None:
    """Return what is left of an entry of an intake's state once a person has been erased; None where nothing is.

    A note of whom an event was taken to mean goes with any of its people: it could not be moved any more.

    Args:
        feed: whose intake keeps it.
        key: of the entry, without its partition.
        value: of the entry.
        clean: see `Keyring.cleaned`.
        is_erased: tells it of a ref.
    """
    number, _, ref = key.partition("/")
    if is_erased(Ref(ref.partition(SEPARATOR)[0])):
        return None
    if number in (ENTRY, LINK):
        return None if any(is_erased(ref) for ref in refs_in(read_attribution(value))) else value
    if not number.isdigit():
        return value
    kept = _decode_kept(value)
    origin = _decode_origin(dict(kept.headers)[_ORIGIN_HEADER])
    left = clean(feed_topic(feed), origin.key, kept.value or b"")
    return None if left is None else _encode(_Kept(left, kept.headers))


class Known(Protocol):
    """What an intake asks its directory."""

    def find(self, ref: Ref, at: datetime) -> EmployeeId | None:
        """Return the employee whom `ref`, said at `at`, names, or None."""

    async def catch_up(self) -> None:
        """Return when all that `identities` holds by now is known."""


class Intake:
    """Handles a feed's records, and what has come of them.

    Args:
        service: the service's name, for dead letters.
        feed: the feed's name.
        shapes: as for `intake`.
        normalise: as for `intake`.
        disown: as for `intake`.
        directory: says whom refs name.
        state: keeps what is parked, and whom each event was taken to be about.
        record_at: returns the feed's record at a partition and offset, or None when it is not there any more.
        keep: makes outputs and the state as it is safe in the midst of a run.
        is_erased: tells of a ref whether whoever was known by it has been erased.
    """

    def __init__(
        self,
        service: str,
        feed: str,
        shapes: Mapping[str, type[Payload]],
        normalise: Normalise,
        disown: Disown,
        directory: Known,
        state: State,
        record_at: Callable[[str, int, int], Awaitable[Record | None]],
        keep: Callable[[Sequence[Output]], Awaitable[None]],
        is_erased: Callable[[Ref], bool] = lambda _: False,
    ) -> None:
        self._service = service
        self._feed = feed
        self._shapes = shapes
        self._normalise = normalise
        self._disown = disown
        self._directory = directory
        self._parked = state
        self._attributions = Attributions(state)
        self._record_at = record_at
        self._save = keep
        self._is_erased = is_erased
        self._seen: OrderedDict[EventId, None] = OrderedDict()
        self._sources: set[str] = set()
        self._counted = cache(partial(INTAKE.labels, feed))  # `labels` takes three times as long as to count
        for outcome in ("accepted", "repeated", "parked", "dead", "erased"):
            self._counted(_OTHER, outcome)  # so that a rate over an outcome that never came is 0 and not absent

    async def take(self, run: Sequence[Record]) -> Sequence[Output]:
        """Handle a run of the feed's own records."""
        outputs = [output for record in run for output in self._outcome(record, first_time=True)]
        LAST_SEEN.labels(self._feed).set(max(record.time.timestamp() for record in run))
        for source, newest in {self._source_of(record): record for record in run}.items():  # the last counts
            SOURCE_LAST_SEEN.labels(self._feed, source).set(newest.time.timestamp())
        return outputs

    async def release(self, run: Sequence[Record]) -> Sequence[Output]:
        """Handle a run of identities, parked events and notes: let go and move what has to be, keep the rest."""
        # Whatever had been said of identities by now is known from here on; what is said later comes after this run on
        # our own partition of identities. So no event can slip between "not known yet" and "kept".
        await self._directory.catch_up()
        outputs: list[Output] = []
        suspects: dict[tuple[int, Ref, EventId], None] = {}
        for record in run:
            if record.key is None or record.value is None:
                continue
            if record.topic == IDENTITIES:
                outputs.extend(self._on_identity(record.key, record.value, record.partition, suspects))
            elif record.topic == attributed_topic(self._feed):
                outputs.extend(self._on_note(Ref(record.key.decode()), record.value, record.partition, suspects))
            else:
                outputs.extend(self._on_parked(record, Ref(record.key.decode())))
        outputs.extend([output async for output in self._moved(suspects)])
        return outputs

    # -- what waits for a person ------------------------------------------------------------------

    def _on_parked(self, record: Record, ref: Ref) -> Iterable[Output]:
        event_time = self._time_of(record)
        if self._directory.find(ref, event_time) is not None:
            return self._released(record.value, record.headers)
        # A key for each event, and their number under the ref: a value must not grow with what waits (Kafka limits it).
        waiting = int(self._parked.get(record.partition, _number_key(ref)) or 0)
        self._parked.put(record.partition, _kept_key(ref, waiting), _encode(_Kept(record.value, record.headers)))
        self._parked.put(record.partition, _number_key(ref), b"%d" % (waiting + 1))
        return ()

    def _let_go(self, partition: int, ref: Ref) -> Iterable[Output]:
        waiting = int(self._parked.get(partition, _number_key(ref)) or 0)
        for number in range(waiting):
            stored = self._parked.get(partition, _kept_key(ref, number))
            if stored is not None:
                kept = _decode_kept(stored)
                yield from self._released(kept.value, kept.headers)
            self._parked.put(partition, _kept_key(ref, number), None)
        if waiting:
            self._parked.put(partition, _number_key(ref), None)

    def _released(self, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> list[Output]:
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
        return self._outcome(original, first_time=False)

    def _park(self, record: Record, ref: Ref) -> Output:
        origin = _encode(_Origin(record.key, record.partition, record.offset, record.time))
        return Output(
            parked_topic(self._feed), ref.encode(), record.value, headers=(*record.headers, (_ORIGIN_HEADER, origin))
        )

    # -- what turns out to be about somebody else -------------------------------------------------

    def _on_identity(
        self, key: bytes, value: bytes, partition: int, suspects: dict[tuple[int, Ref, EventId], None]
    ) -> Iterable[Output]:
        try:
            said = read_identity(key, value)
        except ValueError:
            log.exception("a record of identities can't be read", key=key)
            return
        match said:
            case RefClaimed():
                yield from self._let_go(partition, said.ref)
                suspects.update(
                    dict.fromkeys((partition, said.ref, e.event_id) for e in self._attributions.by(partition, said.ref))
                )
                for link in self._attributions.linked(partition, said.ref):
                    yield self._note(link.home, link)
            case EmployeeMergedInto():
                suspects.update(
                    dict.fromkeys((partition, e.home, e.event_id) for e in self._attributions.all(partition))
                )

    def _on_note(
        self, ref: Ref, value: bytes, partition: int, suspects: dict[tuple[int, Ref, EventId], None]
    ) -> Iterable[Output]:
        note = read_attribution(value)
        if ref == note.home:
            if self._attributions.entry(partition, ref, note.event_id) is None:
                self._attributions.keep(partition, note)
            suspects[partition, ref, note.event_id] = None
        else:
            self._attributions.link(partition, ref, note)
            if self._directory.find(ref, note.time) != dict(note.meant)[ref]:
                yield self._note(note.home, note)

    def _note(self, ref: Ref, attribution: Attribution) -> Output:
        return Output(attributed_topic(self._feed), ref.encode(), write_attribution(attribution))

    async def _moved(self, suspects: Iterable[tuple[int, Ref, EventId]]) -> AsyncIterator[Output]:
        """Yield what takes events back where they do not belong, and passes them on where they do."""
        moves: list[tuple[int, Attribution]] = []
        stay: dict[tuple[int, Ref, EventId], Attribution] = {}
        for partition, home, event_id in suspects:
            entry = self._attributions.entry(partition, home, event_id)
            if entry is None:
                continue
            if entry.before is not None:  # decided before a crash, and perhaps not said: as it was decided
                async for output in self._move(entry):
                    yield output
                entry = msgspec.structs.replace(entry, before=None)
                self._attributions.keep(partition, entry)
            now = tuple((ref, self._directory.find(ref, entry.time) or meant) for ref, meant in entry.meant)
            if now != entry.meant:
                entry = msgspec.structs.replace(entry, meant=now, number=entry.number + 1, before=entry.meant)
                self._attributions.keep(partition, entry)
                self._attributions.note_loss(partition, home)
                moves.append((partition, entry))
            elif self._attributions.has_lost(partition, home):
                stay[partition, home, event_id] = entry
        if moves:
            # What is said is not the same when it is decided again, for more may be known then: so it is kept first.
            await self._save([])
        for partition, entry in moves:
            async for output in self._move(entry):
                yield output
            self._attributions.keep(partition, msgspec.structs.replace(entry, before=None))
            stay |= {(partition, one.home, one.event_id): one for one in self._attributions.by(partition, entry.home)}
        # Who has lost a statement about a thing had kept the newest of those alone: they are told again what stays.
        moved = {(partition, entry.home, entry.event_id) for partition, entry in moves}
        for entry in (one for place, one in stay.items() if place not in moved):
            async for output in self._said_again(entry):
                yield output

    async def _move(self, entry: Attribution) -> AsyncIterator[Output]:
        record = await self._record_at(feed_topic(self._feed), entry.partition, entry.offset)
        if record is None:
            log.error(
                "an event is about somebody else than it was taken for, and is not in its feed any more",
                feed=self._feed,
                partition=entry.partition,
                offset=entry.offset,
            )
            return
        MOVED.labels(self._feed).inc()
        # It may have come again and been passed on anew, so each number can be there.
        for number in range(entry.number):
            with contextlib.suppress(Exception):  # then it was not passed on
                for output in self._as_meant(record, entry.before or (), number):
                    for taken_back in self._disown(output):
                        yield taken_back
        try:
            outputs = self._as_meant(record, entry.meant, entry.number)
        except Exception as exc:  # as in `each`; two people may have turned out to be one, who can't sponsor themselves
            outputs = [buried(record, exc, self._service)]
        for output in outputs:
            yield output

    async def _said_again(self, entry: Attribution) -> AsyncIterator[Output]:
        record = await self._record_at(feed_topic(self._feed), entry.partition, entry.offset)
        with contextlib.suppress(Exception):  # a dead letter by now
            for output in self._as_meant(record, entry.meant, entry.number) if record is not None else ():
                yield output

    def _as_meant(self, record: Record, meant: Meant, attribution: int) -> list[Output]:
        """Return what a record becomes when its refs mean these."""
        event = replace(self._read(record), attribution=attribution)
        return list(self._normalise(event, self._payload(event), dict(meant).__getitem__))

    # -- one event --------------------------------------------------------------------------------

    def _outcome(self, record: Record, *, first_time: bool) -> list[Output]:
        """Return what becomes of a record of the feed; never raises: what can't be dealt with is buried."""
        try:
            outcome, outputs = self._handle(record, first_time=first_time)
        except Exception as exc:  # as in `each`: this one record can't be dealt with, and the service lives
            outcome, outputs = "dead", [buried(record, exc, self._service)]
        self._counted(self._source_of(record), outcome).inc()
        return outputs

    def _source_of(self, record: Record) -> str:
        """Return the label of the source whose file made the event: a name as files have, and of few."""
        named = next((value for name, value in record.headers if name == SOURCE_HEADER), b"")
        source = named.decode("utf-8", "replace")
        if source in self._sources:
            return source
        if _SOURCE_NAME.fullmatch(source) is None or len(self._sources) >= _SOURCES_TOLD_APART:
            return _OTHER
        self._sources.add(source)
        return source

    def _handle(self, record: Record, *, first_time: bool) -> tuple[str, list[Output]]:
        event = self._read(record)
        event_id = feed_event_id(event.source, event.id)
        if first_time and event_id in self._seen:
            return "repeated", []

        meant: dict[Ref, EmployeeId] = {}

        def resolve(ref: Ref) -> EmployeeId:
            if ref.startswith(f"{ERASED_SCHEME}:") or self._is_erased(ref):
                raise ErasedPerson(ref)
            found = self._directory.find(ref, event.time)
            if found is None:
                raise UnknownPerson(ref)
            meant[ref] = found
            return found

        outcome, outputs = "accepted", list[Output]()
        try:
            outputs.extend(self._normalise(event, self._payload(event), resolve))
        except UnknownPerson as exc:
            return "parked", [self._park(record, exc.ref)]
        except ErasedPerson:
            return "erased", []
        except Poison as exc:
            if len(meant) < 2:
                raise
            # Who seem to be one person may turn out to be two: then it is passed on after all.
            outcome, outputs = "dead", [buried(record, exc, self._service)]
        self._remember(event_id)
        if first_time:
            delay = datetime.now(UTC) - event.time
            SOURCE_DELAY.labels(self._feed, self._source_of(record)).set(delay.total_seconds())
        if meant:
            note = Attribution(event_id, event.time, record.partition, record.offset, tuple(meant.items()))
            outputs.extend(self._note(ref, note) for ref in meant)
        return outcome, outputs

    def _time_of(self, record: Record) -> datetime:
        origin = _decode_origin(dict(record.headers)[_ORIGIN_HEADER])
        headers = tuple(header for header in record.headers if header[0] != _ORIGIN_HEADER)
        return read_feed_event(origin.key, record.value, headers, origin.time).time

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
