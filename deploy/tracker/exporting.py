"""Exports all that is held on a person: each record of each topic, and each row of the read model, that names them."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections import Counter
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from deploy.tracker.options import add_bootstrap_servers, person_keys, watched
from deploy.tracker.searching import Marks, records_naming, refs_of, rows_naming
from services.insights.settings import InsightsSettings
from shared.database import trouble
from shared.streaming.reading import NotRead
from shared.streaming.records import Record

NOTHING_KNOWN = 3
"""Exit code where nothing is held on that person."""

_UNREADABLE: Final = "a state of another's that names them; what it was made of is above"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--database-url",
        default=os.environ.get("INSIGHTS_DATABASE_URL") or InsightsSettings.model_fields["database_url"].default,
        help="the read model; INSIGHTS_DATABASE_URL says it too (%(default)s)",
    )
    parser.add_argument("--no-read-model", action="store_true", help="leave the read model out: it is made of topics")
    add_bootstrap_servers(parser)
    parser.epilog = (
        "Writes one JSON object a line. Reads every topic of the cluster from its beginning. Records that name the "
        "person may name others too: look "
        "through the export before you hand it out. Backups, logs and what receivers keep are not in it. Exit code 0: "
        f"all is there; 1: something could not be read; {NOTHING_KNOWN}: nothing is held."
    )


def run(asked: argparse.Namespace) -> int:
    """Write the export to stdout, and what was found where to stderr."""
    found: Counter[tuple[str, str]] = Counter()
    try:
        with watched() as watch, person_keys(asked.bootstrap_servers) as keys:
            marks = Marks(asked.employee, refs_of(asked.bootstrap_servers, asked.employee, keys, watch))
            for record, keyed in records_naming(marks, asked.bootstrap_servers, keys, watch):
                found["topic", record.topic] += 1
                print(json.dumps(_line(record, keyed_by_them=keyed), ensure_ascii=False))
        if not asked.no_read_model:
            for table, row in rows_naming(marks, asked.database_url):
                found["table", table] += 1
                print(json.dumps({"table": table, "row": row}, ensure_ascii=False))
    except NotRead as exc:
        print(f"tracker person export: {exc}", file=sys.stderr)
        return 1
    except (SQLAlchemyError, OSError) as exc:
        print(
            f"tracker person export: the read model can't be read: {trouble(exc)}. Name it by "
            f"INSIGHTS_DATABASE_URL, or leave it out with --no-read-model",
            file=sys.stderr,
        )
        return 1
    if not found:
        print(f"tracker person export: nothing is held on {asked.employee!r}", file=sys.stderr)
        return NOTHING_KNOWN
    _summary(found, marks)
    return 0


def _line(record: Record, *, keyed_by_them: bool) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.time.isoformat(),
        "keyed_by_them": keyed_by_them,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
        "value": _content(record.value, keyed_by_them=keyed_by_them),
    }


def _content(value: bytes | None, *, keyed_by_them: bool) -> Any:
    """Return the value as JSON can hold it: an event, a state, a text, or else its bytes in base64."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        text = value.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text.isprintable():
            return text
    if not keyed_by_them:
        return _UNREADABLE
    try:
        return msgspec.to_builtins(msgspec.msgpack.decode(value), str_keys=True)
    except (msgspec.DecodeError, TypeError):
        return {"base64": base64.b64encode(value).decode()}


def _summary(found: Counter[tuple[str, str]], marks: Marks) -> None:
    out = Console(stderr=True, highlight=False)
    table = Table("where", "", "found", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    for (kind, name), count in sorted(found.items(), reverse=True):
        table.add_row(kind, name, f"{count:,}")
    out.print(f"looked for: {', '.join(marks.names)}", markup=False)
    out.print(table)
