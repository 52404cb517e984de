"""Decides whom of the people that they know a person could introduce: the most senior who stay with the company."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from services.people.changes import ContactDescribed
from services.people.state import Contact
from shared.contracts.career import Introduction
from shared.contracts.ids import EmployeeId

SHOWN: Final = 3
"""Introductions in a person's snapshot."""
KEPT: Final = 8
"""Contacts of a person that are remembered. More than are shown, for some rise and some leave; when more than five of
the most senior have left, less senior ones are missing until they are described again."""


def introductions(contacts: tuple[Contact, ...], known_to: Set[EmployeeId]) -> tuple[Introduction, ...]:
    """Return the contacts that are shown.

    Args:
        contacts: whoever has been described.
        known_to: those whom the person does know: a description may be from somebody who was their manager once.
    """
    staying = [contact for contact in contacts if not contact.leaving and contact.employee_id in known_to]
    return tuple(
        Introduction(person_id=contact.employee_id, name=contact.name, level=contact.level)
        for contact in sorted(staying, key=_by_seniority)[:SHOWN]
    )


def with_contact(contacts: tuple[Contact, ...], described: ContactDescribed) -> tuple[Contact, ...]:
    """Return the contacts with one described; an older description than the one we have changes nothing."""
    others = []
    for contact in contacts:
        if contact.employee_id != described.contact_id:
            others.append(contact)
        elif contact.revision >= described.revision:
            return contacts
    new = Contact(described.contact_id, described.name, described.level, described.leaving, described.revision)
    return tuple(sorted((*others, new), key=_by_seniority)[:KEPT])


def without_contact(contacts: tuple[Contact, ...], employee_id: EmployeeId) -> tuple[Contact, ...]:
    """Return the contacts without one."""
    return tuple(contact for contact in contacts if contact.employee_id != employee_id)


def _by_seniority(contact: Contact) -> tuple[bool, int, EmployeeId]:
    return (contact.leaving, -contact.level, contact.employee_id)
