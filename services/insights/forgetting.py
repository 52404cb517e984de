"""Deletes a person from the read model: their rows, and what rows of others say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, or_, select, update

from services.insights.tables import (
    achievements,
    attributes,
    deliveries,
    endorsements,
    gap_history,
    gaps,
    profiles,
    prompt_history,
    prompt_views,
    prompts,
    relationships,
)

_THEIRS: Final[tuple[tuple[Table, tuple[str, ...]], ...]] = (
    (profiles, ("employee_id",)),
    (relationships, ("employee_id", "other_id")),
    (achievements, ("employee_id",)),
    (endorsements, ("employee_id", "sponsor_id")),
    (deliveries, ("sponsor_id",)),
    (prompts, ("employee_id", "sponsor_id")),
    (gaps, ("employee_id",)),
    (attributes, ("employee_id",)),
)
"""Tables whose rows are about people: each goes with anybody whom one of these columns names."""
_OF_PROMPTS: Final = (prompt_history, prompt_views)
"""What is deleted with a prompt. A delivery stays, as it does in the log: it names its sponsor alone."""
_LISTS: Final = ((prompts, "body"), (gaps, "suggestions"))
"""Documents of others' rows that have lists in which the person may be one."""

Names = Callable[[str], bool]
"""Tells whether a text names the person."""


def forget(engine: Engine, employee_id: str, names: Names) -> Counter[str]:
    """Delete all that the read model has of a person, in one transaction; return how many rows of each table changed.

    A rebuild from the log gives the same rows once the log can't be read for this person any more, but for how many
    witnesses an achievement had, which counts them still.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away or did not take it; nothing has changed then.
    """
    changed: Counter[str] = Counter()
    with engine.begin() as connection:
        theirs = or_(prompts.c.employee_id == employee_id, prompts.c.sponsor_id == employee_id)
        for table in _OF_PROMPTS:
            _delete(connection, table, table.c.prompt_id.in_(select(prompts.c.prompt_id).where(theirs)), changed)
        of_gaps = select(gaps.c.gap_id).where(gaps.c.employee_id == employee_id)
        _delete(connection, gap_history, gap_history.c.gap_id.in_(of_gaps), changed)
        for table, columns in _THEIRS:
            _delete(connection, table, or_(*(table.c[column] == employee_id for column in columns)), changed)
        managed = update(profiles).where(profiles.c.manager_id == employee_id).values(manager_id=None)
        changed[profiles.name] += connection.execute(managed).rowcount
        for table, column in _LISTS:
            changed[table.name] += _clean(connection, table, column, names)
    return +changed


def scrub(engine: Engine) -> None:
    """Make the database give up the bytes of deleted rows.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away, or somebody holds the tables.
    """
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as raw:  # ours would begin a transaction, in which neither can be done
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                raw.cursor().execute(statement)
        return
    tables = {table.name for table, _ in _THEIRS} | {table.name for table in _OF_PROMPTS} | {gap_history.name}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in sorted(tables):
            # ANALYZE, for the statistics hold the most common values of each column, names among them.
            connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {table}")
        # What they held before. Whose role may not is warned by the server, and it is left to autovacuum.
        connection.exec_driver_sql("VACUUM FULL pg_statistic")


def _delete(connection: Connection, table: Table, which: Any, changed: Counter[str]) -> None:
    changed[table.name] += connection.execute(table.delete().where(which)).rowcount


def _clean(connection: Connection, table: Table, column: str, names: Names) -> int:
    """Take the person out of the lists of a document, wherever a part of one names them."""
    key = next(iter(table.primary_key.columns))
    found = connection.execute(select(key, table.c[column]).where(table.c[column].is_not(None)))
    changes = [(row_key, after) for row_key, document in found if (after := _without(document, names)) != document]
    for row_key, after in changes:
        connection.execute(update(table).where(key == row_key).values({column: after}))
    return len(changes)


def _without(document: Any, names: Names) -> Any:
    if isinstance(document, dict):
        return {name: _without(value, names) for name, value in document.items()}
    if isinstance(document, list):
        return [_without(part, names) for part in document if not any(map(names, _ids(part)))]
    return document


def _ids(part: Any) -> Iterable[str]:
    """Yield what names whom a part of a list is about: its ids, and not its words."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        yield from (value for name, value in part.items() if name.endswith("_id") and isinstance(value, str))
