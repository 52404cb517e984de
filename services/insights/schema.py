"""Brings the database's tables to what the code expects, by Alembic's migrations in `migrations/versions`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select, text

from services.insights.tables import MEASURED, TOLD, attribute_names, attributes, cycles, event_counts, progress
from shared.streaming.topics import ATTRIBUTES

FIRST: Final = "0001"
"""The schema as it was when Alembic came: databases from before have its tables, and no note of a revision."""

DASHBOARDS: Final = "measures_reader"
"""The role as which Grafana reads, where a PostgreSQL has it: measures and the names of cycles, and no person."""

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x696E7369
"""PostgreSQL's advisory lock under which the schema changes; the number means nothing."""


class NewerSchema(Exception):
    """The database was changed by a newer version of insights than this one; the message says what to do."""


def create_schema(engine: Engine) -> None:
    """Create or change the tables to the newest schema; does nothing where they have it.

    Processes that start together take turns. Either all steps are taken or, when this raises, none.

    Raises:
        NewerSchema: the database has a schema that this code does not know.
        sqlalchemy.exc.SQLAlchemyError: the database did not take it.
    """
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    with engine.begin() as connection:
        _take_turns(connection)
        at = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if at is not None and at not in known:
            raise NewerSchema(
                f"the database has the schema {at}, which this version of insights does not know: it was changed by a "
                "newer version. Start that one; or set INSIGHTS_DATABASE_URL to an empty database, it fills by itself"
            )
        config.attributes["connection"] = connection
        if at is None and inspect(connection).has_table("progress"):
            command.stamp(config, FIRST)
        command.upgrade(config, "head")
        _let_dashboards_read(connection)


def keep_attributes(engine: Engine, names: Collection[str]) -> bool:
    """Let the read model be of these protected attributes and no others; tell whether it was of others before.

    Then all of them are dropped, and their topic is read anew, for what it says of a name that is new was passed over
    until now. What was told by an attribute that is compared by no more goes as well.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database did not take it; nothing has changed then.
    """
    with engine.begin() as connection:
        _take_turns(connection)
        if set(connection.execute(select(attribute_names.c.name)).scalars()) == set(names):
            return False
        for table in (attribute_names, attributes):
            connection.execute(table.delete())
        for table in (progress, event_counts):
            connection.execute(table.delete().where(table.c.topic == ATTRIBUTES))
        for table in TOLD:
            connection.execute(table.delete().where(table.c.attribute.not_in(names)))
        if names:
            connection.execute(attribute_names.insert(), [{"name": name} for name in sorted(names)])
        return True


def _take_turns(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        # A transaction that begins by reading is refused its first write if another wrote meanwhile; this one writes.
        connection.exec_driver_sql("PRAGMA user_version = 1")


def _let_dashboards_read(connection: Connection) -> None:
    # At each start, for the role may have been made meanwhile, or a table been made anew.
    if connection.dialect.name != "postgresql":
        return
    if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": DASHBOARDS}).first():
        tables = ", ".join(table.name for table in (*MEASURED, cycles))
        connection.execute(text(f"GRANT SELECT ON {tables} TO {DASHBOARDS}"))
