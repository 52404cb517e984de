"""The messages of `people-changes`: what one person has to learn, and from which message of a feed it comes.

Keyed by the person who has to learn it, so that all that concerns a person is in one partition and in order. A unit
goes to every partition, for everybody's path may lead through it, and so does the time. All of them can come again:
none adds to what another with the same content has said.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from shared.contracts.base import Contract, EventTime, Level, Name, PersonRef
from shared.contracts.career import ClockTicked, RelationshipKind, Stamp
from shared.contracts.ids import EmployeeId, EventId, RelationshipId, UnitId


class _Change(Contract):
    id: EventId
    at: EventTime = Field(description="when the source said what led to this (CloudEvents `time`)")
    source: str = Field(description="the source of what led to this, with the feed's event id behind a #")

    @property
    def stamp(self) -> Stamp:
        """What settles this statement against another about the same thing."""
        return Stamp(self.at, self.id)


class _PersonChange(_Change):
    employee_id: EmployeeId = Field(description="who has to learn this; the record's key")


# -- from the feed --------------------------------------------------------------------------------


class EmployeePatched(_PersonChange):
    """From `effective_at` on these fields of the employee hold; a field that is None stays as it was."""

    type: Literal["employee.patched"] = "employee.patched"
    effective_at: EventTime
    effective_on: date | None = Field(
        None, description="the day of `effective_at` in the zone it was said in; None: its day in UTC"
    )
    hired: bool = Field(description="whether this begins (or begins again) their time with the company")
    refs: tuple[PersonRef, ...] = Field(description="names that sources have for them; they keep those of before")
    name: Name | None = None
    level: Level | None = None
    level_since: date | None = None
    unit_id: UnitId | None = None
    manager_id: EmployeeId | None = Field(None, description="an empty one says that there is no manager")
    location: str | None = None
    timezone: str | None = Field(None, description="as the feed's shape has checked it")
    locale: str | None = None


class EmployeeDeparted(_PersonChange):
    """The employee leaves, or has left, at `effective_at`."""

    type: Literal["employee.departed"] = "employee.departed"
    effective_at: EventTime


class UnitStated(_Change):
    """A unit of the org tree and the one above it."""

    type: Literal["unit.stated"] = "unit.stated"
    unit_id: UnitId
    parent_id: UnitId | None = None


class TieStarted(_PersonChange):
    """The employee has a relationship: `other_id` is their sponsor or mentor, or has worked with them."""

    type: Literal["tie.started"] = "tie.started"
    relationship_id: RelationshipId
    kind: RelationshipKind
    other_id: EmployeeId
    started_at: EventTime


class TieEnded(_PersonChange):
    """The relationship held until `ended_at`."""

    type: Literal["tie.ended"] = "tie.ended"
    relationship_id: RelationshipId
    kind: RelationshipKind
    other_id: EmployeeId
    ended_at: EventTime


class SnapshotWanted(_PersonChange):
    """The log of `log_of` has to hold a snapshot of the employee, from now on: the two are tied."""

    type: Literal["snapshot.wanted"] = "snapshot.wanted"
    log_of: EmployeeId


class EmployeeMerged(_PersonChange):
    """The employee is another one whom we know, under an id that is used no more from `effective_at` on."""

    type: Literal["employee.merged"] = "employee.merged"
    into_id: EmployeeId = Field(description="empty to take back what was said before")
    effective_at: EventTime


class TieDisowned(_PersonChange):
    """A statement about a tie (`tie.started` or `tie.ended`) was not about this employee: its names meant others."""

    type: Literal["tie.disowned"] = "tie.disowned"
    statement_id: EventId


# -- from one person to another -------------------------------------------------------------------


class ReportStated(_PersonChange):
    """The employee is the manager of `report_id`, or is no longer. Of a report's statements the greatest holds."""

    type: Literal["report.stated"] = "report.stated"
    report_id: EmployeeId
    reports: bool
    revision: int


class NamesInherited(_PersonChange):
    """The employee is whom the id `of` was merged into, so these names mean them too; none when that was taken back."""

    type: Literal["names.inherited"] = "names.inherited"
    of: EmployeeId
    refs: tuple[PersonRef, ...]
    revision: int = Field(description="of a person's statements the greatest holds")


class ContactDescribed(_PersonChange):
    """Who `contact_id`, whom the employee knows, is. Of a contact's descriptions the greatest `revision` holds.

    Base data only, without the contact's own contacts: so what one person says of themselves ends with those who
    know them, and does not go around.
    """

    type: Literal["contact.described"] = "contact.described"
    contact_id: EmployeeId
    name: Name
    level: Level
    leaving: bool = Field(description="has left the company, or will")
    revision: int


PersonChange = (
    EmployeePatched
    | EmployeeDeparted
    | EmployeeMerged
    | TieStarted
    | TieEnded
    | TieDisowned
    | SnapshotWanted
    | ReportStated
    | NamesInherited
    | ContactDescribed
)
FeedChange = PersonChange | UnitStated
"""What an event of the feed can lead to."""
Change = FeedChange | ClockTicked

_change: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="type")])


def read_change(value: bytes) -> Change:
    """Return the change that a record of `people-changes` holds.

    Raises:
        pydantic.ValidationError: the bytes are no change; the error names each field.
    """
    return _change.validate_json(value)
