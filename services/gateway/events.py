"""Decides whether bytes are a CloudEvent that may enter, and makes the Kafka record of it: the payload as it was sent.

A record is always the structured form (JSON). What came as JSON is passed on byte for byte, and binary mode's body is
set into the envelope byte for byte: to parse and write a payload anew would change its numbers (1.10, 1e400).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import unquote

import msgspec
import orjson
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from services.gateway.problems import BadEvents, FieldError, ForeignSource, TooLarge
from shared.streaming.records import Output
from shared.streaming.topics import dead_topic, feed_topic

CLOUDEVENT_JSON = "application/cloudevents+json"
LONGEST_SUBJECT = 1000
"""Characters. The subject is a record's key, which counts against Kafka's limit for a record as the event does."""

_FORMAT = JSONFormat()
_CONTENT_TYPE = (("content-type", CLOUDEVENT_JSON.encode()),)
_REQUIRED: Mapping[str, str] = {
    "specversion": "send 1.0",
    "id": "it identifies the event together with source, so that one sent twice counts once",
    "source": "it says who sends, and must be the one that the token speaks for",
    "type": "it says what the payload is",
    "subject": "it says whom or what the event is about; events with one subject keep their order",
}
_JSON_MEDIA_TYPE = re.compile(r"(application|text)/([a-z0-9\-.]+\+)?json")
_ESCAPED = re.compile(r"\\(.)")
_WRITE_TIME = "is not a time as RFC 3339 writes it, 2026-03-01T09:30:00Z"
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What the library's parsers let through for bytes that are no CloudEvent."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event that may enter.

    Attributes:
        subject: whom or what it is about, as its source names it.
        value: the event in structured mode.
    """

    subject: str
    value: bytes


def to_record(feed: str, event: Incoming, longest: int) -> Output:
    """Return the record of `event` for its feed's topic, keyed by subject so that a source's order for it survives.

    Raises:
        TooLarge: it has more than `longest` bytes.
    """
    if len(event.value) > longest:
        raise TooLarge(
            f"the event has {len(event.value)} bytes, allowed are {longest}",
        )
    return Output(feed_topic(feed), event.subject.encode(), event.value, headers=_CONTENT_TYPE)


def to_dead_letter(feed: str, value: bytes, reason: str, source: str) -> Output:
    """Return the record that keeps what could not enter, byte for byte, for `feed`'s dead letter topic.

    The headers are those of all dead letters (see `shared.streaming.service.dead_letter`), without a place in a topic,
    for it never had one; `dead-source` says whose token it came with.
    """
    return Output(
        dead_topic(feed_topic(feed)),
        None,
        value,
        headers=(
            *_CONTENT_TYPE,
            ("dead-reason", reason[:1000].encode()),
            ("dead-service", b"gateway"),
            ("dead-topic", feed_topic(feed).encode()),
            ("dead-source", source.encode()),
        ),
    )


