"""Decides who may take a name that several processes have been asked to give at once: who claimed it first in the log.

What a user has, their record says, and a name may be given once that is looked up. But between the look and the record
another process may look too. So a name is claimed first, in the topic that users are in: the claims of one name lie in
one partition, everybody reads them in one order, and only who has read back that theirs holds goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import orjson
from scim2_models import Resource

from services.scim.schema import Employee, User
from services.scim.view import View, employee_number, is_active
from shared.contracts.base import Contract, EventTime

KIND: Final = "Claim"
"""What keys of claims begin with, where those of resources begin with User or Group."""


class Claim(Contract):
    """A process takes a name, until it has written whose it is.

    Attributes:
        by: names the process, which makes its changes one after the other.
        at: when it was claimed.
        until: when it lets go of the name, written or not: whoever claimed it may have died.
    """

    by: str
    at: EventTime
    until: EventTime

    def as_json(self) -> bytes:
        """Return what is written."""
        return orjson.dumps(self.model_dump(mode="json"))


class Claims:
    """The claims that hold, as the topic has them."""

    def __init__(self) -> None:
        self._holding: dict[str, Claim] = {}

    def learn(self, key: str, value: bytes | None) -> None:
        """Have it know a record: a claim holds if no other process's did when it was made; None ends it.

        Raises:
            ValueError: it is no claim.
        """
        if value is None:
            self._holding.pop(key, None)
            return
        claim = Claim.model_validate_json(value)
        before = self._holding.get(key)
        if before is None or before.by == claim.by or before.until <= claim.at:
            self._holding[key] = claim

    def holds(self, keys: Iterable[str], by: str) -> bool:
        """Tell whether a process holds all of these."""
        return all(key in self._holding and self._holding[key].by == by for key in keys)


def names_taken(before: Resource[Any] | None, after: Resource[Any]) -> tuple[str, ...]:
    """Return the keys of the claims that a change needs: of each name that the user comes to have by it.

    Keys are digests, for they may outlive the user.
    """
    return tuple(sorted(_names(after) - (set() if before is None else _names(before))))


def _names(resource: Resource[Any]) -> set[str]:
    if not isinstance(resource, User):
        return set()
    number = employee_number(resource) if is_active(resource) else None
    named = (("userName", resource.user_name), ("employeeNumber", number))
    return {f"{KIND}/{sha256(f'{what}/{name.lower()}'.encode()).hexdigest()}" for what, name in named if name}


def taken_by_another(view: View, user: Employee) -> str | None:
    """Return which name another user has already, in words for who asked; None where none is."""
    if user.user_name and view.owner_of(user.user_name) not in (None, user.id):
        return "another user has this userName"
    number = employee_number(user)
    if number and is_active(user) and set(view.holders_of(number)) - {user.id}:
        return "another active user has this employeeNumber; leave it out of the others"
    return None
