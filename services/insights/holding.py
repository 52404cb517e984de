"""Decides what holds at a moment of the log's clock: profiles in force, ties, endorsements, the status of a cycle.

The rows hold statements, and most of them name the time from which they hold; nothing is written when that time comes.
So what holds is decided when it is asked, here and nowhere else. The moment is the greatest clock event of the log,
never the wall clock, and the rules are the correlator's (`services/correlator/standing.py`): what is shown beside a
prompt must be what led to it. Before the first clock event no time is known: then the newest statement
holds, and no cycle has opened.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, case, func, literal, or_, select, tuple_

from services.insights.tables import cycles, endorsements, profiles, relationships
from shared.database import UtcTime

_AT_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def in_force(now: datetime | None, name: str) -> FromClause:
    """Return the profiles in force, one an employee, as a table called `name`.

    The newest that has begun to hold; before the first one known, the first, as for the correlator: its prompts and
    gaps may be about somebody whose profile begins in a moment.
    """
    known = profiles.alias()
    theirs = known.c.employee_id == profiles.c.employee_id
    begun = select(func.max(known.c.effective_at)).where(theirs, known.c.effective_at <= _moment(now))
    first = select(func.min(known.c.effective_at)).where(theirs)
    chosen = func.coalesce(begun.scalar_subquery(), first.scalar_subquery())
    return select(profiles).where(profiles.c.effective_at == chosen).subquery(name)


def tie_holds(now: datetime | None) -> ColumnElement[bool]:
    """Tell of a row of `relationships` whether it holds: begun, and not ended unless begun again after the end."""
    tie = relationships.c
    return and_(
        tie.started_at <= _moment(now),
        or_(tie.ended_at.is_(None), tie.ended_at > _moment(now), tie.started_at > tie.ended_at),
    )


def endorsement_stands() -> ColumnElement[bool]:
    """Tell of a row of `endorsements` whether it stands: given, and not withdrawn by a newer statement."""
    row = endorsements.c
    return and_(
        row.given_at.is_not(None),
        or_(row.withdraw_said_at.is_(None), _newer(row.give_said_at, row.give_said_by, "withdraw", row)),
    )


def cycle_status(now: datetime | None) -> ColumnElement[str]:
    """Return of a row of `cycles` its status: announced, open, closed or cancelled.

    A closing or a cancellation holds until a newer statement of the whole cycle: who amends a closed cycle opens it
    again, as long as its `closes_at` lies ahead.
    """
    row = cycles.c
    stated = row.said_at.is_not(None)
    cancelled = and_(row.cancel_said_at.is_not(None), or_(~stated, ~_newer(row.said_at, row.said_by, "cancel", row)))
    closed_early = and_(
        row.close_said_at.is_not(None),
        or_(~stated, ~_newer(row.said_at, row.said_by, "close", row)),
        row.closed_at <= _moment(now),
    )
    if now is None:
        return case((cancelled, "cancelled"), else_="announced")
    return case(
        (cancelled, "cancelled"),
        (or_(closed_early, row.closes_at <= _moment(now)), "closed"),
        (row.opens_at <= _moment(now), "open"),
        else_="announced",
    )


def _newer(at: ColumnElement[Any], by: ColumnElement[Any], other: str, row: Any) -> ColumnElement[bool]:
    return tuple_(at, by) > tuple_(row[f"{other}_said_at"], row[f"{other}_said_by"])


def _moment(now: datetime | None) -> ColumnElement[datetime]:
    return literal(now or _AT_LAST, UtcTime)
