"""Runs all benchmarks and writes the page: what `make bench` does."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from bench.figures import read_results
from bench.installing import LOCAL, PROJECT
from bench.options import STOPPED, add_pairs
from bench.table import page

BENCHMARKS: Final = ("correlate", "opening", "gateway", "deliver", "latency", "simulate", "extract")
PAGE: Final = PROJECT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other; return the greatest of their exit codes, and write the page if all have figures."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Run all benchmarks: JSON lines on stdout and in .local/bench/results.jsonl, the table in "
        "docs/performance.md. With 5 pairs it takes some three hours; nothing else should run on the machine.",
    )
    add_pairs(parser)
    asked = parser.parse_args(arguments)
    LOCAL.mkdir(parents=True, exist_ok=True)
    results = LOCAL / "results.jsonl"
    try:
        with results.open("w") as kept:
            worst = max(_run(name, asked, kept) for name in BENCHMARKS)
    except KeyboardInterrupt:
        return STOPPED
    if worst < 2:
        PAGE.write_text(page(read_results(results.read_text().splitlines())))
        print(f"wrote {PAGE.relative_to(PROJECT)}", file=sys.stderr)
    return worst


def _run(name: str, asked: argparse.Namespace, kept: TextIO) -> int:
    """Run a benchmark, in a process of its own, for it moves itself to the broker's core; return its exit code."""
    command = [sys.executable, "-m", f"bench.{name}", "--pairs", str(asked.pairs)]
    if asked.note:
        command += ["--note", asked.note]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as running:
        for line in running.stdout or ():
            for out in (kept, sys.stdout):
                out.write(line)
                out.flush()
    return running.returncode if running.returncode >= 0 else 2


if __name__ == "__main__":
    sys.exit(main())
