"""Takes every measure of one set of facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.facts import Facts
from services.insights.measures.measure import Measure, Moment, Value

MEASURES: Final[tuple[Measure, ...]] = (
    coverage.SPONSOR_COVERAGE,
    gaps.GAPS_STANDING,
    gaps.GAP_AGE,
    load.SPONSOR_LOAD,
    load.SPONSOR_LOAD_GINI,
    conversion.PROMPTS_DELIVERED,
    conversion.DELIVERY_TIME,
    conversion.PROMPTS_VIEWED,
    conversion.VIEW_TIME,
    conversion.PROMPTS_ENDORSED,
    conversion.ANSWER_TIME,
    conversion.ENDORSEMENT_TIME,
    conversion.EVIDENCE,
    conversion.EVIDENCE_STRENGTH,
    conversion.WITHOUT_EVIDENCE,
    conversion.ENDORSEMENTS,
    conversion.FIRST_ADVOCACY,
    outcomes.PROMOTED,
    outcomes.PROMOTION_DIFFERENCE,
    outcomes.MENTOR_TO_SPONSOR,
    outcomes.MENTOR_TO_SPONSOR_TIME,
    outcomes.UNSEEN,
)
"""In the order in which people read them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """All measures at one moment, and those of earlier ones."""

    values: tuple[Value, ...]
    moments: tuple[Moment, ...]


def take(facts: Facts, k: int) -> Taken:
    """Return what every measure comes to; the same facts give the same.

    Args:
        facts: what is known.
        k: the fewest people whom a group has that is shown beside others.
    """
    return Taken(
        values=(
            *coverage.sponsor_coverage(facts, k),
            *gaps.gaps(facts),
            *load.sponsor_load(facts),
            *conversion.conversion(facts, k),
            *outcomes.promoted(facts, k),
            *outcomes.mentor_to_sponsor(facts),
            *outcomes.achievements_unseen(facts),
        ),
        moments=tuple(coverage.sponsor_coverage_over_time(facts, k)),
    )