def read_structured(raw: bytes, source: str) -> Incoming:
    """Return the CloudEvent that `raw` is, as JSON in structured mode.

    Args:
        raw: the JSON, in UTF-8.
        source: whom the sender speaks for.

    Raises:
        ForeignSource: it names another source, whatever else is wrong with it.
        BadEvents: it is not a CloudEvent, or has no subject.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise bad_events([FieldError("", f"the event is not JSON in UTF-8: {exc}")]) from exc
    if not isinstance(document, dict):
        raise bad_events([FieldError("", "the event is not a JSON object with the CloudEvent's attributes")])
    _check_source(document.get("source"), source, "/source")
    try:
        event = from_structured(HTTPMessage({}, raw), _FORMAT, _strict_event)
    except _UNREADABLE as exc:
        raise bad_events([_reason(document, exc)]) from exc
    return Incoming(event.get_subject() or "", raw)


def read_batch(body: bytes) -> list[bytes]:
    """Return the events of a batch, each as the bytes that it has in it.

    Raises:
        BadEvents: it is not a JSON array.
    """
    try:
        return [bytes(element) for element in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except msgspec.ValidationError as exc:
        raise bad_events([FieldError("", "the batch is not a JSON array of CloudEvents")]) from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise bad_events([FieldError("", f"the batch is not JSON: {exc}")]) from exc


def read_binary(headers: Iterable[tuple[bytes, bytes]], body: bytes, source: str) -> Incoming:
    """Return the CloudEvent whose attributes are in ``ce-`` headers and whose payload is the body.

    Args:
        headers: the request's headers, names in lower case.
        body: the payload; JSON unless Content-Type says something else.
        source: whom the sender speaks for.

    Raises:
        ForeignSource: it names another source, whatever else is wrong with it.
        BadEvents: it is not a CloudEvent, has no subject, or says that it is JSON and is not.
    """
    values = _header_values(headers)
    attributes = _decoded(values)
    _check_source(attributes.get("source"), source, "header:ce-source")
    media_type = attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()
    is_json = _JSON_MEDIA_TYPE.fullmatch(media_type) is not None
    if is_json and body:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise bad_events([FieldError("", f"the body is said to be {media_type}, and is no JSON: {exc}")]) from exc
    try:
        event = from_binary(HTTPMessage(values, b"" if is_json else body), _FORMAT, _strict_event)
    except BadEvents as exc:
        raise bad_events([FieldError(_in_header(error.pointer), error.detail) for error in exc.errors]) from exc
    except _UNREADABLE as exc:
        # Of all that a header can hold, the time is the one thing that is parsed.
        raise bad_events([FieldError("header:ce-time", f"{_WRITE_TIME}: {exc}")]) from exc
    envelope = orjson.dumps(attributes)
    data = event.get_data()
    if is_json and body:
        envelope = envelope[:-1] + b',"data":' + body + b"}"
    elif isinstance(data, bytes):
        envelope = envelope[:-1] + b',"data_base64":"' + b64encode(data) + b'"}'
    elif data is not None:
        envelope = envelope[:-1] + b',"data":' + orjson.dumps(data) + b"}"
    return Incoming(attributes["subject"], envelope)


def bad_events(errors: list[FieldError], events: int = 0) -> BadEvents:
    """Return the problem that tells of `errors`, in its detail too (the first few), for logs and impatient readers."""
    told = [f"{error.pointer}: {error.detail}" if error.pointer else error.detail for error in errors[:5]]
    return BadEvents("; ".join(told) + ("; and more" if len(errors) > len(told) else ""), errors, events=events)


def _check_source(claimed: Any, own: str, pointer: str) -> None:
    if isinstance(claimed, str) and claimed and claimed != own:
        detail = f"the event's source is {claimed[:200]!r}, and the token speaks for {own!r}"
        raise ForeignSource(detail, [FieldError(pointer, detail)])


def _strict_event(attributes: dict[str, Any], data: Any) -> CloudEvent:
    """Make the event, as the library does, but make up nothing: it would fill in a missing id, time, specversion."""
    errors = [
        FieldError(f"/{name}", f"is missing: {why}") for name, why in _REQUIRED.items() if attributes.get(name) is None
    ]
    missing = {error.pointer for error in errors}
    try:
        event = CloudEvent(attributes, data)
    except CloudEventValidationError as exc:
        for name, problems in exc.errors.items():
            if f"/{name}" not in missing:
                errors += [FieldError(f"/{name}", str(problem)) for problem in problems]
        raise bad_events(errors) from exc
    if errors:
        raise bad_events(errors)
    subject = event.get_subject() or ""
    if not subject.strip() or len(subject) > LONGEST_SUBJECT:
        raise bad_events([FieldError("/subject", f"must have 1 to {LONGEST_SUBJECT} characters, not only blanks")])
    if (time := event.get_time()) is not None:
        time.astimezone(UTC)  # OverflowError for a time that has no place in UTC's years 1 to 9999
    return event


def _reason(document: Mapping[str, Any], error: Exception) -> FieldError:
    """Find what it was that the library could not read; its own words name no attribute."""
    if isinstance(error, RecursionError):
        return FieldError("", "the event is nested too deeply")
    for name, advice in (("time", _WRITE_TIME), ("data_base64", "is not base64")):
        if name in document and _can_be_read({other: document[other] for other in document if other != name}):
            return FieldError(f"/{name}", f"{advice}: {error}")
    return FieldError("", f"the event is not a CloudEvent 1.0: {error or type(error).__name__}")


def _can_be_read(document: Mapping[str, Any]) -> bool:
    try:
        from_structured(HTTPMessage({}, orjson.dumps(document)), _FORMAT, CloudEvent)
    except CloudEventValidationError:
        return True
    except _UNREADABLE:
        return False
    return True


def _header_values(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the ``ce-`` headers and Content-Type, unescaped where they are quoted, still percent-encoded.

    CloudEvents HTTP binding, section 3.1.3.2: a receiver first resolves double quotes, then decodes percents once.
    """
    values: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        if not name.startswith("ce-") and name != "content-type":
            continue
        if name in values:
            raise bad_events([FieldError(f"header:{name}", "is there twice")])
        if name == "ce-datacontenttype":
            raise bad_events([FieldError(f"header:{name}", "must not be there: send Content-Type instead")])
        try:
            value = raw_value.decode("ascii")
        except UnicodeDecodeError as exc:
            raise bad_events([FieldError(f"header:{name}", "is not ASCII: percent-encode its UTF-8 bytes")]) from exc
        if name != "content-type" and len(value) >= 2 and value[0] == value[-1] == '"':
            value = _ESCAPED.sub(r"\1", value[1:-1])
        values[name] = value
    return values


def _decoded(values: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that headers hold, each as it was sent (the library's parsed time has lost digits)."""
    attributes: dict[str, str] = {}
    for name, value in values.items():
        if name == "content-type":
            attributes["datacontenttype"] = value
            continue
        try:
            attributes[name.removeprefix("ce-")] = unquote(value, errors="strict")
        except UnicodeDecodeError as exc:
            raise bad_events([FieldError(f"header:{name}", "is not UTF-8 once its percents are decoded")]) from exc
    return attributes


def _in_header(pointer: str) -> str:
    name = pointer.removeprefix("/")
    return "header:content-type" if name == "datacontenttype" else f"header:ce-{name}"
