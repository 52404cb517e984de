"""Whom a gap suggests as a sponsor, why, and whom never."""

from __future__ import annotations

from datetime import date

import pytest

from services.correlator.policy import Policy
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent
from tests.career import (
    IN_CYCLE,
    Log,
    a_cycle,
    a_hiding,
    a_refusal,
    a_relationship,
    a_relationship_ended,
    a_retraction,
    a_snooze,
    a_tick,
    a_tied_person,
    an_achievement,
    an_employee_joined,
    an_employee_moved,
    an_employee_promoted,
    an_introduction,
    kinds,
)


def a_gap(*more: CareerEvent, policy: Policy | None = None) -> Log:
    """An employee of level 5 without a sponsor, in an open cycle, with one achievement that W1 saw."""
    return Log(
        an_employee_joined(at=utc(2025, 1, 1), revision=0),
        an_achievement(at=utc(2025, 1, 1), witnesses=("hris:W1",)),
        a_cycle(at=utc(2025, 1, 1)),
        *more,
        a_tick(),
        policy=policy,
    )


def a_mentor(person_id: str, **person: object) -> list[CareerEvent]:
    return [a_relationship(kind="mentor", other_id=person_id), a_tied_person(person_id, **person)]


def a_team_mate(person_id: str, **person: object) -> list[CareerEvent]:
    return [a_relationship(kind="worked_with", other_id=person_id), a_tied_person(person_id, **person)]


def names(log: Log) -> list[str]:
    return [str(suggested.person_id) for suggested in log.suggested()]


def test_a_mentor_with_influence_is_suggested() -> None:
    (suggested,) = a_gap(*a_mentor("T1", name="Tova Lind", level=7)).suggested()
    assert (suggested.person_id, suggested.name, suggested.level) == ("T1", "Tova Lind", 7)
    assert suggested.why == "Tova Lind is their mentor, and senior enough to speak for them."


def test_a_team_mate_who_saw_an_achievement_is_suggested() -> None:
    (suggested,) = a_gap(*a_team_mate("W1", name="Wim Bos")).suggested()
    assert suggested.why == "Wim Bos has worked with them, and saw “Checkout in half the time”."


def test_a_former_team_mate_is_suggested_as_well() -> None:
    assert names(a_gap(*a_team_mate("W1"), a_relationship_ended(kind="worked_with", other_id="W1"))) == ["W1"]


def test_somebody_whom_a_mentor_could_introduce_is_suggested() -> None:
    log = a_gap(*a_mentor("T1", level=5, name="Tova Lind", introductions=(an_introduction("X1", level=9),)))
    (suggested,) = log.suggested()
    assert (suggested.person_id, suggested.name, suggested.level) == ("X1", "Person X1", 9)
    assert suggested.why == "Their mentor Tova Lind knows Person X1 and could introduce them."


def test_mentors_go_first_then_team_mates_then_introductions() -> None:
    log = a_gap(*a_team_mate("W1"), *a_mentor("T1", introductions=(an_introduction("A1"),)))
    assert names(log) == ["T1", "W1", "A1"]


def test_at_most_three_are_suggested() -> None:
    log = a_gap(*a_team_mate("W1"), *(event for n in range(5) for event in a_mentor(f"T{n}")))
    assert names(log) == ["T0", "T1", "T2"]


def test_the_order_in_which_mentors_came_does_not_matter() -> None:
    mentors = [a_mentor(f"T{n}", introductions=(an_introduction(f"X{n}"),)) for n in range(2)]
    one_way = a_gap(*mentors[0], *mentors[1])
    assert one_way.suggested() == a_gap(*mentors[1], *mentors[0]).suggested()
    assert names(one_way) == ["T0", "T1", "X0"]


def test_how_many_are_suggested_is_the_companys_to_say() -> None:
    mentors = [event for n in range(5) for event in a_mentor(f"T{n}")]
    assert names(a_gap(*mentors, policy=Policy(suggestions=4))) == ["T0", "T1", "T2", "T3"]


def test_a_company_that_wants_no_suggestions_gets_none() -> None:
    assert names(a_gap(*a_mentor("T1"), policy=Policy(suggestions=0))) == []


def test_whoever_was_too_junior_by_what_one_mentor_says_of_them_is_suggested_by_anothers_word() -> None:
    stale, newer = an_introduction("X1", level=6), an_introduction("X1", level=8)
    log = a_gap(*a_mentor("T1", introductions=(stale,)), *a_mentor("T2", introductions=(newer,)))
    assert names(log) == ["T1", "T2", "X1"]


