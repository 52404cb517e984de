"""The payloads that `feeds.*` understand out of the box, by CloudEvents `type`.

A feed keeps what its source sent; these are the shapes that the intake services read. Some are our own (full names,
one fact an event), some are the shapes of common tools, so that demos and tests meet more than one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field

from shared.contracts.base import EventTime, Level, Name, Payload, PersonRef, SaidTime, Text
from shared.contracts.career import CycleKind, Impact, RelationshipKind
from shared.contracts.ids import AchievementId, CycleId, EmployeeId, EndorsementId, RelationshipId, UnitId


def _known_timezone(name: str) -> str:
    from zoneinfo import available_timezones

    if name not in available_timezones():
        raise ValueError(f"{name!r} is not an IANA time zone; write one as Europe/Berlin")
    return name


Timezone = Annotated[str, AfterValidator(_known_timezone)]
Locale = Annotated[str, Field(max_length=100, description="a BCP 47 tag, as de or en-GB; or several, as browsers do")]
Id = Annotated[str, Field(min_length=1, max_length=200)]
AttributeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]

# -- feeds.people ---------------------------------------------------------------------------------


class EmployeeFields(Payload):
    """``employee.hired`` (all that is known) and ``employee.changed`` (only the fields that changed).

    A field that is absent stays as it was. `effective_at` is when it begins to hold, which may lie in the past or
    ahead; absent, it is the event's time.
    """

    employee_id: Annotated[EmployeeId, Field(min_length=1, max_length=200)]
    name: Name | None = None
    email: str | None = None
    external_ids: Mapping[str, str] = Field({}, description="names in other systems, as {github: ann}")
    level: Level | None = None
    level_since: date | None = None
    unit_id: UnitId | None = None
    manager_id: EmployeeId | None = None
    location: str | None = None
    timezone: Timezone | None = None
    locale: Locale | None = None
    effective_at: SaidTime | None = None


class EmployeeLeaves(Payload):
    """``employee.left``."""

    employee_id: Annotated[EmployeeId, Field(min_length=1, max_length=200)]
    effective_at: EventTime | None = None


class EmployeeMerges(Payload):
    """``employee.merged``: `employee_id` was a second id of the person who is `into_id`, and is used no more.

    All that was said of the one, before and after, is of the other. An empty `into_id` takes the merge back.
    """

    employee_id: Annotated[EmployeeId, Field(min_length=1, max_length=200)]
    into_id: Annotated[EmployeeId, Field(max_length=200)]
    effective_at: EventTime | None = None


class UnitDefined(Payload):
    """``unit.defined``: an org unit and its parent; a root has none."""

    unit_id: Annotated[UnitId, Field(min_length=1, max_length=200)]
    name: Name
    parent_id: UnitId | None = None


class RelationshipStarts(Payload):
    """``relationship.started``: `other` is `employee`'s sponsor or mentor, or has worked with them."""

    relationship_id: Annotated[RelationshipId, Field(min_length=1, max_length=200)]
    kind: RelationshipKind
    employee: PersonRef
    other: PersonRef
    started_at: EventTime | None = None


class RelationshipEnds(Payload):
    """``relationship.ended``."""

    relationship_id: Annotated[RelationshipId, Field(min_length=1, max_length=200)]
    kind: RelationshipKind
    employee: PersonRef
    other: PersonRef
    ended_at: EventTime | None = None


PEOPLE: Mapping[str, type[Payload]] = {
    "employee.hired": EmployeeFields,
    "employee.changed": EmployeeFields,
    "employee.left": EmployeeLeaves,
    "employee.merged": EmployeeMerges,
    "unit.defined": UnitDefined,
    "relationship.started": RelationshipStarts,
    "relationship.ended": RelationshipEnds,
}

# -- feeds.achievements ---------------------------------------------------------------------------


class AchievementStated(Payload):
    """``achievement.recorded`` and ``achievement.corrected`` (the whole of it, as it should have been)."""

    achievement_id: Annotated[AchievementId, Field(min_length=1, max_length=200)]
    employee: PersonRef
    title: Name
    outcome: Text = ""
    impact: Impact = 0
    occurred_on: date
    competencies: tuple[str, ...] = ()
    link: str = ""
    witnesses: tuple[PersonRef, ...] = ()


class AchievementTakenBack(Payload):
    """``achievement.retracted``."""

    achievement_id: Annotated[AchievementId, Field(min_length=1, max_length=200)]
    employee: PersonRef
    reason: Text = ""


class AchievementOwned(Payload):
    """``achievement.hidden`` and ``achievement.shown``: the word of the person whose achievement it is."""

    achievement_id: Annotated[AchievementId, Field(min_length=1, max_length=200)]
    employee: PersonRef


class _Mailbox(Payload):
    email: Annotated[str, Field(min_length=3)]


class RecognitionGiven(Payload):
    """``recognition.given``: points with words, in the shape that recognition tools such as Bonusly send."""

    id: Id
    created_at: SaidTime
    giver: _Mailbox
    receiver: _Mailbox
    amount: Annotated[int, Field(ge=0)] = 0
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    hashtags: tuple[str, ...] = ()


class _Highlight(Payload):
    text: Annotated[str, Field(min_length=1, max_length=2000)]
    competency: str = ""
    rating: Annotated[int, Field(ge=1, le=5)]


class ReviewCompleted(Payload):
    """``review.completed``: highlights of a performance review, in the shape of tools such as Lattice."""

    review_id: Annotated[str, Field(validation_alias=AliasChoices("reviewId", "review_id"), min_length=1)]
    submitted_at: Annotated[SaidTime, Field(validation_alias=AliasChoices("submittedAt", "submitted_at"))]
    reviewee: _Mailbox
    reviewer: _Mailbox
    highlights: tuple[_Highlight, ...]
    link: str = ""


