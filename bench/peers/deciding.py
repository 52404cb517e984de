"""What the peers with the whole rules have in common: the correlator's own pure rules, and nothing of its engine.

It imports nothing that reads or writes Kafka, so that it runs in the peers' environment too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from services.correlator.policy import Policy
from services.correlator.rules import Decision, Output, concerns_everybody, reconsider
from services.correlator.state import Calendar, EmployeeState, decode_calendar
from shared.contracts.ids import EventId
from shared.contracts.said import GapClosed, GapOpened, GapUpdated

POLICY: Final = Policy()

decoded = lru_cache(maxsize=64)(decode_calendar)
"""A calendar is asked for at each event, and changes once a minute."""


def visit(
    employees: Iterable[EmployeeState], before: Calendar, after: Calendar, because_of: EventId
) -> Iterator[Decision]:
    """Yield what follows from the calendar's change for each whom it concerns."""
    everybody, now = concerns_everybody(before, after), after.now
    for one in employees:
        if everybody or (one.due_at is not None and now is not None and one.due_at <= now):
            yield reconsider(one, after, because_of, POLICY)


def is_gap(said: Output) -> bool:
    """Tell whether it belongs on the topic of gaps; all else is a prompt."""
    return isinstance(said, GapOpened | GapUpdated | GapClosed)


def key_of(said: Output) -> bytes:
    """Return the key of the record that says so: prompts are the sponsor's, gaps the employee's."""
    return (said.employee_id if isinstance(said, GapOpened | GapUpdated | GapClosed) else said.sponsor_id).encode()
