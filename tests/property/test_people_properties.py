"""Whatever order the same facts about people arrive in, and however often: the same people, profiles, ties stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.people import history
from services.people.changes import EmployeePatched, PersonChange, UnitStated
from services.people.org import OrgTree
from services.people.state import PersonState, read_person, write_state
from services.people.what_is_told import Statement, decide
from shared.contracts.career import write_contract
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.ids import EmployeeId, EventId, UnitId
from tests.unit.test_people import (
    a_departure,
    a_feed_event,
    a_patch,
    a_unit,
    changed,
    day,
    defined,
    hired,
    profiles,
    stands,
    tied,
)
from tests.world import World

PEOPLE = [EmployeeId(f"E-p{number}") for number in range(4)]
PEOPLE_AND_TIME = ["people", "cycles"]
UNITS = ["u0", "u1", "u2", "u3"]
DAYS = range(12)
MOMENTS = [day(number) for number in range(-1, 14)]

days = st.sampled_from(DAYS)
some_fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["Ann", "Anna"]),
        "level": st.integers(3, 6),
        "level_since": st.sampled_from([date(2020, 1, 1), date(2026, 3, 4)]),
        "unit_id": st.sampled_from(UNITS),
        "manager_id": st.sampled_from([*PEOPLE, ""]),
        "location": st.sampled_from(["Rome", "Paris"]),
        "timezone": st.sampled_from(["Europe/Rome", "Asia/Tokyo"]),
        "locale": st.sampled_from(["it", "de-AT"]),
    },
)
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def patches(draw: st.DrawFn, most: int = 8) -> list[PersonChange]:
    """Some patches and departures of one person, each with an id of its own."""
    drawn = draw(st.lists(st.tuples(days, days, st.booleans(), st.none() | some_fields), min_size=1, max_size=most))
    changes: list[PersonChange] = []
    for number, (at, effective, is_hire, fields) in enumerate(drawn):
        if fields is None:
            change: PersonChange = a_departure(at=at, effective=effective)
        else:
            change = a_patch(at=at, effective=effective, hired=is_hire, **fields)
        changes.append(change.model_copy(update={"id": EventId(f"{number}")}))
    return changes


@st.composite
def events(draw: st.DrawFn) -> list[FeedEvent]:
    """A small company's feed: hires, changes, departures, units and ties, no two with the same id."""
    staff = draw(st.lists(st.sampled_from(PEOPLE), min_size=2, max_size=4, unique=True))
    drawn = [hired(who, at=draw(days), **draw(some_fields)) for who in staff]
    for kind, least, most in (("tie", 1, 3), ("changed", 1, 4), ("unit", 0, 3), ("left", 0, 1)):
        drawn += [draw(_one_more(kind)) for _ in range(draw(st.integers(least, most)))]
    if draw(st.booleans()):
        drawn.append(a_feed_event("clock.ticked", {"now": day(draw(st.integers(0, 14)))}))
    return [
        FeedEvent(id=str(number), source=one.source, type=one.type, subject="", time=one.time, data=one.data)
        for number, one in enumerate(drawn)
    ]


@st.composite
def _one_more(draw: st.DrawFn, kind: str) -> FeedEvent:
    who, at = draw(st.sampled_from(PEOPLE)), draw(days)
    match kind:
        case "changed":
            effective = day(draw(days)).isoformat()
            return changed(who, at=at, effective_at=effective, **draw(some_fields))
        case "left":
            return a_feed_event("employee.left", {"employee_id": who}, at=at)
        case "unit":
            unit, parent = draw(st.lists(st.sampled_from(UNITS), min_size=2, max_size=2, unique=True))
            return defined(unit, parent, at=at)
        case _:
            one, other = draw(st.lists(st.sampled_from(PEOPLE), min_size=2, max_size=2, unique=True))
            return tied(one, other, draw(st.sampled_from(["sponsor", "mentor", "worked_with"])), at=at)


def run(changes: Sequence[PersonChange], org: OrgTree | None = None) -> tuple[PersonState, list[Statement]]:
    person: PersonState | None = None
    said: list[Statement] = []
    for change in changes:
        # through its encoding, as each record finds it
        person, statements = decide(person and read_person(write_state(person)), org or OrgTree(), change)
        said.extend(statements)
    assert person is not None
    return person, said


def as_read(said: Sequence[Statement]) -> list[Any]:
    """Return the profile in force at each moment, as the log has it."""
    stated = profiles(said)
    return [next((one.profile for at, one in reversed(stated.items()) if at <= t), None) for t in MOMENTS]


@thorough
@given(patches(), st.randoms(use_true_random=False))
def test_patches_in_any_order_give_the_same_profile_at_each_moment(changes: list[PersonChange], rng: Any) -> None:
    shuffled = rng.sample(changes, len(changes))
    assert as_read(run(changes)[1]) == as_read(run(shuffled)[1])


@thorough
@given(patches(), st.randoms(use_true_random=False))
def test_patches_in_any_order_and_twice_leave_the_same_fields_known(changes: list[PersonChange], rng: Any) -> None:
    twice = [*changes, *rng.sample(changes, len(changes))]
    one, other = run(changes)[0], run(rng.sample(twice, len(twice)))[0]
    assert (one.patches, one.refs, one.seen_to) == (other.patches, other.refs, other.seen_to)


