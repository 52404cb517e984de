"""Builders of feed events of every shape that achievements, cycles and endorsements take, and of who is known."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from shared.contracts.base import Payload
from shared.contracts.cloudevents import FeedEvent, write_feed_event
from shared.contracts.feeds import ACHIEVEMENTS, CYCLES, ENDORSEMENTS, read_payload
from shared.contracts.ids import EmployeeId, Ref
from shared.streaming.intake import Resolve, UnknownPerson
from shared.streaming.records import Poison
from shared.streaming.service import reason_of

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SOURCE = "urn:example:tool"

MINA, PRIYA = EmployeeId("E2"), EmployeeId("E1")
PEOPLE = {
    Ref("hris:E2"): MINA,
    Ref("email:mina@example.com"): MINA,
    Ref("jira:mina"): MINA,
    Ref("hris:E1"): PRIYA,
    Ref("email:priya@example.com"): PRIYA,
}

Data = dict[str, Any]
SHAPES: Mapping[str, Mapping[str, type[Payload]]] = {
    "achievements": ACHIEVEMENTS,
    "cycles": CYCLES,
    "endorsements": ENDORSEMENTS,
}


def an_event(event_type: str, data: Any = None, **changes: Any) -> FeedEvent:
    fields: Data = {"id": "ev-1", "source": SOURCE, "type": event_type, "subject": "", "time": NOW, "data": data}
    return FeedEvent(**(fields | changes))


def as_sent(event_type: str, data: Mapping[str, Any], *, event_id: str = "", source: str = SOURCE) -> bytes:
    """Return the CloudEvent as its source writes it."""
    return write_feed_event(
        event_id=event_id or uuid.uuid4().hex,
        source=source,
        event_type=event_type,
        subject="somebody",
        time=NOW,
        data=data,
    )


def knows(people: Mapping[Ref, EmployeeId]) -> Resolve:
    def resolve(ref: Ref) -> EmployeeId:
        if ref not in people:
            raise UnknownPerson(ref)
        return people[ref]

    return resolve


everybody = knows(PEOPLE)


def payload(feed: str, event: FeedEvent) -> Payload:
    return read_payload(SHAPES[feed], event.type, event.data)


def reason(read: Callable[[], object]) -> str:
    """Return the reason that a dead letter would carry; fails where there would be none, or another error."""
    try:
        read()
    except (Poison, ValidationError) as exc:
        return reason_of(exc)
    raise AssertionError("it was taken")


def without(data: Data, *path: str) -> Data:
    """Return `data` without the field at `path`."""
    name, *rest = path
    if not rest:
        return {key: value for key, value in data.items() if key != name}
    return data | {name: without(data[name], *rest)}


# -- payloads, as their sources send them ---------------------------------------------------------


def an_achievement(**changes: Any) -> Data:
    return {
        "achievement_id": "A1",
        "employee": "E2",
        "title": "Checkout answers in half the time",
        "outcome": "From 900 ms to 430 ms at the busiest hour",
        "impact": 2,
        "occurred_on": "2026-01-14",
        "competencies": ["Technical_Depth"],
        "link": "https://example.com/checkout",
        "witnesses": ["Priya@Example.com", "github:ann"],
    } | changes


def a_retraction(**changes: Any) -> Data:
    return {"achievement_id": "A1", "employee": "E2", "reason": "Counted twice"} | changes


def a_recognition(**changes: Any) -> Data:
    return {
        "id": "rec-1",
        "created_at": "2026-02-03T10:00:00+01:00",
        "giver": {"email": "Priya@example.com"},
        "receiver": {"email": "mina@example.com"},
        "amount": 50,
        "reason": "Halved the checkout's response time. Orders rose by 3 %. Thank you!",
        "hashtags": ["#Technical_Depth", "#delivery"],
    } | changes


def a_highlight(**changes: Any) -> Data:
    return {"text": "Led the migration. Nobody noticed.", "competency": "Leadership", "rating": 5} | changes


def a_review(**changes: Any) -> Data:
    return {
        "reviewId": "review-1",
        "submittedAt": "2026-02-03T23:30:00-02:00",
        "reviewee": {"email": "mina@example.com"},
        "reviewer": {"email": "priya@example.com"},
        "highlights": [a_highlight()],
        "link": "https://reviews.example.com/1",
    } | changes


def an_issue(*, key: str = "PAY-7", link: str = "https://jira.example.com/PAY-7", **fields: Any) -> Data:
    return {
        "issue": {
            "key": key,
            "self": link,
            "fields": {
                "summary": "Payments survive the loss of a data centre",
                "resolutiondate": "2026-02-03T10:00:00.000+0000",
                "labels": ["technical_depth", "backlog"],
                "assignee": "mina",
                "priority": "High",
            }
            | fields,
        }
    }


def a_cycle(**changes: Any) -> Data:
    return {
        "cycle_id": "spring-2026",
        "kind": "promotion",
        "title": "Spring promotions 2026",
        "unit_ids": ["div-1"],
        "levels": [3, 4, 5],
        "min_months_in_level": 12,
        "competencies": ["Technical depth", "#delivery"],
        "evidence_from": "2025-03-01",
        "evidence_to": "2026-02-28",
        "opens_at": "2026-03-02T08:00:00Z",
        "closes_at": "2026-03-27T17:00:00Z",
    } | changes


def an_owners_word(**changes: Any) -> Data:
    return {"achievement_id": "A1", "employee": "E2"} | changes


def a_closing(**changes: Any) -> Data:
    return {"cycle_id": "spring-2026", "closed_at": "2026-03-20T12:00:00Z"} | changes


def a_cancellation(**changes: Any) -> Data:
    return {"cycle_id": "spring-2026", "reason": "Budget"} | changes


def a_tick(**changes: Any) -> Data:
    return {"now": "2026-03-02T08:00:00Z"} | changes


def an_endorsement(**changes: Any) -> Data:
    return {
        "endorsement_id": "N1",
        "sponsor": "priya@example.com",
        "employee": "E2",
        "cycle_id": "spring-2026",
        "given_at": "2026-03-01T12:00:00Z",
        "statement": "I would bet on her again.",
    } | changes


def a_withdrawal(**changes: Any) -> Data:
    return {"endorsement_id": "N1", "sponsor": "E1", "employee": "E2"} | changes


def a_refusal(**changes: Any) -> Data:
    return {"cycle_id": "spring-2026", "sponsor": "E1", "employee": "E2", "reason": "Too early"} | changes


def a_refusal_taken_back(**changes: Any) -> Data:
    return {"cycle_id": "spring-2026", "sponsor": "E1", "employee": "E2"} | changes


def a_snooze(**changes: Any) -> Data:
    return {"cycle_id": "spring-2026", "sponsor": "E1", "employee": "E2", "until": "2026-03-09T08:00:00Z"} | changes


EVERY_SHAPE: Mapping[str, Mapping[str, Callable[..., Data]]] = {
    "achievements": {
        "achievement.recorded": an_achievement,
        "achievement.corrected": an_achievement,
        "achievement.retracted": a_retraction,
        "achievement.hidden": an_owners_word,
        "achievement.shown": an_owners_word,
        "recognition.given": a_recognition,
        "review.completed": a_review,
        "issue.resolved": an_issue,
    },
    "cycles": {
        "cycle.opened": a_cycle,
        "cycle.amended": a_cycle,
        "cycle.closed": a_closing,
        "cycle.cancelled": a_cancellation,
        "clock.ticked": a_tick,
    },
    "endorsements": {
        "endorsement.given": an_endorsement,
        "endorsement.withdrawn": a_withdrawal,
        "prompt.declined": a_refusal,
        "prompt.decline_withdrawn": a_refusal_taken_back,
        "prompt.snoozed": a_snooze,
    },
}
