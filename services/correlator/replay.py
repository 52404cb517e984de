"""Follows one employee through the log, as the service does, and remembers where each fact was told: career-events →
what is known, what was said, and the places of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.correlator.facts import tell
from services.correlator.policy import Policy
from services.correlator.rules import Decision, Output, concerns_everybody, decide, reconsider
from services.correlator.state import Calendar, EmployeeState
from shared.contracts.career import (
    CareerEvent,
    ClockTicked,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EverybodysEvent,
    TiedPersonChanged,
    read_career_event,
)
from shared.streaming.records import Record


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and where in the log it lies."""

    event: CareerEvent
    partition: int
    offset: int
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a prompt or a gap, and the event that led to it."""

    output: Output
    because_of: Told


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A record of theirs that is no career event, or that the rules could not deal with; the service buried it."""

    partition: int
    offset: int
    written_at: datetime
    error: str


@dataclass(slots=True)
class Places:
    """Where what is known was told: by the event's id, and of what has no event's id by its revision."""

    events: dict[str, Told] = field(default_factory=dict)
    profiles: dict[tuple[datetime, int], Told] = field(default_factory=dict)
    """By `effective_at` and revision."""
    people: dict[tuple[str, int], Told] = field(default_factory=dict)
    """By the tied person's id and revision."""
    clock: Told | None = None
    """The event that moved the time last."""


class Follower:
    """Takes in the records of an employee's partition, in order; those that concern others change nothing.

    The service looks at many employees and keeps no places; what it says of this one is what is said here. A property
    test holds them together.
    """

    def __init__(self, employee_id: str, policy: Policy) -> None:
        self.employee = EmployeeState(employee_id)
        self.calendar = Calendar()
        self.policy = policy
        self.places = Places()
        self.said: list[Said] = []
        self.not_understood: list[NotUnderstood] = []
        self.records = 0
        """Their own, those that were not understood included."""

    def take(self, record: Record) -> None:
        """Take in a record."""
        try:
            event = read_career_event(record.value or b"")
            told = Told(event, record.partition, record.offset, record.time)
            if event.employee_id is None:
                self._take_for_everybody(told, event)
            elif event.employee_id == self.employee.employee_id:
                self.records += 1
                self._note(decide(self.employee, self.calendar, event, self.policy), told)
                self._place(told, event)
        except Exception as exc:  # as the service: one record can't be dealt with, the log goes on
            if record.key is not None:
                self.records += 1
            self.not_understood.append(NotUnderstood(record.partition, record.offset, record.time, str(exc)))

    def _take_for_everybody(self, told: Told, event: EverybodysEvent) -> None:
        before, self.calendar = self.calendar, tell(self.calendar, event)
        now = self.calendar.now
        if isinstance(event, ClockTicked):
            if now != before.now:
                self.places.clock = told
        else:
            self.places.events.setdefault(event.id, told)
        due_at = self.employee.due_at
        if concerns_everybody(before, self.calendar) or (due_at is not None and now is not None and due_at <= now):
            self._note(reconsider(self.employee, self.calendar, event.id, self.policy), told)

    def _note(self, decision: Decision, because_of: Told) -> None:
        self.employee = decision.employee
        self.said.extend(Said(output, because_of) for output in decision.outputs)

    def _place(self, told: Told, event: EmployeeEvent) -> None:
        # Of an event that was told again the first place counts: what came later changed nothing.
        self.places.events.setdefault(event.id, told)
        match event:
            case EmployeeJoined() | EmployeeMoved() | EmployeePromoted() | EmployeeChanged() | EmployeeLeft():
                self.places.profiles.setdefault((event.effective_at, event.revision), told)
            case TiedPersonChanged():
                self.places.people.setdefault((event.person.person_id, event.revision), told)
            case _:
                pass
