"""Whom a ref names, as `identities` tells it: who has claimed it, from when to when, and who turned out to be whom.

The rule is `holder`: a function of the claims and of the time that a name was said at, so the order in which claims
become known does not matter (docs/decisions/018-whose-name-it-is.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field, TypeAdapter

from shared.contracts.base import Contract, EventTime, PersonRef
from shared.contracts.ids import EmployeeId, Ref

EVER: Final = datetime.min.replace(tzinfo=UTC)


class Held(Contract):
    """A time for which an employee has a name, as their source dates it."""

    since: EventTime
    said_at: EventTime = Field(description="when the source said so; of two who begin at the same time the later holds")
    until: EventTime | None = Field(
        None, description="since when their source has another name of the kind for them; None while it has this one"
    )


class RefClaimed(Contract):
    """All that is known of one employee's claim to one ref. The greatest `revision` of a pair holds."""

    type: Literal["ref.claimed"] = "ref.claimed"
    ref: PersonRef
    employee_id: EmployeeId
    held: tuple[Held, ...] = Field(min_length=1, description="ascending; a name that was theirs once stays a claim")
    revision: int


class EmployeeMergedInto(Contract):
    """Whatever names `employee_id` means `into_id`, at all times. In every partition; the greatest `revision` holds."""

    type: Literal["employee.merged_into"] = "employee.merged_into"
    employee_id: EmployeeId
    into_id: EmployeeId | None = Field(description="None takes back what was said before")
    revision: int


Identity = RefClaimed | EmployeeMergedInto

_identity: TypeAdapter[Identity] = TypeAdapter(Annotated[Identity, Field(discriminator="type")])


class Times(Protocol):
    """A time for which somebody has a name: `Held`, or something lighter."""

    @property
    def since(self) -> datetime:
        """As in `Held`."""

    @property
    def said_at(self) -> datetime:
        """As in `Held`."""

    @property
    def until(self) -> datetime | None:
        """As in `Held`."""


def holder(claims: Iterable[tuple[EmployeeId, Iterable[Times]]], at: datetime) -> EmployeeId | None:
    """Return whom a name meant that was said at `at`; None where nobody claims it.

    Of those who had it then, the one who got it last; where nobody had it any more, who had it last; before anybody
    had it, who got it first.

    Args:
        claims: to this name, one for each employee: since when, and until when, they have it.
        at: when it was said (CloudEvents `time`).
    """
    begun: list[tuple[bool, datetime, datetime, datetime, EmployeeId]] = []
    ahead: list[tuple[datetime, datetime, EmployeeId]] = []
    for employee_id, times in claims:
        for held in times:
            if held.since > at:
                ahead.append((held.since, held.said_at, employee_id))
                continue
            still = held.until is None or at < held.until
            ended = EVER if still or held.until is None else held.until
            begun.append((still, ended, held.since, held.said_at, employee_id))
    if begun:
        return max(begun)[-1]
    return min(ahead)[-1] if ahead else None


def read_identity(key: bytes | None, value: bytes) -> Identity:
    """Return what a record of `identities` says.

    Records from before there were claims have the ref as their key and the employee's id as their value: a claim since
    ever, which what is said of the pair later takes the place of.

    Raises:
        pydantic.ValidationError: it says nothing that could be read; the error names each field.
    """
    if key is not None and not value.startswith(b"{"):
        return RefClaimed(
            ref=Ref(key.decode()),
            employee_id=EmployeeId(value.decode()),
            held=(Held(since=EVER, said_at=EVER),),
            revision=0,
        )
    return _identity.validate_json(value)
