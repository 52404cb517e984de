"""The rows that the projection makes, and the rule of which of two rows about the same thing holds.

A table may be made of several kinds of rows, each with columns of its own: the start and the end of a relationship
are two statements, known in any order, and the newer end must not wipe out the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, ClassVar, Literal

from msgspec import Struct
from msgspec.structs import fields
from sqlalchemy import Integer, String, Table, Text

from services.insights import tables
from shared.contracts.ids import (
    AchievementId,
    CycleId,
    EmployeeId,
    EndorsementId,
    EventId,
    GapId,
    PromptId,
    RelationshipId,
    UnitId,
)

PromptStatus = Literal["open", "withdrawn", "fulfilled"]
GapStatus = Literal["open", "closed"]
Document = Any
"""What becomes JSON."""


def newest(rows: Iterable[Row]) -> dict[type[Row], list[Row]]:
    """Return of each kind the rows that hold, one a key, in the order of their keys.

    A row takes another's place only when it is newer by its kind's `newer_by`; a kind without that is never changed
    once it is there. The database applies the same rule between these rows and its own. The order of keys is that in
    which two processes lock rows, so that neither waits for the other forever.
    """
    held: dict[type[Row], dict[tuple[Any, ...], Row]] = {}
    for row in rows:
        of_kind = held.setdefault(type(row), {})
        key = row.key
        before = of_kind.get(key)
        if before is None or (row.newer_by and row.age > before.age):
            of_kind[key] = row
    return {kind: [of_kind[key] for key in sorted(of_kind)] for kind, of_kind in held.items()}


class Unstorable(ValueError):
    """A value that not every database can hold; the message names the column."""


def check_storable(row: Row) -> None:
    """Find what one of the databases would refuse, before it does and holds up the rows beside it.

    Raises:
        Unstorable: an id is too long for an index, or a number too large.
    """
    shape = _SHAPES[type(row)]
    for n, text in enumerate(shape.short_values(row)):
        if text is not None and len(text) > tables.MAX_ID_CHARACTERS:
            said = f"{len(text)} characters, at most {tables.MAX_ID_CHARACTERS} can be stored"
            raise Unstorable(f"{shape.short[n]}: {said}")
    for n, number in enumerate(shape.number_values(row)):
        if number is not None and not -(2**63) <= number < 2**63:
            raise Unstorable(f"{shape.numbers[n]}: the number does not fit into 64 bits")


class Row(Struct, frozen=True, gc=False):
    """One row, or the part of one that a statement is about.

    A Struct of msgspec, as records are: there are some in each record, and a frozen dataclass takes twelve times as
    long to make.

    Attributes:
        table: where it goes.
        newer_by: the columns by which the newer of two is told; empty when all are the same.
    """

    table: ClassVar[Table]
    newer_by: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """The values of the table's primary key."""
        return _SHAPES[type(self)].key_values(self)

    @property
    def age(self) -> tuple[Any, ...]:
        """What tells the newer of two; the greater holds."""
        return _SHAPES[type(self)].ages(self)

    @property
    def values(self) -> tuple[Any, ...]:
        """The row's values, in the order of `column_names`."""
        return _SHAPES[type(self)].values(self)

    def columns(self) -> Mapping[str, Any]:
        """Return the row's values by column."""
        return dict(zip(column_names(type(self)), self.values, strict=True))


def column_names(kind: type[Row]) -> Sequence[str]:
    """Return the columns that rows of this kind write."""
    return _SHAPES[kind].columns


def key_columns(kind: type[Row]) -> Sequence[str]:
    """Return the columns of the primary key."""
    return _SHAPES[kind].key


# -- people ---------------------------------------------------------------------------------------


class ProfileRow(Row, frozen=True, gc=False):
    """An employee's profile from `effective_at` on. Of two for the same moment the greater revision holds."""

    table: ClassVar[Table] = tables.profiles
    newer_by: ClassVar[tuple[str, ...]] = ("revision", "said_by")

    employee_id: EmployeeId
    effective_at: datetime
    revision: int
    said_by: EventId
    name: str
    level: int
    level_since: date
    unit_id: UnitId | None
    unit_path: Document
    manager_id: EmployeeId | None
    location: str
    active: bool


class TieRow(Row, frozen=True, gc=False):
    """Whom a relationship ties; its start and its end both say so."""

    table: ClassVar[Table] = tables.relationships
    newer_by: ClassVar[tuple[str, ...]] = ("said_at", "said_by")

    relationship_id: RelationshipId
    said_at: datetime
    said_by: EventId
    employee_id: EmployeeId
    other_id: EmployeeId
    kind: str


class TieStartRow(Row, frozen=True, gc=False):
    """From when a relationship holds."""

    table: ClassVar[Table] = tables.relationships
    newer_by: ClassVar[tuple[str, ...]] = ("start_said_at", "start_said_by")

    relationship_id: RelationshipId
    started_at: datetime
    start_said_at: datetime
    start_said_by: EventId


