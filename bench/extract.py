"""Measures a nightly extract of which a thousandth has changed: `tracker source load`, beside reading the file bare."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pyarrow as pa
from aiokafka.errors import KafkaError as ReadingError
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pyarrow import parquet
from rich.console import Console

from bench.figures import Figure, tell
from bench.installing import LOCAL, PROJECT, commit, own_versions
from bench.lab import broker, this_machine
from bench.options import STOPPED, add_common, as_typed, numbers
from shared.contracts.base import utc
from shared.sources.declaration import Bulk
from shared.sources.known_rows import known_row, read_known_rows
from shared.sources.rows import Row, read_rows
from shared.streaming.topics import create_topics

FOLDER: Final = LOCAL / "extracts"
FORMATS: Final = ("csv", "ndjson", "parquet")
PEERS: Final = ("tracker source load", "bare reading")
KEY: Final = "Employee ID"
COLUMNS: Final = (KEY, "Worker", "Email", "Unit", "Manager", "Location", "Job Profile", "Since", "Termination Date")
A_THOUSANDTH: Final = 1000
_BEGUN: Final = utc(2026, 1, 1, 2)
_GROUP: Final = 50_000
_SOURCE: Final = """
name: {name}
title: A nightly extract
source: urn:bench:{name}
bulk: {{format: {format}, key: Employee ID}}
subject: text(body.row."Employee ID")
time: body.as_of
events:
  - {{feed: people, type: employee.changed, data: {{employee_id: text(body.row."Employee ID")}}}}
"""
_BARE: Final = {
    "csv": "import csv\nwith open(sys.argv[1], newline='') as f:\n    for row in csv.reader(f): n += 1\nn -= 1",
    "ndjson": "import orjson\nwith open(sys.argv[1]) as f:\n    for line in f: n += len(orjson.loads(line)) > 0",
    "parquet": "from pyarrow import parquet\n"
    "for batch in parquet.ParquetFile(sys.argv[1]).iter_batches(4096):\n"
    "    for row in zip(*(c.to_pylist() for c in batch.columns)): n += 1",
}
_SAID: Final = re.compile(r"(\d+) rows, (\d+) sent, (\d+) unchanged, 0 can't be sent")


class WrongAnswer(Exception):
    """What was measured did not come to the right result."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a run came to a wrong result and has no figure, or 2 when there is no Kafka."""
    asked = _parser().parse_args(arguments)
    console = Console(stderr=True)
    command = as_typed("bench.extract", sys.argv[1:] if arguments is None else arguments)
    failures = 0
    try:
        with broker() as own:
            tell(this_machine(command, asked.note))
            create_topics(own.bootstrap_servers)
            for rows in asked.rows:
                for form in asked.formats:
                    nights = _nights(own.bootstrap_servers, rows, form, console)
                    for pair in range(1, asked.pairs + 1):
                        next(nights)
                        for peer in asked.peers:
                            try:
                                _measure(own.bootstrap_servers, rows, form, peer, pair, console)
                            except WrongAnswer as exc:
                                failures += 1
                                console.print(f"{peer}, {form}: no figure: {exc}", style="red", markup=False)
    except KeyboardInterrupt:
        return STOPPED
    except (KafkaError, ReadingError, RuntimeError) as exc:
        console.print(f"nothing could be measured: {exc}", style="red", markup=False)
        return 2
    return 1 if failures else 0


