"""What all contracts have in common: frozen models, aware times in UTC, refs in one form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from shared.contracts.ids import Ref, normalised_ref


class Contract(BaseModel):
    """A frozen record that refuses fields it does not know, so that a misspelt field is an error and not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Payload(BaseModel):
    """A record in a shape that is somebody else's: fields we do not read are let pass."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)


def _in_utc(t: datetime) -> datetime:
    try:
        return t.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 once it is turned into UTC") from None


EventTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""When something happened in the world: aware, held in UTC."""


def _with_a_time_in_utc(t: datetime) -> datetime:
    _in_utc(t)
    return t


SaidTime = Annotated[AwareDatetime, AfterValidator(_with_a_time_in_utc)]
"""A time as a source said it, in the zone it was said in: that zone, and not UTC, decides which day it was."""

PersonRef = Annotated[Ref, BeforeValidator(lambda v: normalised_ref(v) if isinstance(v, str) else v)]
"""A person as a source names them, in the one form that `normalised_ref` gives."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=2000)]
Level = Annotated[int, Field(ge=0, le=30)]
"""A rung of the company's ladder; higher is more senior."""


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """Return an aware UTC time."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
