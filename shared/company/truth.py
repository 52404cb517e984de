"""Says which prompts and gaps a scenario must end with, from what its author planted.

It reads facts, never feeds, and shares no line with the correlator: what it says is what the correlator is held
against. It looks at the whole company at one moment and asks the rules again from the start, which is slow and plain.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

from shared.contracts.ids import CycleId, EmployeeId, EndorsementId, RelationshipId, UnitId
from shared.contracts.outputs import WithdrawnBecause


class PromptKey(NamedTuple):
    """What makes a prompt the one it is."""

    cycle_id: CycleId
    employee_id: EmployeeId
    sponsor_id: EmployeeId


class GapKey(NamedTuple):
    """What makes a gap the one it is."""

    cycle_id: CycleId
    employee_id: EmployeeId


class ExpectedPrompt(NamedTuple):
    """How a prompt must stand; `reason` is of a withdrawn one, None otherwise."""

    status: Literal["open", "fulfilled", "withdrawn"]
    reason: WithdrawnBecause | None = None


@dataclass(frozen=True)
class Expected:
    """All prompts and gaps that there must be at one moment, and no others.

    Attributes:
        gaps_in_passing: gaps that may have opened and closed again on the way, or not, as the services happened to
            be quick: they are open for nobody now, and count neither as missing nor as wrong.
    """

    prompts: Mapping[PromptKey, ExpectedPrompt] = field(default_factory=dict)
    gaps: Mapping[GapKey, Literal["open", "closed"]] = field(default_factory=dict)
    gaps_in_passing: Set[GapKey] = frozenset()


class Unclear(AssertionError):
    """The scenario's author has planted something that the rules leave open; plant it otherwise."""


def expected(known: Known, before: Expected) -> Expected:
    """Return how prompts and gaps stand by all that is `known`, where they stood as in `before`.

    Raises:
        Unclear: a prompt is withdrawn for two reasons at once, or a gap hangs on a sponsor who spoke and then left.
    """
    prompts: dict[PromptKey, ExpectedPrompt] = {}
    gaps: dict[GapKey, Literal["open", "closed"]] = {}
    for cycle in known.cycles.values():
        if known.now < cycle.opens_at:
            continue
        for employee_id in known.profiles:
            voices: list[tuple[str, EmployeeId]] = []
            for tie in known.sponsorships_of(employee_id):
                key = PromptKey(cycle.cycle_id, employee_id, tie.sponsor_id)
                prompt = _prompt(known, cycle, tie, before.prompts.get(key))
                if prompt:
                    prompts[key] = prompt
                    voices.append((prompt.status, tie.sponsor_id))
            gap = _gap(known, cycle, employee_id, voices, before)
            if gap:
                gaps[GapKey(cycle.cycle_id, employee_id)] = gap
    return Expected(prompts, gaps, before.gaps_in_passing)


def _prompt(known: Known, cycle: CycleFact, tie: SponsorFact, before: ExpectedPrompt | None) -> ExpectedPrompt | None:
    if known.has_spoken(cycle, tie):
        return ExpectedPrompt("fulfilled")
    against = known.reasons_against(cycle, tie)
    if not against:
        return ExpectedPrompt("open")
    if before is None or before.status == "withdrawn":
        return before
    if len(against) > 1:
        raise Unclear(f"{cycle.cycle_id}, {tie}: withdrawn for any of {against}")
    return ExpectedPrompt("withdrawn", against[0])


def _gap(
    known: Known, cycle: CycleFact, employee_id: EmployeeId, voices: list[tuple[str, EmployeeId]], before: Expected
) -> Literal["open", "closed"] | None:
    at = known.as_of(cycle)
    may_stand = known.is_open(cycle) and known.in_scope(cycle, employee_id, at)
    speaking = [sponsor_id for status, sponsor_id in voices if status != "withdrawn"]
    if may_stand and speaking and all(known.has_left(sponsor_id, at) for sponsor_id in speaking):
        raise Unclear(f"{cycle.cycle_id}, {employee_id}: those who spoke have left: is that a gap?")
    if may_stand and not speaking and not known.is_endorsed_for(cycle, employee_id):
        return "open"
    return "closed" if GapKey(cycle.cycle_id, employee_id) in before.gaps else None


