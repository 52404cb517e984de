"""What every peer with the whole rules has to say before it is measured: a small log of all that rules know.

A tally is checked by its sums. Rules could be run in part, or for some, and the sums would still be right: so a peer
first reads this log, in which cycles open, close and are called off, people answer, speak, rise and leave, and what it
writes must be, as a set of records, what the rules say in a plain loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from kafka import KafkaProducer

from bench.dataset import SEED, Dataset, achievements, career, employee_id, ends_of, opening, sponsor_id, tick
from bench.peers.bare_rules import Partition
from services.correlator.handlers import output_of
from shared.company.draws import Draws
from shared.contracts.base import utc
from shared.contracts.career import (
    AchievementHidden,
    AchievementRetracted,
    CareerEvent,
    CycleCancelled,
    CycleClosed,
    EmployeeEvent,
    EmployeeLeft,
    EndorsementGiven,
    EndorsementWithdrawn,
    Profile,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    RelationshipEnded,
    read_career_event,
    write_contract,
)
from shared.contracts.ids import AchievementId, CycleId, EmployeeId, EndorsementId, EventId, RelationshipId, UnitId
from shared.streaming.topics import PARTITIONS, TopicSpec, create_topics

EMPLOYEES: Final = 60
_EVENTS: Final = 600
_AUTUMN, _WINTER, _CALLED_OFF = CycleId("autumn"), CycleId("winter"), CycleId("called-off")

Said = frozenset[tuple[str, bytes | None, bytes | None]]
"""Records: topic, key, value."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A topic, and what must come of it."""

    dataset: Dataset
    said: Said


def prepare(bootstrap_servers: str, topic: str) -> Rehearsal:
    """Write the log to `topic`, which is not there yet."""
    create_topics(bootstrap_servers, [TopicSpec(topic)])
    with closing(KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")) as producer:
        for event in log():
            key = None if event.employee_id is None else event.employee_id.encode()
            for partition in range(PARTITIONS) if key is None else (None,):
                producer.send(topic, key=key, value=write_contract(event), partition=partition)
        producer.flush()
    ends = ends_of(bootstrap_servers, topic)
    return Rehearsal(Dataset(topic, sum(ends), EMPLOYEES, (0,) * PARTITIONS, ends, EMPLOYEES, 0), right())


def right() -> Said:
    """Return what the rules say of the log. Nobody's prompts hang on another, so one partition says what four do."""
    partition = Partition()
    outputs = (output_of(said) for event in log() for decision in partition.take(event) for said in decision.outputs)
    return frozenset((output.topic, output.key, output.value) for output in outputs)


def log() -> Iterator[CareerEvent]:
    """Yield the events in their order; the same each time."""
    yield opening(_AUTUMN, utc(2026, 9, 1))
    yield tick(utc(2026, 9, 2))
    for number in range(EMPLOYEES):
        of_one = list(career(number))
        yield from of_one if number % 5 else of_one[:1]  # every fifth has no sponsor: a gap
    yield from _news(1)
    yield opening(_WINTER, utc(2026, 9, 5))
    yield opening(_CALLED_OFF, utc(2026, 9, 5))
    yield tick(utc(2026, 9, 6))
    yield from _news(2)
    yield CycleCancelled(id=EventId("cancelled"), at=utc(2026, 9, 7), source="bench#cancelled", cycle_id=_CALLED_OFF)
    yield tick(utc(2026, 9, 20))  # snoozes of some are over
    yield from _news(3)
    yield CycleClosed(
        id=EventId("closed"), at=utc(2026, 9, 21), source="bench#closed", cycle_id=_WINTER, closed_at=utc(2026, 9, 21)
    )
    yield tick(utc(2026, 9, 22))
    yield from _news(4)
    yield tick(utc(2026, 10, 2))  # the autumn's cycle is over by its own time


def _news(part: int) -> Iterator[CareerEvent]:
    draws = Draws(SEED, part)
    for number, (_, _, value) in enumerate(achievements(_EVENTS // 4, EMPLOYEES, seed=part)):
        yield read_career_event(value)
        if number % 3 == 0:
            yield _anything(draws, f"{part}-{number}")


def _anything(draws: Draws, name: str) -> EmployeeEvent:
    who = draws.below(EMPLOYEES)
    at = utc(2026, 9, 2) + timedelta(minutes=draws.below(60 * 24 * 18))
    said: dict[str, Any] = {"id": EventId(name), "at": at, "source": f"bench#{name}", "employee_id": employee_id(who)}
    answer = {**said, "sponsor_id": sponsor_id(who), "cycle_id": draws.one_of((_AUTUMN, _WINTER, _CALLED_OFF))}
    achievement = AchievementId(f"a{draws.below(_EVENTS // 4):015d}")
    match draws.below(10):
        case 0:
            return AchievementRetracted(**said, achievement_id=achievement)
        case 1:
            return AchievementHidden(**said, achievement_id=achievement)
        case 2:
            return PromptDeclined(**answer)
        case 3:
            return PromptDeclineWithdrawn(**answer)
        case 4 | 5:
            return PromptSnoozed(**answer, until=at + timedelta(days=1 + draws.below(20)))
        case 6 | 7:
            return EndorsementGiven(**answer, endorsement_id=EndorsementId(f"of-{who}"), given_at=at)
        case 8:
            return EndorsementWithdrawn(
                **said, endorsement_id=EndorsementId(f"of-{who}"), sponsor_id=EmployeeId(sponsor_id(who))
            )
    if draws.chance(50):
        tie = RelationshipId(f"r{who}")
        return RelationshipEnded(**said, relationship_id=tie, kind="sponsor", other_id=sponsor_id(who), ended_at=at)
    profile = Profile(
        name=f"Employee {who}", level=4, level_since=at.date(), unit_path=(UnitId("company"),), active=False
    )
    return EmployeeLeft(**said, effective_at=at, revision=2, profile=profile)
