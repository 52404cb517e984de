"""Says what an intake service would make of an event, by its own pure step, where everybody is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.achievements.normalise import normalise as achievements
from services.cycles.normalise import normalise as cycles
from services.endorsements.normalise import normalise as endorsements
from services.people.normalise import normalise as people
from shared.contracts.base import Payload
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.feeds import SHAPES, read_payload
from shared.contracts.ids import EmployeeId, Ref
from shared.sources.mapping import MappedEvent
from shared.streaming.intake import Resolve
from shared.streaming.records import Poison


@dataclass(frozen=True)
class Verdict:
    """What an intake would do.

    Attributes:
        becomes: the types of what it would write.
        waits_for: the refs that have to be known first; until they are, the event is parked.
        refused: why it would become a dead letter; None when it would not.
    """

    becomes: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    refused: str | None = None


def verdict_of(event: MappedEvent) -> Verdict:
    """Return what the intake of its feed would do with `event`."""
    asked: list[str] = []

    def everybody(ref: Ref) -> EmployeeId:
        asked.append(str(ref))
        return EmployeeId(str(ref))

    payload = read_payload(SHAPES[event.feed], event.type, event.data)
    feed_event = FeedEvent(event.id, event.source, event.type, event.subject, event.time, event.data)
    try:
        becomes = tuple(_types(event.feed, feed_event, payload, everybody))
    except Poison as exc:
        return Verdict(refused=str(exc))
    return Verdict(becomes, tuple(dict.fromkeys(asked)))


def _types(feed: str, event: FeedEvent, payload: Payload, resolve: Resolve) -> Iterable[str]:
    match feed:
        case "people":
            return [change.type for change in people(event, payload, resolve)]
        case "achievements":
            return [said.type for said in achievements(event, payload, resolve)]
        case "cycles":
            return [cycles(event, payload, "wall").type]
        case "attributes":
            return ()  # nothing for the log: insights keeps it, and nobody else reads it
        case _:
            return [endorsements(event, payload, resolve).type]
