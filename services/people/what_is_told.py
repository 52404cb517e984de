"""Decides what is told of a person when something about them, or about the org tree, becomes known; and to whose log.

What has been told is part of the state, so the rule is one: take in what is new, look at what there is to say now, and
say what differs from what has been told. A message that comes again finds no difference, and says nothing.

Profiles in a person's own log have a history, by `effective_at`. What others hear of a person is a snapshot: what is in
force now, which is the time that the clock events tell, or the newest at which the feed has spoken of the person where
that is later (`PersonState.seen_to`). So a promotion announced for next month reaches those tied to them on its day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from services.people import claims, history
from services.people.changes import (
    Change,
    ContactDescribed,
    EmployeeDeparted,
    EmployeeMerged,
    EmployeePatched,
    NamesInherited,
    PersonChange,
    ReportStated,
    SnapshotWanted,
    TieDisowned,
    TieEnded,
    TieStarted,
    UnitStated,
)
from services.people.history import Standing
from services.people.org import OrgTree
from services.people.state import (
    Fields,
    Inherited,
    Merge,
    Patch,
    PersonState,
    ProfileType,
    Tie,
    TieFact,
    Told,
    Watcher,
)
from services.people.who_is_introduced import introductions, with_contact, without_contact
from shared.contracts.career import (
    ClockTicked,
    EmployeeChanged,
    EmployeeEvent,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    Profile,
    RelationshipEnded,
    RelationshipStarted,
    StatementDisowned,
    TiedPerson,
    TiedPersonChanged,
)
from shared.contracts.identities import EmployeeMergedInto, Identity, RefClaimed
from shared.contracts.ids import EmployeeId, EventId, Ref, stable_id

DISOWNED_KEPT: Final = 64
"""Disowned statements about ties that are remembered, should one be read after what disowned it."""

Statement = Identity | EmployeeEvent | PersonChange
"""What goes out: to `identities`, to `career-events`, or to another person by `people-changes`."""


def decide(
    person: PersonState | None, org: OrgTree, change: Change, now: datetime | None = None
) -> tuple[PersonState, tuple[Statement, ...]]:
    """Return the person after `change`, and what is to be told of them.

    Args:
        person: what is known of them; None for somebody of whom nothing is.
        org: the org tree as it is after the change.
        change: addressed to this person; or a unit's, once the tree has it; or the time.
        now: the greatest time that was told; None before the first.

    Raises:
        ValueError: there is no person, and the change is a unit's, or the time.
    """
    if isinstance(change, UnitStated | ClockTicked):
        if person is None:
            raise ValueError("a unit's change, and the time, concern only persons of whom something is known")
        return _told(person, person, org, change, now)
    person = person or PersonState(change.employee_id)
    after = _with_change(person, change)
    if after == person:
        return person, ()
    return _told(person, after, org, change, now)


# -- what is known --------------------------------------------------------------------------------


def _with_change(person: PersonState, change: PersonChange) -> PersonState:
    match change:
        case ContactDescribed():
            return msgspec.structs.replace(person, contacts=with_contact(person.contacts, change))
        case ReportStated():
            return _with_watcher(person, change.report_id, reports=change.reports, revision=change.revision)
        case NamesInherited():
            return _with_inherited(person, change)
    # The others come from the feed, in whichever order: their newest time is the same in the end.
    person = msgspec.structs.replace(person, seen_to=max(person.seen_to or change.at, change.at))
    match change:
        case EmployeePatched():
            refs = tuple(sorted({*person.refs, *change.refs}))
            names = claims.with_names(person.names, change.refs, change.effective_at, change.at, change.id)
            return history.with_patch(msgspec.structs.replace(person, refs=refs, names=names), _patch(change))
        case EmployeeDeparted():
            return history.with_patch(person, _patch(change))
        case EmployeeMerged():
            return history.with_patch(_with_merge(person, change), _patch(change))
        case TieStarted() | TieEnded():
            return _with_tie(person, change)
        case TieDisowned():
            return _without_tie(person, change.statement_id)
        case SnapshotWanted():
            return _with_watcher(person, change.log_of, tied=True)


def _patch(change: EmployeePatched | EmployeeDeparted | EmployeeMerged) -> Patch:
    effective_on = None
    match change:
        case EmployeePatched():
            effective_on = change.effective_on
            fields = Fields(
                name=change.name,
                level=change.level,
                level_since=change.level_since,
                unit_id=change.unit_id,
                manager_id=change.manager_id,
                location=change.location,
                timezone=change.timezone,
                locale=change.locale,
                active=True if change.hired else None,
            )
        case EmployeeDeparted():
            fields = Fields(active=False)
        case EmployeeMerged():  # nobody works under an id that is used no more
            fields = Fields(active=not change.into_id)
    return Patch(change.effective_at, change.at, change.id, fields, effective_on)


def _with_merge(person: PersonState, change: EmployeeMerged) -> PersonState:
    known = person.merged
    if known is not None and change.stamp <= (known.at, known.event_id):
        return person
    return msgspec.structs.replace(person, merged=Merge(change.at, change.id, change.into_id))


def _with_inherited(person: PersonState, change: NamesInherited) -> PersonState:
    known = person.inherited.get(change.of)
    if known is not None and change.revision <= known.revision:
        return person
    inherited = {**person.inherited, change.of: Inherited(change.refs, change.revision)}
    return msgspec.structs.replace(person, inherited={of: inherited[of] for of in sorted(inherited)})


def _with_tie(person: PersonState, change: TieStarted | TieEnded) -> PersonState:
    if change.id in person.disowned:
        return person
    ties = {tie.relationship_id: tie for tie in person.ties}
    tie = ties.get(change.relationship_id, Tie(change.relationship_id))
    match change:
        case TieStarted():
            known, when = tie.started, change.started_at
        case TieEnded():
            known, when = tie.ended, change.ended_at
    if known is not None and change.stamp <= (known.at, known.event_id):
        return person
    fact = TieFact(change.at, change.id, change.source, change.kind, change.other_id, when)
    which = "started" if isinstance(change, TieStarted) else "ended"
    ties[change.relationship_id] = msgspec.structs.replace(tie, **{which: fact})
    return msgspec.structs.replace(person, ties=tuple(ties[key] for key in sorted(ties)))


def _without_tie(person: PersonState, statement_id: EventId) -> PersonState:
    if statement_id in person.disowned:
        return person
    ties = []
    for tie in person.ties:
        kept = Tie(
            tie.relationship_id,
            None if tie.started is not None and tie.started.event_id == statement_id else tie.started,
            None if tie.ended is not None and tie.ended.event_id == statement_id else tie.ended,
        )
        if kept.started is not None or kept.ended is not None:
            ties.append(kept)
    disowned = (*person.disowned, statement_id)[-DISOWNED_KEPT:]
    return msgspec.structs.replace(person, ties=tuple(ties), disowned=disowned)


def _with_watcher(
    person: PersonState, who: EmployeeId, *, tied: bool = False, reports: bool | None = None, revision: int = 0
) -> PersonState:
    """Add a reason to tell `who` of the person, or take one away.

    A tie stays a reason when it has ended: a former team mate may be suggested as sponsor, and a sponsor's word counts
    for the cycle it was given for.
    """
    before = person.watchers.get(who, Watcher())
    after = before
    if tied:
        after = msgspec.structs.replace(after, tied=True)
    if reports is not None and revision > before.revision:
        after = msgspec.structs.replace(after, reports=reports, revision=revision)
    return msgspec.structs.replace(person, watchers={**person.watchers, who: after})


# -- what is told ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cause:
    """What makes us speak, and as which of our statements about the person."""

    person_id: EmployeeId
    at: datetime
    source: str
    revision: int

    def by(self, what: str, to: str) -> dict[str, Any]:
        """Return what each statement says of itself; a repetition of the cause gives the same id."""
        event_id = EventId(stable_id("people", what, self.person_id, str(self.revision), to))
        return {"id": event_id, "at": self.at, "source": self.source}


def _told(
    before: PersonState, after: PersonState, org: OrgTree, change: Change, now: datetime | None
) -> tuple[PersonState, tuple[Statement, ...]]:
    cause = _Cause(after.employee_id, change.at, change.source, before.revision + 1)
    said: list[Statement] = [*_claims(before, after, cause), *_merge(before, after, cause)]
    moments = history.timeline(after)
    told, profiles = _profiles(after, moments, org, cause)
    said.extend(profiles)
    after = msgspec.structs.replace(after, told=told)
    as_of = max((time for time in (after.seen_to, now) if time is not None), default=None)
    after = msgspec.structs.replace(after, due_at=history.next_after(moments, as_of))
    current = history.in_force(moments, as_of)
    if current is not None:  # until somebody can be spoken of, their log holds nothing
        said.extend(_disowned(before, after, cause) if before.told else ())
        said.extend(_relationships(before if before.told else None, after))
        left = history.left_at(after, moments, as_of)
        after, to_managers = _to_managers(after, current, cause)
        said.extend(to_managers)
        after, to_logs = _to_those_tied(before, after, _snapshot(after, current, left, org), cause)
        said.extend(to_logs)
        after, to_knowers = _to_those_who_know(before, after, current, leaving=left is not None, cause=cause)
        said.extend(to_knowers)
    if said:
        after = msgspec.structs.replace(after, revision=cause.revision)
    return after, tuple(said)


# -- whose name it is -----------------------------------------------------------------------------


def _claims(before: PersonState, after: PersonState, cause: _Cause) -> Iterator[RefClaimed]:
    if after.names == before.names:
        return
    known = claims.held(before.names)
    for ref, held in sorted(claims.held(after.names).items()):
        if held != known.get(ref):
            yield RefClaimed(ref=ref, employee_id=after.employee_id, held=held, revision=cause.revision)


def _merge(before: PersonState, after: PersonState, cause: _Cause) -> Iterator[EmployeeMergedInto | NamesInherited]:
    """Say into whom they were merged, and give that person their names; take them from whom it was said of before."""
    was, into = (person.merged.into_id if person.merged else EmployeeId("") for person in (before, after))
    if into != was:
        yield EmployeeMergedInto(employee_id=after.employee_id, into_id=into or None, revision=cause.revision)
    if (into, after.refs) != (was, before.refs):
        for heir in sorted({was, into} - {""}):
            yield NamesInherited(
                **cause.by("names", heir),
                employee_id=heir,
                of=after.employee_id,
                refs=after.refs if heir == into else (),
                revision=cause.revision,
            )


# -- to their own log -----------------------------------------------------------------------------

_PROFILE_EVENTS: Final[
    dict[
        ProfileType,
        type[EmployeeJoined | EmployeeMoved | EmployeePromoted | EmployeeChanged | EmployeeLeft],
    ]
] = {
    "employee.joined": EmployeeJoined,
    "employee.moved": EmployeeMoved,
    "employee.promoted": EmployeePromoted,
    "employee.changed": EmployeeChanged,
    "employee.left": EmployeeLeft,
}


def _profiles(
    person: PersonState, moments: history.Timeline, org: OrgTree, cause: _Cause
) -> tuple[tuple[Told, ...], list[Statement]]:
    """Return what the log says of each moment, and the profiles that it does not say yet."""
    known = {told.effective_at: told for told in person.told}
    now_told: list[Told] = []
    said: list[Statement] = []
    previous: Profile | None = None
    for effective_at, standing in moments:
        profile = _profile(standing, org)
        digest = _digest(profile.model_dump(mode="json"))
        before = known.get(effective_at)
        as_: ProfileType | None
        if effective_at == person.horizon and before is not None:
            # What came before is folded away, so nobody can say any more what changed at this moment.
            as_ = before.as_ if before.digest == digest else "employee.changed"
        elif profile == previous and (before is None or before.as_ is None):
            as_ = None  # as it was: an address, a time zone, a sync that sends everything every night
        else:
            as_ = _type_of(previous, profile)
        now = Told(effective_at, as_, digest)
        now_told.append(now)
        if as_ is not None and now != before:
            said.append(
                _PROFILE_EVENTS[as_](
                    **cause.by("profile", effective_at.isoformat()),
                    employee_id=person.employee_id,
                    effective_at=effective_at,
                    revision=cause.revision,
                    profile=profile,
                )
            )
        previous = profile
    return tuple(now_told), said


def _profile(standing: Standing, org: OrgTree) -> Profile:
    return Profile(
        name=standing.name,
        level=standing.level,
        level_since=standing.level_since,
        unit_path=org.path(standing.unit_id),
        manager_id=standing.manager_id,
        location=standing.location,
        active=standing.active,
    )


def _type_of(previous: Profile | None, now: Profile) -> ProfileType:
    if not now.active and (previous is None or previous.active):
        return "employee.left"
    if previous is None or (now.active and not previous.active):
        return "employee.joined"
    if now.level != previous.level:
        return "employee.promoted"
    if (now.unit_path, now.manager_id) != (previous.unit_path, previous.manager_id):
        return "employee.moved"
    return "employee.changed"


def _disowned(before: PersonState, after: PersonState, cause: _Cause) -> Iterator[StatementDisowned]:
    if after.disowned == before.disowned:
        return
    told = {fact.event_id for tie in before.ties for fact in (tie.started, tie.ended) if fact is not None}
    for statement_id in after.disowned:
        if statement_id in told and statement_id not in before.disowned:
            yield StatementDisowned(
                **cause.by("disowned", statement_id), employee_id=after.employee_id, statement_id=statement_id
            )


def _relationships(before: PersonState | None, after: PersonState) -> Iterator[RelationshipStarted | RelationshipEnded]:
    """Yield what the log does not say of the person's ties; `before` is None when it says nothing yet."""
    known = {tie.relationship_id: tie for tie in before.ties} if before else {}
    for tie in after.ties:
        told = known.get(tie.relationship_id, Tie(tie.relationship_id))
        if tie.started is not None and tie.started != told.started:
            yield RelationshipStarted(**_tie(after, tie, tie.started), started_at=tie.started.when)
        if tie.ended is not None and tie.ended != told.ended:
            yield RelationshipEnded(**_tie(after, tie, tie.ended), ended_at=tie.ended.when)


