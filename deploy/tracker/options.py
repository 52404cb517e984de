"""What the commands share: where Kafka is, what goes on, words that can't command a terminal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from deploy.broker import DEMO_PORT
from deploy.spawn import LOOPBACK
from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import BadKeys, Keyring, KeysAway, opened_keyring
from shared.streaming.reading import NotRead
from shared.streaming.reading import Progress as Told

WIDTH = 160
"""Of what does not go to a terminal."""


def add_bootstrap_servers(parser: argparse.ArgumentParser) -> None:
    """Add --bootstrap-servers."""
    parser.add_argument(
        "--bootstrap-servers",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"{LOOPBACK}:{DEMO_PORT}",
        help="where Kafka is; KAFKA_BOOTSTRAP_SERVERS says it too (%(default)s)",
    )


def output() -> Console:
    """Return where answers are printed: as wide as the terminal, or wide enough where it is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def add_until(parser: argparse.ArgumentParser) -> None:
    """Add --until."""
    parser.add_argument(
        "--until",
        type=_moment,
        metavar="TIME",
        help="read the log as it stood when its clock said this, as 2026-09-01T09:00Z (default: all of it)",
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 2026-09-01T09:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone: add Z or an offset, as +02:00")
    return moment


class Watched:
    """Shows on stderr how far the reading is, a bar each; `watch("career-events/2")` makes the next."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, what: str) -> Told:
        """Return what takes the progress."""
        task = self._progress.add_task(f"reading {what}", total=None)
        return lambda read, there_are: self._progress.update(task, completed=read, total=there_are)


@contextmanager
def person_keys(bootstrap_servers: str) -> Iterator[Keyring]:
    """Open what is sealed there while the block runs, by PERSON_MARKS_KEY and PERSON_MASTER_KEYS of the environment.

    Raises:
        NotRead: the settings are wrong, or the keys can't be had.
    """
    try:
        settings = PersonKeySettings()
    except ValidationError as exc:
        raise NotRead("; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())) from exc
    try:
        with opened_keyring(settings, bootstrap_servers) as keys:
            yield keys
    except (KeysAway, BadKeys) as exc:
        raise NotRead(str(exc)) from exc


@contextmanager
def watched() -> Iterator[Watched]:
    """Show progress while the block runs; it is wiped away at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Watched(progress)


def cells(*texts: str) -> Iterator[Text]:
    """Return what goes into a table's row; as text, for rich takes what is in square brackets for its markup."""
    return (Text(plain(text)) for text in texts)


def plain(text: str) -> str:
    """Return `text` without what could command a terminal: it may hold words of whoever sent the record."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
