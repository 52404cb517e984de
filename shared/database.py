"""Opens a read model's database, SQLite or PostgreSQL, so that both keep the same promises."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, DateTime, Dialect, Engine, Text, TypeDecorator, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

CONNECT_SECONDS = 5
"""How long a database may take to answer a connection before it counts as away."""

AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
"""What a database raises that can't do its work now but may later: away, locked, full, out of connections, or one
of two that waited for each other. The same work is right when it is tried again."""


def open_database(url: str, name: str) -> Engine:
    """Return the engine for `url`; nothing is connected yet. `name` is what a PostgreSQL server shows of us."""
    parsed = make_url(url)
    # No parameters in messages: they are names and other people's business.
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").absolute().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": 30})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": name},
    )


def for_reading(engine: Engine) -> Engine:
    """Return `engine` with transactions in which all queries see the same moment."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ")
    return engine  # SQLite's transactions, in WAL mode, do so anyway


def trouble(error: BaseException) -> str:
    """Return what the database said, in one line without values, for a log or for `/readyz`."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first_line = next(iter(str(said).strip().splitlines()), "")
    return f"{type(said).__name__}: {first_line}" if first_line else type(said).__name__


class UtcTime(TypeDecorator[datetime]):
    """An aware time; SQLite has no zones, so there it lies as UTC in text, in a form that sorts as the times do."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as the database takes it."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Return the time, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A document that is kept and shown whole, as text with its keys in order: the same document is the same text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, _: Dialect) -> str | None:
        """Return the document as text."""
        return None if value is None else written(value)

    def process_result_value(self, value: str | None, _: Dialect) -> Any:
        """Return the document."""
        return None if value is None else orjson.loads(value)


def written(document: Any) -> str:
    """Return a document as `Json` keeps it."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Python's sqlite3 begins transactions by itself, and not before a SELECT; we begin them, always.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Readers don't wait for the writer, nor it for them.
    cursor.execute("PRAGMA journal_mode=WAL")
    # A crash of the process loses nothing; one of the machine may lose the last transactions, together with the
    # offsets in them, and then they are projected again.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
