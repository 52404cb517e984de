"""Writes the achievements that all peers read to Kafka, once a size: the same numbers give the same bytes.

The records are those of `career-events`: an `AchievementRecorded` each. For the correlator's rules a preamble comes
first, so that each achievement has something to decide about: every employee's profile, one sponsor, what is known of
that sponsor, and in every partition an open cycle that covers the company.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.structs import TopicPartition

from bench.topics import delete_topics
from shared.company.draws import Draws
from shared.contracts.base import utc
from shared.contracts.career import (
    CareerEvent,
    ClockTicked,
    Cycle,
    CycleOpened,
    EmployeeJoined,
    Profile,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
    write_contract,
)
from shared.contracts.ids import CycleId, EmployeeId, EventId, Ref, RelationshipId, UnitId
from shared.streaming.topics import PARTITIONS, TopicSpec, create_topics

SEED: Final = 1
REMEMBERED: Final = 5
"""The titles that a tally keeps."""

_COMPETENCIES: Final = ("ownership", "delivery", "mentoring", "communication", "strategy", "craft")
_DID: Final = ("Led", "Shipped", "Rescued", "Designed", "Measured", "Documented", "Automated", "Negotiated")
_WHAT: Final = (
    "the move of billing to events",
    "the new onboarding of suppliers",
    "the audit of access rights",
    "the forecast of spare parts",
    "the search that customers use",
    "the hand-over of night shifts",
)
_NEWS: Final = b"""\
{"id":"%(event)s","at":"2026-%(month)02d-%(day)02dT09:%(minute)02d:00Z","source":"urn:example:kudos#%(number)d",\
"employee_id":"%(employee)s","type":"achievement.recorded","achievement":{"achievement_id":"%(event)s",\
"title":"%(title)s","outcome":"Two teams now do in a day what took them a week, and say so themselves.",\
"impact":%(impact)d,"occurred_on":"2026-%(month)02d-%(day)02d","competencies":["%(one)s","%(other)s"],\
"link":"https://kudos.example.com/%(number)d","witnesses":["email:s%(sponsor)d@example.com"]}}"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A topic of achievements, and what a right answer makes of them.

    Attributes:
        starts: for each partition the offset of the first achievement; before it lies the preamble.
        ends: for each partition the offset after the last.
        concerned: employees who have at least one achievement.
        impact: the sum over all.
    """

    topic: str
    events: int
    employees: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    concerned: int
    impact: int


def prepare(
    bootstrap_servers: str,
    events: int,
    employees: int,
    *,
    preamble: bool,
    kept_in: Path,
    progress: Callable[[int], None] = lambda _written: None,
) -> Dataset:
    """Return the dataset of that size; write it when the broker does not hold it yet.

    Args:
        bootstrap_servers: the broker that keeps it.
        events: how many achievements.
        employees: over so many people.
        preamble: whether profiles, sponsors and a cycle come first.
        kept_in: folder of notes on what the broker holds; lives and goes with the broker's data.
        progress: is told how many achievements have been written.

    Raises:
        kafka.errors.KafkaError: the broker refuses.
    """
    topic = f"{'careers' if preamble else 'achievements'}-{events}-{employees}"
    note = kept_in / f"{topic}.json"
    if note.exists():
        noted = json.loads(note.read_text())
        return Dataset(**{**noted, "starts": tuple(noted["starts"]), "ends": tuple(noted["ends"])})
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        delete_topics(admin, lambda name: name == topic)  # half written: what noted it never came
    create_topics(bootstrap_servers, [TopicSpec(topic, config={"retention.ms": "-1"})])
    concerned: set[str] = set()
    impact = 0
    with closing(
        KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=50, batch_size=256 * 1024)
    ) as producer:
        if preamble:
            for event in careers(employees):
                key = None if event.employee_id is None else event.employee_id.encode()
                for partition in range(PARTITIONS) if key is None else (None,):
                    producer.send(topic, key=key, value=write_contract(event), partition=partition)
            producer.flush()
        starts = ends_of(bootstrap_servers, topic)
        for number, (employee, reach, value) in enumerate(achievements(events, employees), start=1):
            producer.send(topic, key=employee.encode(), value=value)
            concerned.add(employee)
            impact += reach
            if number % 10_000 == 0:
                progress(number)
        producer.flush()
    ends = ends_of(bootstrap_servers, topic)
    if sum(ends) - sum(starts) != events:
        raise RuntimeError(f"{topic} holds {sum(ends) - sum(starts)} achievements and not {events}: make it anew")
    dataset = Dataset(topic, events, employees, starts, ends, len(concerned), impact)
    kept_in.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(asdict(dataset)))
    return dataset


def achievements(events: int, employees: int, seed: int = SEED) -> Iterator[tuple[EmployeeId, int, bytes]]:
    """Yield each achievement: the employee, the impact, the record's value. Employees come in no order."""
    draws = Draws(seed, events, employees)
    for number in range(events):
        who = draws.below(employees)
        yield employee_id(who), *_achievement(draws, number, who)


