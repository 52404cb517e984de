"""What the API answers, as its OpenAPI document describes it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from services.insights.measures.measure import Unit
from shared.contracts.outputs import Outcome, PromptBody, SuggestedSponsor

CycleStatus = Literal["announced", "open", "closed", "cancelled"]
PromptStatus = Literal["open", "withdrawn", "fulfilled"]
GapStatus = Literal["open", "closed"]

Item = TypeVar("Item")


class Answer(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[Item]):
    """A part of a list, in the order of ids, which no change to an item disturbs."""

    items: list[Item]
    next: str | None = Field(description="the cursor of the next page; null at the end")


# -- cycles ---------------------------------------------------------------------------------------


class Funnel(Answer):
    """What became of the prompts and gaps of a cycle."""

    prompts_standing: int
    prompts_fulfilled: int
    prompts_withdrawn: int
    gaps_standing: int
    gaps_closed: int


class Scope(Answer):
    """Who is in scope; an empty list means all."""

    unit_ids: list[str] = Field(description="org units, with all below them")
    levels: list[int]
    min_months_in_level: int


class Cycle(Answer):
    """A promotion cycle or other opportunity."""

    cycle_id: str
    status: CycleStatus = Field(description="at the log's clock")
    kind: str | None = Field(description="null while only the cycle's end is known")
    title: str | None
    opens_at: datetime | None
    closes_at: datetime | None
    closed_at: datetime | None = Field(description="when it was closed by hand")
    funnel: Funnel


class CycleDetail(Cycle):
    """A cycle with its scope and what it looks for."""

    scope: Scope
    competencies: list[str]
    evidence_from: date | None
    evidence_to: date | None
    cancelled_because: str | None


# -- prompts and gaps -----------------------------------------------------------------------------


class Prompt(Answer):
    """A prompt as it stands."""

    prompt_id: str
    status: PromptStatus
    version: int
    cycle_id: str
    cycle_title: str | None
    sponsor_id: str
    sponsor_name: str | None
    employee_id: str
    employee_name: str | None
    opened_at: datetime | None = Field(description="when it was opened last")
    first_opened_at: datetime | None = Field(description="when its first version was made")
    changed_at: datetime
    updates: int = Field(description="how often it was updated")
    pieces_of_evidence: int
    snoozed_until: datetime | None
    withdrawn_because: str | None
    endorsement_id: str | None = Field(description="the endorsement that fulfilled it")


class Version(Answer):
    """One version of a prompt or a gap."""

    event_id: str
    version: int
    type: str
    at: datetime


class Delivery(Answer):
    """What became of sending one version of a prompt."""

    delivery_id: str
    version: int
    channel: str
    outcome: Outcome
    detail: str
    status_code: int | None
    attempts: int
    at: datetime


class PromptDetail(Prompt):
    """A prompt with all that its sponsor sees, and its history."""

    because_of: str = Field(description="the career event that led to its present version")
    sponsor_timezone: str | None
    body_version: int | None = Field(description="the version that brought the body")
    body: PromptBody | None = Field(description="as its sponsor saw it last, evidence and reasons included")
    history: list[Version]
    deliveries: list[Delivery]


class Gap(Answer):
    """An employee in scope of a cycle for whom no active sponsor speaks, with who could."""

    gap_id: str
    status: GapStatus
    version: int
    cycle_id: str
    cycle_title: str | None
    employee_id: str
    employee_name: str | None
    level: int | None
    unit_id: str | None
    opened_at: datetime | None
    changed_at: datetime
    closed_because: str | None
    suggestions: list[SuggestedSponsor] = Field(description="as last suggested; nobody is a sponsor until they say so")


class GapDetail(Gap):
    """A gap with its history."""

    because_of: str
    history: list[Version]


# -- employees ------------------------------------------------------------------------------------


class Employee(Answer):
    """An employee's profile in force at the log's clock."""

    employee_id: str
    name: str
    level: int
    level_since: date
    unit_id: str | None = Field(description="their own org unit")
    unit_path: list[str] = Field(description="org units from the root down")
    manager_id: str | None
    location: str
    active: bool
    since: datetime = Field(description="from when this profile holds")


class Sponsor(Answer):
    """Somebody who is an employee's sponsor now."""

    person_id: str
    name: str | None = Field(description="null for somebody of whom no profile is known")
    level: int | None
    active: bool = Field(description="whether they are an active employee; coverage counts no others")
    since: datetime


class EmployeeDetail(Employee):
    """An employee with who speaks for them and where nobody does."""

    sponsors: list[Sponsor]
    achievements: int = Field(description="known, and not retracted")
    endorsements: int = Field(description="given, and not withdrawn")
    standing_prompts: list[Prompt] = Field(description="prompts to their sponsors that stand")
    standing_gaps: list[Gap]


# -- the whole ------------------------------------------------------------------------------------


class Share(Answer):
    """How many active employees are covered."""

    active: int
    covered: int
    share: float | None = Field(description="covered / active; null where there is nobody")


class CoverageOfUnit(Share):
    """A unit with all below it."""

    unit_id: str


class CoverageOfLevel(Share):
    """A level."""

    level: int


