"""Made-up histories of a small company, as one partition of `career-events` could hold them; for property tests.

Two or three employees, three people who may sponsor them, two cycles that overlap; with corrections, retractions,
statements older than those they follow, profiles and ends of the past and of the future. Only `rng` decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from shared.contracts.base import utc
from shared.contracts.career import SELF, CareerEvent
from shared.contracts.ids import EventId
from tests.career import (
    a_cancellation,
    a_closing,
    a_correction,
    a_cycle,
    a_hiding,
    a_refusal,
    a_refusal_taken_back,
    a_relationship,
    a_relationship_ended,
    a_retraction,
    a_showing,
    a_snooze,
    a_tick,
    a_tied_person,
    an_achievement,
    an_amendment,
    an_employee_changed,
    an_employee_joined,
    an_employee_left,
    an_employee_moved,
    an_employee_promoted,
    an_endorsement,
    an_endorsement_withdrawn,
    an_introduction,
)

EMPLOYEES = ("E1", "E2")
PEOPLE = ("S1", "S2", "T1")
CYCLES = ("C1", "C2")
MOMENTS = tuple(utc(2026, 1, 1) + timedelta(days=5 * n) for n in range(20))
_UNITS = (("acme", "eng", "pay"), ("acme", "eng"), ("acme", "ops"), ())
_COMPETENCIES = ("delivery", "leadership", "juggling")


def a_history(rng: Random, *, most: int = 40) -> list[CareerEvent]:
    """Return events in the order in which they reach the log: first what makes a prompt likely, then anything."""
    events = list(_likely(rng))
    events += [_any_event(rng) for _ in range(rng.randint(0, most))]
    if rng.random() < 0.4:
        rng.shuffle(events)
    # Ids must hang on the history alone, or it could not be made again in another process.
    numbers = rng.sample(range(len(events)), len(events))
    return [event.model_copy(update={"id": EventId(f"e{n:03d}")}) for n, event in zip(numbers, events, strict=True)]


def an_interleaving(rng: Random, events: list[CareerEvent]) -> list[CareerEvent]:
    """Return the same events as they could have reached the log otherwise: each source keeps its order."""
    sources: dict[str, list[CareerEvent]] = {}
    for event in events:
        sources.setdefault(source_of(event), []).append(event)
    left = [iter(source) for source in sources.values()]
    picks = [n for n, source in enumerate(sources.values()) for _ in source]
    rng.shuffle(picks)
    return [next(left[n]) for n in picks]


def source_of(event: CareerEvent) -> str:
    """Return which feed an event comes from."""
    if event.type.startswith(("employee.", "relationship.", "tied_person.")):
        return "people"
    if event.type.startswith(("endorsement.", "prompt.")):
        return "endorsements"
    return "achievements" if event.type.startswith("achievement.") else "cycles"


def _likely(rng: Random) -> Iterator[CareerEvent]:
    for employee in EMPLOYEES:
        if rng.random() < 0.85:
            yield an_employee_joined(employee_id=employee, level=5, **_said(rng))
        if rng.random() < 0.85:
            yield a_relationship(employee_id=employee, relationship_id="R1", **_said(rng))
        if rng.random() < 0.85:
            yield a_tied_person("S1", employee_id=employee, **_revised(rng))
        for _ in range(rng.randrange(7)):
            yield an_achievement(employee_id=employee, **_achievement(rng), **_said(rng))
        if rng.random() < 0.4:
            yield a_relationship(employee_id=employee, relationship_id="R2", **_tie(rng), **_said(rng))
            yield a_tied_person("T1", employee_id=employee, **_person(rng), **_revised(rng))
    for cycle in CYCLES:
        if rng.random() < 0.85:
            yield a_cycle(**_cycle(rng, cycle))
    yield a_tick(rng.choice(MOMENTS[4:10]), **_said(rng))


def _any_event(rng: Random) -> CareerEvent:
    employee, person, cycle = rng.choice(EMPLOYEES), rng.choice(PEOPLE), rng.choice(CYCLES)
    common: dict[str, Any] = {"employee_id": employee, **_said(rng)}
    answer: dict[str, Any] = common | {"sponsor_id": person}
    tie: dict[str, Any] = common | {
        "relationship_id": rng.choice(("R1", "R2", "R3")),
        **_tie(rng),
    }
    done = _achievement(rng)
    word = f"N{rng.randrange(4)}"
    match rng.randrange(24):
        case 0:
            return rng.choice((an_employee_joined, an_employee_changed))(**common, **_profile(rng))
        case 1:
            return an_employee_promoted(**common, **_profile(rng))
        case 2:
            return an_employee_moved(**common, **_profile(rng))
        case 3:
            return an_employee_left(**common, **_profile(rng))
        case 4 | 5:
            return a_relationship(**tie, started_at=_moment(rng))
        case 6:
            return a_relationship_ended(**tie, ended_at=_moment(rng))
        case 7 | 8:
            return a_tied_person(
                person,
                employee_id=employee,
                **_person(rng),
                **_revised(rng),
            )
        case 9 | 10 | 11:
            return an_achievement(**common, **done, source=rng.choice(("test", "test", f"{SELF}#1")))
        case 12:
            return a_correction(**common, **done)
        case 13:
            return a_retraction(**common, achievement_id=done["achievement_id"])
        case 14 | 15:
            return an_endorsement(
                **answer, endorsement_id=word, cycle_id=rng.choice((None, *CYCLES)), given_at=_moment(rng)
            )
        case 16:
            return an_endorsement_withdrawn(**answer, endorsement_id=word)
        case 17:
            if rng.random() < 0.6:
                return rng.choice((a_refusal, a_refusal_taken_back))(**answer, cycle_id=cycle)
            return a_snooze(**answer, cycle_id=cycle, until=_moment(rng))
        case 18:
            return an_amendment(**_cycle(rng, cycle))
        case 19:
            if rng.random() < 0.4:
                return a_cancellation(cycle_id=cycle, **_said(rng))
            return a_closing(cycle_id=cycle, closed_at=_moment(rng), **_said(rng))
        case 20 | 21:
            word_of_theirs = rng.choice((a_hiding, a_hiding, a_showing))
            return word_of_theirs(**common, achievement_id=done["achievement_id"])
        case _:
            return a_tick(rng.choice(MOMENTS[6:17]), **_said(rng))


def _moment(rng: Random) -> datetime:
    return rng.choice(MOMENTS)


def _said(rng: Random) -> dict[str, Any]:
    return {"at": rng.choice(MOMENTS)}


def _revised(rng: Random) -> dict[str, Any]:
    return {**_said(rng), "revision": next(_revisions)}


_revisions = count(1)


def _tie(rng: Random) -> dict[str, Any]:
    kind = rng.choice(("sponsor", "sponsor", "mentor", "worked_with"))
    return {"kind": kind, "other_id": rng.choice(PEOPLE)}


def _person(rng: Random) -> dict[str, Any]:
    return {
        "level": rng.randint(5, 9),
        "left_at": _moment(rng) if rng.random() < 0.3 else None,
        "introductions": (an_introduction(f"X{rng.randrange(3)}"), an_introduction("M1"), an_introduction("S2")),
    }


def _achievement(rng: Random) -> dict[str, Any]:
    days = (0, 8, 9, 10, 100, 200, 300, 372, 373, 374, 380)  # from before the window's first day to after its last
    return {
        "achievement_id": f"A{rng.randrange(9)}",
        "title": f"Title {rng.randrange(100)}",
        "occurred_on": date(2025, 2, 20) + timedelta(days=rng.choice(days)),
        "impact": rng.randrange(4),
        "competencies": tuple(rng.sample(_COMPETENCIES, rng.randrange(3))),
        "witnesses": tuple(f"hris:{who}" for who in rng.sample(PEOPLE, rng.randrange(3))),
    }


def _profile(rng: Random) -> dict[str, Any]:
    return {
        "effective_at": _moment(rng),
        "level": rng.choice((4, 5, 5, 5, 6)),
        "level_since": rng.choice((date(2024, 1, 1), date(2025, 11, 20))),
        "unit_path": rng.choice(_UNITS),
        "manager_id": rng.choice((None, "M1", "S2")),
    }


def _cycle(rng: Random, cycle_id: str) -> dict[str, Any]:
    opens, closes = rng.randrange(2, 12), rng.randrange(12, len(MOMENTS))
    return {
        "cycle_id": cycle_id,
        "unit_ids": rng.choice(((), (), ("eng",), ("pay", "ops"))),
        "levels": rng.choice(((), (5,), (5, 6))),
        "min_months_in_level": rng.choice((0, 0, 3)),
        "competencies": rng.choice((("delivery",), ("leadership", "delivery"))),
        "opens_at": MOMENTS[opens],
        "closes_at": MOMENTS[closes],
        **_said(rng),
    }
