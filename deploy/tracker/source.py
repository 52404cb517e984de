"""Checks a source's file on payloads, loads its extracts, takes its dead letters up again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError as ReadingError
from kafka.errors import KafkaError

from deploy.broker import DEMO_PORT
from deploy.dead import BATCH, DeadLetter, DeadLetterError, DeadLetters
from deploy.spawn import LOOPBACK
from deploy.tracker.extracts import ExtractError, load
from deploy.tracker.intake import Verdict, verdict_of
from shared.sources.apis import Poll
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, read_delivery
from shared.sources.expressions import Unmappable, read_time
from shared.sources.files import BadDeclaration, read_source
from shared.sources.mappers import read
from shared.sources.mapping import NOT_ASKED_FOR, Mapped, MappedEvent, with_record
from shared.sources.polling import Round, body_of, key_in, read_page
from shared.sources.rows import BadRow, Row, read_rows
from shared.streaming.records import Record
from shared.streaming.topics import SOURCES_RECEIVED, dead_topic

SOURCES: Final = Path("deploy/sources")
_FAULTS_TOLD: Final = 20
_WHY_IT_MATTERS: Final = (
    "the people service speaks of an employee once some source has said a name, a level and a unit of them"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="say what a source's file is worth, and what it makes of payloads",
        description="Reads a source's file, and says what payloads become by it, event by event, with what the intake "
        "services would say of each, as far as that can be told without what they know. Nothing is sent anywhere.",
        epilog="Exit code 0: all is understood; 1: a fault, which is told; 2: wrong use.",
    )
    checking.add_argument("file", metavar="FILE", help="the file, or the name of one in deploy/sources")
    checking.add_argument("--payload", type=Path, action="append", default=[], help="a body as the source sends it")
    checking.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="a header that the payloads come with"
    )
    checking.add_argument(
        "--fetched", type=Path, help="the record that the vendor's API gives, where the file has `fetch`"
    )
    checking.add_argument(
        "--list", metavar="NAME", help="the payloads are what the vendor's API answers to this list of `poll`"
    )
    checking.add_argument("--json", action="store_true", help="for programs")
    checking.set_defaults(command=check)
    loading = commands.add_parser(
        "load",
        help="send the rows of an extract that are new or have changed",
        description="Reads an extract (CSV, NDJSON or Parquet, as the source's file says under bulk), and sends the "
        "rows that are new or differ from what was sent of them last. A load that was broken off is done again with "
        "the same file.",
        epilog="Exit code 0: loaded; 1: some rows could not be sent, and are told, or Kafka is away; 2: wrong use.",
    )
    loading.add_argument("name", metavar="NAME", help="the source")
    loading.add_argument("file", metavar="FILE", type=Path, help="the extract")
    loading.add_argument(
        "--as-of", metavar="TIME", help="when the extract was made, as 2026-03-02T02:00:00Z (default: the file's time)"
    )
    loading.add_argument("--dry-run", action="store_true", help="say how many rows are news, and send nothing")
    loading.set_defaults(command=load_extract)
    replaying = commands.add_parser(
        "replay",
        help="take a source's dead letters up again after its file was mended",
        description="Puts back those dead letters of the source that its file can read by now; the others stay, and "
        "are told. Start the sources service anew first: it reads the files at its start.",
        epilog="Exit code 0: none is left; 1: some are left, or Kafka is away; 2: wrong use.",
    )
    replaying.add_argument("name", metavar="NAME", help="the source")
    replaying.add_argument("--dry-run", action="store_true", help="say what would be put back, and put nothing")
    for command in (loading, replaying):
        command.add_argument("--sources-dir", type=Path, default=SOURCES, help="where the files are (%(default)s)")
        command.add_argument(
            "--bootstrap-servers",
            default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"{LOOPBACK}:{DEMO_PORT}",
            help="where Kafka is; KAFKA_BOOTSTRAP_SERVERS says it too (%(default)s)",
        )
    replaying.set_defaults(command=replay)


def run(asked: argparse.Namespace) -> int:
    """Run the command that was asked for."""
    command: Callable[[argparse.Namespace], int] = asked.command
    return command(asked)


# -- check ----------------------------------------------------------------------------------------


def check(options: argparse.Namespace) -> int:
    """Say what a file makes of payloads."""
    path = Path(options.file)
    if not path.exists() and (SOURCES / f"{options.file}.yaml").exists():
        path = SOURCES / f"{options.file}.yaml"
    try:
        declaration = read_source(path)
        headers = dict(_header(text) for text in options.header)
        record = orjson.loads(options.fetched.read_bytes()) if options.fetched is not None else None
        polled = None if options.list is None else _list(declaration, options.list)
        told = [_told(declaration, payload, headers, record, polled) for payload in options.payload]
    except BadDeclaration as exc:
        if options.json:
            print(
                json.dumps(
                    {"file": str(path), "ok": False, "faults": str(exc).splitlines(), "notes": [], "payloads": []}
                )
            )
        else:
            print(exc, file=sys.stderr)
        return 1
    except (OSError, ValueError) as exc:
        print(f"tracker source check: {exc}", file=sys.stderr)
        return 2
    fine = all(payload["ok"] for payload in told)
    notes = [
        f"tables.{name} is empty, so what is looked up in it is not said; {_WHY_IT_MATTERS}"
        for name, table in declaration.tables.items()
        if not table
    ]
    if options.json:
        answer = {"file": str(path), "ok": fine, "faults": [], "notes": notes, "payloads": told}
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return 0 if fine else 1
    print(f"{path}: {declaration.title}: the file can be used")
    for note in notes:
        print(f"  note: {note}")
    for payload in told:
        _show(payload)
    return 0 if fine else 1


def _told(
    declaration: Declaration, path: Path, headers: Mapping[str, str], record: Any, polled: Poll | None
) -> dict[str, Any]:
    if polled is None:
        found = _deliveries(declaration, path, headers, record)
    else:
        found = _polled(declaration, polled, path, record)
    read_now = [(where, _read_now(declaration, one)) for where, one in found]
    faults = [where + fault for where, mapped in read_now for fault in mapped.faults]
    events = [(event, verdict_of(event)) for _, mapped in read_now for event in mapped.events]
    return {
        "payload": str(path),
        "ok": not faults and all(verdict.refused is None for _, verdict in events),
        "events": [_as_json(event, verdict) for event, verdict in events],
        "ignored": [where + why for where, mapped in read_now for why in mapped.ignored],
        "faults": faults,
    }


def _deliveries(
    declaration: Declaration, path: Path, headers: Mapping[str, str], record: Any
) -> Iterator[tuple[str, Delivery | BadRow]]:
    """Yield the deliveries that a payload is, and where each is: one, or each row of an extract."""
    now = datetime.now(UTC)
    if declaration.webhook is not None or declaration.bulk is None:
        yield "", _with(declaration, Delivery(declaration.name, path.read_bytes(), headers, now), record)
        return
    for row in read_rows(declaration.bulk, path):
        if isinstance(row, Row):
            yield f"line {row.line}: ", Delivery(declaration.name, row.body(now), headers, now)
        else:
            yield f"line {row.line}: ", row


def _list(declaration: Declaration, name: str) -> Poll:
    for poll in declaration.poll:
        if poll.name == name:
            return poll
    known = ", ".join(poll.name for poll in declaration.poll) or "none"
    raise ValueError(f"--list {name}: {declaration.name} polls no such list; it polls {known}")


def _polled(declaration: Declaration, poll: Poll, path: Path, record: Any) -> Iterator[tuple[str, Delivery | BadRow]]:
    """Yield the deliveries that a page of a list is, and which record of it each is."""
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        page = read_page(declaration, poll, Round(began_at=now), orjson.loads(path.read_bytes()))
    except Unmappable as exc:
        yield "", BadRow(1, str(exc))
        return
    for number, one in enumerate(page.records):
        where = f"record {number}: "
        try:
            key_in(declaration, poll, one)
            delivery = Delivery(declaration.name, body_of(declaration, poll, one, now), {}, now)
            yield where, _with(declaration, delivery, record)
        except Unmappable as exc:
            yield where, BadRow(number, str(exc))


def _with(declaration: Declaration, delivery: Delivery, record: Any) -> Delivery:
    """Return the delivery with the record that --fetched gives, if it does, for each that it names."""
    try:
        return delivery if record is None else with_record(declaration, delivery, record)
    except Unmappable:  # is said when it is read
        return delivery


def _as_json(event: MappedEvent, verdict: Verdict) -> dict[str, Any]:
    return {
        "entry": event.entry,
        "feed": event.feed,
        "type": event.type,
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "data": event.data,
        "intake": {
            "becomes": list(verdict.becomes),
            "waits_for": list(verdict.waits_for),
            "refused": verdict.refused,
        },
    }


def _show(payload: Mapping[str, Any]) -> None:
    print(f"\n{payload['payload']}:")
    _show_events(payload["events"], payload["ignored"])
    for fault in payload["faults"]:
        print(f"  a dead letter: {fault}")


def _show_events(events: Sequence[Mapping[str, Any]], ignored: Sequence[str]) -> None:
    for event in events:
        said = event["intake"]
        entry = "" if event["entry"] is None else f"entry {event['entry']}: "
        print(f"  {entry}feeds.{event['feed']}  {event['type']}  about {event['subject']}, at {event['time']}")
        print(f"      id {event['id']}")
        print(f"      {json.dumps(event['data'], ensure_ascii=False)}")
        if said["refused"] is not None:
            print(f"      the {event['feed']} service would refuse it: {said['refused']}")
            continue
        print(f"      the {event['feed']} service makes of it: {', '.join(said['becomes']) or 'nothing'}")
        if said["waits_for"]:
            print(f"      it waits until these are known: {', '.join(said['waits_for'])}")
    for why in ignored:
        print(f"  nothing is made of it: {why}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"--header {text}: write NAME:VALUE, as X-GitHub-Event:push")
    return name.strip().lower(), value.strip()


# -- load -----------------------------------------------------------------------------------------


def load_extract(options: argparse.Namespace) -> int:
    """Send the rows of an extract that are news."""
    try:
        as_of = _as_of(options)
    except (Unmappable, OSError) as exc:
        print(f"tracker source load: {exc}", file=sys.stderr)
        return 2
    try:
        declaration = read_source(options.sources_dir / f"{options.name}.yaml")
        loaded = load(declaration, options.file, as_of, options.bootstrap_servers, dry_run=options.dry_run)
    except (BadDeclaration, ExtractError, KafkaError, ReadingError, OSError) as exc:
        print(f"tracker source load: {exc or type(exc).__name__}", file=sys.stderr)
        return 1
    for fault in loaded.faults[:_FAULTS_TOLD]:
        print(f"{options.file}:{fault.line}: {fault.reason}", file=sys.stderr)
    if len(loaded.faults) > _FAULTS_TOLD:
        print(f"and {len(loaded.faults) - _FAULTS_TOLD} more", file=sys.stderr)
    print(
        f"{loaded.rows} rows, {loaded.sent} {'would be ' if options.dry_run else ''}sent, "
        f"{loaded.rows - loaded.sent} unchanged, {len(loaded.faults)} can't be sent"
    )
    if loaded.missing:
        print(f"{loaded.missing} rows of earlier extracts are not in this one; nothing is said of them")
    return 1 if loaded.faults else 0


def _as_of(options: argparse.Namespace) -> datetime:
    """Return when the extract was made, in whole seconds."""
    if options.as_of is not None:
        return read_time(options.as_of).replace(microsecond=0)
    return datetime.fromtimestamp(int(options.file.stat().st_mtime), tz=UTC)


# -- replay ---------------------------------------------------------------------------------------


def replay(options: argparse.Namespace) -> int:
    """Put back the dead letters of a source that can be read by now."""
    try:
        declaration = read_source(options.sources_dir / f"{options.name}.yaml")
        with DeadLetters(options.bootstrap_servers) as letters:
            return _replay(letters, declaration, dry_run=options.dry_run)
    except (BadDeclaration, DeadLetterError, KafkaError, OSError) as exc:
        print(f"tracker source replay: {exc or type(exc).__name__}", file=sys.stderr)
        return 1


def _replay(letters: DeadLetters, declaration: Declaration, *, dry_run: bool) -> int:
    topic = dead_topic(SOURCES_RECEIVED)
    if topic not in letters.topics():
        raise DeadLetterError(f"there is no topic {topic}; were the topics created?")
    waiting: list[DeadLetter] = []
    put_back = before = left = 0
    for letter in letters.read([topic]):
        delivery = _delivery(letter)
        if delivery is None or delivery.source != declaration.name:
            continue
        if letters.was_replayed(letter):
            before += 1
            continue
        mapped = _read_now(declaration, delivery)
        fetched_anew = tuple(fault for fault in mapped.faults if fault.endswith(NOT_ASKED_FOR.reason))
        if fetched_anew and fetched_anew == mapped.faults:
            mapped = Mapped(mapped.events, (*mapped.ignored, "its record will be fetched anew"))
        where = f"{letter.source_topic} {letter.source_partition}/{letter.source_offset}"
        if mapped.faults:
            left += 1
            print(f"left: {where}: {'; '.join(mapped.faults)}")
            continue
        put_back += 1
        if dry_run:
            print(f"would be put back: {where}:")
            events = [_as_json(event, verdict_of(event)) for event in mapped.events]
            _show_events(events, mapped.ignored)
            continue
        waiting.append(letter)
        if len(waiting) >= BATCH:
            letters.replay(waiting)
            waiting = []
    if waiting:
        letters.replay(waiting)
    print(f"{put_back} {'would be ' if dry_run else ''}put back, {left} left, {before} had been before")
    return 1 if left else 0


def _delivery(letter: DeadLetter) -> Delivery | None:
    record = Record(
        letter.source_topic,
        letter.source_partition or 0,
        letter.source_offset or 0,
        letter.key,
        letter.value,
        letter.headers,
        letter.buried_at,
    )
    try:
        return read_delivery(record)
    except Unmappable:  # somebody else's record: it is no source's
        return None


def _read_now(declaration: Declaration, delivery: Delivery | BadRow) -> Mapped:
    if isinstance(delivery, BadRow):
        return Mapped((), (), (delivery.reason,))
    try:
        return read(declaration, delivery)
    except Unmappable as exc:
        return Mapped((), (), (str(exc),))
