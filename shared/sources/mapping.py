"""Decides what a delivery becomes: events of `feeds.*`, each with the same id however often it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Self

import orjson
from pydantic import ValidationError

from shared.contracts.cloudevents import write_feed_event
from shared.contracts.feeds import SHAPES, read_payload
from shared.contracts.ids import normalised_ref
from shared.sources.declaration import Declaration, Rule
from shared.sources.delivery import Delivery, Unfetched
from shared.sources.expressions import Expression, SourceFunctions, Unmappable
from shared.streaming.records import Output
from shared.streaming.topics import feed_topic

_EQUAL_IDS: Final = (
    "id: two different events of this delivery have the same, so one would be taken for a repetition of the other; "
    "give id an expression that tells them apart"
)
NOT_ASKED_FOR: Final = Unfetched("its record is fetched from the vendor's API: say with --fetched what that gives")
"""In place of a record where the API is not asked, as on the command line."""
LONGEST_SUBJECT: Final = 1000
"""Characters; as the gateway allows."""


@dataclass(frozen=True)
class MappedEvent:
    """An event for a feed; its payload has the shape that the feed asks for."""

    feed: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Any] = field(repr=False)
    entry: int | None = field(default=None, compare=False)
    """Of which entry of the delivery it is made, from 0 on; None where a delivery has one. What a source sends twice in
    a delivery is one event."""


@dataclass(frozen=True)
class Mapped:
    """What a delivery becomes."""

    events: tuple[MappedEvent, ...]
    ignored: tuple[str, ...] = ()
    """Why nothing is made of some entries, or of all."""
    faults: tuple[str, ...] = ()
    """Why nothing could be made of some entries: the delivery is to be kept, mended and read again."""


def map_delivery(declaration: Declaration, delivery: Delivery) -> Mapped:
    """Return what `delivery` becomes; the same delivery always becomes the same.

    An entry that can't be read does not hold up the others: read again, they become the same events with the same ids.

    Raises:
        Unmappable: nothing of it can be read.
    """
    payload = delivery.payload
    functions = declaration.functions
    events: dict[str, MappedEvent] = {}
    ignored: list[str] = []
    faults: list[str] = []
    for at, item in enumerate(_entries(declaration, payload, delivery, functions)):
        seen = {"body": payload, "item": item, "headers": delivery.headers}
        entry, where = (None, "") if declaration.each is None else (at, f"entry {at}: ")
        try:
            seen["fetched"] = _record(declaration, seen, delivery)
            found = _events(declaration, seen, functions, delivery, entry)
            if not found:
                ignored.append(where + _why_ignored(declaration, seen, functions))
            _add(events, found)
        except Unmappable as exc:
            faults.append(f"{where}{exc}")
    return Mapped(tuple(events.values()), tuple(ignored), tuple(faults))


def key_of(declaration: Declaration, delivery: Delivery) -> str:
    """Return the key that a delivery is written under: its subject, so that the order of what is said of it survives.

    A delivery that may be about several is kept in the source's own order instead: under the source's name, as is one
    whose subject can't be found.
    """
    if declaration.each is None and declaration.subject is not None:
        try:
            seen = {"body": delivery.payload, "item": delivery.payload, "headers": delivery.headers}
            return _subject(declaration.subject, seen, declaration.functions, "subject")
        except Unmappable:
            pass  # the sources service will say why, in the dead letter
    return declaration.name


def records_wanted(declaration: Declaration, delivery: Delivery) -> Sequence[str]:
    """Return the keys of the records that have to be fetched before `delivery` can be read, each once.

    An entry of which it can't be told is left out; why is said when it is read.

    Raises:
        Unmappable: nothing of the delivery can be read.
    """
    if declaration.fetch is None:
        return ()
    payload = delivery.payload
    found: dict[str, None] = {}
    for item in _entries(declaration, payload, delivery, declaration.functions):
        with suppress(Unmappable):
            key = _key_wanted(declaration, {"body": payload, "item": item, "headers": delivery.headers})
            if key is not None:
                found[key] = None
    return tuple(found)


def with_record(declaration: Declaration, delivery: Delivery, record: Any) -> Delivery:
    """Return the delivery with `record` for each that it names: for trying a source's file."""
    return replace(delivery, records=dict.fromkeys(records_wanted(declaration, delivery), record))


