"""Takes events of `feeds.endorsements`, and writes to the employee's log what a sponsor has said."""

from __future__ import annotations

from collections.abc import Iterable

from services.endorsements.metrics import ANSWERS
from services.endorsements.normalise import normalise
from shared.contracts.base import Payload
from shared.contracts.cloudevents import FeedEvent
from shared.streaming.intake import Resolve, to_career_log
from shared.streaming.records import Output


def take(event: FeedEvent, payload: Payload, resolve: Resolve) -> Iterable[Output]:
    """Return the record that the event leads to."""
    said = normalise(event, payload, resolve)
    ANSWERS.labels(event.type).inc()
    return [to_career_log(said)]
