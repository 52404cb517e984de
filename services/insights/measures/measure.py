"""What a measure is, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

Unit = Literal["share", "people", "count", "seconds", "pieces", "weight", "index"]
"""share: part of a whole, 0 to 1. index: a number without a unit. weight: what the ranking
gives, where 1 is an achievement that fits nothing. Times are in seconds, as Prometheus has them."""

WHOLE: Final = ""
"""The dimension and group of what is not broken down."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure's definition, for whoever reads its numbers.

    Attributes:
        name: as in the API, the table `measurements`, and (with `insights_` before it) Prometheus.
        definition: what is counted, and over whom, in words that need no code.
        pitfalls: where it misleads.
    """

    name: str
    title: str
    unit: Unit
    definition: str
    pitfalls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """What a measure comes to, for the whole or for one group.

    Attributes:
        cycle_id: the cycle it is about; empty for none.
        dimension: by what the whole was broken down; empty for the whole.
        group_id, across_id: which group of that dimension; the second for a table's column.
        place: the group's place among its dimension's.
        part, whole: of a share, how many of how many; of anything else the number that it was taken over, in `whole`.
        value: None where there is nothing to take it of.
        low, high: the 95 % confidence interval, where there is one.
        hidden: the group is not shown: it would tell about few people, by itself or together with what is shown.
    """

    measure: str
    cycle_id: str = WHOLE
    dimension: str = WHOLE
    group_id: str = WHOLE
    across_id: str = WHOLE
    place: int = 0
    part: int | None = None
    whole: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What a measure of the whole company came to at an earlier moment."""

    measure: str
    at: datetime
    part: int
    whole: int
    value: float | None


def share(part: int, whole: int) -> float | None:
    """Return part / whole; None of nobody."""
    return part / whole if whole else None
