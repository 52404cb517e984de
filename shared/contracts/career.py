"""The canonical log `career-events`: what concerns an employee, in the order in which it became known.

Keyed by employee id. Cycle and clock events concern everybody: a copy goes to every partition, with `employee_id` None.

Facts about the same thing (an achievement, a cycle, a profile) are settled by their `Stamp`: the newest wins, and
of two with the same time the one with the greater event id. So the order of arrival does not decide.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from shared.contracts.base import Contract, EventTime, Level, Name, PersonRef, Text
from shared.contracts.ids import (
    AchievementId,
    CycleId,
    EmployeeId,
    EndorsementId,
    EventId,
    RelationshipId,
    UnitId,
)

RelationshipKind = Literal["sponsor", "mentor", "worked_with"]
CycleKind = Literal["promotion", "raise", "role", "stretch"]


class Stamp(NamedTuple):
    """What settles two statements about the same thing; the greater one holds."""

    at: EventTime
    event_id: EventId


class _Event(Contract):
    id: EventId
    at: EventTime = Field(description="when the source said so (CloudEvents `time`); settles conflicting statements")
    source: str = Field(description="the source as it names itself, with the feed's event id behind a #")

    @property
    def stamp(self) -> Stamp:
        """What settles this statement against another about the same thing."""
        return Stamp(self.at, self.id)


class _EmployeeEvent(_Event):
    employee_id: EmployeeId


# -- people ---------------------------------------------------------------------------------------


class Profile(Contract):
    """An employee as decisions need them, from one moment on."""

    name: Name
    level: Level
    level_since: date = Field(description="since when they have had this level; for a minimum time in level")
    unit_path: tuple[UnitId, ...] = Field(description="org units from the root down to their own")
    manager_id: EmployeeId | None = None
    location: str = ""
    active: bool = True


class _ProfileEvent(_EmployeeEvent):
    """States the whole profile that holds from `effective_at` on, until the next one known.

    `revision` counts the people service's statements about this employee: of two for the same `effective_at`, the
    greater revision holds.
    """

    effective_at: EventTime
    revision: int
    profile: Profile


class EmployeeJoined(_ProfileEvent):
    """The employee is known from now on."""

    type: Literal["employee.joined"] = "employee.joined"


class EmployeeMoved(_ProfileEvent):
    """Another org unit or manager."""

    type: Literal["employee.moved"] = "employee.moved"


class EmployeePromoted(_ProfileEvent):
    """Another level (down as well as up)."""

    type: Literal["employee.promoted"] = "employee.promoted"


class EmployeeChanged(_ProfileEvent):
    """Something else of the profile: name, location, a correction."""

    type: Literal["employee.changed"] = "employee.changed"


class EmployeeLeft(_ProfileEvent):
    """Has left the company; the profile is inactive."""

    type: Literal["employee.left"] = "employee.left"


class RelationshipStarted(_EmployeeEvent):
    """`other_id` is from `started_at` on this employee's sponsor or mentor, or has worked with them."""

    type: Literal["relationship.started"] = "relationship.started"
    relationship_id: RelationshipId
    kind: RelationshipKind
    other_id: EmployeeId
    started_at: EventTime


class RelationshipEnded(_EmployeeEvent):
    """The relationship held until `ended_at`. May be known before its start is."""

    type: Literal["relationship.ended"] = "relationship.ended"
    relationship_id: RelationshipId
    kind: RelationshipKind
    other_id: EmployeeId
    ended_at: EventTime


class Introduction(Contract):
    """A senior person whom a tied person could introduce."""

    person_id: EmployeeId
    name: Name
    level: Level


class TiedPerson(Contract):
    """A person tied to an employee, as a decision about that employee needs them."""

    person_id: EmployeeId
    name: Name
    level: Level
    unit_path: tuple[UnitId, ...]
    timezone: str = Field("UTC", description="an IANA name; UTC too where the records name none")
    locale: str | None = Field(None, description="a BCP 47 tag; None where the records name none")
    refs: tuple[PersonRef, ...] = Field(
        description="all names that sources have for them; witnesses are matched by these"
    )
    left_at: EventTime | None = None
    introductions: tuple[Introduction, ...] = ()


class TiedPersonChanged(_EmployeeEvent):
    """What is known of a person tied to this employee, now; the greatest `revision` of a person holds."""

    type: Literal["tied_person.changed"] = "tied_person.changed"
    revision: int
    person: TiedPerson


# -- achievements ---------------------------------------------------------------------------------

Impact = Annotated[int, Field(ge=0, le=3)]
"""How far an outcome reached: 0 not said, 1 the team, 2 several teams, 3 the company or its customers."""


class Achievement(Contract):
    """Something done, as far as it can be evidence."""

    achievement_id: AchievementId
    title: Name
    outcome: Text = ""
    impact: Impact = 0
    occurred_on: date
    competencies: tuple[str, ...] = ()
    link: str = ""
    witnesses: tuple[PersonRef, ...] = ()


class AchievementRecorded(_EmployeeEvent):
    """An achievement became known."""

    type: Literal["achievement.recorded"] = "achievement.recorded"
    achievement: Achievement


class AchievementCorrected(_EmployeeEvent):
    """The whole achievement, as it should have been said."""

    type: Literal["achievement.corrected"] = "achievement.corrected"
    achievement: Achievement


class AchievementRetracted(_EmployeeEvent):
    """It did not happen, or must not be used."""

    type: Literal["achievement.retracted"] = "achievement.retracted"
    achievement_id: AchievementId
    reason: Text = ""


class AchievementHidden(_EmployeeEvent):
    """The employee does not want it used as evidence. Goes before all that sources say of it, also later."""

    type: Literal["achievement.hidden"] = "achievement.hidden"
    achievement_id: AchievementId


