"""Decides which evidence speaks for an employee in a cycle, in which order, and why: competency match with the cycle,
impact, recency by a half-life, whether the sponsor saw it, variety over repetition.

A piece's weight is a product, and age counts up to the end of the evidence window: so the order depends on facts
alone, and does not drift with the clock. Weights are compared by grades of about a fifth, and of equals the older
stays: a piece gives way only to one that is better by a difference that a person would see.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Final

from services.correlator.policy import Policy
from services.correlator.standing import standing_endorsements
from services.correlator.state import AchievementFact, CycleDefinition, EmployeeState
from shared.contracts.outputs import Evidence, Reason

GRADES_PER_DOUBLING: Final = 4
MATCH_WEIGHT: Final = (1.0, 3.0, 3.75, 4.25)
"""By how many of the cycle's competencies a piece shows; the first match matters, the fourth does not."""
IMPACT_WEIGHT: Final = (1.0, 1.25, 1.6, 2.0)
SEEN_WEIGHT: Final = 1.3
"""A sponsor speaks best for what they saw."""
REPEATED_WEIGHT: Final = 0.6
"""For each piece already chosen that shows the same; five times the same is one argument."""
ENDORSEMENT_WEIGHT: Final = 3.0
RECENT_DAYS: Final = 92

_IMPACT_WORDS: Final = (
    "",
    "It mattered to the team.",
    "It mattered to several teams.",
    "It mattered to the whole company or its customers.",
)


@dataclass(frozen=True)
class _Candidate:
    doublings: float
    """The weight as a power of 2: a product of them is a sum, and no age is so great that nothing is left."""
    shows: str
    """What repetition is measured by."""
    evidence: Evidence


def rank(
    employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy
) -> tuple[Evidence, ...]:
    """Return the pieces that speak for the employee in this cycle, the best first, each with its reasons.

    Achievements of the evidence window, and endorsements that others gave before the cycle opened.
    """
    left = _achievements(employee, cycle, sponsor_id, policy)
    left += _endorsements(employee, cycle, cycle_id, sponsor_id, policy)
    chosen: list[Evidence] = []
    shown: Counter[str] = Counter()
    while left and len(chosen) < policy.evidence_pieces:
        best = min(
            left,
            key=lambda c: (
                -_grade(c.doublings + math.log2(REPEATED_WEIGHT) * shown[c.shows]),
                c.evidence.occurred_on,
                c.evidence.evidence_id,
            ),
        )
        left.remove(best)
        shown[best.shows] += 1
        chosen.append(best.evidence)
    return tuple(chosen)


def _achievements(employee: EmployeeState, cycle: CycleDefinition, sponsor_id: str, policy: Policy) -> list[_Candidate]:
    sponsor = employee.people.get(sponsor_id)
    sponsor_refs = set(sponsor.refs) if sponsor is not None else set()
    candidates = []
    for achievement_id, done in employee.achievements.items():
        if done.retracted or not cycle.evidence_from <= done.occurred_on <= cycle.evidence_to:
            continue
        matched = [competency for competency in cycle.competencies if competency in done.competencies]
        seen = not sponsor_refs.isdisjoint(done.witnesses)
        weight = (
            MATCH_WEIGHT[min(len(matched), len(MATCH_WEIGHT) - 1)]
            * IMPACT_WEIGHT[done.impact]
            * (SEEN_WEIGHT if seen else 1.0)
        )
        shows = matched[0] if matched else (done.competencies[0] if done.competencies else "")
        candidates.append(
            _Candidate(
                math.log2(weight) - _half_lives(done.occurred_on, cycle, policy),
                shows,
                Evidence(
                    kind="achievement",
                    evidence_id=achievement_id,
                    title=done.title,
                    outcome=done.outcome,
                    occurred_on=done.occurred_on,
                    link=done.link,
                    reasons=_reasons(done, matched, cycle, seen=seen),
                ),
            )
        )
    return candidates


def _endorsements(
    employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy
) -> list[_Candidate]:
    candidates = []
    for given_at, endorsement_id, fact, for_cycle, statement in standing_endorsements(employee):
        day = given_at.date()
        if (
            fact.sponsor_id == sponsor_id
            or for_cycle == cycle_id
            or given_at >= cycle.opens_at
            or not cycle.evidence_from <= day <= cycle.evidence_to
        ):
            continue
        by = employee.people.get(fact.sponsor_id)
        candidates.append(
            _Candidate(
                math.log2(ENDORSEMENT_WEIGHT) - _half_lives(day, cycle, policy),
                "endorsement",
                Evidence(
                    kind="endorsement",
                    evidence_id=endorsement_id,
                    title=f"Endorsed by {by.name if by is not None else 'another sponsor'}",
                    outcome=statement,
                    occurred_on=day,
                    reasons=(Reason(code="spoken_for", text="Somebody else has already spoken for them."),),
                ),
            )
        )
    return candidates


def _reasons(done: AchievementFact, matched: list[str], cycle: CycleDefinition, *, seen: bool) -> tuple[Reason, ...]:
    reasons = []
    if matched:
        reasons.append(Reason(code="competency", text=f"It shows {_listed(matched)}, which this cycle looks for."))
    if done.impact:
        reasons.append(Reason(code="impact", text=_IMPACT_WORDS[done.impact]))
    if seen:
        reasons.append(Reason(code="seen_by_you", text="You saw it yourself."))
    if (cycle.evidence_to - done.occurred_on).days <= RECENT_DAYS:
        reasons.append(Reason(code="recent", text="It is recent."))
    if not reasons:
        reasons.append(Reason(code="variety", text="It adds another side to the picture."))
    if not seen:  # after what speaks for it: it tells the sponsor what to ask about
        reasons.append(Reason(code="not_yet_seen", text="You are not among those named as having seen it."))
    return tuple(reasons)


def _half_lives(day: date, cycle: CycleDefinition, policy: Policy) -> float:
    """Return its age in half-lives, counted back from the end of the evidence window: each halves its weight."""
    return (cycle.evidence_to - day).days / policy.half_life_days


def _grade(doublings: float) -> int:
    return math.floor(GRADES_PER_DOUBLING * doublings)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
