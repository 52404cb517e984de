"""Handles runs of records: project each, apply all in one transaction, and give back what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine

from services.insights.applying import Applied, Projection, apply_run
from services.insights.metrics import DATABASE_FAILURES, ROWS, RUN_RECORDS, TRANSACTION_SECONDS
from services.insights.patience import Patience
from services.insights.projection import NO_ATTRIBUTES, AttributesKept, project
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
        projections, dead = self._read(run)
        applied = await self.patience.until_done(lambda: self._apply(projections))
        RUN_RECORDS.observe(len(run))
        for table, rows in applied.rows.items():
            ROWS.labels(table).inc(rows)
        return dead

    def _set_up(self) -> None:
        create_schema(self._engine)
        if keep_attributes(self._engine, self._kept.names):
            log.info(
                "other protected attributes than before: what was kept of them is dropped",
                now=sorted(self._kept.names),
            )

    def _read(self, run: Sequence[Record]) -> tuple[list[Projection], list[Output]]:
        projections: list[Projection] = []
        dead: list[Output] = []
        for record in run:
            try:
                projected = project(record, self._kept)
            except (Poison, ValidationError) as exc:
                projected = None
                dead.append(dead_letter(record, reason_of(exc), self._service))
            except Exception as exc:
                # A fault of ours in this one record; the others are not to wait for its mending.
                log.exception("could not project", topic=record.topic, partition=record.partition, offset=record.offset)
                projected = None
                dead.append(dead_letter(record, f"fault in the service: {type(exc).__name__}", self._service))
            projections.append(Projection(record.topic, record.partition, record.offset, projected))
        return projections, dead

    def _apply(self, projections: Sequence[Projection]) -> Applied:
        begun = monotonic()
        applied = apply_run(self._engine, projections)
        TRANSACTION_SECONDS.observe(monotonic() - begun)
        return applied