class AchievementShown(_EmployeeEvent):
    """The employee lets it be used again; of hidden and shown the newest holds."""

    type: Literal["achievement.shown"] = "achievement.shown"
    achievement_id: AchievementId


SELF: Final = "urn:sponsorship-tracker:portal:self"
"""The source, in CloudEvents' sense, of what employees say of themselves on the portal."""


def is_self_reported(event: AchievementRecorded | AchievementCorrected) -> bool:
    """Tell whether an achievement is stated in the words of the person whose it is."""
    return event.source.startswith(f"{SELF}#")


# -- endorsements and answers ---------------------------------------------------------------------


class EndorsementGiven(_EmployeeEvent):
    """A sponsor has spoken for the employee, for one cycle or in general."""

    type: Literal["endorsement.given"] = "endorsement.given"
    endorsement_id: EndorsementId
    sponsor_id: EmployeeId
    cycle_id: CycleId | None = None
    given_at: EventTime
    statement: Text = ""


class EndorsementWithdrawn(_EmployeeEvent):
    """The sponsor takes the endorsement back."""

    type: Literal["endorsement.withdrawn"] = "endorsement.withdrawn"
    endorsement_id: EndorsementId
    sponsor_id: EmployeeId


class PromptDeclined(_EmployeeEvent):
    """The sponsor will not speak for the employee in this cycle."""

    type: Literal["prompt.declined"] = "prompt.declined"
    cycle_id: CycleId
    sponsor_id: EmployeeId
    reason: Text = ""


class PromptDeclineWithdrawn(_EmployeeEvent):
    """The sponsor takes back that they declined: they may be asked again in this cycle."""

    type: Literal["prompt.decline_withdrawn"] = "prompt.decline_withdrawn"
    cycle_id: CycleId
    sponsor_id: EmployeeId


class PromptSnoozed(_EmployeeEvent):
    """The sponsor asks not to be reminded before `until`."""

    type: Literal["prompt.snoozed"] = "prompt.snoozed"
    cycle_id: CycleId
    sponsor_id: EmployeeId
    until: EventTime


# -- what was another's ---------------------------------------------------------------------------


class StatementDisowned(_EmployeeEvent):
    """The event `statement_id` of this log was not about this employee: a name that it used means somebody else.

    It counts as if it had never been written, whichever of the two is read first. Where it was about somebody else, it
    is in their log under an id of its own.
    """

    type: Literal["statement.disowned"] = "statement.disowned"
    statement_id: EventId


# -- cycles and the clock: a copy in every partition ----------------------------------------------


class Cycle(Contract):
    """An opportunity: who is in scope, what is looked for, and from when to when."""

    cycle_id: CycleId
    kind: CycleKind
    title: Name
    unit_ids: tuple[UnitId, ...] = Field(
        (), description="org units in scope with all below them; none means the company"
    )
    levels: tuple[Level, ...] = Field((), description="levels in scope; none means every level")
    min_months_in_level: Annotated[int, Field(ge=0, le=600)] = 0
    competencies: tuple[str, ...] = ()
    evidence_from: date
    evidence_to: date
    opens_at: EventTime
    closes_at: EventTime


class _EverybodysEvent(_Event):
    employee_id: None = None


class CycleOpened(_EverybodysEvent):
    """A cycle is announced; it opens at its `opens_at`, which may lie ahead."""

    type: Literal["cycle.opened"] = "cycle.opened"
    cycle: Cycle


class CycleAmended(_EverybodysEvent):
    """The whole cycle as it now stands."""

    type: Literal["cycle.amended"] = "cycle.amended"
    cycle: Cycle


class CycleClosed(_EverybodysEvent):
    """The cycle was closed at `closed_at`, before its time or at it."""

    type: Literal["cycle.closed"] = "cycle.closed"
    cycle_id: CycleId
    closed_at: EventTime


class CycleCancelled(_EverybodysEvent):
    """The cycle does not take place; whatever was asked for it is asked no more."""

    type: Literal["cycle.cancelled"] = "cycle.cancelled"
    cycle_id: CycleId
    reason: Text = ""


class ClockTicked(_EverybodysEvent):
    """It is `now`. Nothing else tells the correlator the time, so a replay sees the same times."""

    type: Literal["clock.ticked"] = "clock.ticked"
    now: EventTime


EmployeeEvent = (
    EmployeeJoined
    | EmployeeMoved
    | EmployeePromoted
    | EmployeeChanged
    | EmployeeLeft
    | RelationshipStarted
    | RelationshipEnded
    | TiedPersonChanged
    | AchievementRecorded
    | AchievementCorrected
    | AchievementRetracted
    | AchievementHidden
    | AchievementShown
    | EndorsementGiven
    | EndorsementWithdrawn
    | PromptDeclined
    | PromptDeclineWithdrawn
    | PromptSnoozed
    | StatementDisowned
)
EverybodysEvent = CycleOpened | CycleAmended | CycleClosed | CycleCancelled | ClockTicked
CareerEvent = EmployeeEvent | EverybodysEvent

_career_event: TypeAdapter[CareerEvent] = TypeAdapter(Annotated[CareerEvent, Field(discriminator="type")])


def read_career_event(value: bytes) -> CareerEvent:
    """Return the event that a record of `career-events` holds.

    Raises:
        pydantic.ValidationError: the bytes are not a career event; the error names each field.
    """
    return _career_event.validate_json(value)


def write_contract(record: Contract) -> bytes:
    """Return `record` as the bytes that go into a Kafka record: JSON, fields in the order of their declaration.

    The same record always gives the same bytes, which is what lets a replay be compared byte for byte.
    """
    return record.model_dump_json().encode()