# -- facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProfileFact:
    """From `from_at` on, `employee_id` has this level and sits in this unit (its path holds the units above it too)."""

    employee_id: EmployeeId
    from_at: datetime
    level: int
    level_since: date
    unit_path: frozenset[UnitId]


@dataclass(frozen=True)
class LeftFact:
    """`employee_id` left."""

    employee_id: EmployeeId
    left_at: datetime


@dataclass(frozen=True)
class SponsorFact:
    """`sponsor_id` is `employee_id`'s sponsor from `started_at` on."""

    relationship_id: RelationshipId
    employee_id: EmployeeId
    sponsor_id: EmployeeId
    started_at: datetime


@dataclass(frozen=True)
class SponsorEndedFact:
    """The sponsor relationship held until `ended_at`."""

    relationship_id: RelationshipId
    ended_at: datetime


@dataclass(frozen=True)
class CycleFact:
    """The cycle as it stands, in the author's own words; a greater `edition` replaces a smaller one."""

    cycle_id: CycleId
    edition: int
    unit_ids: frozenset[UnitId]
    levels: frozenset[int]
    min_months_in_level: int
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True)
class CycleClosedFact:
    """The cycle was closed before its time."""

    cycle_id: CycleId
    closed_at: datetime


@dataclass(frozen=True)
class EndorsedFact:
    """`by_id` spoke for `employee_id`, for one cycle or in general."""

    endorsement_id: EndorsementId
    employee_id: EmployeeId
    by_id: EmployeeId
    cycle_id: CycleId | None
    given_at: datetime


@dataclass(frozen=True)
class TakenBackFact:
    """The endorsement does not hold any more."""

    endorsement_id: EndorsementId


@dataclass(frozen=True)
class DeclinedFact:
    """The sponsor will not speak."""

    key: PromptKey


@dataclass(frozen=True)
class NowFact:
    """It is `now`."""

    now: datetime


Fact = (
    ProfileFact
    | LeftFact
    | SponsorFact
    | SponsorEndedFact
    | CycleFact
    | CycleClosedFact
    | EndorsedFact
    | TakenBackFact
    | DeclinedFact
    | NowFact
)


