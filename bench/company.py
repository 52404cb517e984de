"""Makes what is known of each employee of a made-up company, as a snapshot holds it, without the log that told it.

The people, their ties, levels and units are those of `shared.company`; achievements are as many and as mixed, with
witnesses among the people tied to them. Constant memory, whatever the size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from services.correlator.state import AchievementFact, EmployeeState, EndorsementFact, Person, ProfileFrom, Tie
from shared.company.draws import Draws
from shared.company.names import COMPETENCIES
from shared.company.population import (
    ACHIEVEMENTS_A_YEAR,
    TODAY,
    Company,
    employee_id,
    past_endorsement,
)
from shared.company.population import Tie as MadeUpTie

CLOCK: Final = datetime(2026, 9, 1, 9, tzinfo=UTC)

_REMEMBERED_PEOPLE: Final = 100_000
_DONE: Final = 7001
"""What the draws are for: another purpose than any in `shared.company.population`."""


def known_employees(company: Company) -> Iterator[EmployeeState]:
    """Yield each employee; the same company gives the same employees."""
    person = lru_cache(maxsize=_REMEMBERED_PEOPLE)(lambda index: _person(company, index))
    for index in range(company.size):
        yield _employee(company, index, {tie.other: person(tie.other) for tie in company.ties(index)})


def _employee(company: Company, index: int, people: dict[int, Person]) -> EmployeeState:
    made_up = company.person(index)
    manager = made_up.manager_index
    profile = ProfileFrom(
        effective_at=_at(made_up.hired_on),
        revision=1,
        name="",
        level=made_up.level,
        level_since=made_up.level_since,
        unit_path=company.unit_path(made_up.unit_id),
        manager_id=None if manager is None else employee_id(manager),
        active=True,
    )
    refs = [refs for other in people.values() for refs in other.refs]
    past = past_endorsement(company, index)
    endorsements = {}
    if past is not None:
        stamp = (past.given_at, f"given-{past.endorsement_id}")
        given = (stamp, past.given_at, None, "")
        endorsements[str(past.endorsement_id)] = EndorsementFact(employee_id(past.sponsor), given)
    return EmployeeState(
        made_up.employee_id,
        profiles=(profile,),
        ties={str(tie.relationship_id): _tie(tie) for tie in company.ties(index)},
        people={str(employee_id(other)): person for other, person in people.items()},
        achievements=dict(_achievement(company, index, number, refs) for number in range(ACHIEVEMENTS_A_YEAR)),
        endorsements=endorsements,
    )


def _tie(tie: MadeUpTie) -> Tie:
    began = _at(tie.started_on)
    ended = None if tie.ended_on is None else (_at(tie.ended_on), (_at(tie.ended_on), f"{tie.relationship_id}-end"))
    return Tie(tie.kind, employee_id(tie.other), (began, (began, f"{tie.relationship_id}-start")), ended)


def _person(company: Company, index: int) -> Person:
    made_up = company.person(index)
    knows = sorted({tie.other for tie in company.sponsors(index)}, key=lambda other: (-company.level(other), other))
    return Person(
        revision=1,
        name=made_up.name,
        level=made_up.level,
        timezone=made_up.timezone,
        refs=(f"hris:{made_up.employee_id}", f"email:{made_up.email}"),
        left_at=None,
        introductions=tuple(
            (str(employee_id(other)), company.person(other).name, company.level(other)) for other in knows
        ),
    )


def _achievement(company: Company, index: int, number: int, refs: list[str]) -> tuple[str, AchievementFact]:
    draws = Draws(company.seed, _DONE, index, number)
    days_ago = 364 - (number * 365 + draws.below(365)) // ACHIEVEMENTS_A_YEAR
    day = TODAY - timedelta(days=days_ago + 6)
    fact = AchievementFact(
        stamp=(_at(day), ""),
        occurred_on=day,
        impact=draws.weighted((15, 45, 28, 12)),
        competencies=tuple(dict.fromkeys((draws.one_of(COMPETENCIES), draws.one_of(COMPETENCIES)))),
        witnesses=(draws.one_of(refs),) if refs and draws.chance(35) else (),
    )
    return f"hris-{index + 1}-{number + 1}", fact


def _at(day: date) -> datetime:
    return datetime.combine(day, time(9), UTC)
