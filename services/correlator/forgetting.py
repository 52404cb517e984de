"""Decides what is left of what is known of an employee once another person has been erased.

It is what the log gives that is read without that person's records (`shared/streaming/sealing.py`, `cleaned`): so the
state and a replay stay the same. What stands because of it is decided anew at the next tick of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from services.correlator.state import EmployeeState, decode_employee, encode_employee
from shared.streaming.sealed_states import Others, Shape
from shared.streaming.sealing import name_of

_AT_THE_NEXT_TICK: Final = datetime(1970, 1, 1, tzinfo=UTC)


def forget(employee: EmployeeState, person_id: str, refs: Collection[str]) -> EmployeeState:
    """Return the state without a person; the same one where it does not know them.

    Args:
        employee: somebody else.
        person_id: who has been erased.
        refs: all names that sources have for them.
    """
    before = encode_employee(employee)
    after = STANDING.without(before, {name_of(person_id), *refs}.__contains__)
    return employee if after is before else decode_employee(after)


def _show(employee: Any, others: Others) -> None:
    for profile in employee.get("profiles", ()):
        others.in_field(profile, "manager_id", lambda manager: (manager,))
    others.in_map(employee, "ties", lambda _, tie: (tie["other_id"],))
    for person in employee.get("people", {}).values():
        others.in_list(person, "introductions", lambda introduction: (introduction[0],))
    others.in_map(employee, "people", lambda person_id, _: (person_id,))
    for done in employee.get("achievements", {}).values():
        others.in_list(done, "witnesses", lambda witness: (witness,))
    others.in_map(employee, "endorsements", lambda _, said: (said["sponsor_id"],))
    others.in_map(employee, "answers", lambda answer, _: (answer[1],))
    others.in_map(employee, "prompts", lambda _, prompt: (prompt["sponsor_id"],))


def _mend(employee: Any) -> None:
    employee["due_at"] = _AT_THE_NEXT_TICK


STANDING: Final = Shape(re.compile("employee/(?P<name>.+)"), _show, _mend)
"""Of the correlator's state: an employee's entry is theirs, and each fact of another in it the other's too."""