def to_output(event: MappedEvent) -> Output:
    """Return the record of `event` for its feed."""
    return Output(
        feed_topic(event.feed),
        event.subject.encode(),
        write_feed_event(
            event_id=event.id,
            source=event.source,
            event_type=event.type,
            subject=event.subject,
            time=event.time,
            data=event.data,
        ),
        headers=(("content-type", b"application/cloudevents+json"),),
    )


def checked(event: MappedEvent, where: str) -> MappedEvent:
    """Return `event` if its feed takes its payload.

    Raises:
        Unmappable: it does not; the message names the fields, without their values.
    """
    if event.type not in SHAPES[event.feed]:
        raise Unmappable(f"{where}: feeds.{event.feed} knows no type {event.type[:100]!r}")
    try:
        read_payload(SHAPES[event.feed], event.type, event.data)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)
        raise Unmappable(f"{where}: {event.type} as it was mapped is none: {said}") from exc
    return event


def _record(declaration: Declaration, seen: Mapping[str, Any], delivery: Delivery) -> Any:
    """Return the record that an entry names; None where none has to be fetched.

    Raises:
        Unmappable: it was not had, or it can't be told which it is.
    """
    key = _key_wanted(declaration, seen)
    if key is None:
        return None
    record = delivery.records.get(key, NOT_ASKED_FOR)
    if isinstance(record, Unfetched):
        raise Unmappable(record.reason)
    return record


def _key_wanted(declaration: Declaration, seen: Mapping[str, Any]) -> str | None:
    fetch, functions = declaration.fetch, declaration.functions
    if fetch is None or not fetch.when.holds(seen, functions, "fetch.when"):
        return None
    key = functions.text_of(fetch.key.evaluate(seen, functions, "fetch.key"))
    if key is None:
        raise Unmappable(f"fetch.key: {fetch.key.text!r} gives no text, so it is not known what to fetch")
    return key


def _add(events: dict[str, MappedEvent], found: Iterable[MappedEvent]) -> None:
    for event in found:
        if events.setdefault(event.id, event) != event:
            raise Unmappable(_EQUAL_IDS)


def _entries(declaration: Declaration, payload: Any, delivery: Delivery, functions: SourceFunctions) -> Iterable[Any]:
    if declaration.each is None:
        return [payload]
    found = declaration.each.evaluate({"body": payload, "headers": delivery.headers}, functions, "each")
    if not isinstance(found, list):
        raise Unmappable(f"each: {declaration.each.text!r} finds no list in this payload")
    return found


def _events(
    declaration: Declaration,
    seen: Mapping[str, Any],
    functions: SourceFunctions,
    delivery: Delivery,
    entry: int | None,
) -> list[MappedEvent]:
    """Return the events of one entry.

    Raises:
        Unmappable: some rule can't be applied to it; the message says all that is wrong, by rule and field.
    """
    found: list[MappedEvent] = []
    wrong = _Faults()
    for number, rule in enumerate(declaration.events):
        with wrong.gathered():
            if rule.when is None or rule.when.holds(seen, functions, f"events.{number}.when"):
                found.append(_event(declaration, rule, number, seen, functions, delivery, entry))
    wrong.end()
    return found


