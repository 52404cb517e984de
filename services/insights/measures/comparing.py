"""Compares groups by a protected attribute, where a company turns that on: once a quarter, so that it tells of nobody.

What is secret here is who has which value. Everything else is taken for known to whoever reads: who is in which unit,
who has a sponsor, who was endorsed, who was promoted. So each number that is told is a sum of the secret over people
who can be named (a *view*, or those of it who are counted), and it is allowed when from all sums nothing comes out

- about fewer than k people of one value: a view is told whole, every value of it, or not at all;
- about people of whom fewer than k have another value than the commonest: that would tell of nearly each of them,
  which holds for those who are counted, and for those who are not, as for all.

What comes out is looked for over everything at once: units beside the company, cycles beside each other, and what was
told in earlier quarters (`services.insights.measures.suppression`; Chin and Özsoyoğlu 1982, "Auditing and inference
control in statistical databases", IEEE TSE 8:574-582). Between two quarters nothing changes, however much is entered
meanwhile: else whoever looks before and after somebody's day could read off their value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from services.insights.measures.coverage import sponsor_coverage
from services.insights.measures.facts import CycleFacts, Facts
from services.insights.measures.grouping import NOT_SAID, UNIT, table_rows
from services.insights.measures.intervals import wilson
from services.insights.measures.measure import WHOLE, Measure
from services.insights.measures.outcomes import ADVOCACY, FOLLOWED, WITH, WITHOUT, advocated
from services.insights.measures.suppression import Labels, shown

COVERAGE: Final = Measure(
    name="sponsor_coverage_compared",
    title="Sponsor coverage, compared",
    unit="share",
    definition="Active employees for whom at least one active sponsor speaks, of all active employees, by the value of "
    "a protected attribute; as it was when the quarter began, and by unit where a unit has enough people of every "
    "value. Each with its 95 % interval (Wilson).",
    pitfalls=(
        "IT IS NOT CAUSE. Levels, units and lengths of service differ between groups, and sponsors go with these.",
        "A share that is the same for all does not say that all is well: who is at the table is not in it.",
        "Units hold their sub-units; a unit that is not named here has too few people of some value.",
    ),
)
ENDORSED: Final = Measure(
    name="endorsed_compared",
    title="Spoken for in a cycle, compared",
    unit="share",
    definition="Employees of whose prompts in the cycle at least one was fulfilled, of all employees about whom a "
    "prompt was ever opened in it, by the value of a protected attribute; taken once, in the first quarter that begins "
    "after the cycle has ended. Each with its 95 % interval (Wilson).",
    pitfalls=(
        "IT IS NOT CAUSE: sponsors with much to do answer for fewer, whoever these are.",
        "Only those who have a sponsor are in it: who has none is in sponsor coverage.",
        "What was entered after it was taken is not in it.",
    ),
)
PROMOTED: Final = Measure(
    name="promoted_compared",
    title="Promoted, compared",
    unit="share",
    definition="Of the employees in scope of a promotion cycle when it opened, those who had a higher level 180 days "
    "after its end, by the value of a protected attribute: those who had an active sponsor when it opened, and those "
    "who had none. Taken once, in the first quarter that begins after these 180 days. Each with its 95 % interval "
    "(Wilson).",
    pitfalls=(
        "IT IS NOT CAUSE. Levels differ between groups, and promotions are commoner in some.",
        "A difference between two values with a sponsor may be one of their sponsors' weight, of their jobs, or of "
        "chance: it is a question to ask, and no answer.",
        "Whoever left before is counted as not promoted.",
    ),
)
COMPARISONS: Final[tuple[Measure, ...]] = (COVERAGE, ENDORSED, PROMOTED)

CAUTION: Final = (
    "These are differences between groups as they are, and none of them is a cause. The interval says how far chance "
    "alone may have moved a share: where the intervals of two groups overlap by much, do not speak of a difference; "
    "and among twenty comparisons without any difference one looks like one. Nothing here may be used to decide about "
    "a person."
)
OTHERS: Final = "all others"
"""Values that too few people have, together."""
_EARLIER: Final = 8
"""Quarters that have been told and are still thought of."""


class View(NamedTuple):
    """What is broken down by an attribute: of everybody, of a unit, of those with a sponsor and without."""

    measure: str
    cycle_id: str
    dimension: str
    group_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Compared:
    """How many of those of a view who have a value are counted.

    Attributes:
        part, whole: how many of how many.
        low, high: the 95 % interval.
    """

    attribute: str
    at: datetime
    measure: str
    cycle_id: str
    dimension: str
    group_id: str
    value_id: str
    place: int
    part: int
    whole: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of an attribute in a quarter, and how many views are not."""

    values: tuple[Compared, ...]
    hidden: int