class Coverage(Answer):
    """The share of active employees for whom at least one active sponsor speaks now: `/v1/measures/sponsor_coverage`.

    Groups that would tell about few people are left out. Units hold their sub-units: they must not be added up.
    """

    clock: datetime | None = Field(description="the log's clock when it was measured; null before the first time")
    overall: Share | None = Field(description="null before it was measured, and in a company of fewer than k")
    by_unit: list[CoverageOfUnit]
    by_level: list[CoverageOfLevel]
    hidden: int = Field(description="units and levels that are left out")


class MeasureValue(Answer):
    """What a measure comes to, for the whole or for one group."""

    cycle_id: str = Field(description="empty: of no cycle in particular")
    dimension: str = Field(description="what the whole is broken down by; empty: it is not")
    group_id: str
    across_id: str = Field(description="the column, of a table")
    part: int | None = Field(description="of a share: how many")
    whole: int | None = Field(description="of how many it is a share, or over how many it was taken")
    value: float | None = Field(description="null where there is nothing to take it of, or it is hidden")
    low: float | None = Field(description="95 % interval, where there is one")
    high: float | None = Field(description="95 % interval; of an age or a load: the greatest")
    hidden: bool = Field(description="would tell about few people")


class MeasureMoment(Answer):
    """What a measure of the whole company came to at an earlier moment."""

    at: datetime
    part: int
    whole: int
    value: float | None


class MeasureDefinition(Answer):
    """What is measured, in words."""

    name: str
    title: str
    unit: Unit
    definition: str
    pitfalls: list[str] = Field(description="where it misleads")


class MeasureOfAll(MeasureDefinition):
    """A measure with what it comes to for the whole company, and for each cycle."""

    values: list[MeasureValue]


class MeasureDetail(MeasureDefinition):
    """A measure with all groups that may be shown, and with earlier moments."""

    clock: datetime | None
    k: int
    values: list[MeasureValue] = Field(description="of what is hidden, only cells of a table are named")
    hidden: dict[str, int] = Field(description="by dimension: groups that are not shown")
    over_time: list[MeasureMoment]


class Measures(Answer):
    """All measures, as of the last time that they were taken."""

    clock: datetime | None = Field(description="the log's clock then; null before the first time")
    k: int = Field(description="people whom a group has at least that is shown beside others; 0 before the first time")
    items: list[MeasureOfAll]


class ComparedValue(Answer):
    """How many people with a value of a protected attribute are counted."""

    as_of: datetime = Field(description="when the quarter began that it was taken in")
    cycle_id: str = Field(description="empty: of no cycle in particular")
    dimension: str = Field(description="unit, or advocacy (with a sponsor, or without); empty: everybody")
    group_id: str = Field(description="which of these")
    value_id: str = Field(description="the attribute's value, as the company calls it")
    part: int
    whole: int
    value: float
    low: float = Field(description="95 % interval")
    high: float


class MeasureCompared(MeasureDefinition):
    """A measure by the values of a protected attribute."""

    values: list[ComparedValue]


class AttributeCompared(Answer):
    """What is told by one protected attribute."""

    attribute: str
    as_of: datetime | None = Field(description="when the quarter began that it was compared by last; null: not yet")
    k: int = Field(description="the fewest people of one value about whom anything was told then")
    hidden: int = Field(description="breakdowns that were not told then")
    items: list[MeasureCompared]


class Comparisons(Answer):
    """What is told by protected attributes, where a company compares by any."""

    caution: str = Field(description="what must not be read from it")
    attributes: list[AttributeCompared]


class PromptTotals(Answer):
    """Counts of distinct prompt events, and of the prompts that stand now."""

    opened: int
    updated: int
    fulfilled: int
    withdrawn: int
    standing: int


class GapTotals(Answer):
    """Counts of distinct gap events, and of the gaps that stand now."""

    opened: int
    updated: int
    closed: int
    standing: int


class DeliveryTotals(Answer):
    """Prompt versions by what became of sending them."""

    delivered: int
    failed: int
    skipped: int
    delayed: int = Field(description="those that had to wait, most of which were delivered later")
    suppressed: int = Field(description="those that a sponsor's own choice held back")


class CycleTotals(Answer):
    """Cycles by their status at the log's clock."""

    announced: int
    open: int
    closed: int
    cancelled: int


class TopicProgress(Answer):
    """How far a topic is projected."""

    topic: str
    projected: int = Field(description="records in the read model")
    unreadable: int = Field(description="records among them that became dead letters")
    lag: int | None = Field(description="records not in the read model yet; null while Kafka was not asked yet")


class Summary(Answer):
    """What happened, in numbers."""

    clock: datetime | None = Field(description="the greatest clock event; null before the first")
    career_events: dict[str, int] = Field(
        description="distinct events of career-events by type; of those that lie in every partition, one copy"
    )
    cycles: CycleTotals
    prompts: PromptTotals
    gaps: GapTotals
    deliveries: DeliveryTotals
    progress: list[TopicProgress]


class PartitionProgress(Answer):
    """How far a partition is projected."""

    topic: str
    partition: int
    next_offset: int = Field(description="the first offset that is not in the read model")
    end_offset: int | None = Field(description="where the partition ended when last looked at")
    lag: int | None


class Progress(Answer):
    """How far the log is projected."""

    partitions: list[PartitionProgress]
    lag: int | None = Field(description="records not in the read model yet")


# -- problems -------------------------------------------------------------------------------------


class BadParameter(Answer):
    """A parameter and what is wrong with it."""

    parameter: str
    detail: str


class Problem(Answer):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: Annotated[list[BadParameter], Field(description="the parameters that are wrong")] = []
