"""Makes the log of a made-up company as insights reads it: career events, prompts, gaps and deliveries, as records.

The people, their ties, levels and units are those of `shared.company`; one cycle has opened for all of them, each of
their sponsors has been asked, and every seventh has endorsed. Constant memory, whatever the size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from shared.company.draws import Draws
from shared.company.names import COMPETENCIES
from shared.company.population import TODAY, Company, Tie, employee_id
from shared.contracts.base import Contract
from shared.contracts.career import (
    Achievement,
    AchievementRecorded,
    ClockTicked,
    Cycle,
    CycleClosed,
    CycleOpened,
    EmployeeJoined,
    EndorsementGiven,
    Profile,
    RelationshipEnded,
    RelationshipStarted,
    write_contract,
)
from shared.contracts.ids import (
    AchievementId,
    CycleId,
    EmployeeId,
    EndorsementId,
    EventId,
    gap_id,
    prompt_id,
    stable_id,
)
from shared.contracts.outputs import (
    DeliveryRecorded,
    Evidence,
    GapOpened,
    Opportunity,
    PromptBody,
    PromptFulfilled,
    PromptOpened,
    Protege,
    Reason,
    SuggestedSponsor,
)
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, DELIVERIES, GAPS, PARTITIONS, PROMPTS, partition_of

CLOCK: Final = datetime(2026, 9, 1, 9, tzinfo=UTC)
OPEN: Final = CycleId("promotion-autumn")
CLOSED: Final = CycleId("promotion-spring")

_DONE: Final = 7002
"""What the draws are for: another purpose than any in `shared.company.population`."""
_SOURCE: Final = "urn:example:hris#1"


def log_of(company: Company, achievements: int) -> Iterator[Record]:
    """Yield the records in the order in which they were written; of each employee so many achievements."""
    ends: dict[tuple[str, int], int] = {}
    for topic, key, event in _events(company, achievements):
        value = write_contract(event)
        for partition in range(PARTITIONS) if key is None else (partition_of(key.encode()),):
            offset = ends.get((topic, partition), 0)
            ends[topic, partition] = offset + 1
            yield Record(topic, partition, offset, key.encode() if key else None, value, (), CLOCK)


def _events(company: Company, achievements: int) -> Iterator[tuple[str, str | None, Contract]]:
    for cycle in (_cycle(CLOSED, date(2026, 3, 1)), _cycle(OPEN, date(2026, 8, 20))):
        yield CAREER_EVENTS, None, CycleOpened(id=_id("opened", cycle.cycle_id), at=CLOCK, source=_SOURCE, cycle=cycle)
    closed_at = datetime(2026, 4, 1, tzinfo=UTC)
    yield (
        CAREER_EVENTS,
        None,
        CycleClosed(id=_id("closed", CLOSED), at=CLOCK, source=_SOURCE, cycle_id=CLOSED, closed_at=closed_at),
    )
    name = lru_cache(maxsize=100_000)(lambda index: company.person(index).name)
    for index in range(company.size):
        who = employee_id(index)
        yield from ((CAREER_EVENTS, who, event) for event in _career(company, index, achievements))
        sponsors = {tie.other for tie in company.sponsors(index)}
        for sponsor in sorted(sponsors):
            yield from _asked(company, index, sponsor, name(index), name(sponsor))
        if not sponsors:
            yield GAPS, who, _gap(company, index)
    yield CAREER_EVENTS, None, ClockTicked(id=_id("tick"), at=CLOCK, source=_SOURCE, now=CLOCK)


def _cycle(cycle_id: CycleId, opens_on: date) -> Cycle:
    return Cycle(
        cycle_id=cycle_id,
        kind="promotion",
        title=f"Promotions, {opens_on:%B %Y}",
        competencies=COMPETENCIES[:3],
        evidence_from=date(2025, 9, 1),
        evidence_to=TODAY,
        opens_at=_at(opens_on),
        closes_at=_at(opens_on + timedelta(days=40)),
    )


def _career(company: Company, index: int, achievements: int) -> Iterator[Contract]:
    person = company.person(index)
    who = person.employee_id
    level = person.level_before or person.level
    profile = Profile(
        name=person.name,
        level=level,
        level_since=person.level_since if level == person.level else person.hired_on,
        unit_path=company.unit_path(person.unit_id),
        manager_id=None if person.manager_index is None else employee_id(person.manager_index),
        location=person.location,
    )
    hired = _at(person.hired_on)
    base = {"source": _SOURCE, "employee_id": who}
    yield EmployeeJoined(id=_id("joined", who), at=hired, effective_at=hired, revision=1, profile=profile, **base)
    if level != person.level:
        risen = profile.model_copy(update={"level": person.level, "level_since": person.level_since})
        at = _at(person.level_since)
        yield EmployeeJoined(id=_id("risen", who), at=at, effective_at=at, revision=2, profile=risen, **base)
    for tie in company.ties(index):
        yield from _tie(tie, who)
    for number in range(achievements):
        draws = Draws(company.seed, _DONE, index, number)
        day = TODAY - timedelta(days=draws.below(364))
        yield AchievementRecorded(
            id=_id("done", who, str(number)),
            at=_at(day),
            achievement=Achievement(
                achievement_id=AchievementId(f"hris-{index + 1}-{number + 1}"),
                title="Led the move of billing to events",
                outcome="Two teams now do in a day what took them a week, and say so themselves.",
                impact=draws.weighted((15, 45, 28, 12)),
                occurred_on=day,
                competencies=tuple(dict.fromkeys((draws.one_of(COMPETENCIES), draws.one_of(COMPETENCIES)))),
                link=f"https://hris.example.com/achievements/{index}-{number}",
                witnesses=(f"email:s{draws.below(1000)}@example.com",) if draws.chance(35) else (),
            ),
            **base,
        )


def _tie(tie: Tie, who: EmployeeId) -> Iterator[Contract]:
    base = {
        "source": _SOURCE,
        "employee_id": who,
        "relationship_id": tie.relationship_id,
        "kind": tie.kind,
        "other_id": employee_id(tie.other),
    }
    at = _at(tie.started_on)
    yield RelationshipStarted(id=_id("tied", tie.relationship_id), at=at, started_at=at, **base)
    if tie.ended_on is not None:
        at = _at(tie.ended_on)
        yield RelationshipEnded(id=_id("untied", tie.relationship_id), at=at, ended_at=at, **base)


def _asked(
    company: Company, index: int, sponsor: int, name: str, sponsor_name: str
) -> Iterator[tuple[str, str, Contract]]:
    who, by = employee_id(index), employee_id(sponsor)
    prompt = prompt_id(OPEN, who, by)
    opened_at = _at(date(2026, 8, 20)) + timedelta(minutes=5)
    base = {"prompt_id": prompt, "sponsor_id": by, "cycle_id": OPEN, "employee_id": who}
    opened = PromptOpened(
        id=_id(prompt, "1"),
        version=1,
        at=opened_at,
        because_of=_id("opened", OPEN),
        sponsor_timezone="Europe/Berlin",
        body=PromptBody(
            opportunity=Opportunity(
                cycle_id=OPEN,
                kind="promotion",
                title="Promotions, August 2026",
                competencies=COMPETENCIES[:3],
                closes_at=_at(date(2026, 9, 29)),
            ),
            protege=Protege(employee_id=who, name=name, level=company.level(index), unit_id=company.unit_of(index)),
            sponsor_name=sponsor_name,
            why=f"You are {name}'s sponsor, and they are in scope of Promotions, August 2026.",
            evidence=tuple(_evidence(index, number) for number in range(4)),
        ),
        **base,
    )
    yield PROMPTS, by, opened
    yield (
        DELIVERIES,
        by,
        DeliveryRecorded(
            id=opened.id,
            prompt_id=prompt,
            version=1,
            sponsor_id=by,
            channel="webhook",
            outcome="delivered",
            status_code=200,
            attempts=1,
            at=opened_at + timedelta(hours=2),
        ),
    )
    if index % 7 == 0:
        at = opened_at + timedelta(days=1 + index % 5)
        endorsement = EndorsementId(f"endorsed-{prompt}")
        yield (
            CAREER_EVENTS,
            who,
            EndorsementGiven(
                id=_id("endorsed", prompt),
                at=at,
                source=_SOURCE,
                employee_id=who,
                endorsement_id=endorsement,
                sponsor_id=by,
                cycle_id=OPEN,
                given_at=at,
            ),
        )
        yield (
            PROMPTS,
            by,
            PromptFulfilled(
                id=_id(prompt, "2"),
                version=2,
                at=at,
                because_of=_id("endorsed", prompt),
                endorsement_id=endorsement,
                **base,
            ),
        )


def _evidence(index: int, number: int) -> Evidence:
    return Evidence(
        kind="achievement",
        evidence_id=f"hris-{index + 1}-{number + 1}",
        title="Led the move of billing to events",
        outcome="Two teams now do in a day what took them a week, and say so themselves.",
        occurred_on=TODAY,
        link=f"https://hris.example.com/achievements/{index}-{number}",
        reasons=(
            Reason(code="impact", text="It mattered to several teams."),
            Reason(code="recent", text="It is recent."),
        ),
    )


def _gap(company: Company, index: int) -> GapOpened:
    who = employee_id(index)
    gap = gap_id(OPEN, who)
    others = sorted({tie.other for tie in company.ties(index)})[:3]
    return GapOpened(
        id=_id(gap, "1"),
        gap_id=gap,
        version=1,
        cycle_id=OPEN,
        employee_id=who,
        at=_at(date(2026, 8, 20)),
        because_of=_id("opened", OPEN),
        suggestions=tuple(
            SuggestedSponsor(
                person_id=employee_id(other),
                name="Somebody",
                level=company.level(other),
                why="You have worked together.",
            )
            for other in others
        ),
    )


def _id(*parts: str) -> EventId:
    return EventId(stable_id("bench", *parts))


def _at(day: date) -> datetime:
    return datetime.combine(day, time(9), UTC)
