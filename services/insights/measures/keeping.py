"""Keeps what was measured in the database, for the API, the pages and whoever reads it by SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, or_, select

from services.insights.applying import insert_into
from services.insights.measures.comparing import Compared, View, compare, quarter
from services.insights.measures.facts import Facts
from services.insights.measures.grouping import UNIT_AND_LEVEL
from services.insights.measures.loading import load, load_attributes
from services.insights.measures.measure import WHOLE, Moment, Value
from services.insights.measures.taking import Taken, take
from services.insights.tables import (
    clock,
    compared,
    comparisons,
    measured,
    measurements,
    measurements_over_time,
    progress,
)
from shared.database import for_reading


@dataclass(frozen=True, slots=True)
class Measured:
    """What is kept: the values, the log's clock and the records projected when they were taken, and the k of then.

    Attributes:
        taken: without groups that are hidden, except the cells of tables.
        hidden: how many groups are hidden, by measure, cycle and dimension.
    """

    clock: datetime | None
    records: int
    k: int
    taken: Taken
    hidden: Mapping[tuple[str, str, str], int]


@dataclass(frozen=True, slots=True)
class AttributeTold:
    """What is told of a protected attribute.

    Attributes:
        at: when the quarter began that it was compared by last; None before the first time.
        k: the fewest people about whom something was told then.
        hidden: how many views were not told then.
    """

    attribute: str
    at: datetime | None
    k: int
    hidden: int
    values: tuple[Compared, ...]


def measure(engine: Engine, k: int) -> Taken | None:
    """Take all measures and keep them, unless those that are kept are of the same records and k; then return None.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away, or did not take it; what was kept stays.
    """
    with for_reading(engine).connect() as connection:
        records = _records(connection)
        if connection.execute(select(measured.c.records, measured.c.k)).first() == (records, k):
            return None
        now = connection.execute(select(clock.c.now)).scalar()
        facts = None if now is None else load(connection, now)
    taken = Taken((), ()) if facts is None else take(facts, k)
    with engine.begin() as connection:
        _keep(connection, facts, records, k, taken)
    return taken


def compare_when_due(engine: Engine, k: int, attributes: Sequence[str]) -> list[str]:
    """Compare by each attribute that was not compared by in this quarter yet, keep what may be told; return which.

    One of which nobody has said anything waits: what is told stands for the quarter, and there would be nothing in it
    for a company that turns an attribute on before its source has told of it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away, or did not take it; nothing has changed then.
    """
    with for_reading(engine).connect() as connection:
        now = connection.execute(select(clock.c.now)).scalar()
        if now is None:
            return []
        at = quarter(now)
        done = set(connection.execute(select(compared.c.attribute).where(compared.c.at >= at)).scalars())
        due = [name for name in attributes if name not in done]
        if not due:
            return []
        said = load_attributes(connection, due)
        due = [name for name in due if said[name]]
        if not due:
            return []
        facts = load(connection, now)
        earlier = {name: _views_told(connection, name) for name in due}
    told = {name: compare(facts, name, said[name], earlier[name], k) for name in due}
    with engine.begin() as connection:
        heads = [{"attribute": name, "at": at, "k": k, "hidden": of.hidden} for name, of in told.items()]
        # Another process may have been quicker: it has told the same, and what it told stands.
        mine = set(
            connection.execute(
                insert_into(connection, compared).on_conflict_do_nothing().returning(compared.c.attribute), heads
            ).scalars()
        )
        if rows := [_row(value) for name, of in told.items() if name in mine for value in of.values]:
            connection.execute(comparisons.insert(), rows)
    return sorted(mine)


def read_comparisons(connection: Connection, attributes: Sequence[str]) -> list[AttributeTold]:
    """Return of each attribute what is told: coverage in the newest quarter, and each cycle as it was told once."""
    found = []
    for name in attributes:
        head = connection.execute(
            select(compared.c.at, compared.c.k, compared.c.hidden)
            .where(compared.c.attribute == name)
            .order_by(compared.c.at.desc())
        ).first()
        if head is None:
            found.append(AttributeTold(name, None, 0, 0, ()))
            continue
        row = comparisons.c
        rows = connection.execute(
            select(comparisons)
            .where(row.attribute == name, or_(row.at == head.at, row.cycle_id != WHOLE))
            .order_by(row.at, row.place)
        ).mappings()
        found.append(AttributeTold(name, *head, tuple(Compared(**dict(one)) for one in rows)))
    return found


def _views_told(connection: Connection, attribute: str) -> list[View]:
    row = comparisons.c
    columns = [row[name] for name in View._fields]
    return [View(*found) for found in connection.execute(select(*columns).where(row.attribute == attribute).distinct())]


def read_measured(connection: Connection) -> Measured:
    """Return what is kept; nothing of it before it was measured first."""
    head = connection.execute(select(measured.c.clock, measured.c.records, measured.c.k)).first()
    if head is None:
        return Measured(None, 0, 0, Taken((), ()), {})
    row = measurements.c
    # Not all of what is hidden: in a large company that is ten thousand small teams.
    told = select(measurements).where(or_(row.hidden.is_(False), row.dimension == UNIT_AND_LEVEL)).order_by(*_PLACE)
    values = tuple(Value(**dict(found)) for found in connection.execute(told).mappings())
    moments = connection.execute(select(measurements_over_time).order_by(*_WHEN)).mappings()
    of = (row.measure, row.cycle_id, row.dimension)
    counted = connection.execute(select(*of, func.count()).where(row.hidden).group_by(*of))
    return Measured(
        *head,
        Taken(values, tuple(Moment(**dict(found)) for found in moments)),
        {(name, cycle_id, dimension): n for name, cycle_id, dimension, n in counted},
    )


def _keep(connection: Connection, facts: Facts | None, records: int, k: int, taken: Taken) -> None:
    # The one row comes first: its lock makes another process that keeps its own wait until this one has ended.
    head = {"only": 1, "clock": None if facts is None else facts.now, "records": records, "k": k}
    statement = insert_into(connection, measured)
    connection.execute(statement.on_conflict_do_update(index_elements=["only"], set_=head), head)
    connection.execute(measurements.delete())
    connection.execute(measurements_over_time.delete())
    if taken.values:
        connection.execute(measurements.insert(), [_row(value) for value in taken.values])
    if taken.moments:
        connection.execute(measurements_over_time.insert(), [_row(moment) for moment in taken.moments])


def _row(of: Value | Moment | Compared) -> dict[str, Any]:
    # dataclasses.asdict copies what it finds as well, which for ten thousands of groups takes seconds.
    return {field.name: getattr(of, field.name) for field in fields(of)}


def _records(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(progress.c.next_offset), 0))).scalar_one())


_PLACE = (
    measurements.c.measure,
    measurements.c.cycle_id,
    measurements.c.dimension,
    measurements.c.place,
    measurements.c.group_id,
    measurements.c.across_id,
)
_WHEN = (measurements_over_time.c.measure, measurements_over_time.c.at)
