"""Decides what "covered by a sponsor" means, and adds it up for the company, its units and its levels.

**An employee is covered** when they are active and at least one sponsor speaks for them now: a relationship of kind
`sponsor` that holds at the log's clock, with another person who is an active employee. **Coverage** is the share of
active employees who are covered.

What it does not say, and where it misleads:

- It tells that a sponsor is *named*, not that the sponsor does anything. Set it beside fulfilled and declined prompts.
- One sponsor may be named for forty people; all forty count. Coverage can rise while attention gets thinner.
- Somebody at the top has nobody senior to be sponsored by, and lowers the share of their unit for ever.
- New joiners come in uncovered. A unit that hires looks worse than one that does not.
- Somebody whose first profile lies ahead counts as an employee already.
- A sponsor whom the HRIS does not know counts for nobody.
- A unit holds its sub-units: the same person is counted in each unit on their path. Units must not be added up.
- Small groups swing: one person in a unit of three is 33 points, and a share of 0 or 1 there tells about persons by
  name. Counts come with every share for that reason; compare shares of large groups only.
- With no active employees there is no share: it is null, neither 0 nor 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, select

from services.insights.answers import Coverage, CoverageOfLevel, CoverageOfUnit, Share
from services.insights.holding import in_force, tie_holds
from services.insights.tables import relationships


@dataclass(frozen=True, slots=True)
class Group:
    """Active employees of the same unit and level: how many, and how many of them are covered."""

    unit_path: tuple[str, ...]
    level: int
    active: int
    covered: int


def add_up(groups: Iterable[Group], clock: datetime | None) -> Coverage:
    """Return the coverage of the company, of each unit with all below it, and of each level."""
    company = _Count()
    units: dict[str, _Count] = {}
    levels: dict[int, _Count] = {}
    for group in groups:
        company.add(group)
        levels.setdefault(group.level, _Count()).add(group)
        for unit in set(group.unit_path):
            units.setdefault(unit, _Count()).add(group)
    return Coverage(
        clock=clock,
        overall=company.share(),
        by_unit=[CoverageOfUnit(unit_id=unit, **dict(count.share())) for unit, count in sorted(units.items())],
        by_level=[CoverageOfLevel(level=level, **dict(count.share())) for level, count in sorted(levels.items())],
    )


def groups_query(now: datetime | None) -> Select[Any]:
    """Return the query for the groups of active employees: unit path, level, active, covered."""
    employee, sponsor = in_force(now, "employee"), in_force(now, "sponsor")
    covered = exists().where(
        relationships.c.employee_id == employee.c.employee_id,
        relationships.c.kind == "sponsor",
        relationships.c.other_id != relationships.c.employee_id,
        tie_holds(now),
        sponsor.c.employee_id == relationships.c.other_id,
        sponsor.c.active,
    )
    return (
        select(
            employee.c.unit_path,
            employee.c.level,
            func.count().label("active"),
            func.count().filter(covered).label("covered"),
        )
        .where(employee.c.active)
        .group_by(employee.c.unit_path, employee.c.level)
    )


@dataclass(slots=True)
class _Count:
    active: int = 0
    covered: int = 0

    def add(self, group: Group) -> None:
        self.active += group.active
        self.covered += group.covered

    def share(self) -> Share:
        return Share(
            active=self.active,
            covered=self.covered,
            share=round(self.covered / self.active, 4) if self.active else None,
        )
