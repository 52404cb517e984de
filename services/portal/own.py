"""Decides what a person's wishes about their own evidence become: events of `feeds.achievements`.

An event's id is made of what it says and of what it follows (the form it comes from, or the statement or word that it
replaces), so a form that is sent twice, or from two tabs, says it once. Its time is later than that of what it
replaces, for of two statements the later holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

from services.portal.projection import ref_of
from services.portal.store import StoredAchievement
from shared.contracts.career import SELF
from shared.contracts.cloudevents import write_feed_event
from shared.contracts.competencies import normalised_competencies
from shared.contracts.ids import AchievementId, EmployeeId, EventId, feed_event_id, stable_id
from shared.plain_text import plain, web_address
from shared.streaming.records import Output
from shared.streaming.topics import feed_topic

FEED: Final = feed_topic("achievements")
LONGEST_TITLE: Final = 200
"""Characters, as the contract has it."""
LONGEST_OUTCOME: Final = 2000
"""Characters, as the contract has it."""
LONGEST_LINK: Final = 2000
"""Characters; the rules take none that is longer."""
MOST_COMPETENCIES: Final = 10
LONGEST_COMPETENCY: Final = 60
_EARLIEST: Final = date(1950, 1, 1)

Mistake = Literal["no_title", "long_title", "long_outcome", "no_day", "future_day", "competencies", "link"]
"""What a person has to mend; the pages say it in words."""
Done = Literal["achievement_added", "achievement_corrected", "achievement_hidden", "achievement_shown"]

Fields = Mapping[str, Sequence[str]]
"""A form as it was sent: what each field holds, in order."""


class BadStatement(ValueError):
    """Something that was written has to be mended; `code` says what, for the page to say it in words."""

    def __init__(self, code: Mistake) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says of themselves, as an event to be written.

    Attributes:
        what: for metrics and audit.
        event_id: the feed event's.
        statement_id: the id of what the event becomes in the log.
    """

    what: Done
    event_id: EventId
    statement_id: EventId
    output: Output


def add(person_id: EmployeeId, fields: Fields, showing: str, now: datetime) -> Said:
    """Return a new achievement.

    Args:
        person_id: whose it is.
        fields: the form.
        showing: names the showing of the form; it and what was written make the achievement what it is.
        now: the time.

    Raises:
        BadStatement: a field has to be mended.
    """
    said = _read(fields, now)
    key = stable_id("portal-own", person_id, showing, repr(sorted(said.items())))
    return _event("achievement_added", "achievement.recorded", person_id, AchievementId(key), key, now, said)


def correct(before: StoredAchievement, fields: Fields, now: datetime) -> Said | None:
    """Return an achievement in its owner's own words; None where it says so already.

    Who saw it is not theirs to say, and stays as it is.

    Raises:
        BadStatement: a field has to be mended.
    """
    said = _read(fields, now)
    if said == _as_read(before):
        return None
    key = stable_id("portal-own-correction", before.employee_id, before.said_by, repr(sorted(said.items())))
    at = _after(before.said_at, now)
    said["witnesses"] = list(before.witnesses)
    return _event(
        "achievement_corrected", "achievement.corrected", before.employee_id, before.achievement_id, key, at, said
    )


def hide(achievement: StoredAchievement, now: datetime) -> Said | None:
    """Return the owner's word that it is not to be used; None where it holds already."""
    return None if achievement.hidden else _word("achievement_hidden", "achievement.hidden", achievement, now)


def show(achievement: StoredAchievement, now: datetime) -> Said | None:
    """Return the owner's word that it may be used again; None where it may."""
    return _word("achievement_shown", "achievement.shown", achievement, now) if achievement.hidden else None


def _word(what: Done, event_type: str, achievement: StoredAchievement, now: datetime) -> Said:
    key = stable_id(f"portal-own-{what}", achievement.employee_id, achievement.achievement_id, achievement.word_by)
    at = now if achievement.word_at is None else _after(achievement.word_at, now)
    return _event(what, event_type, achievement.employee_id, achievement.achievement_id, key, at, {})


def _event(
    what: Done,
    event_type: str,
    person_id: EmployeeId,
    achievement_id: AchievementId,
    event_id: str,
    at: datetime,
    said: Mapping[str, Any],
) -> Said:
    employee = ref_of(person_id)
    value = write_feed_event(
        event_id=event_id,
        source=SELF,
        event_type=event_type,
        subject=employee,
        time=at,
        data={"achievement_id": achievement_id, "employee": employee, **said},
    )
    return Said(what, EventId(event_id), feed_event_id(SELF, event_id), Output(FEED, employee.encode(), value))


def _after(before: datetime, now: datetime) -> datetime:
    """Return now, or just after `before` where a source's clock is ahead of ours, or the log's stands still."""
    return max(now, before + timedelta(milliseconds=1))


def _read(fields: Fields, now: datetime) -> dict[str, Any]:
    title = " ".join(_one(fields, "title").split())
    if not plain(title):
        raise BadStatement("no_title")
    if len(title) > LONGEST_TITLE:
        raise BadStatement("long_title")
    outcome = _one(fields, "outcome").replace("\r\n", "\n")  # as forms send line breaks
    if len(outcome) > LONGEST_OUTCOME:
        raise BadStatement("long_outcome")
    impact = _one(fields, "impact")
    return {
        "title": title,
        "outcome": outcome,
        "impact": int(impact) if impact in {"1", "2", "3"} else 0,
        "occurred_on": _day(_one(fields, "occurred_on"), now).isoformat(),
        "competencies": list(_competencies(_one(fields, "competencies"))),
        "link": _link(_one(fields, "link")),
    }


def _as_read(achievement: StoredAchievement) -> dict[str, Any]:
    return {
        "title": achievement.title,
        "outcome": achievement.outcome,
        "impact": achievement.impact,
        "occurred_on": achievement.occurred_on.isoformat(),
        "competencies": list(achievement.competencies),
        "link": achievement.link,
    }


def _one(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _day(text: str, now: datetime) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadStatement("no_day") from None
    if day < _EARLIEST:
        raise BadStatement("no_day")
    # It is tomorrow already somewhere: whoever sits there must not be told that today is the future.
    if day > (now + timedelta(hours=14)).date():
        raise BadStatement("future_day")
    return day


def _competencies(text: str) -> tuple[str, ...]:
    named = normalised_competencies(text.split(","))
    if len(named) > MOST_COMPETENCIES or any(len(name) > LONGEST_COMPETENCY for name in named):
        raise BadStatement("competencies")
    return named


def _link(text: str) -> str:
    if text and (len(text) > LONGEST_LINK or not web_address(text)):
        raise BadStatement("link")
    return text
