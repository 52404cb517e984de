"""Takes events of `feeds.people` to `people-changes`, and those to each person's log: read, decide, write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from services.people.changes import (
    Change,
    FeedChange,
    PersonChange,
    TieDisowned,
    TieEnded,
    TieStarted,
    UnitStated,
    read_change,
)
from services.people.metrics import CHANGES, EMPLOYEES, REPEATED, RESTATED, STATEMENTS, UNITS
from services.people.normalise import normalise
from services.people.org import OrgTree
from services.people.state import PersonState, read_person, read_unit, write_state
from services.people.what_is_told import Statement, decide
from shared.contracts.base import Payload
from shared.contracts.career import ClockTicked, write_contract
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.identities import EmployeeMergedInto, RefClaimed
from shared.contracts.ids import EmployeeId, EventId, UnitId, stable_id
from shared.streaming.intake import Resolve, to_career_log
from shared.streaming.records import Output, Poison, Record
from shared.streaming.state import State
from shared.streaming.topics import IDENTITIES, PARTITIONS, PEOPLE_CHANGES, partition_of

VERSION: Final = ""
"""The key in the state of people under which a partition counts the changes of its overview. No employee has it."""


_NOW: Final = "now"


def take(event: FeedEvent, payload: Payload, resolve: Resolve) -> Iterable[Output]:
    """Return the records that an event of the feed leads to."""
    return [output for change in normalise(event, payload, resolve) for output in _to_changes(change)]


class ChangeHandler:
    """Handles records of `people-changes`."""

    def __init__(self, people: State, units: State, clock: State) -> None:
        self._people = people
        self._units = units
        self._clock = clock
        self._overviews: dict[int, _Overview] = {}

    def __call__(self, record: Record) -> Iterable[Output]:
        """Return what is told because of the change; on an error nothing has changed.

        Raises:
            Poison: the record has no value.
            pydantic.ValidationError: its value is no change.
        """
        if record.value is None:
            raise Poison("a record of people-changes without a value: a change was expected")
        change = read_change(record.value)
        overview = self._overview(record.partition)
        try:
            if isinstance(change, UnitStated):
                outputs = self._unit_changes(record.partition, overview, change)
            elif isinstance(change, ClockTicked):
                outputs = self._time_passes(record.partition, overview, change)
            else:
                outputs = self._people_change(record.partition, overview, change, [change.employee_id])
        except Exception:
            del self._overviews[record.partition]  # it may hold what the state does not
            raise
        CHANGES.labels(change.type).inc()
        EMPLOYEES.set(sum(len(known.employees) for known in self._overviews.values()))
        UNITS.set(max(len(known.org) for known in self._overviews.values()))
        return outputs

    def _unit_changes(self, partition: int, overview: _Overview, change: UnitStated) -> list[Output]:
        moved = overview.org.learn(change)
        if moved is None:
            REPEATED.inc()
            return []
        below = sorted({employee for unit_id in moved for employee in overview.members.get(unit_id, ())})
        RESTATED.inc(len(below))
        outputs = self._people_change(partition, overview, change, below)
        self._units.put(partition, change.unit_id, write_state(overview.org.unit(change.unit_id)))
        self._count(partition, overview)
        return outputs

    def _time_passes(self, partition: int, overview: _Overview, change: ClockTicked) -> list[Output]:
        now = self._now(partition)
        if now is not None and change.now <= now:
            return []
        self._clock.put(partition, _NOW, change.now.isoformat().encode())
        due = sorted(who for who, at in overview.due.items() if at <= change.now)
        return self._people_change(partition, overview, change, due)

    def _now(self, partition: int) -> datetime | None:
        stored = self._clock.get(partition, _NOW)
        return None if stored is None else datetime.fromisoformat(stored.decode())

    def _people_change(
        self, partition: int, overview: _Overview, change: Change, employees: Iterable[EmployeeId]
    ) -> list[Output]:
        changed: list[PersonState] = []
        outputs: list[Output] = []
        now = self._now(partition)
        for employee_id in employees:
            stored = self._people.get(partition, employee_id)
            before = read_person(stored) if stored is not None else None
            after, statements = decide(before, overview.org, change, now)
            outputs.extend(output for statement in statements for output in _to_records(statement))
            if after != before:
                changed.append(after)
            for statement in statements:
                STATEMENTS.labels(statement.type).inc()
        # All was decided without an error, so from here on it can be kept.
        for person in changed:
            self._people.put(partition, person.employee_id, write_state(person))
            if overview.add(person):
                self._count(partition, overview)
        if not changed and not isinstance(change, UnitStated | ClockTicked):
            REPEATED.inc()
        return outputs

    def _overview(self, partition: int) -> _Overview:
        overview = self._overviews.get(partition)
        if overview is None or overview.version != _number(self._people.get(partition, VERSION)):
            overview = _Overview(partition, self._people, self._units)
            self._overviews[partition] = overview
        return overview

    def _count(self, partition: int, overview: _Overview) -> None:
        overview.version += 1
        self._people.put(partition, VERSION, b"%d" % overview.version)


class _Overview:
    """The org tree of a partition, who sits where in it and who is due when, held in memory as the state has it by key.

    A partition can go to another process and come back, changed. Its version, which is part of the state, tells
    whether an overview is still that of the state.
    """

    def __init__(self, partition: int, people: State, units: State) -> None:
        self.version = _number(people.get(partition, VERSION))
        self.org = OrgTree((UnitId(key), read_unit(value)) for key, value in units.items(partition))
        self.members: defaultdict[UnitId, set[EmployeeId]] = defaultdict(set)
        self.employees: set[EmployeeId] = set()
        self.due: dict[EmployeeId, datetime] = {}
        for key, value in people.items(partition):
            if key != VERSION:
                self.add(read_person(value))

    def add(self, person: PersonState) -> bool:
        """Take in where the person sits or sat, and when they are due; tell whether that was news."""
        news = self.due.get(person.employee_id) != person.due_at
        if person.due_at is not None:
            self.due[person.employee_id] = person.due_at
        else:
            self.due.pop(person.employee_id, None)
        patches = (*person.base.values(), *person.patches)
        for unit_id in {patch.fields.unit_id for patch in patches if patch.fields.unit_id is not None}:
            if person.employee_id not in self.members[unit_id]:
                self.members[unit_id].add(person.employee_id)
                news = True
        if person.told and person.employee_id not in self.employees:
            self.employees.add(person.employee_id)
            news = True
        return news


def _number(value: bytes | None) -> int:
    return int(value) if value is not None else 0


def _to_changes(change: FeedChange) -> list[Output]:
    if not isinstance(change, UnitStated):
        return [_to_person(change)]
    key, value = change.unit_id.encode(), write_contract(change)
    return [Output(PEOPLE_CHANGES, key, value, partition=partition) for partition in range(PARTITIONS)]


def _to_records(statement: Statement) -> list[Output]:
    match statement:
        case RefClaimed():
            # A pair has a key of its own, so that compaction keeps the claim of each; its place is that of the ref, by
            # which events that wait for it are keyed.
            key = f"{statement.ref} {statement.employee_id}".encode()
            place = partition_of(statement.ref.encode())
            return [Output(IDENTITIES, key, write_contract(statement), partition=place)]
        case EmployeeMergedInto():
            key, value = statement.employee_id.encode(), write_contract(statement)
            return [Output(IDENTITIES, key, value, partition=partition) for partition in range(PARTITIONS)]
        case _ if isinstance(statement, PersonChange):
            return [_to_person(statement)]
        case _:
            return [to_career_log(statement)]


def disown(output: Output) -> Iterable[Output]:
    """Return what takes back a record that `take` returned, once it is known that its names mean others."""
    change = read_change(output.value or b"")
    if isinstance(change, TieStarted | TieEnded):  # what else a relationship leads to does no harm: a snapshot too many
        yield _to_person(
            TieDisowned(
                id=EventId(stable_id("disowned", change.id, change.employee_id)),
                at=change.at,
                source=change.source,
                employee_id=change.employee_id,
                statement_id=change.id,
            )
        )


def _to_person(change: PersonChange) -> Output:
    return Output(PEOPLE_CHANGES, change.employee_id.encode(), write_contract(change))