@thorough
@given(patches(), st.data())
def test_a_patch_that_comes_again_changes_nothing(changes: list[PersonChange], data: st.DataObject) -> None:
    person, _ = run(changes)
    again = data.draw(st.sampled_from(changes))
    assert decide(person, OrgTree(), again) == (person, ())


@thorough
@given(patches(), st.lists(st.tuples(st.sampled_from(UNITS), st.sampled_from(UNITS)), max_size=5), st.data())
def test_the_log_says_what_all_patches_at_once_would(
    changes: list[PersonChange], edges: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Units become known in between; what is said at the end is what the whole tree and all patches say."""
    org = OrgTree()
    person, said = run(changes, org)
    for number, (unit, parent) in enumerate(edges):
        change = a_unit(unit, parent, at=number)
        if org.learn(change):
            person, statements = decide(person, org, change)
            said.extend(statements)
    assert as_read(said) == as_read(run(changes, org)[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_beyond_what_is_kept_the_order_still_does_not_matter(beyond: int, rng: Any) -> None:
    def one(number: int) -> EmployeePatched:
        fields = {"name": "Ann", "unit_id": "u0", "level": 1, "level_since": date(2020, 1, 1)} if number == 0 else {}
        fields |= {name: f"{name} {number}" for name in ("location", "name") if rng.random() < 0.3}
        if rng.random() < 0.3:
            fields |= {"level": rng.randint(1, 9), "level_since": date(2020, 1, 1 + number % 28)}
        return a_patch(at=number, **fields).model_copy(update={"id": EventId(str(number))})

    changes = [one(number) for number in range(history.KEPT + beyond)]
    in_order, shuffled = run(changes), run(rng.sample(changes, len(changes)))
    assert (in_order[0].patches, in_order[0].base, in_order[0].horizon) == (
        shuffled[0].patches,
        shuffled[0].base,
        shuffled[0].horizon,
    )
    assert len(in_order[0].patches) == history.KEPT
    horizon = in_order[0].horizon
    assert horizon is not None
    moments = [day(number) for number in range(history.KEPT + beyond) if day(number) >= horizon]
    by_order = [
        [next(one.profile for at, one in reversed(profiles(said).items()) if at <= t) for t in moments]
        for said in (in_order[1], shuffled[1])
    ]
    assert by_order[0] == by_order[1]


@given(st.lists(st.tuples(st.sampled_from(UNITS), st.none() | st.sampled_from(UNITS), days), max_size=8), st.data())
def test_units_in_any_order_give_the_same_paths(stated: list[tuple[str, str | None, int]], data: st.DataObject) -> None:
    units = [
        UnitStated(**(a_unit(unit, parent, at=at).model_dump() | {"id": f"{number}"}))
        for number, (unit, parent, at) in enumerate(stated)
    ]
    one, other = OrgTree(), OrgTree()
    for unit in units:
        one.learn(unit)
    for unit in data.draw(st.permutations(units)):
        before = {name: other.path(UnitId(name)) for name in UNITS}
        altered = other.learn(unit) or frozenset()
        assert {name for name in UNITS if other.path(UnitId(name)) != before[name]} <= altered
    assert [one.path(UnitId(unit)) for unit in UNITS] == [other.path(UnitId(unit)) for unit in UNITS]


def all_of(world: World) -> dict[str, object]:
    return stands(world.identities, world.log, MOMENTS)


@thorough
@given(events(), st.data(), st.randoms(use_true_random=False))
def test_a_company_stands_the_same_however_its_feed_arrives(
    feed: list[FeedEvent], data: st.DataObject, rng: Any
) -> None:
    """In any order, some twice, with partitions that run ahead of one another."""
    shuffled = data.draw(st.permutations([*feed, *data.draw(st.lists(st.sampled_from(feed), max_size=3))]))
    assert all_of(World(feeds=PEOPLE_AND_TIME).feed(*feed)) == all_of(World(rng, PEOPLE_AND_TIME).feed(*shuffled))


@thorough
@given(events(), st.randoms(use_true_random=False))
def test_changes_handled_again_after_a_crash_say_nothing(feed: list[FeedEvent], rng: Any) -> None:
    assert World(rng, PEOPLE_AND_TIME).feed(*feed).again() == []


@thorough
@given(events(), st.randoms(use_true_random=False))
def test_an_id_is_never_given_to_two_statements(feed: list[FeedEvent], rng: Any) -> None:
    world = World(rng, PEOPLE_AND_TIME).feed(*feed)
    by_id = {event.id: write_contract(event) for event in world.log}
    assert len(by_id) == len(world.log)


@thorough
@given(events(), st.randoms(use_true_random=False))
def test_nothing_of_a_person_is_said_before_their_profile(feed: list[FeedEvent], rng: Any) -> None:
    known: set[str | None] = set()
    for event in World(rng, PEOPLE_AND_TIME).feed(*feed).log:
        if event.type.startswith("employee."):
            known.add(event.employee_id)
        elif event.type.startswith("relationship."):
            assert event.employee_id in known


@thorough
@given(events(), st.randoms(use_true_random=False))
def test_nobody_is_told_of_what_they_have_been_told(feed: list[FeedEvent], rng: Any) -> None:
    """Of one log no two snapshots of a person in a row are the same."""
    last: dict[tuple[str | None, str], Any] = {}
    world = World(rng, PEOPLE_AND_TIME).feed(*feed)
    assume(world.log)
    for event in world.log:
        if event.type == "tied_person.changed":
            key = (event.employee_id, event.person.person_id)
            assert last.get(key) != event.person
            last[key] = event.person
