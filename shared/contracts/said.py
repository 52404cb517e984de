"""What the correlator says, in the form that costs it least: records of `prompts` and `gaps` as msgspec structs.

`outputs` has the contract, by which everybody reads; these have the same names and fields, and `write` gives the bytes
that the contract's models give, which tests/unit/test_said.py holds. A prompt with five pieces of evidence costs 60 µs
less so: pydantic checks each value, and these values were checked when they came in.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec

from shared.contracts.career import CycleKind
from shared.contracts.ids import CycleId, EmployeeId, EventId, GapId, PromptId, Ref, UnitId
from shared.contracts.outputs import GapClosedBecause, ReasonCode, WithdrawnBecause


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a piece of evidence was chosen."""

    code: ReasonCode
    text: str


class Evidence(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One piece that speaks for the protégé in this cycle."""

    kind: Literal["achievement", "endorsement"]
    evidence_id: str
    title: str
    outcome: str = ""
    occurred_on: date
    link: str = ""
    reasons: tuple[Reason, ...]


class Opportunity(msgspec.Struct, frozen=True, gc=False):
    """The cycle, as far as a sponsor needs it."""

    cycle_id: CycleId
    kind: CycleKind
    title: str
    competencies: tuple[str, ...]
    closes_at: datetime


class Protege(msgspec.Struct, frozen=True, gc=False):
    """The employee to speak for."""

    employee_id: EmployeeId
    name: str
    level: int
    unit_id: UnitId | None


class PromptBody(msgspec.Struct, frozen=True, gc=False):
    """What the sponsor sees."""

    opportunity: Opportunity
    protege: Protege
    sponsor_name: str
    why: str
    evidence: tuple[Evidence, ...]


class _PromptEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: EventId
    prompt_id: PromptId
    version: int
    sponsor_id: EmployeeId
    cycle_id: CycleId
    employee_id: EmployeeId
    at: datetime
    because_of: EventId


class PromptOpened(_PromptEvent, frozen=True, gc=False, kw_only=True):
    """The sponsor is asked."""

    type: Literal["prompt.opened"] = "prompt.opened"
    sponsor_timezone: str
    sponsor_locale: str | None
    sponsor_refs: tuple[Ref, ...]
    snoozed_until: datetime | None
    evidence_strength: int
    body: PromptBody


class PromptUpdated(_PromptEvent, frozen=True, gc=False, kw_only=True):
    """What the sponsor sees has changed, or they snoozed it."""

    type: Literal["prompt.updated"] = "prompt.updated"
    sponsor_timezone: str
    sponsor_locale: str | None
    sponsor_refs: tuple[Ref, ...]
    snoozed_until: datetime | None
    body: PromptBody


class PromptWithdrawn(_PromptEvent, frozen=True, gc=False, kw_only=True):
    """It is not asked any more."""

    type: Literal["prompt.withdrawn"] = "prompt.withdrawn"
    reason: WithdrawnBecause


class PromptFulfilled(_PromptEvent, frozen=True, gc=False, kw_only=True):
    """The sponsor has spoken."""

    type: Literal["prompt.fulfilled"] = "prompt.fulfilled"
    endorsement_id: str


PromptEvent = PromptOpened | PromptUpdated | PromptWithdrawn | PromptFulfilled


class SuggestedSponsor(msgspec.Struct, frozen=True, gc=False):
    """Somebody who could become the sponsor, and why."""

    person_id: EmployeeId
    name: str
    level: int
    why: str


class _GapEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: EventId
    gap_id: GapId
    version: int
    cycle_id: CycleId
    employee_id: EmployeeId
    at: datetime
    because_of: EventId


class GapOpened(_GapEvent, frozen=True, gc=False, kw_only=True):
    """Nobody speaks for this employee in this cycle."""

    type: Literal["gap.opened"] = "gap.opened"
    suggestions: tuple[SuggestedSponsor, ...]


class GapUpdated(_GapEvent, frozen=True, gc=False, kw_only=True):
    """The suggestions have changed."""

    type: Literal["gap.updated"] = "gap.updated"
    suggestions: tuple[SuggestedSponsor, ...]


class GapClosed(_GapEvent, frozen=True, gc=False, kw_only=True):
    """There is a sponsor now, or the question is no longer open."""

    type: Literal["gap.closed"] = "gap.closed"
    reason: GapClosedBecause


GapEvent = GapOpened | GapUpdated | GapClosed


def is_gap(said: PromptEvent | GapEvent) -> bool:
    """Tell whether it belongs on the topic of gaps; all else is a prompt."""
    return isinstance(said, GapEvent)


def key_of(said: PromptEvent | GapEvent) -> bytes:
    """Return the key of the record that says so: prompts are the sponsor's, gaps the employee's."""
    return (said.employee_id if isinstance(said, GapEvent) else said.sponsor_id).encode()


write = msgspec.json.Encoder().encode
"""Return the bytes of a record, or of a part of one."""
