"""The facts that measures are taken of, and what held at a moment; the rules are the correlator's.

See `services/correlator/standing.py`, which these have to agree with, and `services.insights.holding`, which says the
same in SQL for what is shown of one person.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Final

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """A profile, from `at` on."""

    at: datetime
    level: int
    level_since: date
    unit_path: tuple[str, ...]
    location: str
    active: bool


@dataclass(frozen=True)
class Person:
    """An employee's profiles, by when they begin; there is at least one."""

    employee_id: str
    standings: tuple[Standing, ...]

    @cached_property
    def _begins(self) -> list[datetime]:
        return [standing.at for standing in self.standings]

    def at(self, t: datetime) -> Standing | None:
        """Return the profile in force at `t`; None before the first."""
        n = bisect_right(self._begins, t)
        return self.standings[n - 1] if n else None

    def is_active(self, t: datetime) -> bool:
        """Tell whether they were with the company."""
        standing = self.at(t)
        return standing is not None and standing.active

    def active_spans(self) -> list[tuple[datetime, datetime]]:
        """Return from when to when they were with the company."""
        spans: list[tuple[datetime, datetime]] = []
        for n, standing in enumerate(self.standings):
            end = self.standings[n + 1].at if n + 1 < len(self.standings) else END_OF_TIME
            if standing.active:
                spans.append((standing.at, end))
        return spans


@dataclass(frozen=True, slots=True)
class Tie:
    """From when to when `other_id` was the employee's sponsor or mentor; once only, though it may have had a break."""

    employee_id: str
    other_id: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """A cycle whose definition is known.

    Attributes:
        ends_at: as planned, or when it was closed.
    """

    cycle_id: str
    kind: str
    title: str
    status: str
    unit_ids: frozenset[str]
    levels: frozenset[int]
    min_months_in_level: int
    opens_at: datetime
    ends_at: datetime

    def holds(self, standing: Standing | None) -> bool:
        """Tell whether somebody with this profile is one of those whom the cycle is for."""
        return (
            standing is not None
            and standing.active
            and (not self.unit_ids or not self.unit_ids.isdisjoint(standing.unit_path))
            and (not self.levels or standing.level in self.levels)
            and _months_between(standing.level_since, self.opens_at.date()) >= self.min_months_in_level
        )


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """A prompt; times are the log's, but for three.

    Attributes:
        strength: what its pieces of evidence weighed together when it was opened, in hundredths.
        delivered_at: first, by the prompter's wall clock.
        viewed_at: when its page was shown first, by the portal's wall clock.
        endorsed_at: when the endorsement that fulfilled it was given, as its source dates it.
    """

    cycle_id: str
    employee_id: str
    sponsor_id: str
    status: str
    opened_at: datetime | None
    pieces: int | None
    strength: int | None
    delivered_at: datetime | None
    changed_at: datetime
    viewed_at: datetime | None
    endorsed_at: datetime | None


@dataclass(frozen=True, slots=True)
class GapFacts:
    """A gap that stands."""

    cycle_id: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class EndorsementFacts:
    """An endorsement that stands; `cycle_id` is None of one for no cycle in particular."""

    employee_id: str
    cycle_id: str | None
    given_at: datetime


@dataclass(frozen=True)
class Facts:
    """All that measures are taken of, at one moment of the log's clock.

    Attributes:
        achievements: how many were done in the year before and not retracted; how many of them nobody saw.
    """

    now: datetime
    people: Mapping[str, Person] = field(default_factory=dict)
    sponsors: Sequence[Tie] = ()
    mentors: Sequence[Tie] = ()
    cycles: Sequence[CycleFacts] = ()
    prompts: Sequence[PromptFacts] = ()
    gaps: Sequence[GapFacts] = ()
    endorsements: Sequence[EndorsementFacts] = ()
    achievements: tuple[int, int] = (0, 0)

    @cached_property
    def employed(self) -> dict[str, Standing]:
        """Who is with the company now, with the profile in force."""
        held = ((person.employee_id, person.at(self.now)) for person in self.people.values())
        return {employee_id: standing for employee_id, standing in held if standing is not None and standing.active}

    @cached_property
    def sponsored_by(self) -> dict[str, set[str]]:
        """Of each employee who has one, the active sponsors now."""
        return self.sponsored_at(self.now)

    def sponsored_at(self, t: datetime) -> dict[str, set[str]]:
        """Return of each employee who then had one the sponsors who were with the company; nobody is their own."""
        found: dict[str, set[str]] = {}
        for tie in self.sponsors:
            if tie.begins <= t < tie.ends and tie.other_id != tie.employee_id:
                sponsor = self.people.get(tie.other_id)
                if sponsor is not None and sponsor.is_active(t):
                    found.setdefault(tie.employee_id, set()).add(tie.other_id)
        return found


def _months_between(since: date, until: date) -> int:
    """Return how many whole months lie between, so that n months have passed on the same day of the month n later.

    The month's last day counts where the later month has no such day.
    """
    months = (until.year - since.year) * 12 + until.month - since.month
    return months if until.day >= min(since.day, _last_day(until.year, until.month)) else months - 1


@lru_cache
def _last_day(year: int, month: int) -> int:
    return monthrange(year, month)[1]  # which everybody in a cycle's scope is asked about, of the one month
