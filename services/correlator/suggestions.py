"""Decides whom a gap suggests as a sponsor, and why: mentors with influence, team mates of old who saw an achievement,
people whom a mentor could introduce. Senior to the employee, never their manager, never by likeness of person.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Literal

from services.correlator.policy import Policy
from services.correlator.standing import has_left, is_hidden, ties_at
from services.correlator.state import AnswerKey, CycleDefinition, EmployeeState, ProfileFrom
from shared.contracts.ids import EmployeeId
from shared.contracts.said import SuggestedSponsor

Objection = Literal["named_already", "themselves", "manager", "not_senior_enough", "declined", "left"]
"""Why somebody who comes into question is not suggested."""


def suggest(
    employee: EmployeeState, profile: ProfileFrom, cycle: CycleDefinition, cycle_id: str, t: datetime, policy: Policy
) -> tuple[SuggestedSponsor, ...]:
    """Return who could become this employee's sponsor, the likeliest first.

    Nobody is suggested who has declined in this cycle, who has left, who is their manager, or who is less than
    `policy.levels_above` levels above them.
    """
    fit = (person for person, objection in consider(employee, profile, cycle, cycle_id, t, policy) if objection is None)
    return tuple(islice(fit, policy.suggestions))


def consider(
    employee: EmployeeState, profile: ProfileFrom, cycle: CycleDefinition, cycle_id: str, t: datetime, policy: Policy
) -> Iterator[tuple[SuggestedSponsor, Objection | None]]:
    """Yield everybody who comes into question, the likeliest first, with what speaks against them, if anything does."""
    suggested = set()
    for person in chain(_mentors(employee, t), _witnesses(employee, cycle, t), _introductions(employee, t)):
        objection = _objection(person, employee, profile, cycle_id, t, policy)
        if objection is None and person.person_id in suggested:
            objection = "named_already"
        elif objection is None:
            suggested.add(person.person_id)
        yield person, objection


def _objection(
    person: SuggestedSponsor, employee: EmployeeState, profile: ProfileFrom, cycle_id: str, t: datetime, policy: Policy
) -> Objection | None:
    if person.person_id == employee.employee_id:
        return "themselves"
    if person.person_id == profile.manager_id:
        return "manager"
    if person.level < profile.level + policy.levels_above:
        return "not_senior_enough"
    answer = employee.answers.get(AnswerKey(cycle_id, person.person_id))
    if answer is not None and answer.is_declined:
        return "declined"
    if person.person_id in employee.people and has_left(employee, person.person_id, t):
        return "left"
    return None


def _mentors(employee: EmployeeState, t: datetime) -> Iterator[SuggestedSponsor]:
    for tie in ties_at(employee, "mentor", t):
        if not has_left(employee, tie.other_id, t):
            mentor = employee.people[tie.other_id]
            why = f"{mentor.name} is their mentor, and senior enough to speak for them."
            yield _suggestion(tie.other_id, mentor.name, mentor.level, why)


def _witnesses(employee: EmployeeState, cycle: CycleDefinition, t: datetime) -> Iterator[SuggestedSponsor]:
    """Yield people who have worked with the employee and saw what they did, those who saw most first.

    Who saw something saw it, also where the employee has hidden it since; only it is not named then.
    """
    worked_with = {tie.other_id for tie in employee.ties.values() if tie.kind == "worked_with" and tie.started}
    seen: list[tuple[int, str, str]] = []
    for person_id in worked_with:
        if has_left(employee, person_id, t):
            continue
        refs = set(employee.people[person_id].refs)
        seen_by_them = [
            (not is_hidden(employee, achievement_id), done.impact, done.occurred_on, done.title)
            for achievement_id, done in employee.achievements.items()
            if not done.retracted
            and cycle.evidence_from <= done.occurred_on <= cycle.evidence_to
            and not refs.isdisjoint(done.witnesses)
        ]
        if seen_by_them:
            may_be_named, _, _, title = max(seen_by_them)
            seen.append((-len(seen_by_them), person_id, f"“{title}”" if may_be_named else "what they did"))
    for _, person_id, what in sorted(seen):
        person = employee.people[person_id]
        why = f"{person.name} has worked with them, and saw {what}."
        yield _suggestion(person_id, person.name, person.level, why)


def _introductions(employee: EmployeeState, t: datetime) -> Iterator[SuggestedSponsor]:
    for tie in ties_at(employee, "mentor", t):
        if has_left(employee, tie.other_id, t):
            continue
        mentor = employee.people[tie.other_id]
        for person_id, name, level in mentor.introductions:
            yield _suggestion(
                person_id, name, level, f"Their mentor {mentor.name} knows {name} and could introduce them."
            )


def _suggestion(person_id: str, name: str, level: int, why: str) -> SuggestedSponsor:
    return SuggestedSponsor(person_id=EmployeeId(person_id), name=name, level=level, why=why)
