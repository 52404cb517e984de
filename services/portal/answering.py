"""Decides what a sponsor can answer now, and which event an answer becomes.

A prompt is settled once the system said so, and also from the moment in which the sponsor endorsed or declined it here:
what the rest of the system makes of that comes a little later. A snooze settles nothing. What settled it can be taken
back, and then it can be answered anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from services.portal.projection import ANSWERS, SOURCE, ref_of, taking_back
from services.portal.store import Answer, StoredPrompt
from shared.contracts.career import write_contract
from shared.contracts.choices import Mine, NotMine, SponsorChoice
from shared.contracts.cloudevents import write_feed_event
from shared.contracts.ids import EmployeeId, EventId, stable_id
from shared.streaming.records import Output
from shared.streaming.topics import SPONSOR_CHOICES

Standing = Literal["open", "endorsed", "declined", "fulfilled", "withdrawn", "not_mine", "taken_back"]
"""How a prompt stands for its sponsor: to be answered, answered here and on its way, at its end, or on its way back."""
Undoable = Literal["endorsed", "declined", "not_mine"]
"""What can be taken back."""
LONGEST_WORDS = 2000
"""Characters of a statement or a reason, as the contracts have it."""
LONGEST_SNOOZE = timedelta(days=366)
_JUST_AFTER: Final = timedelta(microseconds=1)


Mistake = Literal["empty", "too_long", "past", "too_late", "which_day", "zone", "quiet", "per_week", "leave"]
"""What a person has to mend; the pages say it in words."""


class NotNow(Exception):
    """The prompt can't be answered any more, or there is nothing to take back."""


