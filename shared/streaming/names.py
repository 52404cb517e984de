"""Knows whom a ref names at a time, by all that `identities` has said, whatever the order it was read in."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contracts.identities import EmployeeMergedInto, Identity, RefClaimed, holder
from shared.contracts.ids import EmployeeId, Ref


class _Times(msgspec.Struct, frozen=True, gc=False):
    since: datetime
    said_at: datetime
    until: datetime | None


class _Claim(msgspec.Struct, frozen=True):
    """A `RefClaimed`, in a fifth of its room: there is one for each name of each person."""

    employee_id: EmployeeId
    revision: int
    held: tuple[_Times, ...]


class Names:
    """All claims to refs, and who was merged into whom."""

    def __init__(self) -> None:
        self._claims: dict[Ref, tuple[_Claim, ...]] = {}
        self._merged: dict[EmployeeId, EmployeeMergedInto] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def learn(self, said: Identity) -> None:
        """Take in a record of `identities`; of what is said of the same, the greatest revision holds."""
        match said:
            case RefClaimed():
                known = self._claims.get(said.ref, ())
                if any(one.employee_id == said.employee_id and one.revision >= said.revision for one in known):
                    return
                others = tuple(one for one in known if one.employee_id != said.employee_id)
                held = tuple(_Times(held.since, held.said_at, held.until) for held in said.held)
                self._claims[said.ref] = (*others, _Claim(said.employee_id, said.revision, held))
            case EmployeeMergedInto():
                merged = self._merged.get(said.employee_id)
                if merged is None or merged.revision < said.revision:
                    self._merged[said.employee_id] = said

    def find(self, ref: Ref, at: datetime) -> EmployeeId | None:
        """Return the employee whom `ref`, said at `at`, names; None where nobody is known by it."""
        claims = self._claims.get(ref)
        if claims is None:
            return None
        if len(claims) == 1:  # nearly every name is one person's alone, whatever the time
            return self.now_known_as(claims[0].employee_id)
        found = holder(((claim.employee_id, claim.held) for claim in claims), at)
        return None if found is None else self.now_known_as(found)

    def now_known_as(self, employee_id: EmployeeId) -> EmployeeId:
        """Return into whom an employee was merged in the end; where merges go in a circle, the least of those in it."""
        way = [employee_id]
        while (merged := self._merged.get(way[-1])) is not None and merged.into_id is not None:
            if merged.into_id in way:
                return min(way[way.index(merged.into_id) :])
            way.append(merged.into_id)
        return way[-1]
