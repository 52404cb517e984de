"""Decides which rows of the portal's read model a record of the log becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Table

from services.portal.tables import (
    achievements,
    answers,
    choices,
    claims,
    clock,
    disowned,
    merges,
    own_statements,
    owners_words,
    people,
    prompts,
    taken_back,
    tellings,
    tie_ends,
    tie_starts,
)
from shared.contracts.career import (
    SELF,
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    ClockTicked,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    RelationshipEnded,
    RelationshipStarted,
    StatementDisowned,
    read_career_event,
)
from shared.contracts.choices import Mine, NotMine, PreferencesSet, Resumed, SponsorChoice, Stopped, read_choice
from shared.contracts.cloudevents import read_feed_event
from shared.contracts.feeds import (
    ENDORSEMENTS,
    EndorsementSent,
    EndorsementTakenBack,
    PromptPutOff,
    PromptRefusalTakenBack,
    PromptRefused,
    read_payload,
)
from shared.contracts.identities import EmployeeMergedInto, RefClaimed, read_identity
from shared.contracts.ids import AchievementId, EmployeeId, EventId, Ref, prompt_id, stable_id
from shared.contracts.outputs import PromptFulfilled, PromptOpened, PromptUpdated, PromptWithdrawn, read_prompt_event
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PROMPTS, SPONSOR_CHOICES, feed_topic

ANSWERS: Final = feed_topic("endorsements")
SOURCE: Final = "urn:sponsorship-tracker:portal"
"""The source, in CloudEvents' sense, of what is answered here."""
ASKING, PREFERENCES = "asking", "preferences"
"""What a choice can be about, beside single protégés: whether one is asked at all, and how."""


@dataclass(frozen=True, slots=True)
class Row:
    """A statement for a table; columns that it does not name stay as they are."""

    table: Table
    values: Mapping[str, Any]


def project(record: Record) -> list[Row]:
    """Return what `record` states; nothing for what the portal has no need of.

    Raises:
        ValueError: the record can't be read as what its topic holds.
    """
    return list(_BY_TOPIC[record.topic](record))


def being_sponsor_of(employee_id: EmployeeId) -> str:
    """Return what a "not me" about an employee, and its taking back, are about."""
    return f"being the sponsor of {employee_id}"


def taking_back(answer: EventId) -> EventId:
    """Return the id of the event that takes an answer back: one for each answer, whichever tab it comes from."""
    return EventId(stable_id("portal-taking-back", answer))


def ref_of(employee_id: EmployeeId) -> Ref:
    """Return how the portal names a person in feeds: by the id of the primary HRIS, which is the employee's own."""
    return Ref(f"hris:{employee_id}")


def _prompt(record: Record) -> Iterator[Row]:
    event = read_prompt_event(_value(record))
    row: dict[str, Any] = {
        "prompt_id": event.prompt_id,
        "version": event.version,
        "sponsor_id": event.sponsor_id,
        "employee_id": event.employee_id,
        "cycle_id": event.cycle_id,
        "changed_at": event.at,
        "withdrawn_because": None,
        "endorsement_id": None,
    }
    match event:
        case PromptOpened() | PromptUpdated():
            row |= {
                "status": "open",
                "body": event.body.model_dump(mode="json"),
                "timezone": event.sponsor_timezone,
                "snoozed_until": event.snoozed_until,
            }
        case PromptWithdrawn():
            row |= {"status": "withdrawn", "withdrawn_because": event.reason}
        case PromptFulfilled():
            row |= {"status": "fulfilled", "endorsement_id": event.endorsement_id}
    if isinstance(event, PromptOpened):
        row["opened_by"] = event.version
    yield Row(prompts, row)
    if isinstance(event, PromptOpened | PromptUpdated):
        told = ("prompt_id", "version", "employee_id", "cycle_id", "body")
        yield Row(tellings, {"at": event.at} | {name: row[name] for name in told})


def _answer(record: Record) -> Iterator[Row]:
    event = read_feed_event(record.key, record.value, record.headers, record.time)
    if event.source != SOURCE:
        return
    answer = read_payload(ENDORSEMENTS, event.type, event.data)
    match answer:
        case EndorsementSent(cycle_id=str() as cycle_id):
            kind, words = "endorsed", answer.statement
        case PromptRefused(cycle_id=cycle_id):
            kind, words = "declined", answer.reason
        case PromptPutOff(cycle_id=cycle_id):
            kind, words = "snoozed", answer.until.isoformat()
        case EndorsementTakenBack() | PromptRefusalTakenBack():
            yield Row(taken_back, {"event_id": event.id, "at": event.time})
            return
        case _:
            return
    employee, sponsor = (EmployeeId(ref.removeprefix("hris:")) for ref in (answer.employee, answer.sponsor))
    about = prompt_id(cycle_id, employee, sponsor)
    yield Row(answers, {"event_id": event.id, "prompt_id": about, "kind": kind, "at": event.time, "words": words})


