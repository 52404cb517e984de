"""Fuzzes for long and says what came of it: `python -m tests.fuzzing` (make fuzz).

Each parser runs in a process of its own under libFuzzer (atheris), which looks for inputs that reach code that none
reached before; each API is asked by schemathesis. What was found lies in .local/fuzz: inputs that failed
(`<target>/crash-…`, `timeout-…`, `oom-…`), and the corpus, with which the next run goes on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Final

from rich.console import Console
from rich.table import Table

FOLDER: Final = Path(".local/fuzz")
SLOWEST_SECONDS: Final = 10
"""An input that takes longer is a hang."""
LARGEST_MIB: Final = 2048
"""A process that holds more has grown."""


def main() -> int:
    """Run; exit 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--examples", type=int, default=300, help="requests of each API's operation (%(default)s)")
    parser.add_argument("targets", nargs="*", help="all, where none is named")
    asked = parser.parse_args()
    from tests.fuzzing.apis import APIS
    from tests.fuzzing.parsers import TARGETS

    unknown = set(asked.targets) - {*TARGETS, *APIS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join([*TARGETS, *APIS])}")
    wanted = asked.targets or [*TARGETS, *APIS]
    table = Table("target", "inputs", "a second", "reached", "found", title="fuzzing")
    clean = True
    for name in wanted:
        row, ok = _api(name, asked.examples) if name in APIS else _parser(name, asked.seconds)
        table.add_row(name, *row)
        clean &= ok
    Console().print(table)
    return 0 if clean else 1


def _parser(name: str, seconds: int) -> tuple[tuple[str, str, str, str], bool]:
    folder = FOLDER / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzzing.one", name, str(corpus)]
    command += [f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={LARGEST_MIB}"]
    command += [f"-artifact_prefix={folder}/", "-max_len=4096", "-print_final_stats=1"]
    with (folder / "log").open("wb") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    said = (folder / "log").read_text(errors="replace")
    inputs = int(_last(r"stat::number_of_executed_units: (\d+)", said) or _last(r"#(\d+)\s", said) or 0)
    reached = _last(r"cov: (\d+)", said) or "?"
    found = "nothing" if ended == 0 else f"{_error(said)}: see {folder}"
    return (f"{inputs:,}", f"{inputs // max(1, seconds):,}", f"{reached} edges", found), ended == 0


def _api(name: str, examples: int) -> tuple[tuple[str, str, str, str], bool]:
    import logging

    import structlog

    from tests.fuzzing.apis import fuzz_api

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    answered: Counter[str] = Counter()
    begun = monotonic()
    found = "nothing"
    try:
        fuzz_api(name, examples, answered)
    except Exception as exc:  # whatever it is, it is what was looked for
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.txt").write_text(f"{exc}\n" + "\n".join(map(str, getattr(exc, "exceptions", ()))))
        found = f"{type(exc).__name__}: see {FOLDER / name}.txt"
    total = answered.total()
    statuses = ", ".join(sorted({label.rpartition(" ")[2] for label in answered}))
    rate = f"{total / max(0.1, monotonic() - begun):,.0f}"
    return (f"{total:,}", rate, f"answers {statuses}", found), found == "nothing"


def _last(pattern: str, text: str) -> str | None:
    found = re.findall(pattern, text)
    return str(found[-1]) if found else None


def _error(said: str) -> str:
    """Return the exception that ended a run, or what libFuzzer says of it."""
    return (
        _last(r"(?m)^((?:\w+\.)*\w*(?:Error|Exception|Exit)\b[^\n]{0,80})", said)
        or _last(r"ERROR: (.{0,80})", said)
        or "?"
    )


if __name__ == "__main__":
    sys.exit(main())
