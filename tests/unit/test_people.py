"""The people service: what a feed event changes, how a person's fields fold over time, and who is told of what."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from services.people import history, who_is_introduced
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
    read_change,
)
from services.people.handlers import ChangeHandler, take
from services.people.normalise import normalise
from services.people.org import OrgTree
from services.people.state import PersonState, read_person, write_state
from services.people.what_is_told import Statement, decide
from shared.contracts.base import utc
from shared.contracts.career import (
    CareerEvent,
    ClockTicked,
    EmployeeChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    Introduction,
    Profile,
    RelationshipEnded,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
    read_career_event,
    write_contract,
)
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.feeds import PEOPLE, read_payload
from shared.contracts.identities import Held, Identity, RefClaimed, read_identity
from shared.contracts.ids import EmployeeId, EventId, Ref, RelationshipId, UnitId, feed_event_id, normalised_ref
from shared.streaming.intake import UnknownPerson
from shared.streaming.records import Output, Poison, Record
from shared.streaming.state import KeyedState
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PARTITIONS, PEOPLE_CHANGES, partition_of
from tests.states import a_state
from tests.world import World, whom

ANN, BEA, CID, DAN = (EmployeeId(name) for name in ("E-ann", "E-bea", "E-cid", "E-dan"))
DAY = utc(2026, 3, 1)


# -- builders -------------------------------------------------------------------------------------


def day(number: int) -> datetime:
    return DAY + timedelta(days=number)


_CHANGE = {"source": "urn:test#1"}


def a_patch(of: EmployeeId = ANN, *, at: int = 0, effective: int | None = None, **fields: Any) -> EmployeePatched:
    said = day(at)
    begins = said if effective is None else day(effective)
    return EmployeePatched(
        **{
            "id": EventId(f"patch-{of}-{at}-{effective}-{sorted(fields)}"),
            "at": said,
            "employee_id": of,
            "effective_at": begins,
            "hired": False,
            "refs": (normalised_ref(f"hris:{of}"),),
            **_CHANGE,
            **fields,
        }
    )


def a_hire(of: EmployeeId = ANN, *, at: int = 0, effective: int | None = None, **fields: Any) -> EmployeePatched:
    complete = {"name": of.removeprefix("E-").title(), "level": 4, "unit_id": "team"}
    return a_patch(of, at=at, effective=effective, **{"hired": True, **complete, **fields})


def a_departure(of: EmployeeId = ANN, *, at: int, effective: int | None = None) -> EmployeeDeparted:
    begins = day(at if effective is None else effective)
    return EmployeeDeparted(id=EventId(f"leaves-{of}-{at}"), at=day(at), employee_id=of, effective_at=begins, **_CHANGE)


def a_unit(unit: str, parent: str | None = None, *, at: int = 0) -> UnitStated:
    return UnitStated(id=EventId(f"unit-{unit}-{at}"), at=day(at), unit_id=unit, parent_id=parent, **_CHANGE)


def a_tie(of: EmployeeId = ANN, to: EmployeeId = BEA, *, kind: Any = "mentor", at: int = 0) -> TieStarted:
    return TieStarted(
        id=EventId(f"tie-{of}-{to}-{at}"),
        at=day(at),
        employee_id=of,
        relationship_id=RelationshipId(f"rel-{of}-{to}"),
        kind=kind,
        other_id=to,
        started_at=day(at),
        **_CHANGE,
    )


def an_end(of: EmployeeId = ANN, to: EmployeeId = BEA, *, kind: Any = "mentor", at: int = 0) -> TieEnded:
    return TieEnded(
        id=EventId(f"end-{of}-{to}-{at}"),
        at=day(at),
        employee_id=of,
        relationship_id=RelationshipId(f"rel-{of}-{to}"),
        kind=kind,
        other_id=to,
        ended_at=day(at),
        **_CHANGE,
    )


def wanted(of: EmployeeId = ANN, by: EmployeeId = BEA, *, at: int = 0) -> SnapshotWanted:
    return SnapshotWanted(id=EventId(f"wanted-{of}-{by}-{at}"), at=day(at), employee_id=of, log_of=by, **_CHANGE)


def a_report(of: EmployeeId = ANN, report: EmployeeId = BEA, *, reports: bool = True, revision: int = 1) -> Change:
    return ReportStated(
        id=EventId(f"report-{of}-{report}-{revision}"),
        at=DAY,
        employee_id=of,
        report_id=report,
        reports=reports,
        revision=revision,
        **_CHANGE,
    )


def a_contact(
    who: str, level: int = 5, *, of: EmployeeId = ANN, leaving: bool = False, revision: int = 1
) -> ContactDescribed:
    return ContactDescribed(
        id=EventId(f"contact-{of}-{who}-{revision}"),
        at=DAY,
        employee_id=of,
        contact_id=EmployeeId(who),
        name=who,
        level=level,
        leaving=leaving,
        revision=revision,
        **_CHANGE,
    )


def told(*changes: Change, org: OrgTree | None = None) -> list[Statement]:
    """Return all that is said when one person learns of `changes`, in this order."""
    return after(*changes, org=org)[1]


def after(*changes: Change, org: OrgTree | None = None) -> tuple[PersonState | None, list[Statement]]:
    """Return the person and all that is said when they learn of `changes`, in this order."""
    person: PersonState | None = None
    said: list[Statement] = []
    for change in changes:
        person, statements = decide(person, org or OrgTree(), change)
        said.extend(statements)
    return person, said


ProfileEvent = EmployeeJoined | EmployeeMoved | EmployeePromoted | EmployeeChanged | EmployeeLeft


def profiles(said: Iterable[Statement | CareerEvent]) -> dict[datetime, ProfileEvent]:
    """Return what holds of the profiles said: of each moment the one with the greatest revision."""
    newest: dict[datetime, ProfileEvent] = {}
    for one in said:
        if isinstance(one, ProfileEvent):
            known = newest.get(one.effective_at)
            assert known is None or known.revision != one.revision, "two profiles can't be told apart"
            if known is None or known.revision < one.revision:
                newest[one.effective_at] = one
    return dict(sorted(newest.items()))


def snapshots(said: Iterable[Statement | CareerEvent]) -> list[TiedPersonChanged]:
    return [one for one in said if isinstance(one, TiedPersonChanged)]


def of_type(said: Iterable[Statement], kind: type[Any]) -> list[Any]:
    return [one for one in said if isinstance(one, kind)]


# -- what a feed event changes --------------------------------------------------------------------


def a_feed_event(kind: str, data: dict[str, Any], *, at: int = 0, event_id: str = "1") -> FeedEvent:
    return FeedEvent(id=event_id, source="urn:hris", type=kind, subject="", time=day(at), data=data)


def changes_of(kind: str, data: dict[str, Any], known: Callable[[Ref], EmployeeId] | None = None) -> Sequence[Change]:
    event = a_feed_event(kind, data)
    return normalise(event, read_payload(PEOPLE, kind, data), known or (lambda ref: EmployeeId(ref[5:])))


def test_a_hire_is_one_change_with_all_names_that_sources_have() -> None:
    data = {"employee_id": "E1", "name": "Ann", "email": "Ann@Example.com", "external_ids": {"GitHub": "Ann"}}
    (change,) = changes_of("employee.hired", data)
    assert isinstance(change, EmployeePatched)
    assert change.hired
    assert change.refs == ("hris:E1", "email:ann@example.com", "github:Ann")
    assert (change.id, change.source) == (feed_event_id("urn:hris", "1"), "urn:hris#1")


def test_what_has_no_date_holds_from_when_it_was_said() -> None:
    for kind in ("employee.changed", "employee.left"):
        (change,) = changes_of(kind, {"employee_id": "E1"})
        assert isinstance(change, EmployeePatched | EmployeeDeparted)
        assert change.effective_at == DAY
    (tie, _) = changes_of("relationship.started", a_relationship())
    assert isinstance(tie, TieStarted)
    assert tie.started_at == DAY
    (end,) = changes_of("relationship.ended", a_relationship())
    assert isinstance(end, TieEnded)
    assert end.ended_at == DAY


def test_what_has_a_date_holds_from_then() -> None:
    date_of = {"effective_at": day(-9).isoformat()}
    for kind in ("employee.hired", "employee.changed", "employee.left"):
        (change,) = changes_of(kind, {"employee_id": "E1"} | date_of)
        assert isinstance(change, EmployeePatched | EmployeeDeparted)
        assert (change.effective_at, change.at) == (day(-9), DAY)
    (tie, _) = changes_of("relationship.started", a_relationship() | {"started_at": day(-9).isoformat()})
    assert isinstance(tie, TieStarted)
    assert tie.started_at == day(-9)
    (end,) = changes_of("relationship.ended", a_relationship() | {"ended_at": day(-9).isoformat()})
    assert isinstance(end, TieEnded)
    assert end.ended_at == day(-9)


@pytest.mark.parametrize("zone", ["+02:00", "-05:00", "+13:00", "Z"])
def test_the_day_on_which_a_level_begins_is_that_of_the_zone_it_was_said_in(zone: str) -> None:
    (change,) = changes_of(
        "employee.changed", {"employee_id": str(ANN), "level": 5, "effective_at": f"2026-04-01T00:00:00{zone}"}
    )
    said = profiles(told(a_hire(), change))
    assert isinstance(change, EmployeePatched)
    assert change.effective_at.utcoffset() == timedelta(0), "a time in a log is in UTC"
    assert said[change.effective_at].profile.level_since == date(2026, 4, 1)


def test_a_person_kept_before_days_had_a_zone_is_read_and_their_days_are_utcs() -> None:
    person, _ = after(a_hire(), a_patch(at=3, level=5))
    assert person is not None
    kept = msgspec.msgpack.decode(write_state(person))
    kept["patches"] = [patch[:4] for patch in kept["patches"]]
    read = read_person(msgspec.msgpack.encode(kept))
    assert read == person
    assert [standing.level_since for _, standing in history.timeline(read)] == [day(0).date(), day(3).date()]


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_day_that_is_none_in_utc_is_refused_with_the_field(said: str) -> None:
    with pytest.raises(ValidationError, match=r"effective_at\n.*outside the years 1 to 9999"):
        changes_of("employee.changed", {"employee_id": "E1", "effective_at": said})


def test_a_change_hires_nobody() -> None:
    (change,) = changes_of("employee.changed", {"employee_id": "E1", "name": "Ann"})
    assert isinstance(change, EmployeePatched)
    assert not change.hired


def test_an_empty_parent_is_none() -> None:
    (unit,) = changes_of("unit.defined", {"unit_id": "company", "name": "All", "parent_id": ""})
    assert isinstance(unit, UnitStated)
    assert unit.parent_id is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"email": "ann"}, "email: is no email address"),
        ({"external_ids": {"github": " "}}, "external_ids.github: names nobody"),
        ({"external_ids": {"email": "ann"}}, "external_ids.email: is no email address"),
        ({"external_ids": {"hris": "E2"}}, "external_ids.hris: is another employee's id"),
        ({"unit_id": ""}, "unit_id: is empty"),
    ],
)
def test_a_field_without_sense_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(Poison, match=says):
        changes_of("employee.hired", {"employee_id": "E1", "name": "Ann"} | fields)


def test_a_unit_above_itself_is_refused() -> None:
    with pytest.raises(Poison, match="parent_id"):
        changes_of("unit.defined", {"unit_id": "team", "name": "Team", "parent_id": "team"})


def a_relationship(kind: str = "mentor", employee: str = "E1", other: str = "E2") -> dict[str, Any]:
    return {"relationship_id": "R1", "kind": kind, "employee": employee, "other": other}


def test_a_sponsor_is_told_to_the_employee_and_wanted_in_their_log() -> None:
    tie, want = changes_of("relationship.started", a_relationship("sponsor"))
    assert isinstance(tie, TieStarted)
    assert (tie.employee_id, tie.other_id) == ("E1", "E2")
    assert isinstance(want, SnapshotWanted)
    assert (want.employee_id, want.log_of) == ("E2", "E1")


def test_those_who_worked_together_have_each_other() -> None:
    started = changes_of("relationship.started", a_relationship("worked_with"))
    assert {(c.employee_id, c.other_id) for c in started if isinstance(c, TieStarted)} == {("E1", "E2"), ("E2", "E1")}
    assert {(c.employee_id, c.log_of) for c in started if isinstance(c, SnapshotWanted)} == {
        ("E1", "E2"),
        ("E2", "E1"),
    }
    assert len({change.id for change in started}) == 4
    ended = changes_of("relationship.ended", a_relationship("worked_with"))
    assert {(c.employee_id, c.other_id) for c in ended if isinstance(c, TieEnded)} == {("E1", "E2"), ("E2", "E1")}


def test_a_relationship_waits_for_both_parties() -> None:
    def only_e1(ref: Ref) -> EmployeeId:
        if ref != "hris:E1":
            raise UnknownPerson(ref)
        return EmployeeId("E1")

    with pytest.raises(UnknownPerson, match="hris:E2"):
        changes_of("relationship.started", a_relationship(), only_e1)


def test_a_relationship_with_oneself_is_refused() -> None:
    with pytest.raises(Poison, match="same person"):
        changes_of("relationship.started", a_relationship(other="ann@x.org"), lambda _: EmployeeId("E1"))


def test_a_unit_goes_to_every_partition_and_a_person_to_their_own() -> None:
    data = {"unit_id": "team", "name": "Team"}
    event = a_feed_event("unit.defined", data)
    outputs = list(take(event, read_payload(PEOPLE, event.type, data), lambda _: ANN))
    assert [output.partition for output in outputs] == list(range(PARTITIONS))
    data = {"employee_id": "E1"}
    event = a_feed_event("employee.left", data)
    (output,) = take(event, read_payload(PEOPLE, event.type, data), lambda _: ANN)
    assert (output.topic, output.key, output.partition) == (PEOPLE_CHANGES, b"E1", None)
    assert read_change(output.value or b"").type == "employee.departed"


# -- the org tree ---------------------------------------------------------------------------------


def an_org(*units: UnitStated) -> OrgTree:
    org = OrgTree()
    for unit in units:
        org.learn(unit)
    return org


def test_a_path_leads_from_the_top_to_the_unit() -> None:
    org = an_org(a_unit("team", "dept"), a_unit("company"), a_unit("dept", "company"))
    assert org.path(UnitId("team")) == ("company", "dept", "team")


def test_an_unknown_unit_is_its_own_path_and_an_unknown_parent_the_top_of_it() -> None:
    assert OrgTree().path(UnitId("team")) == ("team",)
    assert an_org(a_unit("team", "dept")).path(UnitId("team")) == ("dept", "team")


def test_a_cycle_of_units_ends() -> None:
    org = an_org(a_unit("a", "b"), a_unit("b", "c"), a_unit("c", "a"), a_unit("below", "a"))
    assert org.path(UnitId("a")) == ("c", "b", "a")
    assert org.path(UnitId("below")) == ("c", "b", "a", "below")
    assert org.learn(a_unit("b", "d", at=1)) == {"a", "b", "c", "below"}


def test_a_unit_that_moves_alters_the_paths_below_it_alone() -> None:
    org = an_org(a_unit("company"), a_unit("dept", "company"), a_unit("team", "dept"), a_unit("other", "company"))
    assert org.learn(a_unit("dept", "other", at=1)) == {"dept", "team"}
    assert org.learn(a_unit("dept", "company", at=2)) == {"dept", "team"}
    assert org.learn(a_unit("other", "company", at=1)) == frozenset(), "nothing of a path has changed"


def test_a_unit_that_has_moved_away_is_below_its_old_parent_no_more() -> None:
    org = an_org(a_unit("team", "dept"), a_unit("team", "other", at=1))
    assert org.learn(a_unit("dept", "company")) == {"dept"}


def test_an_older_statement_of_a_unit_is_no_news() -> None:
    org = an_org(a_unit("team", "dept", at=2))
    assert org.learn(a_unit("team", "old", at=1)) is None
    assert org.learn(a_unit("team", "dept", at=2)) is None
    assert org.path(UnitId("team")) == ("dept", "team")


# -- profiles over time ---------------------------------------------------------------------------


def test_a_hire_joins_with_a_whole_profile() -> None:
    org = an_org(a_unit("team", "company"))
    (joined,) = profiles(told(a_hire(location="Berlin", manager_id="E9"), org=org)).values()
    assert isinstance(joined, EmployeeJoined)
    assert joined.profile == Profile(
        name="Ann",
        level=4,
        level_since=DAY.date(),
        unit_path=("company", "team"),
        manager_id=EmployeeId("E9"),
        location="Berlin",
    )
    assert (joined.effective_at, joined.at, joined.revision) == (DAY, DAY, 1)


def test_nothing_is_said_of_somebody_without_name_level_and_unit() -> None:
    said = told(a_patch(name="Ann"), a_patch(at=1, level=3), a_tie(), wanted())
    assert [one for one in said if not isinstance(one, RefClaimed)] == []
    (joined,) = profiles([*said, *told(a_patch(name="Ann"), a_patch(at=1, level=3), a_patch(at=2, unit_id="team"))])
    assert joined == day(2)


def test_a_profile_that_was_incomplete_is_said_for_when_it_became_whole() -> None:
    said = told(a_patch(at=5, level=6), a_patch(at=0, name="Ann", unit_id="team", level=3))
    assert [(type(one), one.effective_at, one.profile.level) for one in profiles(said).values()] == [
        (EmployeeJoined, day(0), 3),
        (EmployeePromoted, day(5), 6),
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"level": 5}, EmployeePromoted),
        ({"level": 3}, EmployeePromoted),
        ({"unit_id": "other"}, EmployeeMoved),
        ({"manager_id": "E7"}, EmployeeMoved),
        ({"unit_id": "other", "level": 5}, EmployeePromoted),
        ({"name": "Anna"}, EmployeeChanged),
        ({"location": "Paris"}, EmployeeChanged),
    ],
)
def test_a_change_is_said_by_what_changed(fields: dict[str, Any], expected: type[Any]) -> None:
    said = profiles(told(a_hire(), a_patch(at=3, **fields)))
    assert [type(one) for one in said.values()] == [EmployeeJoined, expected]
    assert said[day(3)].revision == 2


def test_what_others_need_not_know_is_not_said() -> None:
    """A time zone or an address is no part of a profile; nor is what a nightly sync says again."""
    said = profiles(told(a_hire(), a_patch(at=1, timezone="Europe/Berlin"), a_hire(at=2)))
    assert list(said) == [DAY]


def test_a_moment_that_was_said_is_said_again_when_it_is_no_change_any_more() -> None:
    said = profiles(told(a_hire(), a_patch(at=9, location="Paris"), a_patch(at=8, location="Paris")))
    assert {at: one.type for at, one in said.items()} == {
        day(0): "employee.joined",
        day(8): "employee.changed",
        day(9): "employee.changed",
    }
    assert said[day(9)].revision == 2, "the content is what it was, so is the statement"


def test_a_moment_that_becomes_like_the_one_before_it_is_said_as_it_now_is() -> None:
    said = profiles(told(a_hire(), a_patch(at=9, name="Anna"), a_patch(at=8, name="Anna", location="Paris")))
    assert {at: one.profile.location for at, one in said.items()} == {day(0): "", day(8): "Paris", day(9): "Paris"}


def test_a_level_without_a_date_is_had_since_it_holds() -> None:
    said = profiles(told(a_hire(level_since=date(2020, 1, 1)), a_patch(at=3, level=5), a_patch(at=9, level=5)))
    assert said[day(0)].profile.level_since == date(2020, 1, 1)
    assert said[day(3)].profile.level_since == day(3).date()
    assert list(said) == [day(0), day(3)], "the same level again begins nothing"


def test_a_late_patch_changes_all_moments_after_it_that_do_not_say_otherwise() -> None:
    said = profiles(told(a_hire(), a_patch(at=9, level=6), a_patch(at=20, effective=5, location="Paris", level=5)))
    assert [(at, one.profile.level, one.profile.location) for at, one in said.items()] == [
        (day(0), 4, ""),
        (day(5), 5, "Paris"),
        (day(9), 6, "Paris"),
    ]
    assert [one.revision for one in said.values()] == [1, 3, 3]


def test_of_two_patches_for_the_same_moment_the_one_said_last_holds() -> None:
    first, second = a_patch(at=9, effective=5, level=7), a_patch(at=10, effective=5, level=8)
    assert first.id > second.id, "it is not the id that decides"
    for order in ((first, second), (second, first)):
        assert profiles(told(a_hire(), *order))[day(5)].profile.level == 8


def test_a_future_patch_is_said_for_its_day() -> None:
    said = profiles(told(a_hire(), a_patch(at=1, effective=90, level=5)))
    assert (said[day(90)].profile.level, said[day(90)].at) == (5, day(1))


def test_somebody_who_leaves_is_inactive_until_they_are_hired_again() -> None:
    said = profiles(told(a_hire(), a_departure(at=5), a_hire(at=50)))
    assert [(type(one), one.profile.active) for one in said.values()] == [
        (EmployeeJoined, True),
        (EmployeeLeft, False),
        (EmployeeJoined, True),
    ]


def test_a_correction_of_somebody_who_has_left_does_not_bring_them_back() -> None:
    said = profiles(told(a_hire(), a_departure(at=5), a_patch(at=6, name="Anna")))
    assert isinstance(said[day(6)], EmployeeChanged)
    assert not said[day(6)].profile.active


def test_no_manager_can_be_said() -> None:
    said = profiles(told(a_hire(manager_id="E7"), a_patch(at=3, manager_id="")))
    assert (said[day(0)].profile.manager_id, said[day(3)].profile.manager_id) == ("E7", None)


def test_a_unit_that_becomes_known_restates_every_profile_with_its_path() -> None:
    hired, moved = a_hire(), a_patch(at=5, unit_id="other")
    person, before = after(hired, moved)
    unit = a_unit("team", "company", at=6)
    _, statements = decide(person, an_org(unit), unit)
    said = profiles([*before, *statements])
    assert said[day(0)].profile.unit_path == ("company", "team")
    assert (said[day(0)].revision, said[day(0)].at) == (3, day(6))
    assert (said[day(5)].profile.unit_path, said[day(5)].revision) == (("other",), 2)


def test_a_persons_patches_are_bounded_and_older_ones_still_hold() -> None:
    changes = [a_hire(name="Ann", location="Rome", level=3)]
    changes += [a_patch(at=number, level=number % 7) for number in range(1, history.KEPT + 10)]
    person, said = after(*changes)
    assert person is not None
    assert len(person.patches) == history.KEPT
    assert len(person.told) <= history.KEPT + 1
    last = profiles(said)[day(history.KEPT + 9)].profile
    assert (last.name, last.location, last.level) == ("Ann", "Rome", (history.KEPT + 9) % 7)


def test_folding_away_says_nothing_and_a_repeat_of_what_is_folded_neither() -> None:
    changes = [a_hire(), *(a_patch(at=number, location=f"city {number}") for number in range(1, history.KEPT + 10))]
    person, _ = after(*changes)
    for change in changes:
        assert decide(person, OrgTree(), change) == (person, ())


def test_a_patch_from_before_the_horizon_still_holds_where_nothing_newer_says_otherwise() -> None:
    changes = [a_hire(), *(a_patch(at=number, location=f"city {number}") for number in range(1, history.KEPT + 10))]
    late = a_patch(at=99, effective=2, name="Anna", location="Atlantis")
    person, said = after(*changes, late)
    assert person is not None
    now = profiles(said)
    assert person.horizon == day(9)
    assert {one.profile.name for at, one in now.items() if at >= person.horizon} == {"Anna"}
    assert now[person.horizon].profile.location == "city 9"
    assert isinstance(now[person.horizon], EmployeeChanged)


def test_a_correction_at_the_horizon_is_a_change_whatever_it_was_before() -> None:
    """What came before the horizon is forgotten, so nobody can say any more that it is a promotion."""
    changes = [a_hire(), *(a_patch(at=number, level=number % 7) for number in range(1, history.KEPT + 10))]
    person, said = after(*changes)
    assert person is not None
    assert person.horizon is not None
    assert isinstance(profiles(said)[person.horizon], EmployeePromoted)
    _, corrected = decide(person, OrgTree(), a_patch(at=99, effective=2, name="Anna"))
    assert isinstance(profiles(corrected)[person.horizon], EmployeeChanged)
    assert isinstance(profiles(corrected)[day(history.KEPT + 9)], EmployeePromoted)


# -- names ----------------------------------------------------------------------------------------


def a_claim(ref: str, *held: tuple[int, int | None], of: EmployeeId = ANN, revision: int = 1) -> RefClaimed:
    times = tuple(
        Held(since=day(since), said_at=day(since), until=None if until is None else day(until)) for since, until in held
    )
    return RefClaimed(ref=Ref(ref), employee_id=of, held=times, revision=revision)


def test_each_claim_is_told_once_and_an_old_name_stays_one_until_it_was_replaced() -> None:
    hired = a_hire(refs=("hris:E-ann", "email:ann@x.org"))
    renamed = a_patch(at=1, refs=("hris:E-ann", "email:anna@x.org"))
    synced = a_patch(at=2, refs=("hris:E-ann", "email:anna@x.org"))
    person, said = after(hired, renamed, hired, synced)
    assert of_type(said, RefClaimed) == [
        a_claim("email:ann@x.org", (0, None)),
        a_claim("hris:E-ann", (0, None)),
        a_claim("email:ann@x.org", (0, 1), revision=2),
        a_claim("email:anna@x.org", (1, None), revision=2),
    ]
    assert person is not None
    assert person.refs == ("email:ann@x.org", "email:anna@x.org", "hris:E-ann")


def test_those_tied_to_somebody_are_told_of_the_address_that_they_have_now_first() -> None:
    (*_, newest) = snapshots(
        told(
            wanted(),
            a_hire(refs=("hris:E-ann", "email:ann@x.org")),
            a_patch(at=1, refs=("hris:E-ann", "email:zoe@x.org")),
        )
    )
    assert newest.person.refs == ("email:zoe@x.org", "hris:E-ann", "email:ann@x.org")


def test_a_departure_of_somebody_never_heard_of_names_nobody() -> None:
    assert told(a_departure(at=1)) == []


# -- ties -----------------------------------------------------------------------------------------


def test_a_relationship_goes_to_the_employees_log() -> None:
    said = told(a_hire(), a_tie(kind="sponsor", at=1), an_end(kind="sponsor", at=9))
    (started,) = of_type(said, RelationshipStarted)
    (ended,) = of_type(said, RelationshipEnded)
    assert (started.employee_id, started.other_id, started.kind, started.started_at) == (ANN, BEA, "sponsor", day(1))
    assert (started.id, started.relationship_id) == ("tie-E-ann-E-bea-1", ended.relationship_id)
    assert ended.ended_at == day(9)


def test_ties_are_remembered_until_the_person_can_be_spoken_of() -> None:
    said = told(a_patch(name="Ann"), an_end(at=2), a_tie(at=1), a_patch(at=3, level=2, unit_id="team"))
    assert [type(one) for one in said if not isinstance(one, RefClaimed)] == [
        EmployeeJoined,
        RelationshipStarted,
        RelationshipEnded,
    ]


def test_an_older_statement_of_a_tie_says_nothing() -> None:
    first, second = a_tie(at=1), a_tie(at=2)
    assert [one.started_at for one in of_type(told(a_hire(), second, first, second), RelationshipStarted)] == [day(2)]


def test_whoever_is_newly_tied_gets_the_snapshot_once() -> None:
    said = told(a_hire(timezone="Europe/Berlin"), wanted(by=BEA), wanted(by=BEA, at=1), wanted(by=CID))
    assert [(one.employee_id, one.revision) for one in snapshots(said)] == [(BEA, 2), (CID, 3)]
    assert snapshots(said)[0].person == TiedPerson(
        person_id=ANN, name="Ann", level=4, unit_path=("team",), timezone="Europe/Berlin", refs=("hris:E-ann",)
    )


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (a_patch(at=3, name="Anna"), "name", "Anna"),
        (a_patch(at=3, level=5), "level", 5),
        (a_patch(at=3, unit_id="other"), "unit_path", ("other",)),
        (a_patch(at=3, timezone="Asia/Tokyo"), "timezone", "Asia/Tokyo"),
        (a_patch(at=3, locale="de-AT"), "locale", "de-AT"),
        (a_patch(at=3, refs=("email:a@x.org",)), "refs", ("email:a@x.org", "hris:E-ann")),
        (a_departure(at=3), "left_at", day(3)),
        (a_departure(at=3, effective=60), "left_at", day(60)),
    ],
)
def test_a_snapshot_that_changes_goes_to_everybody_tied(change: Change, field: str, value: object) -> None:
    said = snapshots(told(a_hire(), wanted(by=BEA), wanted(by=CID), change))[2:]
    assert [one.employee_id for one in said] == [BEA, CID]
    assert {getattr(one.person, field) for one in said} == {value}
    assert {one.revision for one in said} == {4}


def test_a_snapshot_that_stays_is_not_sent_again() -> None:
    assert len(snapshots(told(a_hire(), wanted(), a_patch(at=3, location="Paris", manager_id="E9")))) == 1


def test_a_snapshot_wanted_before_the_person_is_known_is_sent_when_they_are() -> None:
    assert [one.employee_id for one in snapshots(told(wanted(by=BEA), a_hire()))] == [BEA]


def test_a_snapshot_shows_what_is_in_force_at_the_newest_event_about_the_person() -> None:
    promoted = a_patch(at=1, effective=30, level=9)
    said = snapshots(told(a_hire(), wanted(), promoted))
    assert [one.person.level for one in said] == [4]
    said = snapshots(told(a_hire(), wanted(), promoted, a_patch(at=31, location="Paris")))
    assert [one.person.level for one in said] == [4, 9]


def test_an_older_event_that_comes_late_does_not_turn_a_snapshot_back() -> None:
    promoted, newest, late = a_patch(at=1, effective=30, level=9), a_patch(at=31, name="Anna"), a_patch(at=2, name="An")
    said = snapshots(told(a_hire(), wanted(), promoted, newest, late))
    assert [(one.person.name, one.person.level) for one in said] == [("Ann", 4), ("Anna", 9)]


def test_somebody_who_is_yet_to_join_is_shown_as_they_will_begin() -> None:
    assert [one.person.level for one in snapshots(told(a_hire(effective=30), wanted()))] == [4]


def test_whoever_returns_has_not_left() -> None:
    said = snapshots(told(a_hire(), wanted(), a_departure(at=5), a_patch(at=6, name="Anna"), a_hire(at=50)))
    assert [one.person.left_at for one in said] == [None, day(5), day(5), None]


def test_whoever_is_gone_has_left_although_their_return_is_known() -> None:
    said = snapshots(told(a_hire(), wanted(), a_departure(at=5), a_hire(at=6, effective=50)))
    assert [one.person.left_at for one in said][-1] == day(5)
    said = snapshots(told(a_hire(), a_departure(at=1, effective=5), a_hire(at=2, effective=50), wanted()))
    assert [one.person.left_at for one in said] == [day(5)]


def test_a_departure_folded_away_is_still_the_day_they_left() -> None:
    later = [a_patch(at=10 + number, location=f"city {number}") for number in range(history.KEPT + 5)]
    person, _ = after(a_hire(), a_departure(at=5), *later)
    _, said = decide(person, OrgTree(), wanted())
    assert [one.person.left_at for one in snapshots(said)] == [day(5)]


def test_an_ended_tie_is_still_kept_up_to_date() -> None:
    """A former team mate may be suggested as a sponsor, so their standing matters after the work has ended."""
    said = told(a_hire(), wanted(by=BEA), an_end(at=2), a_patch(at=3, level=5))
    assert [one.person.level for one in snapshots(said)] == [4, 5]


# -- contacts -------------------------------------------------------------------------------------


def test_whoever_knows_the_person_is_told_base_data_and_only_when_it_changes() -> None:
    said = told(
        a_hire(),
        wanted(by=BEA),
        a_report(report=CID),
        a_patch(at=3, location="Paris", timezone="Asia/Tokyo", unit_id="other"),
        a_patch(at=4, level=6),
        a_departure(at=5),
    )
    described = of_type(said, ContactDescribed)
    assert [(one.employee_id, one.level, one.leaving) for one in described] == [
        (BEA, 4, False),
        (CID, 4, False),
        (BEA, 6, False),
        (CID, 6, False),
        (BEA, 6, True),
        (CID, 6, True),
    ]
    assert {one.employee_id for one in snapshots(said)} == {BEA}, "a report's log needs no snapshot of the manager"


def test_a_new_manager_is_told_and_the_one_before() -> None:
    said = of_type(told(a_hire(manager_id="M1"), a_patch(at=1, manager_id="M2")), ReportStated)
    assert [(one.employee_id, one.report_id, one.reports) for one in said] == [
        ("M1", ANN, True),
        ("M1", ANN, False),
        ("M2", ANN, True),
    ]
    assert said[0].revision < said[1].revision
    assert len({one.id for one in said}) == 3


def test_nobody_is_their_own_manager() -> None:
    assert of_type(told(a_hire(manager_id=ANN)), ReportStated) == []


def test_a_manager_who_is_so_no_more_says_no_more() -> None:
    said = told(
        a_hire(),
        a_report(report=BEA, revision=1),
        a_report(report=BEA, reports=False, revision=3),
        a_report(report=BEA, revision=1),
        a_patch(at=3, level=8),
    )
    assert [one.level for one in of_type(said, ContactDescribed)] == [4]


def test_contacts_are_introduced_by_those_who_know_them() -> None:
    ties = [a_tie(to=EmployeeId(who)) for who in ("C1", "C2", "C3", "C4")]
    contacts = [a_contact("C1", 7), a_contact("C2", 9), a_contact("C3", 8), a_contact("C4", 6), a_contact("C5", 10)]
    (*_, last) = snapshots(told(a_hire(), wanted(), *ties, *contacts))
    assert last.person.introductions == tuple(
        Introduction(person_id=EmployeeId(who), name=who, level=level)
        for who, level in (("C2", 9), ("C3", 8), ("C1", 7))
    ), "the three most senior, and not somebody whom they do not know"


def test_a_contact_who_leaves_makes_room() -> None:
    ties = [a_tie(to=EmployeeId(who)) for who in ("C1", "C2")]
    said = snapshots(
        told(
            a_hire(), wanted(), *ties, a_contact("C1", 9), a_contact("C2"), a_contact("C1", 9, leaving=True, revision=2)
        )
    )
    assert [[one.person_id for one in each.person.introductions] for each in said] == [[], ["C1"], ["C1", "C2"], ["C2"]]


def test_the_manager_is_introduced_for_as_long_as_they_are_the_manager() -> None:
    said = snapshots(told(a_hire(manager_id="M1"), wanted(), a_contact("M1", 9), a_patch(at=3, manager_id="M2")))
    assert [[one.person_id for one in each.person.introductions] for each in said] == [[], ["M1"], []]


def test_a_manager_who_was_is_forgotten_as_a_contact_unless_they_are_tied() -> None:
    replaced = (a_hire(manager_id="M1"), a_contact("M1", 9), a_patch(at=3, manager_id="M2"))
    person, _ = after(*replaced)
    assert person is not None
    assert person.contacts == ()
    (*_, last) = snapshots(told(wanted(), a_tie(to=EmployeeId("M1")), *replaced))
    assert [one.person_id for one in last.person.introductions] == ["M1"]


def test_an_older_description_of_a_contact_says_nothing() -> None:
    tie = a_tie(to=EmployeeId("C1"))
    said = snapshots(told(a_hire(), wanted(), tie, a_contact("C1", 9, revision=4), a_contact("C1", 3, revision=2)))
    assert [[one.level for one in each.person.introductions] for each in said] == [[], [9]]


def test_contacts_are_bounded_to_the_most_senior() -> None:
    contacts = [a_contact(f"C{level}", level) for level in range(1, who_is_introduced.KEPT + 5)]
    person, _ = after(a_hire(), *random.Random(1).sample(contacts, len(contacts)))
    assert person is not None
    assert [contact.level for contact in person.contacts] == list(range(who_is_introduced.KEPT + 4, 4, -1))


def test_of_too_many_contacts_those_who_leave_are_let_go_first() -> None:
    contacts = [a_contact(f"C{number}", 5) for number in range(who_is_introduced.KEPT)]
    person, _ = after(a_hire(), a_contact("gone", 30, leaving=True), *contacts)
    assert person is not None
    assert [contact.employee_id for contact in person.contacts] == [one.contact_id for one in contacts]


# -- the same again, and the state ----------------------------------------------------------------


def everything() -> list[PersonChange]:
    return [
        a_hire(manager_id="M1"),
        wanted(),
        a_tie(to=EmployeeId("C1")),
        an_end(to=EmployeeId("C1"), at=2),
        a_contact("C1"),
        a_report(report=DAN),  # type: ignore[list-item]
        a_patch(at=3, level=6),
        a_departure(at=9),
    ]


def test_a_change_that_comes_again_changes_nothing() -> None:
    person, said = after(*everything())
    assert said
    for change in everything():
        assert decide(person, OrgTree(), change) == (person, ())


def test_the_same_changes_give_the_same_ids_and_each_statement_has_its_own() -> None:
    _, said = after(*everything())
    assert said == after(*everything())[1]
    ids = [one.id for one in said if not isinstance(one, RefClaimed)]
    assert len(ids) == len(set(ids))


def test_a_person_reads_as_they_were_written() -> None:
    person, _ = after(*everything())
    assert person is not None
    assert read_person(write_state(person)) == person


def test_a_units_change_needs_somebody_to_concern() -> None:
    with pytest.raises(ValueError, match="unit"):
        decide(None, OrgTree(), a_unit("team"))


# -- the handler: a person's partition ------------------------------------------------------------


def a_record(change: Change, partition: int = 0, offset: int = 0) -> Record:
    return Record(PEOPLE_CHANGES, partition, offset, b"", write_contract(change), (), DAY)


def a_handler(people: KeyedState | None = None, units: KeyedState | None = None) -> ChangeHandler:
    return ChangeHandler(people or a_state(), units or a_state(), a_state())


def a_tick(at: int) -> ClockTicked:
    return ClockTicked(id=EventId(f"tick-{at}"), at=day(at), source="clock", now=day(at))


def career(outputs: Iterable[Output]) -> list[CareerEvent]:
    return [read_career_event(o.value or b"") for o in outputs if o.topic == CAREER_EVENTS]


def test_a_statement_goes_to_its_topic_by_its_key() -> None:
    handle = a_handler()
    outputs = list(handle(a_record(a_hire(manager_id="M1"))))
    assert [(output.topic, output.key, output.partition) for output in outputs] == [
        (IDENTITIES, b"hris:E-ann E-ann", partition_of(b"hris:E-ann")),
        (CAREER_EVENTS, b"E-ann", None),
        (PEOPLE_CHANGES, b"M1", None),
    ]
    held = (Held(since=DAY, said_at=DAY),)
    said = RefClaimed(ref=Ref("hris:E-ann"), employee_id=ANN, held=held, revision=1)
    assert read_identity(outputs[0].key, outputs[0].value or b"") == said


def test_a_unit_restates_those_who_sit_below_it_and_nobody_else() -> None:
    handle = a_handler()
    for change in (a_hire(ANN), a_hire(BEA, unit_id="other"), a_unit("team", "dept", at=1)):
        said = career(handle(a_record(change)))
    assert [(one.employee_id, one.type) for one in said] == [(ANN, "employee.joined")]
    said = career(handle(a_record(a_unit("dept", "company", at=2))))
    assert [one.profile.unit_path for one in said if isinstance(one, EmployeeJoined)] == [("company", "dept", "team")]


@pytest.mark.parametrize(
    ("meanwhile", "then", "path"),
    [
        (a_hire(BEA), a_unit("team", "dept"), ("dept", "team")),
        (a_unit("team", "dept"), a_unit("dept", "company"), ("company", "dept", "team")),
    ],
    ids=["a person", "a unit"],
)
def test_a_partition_that_was_elsewhere_meanwhile_is_seen_as_it_came_back(
    meanwhile: Change, then: Change, path: tuple[str, ...]
) -> None:
    people, units = a_state(name="people"), a_state(name="units")
    here, elsewhere = (
        a_handler(people, units),
        a_handler(people, units),
    )
    here(a_record(a_hire(ANN)))
    elsewhere(a_record(meanwhile))
    said = career(here(a_record(then)))
    assert {one.profile.unit_path for one in said if isinstance(one, EmployeeJoined)} == {path}
    assert {one.employee_id for one in said} == ({ANN, BEA} if meanwhile.type == "employee.patched" else {ANN})


@pytest.mark.parametrize("patches", [1, history.KEPT + 1], ids=["in a patch", "folded away"])
def test_a_process_that_takes_over_knows_where_people_were(patches: int) -> None:
    people, units = a_state(name="people"), a_state(name="units")
    before = a_handler(people, units)
    for change in (a_hire(ANN), *(a_patch(ANN, at=number, location=f"city {number}") for number in range(1, patches))):
        before(a_record(change))
    before(a_record(a_patch(ANN, at=90, location="Rome")))
    assert career(a_handler(people, units)(a_record(a_unit("team", "dept"))))


def said_of_ann(outputs: Iterable[Output]) -> list[tuple[int, bool]]:
    """Return the level, and whether they leave, of each snapshot."""
    return [(one.person.level, one.person.left_at is not None) for one in snapshots(career(outputs))]


def test_a_promotion_announced_for_later_is_told_to_those_tied_when_its_day_comes_whoever_holds_the_partition() -> None:
    people, units, clock = a_state(), a_state(), a_state()
    handle = ChangeHandler(people, units, clock)
    for change in (a_tick(0), wanted(), a_hire(level=4), a_patch(at=1, effective=5, level=6)):
        outputs = list(handle(a_record(change)))
    assert said_of_ann(outputs) == [], "it is not their level yet"
    assert list(handle(a_record(a_tick(4)))) == []
    handle = ChangeHandler(people, units, clock)
    outputs = list(handle(a_record(a_tick(5))))
    assert said_of_ann(outputs) == [(6, False)]
    assert list(handle(a_record(a_tick(5)))) == list(handle(a_record(a_tick(6)))) == []


def test_one_who_is_back_from_a_leave_on_a_day_that_was_announced_is_told_to_be_there() -> None:
    handle = a_handler()
    for change in (wanted(), a_hire(), a_departure(at=1, effective=3), a_hire(at=1, effective=7)):
        outputs = list(handle(a_record(change)))
    assert said_of_ann(outputs) == []
    assert said_of_ann(handle(a_record(a_tick(3)))) == []  # that they leave was told with the announcement
    assert said_of_ann(handle(a_record(a_tick(7)))) == [(4, False)]


def test_a_manager_from_a_day_on_is_told_of_their_report_on_that_day() -> None:
    handle = a_handler()
    for change in (a_hire(manager_id="M1"), a_patch(at=1, effective=5, manager_id="M2")):
        assert [c.employee_id for c in reports(handle(a_record(change)))] == (["M1"] if change.at == DAY else [])
    assert [(c.employee_id, c.reports) for c in reports(handle(a_record(a_tick(5))))] == [("M1", False), ("M2", True)]


def reports(outputs: Iterable[Output]) -> list[ReportStated]:
    changes = [read_change(output.value or b"") for output in outputs if output.topic == PEOPLE_CHANGES]
    return [change for change in changes if isinstance(change, ReportStated)]


def test_the_time_concerns_nobody_of_whom_nothing_lies_ahead() -> None:
    handle = a_handler()
    for change in (a_hire(ANN), a_hire(BEA, at=1, location="Rome"), a_tick(400)):
        outputs = list(handle(a_record(change)))
    assert outputs == []


def test_partitions_do_not_see_each_other() -> None:
    handle = a_handler()
    handle(a_record(a_hire(ANN), partition=0))
    assert career(handle(a_record(a_unit("team", "dept"), partition=1))) == []


def test_a_unit_whose_people_cannot_be_read_changes_nothing() -> None:
    people, units = a_state(name="people"), a_state(name="units")
    handle = a_handler(people, units)
    handle(a_record(a_hire(ANN)))
    good = people.get(0, ANN)
    people.put(0, ANN, b"\xc1")
    with pytest.raises(Exception, match="malformed"):
        handle(a_record(a_unit("team", "dept")))
    people.put(0, ANN, good)
    assert units.get(0, "team") is None
    said = career(handle(a_record(a_unit("team", "dept"))))
    assert [one.employee_id for one in said] == [ANN]


def test_what_is_no_change_is_refused_with_the_field() -> None:
    handle = a_handler()
    with pytest.raises(Poison, match="without a value"):
        handle(Record(PEOPLE_CHANGES, 0, 0, b"x", None, (), DAY))
    with pytest.raises(ValidationError, match="effective_at"):
        handle(Record(PEOPLE_CHANGES, 0, 0, b"x", b'{"type": "employee.departed"}', (), DAY))


# -- a whole company, in one process --------------------------------------------------------------


def stands(
    identities: Iterable[Identity], log: Iterable[CareerEvent], moments: Iterable[datetime]
) -> dict[str, object]:
    """Return everything that a reader can conclude, without what tells the way that led to it.

    What is said again after a crash has the id that it had, and a reader drops it; it must be the same.
    """
    moments = list(moments)
    by_person: dict[str, list[CareerEvent]] = {}
    said: dict[str, CareerEvent] = {}
    for event in log:
        if event.employee_id is None:
            continue
        if event.id in said:
            assert event == said[event.id], "an id of two statements"
            continue
        said[event.id] = event
        by_person.setdefault(event.employee_id or "", []).append(event)
    return {
        "names": whom(identities, moments),
        "profiles": {who: {at: _in_force(events, at) for at in moments} for who, events in by_person.items()},
        "relationships": {who: _relationships(events) for who, events in by_person.items()},
        "tied": {who: _tied(events) for who, events in by_person.items()},
    }


def _in_force(events: Iterable[CareerEvent], at: datetime) -> Profile | None:
    begun = [one.profile for since, one in profiles(events).items() if since <= at]
    return begun[-1] if begun else None


def _relationships(events: Iterable[CareerEvent]) -> dict[tuple[str, str], CareerEvent]:
    newest: dict[tuple[str, str], CareerEvent] = {}
    for one in events:
        if isinstance(one, RelationshipStarted | RelationshipEnded):
            key = (one.type, one.relationship_id)
            if key not in newest or newest[key].stamp < one.stamp:
                newest[key] = one
    return newest


def _tied(events: Iterable[CareerEvent]) -> dict[EmployeeId, TiedPerson]:
    newest: dict[EmployeeId, TiedPersonChanged] = {}
    for one in snapshots(events):
        known = newest.get(one.person.person_id)
        assert known is None or known.revision != one.revision, "two snapshots can't be told apart"
        if known is None or known.revision < one.revision:
            newest[one.person.person_id] = one
    return {who: one.person for who, one in newest.items()}


def hired(who: EmployeeId, *, at: int = 0, **fields: Any) -> FeedEvent:
    data = {"employee_id": who, "name": who[2:].title(), "level": 4, "unit_id": "team"} | fields
    return a_feed_event("employee.hired", data, at=at, event_id=f"hired-{who}-{at}")


def changed(who: EmployeeId, *, at: int, **fields: Any) -> FeedEvent:
    return a_feed_event(
        "employee.changed", {"employee_id": who} | fields, at=at, event_id=f"changed-{who}-{at}-{fields}"
    )


def tied(employee: str, other: str, kind: str = "mentor", *, at: int = 0) -> FeedEvent:
    data = {"relationship_id": f"R-{employee}-{other}", "kind": kind, "employee": employee, "other": other}
    return a_feed_event("relationship.started", data, at=at, event_id=f"tie-{employee}-{other}")


def defined(unit: str, parent: str | None = None, *, at: int = 0) -> FeedEvent:
    data = {"unit_id": unit, "name": unit} | ({"parent_id": parent} if parent else {})
    return a_feed_event("unit.defined", data, at=at, event_id=f"unit-{unit}-{at}")


def test_a_mentor_brings_along_whom_they_know() -> None:
    world = World().feed(tied(ANN, "bea@x.org"), tied(BEA, CID, "sponsor"))
    assert world.log == []
    world.feed(hired(ANN), hired(CID, level=9), hired(BEA, level=6, email="Bea@x.org", manager_id=DAN))
    world.feed(hired(DAN, level=8))
    (bea,) = _tied(one for one in world.log if one.employee_id == ANN).values()
    assert bea.introductions == (
        Introduction(person_id=CID, name="Cid", level=9),
        Introduction(person_id=DAN, name="Dan", level=8),
    )
    world.feed(a_feed_event("employee.left", {"employee_id": CID}, at=9, event_id="left"))
    (bea,) = _tied(one for one in world.log if one.employee_id == ANN).values()
    assert [one.person_id for one in bea.introductions] == [DAN]


def test_people_who_know_each_other_in_a_circle_come_to_rest() -> None:
    world = World().feed(*(hired(who, manager_id=manager) for who, manager in ((ANN, BEA), (BEA, CID), (CID, ANN))))
    world.feed(tied(ANN, BEA, "worked_with"), tied(BEA, CID, "worked_with"), tied(CID, ANN, "worked_with"))
    before = len(world.changes)
    world.feed(changed(ANN, at=5, level=7))
    assert len(world.changes) - before == 1 + 2, "one change, and one word to each of the two who know them"


def test_a_replay_from_nothing_says_the_same_byte_for_byte() -> None:
    events = [tied(ANN, BEA, "worked_with"), hired(ANN, manager_id=BEA), defined("team", "dept"), hired(BEA)]
    events += [changed(BEA, at=4, level=7), defined("dept", "company", at=2)]
    world = World().feed(*events)
    fresh = a_handler()
    said = [output.value for record in world.changes for output in fresh(record) if output.topic == CAREER_EVENTS]
    assert sorted(value or b"" for value in said) == sorted(write_contract(event) for event in world.log)
    assert world.again() == []
