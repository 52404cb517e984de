"""Reads a career event, lets the rules decide, writes what they say; visits employees when time or a cycle moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from heapq import heappop, heappush

import msgspec

from services.correlator import metrics
from services.correlator.facts import tell
from services.correlator.policy import Policy
from services.correlator.rules import Decision, concerns_everybody, decide, reconsider
from services.correlator.rules import Output as Said
from services.correlator.state import (
    Calendar,
    EmployeeState,
    calendar_of,
    decode_employee,
    encode_calendar,
    encode_employee,
)
from shared.contracts.career import CareerEvent, EmployeeEvent, EverybodysEvent, read_career_event
from shared.contracts.ids import EventId
from shared.contracts.said import is_gap, key_of, write
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import buried
from shared.streaming.state import KeyedState
from shared.streaming.topics import GAPS, PROMPTS
from shared.streaming.turns import Turns

_CALENDAR = "calendar"
_EMPLOYEE = "employee/"
_READ_TOGETHER = 200
"""Employees of a run who are read from disk at once: more would hold up others where the disk is slow."""
_KEPT_TOGETHER = 2000
"""So many employees are visited before what was said of them is made safe: it is what a visit holds in memory."""


Keep = Callable[[Sequence[Output]], Awaitable[None]]


class Correlator:
    """Handles runs of `career-events`.

    Args:
        keep: makes outputs, then the changes of `state`, safe in the midst of a run.
    """

    def __init__(self, state: KeyedState, policy: Policy, service: str, keep: Keep) -> None:
        self._state = state
        self._policy = policy
        self._service = service
        self._keep = keep
        self._due: dict[int, _DueIndex] = {}
        self._moved: dict[int, Calendar] = {}
        """Calendars that have changed in the run in hand."""
        self._looked_at = 0
        """Employees visited since the last time that all was made safe."""

    def forget(self) -> None:
        """Drop what is held about partitions; it is read from the state again when needed."""
        self._due.clear()

    async def handle(self, run: Sequence[Record]) -> Sequence[Output]:
        """Return what has to be said because of these records, as far as it was not made safe on the way."""
        outputs: list[Output] = []
        turns = Turns()
        for number, record in enumerate(run):
            if number % _READ_TOGETHER == 0:
                self._expect(run[number : number + _READ_TOGETHER])
            async for of_one in self._handle(record):
                outputs.extend(of_one)
                if self._looked_at >= _KEPT_TOGETHER:
                    # The calendar is not among it. What is repeated after a crash passes over those who have changed.
                    await self._keep(outputs)
                    outputs, self._looked_at = [], 0
                await turns.give()
        # At the end, for what was kept on the way must be without it: a calendar ahead of the employees would make the
        # repeated tick or cycle no news, and nobody would be visited because of it.
        for partition, calendar in self._moved.items():
            self._state.put(partition, _CALENDAR, encode_calendar(calendar))
        self._moved.clear()
        self._looked_at = 0
        return outputs

    def _expect(self, records: Sequence[Record]) -> None:
        self._state.expect(
            (record.partition, _EMPLOYEE + record.key.decode(errors="replace"))
            for record in records
            if record.key is not None
        )

    async def _handle(self, record: Record) -> AsyncIterator[list[Output]]:
        try:
            event = _event_of(record)
            metrics.event_of_type(event.type).inc()
            if event.employee_id is not None:
                yield self._for_one(record, event)
                return
            async for outputs in self._for_everybody(record, event):
                yield outputs
        except Exception as exc:  # one record can't be dealt with; the log goes on
            yield [buried(record, exc, self._service)]

    def _for_one(self, record: Record, event: EmployeeEvent) -> list[Output]:
        employee = self._employee(record.partition, event.employee_id)
        if record.offset <= employee.changed_by:
            return []
        decision = decide(employee, self._calendar(record.partition), event, self._policy)
        return self._take(record, employee, decision)

    async def _for_everybody(self, record: Record, event: EverybodysEvent) -> AsyncIterator[list[Output]]:
        partition = record.partition
        before = self._calendar(partition)
        after = tell(before, event)
        self._moved[partition] = after
        if after.now is not None:
            metrics.CLOCK.labels(str(partition)).set(after.now.timestamp())
        if concerns_everybody(before, after):
            with metrics.VISIT_SECONDS.time():
                async for outputs in self._visit(record, self._all(partition), after, event, cause="all"):
                    yield outputs
        elif after.now is not None and after.now != before.now:
            due = (self._employee(partition, key) for key in (await self._dues(partition)).until(after.now))
            async for outputs in self._visit(record, due, after, event, cause="due"):
                yield outputs

    async def _visit(
        self, record: Record, employees: Iterator[EmployeeState], calendar: Calendar, event: CareerEvent, *, cause: str
    ) -> AsyncIterator[list[Output]]:
        fault: Exception | None = None
        visited = metrics.VISITED.labels(cause)
        for employee in employees:
            outputs: list[Output] = []
            if record.offset > employee.changed_by:
                visited.inc()
                self._looked_at += 1
                try:
                    decision = reconsider(employee, calendar, EventId(event.id), self._policy)
                    outputs = self._take(record, employee, decision)
                except Exception as exc:  # the event concerns the others too: they are not to wait for this one
                    fault = fault or exc
            yield outputs
        if fault is not None:
            raise fault

    def _take(self, record: Record, before: EmployeeState, decision: Decision) -> list[Output]:
        after = decision.employee
        if after != before:
            changed = msgspec.structs.replace(after, changed_by=record.offset)
            self._state.put(record.partition, _EMPLOYEE + after.employee_id, encode_employee(changed))
            # Where there is no index yet, it will be made of the state, and find this.
            index = self._due.get(record.partition)
            if index is not None and after.due_at is not None and after.due_at != before.due_at:
                index.add(after.due_at, after.employee_id)
        for said in decision.outputs:
            metrics.output_of_type(said.type).inc()
        return [output_of(said) for said in decision.outputs]

    def _employee(self, partition: int, employee_id: str) -> EmployeeState:
        stored = self._state.get(partition, _EMPLOYEE + employee_id)
        return EmployeeState(employee_id) if stored is None else decode_employee(stored)

    def _calendar(self, partition: int) -> Calendar:
        if partition in self._moved:
            return self._moved[partition]
        return calendar_of(self._state.get(partition, _CALENDAR))

    def _all(self, partition: int) -> Iterator[EmployeeState]:
        for _, value in self._state.items(partition, _EMPLOYEE):  # by their keys: in one order, after a restart too
            yield decode_employee(value)

    async def _dues(self, partition: int) -> _DueIndex:
        if partition not in self._due:
            index = _DueIndex()
            turns = Turns()
            for employee in self._all(partition):
                if employee.due_at is not None:
                    index.add(employee.due_at, employee.employee_id)
                await turns.give()
            self._due[partition] = index
        return self._due[partition]


class _DueIndex:
    """Which employees the clock concerns when. An entry that has been overtaken does no harm: they are looked at once
    more than needed."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []

    def add(self, due_at: datetime, employee_id: str) -> None:
        heappush(self._heap, (due_at, employee_id))

    def until(self, now: datetime) -> list[str]:
        """Take out and return whom `now` concerns, in a fixed order, each once."""
        due = set()
        while self._heap and self._heap[0][0] <= now:
            due.add(heappop(self._heap)[1])
        return sorted(due)


def _event_of(record: Record) -> CareerEvent:
    if record.value is None:
        raise Poison("the record has no value: career-events holds events, no tombstones")
    return read_career_event(record.value)


def output_of(said: Said) -> Output:
    """Return the record that says so."""
    return Output(GAPS if is_gap(said) else PROMPTS, key_of(said), write(said))
