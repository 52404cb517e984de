"""Turns what the story's author plants into the record that is fed and the fact that the record means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from shared.company.casting import PlantedAchievement
from shared.company.cycles import PROMOTION_CYCLE, PlannedCycle
from shared.company.draws import Draws
from shared.company.names import COMPETENCIES, DEEDS, PROJECTS
from shared.company.population import (
    Company,
    achievement_record,
    employee_id,
    employee_records,
    promotion_record,
    tie_records,
)
from shared.company.records import Feed, FeedRecord, feed_record
from shared.company.truth import (
    CycleClosedFact,
    DeclinedFact,
    EndorsedFact,
    Expected,
    Fact,
    GapKey,
    Known,
    LeftFact,
    NowFact,
    ProfileFact,
    PromptKey,
    SponsorEndedFact,
    SponsorFact,
    TakenBackFact,
    expected,
)
from shared.contracts.ids import CycleId, EmployeeId, EndorsementId, RelationshipId, UnitId


@dataclass(frozen=True)
class Phase:
    """A part of the story.

    Attributes:
        told_as: what happens, in one sentence for people.
        records: what is fed, in this order; the last one is a clock tick.
        facts: what the records mean, as far as prompts and gaps hang on it.
        expected: how everything must stand once all of the phase has been worked off.
        dead_letters: how many of the records nobody can understand, by feed.
    """

    name: str
    told_as: str
    records: tuple[FeedRecord, ...]
    facts: tuple[Fact, ...]
    expected: Expected
    dead_letters: Mapping[Feed, int]


class Story:
    """Gathers records and facts, phase by phase; each verb plants one thing."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.phases: list[Phase] = []
        self._known = Known()
        self._expected = Expected()
        self._gaps_in_passing: set[GapKey] = set()
        self._profiles: dict[EmployeeId, ProfileFact] = {}
        self._indices = {employee_id(index): index for index in range(company.size)}
        self._draws = Draws(company.seed, 0x57)
        self._records: list[FeedRecord] = []
        self._facts: list[Fact] = []
        self._dead: Counter[Feed] = Counter()

    def end_phase(self, name: str, told_as: str) -> None:
        """Make a phase of all that was planted since the last one."""
        for fact in self._facts:
            self._known.learn(fact)
        stands = expected(self._known, self._expected)
        self._expected = replace(stands, gaps_in_passing=frozenset(self._gaps_in_passing))
        self.phases.append(
            Phase(name, told_as, tuple(self._records), tuple(self._facts), self._expected, dict(self._dead))
        )
        self._records, self._facts, self._dead = [], [], Counter()

    def add(self, records: Iterable[FeedRecord]) -> None:
        """Feed records on which no prompt or gap hangs."""
        self._records.extend(records)

    # -- people ------------------------------------------------------------------------------------

    def hires(self, index: int, *, known_late: bool = False) -> None:
        """Make employee number `index` known.

        Their other events may have come before. If they are `known_late`, with a cycle open, a gap may open for them
        until their waiting sponsor relationship is let through.
        """
        person = self.company.person(index)
        self.add(employee_records(self.company, index))
        hired_at, promoted_at = _at(person.hired_on), _at(person.level_since)
        path = frozenset(self.company.unit_path(person.unit_id))
        if person.level_before:
            self._profile(ProfileFact(person.employee_id, hired_at, person.level_before, person.hired_on, path))
            self._profile(ProfileFact(person.employee_id, promoted_at, person.level, person.level_since, path))
        else:
            self._profile(ProfileFact(person.employee_id, hired_at, person.level, person.level_since, path))
        if known_late:
            self._gaps_in_passing.add(GapKey(PROMOTION_CYCLE.fact.cycle_id, person.employee_id))

    def ties(self, index: int) -> None:
        """State all relationships of employee number `index`."""
        for tie in self.company.ties(index):
            self.add(tie_records(self.company, tie))
            if tie.kind != "sponsor":
                continue
            self._facts.append(
                SponsorFact(tie.relationship_id, employee_id(index), employee_id(tie.other), _at(tie.started_on))
            )
            if tie.ended_on:
                self._facts.append(SponsorEndedFact(tie.relationship_id, _at(tie.ended_on)))

    def moves(self, employee: EmployeeId, into: UnitId, at: datetime) -> None:
        """Move `employee` to a team of the unit `into`."""
        lead, team = next(
            (index, self.company.unit_of(index))
            for index in range(self.company.size)
            if self.company.unit_of(index).startswith("team-")
            and into in self.company.unit_path(self.company.unit_of(index))
        )
        data = {"employee_id": employee, "unit_id": team, "manager_id": employee_id(lead), "effective_at": _text(at)}
        self._say("people", "hris", "employee.changed", employee, f"moved-{employee}-{team}", at, data)
        path = frozenset(self.company.unit_path(team))
        self._profile(replace(self._profiles[employee], from_at=at, unit_path=path))

    def rises(self, employee: EmployeeId, on: date) -> None:
        """Promote `employee` by one level."""
        level = self._profiles[employee].level + 1
        self.add([promotion_record(self.company.person(self._indices[employee]), level, on, _at(on))])
        self._profile(replace(self._profiles[employee], from_at=_at(on), level=level, level_since=on))

    def leaves(self, employee: EmployeeId, at: datetime) -> None:
        """Let `employee` leave the company."""
        data = {"employee_id": employee, "effective_at": _text(at)}
        self._say("people", "hris", "employee.left", employee, f"left-{employee}", at, data)
        self._facts.append(LeftFact(employee, at))

    def becomes_sponsor(self, key: PromptKey, at: datetime) -> None:
        """Start a sponsor relationship."""
        relationship = RelationshipId(f"rel-sponsor-{key.employee_id}-{key.sponsor_id}")
        data = _relationship(relationship, key) | {"started_at": _text(at)}
        self._say("people", "mentoring", "relationship.started", key.employee_id, f"{relationship}-start", at, data)
        self._facts.append(SponsorFact(relationship, key.employee_id, key.sponsor_id, at))

    def ends_relationship(self, key: PromptKey, at: datetime) -> None:
        """End the sponsor relationship that `key` names."""
        ties = self.company.sponsors(self._indices[key.employee_id])
        relationship = next(tie.relationship_id for tie in ties if employee_id(tie.other) == key.sponsor_id)
        data = _relationship(relationship, key) | {"ended_at": _text(at)}
        self._say("people", "mentoring", "relationship.ended", key.employee_id, f"{relationship}-end", at, data)
        self._facts.append(SponsorEndedFact(relationship, at))

    # -- achievements ------------------------------------------------------------------------------

    def records(self, planted: PlantedAchievement, on: date, said_at: datetime) -> None:
        """Record an achievement that no ranking can pass over: it has all that the cycle looks for, and was seen."""
        self.add([achievement_record("recorded", _strong(planted, on), said_at)])

    def corrects(self, planted: PlantedAchievement, on: date, said_at: datetime) -> None:
        """Correct a recorded achievement: it reached less far, and `planted.title` is its new title."""
        better = _strong(planted, on) | {"impact": 1, "outcome": "The figures first given were those of two teams."}
        self.add([achievement_record("corrected", better, said_at)])

    def retracts(self, planted: PlantedAchievement, on: date, said_at: datetime) -> None:
        """Retract a recorded achievement."""
        self.add([achievement_record("retracted", _strong(planted, on), said_at)])

    def goes_on(self, since: datetime, count: int) -> None:
        """Let `count` people, one after the other, do something within three days from `since`."""
        for number in range(count):
            person = employee_id(self._draws.below(self.company.size))
            done_at = since + timedelta(minutes=number * 4320 // count)
            if person in self._profiles and person not in self._known.left_at:
                self.add([self._small_achievement(person, done_at)])

    def _small_achievement(self, person: EmployeeId, done_at: datetime) -> FeedRecord:
        competency = self._draws.one_of(COMPETENCIES)
        achievement = {
            "achievement_id": f"autumn-{done_at:%m%d%H%M}-{person}",
            "employee": person,
            "title": self._draws.one_of(DEEDS[competency]).format(p=self._draws.one_of(PROJECTS)),
            "impact": self._draws.below(3),
            "occurred_on": done_at.date().isoformat(),
            "competencies": [competency],
        }
        return achievement_record("recorded", achievement, done_at)

    # -- endorsements and answers ------------------------------------------------------------------

    def endorses(self, key: PromptKey, at: datetime) -> None:
        """Let the person whom `key` names as sponsor speak for the employee in the cycle."""
        self._endorses(key, key.cycle_id, at)

    def endorses_in_general(self, key: PromptKey, at: datetime) -> None:
        """Let the sponsor speak for the employee, for no cycle in particular."""
        self._endorses(key, None, at)

    def knows_endorsements(self, records: Iterable[FeedRecord], facts: Iterable[EndorsedFact]) -> None:
        """Feed endorsements of the past year."""
        self.add(records)
        self._facts.extend(facts)

    def takes_back(self, key: PromptKey, at: datetime) -> None:
        """Withdraw the endorsement that was given for `key`."""
        endorsement = _endorsement_id(key, key.cycle_id)
        data = {"endorsement_id": endorsement, "sponsor": key.sponsor_id, "employee": key.employee_id}
        self._answers("endorsement.withdrawn", key, f"{endorsement}-withdrawn", at, data)
        self._facts.append(TakenBackFact(endorsement))

    def declines(self, key: PromptKey, at: datetime) -> None:
        """Let the sponsor decline."""
        data = _answer(key) | {"reason": "I have not seen enough of their work this year."}
        self._answers("prompt.declined", key, f"declined-{'-'.join(key)}", at, data)
        self._facts.append(DeclinedFact(key))

    def snoozes(self, key: PromptKey, at: datetime, until: datetime) -> None:
        """Let the sponsor put the answer off."""
        self._answers("prompt.snoozed", key, f"snoozed-{'-'.join(key)}", at, _answer(key) | {"until": _text(until)})

    def _endorses(self, key: PromptKey, cycle_id: CycleId | None, at: datetime) -> None:
        endorsement = _endorsement_id(key, cycle_id)
        data = {
            "endorsement_id": endorsement,
            "sponsor": key.sponsor_id,
            "employee": key.employee_id,
            "given_at": _text(at),
            "statement": "I have seen them carry this through, and would bet on them again.",
        }
        if cycle_id:
            data["cycle_id"] = cycle_id
        self._answers("endorsement.given", key, endorsement, at, data)
        self._facts.append(EndorsedFact(endorsement, key.employee_id, key.sponsor_id, cycle_id, at))

    def _answers(self, event_type: str, key: PromptKey, event_id: str, at: datetime, data: Mapping[str, Any]) -> None:
        self._say("endorsements", "portal", event_type, key.employee_id, event_id, at, data)

    # -- cycles and the clock ----------------------------------------------------------------------

    def announces(self, cycle: PlannedCycle, at: datetime) -> None:
        """Announce `cycle`, or amend it where this is not its first edition."""
        what = "cycle.opened" if cycle.fact.edition == 1 else "cycle.amended"
        name = f"{cycle.fact.cycle_id}-{cycle.fact.edition}"
        self._say("cycles", "talent", what, cycle.fact.cycle_id, name, at, cycle.payload())
        self._facts.append(cycle.fact)

    def closes(self, cycle_id: CycleId, at: datetime) -> None:
        """Close the cycle before its time."""
        data = {"cycle_id": cycle_id, "closed_at": _text(at)}
        self._say("cycles", "talent", "cycle.closed", cycle_id, f"{cycle_id}-closed", at, data)
        self._facts.append(CycleClosedFact(cycle_id, at))

    def ticks(self, now: datetime) -> None:
        """Say what time it is."""
        self._say("cycles", "clock", "clock.ticked", "clock", f"tick-{now:%Y%m%dT%H%M}", now, {"now": _text(now)})
        self._facts.append(NowFact(now))

    # -- what goes wrong on the way ----------------------------------------------------------------

    def garbles(self, records: Iterable[FeedRecord]) -> None:
        """Feed `records`, which nobody can understand, scattered among those so far."""
        for record in records:
            self._records.insert(self._draws.below(len(self._records)), record)
            self._dead[record.feed] += 1

    def delays_and_repeats(self, late_percent: int, twice_percent: int) -> None:
        """Move some achievements behind all other records so far, and let sources say some things twice."""
        in_time: list[FeedRecord] = []
        late: list[FeedRecord] = []
        for record in self._records:
            is_late = record.feed == "achievements" and self._draws.chance(late_percent)
            (late if is_late else in_time).append(record)
        again = [record for record in in_time + late if self._draws.chance(twice_percent)]
        self._records = in_time + late + again

    def _say(
        self,
        feed: Feed,
        source: str,
        event_type: str,
        subject: str,
        event_id: str,
        at: datetime,
        data: Mapping[str, Any],
    ) -> None:
        self._records.append(
            feed_record(
                feed, event_id=event_id, source=source, event_type=event_type, subject=subject, time=at, data=data
            )
        )

    def _profile(self, fact: ProfileFact) -> None:
        self._profiles[fact.employee_id] = fact
        self._facts.append(fact)


def _strong(planted: PlantedAchievement, on: date) -> dict[str, Any]:
    return {
        "achievement_id": planted.achievement_id,
        "employee": planted.prompt.employee_id,
        "title": planted.title,
        "outcome": "Every customer kept, and eleven weeks won for the whole company.",
        "impact": 3,
        "occurred_on": on.isoformat(),
        "competencies": list(PROMOTION_CYCLE.competencies),
        "link": f"https://hris.example.com/achievements/{planted.achievement_id}",
        "witnesses": [planted.prompt.sponsor_id],
    }


def _relationship(relationship: RelationshipId, key: PromptKey) -> dict[str, Any]:
    return {
        "relationship_id": relationship,
        "kind": "sponsor",
        "employee": key.employee_id,
        "other": key.sponsor_id,
    }


def _answer(key: PromptKey) -> dict[str, Any]:
    return {"cycle_id": key.cycle_id, "sponsor": key.sponsor_id, "employee": key.employee_id}


def _endorsement_id(key: PromptKey, cycle_id: CycleId | None) -> EndorsementId:
    return EndorsementId(f"end-{cycle_id or 'general'}-{key.employee_id}-{key.sponsor_id}")


def _text(at: datetime) -> str:
    return at.isoformat()


def _at(day: date) -> datetime:
    return datetime.combine(day, time(9), UTC)
