"""Brings a run's rows to PostgreSQL by one COPY into a temporary table, from which a statement a kind takes them.

A statement a row, even in psycopg's pipeline, costs more (decision 025). One table holds rows of all kinds, as text: to
empty a temporary table costs a millisecond or two, and there are two dozen kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Select,
    SmallInteger,
    String,
    Table,
    Text,
    cast,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import ClauseElement

from shared.database import Json, written

Values = Sequence[Any]


class Staging:
    """The temporary table; each connection has its own, which is empty after a commit or a rollback.

    Args:
        kinds: of each kind, by its number, the table that its rows go to and the columns that they have.
    """

    def __init__(self, kinds: Sequence[tuple[Table, Sequence[str]]]) -> None:
        self._kinds = kinds
        self._width = max(len(columns) for _, columns in kinds)
        self._documents = [
            [n for n, name in enumerate(columns) if isinstance(table.c[name].type, Json)] for table, columns in kinds
        ]
        self._table = Table(
            "staged",
            MetaData(),
            Column("kind", SmallInteger),
            *(Column(f"c{n}", Text) for n in range(self._width)),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DELETE ROWS",
        )
        self._create = CreateTable(self._table, if_not_exists=True)
        self._empty = text(f"TRUNCATE {self._table.name}")

    def rows(self, kind: int) -> Select[Any]:
        """Return the query of the rows of a kind, in the order in which they were put in."""
        table, columns = self._kinds[kind]
        typed = []
        for n, name in enumerate(columns):
            found, of = self._table.c[f"c{n}"], table.c[name].type
            is_text = isinstance(of, String | Json)
            typed.append((found if is_text else cast(found, of)).label(name))
        return select(*typed).where(self._table.c.kind == kind)

    def fill(
        self, connection: Connection, rows: Iterable[tuple[int, Iterable[Values]]], *, again: bool = False
    ) -> None:
        """Put rows in, by their kind.

        Args:
            connection: in a transaction.
            rows: of each kind, by its number, the values of its rows.
            again: there are others in it, of the same transaction; they go.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: PostgreSQL does not take it.
        """
        connection.execute(self._empty if again else self._create)
        with copying(connection, self._table.name) as write:
            for kind, values_of_kind in rows:
                padding = (None,) * (self._width - len(self._kinds[kind][1]))
                documents = self._documents[kind]
                for values in values_of_kind:
                    write((kind, *(with_text(values, documents) if documents else values), *padding))


@contextmanager
def copying(connection: Connection, table: str) -> Iterator[Callable[[Values], None]]:
    """Give what writes a row into the table called `table`, by a COPY that ends with the context.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: PostgreSQL does not take it.
    """
    command = f"COPY {table} FROM STDIN"
    with _said_by_sqlalchemy(command), _driver(connection).cursor() as cursor, cursor.copy(command) as copy:
        yield copy.write_row


class UnderWay:
    """Statements that PostgreSQL works at while we do other things; nothing else may be asked of it meanwhile.

    Args:
        connection: in a transaction.
        statements: as `compiled` makes them.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: they can't be sent.
    """

    def __init__(self, connection: Connection, statements: Sequence[str]) -> None:
        self._said = "; ".join(statements)
        driver = _driver(connection)
        with _said_by_sqlalchemy(self._said), ExitStack() as ends:
            ends.enter_context(driver.pipeline())
            # What the first is refused for may be known, and raised, while the last is being sent.
            self._cursors = [driver.execute(statement) for statement in statements]
            self._ends = ends.pop_all()

    def row_counts(self) -> list[int]:
        """Wait for their end; return how many rows each has changed.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: one failed, and those after it were not tried.
        """
        with _said_by_sqlalchemy(self._said):
            self._ends.close()
        return [cursor.rowcount for cursor in self._cursors]


def compiled(statement: ClauseElement) -> str:
    """Return a statement without parameters as PostgreSQL reads it."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


@contextmanager
def _said_by_sqlalchemy(command: str) -> Generator[None, None, None]:
    """Let what the driver raises be what SQLAlchemy raises where it asks it itself: whoever calls knows no driver."""
    try:
        yield
    except psycopg.Error as exc:
        raise DBAPIError.instance(command, None, exc, psycopg.Error, hide_parameters=True) from exc


def with_text(values: Values, documents: Sequence[int]) -> Values:
    """Return the values with these documents as the text that `Json` keeps."""
    kept = list(values)
    for n in documents:
        if kept[n] is not None:
            kept[n] = written(kept[n])
    return kept
