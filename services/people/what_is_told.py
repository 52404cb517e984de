"""Decides what is told of a person when something about them, or about the org tree, becomes known; and to whose log.

What has been told is part of the state, so the rule is one: take in what is new, look at what there is to say now, and
say what differs from what has been told. A message that comes again finds no difference, and says nothing.

Profiles in a person's own log have a history, by `effective_at`. What others hear of a person is a snapshot: what is in
force at the newest time at which the feed has spoken of them (`PersonState.seen_to`). Nothing else moves that time, so
a promotion announced for next month reaches those tied to the person with the next event about them after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from services.people import history
from services.people.changes import (
    Change,
    ContactDescribed,
    EmployeeDeparted,
    EmployeePatched,
    PersonChange,
    ReportStated,
    SnapshotWanted,
    TieEnded,
    TieStarted,
    UnitStated,
)
from services.people.history import Standing
from services.people.org import OrgTree
from services.people.state import Fields, Patch, PersonState, ProfileType, Tie, TieFact, Told, Watcher
from services.people.who_is_introduced import introductions, with_contact, without_contact
from shared.contracts.career import (
    EmployeeChanged,
    EmployeeEvent,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    Profile,
    RelationshipEnded,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
)
from shared.contracts.ids import EmployeeId, EventId, Ref, stable_id


class Identified(NamedTuple):
    """A ref that names an employee. Two employees may be given the same one; the last statement holds."""

    ref: Ref
    employee_id: EmployeeId


Statement = Identified | EmployeeEvent | PersonChange
"""What goes out: to `identities`, to `career-events`, or to another person by `people-changes`."""


def decide(person: PersonState | None, org: OrgTree, change: Change) -> tuple[PersonState, tuple[Statement, ...]]:
    """Return the person after `change`, and what is to be told of them.

    Args:
        person: what is known of them; None for somebody of whom nothing is.
        org: the org tree as it is after the change.
        change: addressed to this person; or a unit's, once the tree has it.

    Raises:
        ValueError: there is no person, and the change is a unit's.
    """
    if person is None:
        if isinstance(change, UnitStated):
            raise ValueError("a unit's change concerns only persons of whom something is known")
        person = PersonState(change.employee_id)
    after = person if isinstance(change, UnitStated) else _with_change(person, change)
    if after == person and not isinstance(change, UnitStated):
        return person, ()
    return _told(person, after, org, change)


# -- what is known --------------------------------------------------------------------------------


def _with_change(person: PersonState, change: PersonChange) -> PersonState:
    match change:
        case ContactDescribed():
            return msgspec.structs.replace(person, contacts=with_contact(person.contacts, change))
        case ReportStated():
            return _with_watcher(person, change.report_id, reports=change.reports, revision=change.revision)
    # The others come from the feed, in whichever order: their newest time is the same in the end.
    person = msgspec.structs.replace(person, seen_to=max(person.seen_to or change.at, change.at))
    match change:
        case EmployeePatched():
            refs = tuple(sorted({*person.refs, *change.refs}))
            return history.with_patch(msgspec.structs.replace(person, refs=refs), _patch(change))
        case EmployeeDeparted():
            return history.with_patch(person, _patch(change))
        case TieStarted() | TieEnded():
            return _with_tie(person, change)
        case SnapshotWanted():
            return _with_watcher(person, change.log_of, tied=True)


def _patch(change: EmployeePatched | EmployeeDeparted) -> Patch:
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
    return Patch(change.effective_at, change.at, change.id, fields, effective_on)


def _with_tie(person: PersonState, change: TieStarted | TieEnded) -> PersonState:
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
    before: PersonState, after: PersonState, org: OrgTree, change: Change
) -> tuple[PersonState, tuple[Statement, ...]]:
    cause = _Cause(after.employee_id, change.at, change.source, before.revision + 1)
    said: list[Statement] = [Identified(ref, after.employee_id) for ref in after.refs if ref not in before.refs]
    moments = history.timeline(after)
    told, profiles = _profiles(after, moments, org, cause)
    said.extend(profiles)
    after = msgspec.structs.replace(after, told=told)
    current = history.in_force(moments, after.seen_to)
    if current is not None:  # until somebody can be spoken of, their log holds nothing
        said.extend(_relationships(before if before.told else None, after))
        left = history.left_at(after, moments, after.seen_to)
        after, to_managers = _to_managers(after, current, cause)
        said.extend(to_managers)
        after, to_logs = _to_those_tied(before, after, _snapshot(after, current, left, org), cause)
        said.extend(to_logs)
        after, to_knowers = _to_those_who_know(before, after, current, leaving=left is not None, cause=cause)
        said.extend(to_knowers)
    if said:
        after = msgspec.structs.replace(after, revision=cause.revision)
    return after, tuple(said)


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
        refs=person.refs,
        left_at=left,
        introductions=introductions(person.contacts, _tied_to(person) | {person.manager_told}),
    )


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
