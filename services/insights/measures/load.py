"""Sponsors' load: how many people each speaks for, and how evenly that is spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.insights.measures.facts import Facts
from services.insights.measures.measure import Measure, Value

SPONSOR_LOAD: Final = Measure(
    name="sponsor_load",
    title="Sponsor load",
    unit="people",
    definition="Active employees whom an active sponsor speaks for, the mean over active sponsors who have at least "
    "one; the most as `high`. By `protégés`: how many sponsors have so many (`10` holds all above).",
    pitfalls=(
        "Whoever sponsors nobody is not in it: the load may fall because a few have taken one person each.",
        "A mean of 2 may be everybody with two or a few with twenty: look at the spread.",
        "How much attention a protégé takes is not known.",
    ),
)
SPONSOR_LOAD_GINI: Final = Measure(
    name="sponsor_load_gini",
    title="Spread of the load (Gini)",
    unit="index",
    definition="Gini coefficient of sponsor load over active sponsors who have at least one protégé: 0 when all have "
    "the same, towards 1 when one has nearly all (Gini 1912; here by the sorted sum, without correction for few).",
    pitfalls=(
        "It says how uneven, not who: the same number may be one very busy sponsor or many half busy ones.",
        "With few sponsors it can't come near 1: of n sponsors at most 1 - 1/n.",
    ),
)

MOST_SHOWN: Final = 10
PROTEGES: Final = "protégés"


def sponsor_load(facts: Facts) -> list[Value]:
    """Return the load's mean, most, spread, and how many sponsors have how many protégés."""
    load = Counter(
        sponsor
        for employee_id, sponsors in facts.sponsored_by.items()
        if employee_id in facts.employed
        for sponsor in sponsors
    )
    loads = sorted(load.values())
    mean, most = (sum(loads) / len(loads), float(loads[-1])) if loads else (None, None)
    by_load = Counter(min(n, MOST_SHOWN) for n in loads)
    return [
        Value(SPONSOR_LOAD.name, part=sum(loads), whole=len(loads), value=mean, high=most),
        Value(SPONSOR_LOAD_GINI.name, whole=len(loads), value=gini(loads)),
        *(
            Value(SPONSOR_LOAD.name, dimension=PROTEGES, group_id=str(n), place=n, value=float(by_load[n]))
            for n in range(1, MOST_SHOWN + 1)
            if loads
        ),
    ]


def gini(sorted_loads: Sequence[int]) -> float | None:
    """Return the Gini coefficient of numbers in ascending order; None of none, or when all are 0.

    It is half the relative mean absolute difference (Gini 1912), by its form for sorted numbers:
    2 Σ i·xᵢ / (n Σ xᵢ) - (n + 1) / n.
    """
    n, total = len(sorted_loads), sum(sorted_loads)
    if not total:
        return None
    return 2 * sum(rank * load for rank, load in enumerate(sorted_loads, 1)) / (n * total) - (n + 1) / n
