"""Measures how fast insights' read model is filled on PostgreSQL: records as bytes in, rows committed out; no Kafka.

In turn, each into a new database of one durable server: `insights`, its own way (a COPY, then a statement a kind of
row; offsets and counts with them); `each-row`, the same upserts a row at a time in a pipeline, as it was before;
`copy-alone`, the same rows by COPY into tables without keys, which is the limit. All project the same records, and
commit the same runs.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import insert

from bench.company_log import log_of
from bench.figures import Figure, tell
from bench.installing import commit, own_versions
from bench.lab import cpu_seconds, this_machine
from bench.options import STOPPED, add_common, as_typed, at_least_one, numbers
from deploy.postgres import Postgres, a_postgres
from services.insights.applying import Run, apply_run, upsert
from services.insights.copying import copying, with_text
from services.insights.projection import project
from services.insights.rows import KINDS, AchievementRow, Row, column_names, newest
from services.insights.schema import create_schema
from services.insights.settings import InsightsSettings
from shared.company.population import Company
from shared.database import Json, open_database
from shared.streaming.records import Record

ACHIEVEMENTS: Final = 18
"""Of each employee, a year's: they are three of four records."""

Apply = Callable[[Sequence[Record]], object]


class WrongAnswer(Exception):
    """What was filled does not hold what it should."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling took; the server's part is that of our one connection."""

    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a run came to a wrong result and has no figure."""
    asked = _parser().parse_args(arguments)
    console = Console(stderr=True)
    failures = 0
    try:
        tell(this_machine(as_typed("bench.readmodel", sys.argv[1:] if arguments is None else arguments), asked.note))
        with a_postgres(durable=True) as server:
            for employees in asked.employees:
                with console.status(f"making the log of {employees:,} employees"):
                    log = list(log_of(Company(employees), ACHIEVEMENTS))
                gc.freeze()  # a service does not hold its log: what is collected is to be what it makes of a run
                for pair in range(1, asked.pairs + 1):
                    for peer in asked.peers:
                        try:
                            filled = _fill(server, log, peer, asked.run)
                        except WrongAnswer as exc:
                            failures += 1
                            console.print(f"{peer}: no figure: {exc}", style="red", markup=False)
                            continue
                        _tell(peer, employees, len(log), pair, asked.run, filled)
                        console.print(
                            f"{peer}, {employees:,} employees, {pair}: {len(log) / filled.seconds:,.0f} events/s"
                        )
    except KeyboardInterrupt:
        return STOPPED
    return 1 if failures else 0


def _tell(peer: str, employees: int, events: int, pair: int, run: int, filled: Filled) -> None:
    versions = {"commit": commit(), **own_versions("psycopg", "sqlalchemy", "pydantic")}
    size = {"events": events, "employees": employees, "events of a run": run}
    for name, value, unit in (
        ("events_per_second", events / filled.seconds, "events/s"),
        ("events_per_cpu_second", events / filled.cpu_seconds, "events/CPU-s"),
        ("server_cpu_seconds", filled.server_cpu_seconds, "s"),
    ):
        tell(Figure("readmodel", name, round(value, 3), unit, peer, versions, size, pair))


def _fill(server: Postgres, log: Sequence[Record], peer: str, run: int) -> Filled:
    engine = open_database(server.new_database(), "bench")
    try:
        create_schema(engine)
        apply, held = _PEERS[peer](engine)
        with engine.connect() as connection:
            pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("CHECKPOINT"))  # what the run before has left to write is not this one's work
        begun, cpu, server_cpu = time.monotonic(), time.process_time(), cpu_seconds(pid)
        for start in range(0, len(log), run):
            apply(log[start : start + run])
        filled = Filled(time.monotonic() - begun, time.process_time() - cpu, cpu_seconds(pid) - server_cpu)
        done = sum(b'"type":"achievement.recorded"' in (of.value or b"") for of in log)
        with engine.connect() as connection:
            found = connection.execute(text(f"SELECT count(*) FROM {held}")).scalar_one()
        if found != done:
            raise WrongAnswer(f"{found} achievements are in the table, and right are {done}")
        return filled
    finally:
        engine.dispose()


# -- the peers: how they apply a run, and where achievements are then ------------------------------


def _insights(engine: Engine) -> tuple[Apply, str]:
    return lambda run: apply_run(engine, Run(run, project)), AchievementRow.table.name


def _each_row(engine: Engine) -> tuple[Apply, str]:
    upserts = {kind: upsert(kind, insert(kind.table)) for kind in KINDS}

    def write(connection: Connection, kind: type[Row], rows: Sequence[Row]) -> None:
        connection.execute(upserts[kind], [dict(row.columns()) for row in rows])

    return _writing(engine, write), AchievementRow.table.name


def _copy_alone(engine: Engine) -> tuple[Apply, str]:
    def bare(kind: type[Row]) -> str:
        return f"bare_{kind.__name__.lower()}"

    with engine.begin() as connection:
        for kind in KINDS:
            columns = ", ".join(f'"{name}"' for name in column_names(kind))
            made = f"CREATE TABLE {bare(kind)} AS SELECT {columns} FROM {kind.table.name} WITH NO DATA"
            connection.execute(text(made))

    documents = {
        kind: [n for n, name in enumerate(column_names(kind)) if isinstance(kind.table.c[name].type, Json)]
        for kind in KINDS
    }

    def write(connection: Connection, kind: type[Row], rows: Sequence[Row]) -> None:
        with copying(connection, bare(kind)) as write_row:
            for row in rows:
                write_row(with_text(row.values, documents[kind]) if documents[kind] else row.values)

    return _writing(engine, write), bare(AchievementRow)


def _writing(engine: Engine, write: Callable[[Connection, type[Row], Sequence[Row]], None]) -> Apply:
    def apply(run: Sequence[Record]) -> None:
        rows = newest(row for record in run for row in project(record).rows)
        with engine.begin() as connection:
            for kind, of_kind in rows.items():
                write(connection, kind, of_kind)

    return apply


_PEERS: Final[Mapping[str, Callable[[Engine], tuple[Apply, str]]]] = {
    "insights": _insights,
    "each-row": _each_row,
    "copy-alone": _copy_alone,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.readmodel",
        description="Measure how fast insights' read model is filled on PostgreSQL, beside a statement a row and bare "
        "COPY. One JSON line a figure on stdout; see bench/README.md. Exit code 1: a run came to a wrong result.",
    )
    add_common(parser, list(_PEERS))
    parser.add_argument(
        "--employees",
        type=numbers,
        default=[10_000],
        metavar="N,N",
        help="sizes to measure (default: 10000, some 245,000 events)",
    )
    default: Any = InsightsSettings.model_fields["max_run"].default
    parser.add_argument(
        "--run", type=at_least_one, default=default, metavar="N", help="events of a transaction (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
