"""Makes a company of any size as streams of feed records: units, employees, relationships, a year of achievements.

Everything about employee number i follows from (seed, size, i) alone. So a million employees stream in constant
memory, any of them can be looked at without the others, and two runs give the same bytes.

The org chart is arithmetic: number 0 heads the company, then come the heads of the divisions, then those of the
departments, then team after team of up to eight, each with its lead first. A manager's number is always lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal

from shared.company.draws import Draws
from shared.company.names import (
    AREAS,
    COMPANY_NAME,
    COMPETENCIES,
    DEEDS,
    LATIN,
    OTHERS,
    OUTCOMES,
    PLACES,
    PROJECTS,
    TEAM_WORDS,
)
from shared.company.records import FeedRecord, feed_record
from shared.contracts.career import RelationshipKind
from shared.contracts.ids import EmployeeId, EndorsementId, RelationshipId, UnitId

TODAY: Final = date(2026, 9, 1)
"""The day on which the generated history ends. It is a part of the company, never read from a clock."""

TEAM_SIZE: Final = 8
TOP_LEVEL: Final = 9
ACHIEVEMENTS_A_YEAR: Final = 18


@dataclass(frozen=True, slots=True)
class Person:
    """An employee as the HRIS and the other tools know them on `TODAY`.

    Attributes:
        index: their number; all else follows from it.
        level_before: where they were promoted in the last year, the level they had before.
        github: None where they have no account; likewise `jira`.
    """

    index: int
    employee_id: EmployeeId
    name: str
    email: str
    github: str | None
    jira: str | None
    level: int
    level_before: int | None
    level_since: date
    hired_on: date
    unit_id: UnitId
    manager_index: int | None
    location: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Tie:
    """A relationship: `other` is the sponsor or mentor of `employee`, or has worked with them (numbers, not ids)."""

    relationship_id: RelationshipId
    kind: RelationshipKind
    employee: int
    other: int
    started_on: date
    ended_on: date | None = None


@dataclass(frozen=True, slots=True)
class PastEndorsement:
    """A sponsor (by number) has spoken for somebody, for no cycle in particular."""

    endorsement_id: EndorsementId
    sponsor: int
    given_at: datetime
    statement: str


def org_units(company: Company) -> Iterator[FeedRecord]:
    """Yield a ``unit.defined`` for every org unit, parents first."""
    for unit_id, name, parent_id in company.units():
        yield feed_record(
            "people",
            event_id=f"unit-{unit_id}",
            source="hris",
            event_type="unit.defined",
            subject=unit_id,
            time=_at(_FOUNDED),
            data={"unit_id": unit_id, "name": name} | ({"parent_id": parent_id} if parent_id else {}),
        )


def employees(company: Company) -> Iterator[FeedRecord]:
    """Yield for every employee their ``employee.hired`` and, for some, the ``employee.changed`` of a promotion."""
    for index in range(company.size):
        yield from employee_records(company, index)


def relationships(company: Company) -> Iterator[FeedRecord]:
    """Yield ``relationship.started`` for every tie of every employee, and ``relationship.ended`` where it is over."""
    for index in range(company.size):
        for tie in company.ties(index):
            yield from tie_records(company, tie)


def achievements(company: Company, a_year: int = ACHIEVEMENTS_A_YEAR) -> Iterator[FeedRecord]:
    """Yield a year of achievements, `a_year` an employee, everybody's first ones first: as good as in time order.

    HRIS entries, recognition, reviews and resolved issues; some HRIS entries are corrected or retracted later.
    """
    for number in range(a_year):
        for index in range(company.size):
            yield from _achievement_records(company, index, number, a_year)


def endorsements(company: Company) -> Iterator[FeedRecord]:
    """Yield the general endorsements (for no cycle) that some sponsors gave in the past year."""
    for index in range(company.size):
        past = past_endorsement(company, index)
        if past:
            yield _endorsement_record(index, past)


def attributes(company: Company) -> Iterator[FeedRecord]:
    """Yield made-up values of protected attributes; some people say nothing, and depend on nothing else about them."""
    for index in range(company.size):
        draws = Draws(company.seed, _ATTRIBUTES, index)
        values = {name: draws.weighted(weights) for name, (_, weights) in _VALUES.items()}
        who = employee_id(index)
        yield feed_record(
            "attributes",
            event_id=f"attributes-{index + 1}",
            source="hris",
            event_type="attributes.stated",
            subject=who,
            time=_at(_FOUNDED),
            data={"employee_id": who, "values": {name: _VALUES[name][0][at] for name, at in values.items()}},
        )


@dataclass(frozen=True)
class Company:
    """A company of `size` employees, made from `seed`."""

    size: int
    seed: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a company of {self.size} employees: write 1 or more")

    def person(self, index: int) -> Person:
        """Return employee number `index`."""
        self._check(index)
        draws = Draws(self.seed, _PERSON, index)
        name, latin = self._name(index)
        level = self.level(index)
        hired_on = date(draws.between(2012, 2024), draws.between(1, 12), draws.between(1, 28))
        months_ago = draws.between(1, 10) if draws.chance(22) else draws.between(14, 60)
        level_since = max(_months_before(TODAY, months_ago), hired_on.replace(day=1))
        location, timezone = self._place(index)
        return Person(
            index=index,
            employee_id=employee_id(index),
            name=name,
            email=_email(latin, index),
            github=f"{latin[0]}{latin[1]}-{index + 1}" if draws.chance(90) else None,
            jira=self._jira(latin, index),
            level=level,
            level_before=level - 1 if months_ago < 12 and level > 1 else None,
            level_since=level_since,
            hired_on=hired_on,
            unit_id=self.unit_of(index),
            manager_index=self.manager(index),
            location=location,
            timezone=timezone,
        )

    def level(self, index: int) -> int:
        """Return the level of employee number `index`: 9 at the top, 5 or 6 for a team's lead, less in the team."""
        place, number = self._seat(index)
        match place:
            case "company":
                return TOP_LEVEL
            case "division":
                return 8
            case "department":
                return 7
            case "team":
                lead = 5 + Draws(self.seed, _LEAD, number // TEAM_SIZE).below(2)
                if number % TEAM_SIZE == 0:
                    return lead
                return 1 + Draws(self.seed, _LEVEL, index).weighted(_PYRAMID[: lead - 1])

    def manager(self, index: int) -> int | None:
        """Return the number of the manager; only number 0 has none."""
        place, number = self._seat(index)
        match place:
            case "company":
                return None
            case "division":
                return 0
            case "department":
                return 1 + number // self._departments_each
            case "team" if number % TEAM_SIZE == 0:
                return 1 + self._divisions + self._department_of_team(number // TEAM_SIZE)
            case "team":
                return index - number % TEAM_SIZE

    def unit_of(self, index: int) -> UnitId:
        """Return the org unit in which employee number `index` is."""
        place, number = self._seat(index)
        match place:
            case "company":
                return _ROOT
            case "division":
                return _division_id(number)
            case "department":
                return _department_id(number)
            case "team":
                return _team_id(number // TEAM_SIZE)

    def units(self) -> Iterator[tuple[UnitId, str, UnitId | None]]:
        """Yield (id, name, parent's id) of every org unit, parents first."""
        yield _ROOT, COMPANY_NAME, None
        for number in range(self._divisions):
            yield _division_id(number), f"{AREAS[number % len(AREAS)]} {number + 1}", _ROOT
        for number in range(self._departments):
            area = AREAS[number * 5 % len(AREAS)]
            yield (
                _department_id(number),
                f"{area} Department {number + 1}",
                _division_id(number // self._departments_each),
            )
        for number in range(self._teams):
            word = TEAM_WORDS[number * 7 % len(TEAM_WORDS)]
            yield _team_id(number), f"Team {word} {number + 1}", _department_id(self._department_of_team(number))

    def unit_path(self, unit_id: UnitId) -> tuple[UnitId, ...]:
        """Return the units from the company down to `unit_id`."""
        place, _, number = unit_id.partition("-")
        match place:
            case "company":
                return (_ROOT,)
            case "div":
                return _ROOT, unit_id
            case "dept":
                return *self.unit_path(_division_id((int(number) - 1) // self._departments_each)), unit_id
            case _:
                return *self.unit_path(_department_id(self._department_of_team(int(number) - 1))), unit_id

    def ties(self, index: int) -> tuple[Tie, ...]:
        """Return all relationships of employee number `index`: former and present sponsors, mentors, team mates."""
        return (*self.sponsors(index), *self._past_sponsors(index), *self._mentors(index), *self._mates(index))

    def sponsors(self, index: int) -> tuple[Tie, ...]:
        """Return who sponsors employee number `index`: nobody, one, or two, each at least two levels above."""
        draws = Draws(self.seed, _SPONSORS, index)
        return self._seniors(
            draws, index, "sponsor", _NONE_ONE_TWO[draws.weighted((36, 54, 10))], self.level(index) + 2
        )

    def _past_sponsors(self, index: int) -> tuple[Tie, ...]:
        draws = Draws(self.seed, _PAST, index)
        if not draws.chance(6):
            return ()
        current = {tie.other for tie in self.sponsors(index)}
        return tuple(
            Tie(
                RelationshipId(f"{tie.relationship_id}-past"),
                "sponsor",
                index,
                tie.other,
                tie.started_on,
                min(tie.started_on + timedelta(days=300), TODAY - timedelta(days=30)),
            )
            for tie in self._seniors(draws, index, "sponsor", 1, self.level(index) + 2)
            if tie.other not in current
        )

    def _mentors(self, index: int) -> tuple[Tie, ...]:
        draws = Draws(self.seed, _MENTORS, index)
        sponsors = {tie.other for tie in self.sponsors(index)}
        mentors = self._seniors(
            draws, index, "mentor", _NONE_ONE_TWO[draws.weighted((45, 45, 10))], self.level(index) + 1
        )
        return tuple(tie for tie in mentors if tie.other not in sponsors)

    def _mates(self, index: int) -> tuple[Tie, ...]:
        """Return former team mates; the fourth part of them has risen since and is a lead or a head today."""
        if self.size <= self._leaders:
            return ()
        draws = Draws(self.seed, _MATES, index)
        found: dict[int, Tie] = {}
        for _ in range(draws.weighted((15, 25, 30, 20, 10))):
            mate = self._senior(draws, index) if draws.chance(25) else draws.between(self._leaders, self.size - 1)
            if mate not in (index, self.manager(index)):
                found.setdefault(mate, self._tie(draws, "worked_with", index, mate))
        return tuple(found.values())

    def _seniors(self, draws: Draws, index: int, kind: RelationshipKind, wanted: int, at_least: int) -> tuple[Tie, ...]:
        found: dict[int, Tie] = {}
        for _ in range(8 * wanted):
            if len(found) == wanted:
                break
            other = self._senior(draws, index)
            if other not in found and other not in (index, self.manager(index)) and self.level(other) >= at_least:
                found[other] = self._tie(draws, kind, index, other)
        return tuple(found.values())

    def _senior(self, draws: Draws, index: int) -> int:
        """Return a lead or a head, more often than not of the same division."""
        division = self._division(index) if draws.chance(70) else draws.below(self._divisions)
        kind = draws.weighted((50, 36, 11, 3))
        if kind == 0 and self._teams:
            first, last = (-(-(division + step) * self._teams // self._divisions) for step in (0, 1))
            return self._leaders + draws.between(first, max(first, last - 1)) % self._teams * TEAM_SIZE
        if kind <= 1:
            head = 1 + self._divisions + division * self._departments_each + draws.below(self._departments_each)
            return min(head, self.size - 1)
        return min(1 + division, self.size - 1) if kind == 2 else 0

    def _tie(self, draws: Draws, kind: RelationshipKind, index: int, other: int) -> Tie:
        started_on = date(2024, 9, 2) + timedelta(days=draws.between(0, 600))
        return Tie(
            RelationshipId(f"rel-{kind}-{index + 1}-{other + 1}"),
            kind,
            index,
            other,
            max(started_on, date(2025, 1, 6)),
        )

    def contact(self, index: int) -> tuple[str, str | None]:
        """Return email and Jira account of employee number `index`, quicker than `person` does."""
        latin = self._name(index)[1]
        return _email(latin, index), self._jira(latin, index)

    def _jira(self, latin: tuple[str, str], index: int) -> str | None:
        return f"{latin[1]}{index + 1}" if Draws(self.seed, _JIRA, index).chance(85) else None

    def _name(self, index: int) -> tuple[str, tuple[str, str]]:
        draws = Draws(self.seed, _NAME, index)
        script = LATIN if draws.chance(62) else draws.one_of(OTHERS)
        given, family = draws.one_of(script.given), draws.one_of(script.family)
        first, second = (family, given) if script.family_first else (given, family)
        return first[0] + script.space + second[0], (given[1], family[1])

    def _place(self, index: int) -> tuple[str, str]:
        """Return city and time zone: most of a team sit together, the others anywhere."""
        draws = Draws(self.seed, _PLACE, index)
        place, number = self._seat(index)
        if place == "team" and draws.chance(75):
            draws = Draws(self.seed, _TEAM_PLACE, number // TEAM_SIZE)
        return draws.one_of(PLACES)

    # -- the org chart as arithmetic ---------------------------------------------------------------

    @cached_property
    def _divisions(self) -> int:
        full_teams = max(1, self.size // TEAM_SIZE)
        return max(d for d in range(1, 101) if d == 1 or d**3 <= full_teams)

    @cached_property
    def _departments_each(self) -> int:
        return max(1, math.isqrt(max(1, self.size // TEAM_SIZE) // self._divisions))

    @cached_property
    def _departments(self) -> int:
        return self._divisions * self._departments_each

    @cached_property
    def _leaders(self) -> int:
        return 1 + self._divisions + self._departments

    @cached_property
    def _teams(self) -> int:
        return -(-max(0, self.size - self._leaders) // TEAM_SIZE)

    def _department_of_team(self, team: int) -> int:
        return team * self._departments // self._teams

    def _division(self, index: int) -> int:
        place, number = self._seat(index)
        match place:
            case "company":
                return 0
            case "division":
                return number
            case "department":
                return number // self._departments_each
            case "team":
                return self._department_of_team(number // TEAM_SIZE) // self._departments_each

    def _seat(self, index: int) -> tuple[Literal["company", "division", "department", "team"], int]:
        """Return what `index` belongs to and their place among all who belong to one such."""
        if index == 0:
            return "company", 0
        if index <= self._divisions:
            return "division", index - 1
        if index < self._leaders:
            return "department", index - 1 - self._divisions
        return "team", index - self._leaders

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"employee {index} of a company of {self.size}")


def employee_id(index: int) -> EmployeeId:
    """Return the HRIS id of employee number `index`."""
    return EmployeeId(f"E{index + 1:05d}")


def employee_records(company: Company, index: int) -> Iterator[FeedRecord]:
    """Yield what the HRIS says about employee number `index`: hired and, if in the last year, promoted."""
    person = company.person(index)
    data: dict[str, Any] = {
        "employee_id": person.employee_id,
        "name": person.name,
        "email": person.email,
        "external_ids": {k: v for k, v in (("github", person.github), ("jira", person.jira)) if v},
        "level": person.level_before or person.level,
        "level_since": (person.hired_on if person.level_before else person.level_since).isoformat(),
        "unit_id": person.unit_id,
        "location": person.location,
        "timezone": person.timezone,
        "effective_at": _at(person.hired_on).isoformat(),
    }
    if person.manager_index is not None:
        data["manager_id"] = employee_id(person.manager_index)
    yield feed_record(
        "people",
        event_id=f"hired-{index + 1}",
        source="hris",
        event_type="employee.hired",
        subject=person.employee_id,
        time=_at(person.hired_on),
        data=data,
    )
    if person.level_before:
        yield promotion_record(person, person.level, person.level_since, _at(person.level_since))


def promotion_record(person: Person, level: int, since: date, said_at: datetime) -> FeedRecord:
    """Return the ``employee.changed`` by which `person` has another level from `since` on."""
    return feed_record(
        "people",
        event_id=f"promoted-{person.index + 1}-{level}",
        source="hris",
        event_type="employee.changed",
        subject=person.employee_id,
        time=said_at,
        data={
            "employee_id": person.employee_id,
            "level": level,
            "level_since": since.isoformat(),
            "effective_at": _at(since).isoformat(),
        },
    )


def tie_records(company: Company, tie: Tie) -> Iterator[FeedRecord]:
    """Yield what the mentoring tool says about `tie`: its start and, where it is over, its end."""
    # The tool knows mentors by their address, everybody else by their HRIS id.
    other = company.contact(tie.other)[0] if tie.kind == "mentor" else employee_id(tie.other)
    data = {
        "relationship_id": tie.relationship_id,
        "kind": tie.kind,
        "employee": employee_id(tie.employee),
        "other": other,
    }
    yield feed_record(
        "people",
        event_id=f"{tie.relationship_id}-start",
        source="mentoring",
        event_type="relationship.started",
        subject=employee_id(tie.employee),
        time=_at(tie.started_on),
        data=data | {"started_at": _at(tie.started_on).isoformat()},
    )
    if tie.ended_on:
        yield feed_record(
            "people",
            event_id=f"{tie.relationship_id}-end",
            source="mentoring",
            event_type="relationship.ended",
            subject=employee_id(tie.employee),
            time=_at(tie.ended_on),
            data=data | {"ended_at": _at(tie.ended_on).isoformat()},
        )


def _achievement_records(company: Company, index: int, number: int, a_year: int) -> Iterator[FeedRecord]:
    draws = Draws(company.seed, _DONE, index, number)
    days_ago = 364 - (number * 365 + draws.below(365)) // a_year
    done_at = _at(TODAY - timedelta(days=days_ago + 6)) + timedelta(minutes=draws.below(600))
    suffix = f"{index + 1}-{number + 1}"
    email, jira = company.contact(index)
    if number % 9 == 8:
        yield _review(company, index, draws, suffix, done_at, email)
        return
    kind = draws.weighted((34, 36, 30))
    if kind == 2 and jira:
        yield _resolved_issue(draws, suffix, done_at, jira)
    elif kind == 1:
        yield _recognition(company, index, draws, suffix, done_at, email)
    else:
        yield from _hris_entries(company, index, draws, suffix, done_at)


def _hris_entries(company: Company, index: int, draws: Draws, suffix: str, done_at: datetime) -> Iterator[FeedRecord]:
    competency = draws.one_of(COMPETENCIES)
    title, outcome = _deed(draws, competency)
    person = employee_id(index)
    achievement: dict[str, Any] = {
        "achievement_id": f"hris-{suffix}",
        "employee": person,
        "title": title,
        "outcome": outcome,
        "impact": draws.weighted((15, 45, 28, 12)),
        "occurred_on": done_at.date().isoformat(),
        "competencies": list(dict.fromkeys((competency, draws.one_of(COMPETENCIES)))),
        "link": f"https://hris.example.com/achievements/{suffix}",
        "witnesses": _witnesses(company, index, draws),
    }
    said_at = done_at + timedelta(hours=draws.between(1, 20))
    yield achievement_record("recorded", achievement, said_at)
    fate = draws.below(100)
    if fate < 5:
        better = achievement | {"outcome": f"Corrected: {OUTCOMES[1].format(n=draws.between(10, 60))}", "impact": 1}
        yield achievement_record("corrected", better, said_at + timedelta(days=2))
    elif fate < 7:
        yield achievement_record("retracted", achievement, said_at + timedelta(days=3))


def achievement_record(
    what: Literal["recorded", "corrected", "retracted"], achievement: dict[str, Any], said_at: datetime
) -> FeedRecord:
    """Return what the HRIS says about `achievement` (in the shape of `AchievementStated`)."""
    data = achievement
    if what == "retracted":
        data = {key: achievement[key] for key in ("achievement_id", "employee")} | {"reason": "Entered by mistake."}
    return feed_record(
        "achievements",
        event_id=f"{achievement['achievement_id']}-{what}",
        source="hris",
        event_type=f"achievement.{what}",
        subject=achievement["employee"],
        time=said_at,
        data=data,
    )


def _recognition(company: Company, index: int, draws: Draws, suffix: str, done_at: datetime, email: str) -> FeedRecord:
    competency = draws.one_of(COMPETENCIES)
    receiver = email.title() if draws.chance(8) else email  # the tool keeps an address as it was typed
    title, outcome = _deed(draws, competency)
    return feed_record(
        "achievements",
        event_id=f"rec-{suffix}",
        source="recognition",
        event_type="recognition.given",
        subject=receiver,
        time=done_at,
        data={
            "id": f"rec-{suffix}",
            "created_at": done_at.isoformat(),
            "giver": {"email": company.contact(_colleague(company, index, draws))[0]},
            "receiver": {"email": receiver},
            "amount": draws.one_of((5, 10, 20, 25, 50, 100)),
            "reason": f"{title}. {outcome} Thank you!".replace(".  ", ". "),
            "hashtags": [f"#{competency}"],
        },
    )


def _review(company: Company, index: int, draws: Draws, suffix: str, done_at: datetime, email: str) -> FeedRecord:
    manager = company.manager(index)
    highlights = []
    for _ in range(draws.between(2, 4)):
        competency = draws.one_of(COMPETENCIES)
        title, outcome = _deed(draws, competency)
        highlights.append(
            {"text": f"{title}. {outcome}".strip(), "competency": competency, "rating": draws.between(2, 5)}
        )
    return feed_record(
        "achievements",
        event_id=f"review-{suffix}",
        source="reviews",
        event_type="review.completed",
        subject=email,
        time=done_at,
        data={
            "reviewId": f"review-{suffix}",
            "submittedAt": done_at.isoformat(),
            "reviewee": {"email": email},
            "reviewer": {"email": company.contact(index if manager is None else manager)[0]},
            "highlights": highlights,
            "link": f"https://reviews.example.org/{suffix}",
        },
    )


def _resolved_issue(draws: Draws, suffix: str, done_at: datetime, jira: str) -> FeedRecord:
    competency = draws.one_of(COMPETENCIES)
    project = draws.one_of(PROJECTS)
    key = f"{project[:4].upper()}-{suffix.replace('-', '0')}"
    return feed_record(
        "achievements",
        event_id=f"issue-{suffix}",
        source="jira",
        event_type="issue.resolved",
        subject=f"jira:{jira}",
        time=done_at,
        data={
            "issue": {
                "key": key,
                "self": f"https://jira.example.org/rest/api/2/issue/{key}",
                "fields": {
                    "summary": draws.one_of(DEEDS[competency]).format(p=project),
                    "resolutiondate": done_at.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
                    "labels": [competency, "backlog"],
                    "assignee": jira,
                    "priority": ("Lowest", "Low", "Medium", "High", "Highest")[draws.weighted((5, 20, 45, 22, 8))],
                },
            }
        },
    )


def past_endorsement(company: Company, index: int) -> PastEndorsement | None:
    """Return the endorsement that employee number `index` got in the past year, if any."""
    draws = Draws(company.seed, _ENDORSED, index)
    sponsors = company.sponsors(index)
    if not sponsors or not draws.chance(25):
        return None
    tie = sponsors[0]
    given_on = max(tie.started_on, TODAY - timedelta(days=360)) + timedelta(days=draws.between(0, 100))
    return PastEndorsement(
        EndorsementId(f"end-{index + 1}"),
        tie.other,
        _at(min(given_on, TODAY - timedelta(days=20))),
        f"I would have them on any team of mine: {draws.one_of(COMPETENCIES).replace('_', ' ')}.",
    )


def _endorsement_record(index: int, past: PastEndorsement) -> FeedRecord:
    employee = employee_id(index)
    return feed_record(
        "endorsements",
        event_id=past.endorsement_id,
        source="portal",
        event_type="endorsement.given",
        subject=employee,
        time=past.given_at,
        data={
            "endorsement_id": past.endorsement_id,
            "sponsor": employee_id(past.sponsor),
            "employee": employee,
            "given_at": past.given_at.isoformat(),
            "statement": past.statement,
        },
    )


def _witnesses(company: Company, index: int, draws: Draws) -> list[str]:
    """Return refs of who saw it: often the sponsor, the manager or a former team mate; by id or by address."""
    seen_by = [tie.other for tie in company.sponsors(index)[:1] if draws.chance(35)]
    manager = company.manager(index)
    if manager is not None and draws.chance(30):
        seen_by.append(manager)
    if draws.chance(50):
        seen_by.append(_colleague(company, index, draws))
    return [
        employee_id(other) if draws.chance(60) else company.contact(other)[0]
        for other in dict.fromkeys(seen_by)
        if other != index
    ]


def _colleague(company: Company, index: int, draws: Draws) -> int:
    """Return somebody near: of the same team, or of those with the nearest numbers."""
    low, high = max(0, index - TEAM_SIZE), min(company.size - 1, index + TEAM_SIZE)
    other = draws.between(low, high)
    return other if other != index else low if index != low else high


def _deed(draws: Draws, competency: str) -> tuple[str, str]:
    title = draws.one_of(DEEDS[competency]).format(p=draws.one_of(PROJECTS))
    return title, draws.one_of(OUTCOMES).format(n=draws.between(5, 90))


def _email(latin: tuple[str, str], index: int) -> str:
    return f"{latin[0]}.{latin[1]}{index + 1}@example.{'org' if index % 7 == 3 else 'com'}"


def _months_before(day: date, months: int) -> date:
    """Return the first of the month `months` before `day`: a month's first has no edge at short months."""
    count = day.year * 12 + day.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def _division_id(number: int) -> UnitId:
    return UnitId(f"div-{number + 1}")


def _department_id(number: int) -> UnitId:
    return UnitId(f"dept-{number + 1}")


def _team_id(number: int) -> UnitId:
    return UnitId(f"team-{number + 1}")


_ROOT: Final = UnitId("company")
_FOUNDED: Final = date(2010, 1, 4)
_PYRAMID: Final = (18, 28, 28, 18, 8)
"""How often each level from 1 up occurs in a team, below its lead."""
_VALUES: Final[Mapping[str, tuple[Sequence[str | None], Sequence[int]]]] = {
    "gender": (("woman", "man", "non-binary", "declined", None), (43, 47, 2, 3, 5)),
    "age_band": (("under 30", "30 to 39", "40 to 49", "50 and over", None), (22, 35, 24, 14, 5)),
}
"""Of each protected attribute the values that people have, and how many of 100 have each."""
_NONE_ONE_TWO: Final = (0, 1, 2)

# What a row of draws is for; each purpose has its own, so that a change to one leaves the others as they were.
(
    _PERSON, _NAME, _PLACE, _TEAM_PLACE, _LEVEL, _LEAD, _JIRA, _SPONSORS, _PAST, _MENTORS, _MATES, _DONE, _ENDORSED,
    _ATTRIBUTES,
) = range(1, 15)  # fmt: skip
