"""Decides what is left of what is known of a person once another has been erased."""

from __future__ import annotations

from msgspec.structs import replace

from services.people.state import Patch, PersonState, Tie
from services.people.who_is_introduced import without_contact
from shared.contracts.ids import EmployeeId


def forget(person: PersonState, erased: EmployeeId) -> PersonState:
    """Return the state without a person who has been erased; the same one where it does not know them."""
    return replace(
        person,
        patches=tuple(_without_manager(patch, erased) for patch in person.patches),
        base={name: _without_manager(patch, erased) for name, patch in person.base.items()},
        ties=tuple(tie for tie in person.ties if erased not in _others(tie)),
        merged=None if person.merged is not None and person.merged.into_id == erased else person.merged,
        inherited={of: theirs for of, theirs in person.inherited.items() if of != erased},
        watchers={who: watcher for who, watcher in person.watchers.items() if who != erased},
        contacts=without_contact(person.contacts, erased),
        manager_told=EmployeeId("") if person.manager_told == erased else person.manager_told,
    )


def _without_manager(patch: Patch, erased: EmployeeId) -> Patch:
    if patch.fields.manager_id != erased:
        return patch
    return replace(patch, fields=replace(patch.fields, manager_id=EmployeeId("")))  # it is known that there is none


def _others(tie: Tie) -> set[EmployeeId]:
    return {fact.other_id for fact in (tie.started, tie.ended) if fact is not None}