class _Issue(Payload):
    class Fields(Payload):
        """The fields of the issue that we read."""

        summary: Annotated[str, Field(min_length=1)]
        resolutiondate: SaidTime
        labels: tuple[str, ...] = ()
        assignee: str = Field(description="account name in the tracker")
        priority: Literal["Highest", "High", "Medium", "Low", "Lowest"] = "Medium"

    key: Id
    fields: Fields
    self: str = ""


class IssueResolved(Payload):
    """``issue.resolved``: a piece of work done, in the shape of issue trackers such as Jira.

    The assignee is named by their account, so the person is the ref ``jira:<assignee>``.
    """

    issue: _Issue


ACHIEVEMENTS: Mapping[str, type[Payload]] = {
    "achievement.recorded": AchievementStated,
    "achievement.corrected": AchievementStated,
    "achievement.retracted": AchievementTakenBack,
    "achievement.hidden": AchievementOwned,
    "achievement.shown": AchievementOwned,
    "recognition.given": RecognitionGiven,
    "review.completed": ReviewCompleted,
    "issue.resolved": IssueResolved,
}

# -- feeds.cycles ---------------------------------------------------------------------------------


class CycleStated(Payload):
    """``cycle.opened`` and ``cycle.amended`` (the whole of it, as it now stands)."""

    cycle_id: Annotated[CycleId, Field(min_length=1, max_length=200)]
    kind: CycleKind
    title: Name
    unit_ids: tuple[UnitId, ...] = ()
    levels: tuple[Level, ...] = ()
    min_months_in_level: Annotated[int, Field(ge=0, le=600)] = 0
    competencies: tuple[str, ...] = ()
    evidence_from: date
    evidence_to: date
    opens_at: EventTime
    closes_at: EventTime


class CycleEnds(Payload):
    """``cycle.closed``."""

    cycle_id: Annotated[CycleId, Field(min_length=1, max_length=200)]
    closed_at: EventTime | None = None


class CycleCalledOff(Payload):
    """``cycle.cancelled``."""

    cycle_id: Annotated[CycleId, Field(min_length=1, max_length=200)]
    reason: Text = ""


class ClockTicks(Payload):
    """``clock.ticked``: it is `now`; read only where the cycles service takes its clock from the feed."""

    now: EventTime


CYCLES: Mapping[str, type[Payload]] = {
    "cycle.opened": CycleStated,
    "cycle.amended": CycleStated,
    "cycle.closed": CycleEnds,
    "cycle.cancelled": CycleCalledOff,
    "clock.ticked": ClockTicks,
}

# -- feeds.endorsements ---------------------------------------------------------------------------


class EndorsementSent(Payload):
    """``endorsement.given``."""

    endorsement_id: Annotated[EndorsementId, Field(min_length=1, max_length=200)]
    sponsor: PersonRef
    employee: PersonRef
    cycle_id: CycleId | None = None
    given_at: EventTime | None = None
    statement: Text = ""


class EndorsementTakenBack(Payload):
    """``endorsement.withdrawn``."""

    endorsement_id: Annotated[EndorsementId, Field(min_length=1, max_length=200)]
    sponsor: PersonRef
    employee: PersonRef


class PromptRefused(Payload):
    """``prompt.declined``: the sponsor's answer."""

    cycle_id: Annotated[CycleId, Field(min_length=1)]
    sponsor: PersonRef
    employee: PersonRef
    reason: Text = ""


class PromptRefusalTakenBack(Payload):
    """``prompt.decline_withdrawn``: the sponsor takes an earlier `prompt.declined` back."""

    cycle_id: Annotated[CycleId, Field(min_length=1)]
    sponsor: PersonRef
    employee: PersonRef


class PromptPutOff(Payload):
    """``prompt.snoozed``: the sponsor's answer."""

    cycle_id: Annotated[CycleId, Field(min_length=1)]
    sponsor: PersonRef
    employee: PersonRef
    until: EventTime


ENDORSEMENTS: Mapping[str, type[Payload]] = {
    "endorsement.given": EndorsementSent,
    "endorsement.withdrawn": EndorsementTakenBack,
    "prompt.declined": PromptRefused,
    "prompt.decline_withdrawn": PromptRefusalTakenBack,
    "prompt.snoozed": PromptPutOff,
}

# -- feeds.attributes -----------------------------------------------------------------------------


class AttributesStated(Payload):
    """``attributes.stated``: the protected attributes that its subject says of an employee, all of them.

    Values are the company's own words. It takes the place of what the same subject said before. That somebody does not
    want to say is a value too, as "declined". Of attributes that the company does not compare by, nothing is kept.
    """

    employee_id: Annotated[EmployeeId, Field(min_length=1, max_length=200)]
    values: Mapping[AttributeName, Annotated[str, Field(min_length=1, max_length=100)] | None] = Field(
        description="by attribute, as {gender: woman, disability: declined}; null, or left out: not said"
    )


ATTRIBUTES: Mapping[str, type[AttributesStated]] = {"attributes.stated": AttributesStated}

SHAPES: Mapping[str, Mapping[str, type[Payload]]] = {
    "people": PEOPLE,
    "achievements": ACHIEVEMENTS,
    "cycles": CYCLES,
    "endorsements": ENDORSEMENTS,
    "attributes": ATTRIBUTES,
}
"""All of them, by feed."""


def read_payload(shapes: Mapping[str, type[Payload]], event_type: str, data: Any) -> Payload:
    """Return `data` in the shape that its event type has.

    Raises:
        KeyError: the type is none of `shapes`.
        pydantic.ValidationError: the payload is not of that shape; the error names each field.
    """
    return shapes[event_type].model_validate(data)
