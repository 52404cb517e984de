"""Decides which rows a reader may see: those of the people whom they may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, false, select, true

from services.insights.holding import in_force, tie_holds
from services.insights.tables import gaps, profiles, prompts, relationships
from shared.service.access import Reader as Person


@dataclass(frozen=True, slots=True)
class Limit:
    """What somebody's sight ends at; without any field it does not end.

    Attributes:
        units: they see the people of these org units, and of all below.
        sponsor_id: they see those whose sponsor this is now, and the prompts to this sponsor.
        employee_id: they see this employee.
    """

    units: tuple[str, ...] = ()
    sponsor_id: str | None = None
    employee_id: str | None = None

    def person(
        self, employee_id: ColumnElement[str], connection: Connection, now: datetime | None
    ) -> ColumnElement[bool]:
        """Return the condition that a person, named by this column, may be seen."""
        if self.employee_id is not None:
            return employee_id == self.employee_id
        if self.sponsor_id is not None:
            theirs = select(relationships.c.employee_id).where(
                relationships.c.other_id == self.sponsor_id, relationships.c.kind == "sponsor", tie_holds(now)
            )
            return employee_id.in_(theirs)
        if self.units:
            person = in_force(now, "seen")
            return employee_id.in_(select(person.c.employee_id).where(person.c.unit_id.in_(self._below(connection))))
        return true()

    def prompt(self, connection: Connection, now: datetime | None) -> ColumnElement[bool]:
        """Return the condition that a row of `prompts` may be seen."""
        if self.sponsor_id is not None:
            return prompts.c.sponsor_id == self.sponsor_id
        if self.employee_id is not None:
            return false()  # what became of it would tell the sponsor's private answer
        return self.person(prompts.c.employee_id, connection, now)

    def gap(self, connection: Connection, now: datetime | None) -> ColumnElement[bool]:
        """Return the condition that a row of `gaps` may be seen."""
        return self.person(gaps.c.employee_id, connection, now)

    def _below(self, connection: Connection) -> list[str]:
        units = connection.execute(select(profiles.c.unit_id, profiles.c.unit_path).distinct()).all()
        return sorted({unit for unit, path in units if unit is not None and not set(self.units).isdisjoint(path)})


NO_LIMIT: Final = Limit()


def limit_of(reader: Person | None) -> Limit:
    """Return what a reader's sight ends at; None is somebody where no access file is kept."""
    if reader is None:
        return NO_LIMIT
    if reader.role == "sponsor":
        return Limit(sponsor_id=reader.employee_id)
    if reader.role == "protege":
        return Limit(employee_id=reader.employee_id)
    return Limit(units=reader.units)