def _tie(person: PersonState, tie: Tie, fact: TieFact) -> dict[str, Any]:
    return {
        "id": fact.event_id,
        "at": fact.at,
        "source": fact.source,
        "employee_id": person.employee_id,
        "relationship_id": tie.relationship_id,
        "kind": fact.kind,
        "other_id": fact.other_id,
    }


# -- to others ------------------------------------------------------------------------------------


def _to_managers(person: PersonState, current: Standing, cause: _Cause) -> tuple[PersonState, list[Statement]]:
    """Tell a new manager, and the one before, so that they describe themselves, or stop doing so."""
    manager = current.manager_id or EmployeeId("")
    if manager == person.employee_id:
        manager = EmployeeId("")  # how some HRIS write the top of the company
    before = person.manager_told
    if manager == before:
        return person, []
    said: list[Statement] = [
        ReportStated(
            **cause.by("manager", whom),
            employee_id=whom,
            report_id=person.employee_id,
            reports=whom == manager,
            revision=cause.revision,
        )
        for whom in (before, manager)
        if whom
    ]
    contacts = person.contacts if before in _tied_to(person) else without_contact(person.contacts, before)
    return msgspec.structs.replace(person, manager_told=manager, contacts=contacts), said


def _tied_to(person: PersonState) -> set[EmployeeId]:
    return {tie.started.other_id for tie in person.ties if tie.started is not None}