def _measure(servers: str, rows: int, form: str, peer: str, pair: int, console: Console) -> None:
    extract = FOLDER / f"extract.{form}"
    if peer == PEERS[0]:
        command = [sys.executable, "-m", "deploy.tracker", "source", "load", _name(rows, form), str(extract)]
        command += ["--sources-dir", str(FOLDER), "--bootstrap-servers", servers]
    else:
        command = [sys.executable, "-c", f"import sys\nn = 0\n{_BARE[form]}\nprint(n)", str(extract)]
    begun = monotonic()
    with subprocess.Popen(
        ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as running:
        out = running.stdout.read() if running.stdout is not None else ""
        _, status, used = os.wait4(running.pid, 0)  # and not the usage of all children, whose peak is the greatest ever
        running.returncode = os.waitstatus_to_exitcode(status)
    seconds = monotonic() - begun
    changed = len(range(pair, rows, A_THOUSANDTH))
    said = _SAID.search(out)
    right = (
        said is not None and tuple(map(int, said.groups())) == (rows, changed, rows - changed)
        if peer == PEERS[0]
        else out.strip() == str(rows)
    )
    if running.returncode or not right:
        raise WrongAnswer(f"exit code {running.returncode}, {out.strip()[:200]!r}; {changed} rows had changed")
    versions = {"commit": commit(), **own_versions("orjson", "pyarrow", "aiokafka")}
    figures = [("run_seconds", seconds, "s"), ("run_cpu_seconds", used.ru_utime + used.ru_stime, "s")]
    if used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:  # else it is ours, from before the exec
        figures.append(("peak_rss_bytes", float(used.ru_maxrss * 1024), "bytes"))
    for name, value, unit in figures:
        tell(Figure(f"extract, {form}", name, round(value, 3), unit, peer, versions, {"rows": rows}, pair))
    console.print(f"{peer}, {form}, {rows:,} rows, {pair}: {seconds:.1f} s")


def _nights(servers: str, rows: int, form: str, console: Console) -> Iterator[None]:
    """Make the extracts of a source, one night after the other; the first night is known when the second is made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = _name(rows, form)
    (FOLDER / f"{name}.yaml").write_text(_SOURCE.format(name=name, format=form))
    extract = FOLDER / f"extract.{form}"
    _write(extract, form, rows, 0)
    console.print(f"making {rows:,} rows known ({form})")
    known, newest = asyncio.run(read_known_rows(name, servers))  # of an earlier run
    made = (newest or _BEGUN) + timedelta(days=1)
    with closing(KafkaProducer(bootstrap_servers=servers, linger_ms=20, batch_size=256 * 1024)) as producer:
        for row in read_rows(Bulk.model_validate({"format": form, "key": KEY}), extract):
            if isinstance(row, Row) and known.get(row.key) != row.digest:
                output = known_row(name, row.key, row.digest, made)
                producer.send(output.topic, output.value, output.key)
        producer.flush()
    for night in range(1, 1_000_000):
        made += timedelta(days=1)
        _write(extract, form, rows, night)
        os.utime(extract, (made.timestamp(), made.timestamp()))
        yield


def _write(path: Path, form: str, rows: int, nights: int) -> None:
    """Write the extract of a night: since the first, each night a thousandth of the workers has got another title."""

    def table() -> Iterator[list[str]]:
        for n in range(rows):
            changed = 0 < n % A_THOUSANDTH <= nights
            yield [
                f"E{n:07}",
                f"Worker Number {n}",
                f"worker{n}@example.com",
                f"U{n % 500}",
                f"E{n // 8:07}",
                "Berlin",
                "Principal" if changed else "Engineer",
                "2024-10-01",
                "",
            ]

    if form == "csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(table())
    elif form == "ndjson":
        with path.open("w") as file:
            file.writelines(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in table())
    else:
        schema = pa.schema([(name, pa.string()) for name in COLUMNS])
        with parquet.ParquetWriter(path, schema) as writer:
            group: list[list[Any]] = []
            for row in table():
                group.append(row)
                if len(group) == _GROUP:
                    writer.write_table(pa.Table.from_arrays([pa.array(c) for c in zip(*group, strict=True)], COLUMNS))
                    group = []
            if group:
                writer.write_table(pa.Table.from_arrays([pa.array(c) for c in zip(*group, strict=True)], COLUMNS))


def _name(rows: int, form: str) -> str:
    return f"bench-{form}-{rows}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.extract",
        description="Measure `tracker source load` on an extract of which a thousandth has changed, on one core, "
        "beside a loop that reads the same file. One JSON line a figure on stdout; see bench/README.md. Exit code 1: a "
        "run came to a wrong result.",
    )
    add_common(parser, PEERS)
    parser.add_argument(
        "--rows", type=numbers, default=[1_000_000], metavar="N,N", help="sizes to measure (default: 1000000)"
    )
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
