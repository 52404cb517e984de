"""Breaks a number down by what people have in common, and hides what would tell about few of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from services.insights.measures.facts import Person, Standing
from services.insights.measures.measure import WHOLE, Value
from services.insights.measures.suppression import Label, Labels, shown

UNIT: Final = "unit"
LEVEL: Final = "level"
LOCATION: Final = "location"
TENURE: Final = "tenure"
UNIT_AND_LEVEL: Final = "unit and level"
DIMENSIONS: Final = (UNIT, LEVEL, LOCATION, TENURE, UNIT_AND_LEVEL)
SCOPE: Final = "scope"

TENURES: Final = ("under 1 year", "1 to 2 years", "2 to 5 years", "5 years and more")
NOT_SAID: Final = "not said"
_DAYS_OF_A_YEAR: Final = 365.25
_MOST_ROWS: Final = 30
"""Units that the table by unit and level has at most: what a page can show."""

_LEVELS_OF_A_ROW: Final = 3
"""So many cells of a row should be large enough to be shown."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a number: told by `labels`, with their part of the number and of what it is taken over."""

    labels: Labels
    part: int
    whole: int


def labels_of(person: Person, standing: Standing, now: datetime) -> frozenset[Label]:
    """Return by what a person is told; tenure is the time since their first profile that is known."""
    years = (now - person.standings[0].at).days / _DAYS_OF_A_YEAR
    band = TENURES[sum(years >= bound for bound in (1, 2, 5))]
    path = standing.unit_path
    return frozenset(
        (
            *((UNIT, unit) for unit in path),
            # Who is directly in a unit is what remains of it when its sub-units are subtracted.
            ("directly in", path[-1] if path else ""),
            (LEVEL, str(standing.level)),
            (LOCATION, standing.location or NOT_SAID),
            (TENURE, band),
        )
    )


def table_rows(paths: Iterable[tuple[str, ...]], k: int) -> list[str]:
    """Return the units that are the rows of a table: the deepest layer that fits a page and is not of small units."""
    layers: dict[int, Counter[str]] = {}
    for path in paths:
        for depth, unit in enumerate(path):
            layers.setdefault(depth, Counter())[unit] += 1
    fitting = [
        units
        for _, units in sorted(layers.items())
        if len(units) <= _MOST_ROWS and units.total() >= len(units) * k * _LEVELS_OF_A_ROW
    ]
    return sorted(fitting[-1], key=natural) if fitting else []


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key by which team-2 comes before team-10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def broken_down(
    measure: str,
    subjects: Sequence[Subject],
    rows: Sequence[str],
    k: int,
    *,
    cycle_id: str = WHOLE,
    scopes: Sequence[str] = (),
) -> list[Value]:
    """Return the share for the whole, and for each group of each dimension; small groups, and their help, hidden.

    Args:
        measure: whose values these are.
        subjects: a person is in here once.
        rows: the units of the table by unit and level.
        k: the fewest people whom a group that is shown has.
        cycle_id: the cycle that all of it is about.
        scopes: cycles whose scope is a group too; its value is that cycle's whole.
    """
    people: Counter[Labels] = Counter()
    parts: Counter[Labels] = Counter()
    wholes: Counter[Labels] = Counter()
    for subject in subjects:
        people[subject.labels] += 1
        parts[subject.labels] += subject.part
        wholes[subject.labels] += subject.whole
    groups = _groups(people, rows, scopes)
    may = _shown(tuple(sorted(people.items(), key=_order)), tuple(group for _, group in groups), k)
    part, whole = _sums(groups, parts), _sums(groups, wholes)
    values = []
    for (place, (at, group)), show in zip(enumerate(groups), may, strict=True):
        own_cycle = at[1] if at[0] == SCOPE else cycle_id
        dimension, group_id, across_id = (WHOLE, WHOLE, WHOLE) if at[0] == SCOPE else at
        if not show:
            values.append(Value(measure, own_cycle, dimension, group_id, across_id, place, hidden=True))
            continue
        n, of = part[group], whole[group]
        values.append(
            Value(measure, own_cycle, dimension, group_id, across_id, place, n, of, n / of if of else None),
        )
    return values


_At = tuple[str, str, str]


def _groups(people: Mapping[Labels, int], rows: Sequence[str], scopes: Sequence[str]) -> list[tuple[_At, Labels]]:
    found: dict[str, set[str]] = {}
    pairs: set[tuple[str, str]] = set()
    units_in_table = set(rows)
    for labels in people:
        levels = [value for dimension, value in labels if dimension == LEVEL]
        for dimension, value in labels:
            found.setdefault(dimension, set()).add(value)
            if dimension == UNIT and value in units_in_table:
                pairs.update((value, level) for level in levels)
    groups: list[tuple[_At, Labels]] = [((WHOLE, WHOLE, WHOLE), frozenset())]
    groups += [((SCOPE, cycle, ""), frozenset(((SCOPE, cycle),))) for cycle in scopes]
    in_order: dict[str, Callable[[str], object]] = {LEVEL: int, TENURE: TENURES.index}
    for dimension in (UNIT, LEVEL, LOCATION, TENURE):
        for value in sorted(found.get(dimension, ()), key=in_order.get(dimension, str)):  # type: ignore[arg-type]
            groups.append(((dimension, value, ""), frozenset(((dimension, value),))))
    groups += [
        ((UNIT_AND_LEVEL, unit, level), frozenset(((UNIT, unit), (LEVEL, level))))
        for unit, level in sorted(pairs, key=lambda pair: (pair[0], int(pair[1])))
    ]
    return groups


@lru_cache(maxsize=16)
def _shown(people: tuple[tuple[Labels, int], ...], groups: tuple[Labels, ...], k: int) -> list[bool]:
    # Kept: what is shown depends on who is where, which changes less often than who has a sponsor.
    return shown(dict(people), groups, k, tree=UNIT)


def _sums(groups: Sequence[tuple[_At, Labels]], numbers: Mapping[Labels, int]) -> dict[Labels, int]:
    # By labels and pairs of them, and not by sets of labels: to make a set of each label costs most of it.
    pairs: dict[Label, list[tuple[Label, Labels]]] = {}
    for _, group in groups:
        if len(group) == 2:
            unit, other = sorted(group, key=lambda label: label[0] != UNIT)
            pairs.setdefault(unit, []).append((other, group))
    by_label: Counter[Label] = Counter()
    by_pair: Counter[Labels] = Counter()
    for labels, n in numbers.items():
        for label in labels:
            by_label[label] += n
            for other, pair in pairs.get(label, ()):
                if other in labels:
                    by_pair[pair] += n
    everybody = sum(numbers.values())
    return {
        group: by_pair[group] if len(group) == 2 else by_label[next(iter(group))] if group else everybody
        for _, group in groups
    }


def _order(item: tuple[Labels, int]) -> list[Label]:
    return sorted(item[0])
