"""Whose name it is, who turned out to be whom, and what was said of them: the same in the end, in every order."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.people import claims
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.identities import Held, holder
from shared.contracts.ids import EmployeeId, EventId, Ref
from tests.unit.test_people import changed, day, defined, hired, tied
from tests.world import World

STAFF = [EmployeeId(f"E-p{number}") for number in range(4)]
SPONSOR = EmployeeId("E-sponsor")
ADDRESSES = ["x@example.com", "y@example.com"]
MOMENTS = [day(number) for number in range(-1, 14)]
days = st.integers(0, 12)
thorough = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def said(kind: str, data: dict[str, Any], *, at: int) -> FeedEvent:
    """Return an event; `told` gives it an id of its own."""
    return FeedEvent(id="", source="urn:test", type=kind, subject="", time=day(at), data=data)


def a_cycle() -> FeedEvent:
    data = {"cycle_id": "spring", "kind": "promotion", "title": "Spring", "opens_at": day(13), "closes_at": day(60)}
    return said("cycle.opened", data | {"evidence_from": "2025-01-01", "evidence_to": "2026-03-31"}, at=0)


names = st.sampled_from([*ADDRESSES, *STAFF])


@st.composite
def stories(draw: st.DrawFn) -> list[FeedEvent]:
    """Some people with few addresses between them, what is said of those, and perhaps merges; no two ids the same."""
    # A thing is named in one way by its source, and stated more than once.
    about = draw(st.lists(names, min_size=1, max_size=3))
    drawn = [
        said(
            draw(st.sampled_from(["achievement.recorded", "achievement.corrected"])),
            {
                "achievement_id": f"A{thing}",
                "employee": ref,
                "title": f"Done by {at}",
                "occurred_on": date(2026, 1, at + 1),
            },
            at=at,
        )
        for thing, ref in enumerate(about)
        for at in draw(st.lists(days, min_size=1, max_size=3))
    ]
    for number, ref in enumerate(draw(st.lists(names, max_size=3))):
        drawn.append(tied(ref, draw(st.sampled_from([SPONSOR, *ADDRESSES])), "sponsor", at=draw(days)))
        drawn[-1].data["relationship_id"] = f"R{number}"
    for number, ref in enumerate(draw(st.lists(names, max_size=2))):
        word = {"endorsement_id": f"N{number}", "sponsor": SPONSOR, "employee": ref, "cycle_id": "spring"}
        drawn.append(said("endorsement.given", word, at=draw(days)))
    for who, into in draw(st.lists(st.tuples(st.sampled_from(STAFF), st.sampled_from([*STAFF, ""])), max_size=2)):
        if who != into:
            drawn.append(said("employee.merged", {"employee_id": who, "into_id": into}, at=draw(days)))
    drawn += [hired(who, at=0, effective_at=day(draw(days)).isoformat(), email=f"{who}@example.com") for who in STAFF]
    for who in draw(st.lists(st.sampled_from(STAFF), max_size=4)):
        effective_at = day(draw(days)).isoformat()
        drawn.append(changed(who, at=draw(days), effective_at=effective_at, email=draw(st.sampled_from(ADDRESSES))))
    drawn += [hired(SPONSOR, level=9), defined("team", "dept"), a_cycle()]
    drawn.append(said("clock.ticked", {"now": day(14)}, at=14))
    return [
        FeedEvent(id=str(number), source="urn:test", type=one.type, subject="", time=one.time, data=one.data)
        for number, one in enumerate(drawn)
    ]


@thorough
@given(stories(), st.data(), st.randoms(use_true_random=False))
def test_the_same_names_people_and_prompts_stand_however_a_story_arrives(
    story: list[FeedEvent], data: st.DataObject, rng: random.Random
) -> None:
    """In any order, some twice, with consumers that run ahead of one another and directories that lag."""
    shuffled = data.draw(st.permutations([*story, *data.draw(st.lists(st.sampled_from(story), max_size=3))]))
    one, other = World().feed(*story), World(rng).feed(*shuffled)
    assert other.whom(MOMENTS) == one.whom(MOMENTS)
    assert other.standing() == one.standing()
    assert facts(other) == facts(one)


def facts(world: World) -> dict[str, Any]:
    """Return what is known of everybody, without the ids that tell how often something moved."""

    def first(stamp: Any) -> Any:
        return stamp and (stamp[0], stamp[1].partition("~")[0])

    return {
        who: (
            {key: (first(fact.stamp), fact.title, fact.retracted) for key, fact in employee.achievements.items()},
            {
                key: (said.sponsor_id, first(said.given and said.given[0]))
                for key, said in employee.endorsements.items()
            },
            {key: (tie.kind, tie.other_id, tie.started and tie.started[0]) for key, tie in employee.ties.items()},
        )
        for who, employee in world.employees.items()
        if employee.achievements or employee.endorsements or employee.ties
    }


# -- the rule by itself ---------------------------------------------------------------------------

statements = st.lists(
    st.tuples(days, days, st.sets(st.sampled_from([Ref("email:x"), Ref("email:y"), Ref("github:z")]), min_size=1)),
    min_size=1,
    max_size=8,
)


@given(statements, st.randoms(use_true_random=False))
def test_statements_of_names_in_any_order_give_the_same_claims(
    drawn: list[tuple[int, int, set[Ref]]], rng: random.Random
) -> None:
    numbered = list(enumerate(drawn))
    found = []
    for order in (numbered, rng.sample(numbered * 2, len(numbered) * 2)):
        kinds: claims.Kinds = {}
        for number, (effective, at, refs) in order:
            kinds = claims.with_names(kinds, sorted(refs), day(effective), day(at), EventId(str(number)))
        found.append((claims.held(kinds), claims.newest_first(kinds, ())))
    assert found[0] == found[1]
    assert set(found[0][0]) == set().union(*(refs for _, _, refs in drawn)), "a name once said stays a claim"


@st.composite
def claimed(draw: st.DrawFn) -> list[tuple[EmployeeId, tuple[Held, ...]]]:
    found = []
    for who in draw(st.lists(st.sampled_from(STAFF), min_size=1, max_size=4, unique=True)):
        times = draw(st.lists(st.tuples(days, days, st.none() | st.integers(0, 4)), min_size=1, max_size=3))
        held = tuple(
            Held(since=day(since), said_at=day(at), until=None if lasts is None else day(since) + timedelta(lasts))
            for since, at, lasts in sorted(times, key=str)
        )
        found.append((who, held))
    return found


@given(claimed(), st.randoms(use_true_random=False), st.sampled_from(MOMENTS))
def test_a_name_that_is_claimed_always_means_one_of_those_who_claim_it(
    them: list[tuple[EmployeeId, tuple[Held, ...]]], rng: random.Random, at: Any
) -> None:
    meant = holder(them, at)
    assert meant in dict(them)
    assert holder(rng.sample(them, len(them)), at) == meant
    have_it_then = {who for who, held in them for h in held if h.since <= at and (h.until is None or at < h.until)}
    assert not have_it_then or meant in have_it_then
