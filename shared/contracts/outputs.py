"""What the system says: `prompts` (keyed by sponsor), `gaps` (keyed by employee), `deliveries` (keyed by sponsor)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from shared.contracts.base import Contract, EventTime, Level, Name, Text
from shared.contracts.career import CycleKind
from shared.contracts.ids import CycleId, EmployeeId, EventId, GapId, PromptId, Ref, UnitId

ReasonCode = Literal[
    "competency", "impact", "recent", "seen_by_you", "not_yet_seen", "variety", "spoken_for", "self_reported"
]
WithdrawnBecause = Literal[
    "cycle_closed",
    "cycle_cancelled",
    "out_of_scope",
    "relationship_ended",
    "sponsor_left",
    "employee_left",
    "declined",
]
GapClosedBecause = Literal["sponsor_found", "cycle_closed", "cycle_cancelled", "out_of_scope", "employee_left"]

ChannelName = Literal["webhook", "email", "slack", "teams"]
Outcome = Literal["delivered", "failed", "skipped", "delayed", "suppressed"]
NotSentBecause = Literal[
    "superseded",
    "ended_unseen",
    "snoozed",
    "not_taken_down",
    "stopped",
    "not_mine",
    "quiet_hours",
    "day_off",
    "holiday",
    "leave",
    "gathering",
    "weekly_limit",
    "told_already",
]


class Reason(Contract):
    """Why a piece of evidence was chosen, in words for the sponsor."""

    code: ReasonCode
    text: Text


class Evidence(Contract):
    """One piece that speaks for the protégé in this cycle."""

    kind: Literal["achievement", "endorsement"]
    evidence_id: str = Field(description="the achievement's or endorsement's id")
    title: Text
    outcome: Text = ""
    occurred_on: date
    link: str = ""
    reasons: tuple[Reason, ...]


class Opportunity(Contract):
    """The cycle, as far as a sponsor needs it."""

    cycle_id: CycleId
    kind: CycleKind
    title: Name
    competencies: tuple[str, ...]
    closes_at: EventTime


class Protege(Contract):
    """The employee to speak for."""

    employee_id: EmployeeId
    name: Name
    level: Level
    unit_id: UnitId | None


class PromptBody(Contract):
    """What the sponsor sees. A prompt is updated if and only if this changes."""

    opportunity: Opportunity
    protege: Protege
    sponsor_name: Name
    why: Text = Field(description='the answer to "why am I getting this"')
    evidence: tuple[Evidence, ...]


class _PromptEvent(Contract):
    id: EventId = Field(description="uuid5 over prompt and version: the idempotency key of whatever this event causes")
    prompt_id: PromptId
    version: int = Field(ge=1)
    sponsor_id: EmployeeId
    cycle_id: CycleId
    employee_id: EmployeeId
    at: EventTime = Field(description="the correlator's time (the last clock event) when this was decided")
    because_of: EventId = Field(description="the career event that led to this")


class PromptOpened(_PromptEvent):
    """The sponsor is asked to speak for the protégé (again, where it had been withdrawn)."""

    type: Literal["prompt.opened"] = "prompt.opened"
    sponsor_timezone: str = "UTC"
    sponsor_locale: str | None = Field(None, description="by the company's records: a BCP 47 tag, as de or en-GB")
    sponsor_refs: tuple[Ref, ...] = Field((), description="by what channels know the sponsor: email:…, slack:…")
    snoozed_until: EventTime | None = None
    evidence_strength: int | None = Field(
        None,
        ge=0,
        description="what the pieces of evidence weigh together by the correlator's ranking, in hundredths; not said "
        "before it was measured",
    )
    body: PromptBody


class PromptUpdated(_PromptEvent):
    """What the sponsor sees has changed, or they snoozed it."""

    type: Literal["prompt.updated"] = "prompt.updated"
    sponsor_timezone: str = "UTC"
    sponsor_locale: str | None = Field(None, description="by the company's records: a BCP 47 tag, as de or en-GB")
    sponsor_refs: tuple[Ref, ...] = Field((), description="by what channels know the sponsor: email:…, slack:…")
    snoozed_until: EventTime | None = None
    body: PromptBody


class PromptWithdrawn(_PromptEvent):
    """It is not asked any more."""

    type: Literal["prompt.withdrawn"] = "prompt.withdrawn"
    reason: WithdrawnBecause


class PromptFulfilled(_PromptEvent):
    """The sponsor has spoken."""

    type: Literal["prompt.fulfilled"] = "prompt.fulfilled"
    endorsement_id: str


PromptEvent = PromptOpened | PromptUpdated | PromptWithdrawn | PromptFulfilled


class SuggestedSponsor(Contract):
    """Somebody who could become the sponsor, and why. Nobody is one until they say so."""

    person_id: EmployeeId
    name: Name
    level: Level
    why: Text


class _GapEvent(Contract):
    id: EventId
    gap_id: GapId
    version: int = Field(ge=1)
    cycle_id: CycleId
    employee_id: EmployeeId
    at: EventTime
    because_of: EventId


class GapOpened(_GapEvent):
    """Nobody speaks for this employee in this cycle."""

    type: Literal["gap.opened"] = "gap.opened"
    suggestions: tuple[SuggestedSponsor, ...]


class GapUpdated(_GapEvent):
    """The suggestions have changed."""

    type: Literal["gap.updated"] = "gap.updated"
    suggestions: tuple[SuggestedSponsor, ...]


class GapClosed(_GapEvent):
    """There is a sponsor now, or the question is no longer open."""

    type: Literal["gap.closed"] = "gap.closed"
    reason: GapClosedBecause


GapEvent = GapOpened | GapUpdated | GapClosed


class DeliveryRecorded(Contract):
    """What became of telling a sponsor of one version of a prompt, or of reminding them of it."""

    type: Literal["delivery.recorded"] = "delivery.recorded"
    id: EventId = Field(description="the id of the prompt event that was to be delivered; a reminder has its own")
    prompt_id: PromptId
    version: int = Field(ge=1)
    sponsor_id: EmployeeId
    channel: ChannelName
    outcome: Outcome
    reason: NotSentBecause | None = Field(None, description="why it was not sent, where the policy decided so")
    detail: Text = Field("", description="why it failed, or was not sent, in words")
    until: EventTime | None = Field(None, description="of a delayed one: when it is looked at again")
    message_id: EventId | None = Field(
        None, description="the idempotency key of the message: the id again, but in a digest, which tells of several"
    )
    status_code: int | None = None
    attempts: int = Field(ge=0)
    at: EventTime = Field(description="wall clock of the prompter when the outcome was known")


_prompt_event: TypeAdapter[PromptEvent] = TypeAdapter(Annotated[PromptEvent, Field(discriminator="type")])
_gap_event: TypeAdapter[GapEvent] = TypeAdapter(Annotated[GapEvent, Field(discriminator="type")])


def read_prompt_event(value: bytes) -> PromptEvent:
    """Return the event that a record of `prompts` holds.

    Raises:
        pydantic.ValidationError: the bytes are not a prompt event.
    """
    return _prompt_event.validate_json(value)


def read_gap_event(value: bytes) -> GapEvent:
    """Return the event that a record of `gaps` holds.

    Raises:
        pydantic.ValidationError: the bytes are not a gap event.
    """
    return _gap_event.validate_json(value)


def read_delivery(value: bytes) -> DeliveryRecorded:
    """Return the event that a record of `deliveries` holds.

    Raises:
        pydantic.ValidationError: the bytes are not a delivery.
    """
    return DeliveryRecorded.model_validate_json(value)
