"""Turns one event of `feeds.endorsements` into what a sponsor has said, on the log of the employee it is about."""

from __future__ import annotations

from typing import Any

from shared.contracts.base import Payload
from shared.contracts.career import (
    EndorsementGiven,
    EndorsementWithdrawn,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
)
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.feeds import (
    EndorsementSent,
    EndorsementTakenBack,
    PromptPutOff,
    PromptRefusalTakenBack,
    PromptRefused,
)
from shared.contracts.ids import Ref
from shared.streaming.intake import Resolve
from shared.streaming.records import Poison

SponsorsWord = EndorsementGiven | EndorsementWithdrawn | PromptDeclined | PromptDeclineWithdrawn | PromptSnoozed


def normalise(event: FeedEvent, payload: Payload, resolve: Resolve) -> SponsorsWord:
    """Return what the sponsor said; the same event always gives the same.

    Args:
        event: the event that carried `payload`.
        payload: one of the shapes of `feeds.endorsements`.
        resolve: says who the employee and the sponsor are.

    Raises:
        UnknownPerson: nobody knows the employee, or the sponsor, yet.
        Poison: the sponsor is the employee.
    """
    match payload:
        case EndorsementSent():
            return EndorsementGiven(
                **_common(event, payload.employee, payload.sponsor, resolve),
                endorsement_id=payload.endorsement_id,
                cycle_id=payload.cycle_id or None,
                given_at=payload.given_at or event.time,
                statement=payload.statement,
            )
        case EndorsementTakenBack():
            return EndorsementWithdrawn(
                **_common(event, payload.employee, payload.sponsor, resolve), endorsement_id=payload.endorsement_id
            )
        case PromptRefused():
            return PromptDeclined(
                **_common(event, payload.employee, payload.sponsor, resolve),
                cycle_id=payload.cycle_id,
                reason=payload.reason,
            )
        case PromptRefusalTakenBack():
            return PromptDeclineWithdrawn(
                **_common(event, payload.employee, payload.sponsor, resolve), cycle_id=payload.cycle_id
            )
        case PromptPutOff():
            return PromptSnoozed(
                **_common(event, payload.employee, payload.sponsor, resolve),
                cycle_id=payload.cycle_id,
                until=payload.until,
            )
        case _:
            raise TypeError(f"{type(payload).__name__} is no payload of feeds.endorsements")


def _common(event: FeedEvent, employee: Ref, sponsor: Ref, resolve: Resolve) -> dict[str, Any]:
    employee_id, sponsor_id = resolve(employee), resolve(sponsor)
    if employee_id == sponsor_id:
        # Compared once both are resolved: an email and an HRIS id may name the same person.
        raise Poison("sponsor: is the employee, and nobody speaks for themselves; send the sponsor who said this")
    return {
        "id": event.career_event_id(),
        "at": event.time,
        "source": f"{event.source}#{event.id}",
        "employee_id": employee_id,
        "sponsor_id": sponsor_id,
    }
