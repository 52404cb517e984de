"""Reads the facts that measures are taken of from the database, in one moment of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from services.insights.holding import cycle_status, endorsement_stands
from services.insights.measures.facts import (
    END_OF_TIME,
    CycleFacts,
    EndorsementFacts,
    Facts,
    GapFacts,
    Person,
    PromptFacts,
    Standing,
    Tie,
)
from services.insights.tables import (
    achievements,
    attributes,
    cycles,
    deliveries,
    endorsements,
    gaps,
    profiles,
    prompt_views,
    prompts,
    relationships,
)

YEAR: Final = timedelta(days=365)


def load(connection: Connection, now: datetime) -> Facts:
    """Return the facts as of `now`, the log's clock."""
    return Facts(
        now=now,
        people=_people(connection),
        sponsors=_ties(connection, "sponsor"),
        mentors=_ties(connection, "mentor"),
        cycles=load_cycles(connection, now),
        prompts=_prompts(connection),
        gaps=[
            GapFacts(*row)
            for row in connection.execute(
                select(gaps.c.cycle_id, gaps.c.opened_at).where(gaps.c.status == "open", gaps.c.opened_at.is_not(None))
            )
        ],
        endorsements=[
            EndorsementFacts(*row)
            for row in connection.execute(
                select(endorsements.c.employee_id, endorsements.c.cycle_id, endorsements.c.given_at)
                .where(endorsement_stands(), endorsements.c.given_at <= now)
                .order_by(endorsements.c.endorsement_id)
            )
        ],
        achievements=_achievements(connection, now),
    )


def load_attributes(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return of each protected attribute the employees' values; of two subjects that state one, who spoke last."""
    row = attributes.c
    stated = connection.execute(select(row.employee_id, row.said).order_by(row.said_at, row.subject)).all()
    return {name: {employee_id: said[name] for employee_id, said in stated if name in said} for name in names}


def _people(connection: Connection) -> dict[str, Person]:
    row = profiles.c
    found = connection.execute(
        select(
            row.employee_id,
            row.effective_at,
            row.level,
            row.level_since,
            row.unit_path,
            row.location,
            row.active,
        ).order_by(row.employee_id, row.effective_at)
    )
    paths: dict[tuple[str, ...], tuple[str, ...]] = {}
    held: dict[str, list[Standing]] = {}
    for employee_id, at, level, since, path, location, active in found:
        units = tuple(path)
        held.setdefault(employee_id, []).append(
            Standing(at, level, since, paths.setdefault(units, units), location, bool(active))
        )
    return {employee_id: Person(employee_id, tuple(standings)) for employee_id, standings in held.items()}


def _ties(connection: Connection, kind: str) -> list[Tie]:
    row = relationships.c
    found = connection.execute(
        select(row.employee_id, row.other_id, row.started_at, row.ended_at)
        .where(row.kind == kind, row.started_at.is_not(None))
        .order_by(row.relationship_id)
    )
    return [
        # One that began again after its end holds; when the first time was is not kept.
        Tie(employee_id, other_id, begins, END_OF_TIME if ended is None or begins > ended else ended)
        for employee_id, other_id, begins, ended in found
    ]


def load_cycles(connection: Connection, now: datetime) -> list[CycleFacts]:
    """Return the cycles whose definition is known, by id."""
    row = cycles.c
    found = connection.execute(
        select(cycles, cycle_status(now).label("status")).where(row.said_at.is_not(None)).order_by(row.cycle_id)
    ).mappings()
    return [_cycle(cycle) for cycle in found]


def _cycle(row: Any) -> CycleFacts:
    ends_at = row["closes_at"]
    if row["close_said_at"] is not None and (row["close_said_at"], row["close_said_by"]) > (
        row["said_at"],
        row["said_by"],
    ):
        ends_at = min(ends_at, row["closed_at"])
    return CycleFacts(
        cycle_id=row["cycle_id"],
        kind=row["kind"],
        title=row["title"],
        status=row["status"],
        unit_ids=frozenset(row["unit_ids"]),
        levels=frozenset(row["levels"]),
        min_months_in_level=row["min_months_in_level"],
        opens_at=row["opens_at"],
        ends_at=ends_at,
    )


def _prompts(connection: Connection) -> list[PromptFacts]:
    reached = (
        select(deliveries.c.prompt_id, func.min(deliveries.c.at).label("at"))
        .where(deliveries.c.outcome == "delivered")
        .group_by(deliveries.c.prompt_id)
        .subquery()
    )
    viewed = (
        select(prompt_views.c.prompt_id, func.min(prompt_views.c.at).label("at"))
        .group_by(prompt_views.c.prompt_id)
        .subquery()
    )
    row = prompts.c
    found: Iterable[Any] = connection.execute(
        select(
            row.cycle_id,
            row.employee_id,
            row.sponsor_id,
            row.status,
            row.opened_at,
            row.opened_evidence,
            row.opened_strength,
            reached.c.at,
            row.changed_at,
            viewed.c.at,
            endorsements.c.given_at,
        )
        .select_from(
            prompts.outerjoin(reached, reached.c.prompt_id == row.prompt_id)
            .outerjoin(viewed, viewed.c.prompt_id == row.prompt_id)
            .outerjoin(endorsements, endorsements.c.endorsement_id == row.endorsement_id)
        )
        .order_by(row.prompt_id)
    )
    return [PromptFacts(*prompt) for prompt in found]


def _achievements(connection: Connection, now: datetime) -> tuple[int, int]:
    done, unseen = connection.execute(
        select(func.count(), func.count().filter(achievements.c.witnesses == 0)).where(
            achievements.c.retracted.is_(False),
            achievements.c.occurred_on > (now - YEAR).date(),
            achievements.c.occurred_on <= now.date(),
        )
    ).one()
    return done, unseen
