"""Whom a name means: handed on, replaced, merged; and what becomes of an event that was taken to be about another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.contracts.career import AchievementRecorded, StatementDisowned
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.identities import EmployeeMergedInto, Held, RefClaimed, holder, read_identity
from shared.contracts.ids import EmployeeId, EventId, Ref, feed_event_id
from shared.streaming.attribution import Attribution, Attributions, read_attribution, write_attribution
from shared.streaming.names import Names
from shared.streaming.records import Record
from shared.streaming.topics import feed_topic
from tests.states import a_state
from tests.unit.test_people import ANN, BEA, CID, a_claim, changed, day, hired, snapshots, tied
from tests.world import World

X = "email:x@example.com"


@pytest.mark.parametrize(
    ("claims", "at", "means"),
    [
        ([a_claim(X, (3, None))], 1, ANN),  # before anybody had it
        ([a_claim(X, (3, None)), a_claim(X, (5, None), of=BEA)], 1, ANN),
        ([a_claim(X, (3, None)), a_claim(X, (5, None), of=BEA)], 4, ANN),  # handed on, after Ann had left, say
        ([a_claim(X, (3, None)), a_claim(X, (5, None), of=BEA)], 5, BEA),
        ([a_claim(X, (3, None)), a_claim(X, (5, 7), of=BEA)], 7, ANN),  # Bea's was a mistake, or for a while
        ([a_claim(X, (1, 4)), a_claim(X, (2, 6), of=BEA)], 9, BEA),  # nobody has it any more
        ([a_claim(X, (1, 8)), a_claim(X, (2, 6), of=BEA)], 9, ANN),
        ([a_claim(X, (1, 1)), a_claim(X, (0, None), of=BEA)], 5, BEA),  # corrected as of when it was said
        ([a_claim(X, (0, 2), (6, None)), a_claim(X, (3, None), of=BEA)], 4, BEA),
        ([a_claim(X, (0, 2), (6, None)), a_claim(X, (3, None), of=BEA)], 7, ANN),  # and back again
        ([a_claim(X, (3, None)), a_claim(X, (3, None), of=BEA)], 4, BEA),  # nothing tells them apart but their ids
    ],
)
def test_a_name_means_who_had_it_when_it_was_said(claims: list[RefClaimed], at: int, means: str) -> None:
    times = [(claim.employee_id, claim.held) for claim in claims]
    assert holder(times, day(at)) == means
    assert holder(reversed(times), day(at)) == means


def test_a_name_that_nobody_claims_means_nobody() -> None:
    assert holder([], day(0)) is None


def merged(who: EmployeeId, into: EmployeeId | None, revision: int = 1) -> EmployeeMergedInto:
    return EmployeeMergedInto(employee_id=who, into_id=into, revision=revision)


def test_whoever_was_merged_is_followed_to_the_end_and_a_circle_has_one() -> None:
    names = Names()
    names.learn(a_claim("hris:E-ann", (0, None)))
    for said in (merged(ANN, BEA), merged(BEA, CID)):
        names.learn(said)
    assert names.find(Ref("hris:E-ann"), day(0)) == CID
    names.learn(merged(CID, BEA))
    assert names.now_known_as(ANN) == names.now_known_as(BEA) == names.now_known_as(CID) == BEA
    names.learn(merged(BEA, None, revision=2))
    names.learn(merged(BEA, CID))  # an older one, read again
    assert names.now_known_as(ANN) == BEA


def test_a_record_from_before_there_were_claims_is_one_since_ever() -> None:
    names = Names()
    legacy = read_identity(b"email:x@example.com", b"E-ann")
    names.learn(legacy)
    assert names.find(Ref(X), day(-9999)) == ANN
    names.learn(a_claim(X, (3, None), of=BEA))
    assert (names.find(Ref(X), day(2)), names.find(Ref(X), day(3))) == (ANN, BEA)
    names.learn(a_claim(X, (0, 1), revision=4))
    names.learn(legacy)
    assert names.find(Ref(X), day(-9999)) == ANN
    assert isinstance(legacy, RefClaimed)
    assert legacy.held == (Held(since=legacy.held[0].since, said_at=legacy.held[0].since),)


# -- through the services -------------------------------------------------------------------------


def an_event(kind: str, data: dict[str, Any], *, at: int, event_id: str) -> FeedEvent:
    return FeedEvent(id=event_id, source="urn:tool", type=kind, subject="", time=day(at), data=data)


def done(employee: str, *, at: int, of: str = "A1") -> FeedEvent:
    data = {"achievement_id": of, "employee": employee, "title": f"As of {at}", "occurred_on": "2026-01-05"}
    return FeedEvent(
        id=f"{of}-{at}", source="urn:tool", type="achievement.recorded", subject="", time=day(at), data=data
    )


def a_merge(who: str, into: str, *, at: int) -> FeedEvent:
    data = {"employee_id": who, "into_id": into}
    return FeedEvent(
        id=f"{who}-{into}-{at}", source="urn:hris", type="employee.merged", subject="", time=day(at), data=data
    )


def titles(world: World, who: EmployeeId) -> set[str]:
    return {fact.title for fact in world.employees[who].achievements.values() if not fact.retracted}


def test_what_was_said_of_an_address_after_it_was_handed_on_goes_to_the_new_owner() -> None:
    world = World().feed(hired(ANN, email="x@example.com"), hired(BEA))
    world.feed(done("x@example.com", at=4, of="A1"), done("x@example.com", at=6, of="A2"))
    assert titles(world, ANN) == {"As of 4", "As of 6"}
    world.feed(changed(BEA, at=9, effective_at=day(5).isoformat(), email="x@example.com"))
    assert (titles(world, ANN), titles(world, BEA)) == ({"As of 4"}, {"As of 6"})
    (disowned,) = [event for event in world.log if isinstance(event, StatementDisowned)]
    assert (disowned.employee_id, disowned.statement_id) == (ANN, feed_event_id("urn:tool", "A2-6"))


def test_a_statement_of_one_thing_by_two_owners_is_each_ones_own() -> None:
    """The correlator keeps the newest statement alone, so the older one has to be said again once that is disowned."""
    world = World().feed(hired(ANN, email="x@example.com"), hired(BEA))
    world.feed(done("x@example.com", at=4), done("x@example.com", at=6))
    assert titles(world, ANN) == {"As of 6"}
    world.feed(changed(BEA, at=9, effective_at=day(5).isoformat(), email="x@example.com"))
    assert (titles(world, ANN), titles(world, BEA)) == ({"As of 4"}, {"As of 6"})


def test_evidence_ties_and_names_of_a_merged_id_follow_and_nobody_works_under_it() -> None:
    world = World().feed(hired(ANN, email="x@example.com"), hired(BEA), hired(CID, level=9), tied(ANN, CID, "sponsor"))
    world.feed(done(ANN, at=1), tied(CID, ANN, "worked_with"))
    world.feed(a_merge(ANN, BEA, at=5))
    old, new = world.employees[ANN], world.employees[BEA]
    assert (old.achievements, old.ties) == ({}, {})
    assert titles(world, BEA) == {"As of 1"}
    assert {(tie.kind, tie.other_id) for tie in new.ties.values()} == {("sponsor", CID), ("worked_with", CID)}
    assert {tie.other_id for tie in world.employees[CID].ties.values()} == {BEA}
    assert not old.profiles[-1].active
    assert new.profiles[-1].active
    newest = max((s for s in snapshots(world.log) if s.person.person_id == BEA), key=lambda s: s.revision)
    assert newest.person.refs == ("hris:E-bea", X, "hris:E-ann")
    world.feed(done("x@example.com", at=8, of="A2"))
    assert titles(world, BEA) == {"As of 1", "As of 8"}


def test_a_merge_that_is_taken_back_gives_everything_back() -> None:
    world = World().feed(hired(ANN), hired(BEA), done(ANN, at=1), a_merge(ANN, BEA, at=5), a_merge(ANN, "", at=6))
    assert (titles(world, ANN), titles(world, BEA)) == ({"As of 1"}, set())
    assert world.employees[ANN].profiles[-1].active


def test_an_endorsement_by_whom_turns_out_to_be_the_employee_is_a_dead_letter_and_counts_no_more() -> None:
    word = {"endorsement_id": "N1", "sponsor": str(BEA), "employee": str(ANN)}
    said = an_event("endorsement.given", word, at=1, event_id="N1")
    for order in ([hired(ANN), hired(BEA), said, a_merge(ANN, BEA, at=5)], [a_merge(ANN, BEA, at=5), hired(BEA), said]):
        world = World().feed(*order, hired(ANN), hired(BEA))
        assert all(not employee.endorsements for employee in world.employees.values())
        assert any(dict(letter.headers)["dead-reason"].startswith(b"sponsor: is the employee") for letter in world.dead)
        world.feed(a_merge(ANN, "", at=6))
        assert [one.sponsor_id for one in world.employees[ANN].endorsements.values()] == [BEA]


def test_a_tie_is_not_brought_back_by_its_repetition() -> None:
    start = tied(ANN, CID, "sponsor")
    world = World().feed(hired(ANN), hired(BEA), hired(CID), start, a_merge(ANN, BEA, at=5))
    world.changes_again()
    assert world.employees[ANN].ties == {}


# -- what is remembered of an event ---------------------------------------------------------------


def test_an_event_is_found_by_its_home_and_by_a_link() -> None:
    kept = Attributions(a_state())
    meant = ((Ref(X), ANN), (Ref("hris:E-cid"), CID))
    entry = Attribution(EventId("1"), day(1), 2, 17, meant)
    kept.keep(0, entry)
    kept.link(1, Ref("hris:E-cid"), entry)
    longer = Attribution(EventId("2"), day(1), 2, 18, ((Ref(f"{X}.org"), ANN),))
    kept.keep(0, longer)
    assert kept.by(0, Ref(X)) == [entry]
    assert list(kept.linked(1, Ref("hris:E-cid"))) == [entry]
    assert list(kept.all(0)) == [entry, longer]
    assert read_attribution(write_attribution(entry)) == entry


def test_what_was_decided_before_a_crash_is_said_as_it_was_decided() -> None:
    """The move to Bea was kept, and not said; by now it is known that it is Cid's. Bea is told, and then untold."""
    world = World().feed(hired(ANN, email="x@example.com"), hired(BEA), hired(CID), done("x@example.com", at=6))
    state = world.intakes["achievements"]._parked
    ((partition, entry),) = [(p, e) for p in range(4) for e in Attributions(state).all(p)]
    decided = msgspec.structs.replace(entry, meant=((Ref(X), BEA),), before=entry.meant, number=1)
    Attributions(state).keep(partition, decided)
    world.feed(changed(CID, at=9, effective_at=day(5).isoformat(), email="x@example.com"))
    said: dict[EmployeeId | None, list[Any]] = {ANN: [], BEA: [], CID: []}
    for event in world.log:
        if isinstance(event, AchievementRecorded | StatementDisowned):
            said[event.employee_id].append((event.type, getattr(event, "statement_id", event.id)))
    first = feed_event_id("urn:tool", "A1-6")
    assert said == {
        ANN: [("achievement.recorded", first), ("statement.disowned", first)],
        BEA: [
            ("achievement.recorded", f"{first}~0001"),
            ("statement.disowned", first),
            ("statement.disowned", f"{first}~0001"),
        ],
        CID: [("achievement.recorded", f"{first}~0002")],
    }
    assert (titles(world, BEA), titles(world, CID)) == (set(), {"As of 6"})


def test_an_event_that_is_not_in_its_feed_any_more_stays_where_it_is() -> None:
    world = World().feed(hired(ANN, email="x@example.com"), hired(BEA), done("x@example.com", at=6))
    world.forget(feed_topic("achievements"))
    world.feed(changed(BEA, at=9, effective_at=day(5).isoformat(), email="x@example.com"))
    assert titles(world, ANN) == {"As of 6"}


def test_a_record_of_identities_that_cant_be_read_holds_up_nobody() -> None:
    world = World().feed(hired(ANN))
    run = [Record("identities", 0, 9, b"x", b'{"type": "rumour"}', (), day(0))]
    assert list(world.release("achievements", run)) == []