class TieEndRow(Row, frozen=True, gc=False):
    """Until when a relationship held."""

    table: ClassVar[Table] = tables.relationships
    newer_by: ClassVar[tuple[str, ...]] = ("end_said_at", "end_said_by")

    relationship_id: RelationshipId
    ended_at: datetime
    end_said_at: datetime
    end_said_by: EventId


class AchievementRow(Row, frozen=True, gc=False):
    """An achievement as last stated; with nothing but its owner when it was retracted."""

    table: ClassVar[Table] = tables.achievements
    newer_by: ClassVar[tuple[str, ...]] = ("said_at", "said_by")

    achievement_id: AchievementId
    said_at: datetime
    said_by: EventId
    employee_id: EmployeeId
    retracted: bool
    title: str | None = None
    outcome: str | None = None
    impact: int | None = None
    occurred_on: date | None = None
    competencies: Document = None
    link: str | None = None
    witnesses: int | None = None


class EndorsementRow(Row, frozen=True, gc=False):
    """Who speaks for whom; giving and withdrawing both say so."""

    table: ClassVar[Table] = tables.endorsements
    newer_by: ClassVar[tuple[str, ...]] = ("said_at", "said_by")

    endorsement_id: EndorsementId
    said_at: datetime
    said_by: EventId
    employee_id: EmployeeId
    sponsor_id: EmployeeId


class EndorsementGivenRow(Row, frozen=True, gc=False):
    """When it was given, and for which cycle."""

    table: ClassVar[Table] = tables.endorsements
    newer_by: ClassVar[tuple[str, ...]] = ("give_said_at", "give_said_by")

    endorsement_id: EndorsementId
    give_said_at: datetime
    give_said_by: EventId
    cycle_id: CycleId | None
    given_at: datetime


class EndorsementWithdrawnRow(Row, frozen=True, gc=False):
    """That it was taken back."""

    table: ClassVar[Table] = tables.endorsements
    newer_by: ClassVar[tuple[str, ...]] = ("withdraw_said_at", "withdraw_said_by")

    endorsement_id: EndorsementId
    withdraw_said_at: datetime
    withdraw_said_by: EventId


# -- cycles and the clock -------------------------------------------------------------------------


class CycleRow(Row, frozen=True, gc=False):
    """A cycle as last stated."""

    table: ClassVar[Table] = tables.cycles
    newer_by: ClassVar[tuple[str, ...]] = ("said_at", "said_by")

    cycle_id: CycleId
    said_at: datetime
    said_by: EventId
    kind: str
    title: str
    unit_ids: Document
    levels: Document
    min_months_in_level: int
    competencies: Document
    evidence_from: date
    evidence_to: date
    opens_at: datetime
    closes_at: datetime


class CycleClosedRow(Row, frozen=True, gc=False):
    """That and when a cycle was closed."""

    table: ClassVar[Table] = tables.cycles
    newer_by: ClassVar[tuple[str, ...]] = ("close_said_at", "close_said_by")

    cycle_id: CycleId
    closed_at: datetime
    close_said_at: datetime
    close_said_by: EventId


class CycleCancelledRow(Row, frozen=True, gc=False):
    """That a cycle does not take place."""

    table: ClassVar[Table] = tables.cycles
    newer_by: ClassVar[tuple[str, ...]] = ("cancel_said_at", "cancel_said_by")

    cycle_id: CycleId
    cancelled_because: str
    cancel_said_at: datetime
    cancel_said_by: EventId


class ClockRow(Row, frozen=True, gc=False):
    """The time that the log tells; the greatest holds."""

    table: ClassVar[Table] = tables.clock
    newer_by: ClassVar[tuple[str, ...]] = ("now",)

    now: datetime
    only: int = 1


# -- prompts, gaps, deliveries --------------------------------------------------------------------


class PromptRow(Row, frozen=True, gc=False):
    """How a prompt stands: the greatest version says."""

    table: ClassVar[Table] = tables.prompts
    newer_by: ClassVar[tuple[str, ...]] = ("version",)

    prompt_id: PromptId
    version: int
    status: PromptStatus
    cycle_id: CycleId
    sponsor_id: EmployeeId
    employee_id: EmployeeId
    changed_at: datetime
    because_of: EventId
    withdrawn_because: str | None = None
    endorsement_id: str | None = None


class PromptBodyRow(Row, frozen=True, gc=False):
    """What the sponsor was shown last."""

    table: ClassVar[Table] = tables.prompts
    newer_by: ClassVar[tuple[str, ...]] = ("body_version",)

    prompt_id: PromptId
    body_version: int
    body: Document
    sponsor_timezone: str
    snoozed_until: datetime | None


class PromptOpenedRow(Row, frozen=True, gc=False):
    """When a prompt was opened last."""

    table: ClassVar[Table] = tables.prompts
    newer_by: ClassVar[tuple[str, ...]] = ("opened_version",)

    prompt_id: PromptId
    opened_version: int
    opened_at: datetime
    opened_evidence: int
    opened_strength: int | None


