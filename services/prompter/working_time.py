"""Decides when a sponsor may be disturbed: working days, holidays, leave, quiet hours, in their own time zone.

Pure: an instant and a policy in, an instant out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

from services.prompter.policy import SponsorPolicy

_FAR: Final = timedelta(days=400)
"""How far ahead a working hour is looked for; nobody's leave is planned further."""

NotNow = Literal["quiet_hours", "day_off", "holiday", "leave"]


@dataclass(frozen=True, slots=True)
class Closed:
    """The sponsor is not to be disturbed.

    Attributes:
        reason: why.
        words: the same, for whoever reads the record.
    """

    reason: NotNow
    words: str


def closed_at(at: datetime, policy: SponsorPolicy) -> Closed | None:
    """Return why the sponsor is not to be disturbed at this instant, or None if they may be."""
    local = at.astimezone(policy.zone)
    if (off := policy.day_off(local.date())) is not None:
        return Closed(*off)
    if policy.quiet is not None and _is_quiet(local.time(), *policy.quiet):
        begin, end = policy.quiet
        return Closed("quiet_hours", f"quiet hours, from {begin:%H:%M} to {end:%H:%M} in {policy.zone.key}")
    return None


def next_open(at: datetime, policy: SponsorPolicy) -> datetime:
    """Return the first instant from `at` on at which the sponsor may be disturbed.

    Where there is none within 400 days, the end of those: then it is looked again.
    """
    return next((moment for moment in _candidates(at, policy) if closed_at(moment, policy) is None), at + _FAR)


def _candidates(at: datetime, policy: SponsorPolicy) -> Iterator[datetime]:
    """Yield, in order, the instants from `at` on at which it can become open: an open time begins at one of them."""
    yield at
    day = at.astimezone(policy.zone).date()
    for _ in range(_FAR.days):
        moments = {_instant(day, time.min, policy)}
        if policy.quiet is not None:
            moments.add(_instant(day, policy.quiet[1], policy))
        yield from (moment for moment in sorted(moments) if moment > at)
        day += timedelta(days=1)


def _instant(day: date, local: time, policy: SponsorPolicy) -> datetime:
    return datetime.combine(day, local.replace(tzinfo=None), policy.zone).astimezone(UTC)


def _is_quiet(local: time, begin: time, end: time) -> bool:
    if begin < end:
        return begin <= local < end
    return local >= begin or local < end
