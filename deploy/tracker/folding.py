"""Folds the log into what is known of each employee, and keeps that in a file: career-events → employees → snapshot.

A snapshot holds what decisions need and no more: no titles, no outcomes, no statements, no names but those of people
tied to somebody.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from services.correlator.facts import learn, tell
from services.correlator.state import Calendar, EmployeeState, decode_employee, encode_employee
from shared.contracts.career import read_career_event
from shared.streaming.person_keys import Keyring
from shared.streaming.reading import Progress, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, PARTITIONS

_MAGIC: Final = b"sponsorship-tracker snapshot 1\n"
_LENGTH: Final = struct.Struct(">I")
_TRAILER: Final = struct.Struct(">Qq8s")
"""How many employees, the clock in seconds, and a mark: a file that is cut short ends otherwise."""
_WHOLE: Final = b"complete"
_NO_CLOCK: Final = -1
_TELL_EVERY: Final = 5000


class BadSnapshot(Exception):
    """The file is no whole snapshot; the message says what to do."""


class Fold:
    """What is known of the employees of one partition, as the correlator's state has it, without what was said."""

    def __init__(self, until: datetime | None) -> None:
        self.employees: dict[str, EmployeeState] = {}
        self.calendar = Calendar()
        self.not_understood = 0
        self.records = 0
        self._until = until
        self._over = False

    def take(self, record: Record) -> None:
        """Take in a record; from the first clock event after `until` on, none."""
        if self._over:
            return
        self.records += 1
        try:
            event = read_career_event(record.value or b"")
            if event.employee_id is None:
                calendar = tell(self.calendar, event)
                if self._until is not None and calendar.now is not None and calendar.now > self._until:
                    self._over = True
                else:
                    self.calendar = calendar
            else:
                known = self.employees.get(event.employee_id) or EmployeeState(event.employee_id)
                self.employees[event.employee_id] = learn(known, event)
        except Exception:  # as the service, which buries it: one record can't be dealt with, the log goes on
            self.not_understood += 1


def folded(
    bootstrap_servers: str, keys: Keyring, until: datetime | None, watch: Callable[[str], Progress]
) -> Iterator[Fold]:
    """Yield the fold of each partition of the log, one after another: memory is for a fourth of the company.

    Raises:
        NotRead: Kafka is away.
    """
    for partition in range(PARTITIONS):
        fold = Fold(until)
        what = f"{CAREER_EVENTS}/{partition}"
        for record in read_to_the_end(bootstrap_servers, CAREER_EVENTS, [partition], progress=watch(what), keys=keys):
            fold.take(record)
        yield fold


@dataclass(slots=True)
class Written:
    """What a snapshot holds."""

    employees: int = 0
    clock: datetime | None = None


Stretch = tuple[datetime | None, Iterable[EmployeeState]]
"""What the clock said, and who was known then."""


def write_snapshot(path: Path, stretches: Iterable[Stretch]) -> Written:
    """Write all employees to a file that only its owner can read; it is there whole, or not at all.

    Raises:
        OSError: it can't be written.
    """
    written = Written()
    half = path.with_name(f"{path.name}.half")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_MAGIC)
            for clock, employees in stretches:
                for employee in employees:
                    _write(file, encode_employee(_bare(employee)))
                    written.employees += 1
                written.clock = _later(written.clock, clock)
            seconds = int(written.clock.timestamp()) if written.clock is not None else _NO_CLOCK
            file.write(_TRAILER.pack(written.employees, seconds, _WHOLE))
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return written


@contextmanager
def opened_snapshot(path: Path, progress: Progress) -> Iterator[Stretch]:
    """Open a snapshot, whose employees are read as they are asked for; `progress` is told how many bytes were.

    Raises:
        BadSnapshot: it is none, or not whole.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        count, clock = _trailer(file, path)
        yield clock, _employees(file, count, progress, path.stat().st_size)


def _employees(file: BinaryIO, count: int, progress: Progress, size: int) -> Iterator[EmployeeState]:
    file.seek(len(_MAGIC))
    for number in range(count):
        yield decode_employee(_read(file))
        if number % _TELL_EVERY == 0:
            progress(file.tell(), size)
    progress(size, size)


def _trailer(file: BinaryIO, path: Path) -> tuple[int, datetime | None]:
    """Return the number of employees and the clock, which stand at the end: a file that is cut short has none."""
    begins = file.read(len(_MAGIC))
    file.seek(-min(_TRAILER.size, path.stat().st_size), os.SEEK_END)
    ends = file.read()
    if begins != _MAGIC or len(ends) != _TRAILER.size or not ends.endswith(_WHOLE):
        raise BadSnapshot(f"{path} is no whole snapshot of this version: make it anew (tracker snapshot)")
    count, clock, _ = _TRAILER.unpack(ends)
    return count, None if clock == _NO_CLOCK else datetime.fromtimestamp(clock, tz=UTC)


def _bare(employee: EmployeeState) -> EmployeeState:
    """Return the employee without what only a reader of prompts needs."""
    replace = msgspec.structs.replace
    return replace(
        employee,
        profiles=tuple(replace(profile, name="") for profile in employee.profiles),
        achievements={
            key: replace(done, stamp=(done.stamp[0], ""), title="", outcome="", link="")
            for key, done in employee.achievements.items()
        },
        endorsements={
            key: replace(said, given=(*said.given[:3], "")) if said.given is not None else said
            for key, said in employee.endorsements.items()
        },
    )


def _write(file: BinaryIO, value: bytes) -> None:
    file.write(_LENGTH.pack(len(value)))
    file.write(value)


def _read(file: BinaryIO) -> bytes:
    return file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0])


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((t for t in (one, other) if t is not None), default=None)