class Known:
    """All facts so far, and the rules' questions to them."""

    def __init__(self) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)
        self.profiles: dict[EmployeeId, list[ProfileFact]] = {}
        self.left_at: dict[EmployeeId, datetime] = {}
        self.cycles: dict[CycleId, CycleFact] = {}
        self._sponsorships: dict[EmployeeId, list[SponsorFact]] = {}
        self._ended_at: dict[RelationshipId, datetime] = {}
        self._closed_at: dict[CycleId, datetime] = {}
        self._endorsements: dict[EmployeeId, list[EndorsedFact]] = {}
        self._taken_back: set[EndorsementId] = set()
        self._declined: set[PromptKey] = set()

    def learn(self, fact: Fact) -> None:
        """Take in `fact`."""
        match fact:
            case ProfileFact():
                held = self.profiles.setdefault(fact.employee_id, [])
                held.append(fact)
                held.sort(key=lambda profile: profile.from_at)
            case LeftFact():
                self.left_at[fact.employee_id] = fact.left_at
            case SponsorFact():
                self._sponsorships.setdefault(fact.employee_id, []).append(fact)
            case SponsorEndedFact():
                self._ended_at[fact.relationship_id] = fact.ended_at
            case CycleFact():
                if fact.cycle_id not in self.cycles or self.cycles[fact.cycle_id].edition < fact.edition:
                    self.cycles[fact.cycle_id] = fact
            case CycleClosedFact():
                self._closed_at[fact.cycle_id] = fact.closed_at
            case EndorsedFact():
                self._endorsements.setdefault(fact.employee_id, []).append(fact)
            case TakenBackFact():
                self._taken_back.add(fact.endorsement_id)
            case DeclinedFact():
                self._declined.add(fact.key)
            case NowFact():
                self.now = max(self.now, fact.now)

    def sponsorships_of(self, employee_id: EmployeeId) -> list[SponsorFact]:
        """Return the sponsor relationships that ever were."""
        return self._sponsorships.get(employee_id, [])

    def ends_at(self, cycle: CycleFact) -> datetime:
        """Return when the cycle ends: as announced, or earlier where it was closed."""
        return min(cycle.closes_at, self._closed_at.get(cycle.cycle_id, cycle.closes_at))

    def as_of(self, cycle: CycleFact) -> datetime:
        """Return the moment at which the cycle is judged."""
        return min(self.now, self.ends_at(cycle))

    def is_open(self, cycle: CycleFact) -> bool:
        """Say whether the cycle is open now."""
        return cycle.opens_at <= self.now < self.ends_at(cycle)

    def in_scope(self, cycle: CycleFact, employee_id: EmployeeId, at: datetime) -> bool:
        """Say whether the employee was with the company and in the cycle's scope at `at`."""
        held = [profile for profile in self.profiles.get(employee_id, []) if profile.from_at <= at]
        if not held or self.has_left(employee_id, at):
            return False
        profile = held[-1]
        return (
            (not cycle.unit_ids or not cycle.unit_ids.isdisjoint(profile.unit_path))
            and (not cycle.levels or profile.level in cycle.levels)
            and _months_later(profile.level_since, cycle.min_months_in_level) <= cycle.opens_at.date()
        )

    def has_left(self, employee_id: EmployeeId, at: datetime) -> bool:
        """Say whether they had left at `at`."""
        left_at = self.left_at.get(employee_id)
        return left_at is not None and left_at <= at

    def has_spoken(self, cycle: CycleFact, tie: SponsorFact) -> bool:
        """Say whether this sponsor's endorsement stands for the cycle (or fell into it), given while it could count."""
        for endorsement in self._standing_endorsements(tie.employee_id):
            if endorsement.by_id != tie.sponsor_id:
                continue
            if endorsement.cycle_id is None:
                counts = cycle.opens_at <= endorsement.given_at <= self.ends_at(cycle)
            else:
                counts = endorsement.cycle_id == cycle.cycle_id
            at = max(endorsement.given_at, cycle.opens_at)
            if counts and self.in_scope(cycle, tie.employee_id, at) and self._is_active(tie, at):
                return True
        return False

    def is_endorsed_for(self, cycle: CycleFact, employee_id: EmployeeId) -> bool:
        """Say whether anybody at all spoke for the employee for this very cycle."""
        return any(e.cycle_id == cycle.cycle_id for e in self._standing_endorsements(employee_id))

    def reasons_against(self, cycle: CycleFact, tie: SponsorFact) -> list[WithdrawnBecause]:
        """Return every reason why this sponsor is not asked (any more)."""
        at = self.as_of(cycle)
        reasons: list[WithdrawnBecause] = []
        if not self.is_open(cycle):
            reasons.append("cycle_closed")
        if self.has_left(tie.employee_id, at):
            reasons.append("employee_left")
        elif not self.in_scope(cycle, tie.employee_id, at):
            reasons.append("out_of_scope")
        if self.has_left(tie.sponsor_id, at):
            reasons.append("sponsor_left")
        if not self._is_active(tie, at):
            reasons.append("relationship_ended")
        if PromptKey(cycle.cycle_id, tie.employee_id, tie.sponsor_id) in self._declined:
            reasons.append("declined")
        return reasons

    def _is_active(self, tie: SponsorFact, at: datetime) -> bool:
        ended_at = self._ended_at.get(tie.relationship_id)
        return tie.started_at <= at and (ended_at is None or at < ended_at) and tie.sponsor_id in self.profiles

    def _standing_endorsements(self, employee_id: EmployeeId) -> list[EndorsedFact]:
        given = self._endorsements.get(employee_id, [])
        return [endorsement for endorsement in given if endorsement.endorsement_id not in self._taken_back]


def _months_later(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, day.day)
