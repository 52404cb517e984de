"""Decides which evidence speaks for an employee in a cycle, in which order, and why: competency match with the cycle,
impact, recency by a half-life, whether the sponsor saw it, variety over repetition.

A piece's weight is a product, and age counts up to the end of the evidence window: so the order depends on facts
alone, and does not drift with the clock. Weights are compared by grades of about a fifth, and of equals the older
stays: a piece gives way only to one that is better by a difference that a person would see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Final, Literal, NamedTuple

import msgspec

from services.correlator.policy import Policy
from services.correlator.standing import is_hidden, standing_endorsements
from services.correlator.state import CycleDefinition, EmployeeState, EndorsementFact
from shared.contracts.said import Evidence, Reason

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

_REPEATED_DOUBLINGS: Final = math.log2(REPEATED_WEIGHT)

_IMPACT: Final = (
    None,
    Reason(code="impact", text="It mattered to the team."),
    Reason(code="impact", text="It mattered to several teams."),
    Reason(code="impact", text="It mattered to the whole company or its customers."),
)
_SEEN: Final = Reason(code="seen_by_you", text="You saw it yourself.")
_RECENT: Final = Reason(code="recent", text="It is recent.")
_VARIETY: Final = Reason(code="variety", text="It adds another side to the picture.")
_NOT_YET_SEEN: Final = Reason(code="not_yet_seen", text="You are not among those named as having seen it.")
_SELF_REPORTED: Final = Reason(code="self_reported", text="They say so themselves.")
_SPOKEN_FOR: Final = Reason(code="spoken_for", text="Somebody else has already spoken for them.")


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Something that may be shown; its weight is `fit * reach * seen * told`, halved `half_lives` times.

    Attributes:
        matched: the cycle's competencies that it shows.
        shows: what repetition is measured by.
        fit: the term of the competencies; of an endorsement, the weight of such.
        reach: the term of its impact.
        seen: the term of the sponsor's having seen it.
        told: the term of who has stated it: less than 1 where it was its owner alone.
        half_lives: its age, counted back from the end of the evidence window.
        doublings: the weight as a power of 2: a product of such is a sum, and no age is so great that nothing is left.
    """

    kind: Literal["achievement", "endorsement"]
    evidence_id: str
    occurred_on: date
    matched: tuple[str, ...]
    shows: str
    fit: float
    reach: float
    seen: float
    told: float
    half_lives: float
    doublings: float


class Ranked(NamedTuple):
    """A piece in its place: what it shows has been shown so many times before it, and its weight has this grade."""

    piece: Piece
    repeated: int
    grade: int


LeftOutBecause = Literal[
    "retracted", "hidden", "before_window", "after_window", "by_the_sponsor", "for_this_cycle", "after_the_opening"
]


def chosen(
    employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy
) -> list[Ranked]:
    """Return the pieces that speak for the employee in this cycle and are shown, the best first.

    They are achievements of the evidence window, and endorsements that others gave before the cycle opened.
    """
    pieces = weigh(employee, cycle, cycle_id, sponsor_id, policy)
    return list(islice(in_order(pieces), policy.evidence_pieces))


def shown_of(employee: EmployeeState, cycle: CycleDefinition, pieces: Sequence[Ranked]) -> tuple[Evidence, ...]:
    """Return the pieces as the sponsor sees them, each with its reasons."""
    return tuple([_shown(employee, cycle, ranked.piece) for ranked in pieces])


def strength(pieces: Sequence[Ranked]) -> int:
    """Return what the pieces weigh together, in hundredths of the weight that is 1.

    That is one of an achievement of the evidence window's last day that shows none of the cycle's competencies, had no
    impact beyond its author, and that the sponsor did not see.
    """
    return round(100 * sum(2 ** (of.piece.doublings + _REPEATED_DOUBLINGS * of.repeated) for of in pieces))


