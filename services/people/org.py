"""Decides which path leads from the top of the company to a unit, and whose path a change of a unit alters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from services.people.changes import UnitStated
from services.people.state import UnitState
from shared.contracts.ids import UnitId


class OrgTree:
    """The units that are known. It has no history: a reorganisation alters the paths of the past too.

    A tree of units may be nonsense on the way (children first, a unit above itself); every path ends nevertheless.
    """

    def __init__(self, units: Iterable[tuple[UnitId, UnitState]] = ()) -> None:
        self._units: dict[UnitId, UnitState] = {}
        self._below: defaultdict[UnitId, set[UnitId]] = defaultdict(set)
        for unit_id, unit in units:
            self._put(unit_id, unit)

    def path(self, unit_id: UnitId) -> tuple[UnitId, ...]:
        """Return the units from the top down to `unit_id`.

        A unit that nobody has defined yet has nothing above it; in a cycle the path ends where it would come around.
        """
        upwards = [unit_id]
        seen = {unit_id}
        while (unit := self._units.get(upwards[-1])) and unit.parent_id is not None and unit.parent_id not in seen:
            upwards.append(unit.parent_id)
            seen.add(unit.parent_id)
        return tuple(reversed(upwards))

    def unit(self, unit_id: UnitId) -> UnitState:
        """Return what is known of a unit.

        Raises:
            KeyError: nobody has defined it yet.
        """
        return self._units[unit_id]

    def __len__(self) -> int:
        return len(self._units)

    def learn(self, change: UnitStated) -> frozenset[UnitId] | None:
        """Take in what a source says of a unit, and return the units whose path it may alter; None for old news."""
        known = self._units.get(change.unit_id)
        if known is not None and change.stamp <= (known.at, known.event_id):
            return None
        parent_before = known.parent_id if known else None
        self._put(change.unit_id, UnitState(change.parent_id, change.at, change.id))
        return frozenset() if change.parent_id == parent_before else self._at_and_below(change.unit_id)

    def _put(self, unit_id: UnitId, unit: UnitState) -> None:
        before = self._units.get(unit_id)
        if before is not None and before.parent_id is not None:
            self._below[before.parent_id].discard(unit_id)
        if unit.parent_id is not None:
            self._below[unit.parent_id].add(unit_id)
        self._units[unit_id] = unit

    def _at_and_below(self, unit_id: UnitId) -> frozenset[UnitId]:
        # Only this unit's way up has changed, so those from whom a way leads to it are the same as before.
        found = {unit_id}
        ahead = [unit_id]
        while ahead:
            for below in self._below.get(ahead.pop(), ()):
                if below not in found:
                    found.add(below)
                    ahead.append(below)
        return frozenset(found)
