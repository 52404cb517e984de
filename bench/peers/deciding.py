"""What the peers with the whole rules have in common: the correlator's own pure rules, and nothing of its engine.

It imports nothing that reads or writes Kafka, so that it runs in the peers' environment too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from services.correlator.policy import Policy
from services.correlator.rules import Decision, concerns_everybody, reconsider
from services.correlator.state import Calendar, EmployeeState
from shared.contracts.ids import EventId

POLICY: Final = Policy()


def visit(
    employees: Iterable[EmployeeState], before: Calendar, after: Calendar, because_of: EventId
) -> Iterator[Decision]:
    """Yield what follows from the calendar's change for each whom it concerns."""
    everybody, now = concerns_everybody(before, after), after.now
    for one in employees:
        if everybody or (one.due_at is not None and now is not None and one.due_at <= now):
            yield reconsider(one, after, because_of, POLICY)
