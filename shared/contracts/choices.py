"""What a sponsor chooses about being asked: `sponsor-choices`, keyed by sponsor, written where they answer.

Whom they speak for is not said here: an endorsement, a decline and a snooze are events of `feeds.endorsements`.
"""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from shared.contracts.base import Contract, EventTime, Text
from shared.contracts.ids import EmployeeId, EventId

Weekday = Annotated[int, Field(ge=1, le=7)]
"""A day of the week by ISO 8601: Monday is 1."""


class _Choice(Contract):
    id: EventId = Field(description="the idempotency key: the same however often the sponsor presses the button")
    sponsor_id: EmployeeId
    at: EventTime = Field(description="when they chose; of two choices of one kind the later holds")


class Stopped(_Choice):
    """Nothing is to reach this sponsor any more, by any channel, from now on."""

    type: Literal["choice.stopped"] = "choice.stopped"


class Resumed(_Choice):
    """They want to be asked again."""

    type: Literal["choice.resumed"] = "choice.resumed"


class NotMine(_Choice):
    """They say that they are not this employee's sponsor: nothing about that employee reaches them, in no cycle,
    until they take it back."""

    type: Literal["choice.not_mine"] = "choice.not_mine"
    employee_id: EmployeeId
    reason: Text = ""


class Mine(_Choice):
    """They take a `choice.not_mine` back: what there is about that employee reaches them again."""

    type: Literal["choice.mine"] = "choice.mine"
    employee_id: EmployeeId


class Leave(Contract):
    """Days on which they are away, both included, in their time zone."""

    first: date
    last: date

    @model_validator(mode="after")
    def _in_order(self) -> Leave:
        if self.last < self.first:
            raise ValueError(f"a leave ends on {self.last}, before it begins on {self.first}")
        return self


class PreferencesSet(_Choice):
    """Their own choices, whole: a field that is None follows the company's default."""

    type: Literal["choice.preferences_set"] = "choice.preferences_set"
    timezone: str | None = Field(None, description="an IANA name, as Europe/Berlin")
    quiet_from: time | None = Field(None, description="start of the quiet hours, local; may be later than quiet_to")
    quiet_to: time | None = Field(None, description="end of the quiet hours, local")
    working_days: tuple[Weekday, ...] | None = None
    prompts_per_week: int | None = Field(None, ge=1, le=50)
    channel: Literal["webhook", "email", "slack", "teams"] | None = None
    language: str | None = Field(None, description="a BCP 47 tag, as de or en")
    leave: tuple[Leave, ...] = ()


SponsorChoice = Stopped | Resumed | NotMine | Mine | PreferencesSet

_choice: TypeAdapter[SponsorChoice] = TypeAdapter(Annotated[SponsorChoice, Field(discriminator="type")])


def read_choice(value: bytes) -> SponsorChoice:
    """Return the choice that a record of `sponsor-choices` holds.

    Raises:
        pydantic.ValidationError: the bytes are not a choice.
    """
    return _choice.validate_json(value)
