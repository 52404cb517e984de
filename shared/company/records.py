"""What the generator hands out: a CloudEvent as bytes, with the feed and the key it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.contracts.cloudevents import write_feed_event

Feed = Literal["people", "achievements", "cycles", "endorsements", "attributes"]


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """A record for a feed.

    Attributes:
        feed: which of the `feeds.*`.
        key: the Kafka key: the subject as its source names it.
        value: the CloudEvent in structured mode, as JSON (of a planted bad record: whatever it is).
        type: the CloudEvent's type; empty where the value is no CloudEvent.
        id: the CloudEvent's id; empty where the value is no CloudEvent.
    """

    feed: Feed
    key: str
    value: bytes = field(repr=False)
    type: str = ""
    id: str = ""


def feed_record(
    feed: Feed, *, event_id: str, source: str, event_type: str, subject: str, time: datetime, data: Mapping[str, Any]
) -> FeedRecord:
    """Return the record for a CloudEvent; `source` without its ``urn:example:``."""
    value = write_feed_event(
        event_id=event_id,
        source=f"urn:example:{source}",
        event_type=event_type,
        subject=subject,
        time=time,
        data=data,
    )
    return FeedRecord(feed, subject, value, event_type, event_id)
