"""Applies projected records to the database: rows, counts and offsets of one run in one transaction, once.

A partition's `next_offset` is read, under a lock, in the transaction that writes; records below it are in the
database already and are passed over. So a record has its effect once, however often it is delivered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from msgspec import Struct
from sqlalchemy import Connection, Engine, or_, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from services.insights.copying import Staging, UnderWay, compiled
from services.insights.projection import Projected
from services.insights.rows import KINDS, AttributesRow, Row, column_names, key_columns, newest
from services.insights.tables import attributes, counted_events, event_counts, progress
from shared.streaming.records import Record

Partition = tuple[str, int]
"""Topic and partition."""
Rows = Mapping[type[Row], Sequence[Row]]

UNREADABLE = "unreadable"
"""The type under which records are counted that became dead letters."""


PART_RECORDS: Final = 1000
"""Records of a run that are projected, and written, together: while PostgreSQL merges one part, the next is made."""


class Projection(Struct, frozen=True, gc=False):
    """A record's place in the log, and what it became; None for what could not be read."""

    topic: str
    partition: int
    offset: int
    projected: Projected | None


@dataclass(frozen=True, slots=True)
class Run:
    """Records that are applied together.

    Attributes:
        records: those of one partition in their order.
        projected: what a record becomes; None when it can't be read. Asked again when the run is applied again; what it
            raises, applying raises.
        together: how many are projected, and written, at a time.
    """

    records: Sequence[Record]
    projected: Callable[[Record], Projected | None]
    together: int = PART_RECORDS

    @property
    def partitions(self) -> frozenset[Partition]:
        """Whose records they are."""
        return frozenset((record.topic, record.partition) for record in self.records)

    def parts(self) -> Iterator[Sequence[Projection]]:
        """Yield the projections, some at a time; they are not kept."""
        for start in range(0, len(self.records), self.together):
            yield [
                Projection(record.topic, record.partition, record.offset, self.projected(record))
                for record in self.records[start : start + self.together]
            ]


@dataclass(slots=True)
class Applied:
    """What a run changed: rows sent to the database by table, and how far each of its partitions now is."""

    rows: Counter[str] = field(default_factory=Counter)
    next_offsets: dict[Partition, int] = field(default_factory=dict)


def apply_run(engine: Engine, run: Run) -> Applied:
    """Write the run's rows and offsets; all of it or, when this raises, nothing.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database did not take it; see `shared.database.AWAY` for which
            of these pass.
    """
    if not run.records:
        return Applied()
    with engine.begin() as connection, closing(_WRITERS[engine.dialect.name](connection)) as writer:
        applied = Applied(next_offsets=_lock_progress(connection, run.partitions))
        seen: Counter[Type] = Counter()
        types: dict[Digest, Type] = {}
        for part in run.parts():
            fresh = _not_yet_applied(part, applied.next_offsets)
            if not fresh:
                continue
            rows = newest(row for item in fresh if item.projected for row in item.projected.rows)
            digests = {digest: of for digest, of in _digests(fresh).items() if digest not in types}
            writer.write(rows, sorted(digests))
            types |= digests
            for kind, of_kind in rows.items():
                applied.rows[kind.table.name] += len(of_kind)
            seen.update(_type_of(item) for item in fresh)
        new = writer.new()
        if not seen:
            return applied
        if AttributesRow.table.name in applied.rows:  # what is taken back is not kept, not even that it was there
            connection.execute(attributes.delete().where(attributes.c.said.is_(None)))
        _count(connection, seen, Counter(types[digest] for digest in new))
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


def _not_yet_applied(part: Sequence[Projection], reached: dict[Partition, int]) -> list[Projection]:
    """Return what lies beyond what is reached, and move that on: within a run, too, an offset counts once."""
    fresh = []
    for item in part:
        at = (item.topic, item.partition)
        if item.offset >= reached[at]:
            fresh.append(item)
            reached[at] = item.offset + 1
    return fresh


Type = tuple[str, int, str]
"""Topic, partition and type: what records are counted by."""
Digest = tuple[int, int]
"""Partition, and the digest of an event's id."""


def _type_of(item: Projection) -> Type:
    return item.topic, item.partition, item.projected.type if item.projected else UNREADABLE


def _count(connection: Connection, counted: Mapping[Type, int], new: Mapping[Type, int]) -> None:
    statement = insert_into(connection, event_counts)
    statement = statement.on_conflict_do_update(
        index_elements=list(event_counts.primary_key.columns),
        set_={name: event_counts.c[name] + statement.excluded[name] for name in ("records", "events")},
    )
    rows = [
        {"topic": at[0], "partition": at[1], "type": at[2], "records": n, "events": new.get(at, 0)}
        for at, n in sorted(counted.items())
    ]
    connection.execute(statement, rows)


def _digests(fresh: Sequence[Projection]) -> dict[Digest, Type]:
    types: dict[Digest, Type] = {}
    for item in fresh:
        if item.projected is not None and item.projected.counted_by is not None:
            place = (item.partition, _digest(item.projected.counted_by))
            types.setdefault(place, (item.topic, item.partition, item.projected.type))
    return types


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


