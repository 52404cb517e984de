"""Applies projected records to the database: rows, counts and offsets of one run in one transaction, once.

A partition's `next_offset` is read, under a lock, in the transaction that writes; records below it are in the
database already and are passed over. So a record has its effect once, however often it is delivered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Engine, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from services.insights.projection import Projected
from services.insights.rows import KINDS, Row, column_names, key_columns, newest
from services.insights.tables import counted_events, event_counts, progress

Partition = tuple[str, int]
"""Topic and partition."""

UNREADABLE = "unreadable"
"""The type under which records are counted that became dead letters."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A record's place in the log, and what it became; None for what could not be read."""

    topic: str
    partition: int
    offset: int
    projected: Projected | None


@dataclass(slots=True)
class Applied:
    """What a run changed: rows sent to the database by table, and how far each of its partitions now is."""

    rows: Counter[str] = field(default_factory=Counter)
    next_offsets: dict[Partition, int] = field(default_factory=dict)


def apply_run(engine: Engine, run: Sequence[Projection]) -> Applied:
    """Write the run's rows and offsets; all of it or, when this raises, nothing.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database did not take it; see `shared.database.AWAY` for which
            of these pass.
    """
    if not run:
        return Applied()
    with engine.begin() as connection:
        before = _lock_progress(connection, {(item.topic, item.partition) for item in run})
        fresh = _not_yet_applied(run, before)
        applied = Applied(next_offsets=before)
        if not fresh:
            return applied
        for kind, rows in _in_order(newest(row for item in fresh if item.projected for row in item.projected.rows)):
            connection.execute(_UPSERTS[(engine.dialect.name, kind)], [_values(row) for row in rows])
            applied.rows[kind.table.name] += len(rows)
        _count(connection, fresh)
        for item in fresh:
            applied.next_offsets[(item.topic, item.partition)] = item.offset + 1
        _advance(connection, applied.next_offsets)
        return applied


def read_progress(engine: Engine) -> dict[Partition, int]:
    """Return each partition's next offset, as far as the database knows the partition."""
    with engine.connect() as connection:
        found = connection.execute(select(progress.c.topic, progress.c.partition, progress.c.next_offset))
        return {(topic, partition): offset for topic, partition, offset in found}


def _lock_progress(connection: Connection, partitions: Iterable[Partition]) -> dict[Partition, int]:
    # Writing first takes SQLite's one lock for writers before anything is read, and makes rows for PostgreSQL to lock.
    # Two processes that both believe a partition theirs, after one was thought dead, thus come one after the other.
    wanted = sorted(partitions)
    start = [{"topic": topic, "partition": partition, "next_offset": 0} for topic, partition in wanted]
    connection.execute(insert_into(connection, progress).on_conflict_do_nothing(), start)
    found = connection.execute(
        select(progress.c.topic, progress.c.partition, progress.c.next_offset)
        .where(tuple_(progress.c.topic, progress.c.partition).in_(wanted))
        .order_by(progress.c.topic, progress.c.partition)
        .with_for_update()
    )
    return {(topic, partition): offset for topic, partition, offset in found}


def _not_yet_applied(run: Sequence[Projection], before: Mapping[Partition, int]) -> list[Projection]:
    # Within a run, too, an offset counts once.
    reached = dict(before)
    fresh = []
    for item in run:
        at = (item.topic, item.partition)
        if item.offset >= reached[at]:
            fresh.append(item)
            reached[at] = item.offset + 1
    return fresh


def _count(connection: Connection, fresh: Sequence[Projection]) -> None:
    counted = Counter(
        (item.topic, item.partition, item.projected.type if item.projected else UNREADABLE) for item in fresh
    )
    new = _count_new(connection, fresh)
    statement = insert_into(connection, event_counts)
    statement = statement.on_conflict_do_update(
        index_elements=list(event_counts.primary_key.columns),
        set_={name: event_counts.c[name] + statement.excluded[name] for name in ("records", "events")},
    )
    rows = [
        {"topic": at[0], "partition": at[1], "type": at[2], "records": n, "events": new[at]}
        for at, n in sorted(counted.items())
    ]
    connection.execute(statement, rows)


def _count_new(connection: Connection, fresh: Sequence[Projection]) -> Counter[tuple[str, int, str]]:
    """Count, by topic, partition and type, the career events whose id was not there; and keep their ids."""
    types: dict[tuple[int, int], tuple[str, int, str]] = {}
    for item in fresh:
        if item.projected is not None and item.projected.counted_by is not None:
            place = (item.partition, _digest(item.projected.counted_by))
            types.setdefault(place, (item.topic, item.partition, item.projected.type))
    if not types:
        return Counter()
    statement = insert_into(connection, counted_events).on_conflict_do_nothing()
    rows = [{"partition": partition, "digest": digest} for partition, digest in sorted(types)]
    kept = connection.execute(statement.returning(counted_events.c.partition, counted_events.c.digest), rows)
    return Counter(types[partition, digest] for partition, digest in kept)


def _digest(event_id: str) -> int:
    # 64 bits and not the id, which has 36 characters. Of a hundred million events in a partition two meet with
    # a probability of 0.03 %, and then one of them is not counted.
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big", signed=True)


def _advance(connection: Connection, next_offsets: Mapping[Partition, int]) -> None:
    statement = insert_into(connection, progress)
    statement = statement.on_conflict_do_update(
        index_elements=list(progress.primary_key.columns),
        set_={"next_offset": statement.excluded.next_offset},
        where=statement.excluded.next_offset > progress.c.next_offset,
    )
    rows = [
        {"topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in sorted(next_offsets.items())
    ]
    connection.execute(statement, rows)


def _in_order(rows: Mapping[type[Row], list[Row]]) -> Iterable[tuple[type[Row], list[Row]]]:
    return ((kind, rows[kind]) for kind in KINDS if kind in rows)


def _values(row: Row) -> dict[str, Any]:
    return dict(row.columns())


def insert_into(connection: Connection, table: Any) -> Any:
    """Return an insert of this database's own kind, which knows what to do on a conflict."""
    return _DIALECTS[connection.dialect.name](table)


def _upsert(kind: type[Row], dialect: str) -> Any:
    """Return the statement that inserts a row, or updates its own columns where it is newer than what is there."""
    table = kind.table
    statement = _DIALECTS[dialect](table)
    keys = key_columns(kind)
    changed = {name: statement.excluded[name] for name in column_names(kind) if name not in keys}
    if not kind.newer_by or not changed:
        return statement.on_conflict_do_nothing()
    ours = [table.c[name] for name in kind.newer_by]
    theirs = [statement.excluded[name] for name in kind.newer_by]
    # The row may be there without this part of it: a relationship's end was known before its start.
    return statement.on_conflict_do_update(
        index_elements=keys, set_=changed, where=or_(ours[0].is_(None), tuple_(*theirs) > tuple_(*ours))
    )


_DIALECTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_UPSERTS = {(dialect, kind): _upsert(kind, dialect) for dialect in _DIALECTS for kind in KINDS}
