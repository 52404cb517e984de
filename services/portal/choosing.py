"""Decides what a sponsor's wishes about being asked become: choices for `sponsor-choices`.

A choice's id is made of what it says and of the choice that it replaces, so a form that is sent twice, or from two
tabs, makes one choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from zoneinfo import available_timezones

from services.portal.answering import BadAnswer
from shared.contracts.choices import Leave, PreferencesSet, Resumed, Stopped
from shared.contracts.ids import EmployeeId, EventId, stable_id

Fields = Mapping[str, Sequence[str]]
"""A form as it was sent: what each field holds, in order."""


def stop(sponsor_id: EmployeeId, before: Stopped | Resumed | None, now: datetime) -> Stopped | None:
    """Return the stop; None where it holds already."""
    if isinstance(before, Stopped):
        return None
    return Stopped(id=_id("stop", sponsor_id, before), sponsor_id=sponsor_id, at=now)


def resume(sponsor_id: EmployeeId, before: Stopped | Resumed | None, now: datetime) -> Resumed | None:
    """Return the end of a stop; None where there is none."""
    if not isinstance(before, Stopped):
        return None
    return Resumed(id=_id("resume", sponsor_id, before), sponsor_id=sponsor_id, at=now)


def prefer(
    sponsor_id: EmployeeId, fields: Fields, before: PreferencesSet | None, languages: Sequence[str], now: datetime
) -> PreferencesSet | None:
    """Return the preferences that a form asks for; None where they hold already.

    Args:
        fields: the form. What is empty follows the company's default.
        before: what was chosen before; it says what the form has no field for.
        languages: the tags that can be chosen.

    Raises:
        BadAnswer: a field can't be understood.
    """
    quiet_from, quiet_to = _time(_one(fields, "quiet_from")), _time(_one(fields, "quiet_to"))
    if (quiet_from is None) != (quiet_to is None) or (quiet_from is not None and quiet_from == quiet_to):
        raise BadAnswer("quiet")
    zone = _one(fields, "timezone")
    if zone and zone not in available_timezones():
        raise BadAnswer("zone")
    language = _one(fields, "language")
    chosen = PreferencesSet(
        id=EventId(""),
        sponsor_id=sponsor_id,
        at=now,
        timezone=zone or None,
        quiet_from=quiet_from,
        quiet_to=quiet_to,
        working_days=tuple(sorted({int(day) for day in fields.get("working_days", ()) if day in set("1234567")}))
        or None,
        prompts_per_week=_per_week(_one(fields, "prompts_per_week")),
        channel=before.channel if before else None,
        language=language if language in languages else None,
        leave=_leave(fields),
    )
    said = chosen.model_dump_json(exclude={"id", "at"})
    if before is not None and before.model_dump_json(exclude={"id", "at"}) == said:
        return None
    return chosen.model_copy(update={"id": EventId(stable_id(_id("preferences", sponsor_id, before), said))})


def _id(what: str, sponsor_id: EmployeeId, before: Stopped | Resumed | PreferencesSet | None) -> EventId:
    return EventId(stable_id(f"portal-{what}", sponsor_id, before.id if before else ""))


def _one(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _time(text: str) -> time | None:
    if not text:
        return None
    try:
        return time.fromisoformat(text).replace(tzinfo=None, second=0, microsecond=0)
    except ValueError:
        raise BadAnswer("quiet") from None


def _per_week(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 50):
        raise BadAnswer("per_week")
    return int(text)


def _leave(fields: Fields) -> tuple[Leave, ...]:
    taken = []
    for first, last in zip(fields.get("leave_first", ()), fields.get("leave_last", ()), strict=False):
        if not first and not last:
            continue
        try:
            taken.append(Leave(first=date.fromisoformat(first), last=date.fromisoformat(last)))
        except ValueError:
            raise BadAnswer("leave") from None
    return tuple(sorted(taken, key=lambda leave: (leave.first, leave.last)))
