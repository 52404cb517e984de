"""Turns one event of `feeds.people` into changes: one for each person who has to learn of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.people.changes import (
    EmployeeDeparted,
    EmployeeMerged,
    EmployeePatched,
    FeedChange,
    SnapshotWanted,
    TieEnded,
    TieStarted,
    UnitStated,
)
from shared.contracts.base import Payload
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.feeds import (
    EmployeeFields,
    EmployeeLeaves,
    EmployeeMerges,
    RelationshipEnds,
    RelationshipStarts,
    UnitDefined,
)
from shared.contracts.ids import EmployeeId, Ref, normalised_ref
from shared.streaming.intake import Resolve
from shared.streaming.records import Poison

HIRED: Final = "employee.hired"


def normalise(event: FeedEvent, payload: Payload, resolve: Resolve) -> tuple[FeedChange, ...]:
    """Return what `event` changes; the same event always gives the same.

    Args:
        event: the event that carried `payload`.
        payload: one of the shapes of `feeds.people`.
        resolve: says who the parties of a relationship are. Employees' own events need it not: their id in the HRIS
            is the id that we know them by.

    Raises:
        UnknownPerson: nobody knows a party of the relationship yet.
        Poison: the payload has a shape but no sense; the message names the field.
    """
    match payload:
        case EmployeeFields():
            return (_patched(event, payload),)
        case EmployeeLeaves():
            return (
                EmployeeDeparted(
                    **_origin(event),
                    employee_id=payload.employee_id,
                    effective_at=payload.effective_at or event.time,
                ),
            )
        case EmployeeMerges():
            if payload.into_id == payload.employee_id:
                raise Poison("into_id: is employee_id itself; leave it empty to take a merge back")
            return (
                EmployeeMerged(
                    **_origin(event),
                    employee_id=payload.employee_id,
                    into_id=payload.into_id,
                    effective_at=payload.effective_at or event.time,
                ),
            )
        case UnitDefined():
            if payload.parent_id == payload.unit_id:
                raise Poison("parent_id: is the unit itself; leave it out for a unit at the top")
            return (UnitStated(**_origin(event), unit_id=payload.unit_id, parent_id=payload.parent_id or None),)
        case RelationshipStarts():
            return _started(event, payload, resolve)
        case RelationshipEnds():
            return _ended(event, payload, resolve)
        case _:
            raise TypeError(f"{type(payload).__name__} is no payload of feeds.people")


# -- employees ------------------------------------------------------------------------------------


def _patched(event: FeedEvent, payload: EmployeeFields) -> EmployeePatched:
    if payload.unit_id == "":
        raise Poison("unit_id: is empty; leave it out to say nothing, every employee has a unit")
    effective_at = payload.effective_at or event.time
    return EmployeePatched(
        **_origin(event),
        employee_id=payload.employee_id,
        effective_at=effective_at,
        effective_on=effective_at.date(),
        hired=event.type == HIRED,
        refs=_refs(payload),
        name=payload.name,
        level=payload.level,
        level_since=payload.level_since,
        unit_id=payload.unit_id,
        manager_id=payload.manager_id,
        location=payload.location,
        timezone=payload.timezone,
        locale=payload.locale,
    )


def _refs(payload: EmployeeFields) -> tuple[Ref, ...]:
    refs = [_ref(f"hris:{payload.employee_id}", "employee_id")]
    if payload.email is not None:
        refs.append(_mailbox(payload.email, "email"))
    for system, value in payload.external_ids.items():
        field = f"external_ids.{system}"
        ref = _mailbox(value, field) if system.strip().lower() == "email" else _ref(f"{system}:{value}", field)
        if ref.startswith("hris:") and ref != refs[0]:
            raise Poison(f"{field}: is another employee's id than employee_id; an employee has one in the HRIS")
        refs.append(ref)
    return tuple(dict.fromkeys(refs))


def _mailbox(address: str, field: str) -> Ref:
    if "@" not in address:
        raise Poison(f"{field}: is no email address; send one as ann@example.com, or leave the field out")
    return _ref(f"email:{address}", field)


def _ref(text: str, field: str) -> Ref:
    try:
        return normalised_ref(text)
    except ValueError as exc:
        raise Poison(f"{field}: names nobody; send the account's name, or leave the field out") from exc


# -- relationships --------------------------------------------------------------------------------


def _started(event: FeedEvent, payload: RelationshipStarts, resolve: Resolve) -> tuple[FeedChange, ...]:
    changes: list[FeedChange] = []
    for employee, other, part in _directions(payload, resolve):
        tie: Mapping[str, Any] = {
            "relationship_id": payload.relationship_id,
            "kind": payload.kind,
            "other_id": other,
            "started_at": payload.started_at or event.time,
        }
        changes.append(TieStarted(**_origin(event, part), employee_id=employee, **tie))
        changes.append(SnapshotWanted(**_origin(event, f"{part}/snapshot"), employee_id=other, log_of=employee))
    return tuple(changes)


def _ended(event: FeedEvent, payload: RelationshipEnds, resolve: Resolve) -> tuple[FeedChange, ...]:
    return tuple(
        TieEnded(
            **_origin(event, part),
            employee_id=employee,
            relationship_id=payload.relationship_id,
            kind=payload.kind,
            other_id=other,
            ended_at=payload.ended_at or event.time,
        )
        for employee, other, part in _directions(payload, resolve)
    )


def _directions(
    payload: RelationshipStarts | RelationshipEnds, resolve: Resolve
) -> list[tuple[EmployeeId, EmployeeId, str]]:
    """Return who has whom: both have each other when they worked together, else the employee has the other."""
    employee, other = resolve(payload.employee), resolve(payload.other)
    if employee == other:
        raise Poison("other: is the same person as employee; a relationship needs two")
    directions = [(employee, other, "employee")]
    if payload.kind == "worked_with":
        directions.append((other, employee, "other"))
    return directions


def _origin(event: FeedEvent, part: str = "") -> dict[str, Any]:
    return {
        "id": event.career_event_id(part),
        "at": event.time,
        "source": f"{event.source}#{event.id}",
    }
