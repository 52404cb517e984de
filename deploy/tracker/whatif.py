"""Works out what a cycle would bring if it opened: who would be asked, with which evidence, and where gaps would be.

The correlator's rules are asked once for each employee, as of the opening, instead of being replayed event by event:
what stands is a function of facts and time alone (docs/decisions/002), so both say the same. A property test holds them
together. Pure: employees come in, numbers go out.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pydantic import Field

from services.correlator.evidence import chosen, count_shown
from services.correlator.explanation import Settings
from services.correlator.facts import tell
from services.correlator.policy import Policy
from services.correlator.rules import Asked, NotAsked, has_gap, judge, who_may_be_asked
from services.correlator.standing import in_scope, profile_at
from services.correlator.state import Calendar, CycleDefinition, CycleFact, EmployeeState
from services.insights.measures.load import gini
from shared.contracts.base import Contract, EventTime
from shared.contracts.career import Cycle, CycleOpened
from shared.contracts.ids import CycleId, EmployeeId, EventId


@dataclass(frozen=True, slots=True)
class Question:
    """A cycle that is to be judged as of a moment."""

    cycle_id: str
    fact: CycleFact
    definition: CycleDefinition
    as_of: datetime


class TooLate(Exception):
    """The cycle would be over before it opened."""


class Outcome(NamedTuple):
    """What the cycle would bring for one employee in its scope."""

    level: int
    unit: str
    prompts: tuple[tuple[str, int], ...]
    """Who would be asked, and how many pieces of evidence they would see."""
    spoken_for: bool
    gap: tuple[str, ...] | None
    """Those who would be suggested; None where there would be no gap."""


class Load(Contract):
    """How prompts would be spread over the sponsors who are asked; those who are not asked do not count."""

    sponsors: int
    mean: float
    median: float
    nine_tenths: int = Field(description="nine of ten sponsors would get so many prompts at most")
    most: int
    gini: float = Field(description="0: all get as many; towards 1: few get nearly all")


class SponsorLoad(Contract):
    """What one sponsor would get."""

    person_id: EmployeeId
    name: str
    prompts: int


class Share(Contract):
    """The part of a level or a unit."""

    name: str
    in_scope: int
    prompts: int
    gaps: int


class Simulation(Contract):
    """What the cycle would bring."""

    cycle_id: CycleId
    cycle_title: str
    opens_at: EventTime
    as_of: EventTime = Field(description="the moment as of which all is judged")
    settings: Settings
    employees: int = Field(description="who are known, whether in scope or not")
    in_scope: int
    spoken_for: int = Field(description="employees in scope for whom a sponsor would be asked, or has spoken already")
    prompts: int
    without_evidence: int = Field(description="prompts that would have nothing to show")
    pieces: int = Field(description="pieces of evidence in all prompts")
    gaps: int
    gaps_without_suggestion: int
    load: Load | None = Field(description="None where nobody would be asked")
    sponsors: tuple[SponsorLoad, ...] = Field(description="all who would be asked, those with most prompts first")
    by_level: tuple[Share, ...]
    by_unit: tuple[Share, ...] = Field(description="by the org unit below the top one")


class Change(Contract):
    """What other settings would change."""

    prompts_only_before: int
    prompts_only_after: int
    prompts_with_other_evidence: int = Field(description="other pieces, or the same in another order")
    pieces_that_go: int
    pieces_that_come: int
    gaps_with_other_suggestions: int


def question(cycle: Cycle, clock: datetime | None) -> Question:
    """Return the question about a cycle: as of its opening or, where that has passed, of the log's clock.

    Raises:
        TooLate: the cycle has closed by then.
    """
    as_of = max(cycle.opens_at, clock) if clock is not None else cycle.opens_at
    if as_of >= cycle.closes_at:
        raise TooLate(
            f"the cycle closes {cycle.closes_at.isoformat()}, and it is {as_of.isoformat()} in the log: nobody would "
            "be asked. Give it a later closes_at"
        )
    opened = CycleOpened(id=EventId("what-if"), at=as_of, source="what-if", cycle=cycle)
    fact = tell(Calendar(), opened).cycles[cycle.cycle_id]
    if fact.definition is None:
        raise RuntimeError("a cycle that was told has no definition")
    return Question(cycle.cycle_id, fact, fact.definition, as_of)


def outcome(employee: EmployeeState, asked: Question, policy: Policy) -> Outcome | None:
    """Return what the cycle would bring for an employee; None where they are not in its scope."""
    profile = profile_at(employee, asked.as_of)
    if profile is None or not in_scope(profile, asked.definition):
        return None
    prompts = []
    spoken_for = False
    for sponsor_id in who_may_be_asked(employee, asked.cycle_id):
        verdict = judge(employee, asked.cycle_id, asked.fact, asked.definition, sponsor_id, asked.as_of)
        spoken_for = spoken_for or not isinstance(verdict, NotAsked)
        if isinstance(verdict, Asked):
            pieces = count_shown(employee, asked.definition, asked.cycle_id, sponsor_id, policy)
            prompts.append((sponsor_id, pieces))
    gap = has_gap(employee, asked.cycle_id, asked.fact, asked.definition, asked.as_of, policy, spoken_for=spoken_for)
    return Outcome(
        level=profile.level,
        unit=_division(profile.unit_path),
        prompts=tuple(prompts),
        spoken_for=not isinstance(gap, tuple),
        gap=tuple([suggested.person_id for suggested in gap]) if isinstance(gap, tuple) else None,
    )


class Tally:
    """Counts outcomes under one set of numbers."""

    def __init__(self, asked: Question, policy: Policy) -> None:
        self._asked = asked
        self._policy = policy
        self._employees = self._in_scope = self._spoken_for = 0
        self._without_evidence = self._pieces = self._gaps = self._gaps_without = 0
        self._load: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._by_level: dict[int, _Counts] = defaultdict(_Counts)
        self._by_unit: dict[str, _Counts] = defaultdict(_Counts)

    def add(self, employee: EmployeeState) -> Outcome | None:
        """Work out what the cycle would bring for an employee, count it, and return it."""
        self._employees += 1
        found = outcome(employee, self._asked, self._policy)
        if found is None:
            return None
        self._in_scope += 1
        self._spoken_for += found.spoken_for
        for sponsor_id, pieces in found.prompts:
            self._load[sponsor_id] += 1
            self._names[sponsor_id] = employee.people[sponsor_id].name
            self._pieces += pieces
            self._without_evidence += pieces == 0
        if found.gap is not None:
            self._gaps += 1
            self._gaps_without += not found.gap
        for counts in (self._by_level[found.level], self._by_unit[found.unit]):
            counts.in_scope += 1
            counts.prompts += len(found.prompts)
            counts.gaps += found.gap is not None
        return found

    def simulation(self) -> Simulation:
        """Return what has been counted."""
        by_load = sorted(self._load.items(), key=lambda item: (-item[1], item[0]))
        return Simulation(
            cycle_id=CycleId(self._asked.cycle_id),
            cycle_title=self._asked.definition.title,
            opens_at=self._asked.definition.opens_at,
            as_of=self._asked.as_of,
            settings=Settings(**vars(self._policy)),
            employees=self._employees,
            in_scope=self._in_scope,
            spoken_for=self._spoken_for,
            prompts=self._load.total(),
            without_evidence=self._without_evidence,
            pieces=self._pieces,
            gaps=self._gaps,
            gaps_without_suggestion=self._gaps_without,
            load=load_of(self._load.values()) if self._load else None,
            sponsors=tuple(
                SponsorLoad(person_id=EmployeeId(who), name=self._names[who], prompts=prompts)
                for who, prompts in by_load
            ),
            by_level=tuple(_shares({str(level): self._by_level[level] for level in sorted(self._by_level)})),
            by_unit=tuple(_shares({unit: self._by_unit[unit] for unit in sorted(self._by_unit)})),
        )


class Comparison:
    """Counts what differs between outcomes before and after."""

    def __init__(self, asked: Question, before: Policy, after: Policy) -> None:
        self._asked = asked
        self._before = before
        self._after = after
        self._counts: Counter[str] = Counter()

    def add(self, employee: EmployeeState, before: Outcome | None, after: Outcome | None) -> None:
        """Count an employee."""
        old = self._evidence(employee, before, self._before)
        new = self._evidence(employee, after, self._after)
        self._counts["only_before"] += len(old.keys() - new.keys())
        self._counts["only_after"] += len(new.keys() - old.keys())
        for sponsor_id in old.keys() & new.keys():
            self._counts["other_evidence"] += old[sponsor_id] != new[sponsor_id]
            self._counts["go"] += len(set(old[sponsor_id]) - set(new[sponsor_id]))
            self._counts["come"] += len(set(new[sponsor_id]) - set(old[sponsor_id]))
        gaps = (before.gap if before is not None else None, after.gap if after is not None else None)
        self._counts["other_suggestions"] += gaps[0] != gaps[1]

    def _evidence(self, employee: EmployeeState, found: Outcome | None, policy: Policy) -> dict[str, list[str]]:
        """Return the ids of what each who would be asked would see, the best first."""
        asked = self._asked
        return {
            sponsor_id: [
                ranked.piece.evidence_id
                for ranked in chosen(employee, asked.definition, asked.cycle_id, sponsor_id, policy)
            ]
            for sponsor_id, _ in (found.prompts if found is not None else ())
        }

    def change(self) -> Change:
        """Return what has been counted."""
        return Change(
            prompts_only_before=self._counts["only_before"],
            prompts_only_after=self._counts["only_after"],
            prompts_with_other_evidence=self._counts["other_evidence"],
            pieces_that_go=self._counts["go"],
            pieces_that_come=self._counts["come"],
            gaps_with_other_suggestions=self._counts["other_suggestions"],
        )


def load_of(prompts: Iterable[int]) -> Load:
    """Return how at least one number of prompts, none of which is 0, is spread."""
    ordered = sorted(prompts)
    count = len(ordered)
    return Load(
        sponsors=count,
        mean=sum(ordered) / count,
        median=statistics.median(ordered),
        nine_tenths=ordered[-(-9 * count // 10) - 1],
        most=ordered[-1],
        gini=gini(ordered) or 0.0,
    )


@dataclass(slots=True)
class _Counts:
    in_scope: int = 0
    prompts: int = 0
    gaps: int = 0


def _shares(counts: Mapping[str, _Counts]) -> Iterator[Share]:
    for name, found in counts.items():
        yield Share(name=name, in_scope=found.in_scope, prompts=found.prompts, gaps=found.gaps)


def _division(unit_path: Sequence[str]) -> str:
    return unit_path[min(1, len(unit_path) - 1)] if unit_path else ""
