"""Decides which rows of the read model a record of the log, of what was said, or of who viewed it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from services.insights.rows import (
    AchievementRow,
    AttributesRow,
    ClockRow,
    CycleCancelledRow,
    CycleClosedRow,
    CycleRow,
    DeliveryRow,
    EndorsementGivenRow,
    EndorsementRow,
    EndorsementWithdrawnRow,
    GapHistoryRow,
    GapOpenedRow,
    GapRow,
    GapSuggestionsRow,
    ProfileRow,
    PromptBodyRow,
    PromptHistoryRow,
    PromptOpenedRow,
    PromptRow,
    PromptViewRow,
    Row,
    TieEndRow,
    TieRow,
    TieStartRow,
    Unstorable,
    check_storable,
)
from shared.contracts.audit import read_audited
from shared.contracts.career import (
    Achievement,
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    CareerEvent,
    ClockTicked,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EmployeeChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EndorsementGiven,
    EndorsementWithdrawn,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    RelationshipEnded,
    RelationshipStarted,
    StatementDisowned,
    TiedPersonChanged,
    read_career_event,
)
from shared.contracts.cloudevents import BadCloudEvent, read_feed_event
from shared.contracts.feeds import ATTRIBUTES as ATTRIBUTES_SHAPES
from shared.contracts.ids import EventId, Ref
from shared.contracts.outputs import (
    DeliveryRecorded,
    GapClosed,
    GapEvent,
    GapOpened,
    GapUpdated,
    PromptEvent,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    read_delivery,
    read_gap_event,
    read_prompt_event,
)
from shared.streaming.records import Poison, Record
from shared.streaming.sealing import name_of
from shared.streaming.topics import ATTRIBUTES, CAREER_EVENTS, DELIVERIES, GAPS, PORTAL_AUDIT, PROMPTS

_TAKEN_BACK: Final = "attributes.taken_back"
"""The type under which records of attributes are counted that have no value."""


class Projected(Struct, frozen=True, gc=False):
    """What a record becomes.

    Attributes:
        type: the event's type, by which records are counted.
        rows: the rows it states; none for an event that only decisions need.
        counted_by: the id of a career event, which counts once however often it was written; None of other topics,
            whose events are rows of their own.
    """

    type: str
    rows: tuple[Row, ...]
    counted_by: EventId | None = None


@dataclass(frozen=True, slots=True)
class AttributesKept:
    """Which protected attributes are kept, and of whom none are.

    Attributes:
        names: the attributes that the company compares by; none by default, and then their topic is not read either.
        is_erased: tells of a ref whether whoever was known by it has been erased.
    """

    names: frozenset[str] = frozenset()
    is_erased: Callable[[Ref], bool] = lambda _: False


NO_ATTRIBUTES: Final = AttributesKept()


def project(record: Record, kept: AttributesKept = NO_ATTRIBUTES) -> Projected:
    """Return what `record` becomes in the read model. The same record always becomes the same.

    Args:
        record: of one of the topics that are projected.
        kept: which protected attributes are kept.

    Raises:
        Poison: the record has no value, is of a topic that is not projected, or holds what no database takes.
        pydantic.ValidationError: the value is not an event of its topic.
    """
    if record.value is not None:
        _refuse_nul(record.value)
    if record.topic == ATTRIBUTES and kept.names:
        projected = _attributes(record, kept)
    else:
        read_rows = _BY_TOPIC.get(record.topic)
        if read_rows is None:
            raise Poison(f"{record.topic} is not projected: insights reads {', '.join(topics_of(kept.names))}")
        if record.value is None:
            raise Poison(f"a record of {record.topic} without a value: an event was expected")
        projected = read_rows(record.value)
    for row in projected.rows:
        try:
            check_storable(row)
        except Unstorable as exc:
            raise Poison(str(exc)) from exc
    return projected


def _career(value: bytes) -> Projected:
    event = read_career_event(value)
    return Projected(event.type, tuple(_career_rows(event)), counted_by=event.id)


def _career_rows(event: CareerEvent) -> Iterator[Row]:
    match event:
        case EmployeeJoined() | EmployeeMoved() | EmployeePromoted() | EmployeeChanged() | EmployeeLeft():
            profile = event.profile
            yield ProfileRow(
                employee_id=event.employee_id,
                effective_at=event.effective_at,
                revision=event.revision,
                said_by=event.id,
                name=profile.name,
                level=profile.level,
                level_since=profile.level_since,
                unit_id=profile.unit_path[-1] if profile.unit_path else None,
                unit_path=list(profile.unit_path),
                manager_id=profile.manager_id,
                location=profile.location,
                active=profile.active,
            )
        case RelationshipStarted():
            yield _tie(event)
            yield TieStartRow(event.relationship_id, event.started_at, *event.stamp)
        case RelationshipEnded():
            yield _tie(event)
            yield TieEndRow(event.relationship_id, event.ended_at, *event.stamp)
        case AchievementRecorded() | AchievementCorrected():
            yield _achievement(event, event.achievement)
        case AchievementRetracted():
            yield AchievementRow(event.achievement_id, *event.stamp, event.employee_id, retracted=True)
        case EndorsementGiven():
            yield EndorsementRow(event.endorsement_id, *event.stamp, event.employee_id, event.sponsor_id)
            yield EndorsementGivenRow(event.endorsement_id, *event.stamp, event.cycle_id, event.given_at)
        case EndorsementWithdrawn():
            yield EndorsementRow(event.endorsement_id, *event.stamp, event.employee_id, event.sponsor_id)
            yield EndorsementWithdrawnRow(event.endorsement_id, *event.stamp)
        case CycleOpened() | CycleAmended():
            cycle = event.cycle
            yield CycleRow(
                cycle.cycle_id,
                *event.stamp,
                kind=cycle.kind,
                title=cycle.title,
                unit_ids=list(cycle.unit_ids),
                levels=list(cycle.levels),
                min_months_in_level=cycle.min_months_in_level,
                competencies=list(cycle.competencies),
                evidence_from=cycle.evidence_from,
                evidence_to=cycle.evidence_to,
                opens_at=cycle.opens_at,
                closes_at=cycle.closes_at,
            )
        case CycleClosed():
            yield CycleClosedRow(event.cycle_id, event.closed_at, *event.stamp)
        case CycleCancelled():
            yield CycleCancelledRow(event.cycle_id, event.reason, *event.stamp)
        case ClockTicked():
            yield ClockRow(event.now)
        case (
            TiedPersonChanged()
            | PromptDeclined()
            | PromptDeclineWithdrawn()
            | PromptSnoozed()
            | AchievementHidden()
            | AchievementShown()
            | StatementDisowned()
        ):
            # Counted, and no row: what they lead to is in the prompts and gaps that the correlator writes. What was
            # disowned is said of somebody else with a greater stamp, and its row goes by that.
            return


def _tie(event: RelationshipStarted | RelationshipEnded) -> TieRow:
    return TieRow(event.relationship_id, *event.stamp, event.employee_id, event.other_id, event.kind)


def _achievement(event: AchievementRecorded | AchievementCorrected, achievement: Achievement) -> AchievementRow:
    return AchievementRow(
        achievement.achievement_id,
        *event.stamp,
        event.employee_id,
        retracted=False,
        title=achievement.title,
        outcome=achievement.outcome,
        impact=achievement.impact,
        occurred_on=achievement.occurred_on,
        competencies=list(achievement.competencies),
        link=achievement.link,
        witnesses=len(achievement.witnesses),
    )


def _prompt(value: bytes) -> Projected:
    event = read_prompt_event(value)
    return Projected(event.type, tuple(_prompt_rows(event)))


def _prompt_rows(event: PromptEvent) -> Iterator[Row]:
    yield PromptHistoryRow(event.id, event.prompt_id, event.version, event.type, event.at)
    yield PromptRow(
        prompt_id=event.prompt_id,
        version=event.version,
        status="withdrawn"
        if isinstance(event, PromptWithdrawn)
        else "fulfilled"
        if isinstance(event, PromptFulfilled)
        else "open",
        cycle_id=event.cycle_id,
        sponsor_id=event.sponsor_id,
        employee_id=event.employee_id,
        changed_at=event.at,
        because_of=event.because_of,
        withdrawn_because=event.reason if isinstance(event, PromptWithdrawn) else None,
        endorsement_id=event.endorsement_id if isinstance(event, PromptFulfilled) else None,
    )
    if isinstance(event, PromptOpened | PromptUpdated):
        yield PromptBodyRow(
            prompt_id=event.prompt_id,
            body_version=event.version,
            body=event.body.model_dump(mode="json"),
            sponsor_timezone=event.sponsor_timezone,
            snoozed_until=event.snoozed_until,
        )
    if isinstance(event, PromptOpened):
        pieces = len(event.body.evidence)
        yield PromptOpenedRow(event.prompt_id, event.version, event.at, pieces, event.evidence_strength)


def _gap(value: bytes) -> Projected:
    event = read_gap_event(value)
    return Projected(event.type, tuple(_gap_rows(event)))


def _gap_rows(event: GapEvent) -> Iterator[Row]:
    yield GapHistoryRow(event.id, event.gap_id, event.version, event.type, event.at)
    yield GapRow(
        gap_id=event.gap_id,
        version=event.version,
        status="closed" if isinstance(event, GapClosed) else "open",
        cycle_id=event.cycle_id,
        employee_id=event.employee_id,
        changed_at=event.at,
        because_of=event.because_of,
        closed_because=event.reason if isinstance(event, GapClosed) else None,
    )
    if isinstance(event, GapOpened | GapUpdated):
        suggestions = [suggested.model_dump(mode="json") for suggested in event.suggestions]
        yield GapSuggestionsRow(event.gap_id, event.version, suggestions)
    if isinstance(event, GapOpened):
        yield GapOpenedRow(event.gap_id, event.version, event.at)


def _delivery(value: bytes) -> Projected:
    event = read_delivery(value)
    return Projected(event.type, (_delivery_row(event),))


def _delivery_row(event: DeliveryRecorded) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=event.id,
        outcome=event.outcome,
        prompt_id=event.prompt_id,
        version=event.version,
        sponsor_id=event.sponsor_id,
        channel=event.channel,
        detail=event.detail,
        status_code=event.status_code,
        attempts=event.attempts,
        at=event.at,
    )


def _audited(value: bytes) -> Projected:
    # Of all that the audit holds only this: who looked at what, and from which browser, is not for measures.
    noted = read_audited(value)
    if noted.what != "prompt_viewed" or noted.prompt_id is None:
        return Projected(noted.type, ())
    return Projected(noted.type, (PromptViewRow(noted.id, noted.prompt_id, noted.at),))


def _attributes(record: Record, kept: AttributesKept) -> Projected:
    if record.key is None:
        raise Poison(f"a record of {record.topic} without a key: its subject was expected")
    subject = record.key.decode("utf-8", "replace")
    if record.value is None:
        return Projected(_TAKEN_BACK, (AttributesRow(subject, record.offset),))
    try:
        event = read_feed_event(record.key, record.value, record.headers, record.time)
    except BadCloudEvent as exc:
        raise Poison(str(exc)) from exc
    if event.type not in ATTRIBUTES_SHAPES:
        raise Poison(f"type: feeds.attributes knows no {event.type[:100]!r}; it knows {', '.join(ATTRIBUTES_SHAPES)}")
    stated = ATTRIBUTES_SHAPES[event.type].model_validate(event.data)
    said = {name: value for name, value in sorted(stated.values.items()) if name in kept.names and value is not None}
    if not said or kept.is_erased(name_of(stated.employee_id)):
        return Projected(event.type, (AttributesRow(subject, record.offset),))
    return Projected(event.type, (AttributesRow(subject, record.offset, stated.employee_id, event.time, said),))


def _refuse_nul(value: bytes) -> None:
    # PostgreSQL's text has no NUL. The escape is looked for in the bytes first: parsing JSON twice is for the suspects.
    if b"\\u0000" not in value:
        return
    try:
        document = json.loads(value)
    except ValueError:
        return  # not JSON: the reader of the topic's events says so better
    if any("\x00" in text for text in _texts(document)):
        raise Poison("holds the character NUL (\\u0000), which can't be stored as text")


def _texts(document: Any) -> Iterable[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from _texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value)


_BY_TOPIC: Mapping[str, Callable[[bytes], Projected]] = {
    CAREER_EVENTS: _career,
    PROMPTS: _prompt,
    GAPS: _gap,
    DELIVERIES: _delivery,
    PORTAL_AUDIT: _audited,
}
TOPICS = tuple(_BY_TOPIC)
"""The topics that are projected, whatever a company compares by."""


def topics_of(attributes: Collection[str]) -> tuple[str, ...]:
    """Return the topics that are projected where a company compares by these protected attributes."""
    return (*TOPICS, ATTRIBUTES) if attributes else TOPICS
