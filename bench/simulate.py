"""Measures what-if: the command `tracker simulate` on a snapshot of a made-up company, on one core."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.company import CLOCK, known_employees
from bench.figures import Figure, tell
from bench.installing import LOCAL, PROJECT, commit, own_versions
from bench.lab import this_machine
from bench.options import STOPPED, add_common, as_typed, numbers
from deploy.tracker.folding import write_snapshot
from services.correlator.state import EmployeeState
from shared.company.cycles import PROMOTION_CYCLE
from shared.company.population import Company

SNAPSHOTS: Final = LOCAL / "snapshots"
SCOPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "whole company": {"unit_ids": [], "levels": [], "min_months_in_level": 0},
    "two divisions": {},
}
"""The demo's promotion cycle, with the scope changed or as it is."""


class WrongAnswer(Exception):
    """What was measured did not come to the right result."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a run came to a wrong result and has no figure."""
    asked = _parser().parse_args(arguments)
    console = Console(stderr=True)
    command = as_typed("bench.simulate", sys.argv[1:] if arguments is None else arguments)
    failures = 0
    try:
        tell(this_machine(command, asked.note))
        for employees in asked.employees:
            snapshot, sponsored = _snapshot(employees, console)
            for pair in range(1, asked.pairs + 1):
                for scope in asked.peers:
                    try:
                        _measure(snapshot, employees, sponsored, scope, pair, console)
                    except WrongAnswer as exc:
                        failures += 1
                        console.print(f"{scope}, {employees:,} employees: no figure: {exc}", style="red", markup=False)
    except KeyboardInterrupt:
        return STOPPED
    return 1 if failures else 0


def _measure(snapshot: Path, employees: int, sponsored: int, scope: str, pair: int, console: Console) -> None:
    cycle = SNAPSHOTS / f"{scope.replace(' ', '-')}.json"
    cycle.write_text(json.dumps({**PROMOTION_CYCLE.payload(), **SCOPES[scope]}))
    last_core = max(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(last_core), sys.executable, "-m", "deploy.tracker", "simulate"]
    command += ["--snapshot", str(snapshot), "--cycle", str(cycle), "--json"]
    begun = monotonic()
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as running:
        out = running.stdout.read() if running.stdout is not None else ""
        _, status, used = os.wait4(running.pid, 0)  # and not the usage of all children, whose peak is the greatest ever
        running.returncode = os.waitstatus_to_exitcode(status)
    seconds = monotonic() - begun
    if running.returncode:
        raise WrongAnswer(f"exit code {running.returncode}")
    told = json.loads(out)
    # Everybody who has a sponsor would be asked about, where everybody is in scope: counted without the rules.
    right = told["employees"] == employees and (scope != "whole company" or told["prompts"] == sponsored)
    if not right:
        raise WrongAnswer(f"{told['employees']} employees, {told['prompts']} prompts; {sponsored} have to be asked for")
    versions = {"commit": commit(), **own_versions("msgspec", "pydantic")}
    size = {"employees": employees}
    for name, value, unit in (
        ("run_seconds", seconds, "s"),
        ("run_cpu_seconds", used.ru_utime + used.ru_stime, "s"),
        ("peak_rss_bytes", float(used.ru_maxrss * 1024), "bytes"),
    ):
        tell(Figure("simulate", name, round(value, 3), unit, scope, versions, size, pair))
    console.print(f"{scope}, {employees:,} employees, {pair}: {seconds:.1f} s")


def _snapshot(employees: int, console: Console) -> tuple[Path, int]:
    """Return the snapshot of that size, and how many sponsors its employees have; make it where it is not there yet."""
    SNAPSHOTS.mkdir(parents=True, exist_ok=True)
    path, note = SNAPSHOTS / f"{employees}.snapshot", SNAPSHOTS / f"{employees}.sponsors"
    if path.exists() and note.exists():
        return path, int(note.read_text())
    company = Company(employees)
    sponsored = 0

    def made() -> Iterator[EmployeeState]:
        nonlocal sponsored
        for number, employee in enumerate(known_employees(company)):
            sponsored += len(company.sponsors(number))
            progress.advance(task)
            yield employee

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"making {employees:,} employees", total=employees)
        write_snapshot(path, [(CLOCK, made())])
    note.write_text(str(sponsored))
    return path, sponsored


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulate",
        description="Measure `tracker simulate` on snapshots of a made-up company with a year of achievements, on one "
        "core. One JSON line a figure on stdout; see bench/README.md. Exit code 1: a run came to a wrong result.",
    )
    add_common(parser, list(SCOPES))
    parser.add_argument(
        "--employees",
        type=numbers,
        default=[20_000, 200_000, 1_000_000],
        metavar="N,N",
        help="sizes to measure (default: 20000,200000,1000000; the last takes 10 minutes and 3 GB to make, once)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