class BadAnswer(ValueError):
    """Something about the answer has to be mended; `code` says what, for the page to say it in words."""

    def __init__(self, code: Mistake) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as an event, to be written.

    Attributes:
        kind: for metrics and audit: endorsed, declined, snoozed, not_mine, taken_back.
    """

    kind: Literal["endorsed", "declined", "snoozed", "not_mine", "taken_back"]
    event_id: EventId
    output: Output


def standing(prompt: StoredPrompt) -> Standing:
    """Return how a prompt stands for its sponsor."""
    times_taken_back, settled = _settling(prompt)
    if prompt.status == "fulfilled":
        return "taken_back" if settled is None and _is_taken_back(prompt, prompt.endorsement_id) else "fulfilled"
    if prompt.status == "withdrawn":
        if settled is not None and settled.kind == "declined":
            return "declined"
        return "taken_back" if prompt.withdrawn_because == "declined" and times_taken_back else "withdrawn"
    if settled is not None:
        return "endorsed" if settled.kind == "endorsed" else "declined"
    return "not_mine" if isinstance(prompt.said_of_tie, NotMine) else "open"


def settled_by(prompt: StoredPrompt) -> Answer | None:
    """Return the answer that settles a prompt; None where there is none since it was opened last, or taken back last.

    Of two the first counts: both can come in only through two portals in the same moment.
    """
    return _settling(prompt)[1]


def _settling(prompt: StoredPrompt) -> tuple[int, Answer | None]:
    """Return how often what settled the prompt was taken back since it was opened last, and what settles it now."""
    oldest_first = prompt.answers[::-1]
    times = 0
    while True:
        ids = (_endorsement_id(prompt, times), _decline_id(prompt, times))
        given = [answer for answer in oldest_first if answer.event_id in ids]
        standing_one = next((answer for answer in given if answer.taken_back_at is None), None)
        if standing_one is not None or not given:
            return times, standing_one
        times += 1


def _is_taken_back(prompt: StoredPrompt, event_id: str | None) -> bool:
    return any(answer.event_id == event_id and answer.taken_back_at is not None for answer in prompt.answers)


def undoable(prompt: StoredPrompt, now: datetime) -> tuple[Undoable, EventId] | None:
    """Return what the sponsor can take back, and the id of the event by which they said it; None where nothing.

    An endorsement can be taken back at any time, for it is evidence later on; a "no" and a "not me" while the question
    would come back.
    """
    settled = settled_by(prompt)
    if settled is not None and settled.kind == "endorsed":
        return "endorsed", settled.event_id
    is_over = prompt.body is None or prompt.body.opportunity.closes_at <= now
    if is_over or (prompt.status == "withdrawn" and prompt.withdrawn_because != "declined"):
        return None
    if settled is not None:
        return "declined", settled.event_id
    if prompt.status == "open" and isinstance(prompt.said_of_tie, NotMine):
        return "not_mine", prompt.said_of_tie.id
    return None


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
    endorsement_id = _endorsement_id(prompt, _settling(prompt)[0])
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
    return _feed_event("declined", "prompt.declined", _decline_id(prompt, _settling(prompt)[0]), prompt, data, now)


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
    before = prompt.said_of_tie
    choice = NotMine(
        id=EventId(
            stable_id("portal-not-mine", prompt.sponsor_id, prompt.employee_id, *([before.id] if before else []))
        ),
        sponsor_id=prompt.sponsor_id,
        at=max(now, before.at + _JUST_AFTER) if before else now,
        employee_id=prompt.employee_id,
        reason=_words(reason),
    )
    return Given("not_mine", choice.id, choice_output(choice))


def take_back(prompt: StoredPrompt, answer: str, now: datetime) -> Given:
    """Return what takes an answer of this prompt's back.

    Args:
        prompt: the prompt.
        answer: the id of the event by which it was given: a tab that still shows an older one takes back nothing else.
        now: the time.

    Raises:
        NotNow: that answer does not stand, or it is too late.
    """
    found = undoable(prompt, now)
    if found is None or found[1] != answer:
        raise NotNow(prompt.prompt_id)
    what, given_by = found
    if what == "not_mine":
        return mine_after_all(prompt.said_of_tie, answer, now)
    event_id = taking_back(given_by)
    if what == "endorsed":
        return _feed_event("taken_back", "endorsement.withdrawn", event_id, prompt, {"endorsement_id": given_by}, now)
    return _feed_event("taken_back", "prompt.decline_withdrawn", event_id, prompt, {"cycle_id": prompt.cycle_id}, now)


def mine_after_all(said: NotMine | Mine | None, answer: str, now: datetime) -> Given:
    """Return what takes a "not me" back.

    Args:
        said: what the sponsor said last of being that person's sponsor.
        answer: the id of the event that is to be taken back.
        now: the time.

    Raises:
        NotNow: it does not stand.
    """
    if not isinstance(said, NotMine) or said.id != answer:
        raise NotNow(answer)
    choice = Mine(
        id=taking_back(said.id),
        sponsor_id=said.sponsor_id,
        at=max(now, said.at + _JUST_AFTER),
        employee_id=said.employee_id,
    )
    return Given("taken_back", choice.id, choice_output(choice))


def choice_output(choice: SponsorChoice) -> Output:
    """Return the choice as a record of `sponsor-choices`."""
    return Output(SPONSOR_CHOICES, choice.sponsor_id.encode(), write_contract(choice))


def _endorsement_id(prompt: StoredPrompt, taken_back: int) -> EventId:
    return _settling_id("portal-endorsement", prompt, taken_back)


def _decline_id(prompt: StoredPrompt, taken_back: int) -> EventId:
    return _settling_id("portal-decline", prompt, taken_back)


def _settling_id(kind: str, prompt: StoredPrompt, taken_back: int) -> EventId:
    """Return an id that is the same for each tab, and another once the prompt can be answered anew."""
    again = (str(taken_back),) if taken_back else ()
    return EventId(stable_id(kind, prompt.prompt_id, str(prompt.opened_by), *again))


def _feed_event(
    kind: Literal["endorsed", "declined", "snoozed", "taken_back"],
    event_type: str,
    event_id: EventId,
    prompt: StoredPrompt,
    data: dict[str, Any],
    now: datetime,
) -> Given:
    employee, sponsor = _refs(prompt.employee_id, prompt.sponsor_id)
    said = (at for answer in prompt.answers for at in (answer.at, answer.taken_back_at) if at is not None)
    value = write_feed_event(
        event_id=event_id,
        source=SOURCE,
        event_type=event_type,
        subject=employee,
        # Of two statements the later holds, and a clock that the log sets may stand still between two clicks.
        time=max((now, *(at + _JUST_AFTER for at in said))),
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