def count_shown(employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy) -> int:
    """Return how many pieces are shown, without weighing any: of what may be shown, as many as there is room for."""
    found = 0
    for achievement_id in employee.achievements:
        if found == policy.evidence_pieces:
            return found
        found += why_no_achievement(employee, achievement_id, cycle) is None
    for given_at, _, fact, for_cycle, _ in standing_endorsements(employee):
        found += why_no_endorsement(given_at, fact, for_cycle, cycle, cycle_id, sponsor_id) is None
    return min(found, policy.evidence_pieces)


def weigh(
    employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy
) -> list[Piece]:
    """Return all that may be shown to this sponsor, in no order that matters."""
    pieces = _achievements(employee, cycle, sponsor_id, policy)
    pieces += _endorsements(employee, cycle, cycle_id, sponsor_id, policy)
    return pieces


def in_order(pieces: Sequence[Piece]) -> Iterator[Ranked]:
    """Yield the pieces, the best first; each that is yielded makes those that show the same weigh less."""
    # A grade only ever falls as others are shown, so one that was worked out earlier is at worst too good: the first
    # of the heap whose grade is of now is the best of all.
    heap = [
        (-math.floor(GRADES_PER_DOUBLING * piece.doublings), piece.occurred_on, piece.evidence_id, n, 0)
        for n, piece in enumerate(pieces)
    ]
    heapify(heap)
    shown: dict[str, int] = {}
    while heap:
        grade, occurred_on, evidence_id, n, repeated = heap[0]
        piece = pieces[n]
        times = shown.get(piece.shows, 0)
        if repeated != times:
            heapreplace(heap, (-_grade(piece, times), occurred_on, evidence_id, n, times))
            continue
        heappop(heap)
        shown[piece.shows] = times + 1
        yield Ranked(piece, times, -grade)


def why_no_achievement(employee: EmployeeState, achievement_id: str, cycle: CycleDefinition) -> LeftOutBecause | None:
    """Return why an achievement is no evidence in this cycle; None where it is."""
    done = employee.achievements[achievement_id]
    if done.retracted:
        return "retracted"
    if employee.owners_words and is_hidden(employee, achievement_id):
        return "hidden"
    if cycle.evidence_from <= done.occurred_on <= cycle.evidence_to:
        return None
    return _outside(done.occurred_on, cycle)


def why_no_endorsement(
    given_at: datetime,
    fact: EndorsementFact,
    for_cycle: str | None,
    cycle: CycleDefinition,
    cycle_id: str,
    sponsor_id: str,
) -> LeftOutBecause | None:
    """Return why a standing endorsement is no evidence for this sponsor in this cycle; None where it is."""
    if fact.sponsor_id == sponsor_id:
        return "by_the_sponsor"
    if for_cycle == cycle_id:
        return "for_this_cycle"
    if given_at >= cycle.opens_at:
        return "after_the_opening"
    return _outside(given_at.date(), cycle)


def _outside(day: date, cycle: CycleDefinition) -> LeftOutBecause | None:
    if day < cycle.evidence_from:
        return "before_window"
    return "after_window" if day > cycle.evidence_to else None


def _achievements(employee: EmployeeState, cycle: CycleDefinition, sponsor_id: str, policy: Policy) -> list[Piece]:
    sponsor = employee.people.get(sponsor_id)
    sponsor_refs = set(sponsor.refs) if sponsor is not None else set()
    pieces = []
    for achievement_id, done in employee.achievements.items():
        if why_no_achievement(employee, achievement_id, cycle) is not None:
            continue
        matched, shows, fit = _match(cycle.competencies, done.competencies)
        reach = IMPACT_WEIGHT[done.impact]
        seen = 1.0 if sponsor_refs.isdisjoint(done.witnesses) else SEEN_WEIGHT
        told = policy.self_reported_weight if done.self_reported else 1.0
        age = _half_lives(done.occurred_on, cycle, policy)
        doublings = math.log2(fit * reach * seen * told) - age
        day = done.occurred_on
        # By place, not by name: this is done for each achievement at each event, and names cost as much as the rest.
        pieces.append(Piece("achievement", achievement_id, day, matched, shows, fit, reach, seen, told, age, doublings))
    return pieces


