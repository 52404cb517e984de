"""Handles runs of records: project each, apply all in one transaction, and give back what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine

from services.insights.applying import Applied, Run, apply_run
from services.insights.metrics import DATABASE_FAILURES, ROWS, RUN_RECORDS, TRANSACTION_SECONDS
from services.insights.patience import Patience
from services.insights.projection import NO_ATTRIBUTES, AttributesKept, Projected, project
from services.insights.schema import create_schema, keep_attributes
from shared.database import AWAY, trouble
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import dead_letter, reason_of

log = structlog.get_logger(__name__)


class Projector:
    """Keeps the read model up with the log.

    A database that is away holds the run until it is back; the offsets of the run move only then.

    Args:
        engine: the read model.
        service: our name, for dead letters.
        kept: which protected attributes are kept.
    """

    def __init__(self, engine: Engine, service: str, kept: AttributesKept = NO_ATTRIBUTES) -> None:
        self._engine = engine
        self._service = service
        self._kept = kept
        self.patience = Patience("the database", AWAY, trouble, DATABASE_FAILURES.inc)

    async def start(self) -> None:
        """Create what is missing of the schema, and drop attributes that are not kept, once the database is there."""
        await self.patience.until_done(self._set_up)

    async def stop(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    async def handle(self, run: Sequence[Record]) -> list[Output]:
        """Project `run` and return the dead letters in it.

        A record that can't be read becomes one each time it comes, in the database already or not: had the process
        died between the transaction and the writing of the letter, passing over it would lose it.
        """
        reading = _Reading(self._service, self._kept)
        applied = await self.patience.until_done(lambda: self._apply(Run(run, reading.projected)))
        RUN_RECORDS.observe(len(run))
        for table, rows in applied.rows.items():
            ROWS.labels(table).inc(rows)
        return reading.dead

    def _set_up(self) -> None:
        create_schema(self._engine)
        if keep_attributes(self._engine, self._kept.names):
            log.info(
                "other protected attributes than before: what was kept of them is dropped",
                now=sorted(self._kept.names),
            )

    def _apply(self, run: Run) -> Applied:
        begun = monotonic()
        applied = apply_run(self._engine, run)
        TRANSACTION_SECONDS.observe(monotonic() - begun)
        return applied


class _Reading:
    """Projects the records of a run, and makes a dead letter, one, of each that can't be, however often it is asked."""

    def __init__(self, service: str, kept: AttributesKept) -> None:
        self._service = service
        self._kept = kept
        self._dead: dict[tuple[str, int, int], Output] = {}

    @property
    def dead(self) -> list[Output]:
        """The dead letters, in the order of the run."""
        return list(self._dead.values())

    def projected(self, record: Record) -> Projected | None:
        """Return what a record becomes; None when it is a dead letter."""
        try:
            return project(record, self._kept)
        except Exception as exc:
            place = (record.topic, record.partition, record.offset)
            if place not in self._dead:
                self._dead[place] = dead_letter(record, self._reason(record, exc), self._service)
            return None

    def _reason(self, record: Record, error: Exception) -> str:
        if isinstance(error, Poison | ValidationError):
            return reason_of(error)
        # A fault of ours in this one record; the others are not to wait for its mending.
        log.error(
            "could not project",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            exc_info=error,
        )
        return f"fault in the service: {type(error).__name__}"