def test_nobody_is_suggested_twice() -> None:
    log = a_gap(
        *a_mentor("W1", introductions=(an_introduction("X1"), an_introduction("W1"))),
        a_relationship(kind="worked_with", other_id="W1"),
    )
    assert names(log) == ["W1", "X1"]


@pytest.mark.parametrize(("level", "suggested"), [(7, True), (6, False), (5, False)])
def test_whoever_is_not_two_levels_above_is_not_suggested(level: int, suggested: bool) -> None:
    assert names(a_gap(*a_mentor("T1", level=level))) == (["T1"] if suggested else [])
    assert names(a_gap(*a_team_mate("W1", level=level))) == (["W1"] if suggested else [])
    log = a_gap(*a_mentor("T1", level=5, introductions=(an_introduction("X1", level=level),)))
    assert names(log) == (["X1"] if suggested else [])


def test_how_senior_one_must_be_is_the_companys_to_say() -> None:
    assert names(a_gap(*a_mentor("T1", level=6), policy=Policy(levels_above=1))) == ["T1"]


def test_the_manager_is_never_suggested() -> None:
    log = a_gap(
        *a_mentor("M1", introductions=(an_introduction("M1"),)),
        a_relationship(kind="worked_with", other_id="M1"),
        an_achievement("A2", witnesses=("hris:M1",)),
        *a_mentor("T1", level=5, introductions=(an_introduction("M1"),)),
    )
    assert log.suggested() == []


def test_a_former_manager_may_be_suggested() -> None:
    log = a_gap(*a_mentor("M1"), an_employee_moved(manager_id="M2", effective_at=utc(2026, 3, 1)))
    assert names(log) == ["M1"]


def test_the_employee_is_not_suggested_to_themselves() -> None:
    log = a_gap(*a_mentor("T1", level=5, introductions=(an_introduction("E1"),)))
    assert log.suggested() == []


def test_whoever_declined_in_this_cycle_is_not_suggested() -> None:
    assert names(a_gap(*a_mentor("T1"), a_refusal(sponsor_id="T1"))) == []
    assert names(a_gap(*a_team_mate("W1"), a_refusal(sponsor_id="W1"))) == []


def test_whoever_declined_in_another_cycle_may_be_suggested() -> None:
    assert names(a_gap(*a_mentor("T1"), a_refusal(sponsor_id="T1", cycle_id="autumn"))) == ["T1"]


def test_whoever_snoozed_may_be_suggested() -> None:
    assert names(a_gap(*a_mentor("T1"), a_snooze(sponsor_id="T1"))) == ["T1"]


def test_a_sponsor_who_declined_is_not_suggested_as_a_mentor_or_witness() -> None:
    log = a_gap(
        a_relationship(other_id="W1"), *a_mentor("W1"), *a_team_mate("W1"), a_refusal(sponsor_id="W1"), *a_mentor("T1")
    )
    assert names(log) == ["T1"]


def test_whoever_has_left_is_not_suggested() -> None:
    assert names(a_gap(*a_mentor("T1", left_at=IN_CYCLE))) == []
    assert names(a_gap(*a_team_mate("W1", left_at=IN_CYCLE))) == []


def test_whoever_leaves_later_is_suggested_until_then() -> None:
    last = utc(2026, 3, 20)
    log = a_gap(*a_mentor("T1", left_at=last))
    assert names(log) == ["T1"]
    assert kinds(log.feed(a_tick(last))) == ["gap.updated"]
    assert names(log) == []


def test_a_mentor_who_has_left_introduces_nobody() -> None:
    assert names(a_gap(*a_mentor("T1", left_at=IN_CYCLE, introductions=(an_introduction("X1"),)))) == []


def test_somebody_known_to_have_left_is_not_introduced() -> None:
    log = a_gap(
        *a_mentor("T1", level=5, introductions=(an_introduction("X1"), an_introduction("X2"))),
        a_relationship(other_id="X1"),
        a_tied_person("X1", left_at=IN_CYCLE),
    )
    assert names(log) == ["X2"]


def test_a_mentor_of_the_past_is_not_suggested_nor_introduces_anybody() -> None:
    mentor = a_mentor("T1", introductions=(an_introduction("X1"),))
    assert names(a_gap(*mentor, a_relationship_ended(kind="mentor", other_id="T1"))) == []


