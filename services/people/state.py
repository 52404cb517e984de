"""What the people service keeps of each person and unit, and how it is written down (msgpack).

Bounded: changes of a person's own fields by `history.KEPT`, names by `claims.KEPT`, contacts by
`who_is_introduced.KEPT`; ties and watchers are one for each tie that the person has.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, Literal

import msgspec

from shared.contracts.career import RelationshipKind
from shared.contracts.ids import EmployeeId, EventId, Ref, RelationshipId, UnitId

ProfileType = Literal["employee.joined", "employee.moved", "employee.promoted", "employee.changed", "employee.left"]


class Fields(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields of an employee as far as somebody has said them; None is what nobody has."""

    name: str | None = None
    level: int | None = None
    level_since: date | None = None
    unit_id: UnitId | None = None
    manager_id: EmployeeId | None = None
    """Empty where it was said that there is none."""
    location: str | None = None
    timezone: str | None = None
    locale: str | None = None
    active: bool | None = None


class Patch(msgspec.Struct, frozen=True, array_like=True):
    """Some fields from a moment on. Patches fold in the order of `key`.

    Attributes:
        effective_on: the day on which they begin to hold, as their source counts days; None where that is UTC's.
    """

    effective_at: datetime
    at: datetime
    event_id: EventId
    fields: Fields
    effective_on: date | None = None

    @property
    def key(self) -> tuple[datetime, datetime, EventId]:
        """What orders patches: when they begin to hold, then when their source said so."""
        return (self.effective_at, self.at, self.event_id)


class Named(msgspec.Struct, frozen=True, array_like=True):
    """All names of one kind that a person has from a moment on."""

    effective_at: datetime
    at: datetime
    event_id: EventId
    refs: tuple[Ref, ...]

    @property
    def key(self) -> tuple[datetime, datetime, EventId]:
        """What orders statements: when they begin to hold, then when their source said so."""
        return (self.effective_at, self.at, self.event_id)


class Merge(msgspec.Struct, frozen=True, array_like=True):
    """The newest statement of whom this person turned out to be; `into_id` is empty where it was taken back."""

    at: datetime
    event_id: EventId
    into_id: EmployeeId


class Inherited(msgspec.Struct, frozen=True, array_like=True):
    """The names of another id that turned out to be this person's."""

    refs: tuple[Ref, ...]
    revision: int


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What the employee's log says of them from a moment on.

    Attributes:
        as_: the type of the career event that said it; None where none did, as it is the same as the moment before.
    """

    effective_at: datetime
    as_: ProfileType | None
    digest: bytes


class TieFact(msgspec.Struct, frozen=True, array_like=True):
    """A relationship's start or end, as its newest statement has it."""

    at: datetime
    event_id: EventId
    source: str
    kind: RelationshipKind
    other_id: EmployeeId
    when: datetime


class Tie(msgspec.Struct, frozen=True, array_like=True):
    """A relationship that the person has as its employee (or as either, when they worked together)."""

    relationship_id: RelationshipId
    started: TieFact | None = None
    ended: TieFact | None = None


class Watcher(msgspec.Struct, frozen=True, array_like=True):
    """Why somebody is told of this person.

    Attributes:
        tied: their log has to hold this person's snapshot.
        reports: this person is their manager.
        revision: of their newest statement about their manager.
    """

    tied: bool = False
    reports: bool = False
    revision: int = 0


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """Somebody whom this person knows."""

    employee_id: EmployeeId
    name: str
    level: int
    leaving: bool
    revision: int


class PersonState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that is known of a person, and what has been told of it.

    Attributes:
        patches: the newest changes of their fields, in the order of their keys.
        base: all older ones folded, each field with the patch that said it last.
        horizon: when the newest of those folded begins to hold; None when there are none.
        seen_to: the greatest `at` of what the feed has said of them or their ties.
        due_at: when the mere passing of time next changes how they stand; None when nothing is known to.
        refs: all names that sources have, or had, for them; sorted.
        names: what was said of those, by kind (see `claims`).
        merged: whom they turned out to be.
        inherited: by the other id.
        disowned: statements about ties that turned out to be another person's; the newest `what_is_told.DISOWNED_KEPT`.
        revision: of the last statement about them.
        told: their profiles as their log has them, from the horizon on.
        ties: sorted by relationship.
        manager_told: whom we last told that they are this person's manager; empty for nobody.
        snapshot_told: digest of the snapshot as the logs of those tied to them have it.
        base_told: digest of the base data as those who know them have it.
    """

    employee_id: EmployeeId
    patches: tuple[Patch, ...] = ()
    base: dict[str, Patch] = msgspec.field(default_factory=dict)
    horizon: datetime | None = None
    seen_to: datetime | None = None
    due_at: datetime | None = None
    refs: tuple[Ref, ...] = ()
    names: dict[str, tuple[Named, ...]] = msgspec.field(default_factory=dict)
    merged: Merge | None = None
    inherited: dict[EmployeeId, Inherited] = msgspec.field(default_factory=dict)
    disowned: tuple[EventId, ...] = ()
    revision: int = 0
    told: tuple[Told, ...] = ()
    ties: tuple[Tie, ...] = ()
    watchers: dict[EmployeeId, Watcher] = msgspec.field(default_factory=dict)
    contacts: tuple[Contact, ...] = ()
    manager_told: EmployeeId = EmployeeId("")
    snapshot_told: bytes = b""
    base_told: bytes = b""


class UnitState(msgspec.Struct, frozen=True, array_like=True):
    """A unit as its newest statement has it."""

    parent_id: UnitId | None
    at: datetime
    event_id: EventId


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_person: Final = msgspec.msgpack.Decoder(PersonState).decode
_decode_unit: Final = msgspec.msgpack.Decoder(UnitState).decode


def write_state(state: PersonState | UnitState) -> bytes:
    """Return the state as bytes."""
    return _encode(state)


def read_person(value: bytes) -> PersonState:
    """Return the person that `write_state` wrote."""
    return _decode_person(value)


def read_unit(value: bytes) -> UnitState:
    """Return the unit that `write_state` wrote."""
    return _decode_unit(value)