def as_many_each(employees: int, pieces: int, seed: int = SEED) -> Iterator[tuple[EmployeeId, bytes]]:
    """Yield so many achievements of each: the employee, the record's value."""
    draws = Draws(seed, pieces, employees)
    for number in range(pieces * employees):
        who = number % employees
        yield employee_id(who), _achievement(draws, number, who)[1]


def _achievement(draws: Draws, number: int, who: int) -> tuple[int, bytes]:
    impact = draws.below(4)
    day = date(2026, 1, 1) + timedelta(days=draws.below(240))
    one = draws.below(len(_COMPETENCIES))
    title = f"{draws.one_of(_DID)} {draws.one_of(_WHAT)} ({number})"
    return impact, _NEWS % {
        b"event": b"a%015d" % number,
        b"month": day.month,
        b"day": day.day,
        b"minute": number % 60,
        b"number": number,
        b"employee": employee_id(who).encode(),
        b"title": title.encode(),
        b"impact": impact,
        b"one": _COMPETENCIES[one].encode(),
        b"other": _COMPETENCIES[one - 1].encode(),
        b"sponsor": who % 1000,
    }


def careers(employees: int) -> Iterator[CareerEvent]:
    """Yield what the rules need to know before the achievements: cycle, time, profiles, sponsors."""
    yield opening("promotions-2026", utc(2026, 9, 1))
    yield tick(utc(2026, 9, 2))
    for number in range(employees):
        yield from career(number)


def opening(cycle_id: str, opens_at: datetime) -> CycleOpened:
    """Return the event that opens a cycle for the whole company; the evidence is of the year before September 2026."""
    cycle = Cycle(
        cycle_id=CycleId(cycle_id),
        kind="promotion",
        title="Promotions, autumn 2026",
        competencies=("ownership", "strategy"),
        evidence_from=date(2025, 9, 1),
        evidence_to=date(2026, 8, 31),
        opens_at=opens_at,
        closes_at=opens_at + timedelta(days=30),
    )
    return CycleOpened(id=EventId(cycle_id), at=opens_at, source=f"bench#{cycle_id}", cycle=cycle)


def tick(now: datetime) -> ClockTicked:
    """Return the clock's event of that moment."""
    return ClockTicked(id=EventId(f"tick-{now:%Y%m%dT%H%M}"), at=now, source=f"bench#tick-{now:%Y%m%dT%H%M}", now=now)


def employee_id(number: int) -> EmployeeId:
    """Return the id of the employee of that number."""
    return EmployeeId(f"E{number:07d}")


def sponsor_id(number: int) -> EmployeeId:
    """Return the id of that employee's sponsor, of whom there are a thousand."""
    return EmployeeId(f"S{number % 1000:04d}")


def career(number: int) -> Iterator[CareerEvent]:
    """Yield an employee's profile, a sponsor, and what is known of that sponsor."""
    employee, sponsor = employee_id(number), sponsor_id(number)
    begun = utc(2024, 1, 8)
    unit_path = (UnitId("company"), UnitId(f"division-{number % 8}"), UnitId(f"team-{number % 500}"))
    yield EmployeeJoined(
        id=EventId(f"joined-{number}"),
        at=begun,
        source=f"bench#joined-{number}",
        employee_id=employee,
        effective_at=begun,
        revision=1,
        profile=Profile(name=f"Employee {number}", level=4, level_since=begun.date(), unit_path=unit_path),
    )
    yield TiedPersonChanged(
        id=EventId(f"tied-{number}"),
        at=begun,
        source=f"bench#tied-{number}",
        employee_id=employee,
        revision=1,
        person=TiedPerson(
            person_id=sponsor,
            name=f"Sponsor {number % 1000}",
            level=8,
            unit_path=unit_path[:2],
            refs=(Ref(f"email:s{number % 1000}@example.com"),),
        ),
    )
    yield RelationshipStarted(
        id=EventId(f"sponsored-{number}"),
        at=begun,
        source=f"bench#sponsored-{number}",
        employee_id=employee,
        relationship_id=RelationshipId(f"r{number}"),
        kind="sponsor",
        other_id=sponsor,
        started_at=begun,
    )


def ends_of(bootstrap_servers: str, topic: str) -> tuple[int, ...]:
    """Return the offset after the last record, of each partition."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        wanted: Mapping[TopicPartition, OffsetSpec] = {
            TopicPartition(topic, number): OffsetSpec.LATEST for number in range(PARTITIONS)
        }
        found = admin.list_partition_offsets(dict(wanted))
    return tuple(found[tp].offset for tp in wanted)
