"""Puts a career event into a line of words, for whoever reads an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from shared.contracts.career import (
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    CareerEvent,
    ClockTicked,
    Cycle,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EmployeeChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EndorsementGiven,
    EndorsementWithdrawn,
    Profile,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    RelationshipEnded,
    RelationshipStarted,
    StatementDisowned,
    TiedPersonChanged,
)

_KINDS = {"sponsor": "their sponsor", "mentor": "their mentor", "worked_with": "somebody they have worked with"}


def told_in_words(event: CareerEvent) -> str:
    """Return what the event says, in one line."""
    match event:
        case EmployeeJoined() | EmployeeMoved() | EmployeePromoted() | EmployeeChanged() | EmployeeLeft():
            return f"from {moment(event.effective_at)} on: {_profile(event.profile)} (revision {event.revision})"
        case RelationshipStarted():
            return f"{event.other_id} is {_KINDS[event.kind]} from {moment(event.started_at)} on"
        case RelationshipEnded():
            return f"{event.other_id} is {_KINDS[event.kind]} until {moment(event.ended_at)}"
        case TiedPersonChanged():
            left = f", leaves {moment(event.person.left_at)}" if event.person.left_at is not None else ""
            return f"{event.person.name} ({event.person.person_id}), level {event.person.level}{left}"
        case AchievementRecorded() | AchievementCorrected():
            done = event.achievement
            shows = listed([c.replace("_", " ") for c in done.competencies]) or "nothing named"
            return f"“{done.title}”, {day(done.occurred_on)}, impact {done.impact}, shows {shows}"
        case AchievementRetracted():
            return f"{event.achievement_id} is taken back"
        case AchievementHidden():
            return f"{event.achievement_id} is hidden by the person whose it is"
        case AchievementShown():
            return f"{event.achievement_id} may be used again, says the person whose it is"
        case EndorsementGiven():
            what = f"for {event.cycle_id}" if event.cycle_id is not None else "for no cycle in particular"
            return f"{event.sponsor_id} speaks for them, {what}, {moment(event.given_at)}"
        case EndorsementWithdrawn():
            return f"{event.sponsor_id} takes {event.endorsement_id} back"
        case PromptDeclined():
            return f"{event.sponsor_id} will not speak for them in {event.cycle_id}"
        case PromptDeclineWithdrawn():
            return f"{event.sponsor_id} takes back that they will not speak for them in {event.cycle_id}"
        case PromptSnoozed():
            return f"{event.sponsor_id} puts {event.cycle_id} off until {moment(event.until)}"
        case StatementDisowned():
            return f"{event.statement_id} was about somebody else"
        case CycleOpened() | CycleAmended():
            return _cycle(event.cycle)
        case CycleClosed():
            return f"{event.cycle_id} was closed {moment(event.closed_at)}"
        case CycleCancelled():
            return f"{event.cycle_id} is cancelled"
        case ClockTicked():
            return f"it is {moment(event.now)}"


def moment(t: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return f"{t:%Y-%m-%d %H:%M} UTC"


def day(d: date) -> str:
    """Return a day."""
    return d.isoformat()


def listed(words: Sequence[str]) -> str:
    """Return the words as a list in a sentence; nothing for no words."""
    return words[0] if len(words) == 1 else " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _profile(profile: Profile) -> str:
    where = "/".join(profile.unit_path) or "no unit"
    manager = f", manager {profile.manager_id}" if profile.manager_id is not None else ""
    state = "" if profile.active else ", has left"
    return f"{profile.name}, level {profile.level} since {day(profile.level_since)}, in {where}{manager}{state}"


def _cycle(cycle: Cycle) -> str:
    units = listed(cycle.unit_ids) or "the company"
    levels = f"levels {listed([str(level) for level in cycle.levels])}" if cycle.levels else "every level"
    months = f", {cycle.min_months_in_level} months in level" if cycle.min_months_in_level else ""
    return f"“{cycle.title}”: {units}, {levels}{months}; {moment(cycle.opens_at)} to {moment(cycle.closes_at)}"
