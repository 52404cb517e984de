"""Takes the measures again and again, beside the projection, and tells Prometheus what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from services.insights import metrics
from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.keeping import compare_when_due, measure
from services.insights.measures.measure import WHOLE
from services.insights.measures.taking import Taken
from shared.database import AWAY, trouble

log = structlog.get_logger(__name__)

_SHARE_OF_TIME = 0.1
"""At most so much of the time is spent on it: who measures for half a minute then waits for five."""

_GAUGES = {
    coverage.SPONSOR_COVERAGE.name: metrics.SPONSOR_COVERAGE,
    gaps.GAPS_STANDING.name: metrics.GAPS_STANDING,
    gaps.GAP_AGE.name: metrics.GAP_AGE,
    load.SPONSOR_LOAD.name: metrics.SPONSOR_LOAD,
    load.SPONSOR_LOAD_GINI.name: metrics.SPONSOR_LOAD_GINI,
    conversion.PROMPTS_DELIVERED.name: metrics.PROMPTS_DELIVERED,
    conversion.PROMPTS_VIEWED.name: metrics.PROMPTS_VIEWED,
    conversion.VIEW_TIME.name: metrics.VIEW_TIME,
    conversion.PROMPTS_ENDORSED.name: metrics.PROMPTS_ENDORSED,
    conversion.ANSWER_TIME.name: metrics.ANSWER_TIME,
    conversion.ENDORSEMENT_TIME.name: metrics.ENDORSEMENT_TIME,
    conversion.DELIVERY_TIME.name: metrics.DELIVERY_TIME,
    conversion.EVIDENCE.name: metrics.EVIDENCE,
    conversion.EVIDENCE_STRENGTH.name: metrics.EVIDENCE_STRENGTH,
    conversion.WITHOUT_EVIDENCE.name: metrics.WITHOUT_EVIDENCE,
    conversion.FIRST_ADVOCACY.name: metrics.FIRST_ADVOCACY,
    conversion.ENDORSEMENTS.name: metrics.ENDORSEMENTS,
    outcomes.PROMOTION_DIFFERENCE.name: metrics.PROMOTION_DIFFERENCE,
    outcomes.MENTOR_TO_SPONSOR.name: metrics.MENTOR_TO_SPONSOR,
    outcomes.MENTOR_TO_SPONSOR_TIME.name: metrics.MENTOR_TO_SPONSOR_TIME,
    outcomes.UNSEEN.name: metrics.ACHIEVEMENTS_UNSEEN,
}


class Measuring:
    """Keeps the measures up with the read model. A part of a `StreamService`.

    Args:
        engine: the read model.
        k: the fewest people whom a group has that is shown beside others.
        every_seconds: time between two looks; longer where measuring takes long.
        show: makes the page of what was measured, so that it is there before somebody asks for it.
        compare: what is compared by protected attributes, where anything is.
    """

    def __init__(
        self,
        engine: Engine,
        k: int,
        every_seconds: float,
        show: Callable[[], object],
        compare: Callable[[], object] = lambda: None,
    ) -> None:
        self._engine = engine
        self._k = k
        self._every_seconds = every_seconds
        self._show = show
        self._compare = compare
        self._shown = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._measure_now_and_then())

    async def stop(self) -> None:
        """Measure no more; what is being measured is not kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _measure_now_and_then(self) -> None:
        while True:
            begun = monotonic()
            try:
                taken = await asyncio.to_thread(self._measure)
            except (*AWAY, IntegrityError) as exc:
                # Whether the database is there is the projector's to tell. Two processes that keep theirs for the first
                # time at once collide: one of them is as good as the other.
                log.warning("could not measure", error=trouble(exc))
            except Exception:
                # A fault of ours in what is shown is not to end what is projected.
                log.exception("could not measure")
                metrics.MEASURING_FAILURES.inc()
            else:
                if taken is not None:
                    metrics.MEASURING_SECONDS.observe(monotonic() - begun)
                    tell(taken)
            await asyncio.sleep(max(self._every_seconds, (monotonic() - begun) / _SHARE_OF_TIME))

    def _measure(self) -> Taken | None:
        taken = measure(self._engine, self._k)
        if taken is not None or not self._shown:
            self._show()
            self._shown = True
        self._compare()
        return taken


class Comparing:
    """Compares by each protected attribute, once a quarter: not before all of the log is known, for it stays so then.

    Args:
        engine: the read model.
        k: the fewest people about whom something is told.
        attributes: what is compared by; nothing by default.
        is_caught_up: tells whether all of the log is projected.
    """

    def __init__(self, engine: Engine, k: int, attributes: Sequence[str], is_caught_up: Callable[[], bool]) -> None:
        self._engine = engine
        self._k = k
        self._attributes = attributes
        self._is_caught_up = is_caught_up

    def __call__(self) -> None:
        """Compare by what has not been compared by in this quarter.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away, or did not take it; nothing has changed then.
        """
        if self._attributes and self._is_caught_up():
            for attribute in compare_when_due(self._engine, self._k, self._attributes):
                log.info("compared", attribute=attribute)


def tell(taken: Taken) -> None:
    """Set the gauges: what is of the whole company, and of each cycle that has opened; no group of people."""
    for gauge in _GAUGES.values():
        gauge.clear()
    for value in taken.values:
        if value.measure in _GAUGES and value.dimension == WHOLE and value.value is not None:
            _GAUGES[value.measure].labels(value.cycle_id).set(value.value)
