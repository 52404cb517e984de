"""Reads a career event, lets the rules decide, writes what they say; visits employees when time or a cycle moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
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
    decode_calendar,
    decode_employee,
    encode_calendar,
    encode_employee,
)
from shared.contracts.career import CareerEvent, EmployeeEvent, EverybodysEvent, read_career_event, write_contract
from shared.contracts.ids import EventId
from shared.contracts.outputs import GapClosed, GapOpened, GapUpdated
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import buried
from shared.streaming.state import KeyedState
from shared.streaming.topics import GAPS, PROMPTS

_CALENDAR = "calendar"
_EMPLOYEE = "employee/"
_SLICE = 50
"""So many employees are looked at before others get the event loop: some 10 ms."""


class Correlator:
    """Handles runs of `career-events`."""

    def __init__(self, state: KeyedState, policy: Policy, service: str) -> None:
        self._state = state
        self._policy = policy
        self._service = service
        self._due: dict[int, _DueIndex] = {}
        self._moved: dict[int, Calendar] = {}
        """Calendars that have changed in the run in hand."""

    def forget(self) -> None:
        """Drop what is held about partitions; it is read from the state again when needed."""
        self._due.clear()

    async def handle(self, run: Sequence[Record]) -> Sequence[Output]:
        """Return all that has to be said because of these records."""
        outputs: list[Output] = []
        for record in run:
            try:
                async for output in self._handle(record):
                    outputs.append(output)  # noqa: PERF401 (what was said before a fault has been noted in the state)
            except Exception as exc:  # one record can't be dealt with; the log goes on
                outputs.append(buried(record, exc, self._service))
        # Last, for a crash may leave only the beginning of a run's changes in the changelog: a calendar ahead of the
        # employees would make the repeated tick or cycle no news, and nobody would be visited because of it.
        for partition, calendar in self._moved.items():
            self._state.put(partition, _CALENDAR, encode_calendar(calendar))
        self._moved.clear()
        return outputs

    async def _handle(self, record: Record) -> AsyncIterator[Output]:
        if record.value is None:
            raise Poison("the record has no value: career-events holds events, no tombstones")
        event = read_career_event(record.value)
        metrics.EVENTS.labels(event.type).inc()
        if event.employee_id is None:
            async for output in self._for_everybody(record, event):
                yield output
        else:
            for output in self._for_one(record, event):
                yield output

    def _for_one(self, record: Record, event: EmployeeEvent) -> Iterator[Output]:
        employee = self._employee(record.partition, event.employee_id)
        if record.offset > employee.changed_by:
            decision = decide(employee, self._calendar(record.partition), event, self._policy)
            yield from self._take(record, employee, decision)

    async def _for_everybody(self, record: Record, event: EverybodysEvent) -> AsyncIterator[Output]:
        partition = record.partition
        before = self._calendar(partition)
        after = tell(before, event)
        self._moved[partition] = after
        if after.now is not None:
            metrics.CLOCK.labels(str(partition)).set(after.now.timestamp())
        if concerns_everybody(before, after):
            with metrics.VISIT_SECONDS.time():
                async for output in self._visit(record, self._all(partition), after, event, cause="all"):
                    yield output
        elif after.now is not None and after.now != before.now:
            due = [self._employee(partition, key) for key in self._dues(partition).until(after.now)]
            async for output in self._visit(record, iter(due), after, event, cause="due"):
                yield output

    async def _visit(
        self, record: Record, employees: Iterator[EmployeeState], calendar: Calendar, event: CareerEvent, *, cause: str
    ) -> AsyncIterator[Output]:
        fault: Exception | None = None
        for number, employee in enumerate((e for e in employees if record.offset > e.changed_by), start=1):
            metrics.VISITED.labels(cause).inc()
            try:
                outputs = list(
                    self._take(record, employee, reconsider(employee, calendar, EventId(event.id), self._policy))
                )
            except Exception as exc:  # the event concerns the others too: they are not to wait for this one
                fault = fault or exc
            else:
                for output in outputs:
                    yield output
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        if fault is not None:
            raise fault

    def _take(self, record: Record, before: EmployeeState, decision: Decision) -> Iterator[Output]:
        after = decision.employee
        if after != before:
            changed = msgspec.structs.replace(after, changed_by=record.offset)
            self._state.put(record.partition, _EMPLOYEE + after.employee_id, encode_employee(changed))
            if after.due_at is not None and after.due_at != before.due_at:
                self._dues(record.partition).add(after.due_at, after.employee_id)
        for said in decision.outputs:
            metrics.OUTPUTS.labels(said.type).inc()
            yield _output(said)

    def _employee(self, partition: int, employee_id: str) -> EmployeeState:
        stored = self._state.get(partition, _EMPLOYEE + employee_id)
        return EmployeeState(employee_id) if stored is None else decode_employee(stored)

    def _calendar(self, partition: int) -> Calendar:
        if partition in self._moved:
            return self._moved[partition]
        stored = self._state.get(partition, _CALENDAR)
        return Calendar() if stored is None else decode_calendar(stored)

    def _all(self, partition: int) -> Iterator[EmployeeState]:
        for key, value in self._state.items(partition):  # in the order of their keys, after a restart too
            if key.startswith(_EMPLOYEE):
                yield decode_employee(value)

    def _dues(self, partition: int) -> _DueIndex:
        if partition not in self._due:
            index = self._due[partition] = _DueIndex()
            for employee in self._all(partition):
                if employee.due_at is not None:
                    index.add(employee.due_at, employee.employee_id)
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


def _output(said: Said) -> Output:
    if isinstance(said, GapOpened | GapUpdated | GapClosed):
        return Output(GAPS, said.employee_id.encode(), write_contract(said))
    return Output(PROMPTS, said.sponsor_id.encode(), write_contract(said))
