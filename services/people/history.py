"""Decides which fields of a person hold from when on, whatever the order in which their patches came."""

from __future__ import annotations

from bisect import insort
from datetime import date, datetime
from typing import Final, NamedTuple

import msgspec

from services.people.state import Fields, Patch, PersonState
from shared.contracts.ids import EmployeeId, UnitId

KEPT: Final = 32
"""Patches of a person that are kept one by one. Older ones are folded into a base: they still hold, and a late one
still finds its place among them field by field, but profiles from before the base's horizon are not told anew."""


class Standing(NamedTuple):
    """Fields of an employee of whom enough is known to speak: a name, a level and a unit."""

    name: str
    level: int
    level_since: date
    unit_id: UnitId
    manager_id: EmployeeId | None
    location: str
    timezone: str
    locale: str | None
    active: bool


Timeline = tuple[tuple[datetime, Standing], ...]
"""What holds from each moment on, until the next; moments ascend. Empty while nowhere enough is known."""


def timeline(person: PersonState) -> Timeline:
    """Return how the person stands over time, from the horizon on."""
    known = Fields()
    for name, patch in person.base.items():
        known = msgspec.structs.replace(known, **{name: getattr(patch.fields, name)})
    moments: dict[datetime, Fields] = {}
    if person.horizon is not None:
        moments[person.horizon] = known
    for patch in person.patches:
        known = msgspec.structs.replace(known, **_said(patch, known.level))
        moments[patch.effective_at] = known
    return tuple((since, standing) for since, fields in moments.items() if (standing := _standing(fields)) is not None)


def in_force(moments: Timeline, at: datetime | None) -> Standing | None:
    """Return what holds at `at`; what will hold first, where nothing does yet; None where nothing ever will."""
    begun = [standing for since, standing in moments if at is not None and since <= at]
    if begun:
        return begun[-1]
    return moments[0][1] if moments else None


def next_after(moments: Timeline, at: datetime | None) -> datetime | None:
    """Return the first moment after `at`; None where nothing more is known to change."""
    return next((since for since, _ in moments if at is not None and since > at), None)


def left_at(person: PersonState, moments: Timeline, at: datetime | None) -> datetime | None:
    """Return when the person left, if they are gone at `at`; else when they will leave, if that is known."""
    gone = person.base.get("active")
    left = gone.effective_at if gone is not None and gone.fields.active is False else None
    for since, standing in moments:
        ahead = at is None or since > at
        if not standing.active:
            left = left or since
            if ahead:
                return left
        elif not ahead:
            left = None  # back again
        elif left is not None:
            return left  # will be back, and is not yet
    return left


def with_patch(person: PersonState, patch: Patch) -> PersonState:
    """Return the person with one more patch; the same one again changes nothing."""
    if any(patch.event_id == known.event_id for known in person.patches):
        return person
    patches = list(person.patches)
    insort(patches, patch, key=lambda p: p.key)
    base, horizon = dict(person.base), person.horizon
    while len(patches) > KEPT:
        oldest = patches.pop(0)
        base = _with_older(base, oldest)
        horizon = max(horizon or oldest.effective_at, oldest.effective_at)
    return msgspec.structs.replace(person, patches=tuple(patches), base=base, horizon=horizon)


def _standing(fields: Fields) -> Standing | None:
    if fields.name is None or fields.level is None or fields.level_since is None or fields.unit_id is None:
        return None
    return Standing(
        name=fields.name,
        level=fields.level,
        level_since=fields.level_since,
        unit_id=fields.unit_id,
        manager_id=fields.manager_id or None,
        location=fields.location or "",
        timezone=fields.timezone or "UTC",
        locale=fields.locale or None,
        active=fields.active is not False,
    )


def _with_older(base: dict[str, Patch], patch: Patch) -> dict[str, Patch]:
    level = base["level"].fields.level if "level" in base else None
    for name, value in _said(patch, level).items():
        if name not in base or base[name].key < patch.key:
            base[name] = msgspec.structs.replace(patch, fields=msgspec.structs.replace(Fields(), **{name: value}))
    return base


def _said(patch: Patch, level_before: int | None) -> dict[str, object]:
    """Return the fields that the patch sets. A new level without a date for it is had since the patch holds."""
    said = {name: value for name in Fields.__struct_fields__ if (value := getattr(patch.fields, name)) is not None}
    if "level" in said and "level_since" not in said and said["level"] != level_before:
        said["level_since"] = patch.effective_on or patch.effective_at.date()
    return said
