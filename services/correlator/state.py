"""What the correlator remembers: of each employee (`EmployeeState`), and of cycles and the time (`Calendar`).

Plain values and their encoding; what they mean is in `facts` and `rules`.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from shared.contracts.career import CycleKind, RelationshipKind

Key = tuple[datetime, str]
"""A `Stamp`, as it is kept: when the source said so, and the event's id."""


class ProfileFrom(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The profile that holds from `effective_at` on."""

    effective_at: datetime
    revision: int
    name: str
    level: int
    level_since: date
    unit_path: tuple[str, ...]
    manager_id: str | None
    active: bool


class Tie(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A relationship; its start or its end may not be known yet."""

    kind: RelationshipKind
    other_id: str
    started: tuple[datetime, Key] | None = None
    ended: tuple[datetime, Key] | None = None


class Person(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A tied person, as last described."""

    revision: int
    name: str
    level: int
    timezone: str
    refs: tuple[str, ...]
    left_at: datetime | None
    introductions: tuple[tuple[str, str, int], ...]
    """Whom they could introduce: id, name, level."""
    locale: str | None = None


class AchievementFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The newest statement about an achievement; a retracted one is remembered so that it stays retracted."""

    stamp: Key
    occurred_on: date
    """When it happened; of a retracted one, when it was taken back."""
    retracted: bool = False
    title: str = ""
    outcome: str = ""
    impact: int = 0
    competencies: tuple[str, ...] = ()
    link: str = ""
    witnesses: tuple[str, ...] = ()
    self_reported: bool = False
    """Whether the words are those of the person whose achievement it is."""


class OwnersWord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Whether the person whose achievement it is has hidden it; the newest word holds, whatever sources say."""

    stamp: Key
    hidden: bool


class EndorsementFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An endorsement, and whether it was taken back."""

    sponsor_id: str
    given: tuple[Key, datetime, str | None, str] | None = None
    """Stamp, given_at, cycle, statement."""
    withdrawn: Key | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A sponsor's answers in one cycle."""

    declined: Key | None = None
    decline_withdrawn: Key | None = None
    snoozed: tuple[Key, datetime] | None = None

    @property
    def is_declined(self) -> bool:
        """Tell whether they have declined, and not taken that back since."""
        taken_back = self.decline_withdrawn
        return self.declined is not None and (taken_back is None or self.declined > taken_back)


class StandingPrompt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was last said of a prompt."""

    cycle_id: str
    sponsor_id: str
    version: int
    status: Literal["open", "fulfilled", "withdrawn"]
    content: bytes
    """Digest of what the sponsor sees, or the id of the endorsement that fulfilled it."""


class StandingGap(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was last said of a gap."""

    cycle_id: str
    version: int
    open: bool
    content: bytes


class AnswerKey(NamedTuple):
    """Which prompt an answer is about, for one employee."""

    cycle_id: str
    sponsor_id: str


class EmployeeState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """All that decisions about one employee need. Every collection is bounded (see `facts.BOUNDS`)."""

    employee_id: str
    profiles: tuple[ProfileFrom, ...] = ()
    profiles_forgotten: bool = False
    """Whether there were older ones, for which the oldest that is kept now stands."""
    ties: dict[str, Tie] = {}
    people: dict[str, Person] = {}
    achievements: dict[str, AchievementFact] = {}
    owners_words: dict[str, OwnersWord] = {}
    """By achievement, which need not be known yet."""
    endorsements: dict[str, EndorsementFact] = {}
    answers: dict[AnswerKey, Answer] = {}
    disowned: tuple[str, ...] = ()
    """Ids of statements that turned out to be about somebody else, the newest last."""
    prompts: dict[str, StandingPrompt] = {}
    gaps: dict[str, StandingGap] = {}
    due_at: datetime | None = None
    """When the mere passing of time changes something for them next; None when nothing is known to."""
    changed_by: int = -1
    """Offset of the record that last changed something here, in their partition of `career-events`. When a record up to
    it is read again after a crash, it is passed over: its effect is in here, and the calendar may be behind it."""


class CycleDefinition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The newest statement about a cycle."""

    stamp: Key
    kind: CycleKind
    title: str
    unit_ids: tuple[str, ...]
    levels: tuple[int, ...]
    min_months_in_level: int
    competencies: tuple[str, ...]
    evidence_from: date
    evidence_to: date
    opens_at: datetime
    closes_at: datetime


class CycleFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of a cycle; its end may be known before its beginning."""

    definition: CycleDefinition | None = None
    closed: tuple[Key, datetime] | None = None
    cancelled: Key | None = None


class Calendar(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The cycles and the time, as a partition knows them."""

    now: datetime | None = None
    cycles: dict[str, CycleFact] = {}


encode_employee = msgspec.msgpack.Encoder().encode
decode_employee = msgspec.msgpack.Decoder(EmployeeState).decode
encode_calendar = msgspec.msgpack.Encoder().encode
decode_calendar = msgspec.msgpack.Decoder(Calendar).decode


@lru_cache(maxsize=64)  # a calendar is asked for at each event, and changes once a minute
def calendar_of(stored: bytes | None) -> Calendar:
    """Return the calendar that was kept; an empty one for none."""
    return Calendar() if stored is None else decode_calendar(stored)
