"""Takes events of `feeds.achievements`, and writes to the employee's log what they say was achieved."""

from __future__ import annotations

from collections.abc import Iterable

from services.achievements.metrics import EMPTY, STATED
from services.achievements.normalise import normalise
from shared.contracts.base import Payload
from shared.contracts.cloudevents import FeedEvent
from shared.streaming.intake import Resolve, to_career_log
from shared.streaming.records import Output


def take(event: FeedEvent, payload: Payload, resolve: Resolve) -> Iterable[Output]:
    """Return the records that the event leads to."""
    statements = normalise(event, payload, resolve)
    STATED.labels(event.type).inc(len(statements))
    if not statements:
        EMPTY.inc()
    return [to_career_log(statement) for statement in statements]
