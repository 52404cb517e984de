"""Reads and writes CloudEvents 1.0 as they lie in `feeds.*`: structured (JSON) or binary (``ce_`` headers).

The wire formats are the `cloudevents` library's; here is the one form in which our services hold an event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka, to_structured
from cloudevents.core.exceptions import BaseCloudEventException, CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from shared.contracts.ids import EventId, feed_event_id

_JSON = JSONFormat()
Headers = Iterable[tuple[str, bytes]]


class BadCloudEvent(ValueError):
    """The record is not a CloudEvent we can read; the message names the attribute and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A CloudEvent from a feed.

    Attributes:
        id: the event's id; with `source` it identifies the event.
        source: who sent it.
        type: what the payload is (see `shared.contracts.feeds`).
        subject: whom or what it is about, as the source names it.
        time: when the source said it; the time of the Kafka record where the event has none.
        data: the payload, as sent.
        attribution: how often it has turned out that its names mean others than it was first taken to be about.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Any = field(repr=False)
    attribution: int = 0

    def career_event_id(self, part: str = "") -> EventId:
        """Return the id of what is made of this event.

        That of a later attribution is greater than those of the earlier ones, and compares with ids of other events as
        they do, so that stamps settle what they settled before.

        Args:
            part: tells apart the several that one event may become.
        """
        first = feed_event_id(self.source, self.id, part)
        return EventId(f"{first}~{self.attribution:04}") if self.attribution else first


def read_feed_event(key: bytes | None, value: bytes | None, headers: Headers, record_time: datetime) -> FeedEvent:
    """Return the CloudEvent that a Kafka record of a feed holds.

    Args:
        key: the record's key; stands in for a missing `subject`.
        value: the record's value.
        headers: the record's headers; any ``ce_`` header means binary mode (CloudEvents Kafka binding, section 3).
        record_time: the record's time stamp, for an event without `time`.

    Raises:
        BadCloudEvent: it is none.
    """
    if value is None:
        raise BadCloudEvent(
            "the record has no value: send the CloudEvent as JSON, or attributes as ce_ headers with the data as value"
        )
    try:
        event = from_kafka(
            KafkaMessage(headers=dict(headers), key=None, value=value),
            _JSON,
            lambda attributes, data: _as_sent(attributes, data, record_time),
        )
    except BadCloudEvent:
        raise
    except CloudEventValidationError as exc:
        problems = "; ".join(f"{name}: {error}" for name, errors in exc.errors.items() for error in errors)
        raise BadCloudEvent(f"not a CloudEvent 1.0: {problems}") from exc
    except json.JSONDecodeError as exc:
        raise BadCloudEvent(f"not a CloudEvent 1.0: the value is not JSON: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise BadCloudEvent(f"not a CloudEvent 1.0: the value is not text in UTF-8: {exc}") from exc
    except (ValueError, OverflowError) as exc:  # of all attributes, the time is the one that the library parses
        raise BadCloudEvent(f"not a CloudEvent 1.0: time: {exc}; write it as 2026-09-14T08:00:00Z") from exc
    except (BaseCloudEventException, TypeError, KeyError, AttributeError) as exc:
        # What the library's parser runs into when the value is a list, a number or null.
        raise BadCloudEvent("not a CloudEvent 1.0: the value is not a JSON object with the event's attributes") from exc
    return FeedEvent(
        id=event.get_id(),
        source=event.get_source(),
        type=event.get_type(),
        subject=event.get_subject() or (key or b"").decode("utf-8", "replace"),
        time=(event.get_time() or record_time).astimezone(UTC),
        data=event.get_data(),
    )


def _as_sent(attributes: dict[str, Any], data: Any, record_time: datetime) -> CloudEvent:
    """Make the event of what was sent alone: the library would make up an id and a time, new ones at each reading."""
    for required in ("id", "specversion"):
        if not attributes.get(required):
            raise BadCloudEvent(f"not a CloudEvent 1.0: {required}: Missing required attribute: {required!r}")
    if attributes["specversion"] != "1.0":
        raise BadCloudEvent(f"specversion: {attributes['specversion']!r} is not supported, send 1.0")
    return CloudEvent({"time": record_time, **attributes}, data)


def write_feed_event(
    *, event_id: str, source: str, event_type: str, subject: str, time: datetime, data: Mapping[str, Any]
) -> bytes:
    """Return a CloudEvent in structured mode, as JSON."""
    event = CloudEvent(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": event_type,
            "subject": subject,
            "time": time,
            "datacontenttype": "application/json",
        },
        dict(data),
    )
    return to_structured(event, _JSON, key_mapper=lambda _: None).value