def _event(
    declaration: Declaration,
    rule: Rule,
    number: int,
    seen: Mapping[str, Any],
    functions: SourceFunctions,
    delivery: Delivery,
    entry: int | None,
) -> MappedEvent:
    where = f"events.{number}"
    expression = rule.subject or declaration.subject
    assert expression is not None  # noqa: S101 - the declaration was checked
    event_id, subject, time = "", "", delivery.received_at
    wrong = _Faults()
    with wrong.gathered():
        event_id = _id(rule.id or declaration.id, seen, functions, where)
    with wrong.gathered():
        subject = _subject(expression, seen, functions, f"{where}.subject")
    with wrong.gathered():
        time = _time(rule.time or declaration.time, seen, functions, delivery, where)
    data = _filled(rule.data, seen, functions, f"{where}.data", wrong)
    wrong.end()
    # The type belongs to the id: one entry may become several events, and (source, id) names one.
    full_id = f"{event_id}/{rule.type}"
    event = MappedEvent(rule.feed, full_id, declaration.source, rule.type, subject, time, data, entry)
    return checked(event, f"{where}.data")


class _Faults:
    """Gathers what is wrong, so that whoever mends a file is told all of it at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def gathered(self) -> Self:
        """Go on behind the block when what it does can't be done."""
        return self  # a generator's context manager would take as long as what stands in most of these blocks

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> bool:
        if not isinstance(fault, Unmappable):
            return False
        self._found.append(str(fault))
        return True

    def end(self) -> None:
        """Raise what was gathered.

        Raises:
            Unmappable: something was.
        """
        if self._found:
            raise Unmappable("; ".join(self._found))


def _id(expression: Expression | None, seen: Mapping[str, Any], functions: SourceFunctions, where: str) -> str:
    if expression is not None:
        found = expression.evaluate(seen, functions, f"{where}.id")
        if found in (None, "") or isinstance(found, list | dict | bool):
            raise Unmappable(f"{where}.id: {expression.text!r} gives no text and no number")
        return str(found)
    # Sorted, so that a vendor's library may write the same entry in another order when it sends it again.
    return sha256(orjson.dumps(seen["item"], option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _subject(expression: Expression, seen: Mapping[str, Any], functions: SourceFunctions, where: str) -> str:
    found = expression.evaluate(seen, functions, where)
    if not isinstance(found, str | int) or isinstance(found, bool) or not str(found).strip():
        raise Unmappable(f"{where}: {expression.text!r} gives no text, so it is not known whom this is about")
    try:
        subject = str(normalised_ref(str(found)))
    except ValueError as exc:
        raise Unmappable(f"{where}: {expression.text!r} gives a ref that names nobody") from exc
    if len(subject) > LONGEST_SUBJECT:
        raise Unmappable(f"{where}: is longer than {LONGEST_SUBJECT} characters")
    return subject


def _time(
    expression: Expression | None,
    seen: Mapping[str, Any],
    functions: SourceFunctions,
    delivery: Delivery,
    where: str,
) -> datetime:
    found = None if expression is None else expression.evaluate(seen, functions, f"{where}.time")
    if found in (None, ""):
        return delivery.received_at
    if not isinstance(found, str | int | float):
        raise Unmappable(f"{where}.time: gives neither text nor a number")
    try:
        return functions.time_of(found)
    except Unmappable as exc:
        raise Unmappable(f"{where}.time: {exc}") from exc


def _filled(
    template: Mapping[str, Any], seen: Mapping[str, Any], functions: SourceFunctions, where: str, wrong: _Faults
) -> dict[str, Any]:
    """Return the payload that a template gives; a field whose expression finds nothing is left out: nothing is said."""
    filled: dict[str, Any] = {}
    for name, inner in template.items():
        value = inner
        if isinstance(inner, Expression):
            value = None
            with wrong.gathered():
                value = inner.evaluate(seen, functions, f"{where}.{name}")
        elif isinstance(inner, Mapping):
            value = _filled(inner, seen, functions, f"{where}.{name}", wrong) or None
        if value is not None:
            filled[name] = value
    return filled


def _why_ignored(declaration: Declaration, seen: Mapping[str, Any], functions: SourceFunctions) -> str:
    for number, ignored in enumerate(declaration.ignore):
        if ignored.when.holds(seen, functions, f"ignore.{number}.when"):
            return ignored.why
    raise Unmappable(
        "no rule of events applies to this, nor one of ignore: add one to "
        f"{declaration.name}.yaml, then replay the source"
    )
