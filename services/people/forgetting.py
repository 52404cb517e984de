"""Decides what is left of what is known of a person once another has been erased."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from services.people.state import PersonState, read_person, write_state
from shared.contracts.ids import EmployeeId
from shared.streaming.sealed_states import Others, Shape
from shared.streaming.sealing import name_of


def forget(person: PersonState, erased: EmployeeId) -> PersonState:
    """Return the state without a person who has been erased; the same one where it does not know them."""
    before = write_state(person)
    after = PEOPLE.without(before, {name_of(erased)}.__contains__)
    return person if after is before else read_person(after)


_FIELDS_OF_PATCH: Final = 3
_OTHER_OF_FACT: Final = 4
_INTO_OF_MERGE: Final = 2


def _show(person: Any, others: Others) -> None:
    for patch in (*person.get("patches", ()), *person.get("base", {}).values()):
        # Where it falls out it is known that there is none.
        others.in_field(patch[_FIELDS_OF_PATCH], "manager_id", lambda manager: (manager,), instead="")
    others.in_list(person, "ties", _others_of_tie)
    others.in_field(person, "merged", lambda merged: (merged[_INTO_OF_MERGE],))
    others.in_map(person, "inherited", lambda of, _: (of,))
    others.in_map(person, "watchers", lambda watcher, _: (watcher,))
    others.in_list(person, "contacts", lambda contact: (contact[0],))
    others.in_field(person, "manager_told", lambda manager: (manager,), instead="")


def _others_of_tie(tie: Any) -> Iterable[str]:
    return {fact[_OTHER_OF_FACT] for fact in tie[1:] if fact is not None}


PEOPLE: Final = Shape(re.compile("person/(?P<name>.+)"), _show)
"""Of the people service's state: a person's entry is theirs, and each tie in it the other's too. Units and the time are
nobody's."""
