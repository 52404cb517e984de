"""Writes docs/performance.md: one table of what the benchmarks' JSON lines say, with the machine and the commands."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from bench.figures import Figure, Results, Spread, read_results, spread

INTRODUCTION: Final = """\
# Performance

Written by `python -m bench.table` from what `make bench` has measured; what each peer is, and what is unequal between
them, is in [bench/README.md](../bench/README.md). Each figure is a median, with the least and the most of its runs in
brackets; the peers of one command took turns.
"""

_Show = Callable[[float], str]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}"


def _hundredths(value: float) -> str:
    return f"{value:.2f}"


def _milliseconds(value: float) -> str:
    return f"{value * 1000:,.0f}"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f}"


COLUMNS: Final[Sequence[tuple[str, str, _Show]]] = (
    ("events_per_second", "events/s", _whole),
    ("events_per_cpu_second", "events/CPU-s", _whole),
    ("run_seconds", "run s", _seconds),
    ("run_cpu_seconds", "run CPU-s", _seconds),
    ("first_seconds", "first s", _hundredths),
    ("last_seconds", "last s", _seconds),
    ("p50_seconds", "p50 ms", _milliseconds),
    ("p99_seconds", "p99 ms", _milliseconds),
    ("p999_seconds", "p99.9 ms", _milliseconds),
    ("stall_seconds", "longest stall ms", _milliseconds),
    ("own_stall_seconds", "of its own ms", _milliseconds),
    ("peak_rss_bytes", "peak MiB", _mebibytes),
    ("state_bytes", "state B/employee", _whole),
    ("start_seconds", "start s", _seconds),
    ("recovery_seconds", "recovery s", _seconds),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to stdout; return 2 when a file can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table",
        description="Write docs/performance.md from the JSON lines of the benchmarks.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="results.jsonl")
    asked = parser.parse_args(arguments)
    results = Results()
    for file in asked.files:
        try:
            read = read_results(file.read_text().splitlines())
        except (OSError, ValueError) as exc:
            print(f"bench.table: {file}: {exc}", file=sys.stderr)
            return 2
        results.machines += read.machines
        results.figures += read.figures
    if not results.figures:
        print("bench.table: no figure in " + ", ".join(map(str, asked.files)), file=sys.stderr)
        return 2
    sys.stdout.write(page(results))
    return 0


def page(results: Results) -> str:
    """Return the Markdown page of these results."""
    parts = [INTRODUCTION, table(results.figures), _versions(results.figures), _machines(results)]
    return "\n".join(parts)


def table(figures: Iterable[Figure]) -> str:
    """Return one Markdown table, a row for each benchmark, size (small first) and peer (as they were measured)."""
    rows: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    sizes: dict[str, tuple[int, ...]] = {}  # by its words, whose order would put 1,000 before 100
    for figure in figures:
        sizes[_size(figure)] = tuple(figure.size.values())
        rows[figure.bench, _size(figure), figure.peer][figure.name].append(figure.value)
    heads = ["benchmark", "size", "peer", *(head for _, head, _ in COLUMNS), "runs"]
    lines = [_row(heads), _row(["---"] * 3 + ["---:"] * (len(heads) - 3))]
    for (bench, size, peer), measured in sorted(rows.items(), key=lambda row: (row[0][0], sizes[row[0][1]])):
        cells = [_cell(spread(measured[name]), show) if name in measured else "" for name, _, show in COLUMNS]
        runs = max(len(values) for values in measured.values())
        lines.append(_row([bench, size, peer, *cells, str(runs)]))
    return "\n".join(lines) + "\n"


def _cell(found: Spread, show: _Show) -> str:
    if found.count == 1:
        return show(found.median)
    return f"{show(found.median)} ({show(found.least)}-{show(found.most)})"


def _size(figure: Figure) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in figure.size.items())


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _versions(figures: Iterable[Figure]) -> str:
    found: dict[str, set[str]] = defaultdict(set)
    for figure in figures:
        found[figure.peer].add(", ".join(f"{what} {version}" for what, version in figure.versions.items()))
    return "\n".join(f"- **{peer}**: {'; or '.join(sorted(told))}" for peer, told in found.items()) + "\n"


def _machines(results: Results) -> str:
    lines = []
    for machine in results.machines:
        versions = ", ".join(f"{what} {version}" for what, version in machine.versions.items())
        note = f" {machine.note}" if machine.note else ""
        where = f"{machine.cores} cores ({machine.processor}), {machine.memory_gib:g} GiB memory, {versions}"
        lines.append(f"- `{machine.command}`: {where}.{note}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