def test_a_mentor_of_the_future_is_suggested_from_then_on() -> None:
    start = utc(2026, 3, 20)
    log = a_gap(a_relationship(kind="mentor", other_id="T1", started_at=start), a_tied_person("T1"))
    assert names(log) == []
    assert kinds(log.feed(a_tick(start))) == ["gap.updated"]


def test_a_mentor_not_described_yet_is_not_suggested() -> None:
    assert names(a_gap(a_relationship(kind="mentor", other_id="T1"))) == []


def test_a_team_mate_who_saw_nothing_is_not_suggested() -> None:
    assert names(a_gap(*a_team_mate("W2"))) == []


def test_a_team_mate_of_whom_only_the_end_is_known_is_not_suggested() -> None:
    log = a_gap(a_relationship_ended(kind="worked_with", other_id="W1"), a_tied_person("W1"))
    assert names(log) == []


def test_a_sponsor_of_the_past_who_saw_something_is_no_team_mate() -> None:
    log = a_gap(a_relationship(other_id="W1"), a_relationship_ended(other_id="W1"), a_tied_person("W1"))
    assert names(log) == []


def test_a_witness_who_never_worked_with_them_is_not_suggested() -> None:
    assert names(a_gap(a_tied_person("W1"))) == []


@pytest.mark.parametrize(
    ("day", "counts"),
    [(date(2025, 2, 28), False), (date(2025, 3, 1), True), (date(2026, 2, 28), True), (date(2026, 3, 1), False)],
)
def test_what_a_witness_saw_must_lie_in_the_window(day: date, counts: bool) -> None:
    log = a_gap(*a_team_mate("W1"), an_achievement(witnesses=("hris:W1",), occurred_on=day))
    assert names(log) == (["W1"] if counts else [])


def test_what_a_witness_saw_must_not_be_taken_back() -> None:
    assert names(a_gap(*a_team_mate("W1"), a_retraction())) == []


def test_a_witness_of_what_its_owner_hides_is_suggested_and_it_is_not_named() -> None:
    (suggested,) = a_gap(*a_team_mate("W1"), a_hiding()).suggested()
    assert suggested.why == "Person W1 has worked with them, and saw what they did."
    (suggested,) = a_gap(
        *a_team_mate("W1"), a_hiding(), an_achievement("A2", impact=0, title="Quiet work", witnesses=("hris:W1",))
    ).suggested()
    assert suggested.why == "Person W1 has worked with them, and saw “Quiet work”."


def test_a_witness_is_recognised_by_any_of_their_names() -> None:
    log = a_gap(
        *a_team_mate("W2", refs=("hris:W2", "github:wim")), an_achievement("A2", witnesses=("hris:E9", "github:wim"))
    )
    assert names(log) == ["W2"]


def test_the_witness_who_saw_most_goes_first() -> None:
    log = a_gap(
        *a_team_mate("W1"), *a_team_mate("W2"), *(an_achievement(f"B{n}", witnesses=("hris:W2",)) for n in range(2))
    )
    assert names(log) == ["W2", "W1"]


def test_of_what_a_witness_saw_the_greatest_is_named_then_the_newest() -> None:
    log = a_gap(
        *a_team_mate("W1"),
        an_achievement("B1", title="Great and old", impact=3, occurred_on=date(2025, 5, 1), witnesses=("hris:W1",)),
        an_achievement("B2", title="Great and new", impact=3, occurred_on=date(2025, 9, 1), witnesses=("hris:W1",)),
        an_achievement("B3", title="Small", impact=0, occurred_on=date(2026, 2, 1), witnesses=("hris:W1",)),
    )
    assert "“Great and new”" in log.suggested()[0].why


def test_a_new_suggestion_updates_the_gap() -> None:
    log = a_gap()
    assert kinds(log.outputs) == ["gap.opened"]
    assert kinds(log.feed(*a_mentor("T1"))) == ["gap.updated"]
    gap = log.gap()
    assert gap is not None
    assert gap.version == 2


def test_a_fourth_who_could_be_suggested_says_nothing() -> None:
    log = a_gap(*(event for n in range(3) for event in a_mentor(f"T{n}")))
    assert log.feed(*a_mentor("T9")) == []


def test_a_promotion_makes_a_mentor_too_junior() -> None:
    log = a_gap(a_cycle(levels=()), *a_mentor("T1", level=7), an_employee_promoted(level=6))
    assert names(log) == []
