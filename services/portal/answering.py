"""Decides what a sponsor can answer now, and which event an answer becomes.

A prompt is settled once the system said so, and also from the moment in which the sponsor endorsed or declined it here:
what the rest of the system makes of that comes a little later. A snooze settles nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from services.portal.projection import ANSWERS, SOURCE, ref_of
from services.portal.store import Answer, StoredPrompt
from shared.contracts.career import write_contract
from shared.contracts.choices import NotMine, SponsorChoice
from shared.contracts.cloudevents import write_feed_event
from shared.contracts.ids import EmployeeId, EventId, stable_id
from shared.streaming.records import Output
from shared.streaming.topics import SPONSOR_CHOICES

Standing = Literal["open", "endorsed", "declined", "fulfilled", "withdrawn", "not_mine"]
"""How a prompt stands for its sponsor: to be answered, answered here and on its way, or at its end."""
LONGEST_WORDS = 2000
"""Characters of a statement or a reason, as the contracts have it."""
LONGEST_SNOOZE = timedelta(days=366)


Mistake = Literal["empty", "too_long", "past", "too_late", "which_day", "zone", "quiet", "per_week", "leave"]
"""What a person has to mend; the pages say it in words."""


class NotNow(Exception):
    """The prompt can't be answered any more."""


class BadAnswer(ValueError):
    """Something about the answer has to be mended; `code` says what, for the page to say it in words."""

    def __init__(self, code: Mistake) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as an event, to be written.

    Attributes:
        kind: for metrics and audit: endorsed, declined, snoozed, not_mine.
    """

    kind: Literal["endorsed", "declined", "snoozed", "not_mine"]
    event_id: EventId
    output: Output


def standing(prompt: StoredPrompt) -> Standing:
    """Return how a prompt stands for its sponsor."""
    if prompt.status == "fulfilled":
        return "fulfilled"
    settled = settled_by(prompt)
    if prompt.status == "withdrawn":
        return "declined" if settled is not None and settled.kind == "declined" else "withdrawn"
    if settled is not None:
        return "endorsed" if settled.kind == "endorsed" else "declined"
    return "not_mine" if prompt.not_mine else "open"


def settled_by(prompt: StoredPrompt) -> Answer | None:
    """Return the answer that settled a prompt; None where there is none since it was opened last.

    Of two the first counts: both can come in only through two portals in the same moment.
    """
    settling = (_endorsement_id(prompt), _decline_id(prompt))
    return next((answer for answer in reversed(prompt.answers) if answer.event_id in settling), None)


def snoozed_until(prompt: StoredPrompt, now: datetime) -> datetime | None:
    """Return until when the sponsor does not want to hear of it; None where they do."""
    newest = next((answer for answer in prompt.answers if answer.kind == "snoozed"), None)
    until = prompt.snoozed_until
    if newest is not None:
        said = datetime.fromisoformat(newest.words)
        until = max(until, said) if until is not None else said
    return until if until is not None and until > now else None


def endorse(prompt: StoredPrompt, statement: str, now: datetime) -> Given:
    """Return the endorsement. A prompt has one each time it is opened, whichever of a sponsor's tabs it comes from.

    Raises:
        NotNow: it is settled.
        BadAnswer: nothing was written, or too much.
    """
    _check_open(prompt)
    words = _words(statement)
    if not words:
        raise BadAnswer("empty")
    endorsement_id = _endorsement_id(prompt)
    data = {
        "endorsement_id": endorsement_id,
        "cycle_id": prompt.cycle_id,
        "given_at": now.isoformat(),
        "statement": words,
    }
    return _feed_event("endorsed", "endorsement.given", endorsement_id, prompt, data, now)


def decline(prompt: StoredPrompt, reason: str, now: datetime) -> Given:
    """Return the no.

    Raises:
        NotNow: it is settled.
        BadAnswer: the reason is too long.
    """
    _check_open(prompt)
    data = {"cycle_id": prompt.cycle_id, "reason": _words(reason)}
    return _feed_event("declined", "prompt.declined", _decline_id(prompt), prompt, data, now)


def snooze(prompt: StoredPrompt, until: datetime, pressed: str, now: datetime) -> Given:
    """Return the wish to be asked later; `pressed` names the form and what was chosen, as one can snooze repeatedly.

    Raises:
        NotNow: it is settled.
        BadAnswer: the time is past, after the decision has closed, or too far away.
    """
    _check_open(prompt)
    if until <= now:
        raise BadAnswer("past")
    closes = prompt.body.opportunity.closes_at if prompt.body is not None else None
    if until > now + LONGEST_SNOOZE or (closes is not None and until >= closes):
        raise BadAnswer("too_late")
    data = {"cycle_id": prompt.cycle_id, "until": until.isoformat()}
    event_id = EventId(stable_id("portal-snooze", prompt.prompt_id, pressed))
    return _feed_event("snoozed", "prompt.snoozed", event_id, prompt, data, now)


def refuse(prompt: StoredPrompt, reason: str, now: datetime) -> Given:
    """Return the "not me".

    Raises:
        NotNow: they have answered the prompt, or said so before.
        BadAnswer: the reason is too long.
    """
    _check_open(prompt)
    choice = NotMine(
        id=EventId(stable_id("portal-not-mine", prompt.sponsor_id, prompt.employee_id)),
        sponsor_id=prompt.sponsor_id,
        at=now,
        employee_id=prompt.employee_id,
        reason=_words(reason),
    )
    return Given("not_mine", choice.id, choice_output(choice))


def choice_output(choice: SponsorChoice) -> Output:
    """Return the choice as a record of `sponsor-choices`."""
    return Output(SPONSOR_CHOICES, choice.sponsor_id.encode(), write_contract(choice))


def _endorsement_id(prompt: StoredPrompt) -> EventId:
    return EventId(stable_id("portal-endorsement", prompt.prompt_id, str(prompt.opened_by)))


def _decline_id(prompt: StoredPrompt) -> EventId:
    return EventId(stable_id("portal-decline", prompt.prompt_id, str(prompt.opened_by)))


def _feed_event(
    kind: Literal["endorsed", "declined", "snoozed"],
    event_type: str,
    event_id: EventId,
    prompt: StoredPrompt,
    data: dict[str, Any],
    now: datetime,
) -> Given:
    employee, sponsor = _refs(prompt.employee_id, prompt.sponsor_id)
    value = write_feed_event(
        event_id=event_id,
        source=SOURCE,
        event_type=event_type,
        subject=employee,
        time=now,
        data={"sponsor": sponsor, "employee": employee, **data},
    )
    return Given(kind, event_id, Output(ANSWERS, employee.encode(), value))


def _refs(*people: EmployeeId) -> tuple[str, ...]:
    return tuple(ref_of(person) for person in people)


def _check_open(prompt: StoredPrompt) -> None:
    if standing(prompt) != "open":
        raise NotNow(prompt.prompt_id)


def _words(text: str) -> str:
    # As forms send line breaks: CR LF.
    words = text.replace("\r\n", "\n").strip()
    if len(words) > LONGEST_WORDS:
        raise BadAnswer("too_long")
    return words
