"""Folds the log into a file of all that is known of each employee, for simulate: a million are read in a minute."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.tracker.folding import Fold, Stretch, folded, write_snapshot
from deploy.tracker.options import add_bootstrap_servers, add_until, person_keys, watched
from shared.streaming.reading import NotRead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="where to; only you will be able to read it")
    add_until(parser)
    add_bootstrap_servers(parser)
    parser.epilog = (
        "The file holds personal data: what decisions need, without titles, outcomes and statements, and the names of "
        "those alone who may be asked. Delete it when you are done. Exit code 0: written; 1: it could not be."
    )


def run(asked: argparse.Namespace) -> int:
    """Write the snapshot."""
    left_out: list[int] = []
    try:
        with watched() as watch, person_keys(asked.bootstrap_servers) as keys:
            folds = folded(asked.bootstrap_servers, keys, asked.until, watch)
            written = write_snapshot(asked.file, _stretches(folds, left_out))
    except (NotRead, OSError) as exc:
        print(f"tracker snapshot: {exc}", file=sys.stderr)
        return 1
    clock = f"the log's clock says {written.clock.isoformat()}" if written.clock else "the log has no time yet"
    size = asked.file.stat().st_size
    print(f"{asked.file}: {written.employees:,} employees, {size:,} bytes; {clock}")
    if sum(left_out):
        print(f"tracker snapshot: {sum(left_out)} records were not understood and left out", file=sys.stderr)
    return 0


def _stretches(folds: Iterable[Fold], left_out: list[int]) -> Iterator[Stretch]:
    for fold in folds:
        left_out.append(fold.not_understood)
        yield fold.calendar.now, fold.employees.values()
