"""Exports all that is held on a person, or makes the link to their own page."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy import MetaData, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from deploy.tracker import own_link
from deploy.tracker.options import add_bootstrap_servers, watched
from services.insights.settings import InsightsSettings
from shared.database import open_database, trouble
from shared.streaming.reading import NotRead, Progress, partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import IDENTITIES

NOTHING_KNOWN = 3
"""Exit code where nothing is held on that person."""

_UNREADABLE: Final = "a state of another's that names them; what it was made of is above"


class Marks:
    """How the systems name a person: the employee id, all refs, and what stands behind the scheme of each."""

    def __init__(self, employee_id: str, refs: list[str]) -> None:
        names = {employee_id, *refs, *(ref.partition(":")[2] for ref in refs)}
        self.names = sorted(filter(None, names), key=lambda name: (-len(name), name))
        # Whole words only, or E00036 would be found in E000361; case does not count, as it does not in an address.
        one_of = "|".join(re.escape(name) for name in self.names)
        self._pattern = re.compile(rf"(?<!\w)(?:{one_of})(?!\w)".encode(), re.IGNORECASE)

    def name(self, data: bytes | None) -> bool:
        """Tell whether one of them occurs in `data`."""
        return data is not None and self._pattern.search(data) is not None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "what",
        choices=["export", "link"],
        help="export: write all that is held, one JSON object a line. link: make the link by which they, and nobody "
        "else, see and mend the evidence about themselves (PORTAL_URL and PORTAL_KEYS as the portal has them)",
    )
    parser.add_argument("employee", metavar="ID", help="the employee's id, as the primary HRIS has it")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("INSIGHTS_DATABASE_URL") or InsightsSettings.model_fields["database_url"].default,
        help="the read model; INSIGHTS_DATABASE_URL says it too (%(default)s)",
    )
    parser.add_argument("--no-read-model", action="store_true", help="leave the read model out: it is made of topics")
    own_link.add_arguments(parser)
    add_bootstrap_servers(parser)
    parser.epilog = (
        "An export reads every topic of the cluster from its beginning. Records that name the person may name others "
        "too: look through it before you hand it out. Backups, logs and what receivers keep are not in it. Exit code "
        f"0: all is there; 1: something could not be read; {NOTHING_KNOWN}: nothing is held."
    )


def run(asked: argparse.Namespace) -> int:
    """Write the export to stdout, and what was found where to stderr; or make the link."""
    if asked.what == "link":
        return own_link.run(asked)
    found: Counter[tuple[str, str]] = Counter()
    try:
        with watched() as watch:
            marks = Marks(asked.employee, _refs(asked.bootstrap_servers, asked.employee, watch))
            for line in _records(asked.bootstrap_servers, marks, watch):
                found["topic", line["topic"]] += 1
                print(json.dumps(line, ensure_ascii=False))
        if not asked.no_read_model:
            for line in _rows(asked.database_url, marks):
                found["table", line["table"]] += 1
                print(json.dumps(line, ensure_ascii=False))
    except NotRead as exc:
        print(f"tracker person: {exc}", file=sys.stderr)
        return 1
    except (SQLAlchemyError, OSError) as exc:
        print(
            f"tracker person: the read model can't be read: {trouble(exc)}. Name it by INSIGHTS_DATABASE_URL, or leave "
            f"it out with --no-read-model",
            file=sys.stderr,
        )
        return 1
    if not found:
        print(f"tracker person: nothing is held on {asked.employee!r}", file=sys.stderr)
        return NOTHING_KNOWN
    _summary(found, marks)
    return 0


def _refs(bootstrap_servers: str, employee_id: str, watch: Callable[[str], Progress]) -> list[str]:
    """Return all refs that ever named the person."""
    identities = read_to_the_end(bootstrap_servers, IDENTITIES, progress=watch(IDENTITIES))
    return sorted({r.key.decode() for r in identities if r.key and r.value == employee_id.encode()})


def _records(bootstrap_servers: str, marks: Marks, watch: Callable[[str], Progress]) -> Iterator[dict[str, Any]]:
    for topic, partitions in sorted(partitions_by_topic(bootstrap_servers).items()):
        if topic.startswith("__"):
            continue  # Kafka's own: offsets of groups, which hold nobody's name
        for record in read_to_the_end(bootstrap_servers, topic, partitions, progress=watch(topic)):
            keyed = marks.name(record.key)
            if keyed or marks.name(record.value) or any(marks.name(value) for _, value in record.headers):
                yield _line(record, keyed_by_them=keyed)


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


def _rows(database_url: str, marks: Marks) -> Iterator[dict[str, Any]]:
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not os.path.exists(url.database or ""):  # noqa: PTH110 (it may be empty)
        raise FileNotFoundError(f"there is no file {url.database}")
    engine = open_database(database_url, "tracker")
    try:
        tables = MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            for table in tables.sorted_tables:
                for row in connection.execution_options(yield_per=1000).execute(select(table)).mappings():
                    told = json.dumps(dict(row), default=str, ensure_ascii=False)
                    if marks.name(told.encode()):
                        yield {"table": table.name, "row": json.loads(told)}
    finally:
        engine.dispose()


def _summary(found: Counter[tuple[str, str]], marks: Marks) -> None:
    out = Console(stderr=True, highlight=False)
    table = Table("where", "", "found", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    for (kind, name), count in sorted(found.items(), reverse=True):
        table.add_row(kind, name, f"{count:,}")
    out.print(f"looked for: {', '.join(marks.names)}", markup=False)
    out.print(table)