# -- to either database: all rows, and the digests; those that were not there come back ------------


class _Writer(Protocol):
    """Writes the parts of a run, in one transaction."""

    def __init__(self, connection: Connection) -> None: ...

    def write(self, rows: Rows, digests: Sequence[Digest]) -> None:
        """Write a part, perhaps not before the next is written or `new` is asked."""

    def new(self) -> Sequence[Digest]:
        """Return, when all is written, the digests that were not there."""

    def close(self) -> None:
        """Leave the connection as others can use it."""


class _EachRow:
    """A row at a time: SQLite's way, where a statement is a function call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new: list[Digest] = []

    def write(self, rows: Rows, digests: Sequence[Digest]) -> None:
        for kind in _present(rows):
            self._connection.execute(_UPSERTS[kind], [dict(row.columns()) for row in rows[kind]])
        if not digests:
            return
        statement = insert_into(self._connection, counted_events).on_conflict_do_nothing()
        wanted = [{"partition": partition, "digest": digest} for partition, digest in digests]
        kept = self._connection.execute(
            statement.returning(counted_events.c.partition, counted_events.c.digest), wanted
        )
        self._new.extend((partition, digest) for partition, digest in kept)

    def new(self) -> Sequence[Digest]:
        return self._new

    def close(self) -> None:
        pass


class _Copied:
    """PostgreSQL's way: a COPY, then a statement a kind, at which it works while the next part is being made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._under_way: UnderWay | None = None
        self._digests: Sequence[Digest] = ()
        self._new: list[Digest] = []
        self._filled = False

    def write(self, rows: Rows, digests: Sequence[Digest]) -> None:
        self._settle()
        present = _present(rows)
        _STAGING.fill(
            self._connection,
            [*((KINDS.index(kind), (row.values for row in rows[kind])) for kind in present), (_DIGESTS, digests)],
            again=self._filled,
        )
        self._filled = True
        counting = [_SAVEPOINT, _COUNT] if digests else []
        self._digests = digests
        self._under_way = UnderWay(self._connection, [*(_MERGES[kind] for kind in present), *counting])

    def new(self) -> Sequence[Digest]:
        self._settle()
        return self._new

    def close(self) -> None:
        if self._under_way is not None:  # something else has failed, and that is what is told
            with suppress(SQLAlchemyError):
                self._under_way.row_counts()

    def _settle(self) -> None:
        if self._under_way is None:
            return
        under_way, self._under_way = self._under_way, None
        row_counts = under_way.row_counts()
        if not self._digests:
            return
        # As a rule none was there, and how many went in says so: each row that comes back costs as much as to copy one,
        # and a join of what went in with what was to go in may be planned as a loop in a loop, for a second a run.
        if row_counts[-1] == len(self._digests):
            self._new.extend(self._digests)
            return
        self._connection.execute(text(_BACK))
        self._new.extend((partition, digest) for partition, digest in self._connection.execute(_COUNT_AND_TELL_NEW))


def _present(rows: Rows) -> list[type[Row]]:
    return [kind for kind in KINDS if kind in rows]


def insert_into(connection: Connection, table: Any) -> Any:
    """Return an insert of this database's own kind, which knows what to do on a conflict."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name](table)


def upsert(kind: type[Row], insert: Any) -> Any:
    """Return the statement that inserts rows, or updates their own columns where they are newer than what is there."""
    keys = key_columns(kind)
    changed = {name: insert.excluded[name] for name in column_names(kind) if name not in keys}
    if not kind.newer_by or not changed:
        return insert.on_conflict_do_nothing()
    ours = [kind.table.c[name] for name in kind.newer_by]
    theirs = [insert.excluded[name] for name in kind.newer_by]
    # The row may be there without this part of it: a relationship's end was known before its start.
    return insert.on_conflict_do_update(
        index_elements=keys, set_=changed, where=or_(ours[0].is_(None), tuple_(*theirs) > tuple_(*ours))
    )


_UPSERTS = {kind: upsert(kind, sqlite.insert(kind.table)) for kind in KINDS}
_STAGING = Staging([*((kind.table, column_names(kind)) for kind in KINDS), (counted_events, ("partition", "digest"))])
_DIGESTS = len(KINDS)
_MERGES = {
    kind: compiled(
        upsert(
            kind, postgresql.insert(kind.table).from_select(list(column_names(kind)), _STAGING.rows(KINDS.index(kind)))
        )
    )
    for kind in KINDS
}
_COUNTING = (
    postgresql.insert(counted_events)
    .from_select(["partition", "digest"], _STAGING.rows(_DIGESTS))
    .on_conflict_do_nothing()
)
_COUNT = compiled(_COUNTING)
_COUNT_AND_TELL_NEW = _COUNTING.returning(counted_events.c.partition, counted_events.c.digest)
_SAVEPOINT = "SAVEPOINT counting"
_BACK = "ROLLBACK TO SAVEPOINT counting"
_WRITERS: Mapping[str, type[_Writer]] = {"sqlite": _EachRow, "postgresql": _Copied}
