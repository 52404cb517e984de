"""Reads facts as of a moment: who was in scope, who was whose sponsor, which cycle was open, which words stood."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import MAXYEAR, date, datetime
from functools import lru_cache

from services.correlator.state import CycleDefinition, CycleFact, EmployeeState, EndorsementFact, ProfileFrom, Tie


def profile_at(employee: EmployeeState, t: datetime) -> ProfileFrom | None:
    """Return the profile in force at `t`; None before the first. The oldest kept stands for those forgotten."""
    in_force = employee.profiles[0] if employee.profiles_forgotten else None
    for profile in employee.profiles:
        if profile.effective_at <= t:
            in_force = profile
    return in_force


def in_scope(profile: ProfileFrom, cycle: CycleDefinition) -> bool:
    """Tell whether an employee with this profile is one of those whom the cycle is for."""
    return (
        profile.active
        and (not cycle.unit_ids or any(unit in profile.unit_path for unit in cycle.unit_ids))
        and (not cycle.levels or profile.level in cycle.levels)
        and months_later(profile.level_since, cycle.min_months_in_level) <= cycle.opens_at.date()
    )


def ends_at(cycle: CycleFact, definition: CycleDefinition) -> datetime:
    """Return when the cycle ends: as planned, or when it was closed; an amendment after the closing opens it again."""
    if cycle.closed is not None and cycle.closed[0] > definition.stamp:
        return min(definition.closes_at, cycle.closed[1])
    return definition.closes_at


def is_cancelled(cycle: CycleFact, definition: CycleDefinition) -> bool:
    """Tell whether the cycle was called off, and not taken up again by a later amendment."""
    return cycle.cancelled is not None and cycle.cancelled > definition.stamp


def ties_at(employee: EmployeeState, kind: str, t: datetime) -> Iterator[Tie]:
    """Yield the relationships of a kind that are active at `t`, in a fixed order."""
    for _, tie in sorted(employee.ties.items()):
        if tie.kind == kind and is_active(tie, t):
            yield tie


def ties_of(employee: EmployeeState, kind: str, person_id: str, t: datetime) -> list[Tie]:
    """Return the relationships of a kind with one person that are active at `t`, in no order that matters."""
    return [
        tie for tie in employee.ties.values() if tie.other_id == person_id and tie.kind == kind and is_active(tie, t)
    ]


def is_active(tie: Tie, t: datetime) -> bool:
    """Tell whether a relationship holds at `t`: begun, and not ended since."""
    if tie.started is None or tie.started[0] > t:
        return False
    return tie.ended is None or t < tie.ended[0] or tie.started[0] > tie.ended[0]


def is_sponsor(employee: EmployeeState, person_id: str, t: datetime) -> bool:
    """Tell whether the person is the employee's sponsor at `t`."""
    return bool(ties_of(employee, "sponsor", person_id, t))


def has_left(employee: EmployeeState, person_id: str, t: datetime) -> bool:
    """Tell whether a tied person is away at `t`: has left, or is not described yet."""
    person = employee.people.get(person_id)
    return person is None or (person.left_at is not None and person.left_at <= t)


def is_hidden(employee: EmployeeState, achievement_id: str) -> bool:
    """Tell whether the employee does not want this achievement used."""
    word = employee.owners_words.get(achievement_id)
    return word is not None and word.hidden


def standing_endorsements(employee: EmployeeState) -> Iterator[tuple[datetime, str, EndorsementFact, str | None, str]]:
    """Yield given_at, id, fact, cycle and statement of the endorsements that were not taken back, oldest first."""
    standing = []
    for endorsement_id, fact in employee.endorsements.items():
        if fact.given is None or (fact.withdrawn is not None and fact.withdrawn >= fact.given[0]):
            continue
        _, given_at, cycle_id, statement = fact.given
        standing.append((given_at, endorsement_id, fact, cycle_id, statement))
    yield from sorted(standing, key=lambda e: e[:2])


@lru_cache(maxsize=10_000)  # the days on which people got their level are few, and asked for at every event
def months_later(day: date, months: int) -> date:
    """Return the same day of the month `months` later, or the month's last where it has no such day.

    Beyond the year 9999, which some HRIS write for "never", it is the calendar's last day.
    """
    years, month = divmod(day.month - 1 + months, 12)
    if day.year + years > MAXYEAR:
        return date.max
    for last in (day.day, 30, 29, 28):
        try:
            return date(day.year + years, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise ValueError(f"{day} and {months} months later is no date")