def quarter(now: datetime) -> datetime:
    """Return the first moment, in UTC, of the quarter that `now` is in."""
    return now.replace(month=(now.month - 1) // 3 * 3 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)


def compare(facts: Facts, attribute: str, said: Mapping[str, str], earlier: Iterable[View], k: int) -> Told:
    """Return what may be told of an attribute in the quarter of the facts' clock; the same facts give the same.

    Args:
        facts: what is known.
        attribute: its name.
        said: each employee's value; who is not in it has not said.
        earlier: the views that were told of it in earlier quarters.
        k: the fewest people about whom something may be told.
    """
    at = quarter(facts.now)
    facts_at = _Moments(facts)
    told = _lately(earlier)
    known = {view[:-1] for view in told if view.cycle_id}
    new = [view for view in _views(facts_at[at], at, k) if view[:-1] not in known]
    block_of = blocks((said.get(employee, NOT_SAID) for employee in facts_at[at].employed), k)
    names = list(dict.fromkeys(block_of.values()))
    if len(names) < 2:
        return Told((), len(new))
    people = {view: _people(facts_at, view) for view in (*told, *new)}
    block = {
        # A value that only people have who are gone is told with the last.
        employee: names.index(block_of.get(said.get(employee, NOT_SAID), names[-1]))
        for everybody, _ in people.values()
        for employee in everybody
    }
    left = _allowed(told, new, people, block, len(names), k)
    values: list[Compared] = []
    for view in left:
        everybody, counted = people[view]
        for n, name in enumerate(names):
            whole = sum(block[employee] == n for employee in everybody)
            part = sum(block[employee] == n for employee in counted)
            low, high = wilson(part, whole)
            values.append(Compared(attribute, at, *view[:-1], name, len(values), part, whole, part / whole, low, high))
    return Told(tuple(values), len(new) - len(left))


def blocks(values: Iterable[str], k: int) -> dict[str, str]:
    """Return under which name each value is told: its own, or that of all others where fewer than k people have it.

    Where all others would be fewer than k together, the next rare value joins them.
    """
    counted = Counter(values)
    ascending = sorted(counted, key=lambda value: (counted[value], value))
    rare = [value for value in ascending if counted[value] < k]
    while rare and len(rare) < len(ascending) and sum(counted[value] for value in rare) < k:
        rare.append(ascending[len(rare)])
    own = sorted(set(ascending).difference(rare), key=lambda value: (value == NOT_SAID, value))
    return {value: value for value in own} | dict.fromkeys(rare, OTHERS)


# -- views ----------------------------------------------------------------------------------------


class _Moments(dict[datetime, Facts]):
    """The facts as of each moment that is asked for."""

    def __init__(self, facts: Facts) -> None:
        super().__init__({facts.now: facts})
        self._facts = facts

    def __missing__(self, at: datetime) -> Facts:
        self[at] = replace(self._facts, now=at)
        return self[at]


def _views(then: Facts, at: datetime, k: int) -> Iterator[View]:
    yield View(COVERAGE.name, WHOLE, WHOLE, WHOLE, at)
    rows = table_rows((standing.unit_path for standing in then.employed.values()), k)
    # A unit that is hidden without regard to attributes is not to come out as the sum over all of their values.
    of_units = {value.group_id: value for value in sponsor_coverage(then, k) if value.dimension == UNIT}
    yield from (View(COVERAGE.name, WHOLE, UNIT, unit, at) for unit in rows if not of_units[unit].hidden)
    for cycle in then.cycles:
        if cycle.status == "closed" and cycle.ends_at <= at:
            yield View(ENDORSED.name, cycle.cycle_id, WHOLE, WHOLE, at)
            if cycle.kind == "promotion" and cycle.ends_at + FOLLOWED <= at:
                yield from (View(PROMOTED.name, cycle.cycle_id, ADVOCACY, group, at) for group in (WITH, WITHOUT))


Some = frozenset[str]


def _people(facts_at: _Moments, view: View) -> tuple[Some, Some]:
    """Return whom a view is of, and those who are counted."""
    then = facts_at[view.at]
    if view.measure == COVERAGE.name:
        unit = view.group_id
        everybody = frozenset(
            employee for employee, standing in then.employed.items() if not unit or unit in standing.unit_path
        )
        return everybody, everybody.intersection(then.sponsored_by)
    cycle = next((one for one in then.cycles if one.cycle_id == view.cycle_id), None)
    if cycle is None:
        return frozenset(), frozenset()
    return _endorsed(then, cycle) if view.measure == ENDORSED.name else _promoted(then, cycle, view.group_id)


def _endorsed(then: Facts, cycle: CycleFacts) -> tuple[Some, Some]:
    asked = [one for one in then.prompts if one.cycle_id == cycle.cycle_id and one.opened_at is not None]
    return (
        frozenset(prompt.employee_id for prompt in asked),
        frozenset(prompt.employee_id for prompt in asked if prompt.status == "fulfilled"),
    )


def _promoted(then: Facts, cycle: CycleFacts, group: str) -> tuple[Some, Some]:
    found = [one for one in advocated(then, cycle, cycle.ends_at + FOLLOWED) if one.group == group]
    return frozenset(one.employee_id for one in found), frozenset(one.employee_id for one in found if one.promoted)


def _lately(earlier: Iterable[View]) -> list[View]:
    views = sorted(earlier)
    quarters = sorted({view.at for view in views if not view.cycle_id})[-_EARLIER:]
    return [view for view in views if view.cycle_id or view.at in quarters]


# -- what may be told -----------------------------------------------------------------------------


def _allowed(
    told: Sequence[View],
    new: Sequence[View],
    people: Mapping[View, tuple[Some, Some]],
    block: Mapping[str, int],
    count: int,
    k: int,
) -> list[View]:
    """Return the views of the new ones that may be told, each with all values."""
    everybody = {view: (people[view][0],) for view in (*told, *new)}
    of_each_value = _counts(everybody, block, [[int(n == of) for n in range(count)] for of in range(count)])
    may = shown(of_each_value, _groups(everybody), k, told=len(told))
    left = [view for view, may_be in zip(new, may[len(told) :], strict=True) if may_be]
    while True:
        both = {view: tuple(filter(None, people[view])) for view in (*told, *left)}
        of_other_values = _counts(both, block, [[int(n != of) for n in range(count)] for of in range(count)])
        first = sum(len(both[view]) for view in told)
        groups = _groups(both)
        may_be = dict(zip(groups, shown(of_other_values, groups, k, told=first), strict=True))
        kept = [view for view in left if all(may_be[_group(view, n)] for n in range(len(both[view])))]
        if kept == left:
            return left
        # A view goes with both of its sets, also with the one that might have stayed: who is told apart now is another
        # question, and is asked anew.
        left = kept


def _counts(
    views: Mapping[View, Sequence[Some]], block: Mapping[str, int], counted_as: Sequence[Sequence[int]]
) -> dict[Labels, list[int]]:
    """Return how many people there are of each set of labels, by the counts that a person of each block is one of."""
    labels: dict[str, list[tuple[str, str]]] = {}
    for view, sets in views.items():
        for n, some in enumerate(sets):
            [label] = _group(view, n)
            for employee in some:
                labels.setdefault(employee, []).append(label)
    found: dict[Labels, list[int]] = {}
    for employee, own in labels.items():
        counts = found.setdefault(frozenset(own), [0] * len(counted_as))
        for n, is_one in enumerate(counted_as[block[employee]]):
            counts[n] += is_one
    return found


def _groups(views: Mapping[View, Sequence[Some]]) -> list[Labels]:
    return [_group(view, n) for view, sets in views.items() for n in range(len(sets))]


def _group(view: View, n: int) -> Labels:
    return frozenset((("counted" if n else "of", "\x1f".join(map(str, view))),))