def _endorsements(
    employee: EmployeeState, cycle: CycleDefinition, cycle_id: str, sponsor_id: str, policy: Policy
) -> list[Piece]:
    pieces = []
    for given_at, endorsement_id, fact, for_cycle, _ in standing_endorsements(employee):
        if why_no_endorsement(given_at, fact, for_cycle, cycle, cycle_id, sponsor_id) is not None:
            continue
        age = _half_lives(given_at.date(), cycle, policy)
        pieces.append(
            Piece(
                kind="endorsement",
                evidence_id=endorsement_id,
                occurred_on=given_at.date(),
                matched=(),
                shows="endorsement",
                fit=ENDORSEMENT_WEIGHT,
                reach=1.0,
                seen=1.0,
                told=1.0,
                half_lives=age,
                doublings=math.log2(ENDORSEMENT_WEIGHT) - age,
            )
        )
    return pieces


def _shown(employee: EmployeeState, cycle: CycleDefinition, piece: Piece) -> Evidence:
    """Return the piece as the sponsor sees it."""
    if piece.kind == "endorsement":
        said = employee.endorsements[piece.evidence_id]
        by = employee.people.get(said.sponsor_id)
        return Evidence(
            kind="endorsement",
            evidence_id=piece.evidence_id,
            title=f"Endorsed by {by.name if by is not None else 'another sponsor'}",
            outcome=said.given[3] if said.given is not None else "",
            occurred_on=piece.occurred_on,
            reasons=(_SPOKEN_FOR,),
        )
    done = employee.achievements[piece.evidence_id]
    return Evidence(
        kind="achievement",
        evidence_id=piece.evidence_id,
        title=done.title,
        outcome=done.outcome,
        occurred_on=done.occurred_on,
        link=done.link,
        reasons=_reasons(
            piece.matched,
            done.impact,
            piece.seen > 1.0,
            (cycle.evidence_to - done.occurred_on).days <= RECENT_DAYS,
            done.self_reported,
        ),
    )


# What two pieces have in common is worked out once: companies have few competencies, and fewer reasons.
@lru_cache(maxsize=2000)
def _match(wanted: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[tuple[str, ...], str, float]:
    """Return what it shows of what the cycle looks for, what repetition is measured by, and the term for both."""
    matched = tuple([competency for competency in wanted if competency in theirs])
    shows = matched[0] if matched else (theirs[0] if theirs else "")
    return matched, shows, MATCH_WEIGHT[min(len(matched), len(MATCH_WEIGHT) - 1)]


@lru_cache(maxsize=2000)
def _reasons(
    matched: tuple[str, ...],
    impact: int,
    seen: bool,
    recent: bool,
    self_reported: bool,
) -> tuple[Reason, ...]:
    reasons = []
    if matched:
        reasons.append(Reason(code="competency", text=f"It shows {_listed(matched)}, which this cycle looks for."))
    if (mattered := _IMPACT[impact]) is not None:
        reasons.append(mattered)
    if seen:
        reasons.append(_SEEN)
    if recent:
        reasons.append(_RECENT)
    if not reasons:
        reasons.append(_VARIETY)
    if not seen:  # after what speaks for it: it tells the sponsor what to ask about
        reasons.append(_NOT_YET_SEEN)
    if self_reported:
        reasons.append(_SELF_REPORTED)
    return tuple(reasons)


def _half_lives(day: date, cycle: CycleDefinition, policy: Policy) -> float:
    """Return its age in half-lives, counted back from the end of the evidence window: each halves its weight."""
    return (cycle.evidence_to.toordinal() - day.toordinal()) / policy.half_life_days


def _grade(piece: Piece, repeated: int) -> int:
    return math.floor(GRADES_PER_DOUBLING * (piece.doublings + _REPEATED_DOUBLINGS * repeated))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
