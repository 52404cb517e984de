"""Turns one event of `feeds.cycles` into the cycle, its end or the time, as everybody's log has to say it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from shared.contracts.base import Payload
from shared.contracts.career import ClockTicked, Cycle, CycleAmended, CycleCancelled, CycleClosed, CycleOpened
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.competencies import normalised_competencies
from shared.contracts.feeds import ClockTicks, CycleCalledOff, CycleEnds, CycleStated
from shared.contracts.ids import EventId, stable_id
from shared.streaming.records import Poison

CycleEvent = CycleOpened | CycleAmended | CycleClosed | CycleCancelled | ClockTicked
ClockSource = Literal["wall", "feed"]


def normalise(event: FeedEvent, payload: Payload, clock: ClockSource) -> CycleEvent:
    """Return what `event` says; the same event always gives the same.

    Args:
        event: the event that carried `payload`.
        payload: one of the shapes of `feeds.cycles`.
        clock: where the log's time comes from.

    Raises:
        Poison: the payload has a shape but no sense; the message names the field.
    """
    match payload:
        case CycleStated():
            statement = CycleAmended if event.type == "cycle.amended" else CycleOpened
            return statement(**_common(event), cycle=cycle_stated_by(payload))
        case CycleEnds():
            return CycleClosed(**_common(event), cycle_id=payload.cycle_id, closed_at=payload.closed_at or event.time)
        case CycleCalledOff():
            return CycleCancelled(**_common(event), cycle_id=payload.cycle_id, reason=payload.reason)
        case ClockTicks():
            if clock != "feed":
                raise Poison(
                    f"type: clock.ticked is not read here, for CYCLES_CLOCK={clock} takes the time from the machine's "
                    "clock; stop sending it, or set CYCLES_CLOCK=feed if the feed is to say what time it is"
                )
            return tick(payload.now, at=event.time, source=f"{event.source}#{event.id}")
        case _:
            raise TypeError(f"{type(payload).__name__} is no payload of feeds.cycles")


def tick(now: datetime, *, at: datetime, source: str) -> ClockTicked:
    """Return the event that tells the log that it is `now`; its id hangs on `now` alone, so a repetition is one."""
    return ClockTicked(id=EventId(stable_id("clock", now.isoformat())), at=at, source=source, now=now)


def cycle_stated_by(stated: CycleStated) -> Cycle:
    """Return the cycle that a payload states.

    Raises:
        Poison: it makes no sense; the message names the field.
    """
    if stated.opens_at >= stated.closes_at:
        raise Poison(
            f"closes_at: {stated.closes_at.isoformat()} is not after opens_at, {stated.opens_at.isoformat()}, so "
            "nobody could ever be asked; send a later closes_at, or cycle.cancelled if it does not take place"
        )
    if stated.evidence_from > stated.evidence_to:
        raise Poison(
            f"evidence_to: {stated.evidence_to} is before evidence_from, {stated.evidence_from}, so no achievement "
            "could ever count; send them the other way round"
        )
    return Cycle(
        cycle_id=stated.cycle_id,
        kind=stated.kind,
        title=stated.title,
        unit_ids=stated.unit_ids,
        levels=stated.levels,
        min_months_in_level=stated.min_months_in_level,
        competencies=normalised_competencies(stated.competencies),
        evidence_from=stated.evidence_from,
        evidence_to=stated.evidence_to,
        opens_at=stated.opens_at,
        closes_at=stated.closes_at,
    )


def _common(event: FeedEvent) -> dict[str, Any]:
    return {
        "id": event.career_event_id(),
        "at": event.time,
        "source": f"{event.source}#{event.id}",
    }