class PromptHistoryRow(Row, frozen=True, gc=False):
    """One prompt event; the same event is the same row."""

    table: ClassVar[Table] = tables.prompt_history

    event_id: EventId
    prompt_id: PromptId
    version: int
    type: str
    at: datetime


class PromptViewRow(Row, frozen=True, gc=False):
    """That the page of a prompt was shown to its sponsor; the same view is the same row."""

    table: ClassVar[Table] = tables.prompt_views

    event_id: EventId
    prompt_id: PromptId
    at: datetime


class GapRow(Row, frozen=True, gc=False):
    """How a gap stands: the greatest version says."""

    table: ClassVar[Table] = tables.gaps
    newer_by: ClassVar[tuple[str, ...]] = ("version",)

    gap_id: GapId
    version: int
    status: GapStatus
    cycle_id: CycleId
    employee_id: EmployeeId
    changed_at: datetime
    because_of: EventId
    closed_because: str | None = None


class GapSuggestionsRow(Row, frozen=True, gc=False):
    """Who could become the sponsor, as last suggested."""

    table: ClassVar[Table] = tables.gaps
    newer_by: ClassVar[tuple[str, ...]] = ("suggestions_version",)

    gap_id: GapId
    suggestions_version: int
    suggestions: Document


class GapOpenedRow(Row, frozen=True, gc=False):
    """When a gap was opened last."""

    table: ClassVar[Table] = tables.gaps
    newer_by: ClassVar[tuple[str, ...]] = ("opened_version",)

    gap_id: GapId
    opened_version: int
    opened_at: datetime


class GapHistoryRow(Row, frozen=True, gc=False):
    """One gap event; the same event is the same row."""

    table: ClassVar[Table] = tables.gap_history

    event_id: EventId
    gap_id: GapId
    version: int
    type: str
    at: datetime


class DeliveryRow(Row, frozen=True, gc=False):
    """What became of one version of a prompt; of two with the same outcome the later holds."""

    table: ClassVar[Table] = tables.deliveries
    newer_by: ClassVar[tuple[str, ...]] = ("at", "attempts")

    delivery_id: EventId
    outcome: str
    prompt_id: PromptId
    version: int
    sponsor_id: EmployeeId
    channel: str
    detail: str
    status_code: int | None
    attempts: int
    at: datetime


class AttributesRow(Row, frozen=True, gc=False):
    """The protected attributes that a subject states; without any they are taken back, and the row goes.

    Of two statements the one that came later holds, as Kafka keeps it when it compacts the topic.
    """

    table: ClassVar[Table] = tables.attributes
    newer_by: ClassVar[tuple[str, ...]] = ("log_offset",)

    subject: str
    log_offset: int
    employee_id: EmployeeId | None = None
    said_at: datetime | None = None
    said: Document = None


KINDS: tuple[type[Row], ...] = (
    ProfileRow,
    TieRow,
    TieStartRow,
    TieEndRow,
    AchievementRow,
    EndorsementRow,
    EndorsementGivenRow,
    EndorsementWithdrawnRow,
    CycleRow,
    CycleClosedRow,
    CycleCancelledRow,
    ClockRow,
    PromptRow,
    PromptBodyRow,
    PromptOpenedRow,
    PromptHistoryRow,
    PromptViewRow,
    GapRow,
    GapSuggestionsRow,
    GapOpenedRow,
    GapHistoryRow,
    DeliveryRow,
    AttributesRow,
)
"""Every kind of row, in the order in which they are written; the same in every process, as with the order of keys."""


Values = Callable[[Any], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is asked of each row of a kind, worked out once: there are some of them in each record."""

    columns: tuple[str, ...]
    values: Values
    key: tuple[str, ...]
    key_values: Values
    ages: Values
    short: tuple[str, ...]
    short_values: Values
    numbers: tuple[str, ...]
    number_values: Values


def _shape(kind: type[Row]) -> _Shape:
    columns = tuple(field.name for field in fields(kind))
    key = tuple(column.name for column in kind.table.primary_key.columns)
    types = {name: kind.table.c[name].type for name in columns}
    # Text, for what people write, is a String to SQLAlchemy too; it is in no index and has no limit.
    short = tuple(name for name, of in types.items() if isinstance(of, String) and not isinstance(of, Text))
    numbers = tuple(name for name, of in types.items() if isinstance(of, Integer))
    return _Shape(
        columns=columns,
        values=_values_of(columns),
        key=key,
        key_values=_values_of(key),
        ages=_values_of(kind.newer_by),
        short=short,
        short_values=_values_of(short),
        numbers=numbers,
        number_values=_values_of(numbers),
    )


def _values_of(names: tuple[str, ...]) -> Values:
    if not names:
        return lambda _: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda row: (get(row),)


_SHAPES = {kind: _shape(kind) for kind in KINDS}
