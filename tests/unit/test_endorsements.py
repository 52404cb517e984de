"""What a sponsor says reaches the employee's log, under who both are; what makes no sense says why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.endorsements.handlers import take
from services.endorsements.normalise import SponsorsWord, normalise
from shared.contracts.career import (
    EndorsementGiven,
    EndorsementWithdrawn,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    read_career_event,
)
from shared.contracts.ids import Ref, feed_event_id
from shared.streaming.intake import UnknownPerson
from shared.streaming.topics import CAREER_EVENTS
from tests.intake_events import (
    EVERY_SHAPE,
    MINA,
    NOW,
    PRIYA,
    SOURCE,
    Data,
    a_refusal,
    a_refusal_taken_back,
    a_snooze,
    a_withdrawal,
    an_endorsement,
    an_event,
    everybody,
    knows,
    payload,
    reason,
    without,
)

SHAPES = EVERY_SHAPE["endorsements"]


def said(event_type: str, data: Any, **changes: Any) -> SponsorsWord:
    event = an_event(event_type, data, **changes)
    return normalise(event, payload("endorsements", event), everybody)


def why_not(event_type: str, data: Any) -> str:
    return reason(lambda: said(event_type, data))


def test_an_endorsement_is_given_for_one_cycle() -> None:
    word = said("endorsement.given", an_endorsement())
    assert isinstance(word, EndorsementGiven)
    assert (word.employee_id, word.sponsor_id, word.endorsement_id, word.cycle_id) == (MINA, PRIYA, "N1", "spring-2026")
    assert (word.given_at, word.statement) == (datetime(2026, 3, 1, 12, tzinfo=UTC), "I would bet on her again.")


@pytest.mark.parametrize("data", [without(an_endorsement(), "cycle_id"), an_endorsement(cycle_id="")])
def test_an_endorsement_without_a_cycle_is_a_general_one(data: Data) -> None:
    word = said("endorsement.given", data)
    assert isinstance(word, EndorsementGiven)
    assert word.cycle_id is None


def test_an_endorsement_without_a_time_was_given_when_it_was_said() -> None:
    word = said("endorsement.given", without(an_endorsement(), "given_at"))
    assert isinstance(word, EndorsementGiven)
    assert word.given_at == NOW


def test_an_endorsement_is_withdrawn() -> None:
    word = said("endorsement.withdrawn", a_withdrawal())
    assert isinstance(word, EndorsementWithdrawn)
    assert (word.employee_id, word.sponsor_id, word.endorsement_id) == (MINA, PRIYA, "N1")


def test_a_prompt_is_declined_with_its_reason() -> None:
    word = said("prompt.declined", a_refusal())
    assert isinstance(word, PromptDeclined)
    assert (word.employee_id, word.sponsor_id, word.cycle_id, word.reason) == (MINA, PRIYA, "spring-2026", "Too early")


def test_a_decline_is_taken_back() -> None:
    word = said("prompt.decline_withdrawn", a_refusal_taken_back())
    assert isinstance(word, PromptDeclineWithdrawn)
    assert (word.employee_id, word.sponsor_id, word.cycle_id) == (MINA, PRIYA, "spring-2026")


def test_a_prompt_is_snoozed_until_a_time() -> None:
    word = said("prompt.snoozed", a_snooze())
    assert isinstance(word, PromptSnoozed)
    assert (word.employee_id, word.sponsor_id, word.cycle_id) == (MINA, PRIYA, "spring-2026")
    assert word.until == datetime(2026, 3, 9, 8, tzinfo=UTC)


@pytest.mark.parametrize("event_type", SHAPES)
def test_every_word_tells_when_and_where_it_was_said_under_the_feed_events_id(event_type: str) -> None:
    word = said(event_type, SHAPES[event_type]())
    assert (word.at, word.source, word.id) == (NOW, f"{SOURCE}#ev-1", feed_event_id(SOURCE, "ev-1"))


@pytest.mark.parametrize("event_type", SHAPES)
def test_it_is_written_to_the_employees_log(event_type: str) -> None:
    event = an_event(event_type, SHAPES[event_type]())
    (output,) = take(event, payload("endorsements", event), everybody)
    assert (output.topic, output.key) == (CAREER_EVENTS, b"E2")
    assert read_career_event(output.value or b"") == said(event_type, SHAPES[event_type]())


@pytest.mark.parametrize("event_type", SHAPES)
@pytest.mark.parametrize("missing", ["employee", "sponsor"])
def test_an_event_waits_for_whichever_of_the_two_is_not_known(event_type: str, missing: str) -> None:
    event = an_event(event_type, SHAPES[event_type](employee="E2", sponsor="E1"))
    known = {"employee": {Ref("hris:E1"): PRIYA}, "sponsor": {Ref("hris:E2"): MINA}}[missing]
    with pytest.raises(UnknownPerson) as waits_for:
        normalise(event, payload("endorsements", event), knows(known))
    assert waits_for.value.ref == {"employee": "hris:E2", "sponsor": "hris:E1"}[missing]


@pytest.mark.parametrize("event_type", SHAPES)
@pytest.mark.parametrize("sponsor", ["E2", "Mina@example.com"])
def test_nobody_speaks_for_themselves_by_whatever_name(event_type: str, sponsor: str) -> None:
    words = why_not(event_type, SHAPES[event_type](employee="E2", sponsor=sponsor))
    assert words.startswith("sponsor: ")
    assert "nobody speaks for themselves" in words


@pytest.mark.parametrize("event_type", SHAPES)
@pytest.mark.parametrize("field", ["employee", "sponsor"])
def test_an_event_without_one_of_the_two_names_the_field(event_type: str, field: str) -> None:
    assert why_not(event_type, without(SHAPES[event_type](), field)) == f"{field}: Field required"


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        ("endorsement.given", without(an_endorsement(), "endorsement_id"), "endorsement_id"),
        ("endorsement.given", an_endorsement(given_at="last Friday"), "given_at"),
        ("endorsement.given", an_endorsement(sponsor="email:"), "sponsor"),
        ("endorsement.given", an_endorsement(statement="x" * 2001), "statement"),
        ("endorsement.withdrawn", a_withdrawal(endorsement_id=""), "endorsement_id"),
        ("prompt.declined", without(a_refusal(), "cycle_id"), "cycle_id"),
        ("prompt.snoozed", without(a_snooze(), "until"), "until"),
        ("prompt.snoozed", a_snooze(until="2026-03-09T08:00:00"), "until"),
    ],
)
def test_a_bad_field_is_named(event_type: str, data: Data, field: str) -> None:
    assert why_not(event_type, data).startswith(f"{field}: ")