def _choice(record: Record) -> Iterator[Row]:
    choice = read_choice(_value(record))
    yield Row(
        choices,
        {
            "event_id": choice.id,
            "sponsor_id": choice.sponsor_id,
            "about": _about(choice),
            "at": choice.at,
            "choice": choice.model_dump(mode="json"),
        },
    )


def _about(choice: SponsorChoice) -> str:
    match choice:
        case Stopped() | Resumed():
            return ASKING
        case PreferencesSet():
            return PREFERENCES
        case NotMine() | Mine():
            return being_sponsor_of(choice.employee_id)


class _Typed(msgspec.Struct):
    type: str


_type_of = msgspec.json.Decoder(_Typed).decode
_OF_USE: Final = {
    "employee.joined",
    "employee.moved",
    "employee.promoted",
    "employee.changed",
    "employee.left",
    "relationship.started",
    "relationship.ended",
    "achievement.recorded",
    "achievement.corrected",
    "achievement.retracted",
    "achievement.hidden",
    "achievement.shown",
    "statement.disowned",
    "clock.ticked",
}


def _career(record: Record) -> Iterator[Row]:
    value = _value(record)
    # What is of no use costs nothing: it is told by its type, before the whole is looked at.
    if _type_of(value).type not in _OF_USE:
        return
    event = read_career_event(value)
    match event:
        case EmployeeJoined() | EmployeeMoved() | EmployeePromoted() | EmployeeChanged() | EmployeeLeft():
            profile = event.profile
            yield Row(
                people,
                {
                    "employee_id": event.employee_id,
                    "effective_at": event.effective_at,
                    "revision": event.revision,
                    "name": profile.name,
                    "level": profile.level,
                    "unit_id": profile.unit_path[-1] if profile.unit_path else None,
                    "active": profile.active,
                },
            )
        case RelationshipStarted(kind="sponsor"):
            said = {"relationship_id": event.relationship_id, "said_at": event.at, "said_by": event.id}
            who = {"employee_id": event.employee_id, "sponsor_id": event.other_id, "started_at": event.started_at}
            yield Row(tie_starts, said | who)
        case RelationshipEnded(kind="sponsor"):
            said = {"relationship_id": event.relationship_id, "said_at": event.at, "said_by": event.id}
            yield Row(tie_ends, said | {"ended_at": event.ended_at})
        case AchievementRecorded() | AchievementCorrected():
            done = event.achievement
            yield Row(
                achievements,
                {
                    **_said_of(done.achievement_id, event),
                    "source": event.source.rpartition("#")[0],
                    "retracted": False,
                    "title": done.title,
                    "outcome": done.outcome,
                    "impact": done.impact,
                    "occurred_on": done.occurred_on,
                    "competencies": list(done.competencies),
                    "link": done.link,
                    "witnesses": list(done.witnesses),
                },
            )
        case AchievementRetracted():
            source = event.source.rpartition("#")[0]
            yield Row(achievements, _said_of(event.achievement_id, event) | {"source": source, "retracted": True})
        case AchievementHidden() | AchievementShown():
            hidden = isinstance(event, AchievementHidden)
            yield Row(owners_words, _said_of(event.achievement_id, event) | {"hidden": hidden})
        case StatementDisowned():
            yield Row(disowned, {"event_id": event.statement_id})
        case ClockTicked():
            yield Row(clock, {"one": 1, "now": event.now})
    if event.source.startswith(f"{SELF}#"):
        yield Row(own_statements, {"event_id": event.id})


def _said_of(achievement_id: AchievementId, event: EmployeeEvent) -> dict[str, Any]:
    about = {"employee_id": event.employee_id, "achievement_id": achievement_id}
    return about | {"said_at": event.at, "said_by": event.id}


def _identity(record: Record) -> Iterator[Row]:
    if record.value is None:
        return
    said = read_identity(record.key, record.value)
    who = {"employee_id": said.employee_id, "revision": said.revision}
    match said:
        case RefClaimed():
            yield Row(claims, who | {"ref": said.ref, "claim": said.model_dump(mode="json")})
        case EmployeeMergedInto():
            yield Row(merges, who | {"into_id": said.into_id})


def _value(record: Record) -> bytes:
    if record.value is None:
        raise ValueError(f"a record of {record.topic} without a value: an event was expected")
    return record.value


_BY_TOPIC: Mapping[str, Callable[[Record], Iterator[Row]]] = {
    PROMPTS: _prompt,
    ANSWERS: _answer,
    SPONSOR_CHOICES: _choice,
    CAREER_EVENTS: _career,
    IDENTITIES: _identity,
}
TOPICS: Final = tuple(_BY_TOPIC)
"""What the portal reads."""
