"""Decides what is true: merges a career event into what is known, so that the order of arrival does not matter.

Of two statements about the same thing the one with the greater stamp holds; a statement that was taken in before
changes nothing. Both follow from taking the maximum, which does not care for order or repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from services.correlator.state import (
    AchievementFact,
    Answer,
    AnswerKey,
    Calendar,
    CycleDefinition,
    CycleFact,
    EmployeeState,
    EndorsementFact,
    Key,
    OwnersWord,
    Person,
    ProfileFrom,
    Tie,
)
from shared.contracts.career import (
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    ClockTicked,
    Cycle,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EndorsementGiven,
    EndorsementWithdrawn,
    EverybodysEvent,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    RelationshipEnded,
    RelationshipKind,
    RelationshipStarted,
    StatementDisowned,
    TiedPersonChanged,
    is_self_reported,
)

BOUNDS: Final = {
    "profiles": 16,
    "ties": 100,
    "people": 100,
    "achievements": 200,
    "owners_words": 400,
    "endorsements": 100,
    "answers": 100,
    "disowned": 200,
}
"""How much is kept of one employee. Beyond it the oldest goes (by when it happened), whatever came last: within the
bounds the order of arrival does not matter; what is older than 200 newer achievements is not evidence any more.
Of achievements that were taken back as many again are remembered, so that they stay so."""

FORGET_CYCLES_AFTER: Final = timedelta(days=730)
"""How long after its end a cycle is remembered, so that what comes late still finds it."""

_RANK_OF_KIND: Final[Mapping[RelationshipKind, int]] = {"worked_with": 0, "mentor": 1, "sponsor": 2}

_LONGEST_LIST: Final = 50
"""So many witnesses, competencies, names of a person are kept of one statement; what sends more is a mailing list."""

_LONGEST_LINK: Final = 2000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def learn(employee: EmployeeState, event: EmployeeEvent) -> EmployeeState:
    """Return what is known of the employee with `event` taken in."""
    if event.id in employee.disowned:
        return employee
    match event:
        case EmployeeJoined() | EmployeeMoved() | EmployeePromoted() | EmployeeChanged() | EmployeeLeft():
            return _learn_profile(employee, event)
        case RelationshipStarted() | RelationshipEnded():
            return _learn_tie(employee, event)
        case TiedPersonChanged():
            return _learn_person(employee, event)
        case AchievementRecorded() | AchievementCorrected():
            done = event.achievement
            fact = AchievementFact(
                stamp=event.stamp,
                occurred_on=done.occurred_on,
                title=done.title,
                outcome=done.outcome,
                impact=done.impact,
                competencies=done.competencies[:_LONGEST_LIST],
                link=done.link if len(done.link) <= _LONGEST_LINK else "",  # half a link leads nowhere
                witnesses=done.witnesses[:_LONGEST_LIST],
                self_reported=is_self_reported(event),
            )
            return _learn_achievement(employee, done.achievement_id, fact)
        case AchievementRetracted():
            fact = AchievementFact(stamp=event.stamp, occurred_on=event.at.date(), retracted=True)
            return _learn_achievement(employee, event.achievement_id, fact)
        case AchievementHidden() | AchievementShown():
            known = employee.owners_words.get(event.achievement_id)
            if known is not None and known.stamp >= event.stamp:
                return employee
            word = OwnersWord(event.stamp, hidden=isinstance(event, AchievementHidden))
            return _keep(employee, "owners_words", event.achievement_id, word, lambda key, w: (w.stamp, key))
        case EndorsementGiven():
            said = employee.endorsements.get(event.endorsement_id) or EndorsementFact(event.sponsor_id)
            given = _newer(said.given, (event.stamp, event.given_at, event.cycle_id, event.statement), stamp=0)
            said = EndorsementFact(event.sponsor_id if given != said.given else said.sponsor_id, given, said.withdrawn)
            return _keep(employee, "endorsements", event.endorsement_id, said, _age_of_endorsement)
        case EndorsementWithdrawn():
            said = employee.endorsements.get(event.endorsement_id) or EndorsementFact(event.sponsor_id)
            said = EndorsementFact(said.sponsor_id, said.given, _later(said.withdrawn, event.stamp))
            return _keep(employee, "endorsements", event.endorsement_id, said, _age_of_endorsement)
        case PromptDeclined() | PromptDeclineWithdrawn() | PromptSnoozed():
            return _learn_answer(employee, event)
        case StatementDisowned():
            return _disown(employee, event.statement_id)


def tell(calendar: Calendar, event: EverybodysEvent) -> Calendar:
    """Return the calendar with `event` taken in. Only the clock moves the time, and never back."""
    match event:
        case ClockTicked():
            now = event.now if calendar.now is None else max(calendar.now, event.now)
            kept = {k: c for k, c in calendar.cycles.items() if not _is_long_over(c, now)}
            return Calendar(now, kept)
        case CycleOpened() | CycleAmended():
            known = calendar.cycles.get(event.cycle.cycle_id, CycleFact())
            definition = _definition(event.cycle, event.stamp)
            if known.definition is not None and known.definition.stamp >= definition.stamp:
                return calendar
            return _with_cycle(calendar, event.cycle.cycle_id, CycleFact(definition, known.closed, known.cancelled))
        case CycleClosed():
            known = calendar.cycles.get(event.cycle_id, CycleFact())
            closed = _newer(known.closed, (event.stamp, event.closed_at), stamp=0)
            return _with_cycle(calendar, event.cycle_id, CycleFact(known.definition, closed, known.cancelled))
        case CycleCancelled():
            known = calendar.cycles.get(event.cycle_id, CycleFact())
            cancelled = _later(known.cancelled, event.stamp)
            return _with_cycle(calendar, event.cycle_id, CycleFact(known.definition, known.closed, cancelled))


def _learn_profile(
    employee: EmployeeState,
    event: EmployeeJoined | EmployeeMoved | EmployeePromoted | EmployeeChanged | EmployeeLeft,
) -> EmployeeState:
    profile = ProfileFrom(
        effective_at=event.effective_at,
        revision=event.revision,
        name=event.profile.name,
        level=event.profile.level,
        level_since=event.profile.level_since,
        unit_path=event.profile.unit_path,
        manager_id=event.profile.manager_id,
        active=event.profile.active,
    )
    by_time = {p.effective_at: p for p in employee.profiles}
    known = by_time.get(profile.effective_at)
    if known is not None and known.revision >= profile.revision:
        return employee
    by_time[profile.effective_at] = profile
    profiles = sorted(by_time.values(), key=lambda p: p.effective_at)
    kept = profiles[-BOUNDS["profiles"] :]
    # The oldest that is kept keeps its time, so that an older one that comes again is known to be older.
    forgotten = employee.profiles_forgotten or len(kept) < len(profiles)
    return msgspec.structs.replace(employee, profiles=tuple(kept), profiles_forgotten=forgotten)


def _learn_tie(employee: EmployeeState, event: RelationshipStarted | RelationshipEnded) -> EmployeeState:
    known = employee.ties.get(event.relationship_id)
    started, ended = (known.started, known.ended) if known is not None else (None, None)
    newest = max((statement[1] for statement in (started, ended) if statement is not None), default=None)
    match event:
        case RelationshipStarted():
            started = _newer(started, (event.started_at, event.stamp), stamp=1)
        case RelationshipEnded():
            ended = _newer(ended, (event.ended_at, event.stamp), stamp=1)
    # Who is what to them may be corrected as well: the newest statement says it, whichever came last.
    says = event if known is None or newest is None or event.stamp > newest else known
    tie = Tie(says.kind, says.other_id, started, ended)
    return _keep(employee, "ties", event.relationship_id, tie, _age_of_tie)


def _learn_person(employee: EmployeeState, event: TiedPersonChanged) -> EmployeeState:
    known = employee.people.get(event.person.person_id)
    if known is not None and known.revision >= event.revision:
        return employee
    person = Person(
        revision=event.revision,
        name=event.person.name,
        level=event.person.level,
        timezone=event.person.timezone,
        refs=event.person.refs[:_LONGEST_LIST],
        left_at=event.person.left_at,
        introductions=tuple((i.person_id, i.name, i.level) for i in event.person.introductions[:_LONGEST_LIST]),
        locale=event.person.locale,
    )
    tied = {tie.other_id for tie in employee.ties.values()}
    # Nobody goes who has a tie that is kept: those are no more than there is room for.
    return _keep(employee, "people", event.person.person_id, person, lambda key, p: (key in tied, p.revision, key))


def _learn_answer(
    employee: EmployeeState, event: PromptDeclined | PromptDeclineWithdrawn | PromptSnoozed
) -> EmployeeState:
    key = AnswerKey(event.cycle_id, event.sponsor_id)
    answer = employee.answers.get(key, Answer())
    said: dict[str, Any]
    match event:
        case PromptDeclined():
            said = {"declined": _later(answer.declined, event.stamp)}
        case PromptDeclineWithdrawn():
            said = {"decline_withdrawn": _later(answer.decline_withdrawn, event.stamp)}
        case PromptSnoozed():
            said = {"snoozed": _newer(answer.snoozed, (event.stamp, event.until), stamp=0)}
    return _keep(employee, "answers", key, msgspec.structs.replace(answer, **said), _age_of_answer)


def _learn_achievement(employee: EmployeeState, achievement_id: str, fact: AchievementFact) -> EmployeeState:
    known = employee.achievements.get(achievement_id)
    if known is not None and known.stamp >= fact.stamp:
        return employee
    kept = {**employee.achievements, achievement_id: fact}
    # Each sort has its own room: a source that takes back hundreds of old ones must not push out what still counts.
    same = [key for key, f in kept.items() if f.retracted == fact.retracted]
    if len(same) > BOUNDS["achievements"]:
        del kept[min(same, key=lambda key: (kept[key].occurred_on, key))]
    return msgspec.structs.replace(employee, achievements=kept)


def _disown(employee: EmployeeState, statement_id: str) -> EmployeeState:
    """Return the employee without what is known of them by this statement alone."""
    if statement_id in employee.disowned:
        return employee

    def owned(stamp: Key | None) -> bool:
        return stamp is not None and stamp[1] != statement_id

    ties = {
        key: Tie(
            tie.kind,
            tie.other_id,
            tie.started if tie.started is not None and owned(tie.started[1]) else None,
            tie.ended if tie.ended is not None and owned(tie.ended[1]) else None,
        )
        for key, tie in employee.ties.items()
    }
    endorsements = {
        key: EndorsementFact(
            said.sponsor_id,
            said.given if said.given is not None and owned(said.given[0]) else None,
            said.withdrawn if owned(said.withdrawn) else None,
        )
        for key, said in employee.endorsements.items()
    }
    answers = {
        key: Answer(
            answer.declined if owned(answer.declined) else None,
            answer.decline_withdrawn if owned(answer.decline_withdrawn) else None,
            answer.snoozed if answer.snoozed is not None and owned(answer.snoozed[0]) else None,
        )
        for key, answer in employee.answers.items()
    }
    return msgspec.structs.replace(
        employee,
        ties={key: tie for key, tie in ties.items() if tie.started or tie.ended},
        achievements={key: fact for key, fact in employee.achievements.items() if owned(fact.stamp)},
        owners_words={key: word for key, word in employee.owners_words.items() if owned(word.stamp)},
        endorsements={key: said for key, said in endorsements.items() if said.given or said.withdrawn},
        answers={key: answer for key, answer in answers.items() if answer != Answer()},
        disowned=(*employee.disowned, statement_id)[-BOUNDS["disowned"] :],
    )


def _keep(employee: EmployeeState, field: str, key: K, value: V, age: Callable[[K, V], Any]) -> EmployeeState:
    """Return `employee` with the value in one of its collections, the oldest let go beyond the bound."""
    known: Mapping[K, V] = getattr(employee, field)
    if known.get(key) == value:
        return employee
    kept = {**known, key: value}
    if len(kept) > BOUNDS[field]:
        del kept[min(kept, key=lambda k: age(k, kept[k]))]
    return msgspec.structs.replace(employee, **{field: kept})


def _age_of_tie(relationship_id: str, tie: Tie) -> tuple[int, Key, str]:
    # A sponsor of ten years must not go for the hundredth team mate. Whether it has ended does not count here, or a
    # repetition of the start of one let go, whose end is forgotten with it, would bring it back.
    stamps = [statement[1] for statement in (tie.started, tie.ended) if statement is not None]
    return _RANK_OF_KIND[tie.kind], max(stamps), relationship_id


def _age_of_endorsement(endorsement_id: str, said: EndorsementFact) -> tuple[Key, str]:
    stamps = [stamp for stamp in (said.given and said.given[0], said.withdrawn) if stamp is not None]
    return max(stamps), endorsement_id


def _age_of_answer(key: AnswerKey, answer: Answer) -> tuple[Key, AnswerKey]:
    said = (answer.declined, answer.decline_withdrawn, answer.snoozed and answer.snoozed[0])
    return max(stamp for stamp in said if stamp is not None), key


def _definition(cycle: Cycle, stamp: Key) -> CycleDefinition:
    return CycleDefinition(
        stamp=stamp,
        kind=cycle.kind,
        title=cycle.title,
        unit_ids=cycle.unit_ids,
        levels=cycle.levels,
        min_months_in_level=cycle.min_months_in_level,
        competencies=cycle.competencies,
        evidence_from=cycle.evidence_from,
        evidence_to=cycle.evidence_to,
        opens_at=cycle.opens_at,
        closes_at=cycle.closes_at,
    )


def _with_cycle(calendar: Calendar, cycle_id: str, cycle: CycleFact) -> Calendar:
    if cycle_id not in calendar.cycles and calendar.now is not None and _is_long_over(cycle, calendar.now):
        return calendar  # it is forgotten, with all that was said of it: nothing must be said of it anew
    return Calendar(calendar.now, {**calendar.cycles, cycle_id: cycle})


def _is_long_over(cycle: CycleFact, now: datetime) -> bool:
    if cycle.definition is not None:
        end = cycle.definition.closes_at
    elif cycle.closed is not None:
        end = cycle.closed[1]
    else:
        end = cycle.cancelled[0] if cycle.cancelled is not None else now
    return end <= now - FORGET_CYCLES_AFTER  # an end without end (31 December 9999) has no time after it


T = TypeVar("T", bound=tuple[Any, ...])


def _newer(known: T | None, said: T, *, stamp: int) -> T:
    """Return the statement with the greater stamp, which stands at index `stamp` of each."""
    return said if known is None or said[stamp] > known[stamp] else known


def _later(known: Key | None, stamp: Key) -> Key:
    return stamp if known is None else max(known, stamp)
