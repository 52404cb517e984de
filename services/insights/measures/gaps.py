"""Gaps that stand: how many, and for how long."""

from __future__ import annotations

from statistics import median
from typing import Final

from services.insights.measures.facts import Facts
from services.insights.measures.measure import WHOLE, Measure, Value

GAPS_STANDING: Final = Measure(
    name="gaps_standing",
    title="Gaps that stand",
    unit="count",
    definition="Employees in scope of an open cycle for whom no active sponsor speaks; one for each employee and "
    "cycle. `/v1/gaps?status=open` lists them with who could sponsor.",
    pitfalls=(
        "It falls to nothing when a cycle closes, though nothing was mended.",
        "Somebody in scope of two open cycles is two gaps.",
        "It grows with a cycle's scope: compare sponsor coverage instead.",
    ),
)
GAP_AGE: Final = Measure(
    name="gap_age_seconds",
    title="Age of gaps, half of them",
    unit="seconds",
    definition="Time since a gap that stands was opened, by the log's clock: the median; the oldest as `high`.",
    pitfalls=(
        "Gaps that were closed are not in it: where the easy ones are closed first, the age of the rest rises.",
        "A gap that closed and came back is as old as its last opening.",
    ),
)


def gaps(facts: Facts) -> list[Value]:
    """Return the number and age of gaps that stand: all, and of each open cycle."""
    ages: dict[str, list[float]] = {WHOLE: []}
    for cycle in facts.cycles:
        if cycle.status == "open":
            ages[cycle.cycle_id] = []
    for gap in facts.gaps:
        age = max(0.0, (facts.now - gap.opened_at).total_seconds())
        ages[WHOLE].append(age)
        ages.setdefault(gap.cycle_id, []).append(age)
    values = []
    for cycle_id, own in ages.items():
        values.append(Value(GAPS_STANDING.name, cycle_id, whole=len(own), value=float(len(own))))
        middle, oldest = (median(own), max(own)) if own else (None, None)
        values.append(Value(GAP_AGE.name, cycle_id, whole=len(own), value=middle, high=oldest))
    return values