def _snapshot(person: PersonState, current: Standing, left: datetime | None, org: OrgTree) -> TiedPerson:
    return TiedPerson(
        person_id=person.employee_id,
        name=current.name,
        level=current.level,
        unit_path=org.path(current.unit_id),
        timezone=current.timezone,
        locale=current.locale,
        refs=claims.newest_first(person.names, (*person.refs, *_inherited_refs(person))),
        left_at=left,
        introductions=introductions(person.contacts, _tied_to(person) | {person.manager_told}),
    )


def _inherited_refs(person: PersonState) -> Iterator[Ref]:
    for inherited in person.inherited.values():
        yield from inherited.refs


def _to_those_tied(
    before: PersonState, after: PersonState, snapshot: TiedPerson, cause: _Cause
) -> tuple[PersonState, list[Statement]]:
    """Tell all who are tied to the person when the snapshot has changed, else those who are so since now."""
    digest = _digest(snapshot.model_dump(mode="json"))
    tied = {who for who, watcher in after.watchers.items() if watcher.tied}
    if digest == before.snapshot_told:
        tied -= {who for who, watcher in before.watchers.items() if watcher.tied}
    said: list[Statement] = [
        TiedPersonChanged(**cause.by("snapshot", who), employee_id=who, revision=cause.revision, person=snapshot)
        for who in sorted(tied)
    ]
    return msgspec.structs.replace(after, snapshot_told=digest), said


def _to_those_who_know(
    before: PersonState, after: PersonState, current: Standing, *, leaving: bool, cause: _Cause
) -> tuple[PersonState, list[Statement]]:
    """Tell all who know the person when their base data has changed, else those who do so since now."""
    digest = _digest((current.name, current.level, leaving))
    knowing = {who for who, watcher in after.watchers.items() if watcher.tied or watcher.reports}
    if digest == before.base_told:
        knowing -= {who for who, watcher in before.watchers.items() if watcher.tied or watcher.reports}
    said: list[Statement] = [
        ContactDescribed(
            **cause.by("contact", who),
            employee_id=who,
            contact_id=after.employee_id,
            name=current.name,
            level=current.level,
            leaving=leaving,
            revision=cause.revision,
        )
        for who in sorted(knowing)
    ]
    return msgspec.structs.replace(after, base_told=digest), said


def _digest(content: Any) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(content), digest_size=8).digest()
