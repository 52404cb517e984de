"""Decides what is left of what is known of an employee once another person has been erased.

It is what the log gives that is read without that person's records (`shared/streaming/sealing.py`, `cleaned`): so the
state and a replay stay the same. What stands because of it is decided anew at the next tick of the clock.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from services.correlator.state import EmployeeState

_AT_THE_NEXT_TICK: Final = datetime(1970, 1, 1, tzinfo=UTC)


def forget(employee: EmployeeState, person_id: str, refs: Collection[str]) -> EmployeeState:
    """Return the state without a person; the same one where it does not know them.

    Args:
        employee: somebody else.
        person_id: who has been erased.
        refs: all names that sources have for them.
    """
    prompts = {key: prompt for key, prompt in employee.prompts.items() if prompt.sponsor_id != person_id}
    left = replace(
        employee,
        profiles=tuple(
            replace(profile, manager_id=None) if profile.manager_id == person_id else profile
            for profile in employee.profiles
        ),
        ties={key: tie for key, tie in employee.ties.items() if tie.other_id != person_id},
        people={
            key: replace(person, introductions=tuple(i for i in person.introductions if i[0] != person_id))
            for key, person in employee.people.items()
            if key != person_id
        },
        achievements={
            key: replace(done, witnesses=tuple(who for who in done.witnesses if who not in refs))
            for key, done in employee.achievements.items()
        },
        endorsements={key: said for key, said in employee.endorsements.items() if said.sponsor_id != person_id},
        answers={key: answer for key, answer in employee.answers.items() if key.sponsor_id != person_id},
        prompts=prompts,
    )
    return employee if left == employee else replace(left, due_at=_AT_THE_NEXT_TICK)
