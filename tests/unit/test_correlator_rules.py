"""What the correlator says, and when: each rule of issue 2, item 4, on one employee's log."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.correlator.facts import BOUNDS, FORGET_CYCLES_AFTER
from services.correlator.policy import Policy
from services.correlator.rules import Output
from services.correlator.standing import months_later
from services.correlator.state import encode_employee
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent
from shared.contracts.said import (
    GapClosed,
    GapOpened,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
)
from tests.career import (
    CLOSES,
    IN_CYCLE,
    OPENS,
    Log,
    a_cancellation,
    a_closing,
    a_company,
    a_correction,
    a_cycle,
    a_hiding,
    a_refusal,
    a_refusal_taken_back,
    a_relationship,
    a_relationship_ended,
    a_retraction,
    a_showing,
    a_snooze,
    a_tick,
    a_tied_person,
    an_achievement,
    an_amendment,
    an_employee_changed,
    an_employee_joined,
    an_employee_left,
    an_employee_moved,
    an_employee_promoted,
    an_endorsement,
    an_endorsement_withdrawn,
    days_after,
    kinds,
)

SECOND = timedelta(seconds=1)
LONG_AGO, LATER = utc(2024, 6, 1), utc(2026, 9, 1)
"""Times at which a source may say something: before and after all that the builders say by themselves."""


def withdrawn_because(said: Output | None) -> str:
    assert isinstance(said, PromptWithdrawn), said
    return said.reason


def closed_because(said: Output | None) -> str:
    assert isinstance(said, GapClosed), said
    return said.reason


def asked(said: Output | None) -> PromptOpened | PromptUpdated:
    assert isinstance(said, PromptOpened | PromptUpdated), said
    return said


# -- a prompt opens -------------------------------------------------------------------------------


def test_a_sponsor_is_asked_once_the_cycle_is_open() -> None:
    log = a_company(at=OPENS)
    assert kinds(log.outputs) == ["prompt.opened"]
    prompt = asked(log.prompt())
    assert (prompt.version, prompt.at, prompt.sponsor_timezone, prompt.snoozed_until) == (1, OPENS, "UTC", None)


def test_nobody_is_asked_a_second_before_the_cycle_opens() -> None:
    assert a_company(at=OPENS - SECOND).outputs == []


def test_nothing_is_said_before_the_first_tick() -> None:
    log = Log(an_employee_joined(), a_relationship(), a_tied_person(), a_cycle())
    assert log.outputs == []
    assert kinds(log.feed(a_tick())) == ["prompt.opened"]


def test_no_event_but_a_tick_moves_the_time() -> None:
    log = a_company(at=OPENS - SECOND)
    log.feed(an_achievement("A2", at=LATER), a_closing(cycle_id="other", closed_at=LATER, at=LATER))
    assert log.calendar.now == OPENS - SECOND
    assert log.outputs == []


def test_a_tick_of_the_past_does_not_turn_back_the_time() -> None:
    log = a_company()
    assert log.feed(a_tick(OPENS - SECOND)) == []
    assert log.calendar.now == IN_CYCLE


def test_an_event_is_named_as_the_cause() -> None:
    log = a_company()
    achievement = an_achievement("A2", competencies=("leadership",))
    (said,) = log.feed(achievement)
    assert said.because_of == achievement.id
    tick = a_tick(CLOSES)
    (said,) = log.feed(tick)
    assert (said.because_of, said.at) == (tick.id, CLOSES)


def test_the_prompt_tells_what_why_and_for_whom() -> None:
    body = asked(a_company().prompt()).body
    assert body.opportunity.title == "Spring promotions"
    assert body.opportunity.closes_at == CLOSES
    assert (body.protege.name, body.protege.level, body.protege.unit_id) == ("Mina Okafor", 5, "pay")
    assert body.sponsor_name == "Person S1"
    assert body.why == (
        "You have been Mina Okafor's sponsor since January 2025, and they are among those whom"
        " “Spring promotions” is for."
    )


def test_since_when_counts_from_the_relationship_that_holds_now() -> None:
    log = a_company(
        a_relationship(relationship_id="earlier", started_at=utc(2019, 5, 1)),
        a_relationship_ended(relationship_id="earlier", ended_at=utc(2020, 5, 1)),
    )
    assert "since January 2025" in asked(log.prompt()).body.why


def test_since_when_is_each_sponsors_own() -> None:
    log = a_company(a_relationship(other_id="S2", started_at=utc(2023, 7, 1)), a_tied_person("S2"))
    assert "since January 2025" in asked(log.prompt("S1")).body.why
    assert "since July 2023" in asked(log.prompt("S2")).body.why


def test_each_sponsor_of_an_employee_is_asked() -> None:
    log = a_company(a_relationship(other_id="S2"), a_tied_person("S2", timezone="Asia/Tokyo"))
    assert log.stands("S1")
    assert asked(log.prompt("S2")).sponsor_timezone == "Asia/Tokyo"


def test_a_sponsor_is_asked_in_each_of_two_cycles_that_overlap() -> None:
    log = a_company(a_cycle(cycle_id="role", kind="role", competencies=("leadership",)))
    assert log.stands(cycle="spring")
    assert log.stands(cycle="role")


def test_a_mentor_is_never_taken_for_a_sponsor() -> None:
    log = Log(an_employee_joined(), a_relationship(kind="mentor"), a_tied_person(), a_cycle(), a_tick())
    assert log.prompt() is None
    assert kinds(log.outputs) == ["gap.opened"]


def test_somebody_whom_the_employee_worked_with_is_never_taken_for_a_sponsor() -> None:
    log = Log(an_employee_joined(), a_relationship(kind="worked_with"), a_tied_person(), a_cycle(), a_tick())
    assert log.prompt() is None


def test_a_sponsor_is_not_asked_before_they_are_described() -> None:
    log = Log(an_employee_joined(), a_relationship(), a_cycle(), a_tick())
    assert log.prompt() is None
    assert kinds(log.feed(a_tied_person())) == ["prompt.opened", "gap.closed"]


def test_nothing_is_said_of_somebody_who_is_not_known_yet() -> None:
    log = Log(a_cycle(), a_tick(), a_relationship(), a_tied_person(), an_achievement())
    assert log.outputs == []
    assert kinds(log.feed(an_employee_joined())) == ["prompt.opened"]


# -- the cycle moves ------------------------------------------------------------------------------


def test_a_prompt_is_withdrawn_at_the_end_of_the_cycle() -> None:
    log = a_company(at=CLOSES - SECOND)
    assert log.stands()
    assert kinds(log.feed(a_tick(CLOSES))) == ["prompt.withdrawn"]
    assert withdrawn_because(log.prompt()) == "cycle_closed"


def test_a_cycle_closed_early_ends_at_once() -> None:
    log = a_company()
    log.feed(a_closing(closed_at=IN_CYCLE))
    assert withdrawn_because(log.prompt()) == "cycle_closed"


def test_a_closing_announced_ahead_changes_the_date_and_ends_the_cycle_then() -> None:
    log = a_company()
    end = utc(2026, 3, 20)
    assert kinds(log.feed(a_closing(closed_at=end))) == ["prompt.updated"]
    assert asked(log.prompt()).body.opportunity.closes_at == end
    assert log.feed(a_tick(end - SECOND)) == []
    assert kinds(log.feed(a_tick(end))) == ["prompt.withdrawn"]


def test_a_closing_after_the_planned_end_does_not_make_the_cycle_longer() -> None:
    log = a_company(a_closing(closed_at=days_after(CLOSES, 10)))
    assert asked(log.prompt()).body.opportunity.closes_at == CLOSES


def test_an_amendment_after_the_closing_opens_the_cycle_again() -> None:
    log = a_company()
    log.feed(a_closing(closed_at=IN_CYCLE))
    assert kinds(log.feed(an_amendment())) == ["prompt.opened"]
    assert asked(log.prompt()).version == 3


def test_a_closing_said_before_the_newest_amendment_does_not_count_whenever_it_arrives() -> None:
    log = a_company(an_amendment(title="Spring, again", at=LATER))
    assert log.feed(a_closing(closed_at=IN_CYCLE)) == []
    assert log.stands()


def test_of_two_closings_the_one_said_last_holds() -> None:
    end = utc(2026, 3, 20)
    log = a_company(a_closing(closed_at=end, at=LATER), a_closing(closed_at=utc(2026, 3, 12)))
    assert asked(log.prompt()).body.opportunity.closes_at == end


def test_a_closing_may_be_known_before_its_cycle() -> None:
    log = Log(an_employee_joined(), a_relationship(), a_tied_person(), a_tick(), a_closing(closed_at=OPENS, at=LATER))
    assert log.feed(a_cycle()) == []


def test_a_cancelled_cycle_asks_nobody() -> None:
    log = a_company()
    assert kinds(log.feed(a_cancellation())) == ["prompt.withdrawn"]
    assert withdrawn_because(log.prompt()) == "cycle_cancelled"


def test_a_cancelled_cycle_takes_back_what_was_fulfilled() -> None:
    log = a_company(an_endorsement())
    log.feed(a_cancellation())
    assert withdrawn_because(log.prompt()) == "cycle_cancelled"


def test_an_amendment_after_the_cancellation_takes_the_cycle_up_again() -> None:
    log = a_company(a_cancellation())
    assert not log.stands()
    assert kinds(log.feed(an_amendment())) == ["prompt.opened"]


def test_a_cancellation_said_before_the_newest_amendment_does_not_count() -> None:
    log = a_company(an_amendment(at=LATER), a_cancellation())
    assert log.stands()


def test_a_cancellation_repeated_by_an_older_one_stands() -> None:
    log = a_company(a_cancellation(at=LATER), an_amendment(), a_cancellation(at=LONG_AGO))
    assert not log.stands()


def test_a_closing_does_not_undo_a_cancellation_nor_the_other_way_round() -> None:
    assert not isinstance(a_company(an_endorsement(), a_cancellation(), a_closing()).prompt(), PromptFulfilled)
    assert not a_company(a_closing(at=LATER), a_cancellation(), an_amendment()).stands()


def test_an_amended_title_and_end_are_shown() -> None:
    log = a_company()
    end = days_after(CLOSES, 5)
    assert kinds(log.feed(an_amendment(title="Spring of promotions", closes_at=end))) == ["prompt.updated"]
    opportunity = asked(log.prompt()).body.opportunity
    assert (opportunity.title, opportunity.closes_at) == ("Spring of promotions", end)


def test_an_older_statement_about_a_cycle_changes_nothing() -> None:
    log = a_company()
    assert log.feed(an_amendment(title="Long ago", at=LONG_AGO)) == []


def test_an_amendment_that_puts_off_the_opening_takes_prompts_back_until_then() -> None:
    log = a_company()
    assert kinds(log.feed(an_amendment(opens_at=utc(2026, 3, 20)))) == ["prompt.withdrawn"]
    assert kinds(log.feed(a_tick(utc(2026, 3, 20)))) == ["prompt.opened"]


def test_an_amendment_that_moves_the_end_into_the_future_asks_again() -> None:
    log = a_company(at=CLOSES)
    assert kinds(log.feed(an_amendment(closes_at=days_after(CLOSES, 10)))) == ["prompt.opened"]


def test_a_cycle_that_opened_and_closed_between_two_ticks_asks_nobody() -> None:
    assert a_company(at=days_after(CLOSES, 1)).outputs == []


def test_a_cycle_is_forgotten_two_years_after_its_end_and_a_repetition_says_nothing_of_it() -> None:
    opening = a_cycle()
    log = Log(an_employee_joined(), a_relationship(), a_tied_person(), opening, an_endorsement(), a_tick())
    assert isinstance(log.prompt(), PromptFulfilled)
    log.feed(a_tick(CLOSES + FORGET_CYCLES_AFTER - SECOND))
    assert "spring" in log.calendar.cycles
    assert log.feed(a_tick(CLOSES + FORGET_CYCLES_AFTER)) == []
    assert log.calendar.cycles == {}
    assert log.employees["E1"].prompts == {}
    assert log.feed(opening, a_cancellation(), a_closing(), an_endorsement("N9")) == []


def test_an_amendment_that_puts_the_end_years_back_takes_prompts_back() -> None:
    log = a_company()
    log.feed(an_amendment(opens_at=utc(2020, 3, 1), closes_at=utc(2020, 3, 31)))
    assert withdrawn_because(log.prompt()) == "cycle_closed"


@pytest.mark.parametrize("ending", [a_closing(closed_at=utc(2026, 3, 1)), a_cancellation(at=utc(2026, 3, 1))])
def test_the_end_of_a_cycle_never_heard_of_is_forgotten_too(ending: CareerEvent) -> None:
    log = Log(a_tick(utc(2026, 3, 2)), ending)
    log.feed(a_tick(utc(2026, 3, 1) + FORGET_CYCLES_AFTER - SECOND))
    assert "spring" in log.calendar.cycles
    log.feed(a_tick(utc(2026, 3, 1) + FORGET_CYCLES_AFTER))
    assert log.calendar.cycles == {}


def test_a_cycle_without_an_end_does_not_stop_the_clock() -> None:
    never = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    log = a_company(an_amendment(closes_at=never, evidence_to=date(9999, 12, 31)))
    log.feed(a_tick(LATER))
    assert log.calendar.now == LATER
    assert log.stands()
    assert log.shown() == ["A1"]


# -- who is in scope ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "asked_for"),
    [((), True), (("pay",), True), (("eng",), True), (("acme",), True), (("ops", "eng"), True), (("ops",), False)],
)
def test_a_unit_is_in_scope_with_all_below_it(units: tuple[str, ...], asked_for: bool) -> None:
    assert a_company(an_amendment(unit_ids=units)).stands() is asked_for


def test_a_unit_below_the_employees_own_is_not_theirs() -> None:
    log = Log(
        an_employee_joined(unit_path=("acme", "eng")),
        a_relationship(),
        a_tied_person(),
        a_cycle(unit_ids=("pay",)),
        a_tick(),
    )
    assert log.outputs == []


@pytest.mark.parametrize(("levels", "asked_for"), [((), True), ((5,), True), ((4, 5), True), ((4, 6), False)])
def test_only_levels_in_scope_are_asked_for(levels: tuple[int, ...], asked_for: bool) -> None:
    assert a_company(an_amendment(levels=levels)).stands() is asked_for


@pytest.mark.parametrize(("since", "asked_for"), [(date(2025, 3, 1), True), (date(2025, 3, 2), False)])
def test_the_time_in_level_is_counted_to_the_day_of_the_opening(since: date, asked_for: bool) -> None:
    log = Log(
        an_employee_joined(level_since=since),
        a_relationship(),
        a_tied_person(),
        a_cycle(min_months_in_level=12),
        a_tick(),
    )
    assert log.stands() is asked_for
    log.feed(a_tick(days_after(CLOSES, -1)))  # it does not come true by waiting
    assert log.stands() is asked_for


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2025, 8, 31), 6, date(2026, 2, 28)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2025, 8, 31), 1, date(2025, 9, 30)),
        (date(2025, 1, 15), 0, date(2025, 1, 15)),
        (date(2025, 12, 15), 1, date(2026, 1, 15)),
        (date(2025, 11, 15), 25, date(2027, 12, 15)),
        (date(9999, 12, 31), 1, date.max),
    ],
)
def test_months_are_counted_by_the_calendar(day: date, months: int, later: date) -> None:
    assert months_later(day, months) == later


def test_somebody_out_of_scope_has_neither_prompt_nor_gap() -> None:
    assert a_company(an_amendment(levels=(9,))).outputs == []


def test_a_prompt_is_withdrawn_when_an_amendment_leaves_the_employee_out() -> None:
    log = a_company()
    log.feed(an_amendment(levels=(6,)))
    assert withdrawn_because(log.prompt()) == "out_of_scope"


# -- evidence that changes ------------------------------------------------------------------------


def test_a_late_achievement_updates_a_standing_prompt() -> None:
    log = a_company()
    assert kinds(log.feed(an_achievement("A2", competencies=("leadership",)))) == ["prompt.updated"]
    assert set(log.shown()) == {"A1", "A2"}
    assert asked(log.prompt()).version == 2


def test_a_corrected_achievement_is_shown_as_corrected() -> None:
    log = a_company()
    assert kinds(log.feed(a_correction(outcome="From 900 ms to 630 ms"))) == ["prompt.updated"]
    assert log.evidence()[0].outcome == "From 900 ms to 630 ms"


def test_a_correction_may_come_before_what_it_corrects() -> None:
    log = a_company(a_correction("A2", title="As it was", at=LATER), an_achievement("A2", title="As first said"))
    assert "As it was" in [piece.title for piece in log.evidence()]
    assert "As first said" not in [piece.title for piece in log.evidence()]


def test_a_retracted_achievement_is_shown_no_more() -> None:
    log = a_company()
    assert kinds(log.feed(a_retraction())) == ["prompt.updated"]
    assert log.evidence() == []


def test_a_retraction_may_come_before_the_achievement() -> None:
    log = a_company(a_retraction("A2", at=LATER), an_achievement("A2"))
    assert log.shown() == ["A1"]


def test_an_achievement_said_again_after_its_retraction_counts_again() -> None:
    log = a_company(a_retraction(), an_achievement())
    assert log.shown() == ["A1"]


def test_an_achievement_that_its_owner_hides_is_shown_no_more_whatever_its_source_says_later() -> None:
    log = a_company()
    assert kinds(log.feed(a_hiding())) == ["prompt.updated"]
    assert log.evidence() == []
    assert log.feed(a_correction(outcome="Better still"), an_achievement(title="Said again")) == []
    assert log.evidence() == []


def test_an_achievement_may_be_hidden_before_it_is_known() -> None:
    assert a_company(a_hiding("A2"), an_achievement("A2")).shown() == ["A1"]


def test_what_its_owner_shows_again_is_as_its_source_says_by_then() -> None:
    log = a_company(a_hiding(), a_correction(title="As it was"))
    assert kinds(log.feed(a_showing())) == ["prompt.updated"]
    assert [piece.title for piece in log.evidence()] == ["As it was"]


def test_of_hidden_and_shown_the_newest_word_holds() -> None:
    assert a_company(a_showing(at=LATER), a_hiding()).shown() == ["A1"]
    assert a_company(a_hiding(at=LATER), a_showing()).shown() == []


def test_what_was_taken_back_does_not_come_back_by_its_owners_word() -> None:
    assert a_company(a_retraction(), a_showing()).shown() == []


def test_nobody_hides_what_is_anothers() -> None:
    assert a_company(a_hiding(employee_id="E2")).shown() == ["A1"]


def test_an_achievement_of_somebody_else_changes_nothing() -> None:
    log = a_company()
    assert log.feed(an_achievement("A2", employee_id="E2")) == []


@pytest.mark.parametrize(
    ("day", "counts"),
    [
        (date(2025, 2, 28), False),
        (date(2025, 3, 1), True),
        (date(2026, 2, 28), True),
        (date(2026, 3, 1), False),
    ],
)
def test_an_achievement_counts_on_the_first_and_the_last_day_of_the_window(day: date, counts: bool) -> None:
    log = a_company(an_achievement("A2", occurred_on=day))
    assert ("A2" in log.shown()) is counts


# -- nothing is said without news -----------------------------------------------------------------


def five_strong_pieces(*, impact: int = 3) -> list[CareerEvent]:
    """Five achievements of the last week of the window, with all that counts."""
    return [
        an_achievement(
            f"A{n}", occurred_on=date(2026, 2, 20 + n), impact=impact, competencies=("delivery", "leadership")
        )
        for n in range(1, 6)
    ]


def test_an_event_that_comes_again_says_nothing() -> None:
    events: list[CareerEvent] = [
        an_employee_joined(),
        a_relationship(),
        a_tied_person(),
        *five_strong_pieces(),
        a_cycle(),
        a_tick(),
        a_snooze(),
    ]
    log = Log(*events)
    assert log.feed(*events, *reversed(events)) == []


def test_a_competency_that_nobody_looks_for_says_nothing() -> None:
    log = a_company()
    assert log.feed(a_correction(competencies=("delivery", "juggling"))) == []


def test_an_extra_witness_says_nothing() -> None:
    log = a_company()
    assert log.feed(a_correction(witnesses=("hris:E77",))) == []


def test_the_sponsor_as_a_witness_is_news() -> None:
    log = a_company()
    assert kinds(log.feed(a_correction(witnesses=("hris:S1",)))) == ["prompt.updated"]


def test_a_sixth_piece_that_is_better_by_a_hair_says_nothing() -> None:
    log = a_company(*five_strong_pieces())
    sixth = an_achievement("A6", occurred_on=date(2026, 2, 26), impact=3, competencies=("delivery", "leadership"))
    assert log.feed(sixth) == []


def test_a_sixth_piece_that_is_weaker_says_nothing() -> None:
    log = a_company(*five_strong_pieces())
    assert log.feed(an_achievement("A6", impact=0, competencies=("delivery",))) == []


def test_a_sixth_piece_that_is_clearly_better_is_shown() -> None:
    log = a_company(*five_strong_pieces(impact=1))
    sixth = an_achievement("A6", occurred_on=date(2026, 2, 26), impact=3, competencies=("delivery", "leadership"))
    assert kinds(log.feed(sixth)) == ["prompt.updated"]
    assert log.shown()[0] == "A6"


def test_a_manager_or_a_place_that_changes_says_nothing() -> None:
    log = a_company()
    assert log.feed(an_employee_changed(manager_id="M2", location="Lisbon")) == []


def test_a_sponsor_who_rises_says_nothing() -> None:
    log = a_company()
    assert log.feed(a_tied_person(level=9, unit_path=("acme", "board"))) == []


def test_a_sponsors_locale_is_told_with_the_next_version_and_is_no_news_itself() -> None:
    log = a_company()
    assert asked(log.prompt()).sponsor_locale is None
    assert log.feed(a_tied_person(locale="de-AT")) == []
    log.feed(an_achievement("A9", impact=3))
    assert asked(log.prompt()).sponsor_locale == "de-AT"


@pytest.mark.parametrize(("recorded", "told"), [("UTC", "Europe/Berlin"), ("Asia/Tokyo", "Asia/Tokyo")])
def test_the_companys_time_zone_holds_for_whom_the_records_name_none(recorded: str, told: str) -> None:
    log = a_company(a_tied_person(timezone=recorded), policy=Policy(timezone="Europe/Berlin"))
    assert asked(log.prompt()).sponsor_timezone == told


def test_a_sponsors_time_zone_is_told_for_messages_follow_it() -> None:
    log = a_company()
    assert kinds(log.feed(a_tied_person(timezone="Europe/Paris"))) == ["prompt.updated"]
    assert asked(log.prompt()).sponsor_timezone == "Europe/Paris"


def test_the_clock_alone_says_nothing_while_the_cycle_is_open() -> None:
    log = a_company()
    assert log.feed(*(a_tick(days_after(IN_CYCLE, n)) for n in range(1, 15))) == []


def test_why_a_prompt_is_not_asked_is_told_once() -> None:
    log = a_company(a_refusal())
    said = log.feed(a_relationship_ended(), an_employee_left(), a_closing(), a_cancellation())
    assert kinds(said) == ["gap.closed"]


def test_a_prompt_never_asked_is_not_withdrawn() -> None:
    log = a_company(at=OPENS - SECOND)
    assert log.feed(a_relationship_ended(ended_at=utc(2026, 2, 1)), a_refusal(), a_tick(CLOSES)) == []


# -- ties -----------------------------------------------------------------------------------------


def test_a_sponsor_who_comes_in_mid_cycle_is_asked() -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick(), a_tied_person())
    assert kinds(log.feed(a_relationship(started_at=IN_CYCLE))) == ["prompt.opened", "gap.closed"]
    assert closed_because(log.gap()) == "sponsor_found"


def test_a_relationship_that_begins_later_is_asked_for_by_the_clock() -> None:
    start = utc(2026, 3, 20)
    log = Log(an_employee_joined(), a_relationship(started_at=start), a_tied_person(), a_cycle(), a_tick())
    assert log.feed(a_tick(start - SECOND)) == []
    assert kinds(log.feed(a_tick(start))) == ["prompt.opened", "gap.closed"]


def test_the_end_of_a_relationship_withdraws_its_prompt_and_opens_a_gap() -> None:
    log = a_company()
    assert kinds(log.feed(a_relationship_ended())) == ["prompt.withdrawn", "gap.opened"]
    assert withdrawn_because(log.prompt()) == "relationship_ended"


def test_a_relationship_that_ends_later_is_withdrawn_by_the_clock() -> None:
    end = utc(2026, 3, 20)
    log = a_company()
    assert log.feed(a_relationship_ended(ended_at=end), a_tick(end - SECOND)) == []
    assert kinds(log.feed(a_tick(end))) == ["prompt.withdrawn", "gap.opened"]


def test_the_end_of_a_relationship_may_come_before_its_start() -> None:
    log = Log(an_employee_joined(), a_tied_person(), a_cycle(), a_tick())
    log.feed(a_relationship_ended(ended_at=utc(2026, 2, 1), at=LATER), a_relationship())
    assert log.prompt() is None


def test_a_relationship_that_starts_again_is_asked_for_again() -> None:
    log = a_company(a_relationship_ended(ended_at=utc(2026, 3, 2)))
    assert kinds(log.feed(a_relationship(started_at=IN_CYCLE))) == ["prompt.opened", "gap.closed"]


def test_of_two_starts_the_one_said_last_holds() -> None:
    log = a_company(a_relationship(started_at=utc(2025, 6, 1), at=LATER), a_relationship(started_at=utc(2025, 9, 1)))
    assert "since June 2025" in asked(log.prompt()).body.why


def test_of_two_ends_the_one_said_last_holds() -> None:
    sooner, later = utc(2026, 3, 5), utc(2026, 3, 25)
    log = a_company(a_relationship_ended(ended_at=sooner, at=LATER), a_relationship_ended(ended_at=later))
    assert not log.stands()
    log = a_company(a_relationship_ended(ended_at=later, at=LATER), a_relationship_ended(ended_at=sooner))
    assert log.stands()


def test_a_relationship_that_ended_when_it_started_never_held() -> None:
    log = Log(an_employee_joined(), a_tied_person(), a_cycle(), a_tick())
    log.feed(a_relationship_ended(ended_at=utc(2026, 3, 5)), a_relationship(started_at=utc(2026, 3, 5)))
    assert log.prompt() is None


def test_a_relationship_corrected_to_another_sponsor_is_that_sponsors() -> None:
    corrected = a_relationship(other_id="S2", relationship_id="sponsor-S1", at=LATER)
    for order in ([a_relationship(), corrected], [corrected, a_relationship()]):
        log = Log(an_employee_joined(), a_tied_person(), a_tied_person("S2"), a_cycle(), a_tick(), *order)
        assert log.stands("S2")
        assert not log.stands("S1")


def test_a_relationship_corrected_to_a_mentors_is_asked_for_no_more() -> None:
    log = a_company()
    log.feed(a_relationship(kind="mentor", relationship_id="sponsor-S1"))
    assert withdrawn_because(log.prompt()) == "relationship_ended"


def test_one_of_two_relationships_with_the_same_sponsor_is_enough() -> None:
    log = a_company(a_relationship(relationship_id="second"))
    assert log.feed(a_relationship_ended()) == []


def test_a_sponsor_who_leaves_is_asked_no_more_and_leaves_a_gap() -> None:
    log = a_company()
    assert kinds(log.feed(a_tied_person(left_at=IN_CYCLE))) == ["prompt.withdrawn", "gap.opened"]
    assert withdrawn_because(log.prompt()) == "sponsor_left"


def test_a_sponsor_who_leaves_later_is_withdrawn_by_the_clock() -> None:
    last = utc(2026, 3, 20)
    log = a_company()
    assert log.feed(a_tied_person(left_at=last), a_tick(last - SECOND)) == []
    assert kinds(log.feed(a_tick(last))) == ["prompt.withdrawn", "gap.opened"]


def test_a_sponsor_who_comes_back_is_asked_again() -> None:
    log = a_company(a_tied_person(left_at=IN_CYCLE))
    assert not log.stands()
    assert kinds(log.feed(a_tied_person())) == ["prompt.opened", "gap.closed"]


def test_an_older_description_of_a_person_changes_nothing() -> None:
    log = a_company(a_tied_person(name="Renamed", revision=50_000))
    assert log.feed(a_tied_person(name="As before", revision=49_999)) == []
    assert log.feed(a_tied_person(name="Repeated", revision=50_000)) == []


# -- the employee ---------------------------------------------------------------------------------


def test_a_promotion_out_of_scope_withdraws_the_prompt() -> None:
    log = a_company()
    log.feed(an_employee_promoted(level=6))
    assert withdrawn_because(log.prompt()) == "out_of_scope"


def test_a_promotion_into_scope_asks() -> None:
    log = a_company(an_amendment(levels=(6,)))
    assert kinds(log.feed(an_employee_promoted(level=6))) == ["prompt.opened"]
    assert asked(log.prompt()).body.protege.level == 6


def test_a_promotion_of_the_future_counts_when_its_day_comes() -> None:
    day = utc(2026, 3, 20)
    log = a_company()
    assert log.feed(an_employee_promoted(level=6, effective_at=day), a_tick(day - SECOND)) == []
    assert kinds(log.feed(a_tick(day))) == ["prompt.withdrawn"]


def test_a_promotion_said_late_counts_from_its_day() -> None:
    log = a_company(an_amendment(levels=(6,)))
    assert kinds(log.feed(an_employee_promoted(level=6, effective_at=utc(2026, 1, 1)))) == ["prompt.opened"]


def test_a_retroactive_change_does_not_overrule_a_later_one() -> None:
    log = a_company(an_employee_promoted(level=6, effective_at=utc(2026, 3, 5)))
    assert not log.stands()
    assert log.feed(an_employee_changed(level=5, effective_at=utc(2026, 2, 1))) == []


def test_of_two_profiles_from_the_same_time_the_greater_revision_holds() -> None:
    log = a_company(an_employee_changed(level=6, revision=50_000), an_employee_changed(level=5, revision=49_999))
    assert not log.stands()


def test_a_move_out_of_the_unit_withdraws_and_a_move_back_asks_again() -> None:
    log = a_company()
    log.feed(an_employee_moved(unit_path=("acme", "ops"), effective_at=utc(2026, 3, 8)))
    assert withdrawn_because(log.prompt()) == "out_of_scope"
    log.feed(an_employee_moved(effective_at=utc(2026, 3, 9)))
    assert asked(log.prompt()).version == 3


def test_a_move_within_the_scope_shows_the_new_unit() -> None:
    log = a_company()
    assert kinds(log.feed(an_employee_moved(unit_path=("acme", "eng", "web")))) == ["prompt.updated"]
    assert asked(log.prompt()).body.protege.unit_id == "web"


def test_somebody_without_a_unit_has_a_prompt_without_one() -> None:
    log = a_company(an_amendment(unit_ids=()), an_employee_moved(unit_path=()))
    assert asked(log.prompt()).body.protege.unit_id is None


def test_an_employee_who_left_is_asked_for_no_more() -> None:
    log = a_company()
    log.feed(an_employee_left())
    assert withdrawn_because(log.prompt()) == "employee_left"


def test_an_employee_who_leaves_later_is_withdrawn_by_the_clock() -> None:
    last = utc(2026, 3, 20)
    log = a_company()
    assert log.feed(an_employee_left(effective_at=last), a_tick(last - SECOND)) == []
    assert kinds(log.feed(a_tick(last))) == ["prompt.withdrawn"]


def test_an_employee_who_comes_back_is_asked_for_again() -> None:
    log = a_company(an_employee_left(effective_at=utc(2026, 3, 5)))
    assert not log.stands()
    assert kinds(log.feed(an_employee_joined(effective_at=utc(2026, 3, 9)))) == ["prompt.opened"]


def test_an_employee_who_joins_in_mid_cycle_is_asked_for_from_their_first_day() -> None:
    first = utc(2026, 3, 20)
    log = Log(an_employee_joined(effective_at=first), a_relationship(), a_tied_person(), a_cycle(), a_tick())
    assert log.outputs == []
    assert kinds(log.feed(a_tick(first))) == ["prompt.opened"]


# -- the sponsor's word ---------------------------------------------------------------------------


def test_an_endorsement_for_the_cycle_fulfils_the_prompt() -> None:
    log = a_company()
    assert kinds(log.feed(an_endorsement())) == ["prompt.fulfilled"]
    prompt = log.prompt()
    assert isinstance(prompt, PromptFulfilled)
    assert (prompt.endorsement_id, prompt.version) == ("N1", 2)


def test_an_endorsement_before_its_cycle_opens_fulfils_it_at_the_opening() -> None:
    log = a_company(an_endorsement(given_at=utc(2026, 2, 10)), at=OPENS - SECOND)
    assert log.outputs == []
    assert kinds(log.feed(a_tick(OPENS))) == ["prompt.fulfilled"]


def test_who_speaks_before_the_opening_must_be_the_sponsor_at_the_opening() -> None:
    early = an_endorsement(given_at=utc(2026, 2, 1))
    not_yet = a_relationship(started_at=utc(2026, 2, 10))
    assert isinstance(a_company(early, not_yet).prompt(), PromptFulfilled)
    no_more = a_relationship_ended(ended_at=utc(2026, 2, 10))
    assert a_company(early, no_more).prompt() is None


def test_a_general_endorsement_counts_from_the_opening_on() -> None:
    assert kinds(a_company().feed(an_endorsement(cycle_id=None, given_at=OPENS))) == ["prompt.fulfilled"]


def test_a_general_endorsement_from_before_the_opening_fulfils_nothing() -> None:
    assert a_company().feed(an_endorsement(cycle_id=None, given_at=OPENS - SECOND)) == []


def test_an_endorsement_counts_at_the_very_end_and_not_after_it() -> None:
    assert isinstance(a_company(an_endorsement(given_at=CLOSES), at=CLOSES).prompt(), PromptFulfilled)
    assert a_company(an_endorsement(given_at=CLOSES + SECOND), at=CLOSES).prompt() is None


def test_an_endorsement_given_in_time_counts_though_it_comes_after_the_end() -> None:
    log = a_company()
    log.feed(a_tick(CLOSES))
    assert kinds(log.feed(an_endorsement())) == ["prompt.fulfilled"]


def test_an_endorsement_after_an_early_closing_fulfils_nothing() -> None:
    log = a_company(a_closing(closed_at=utc(2026, 3, 5)))
    assert log.feed(an_endorsement(given_at=IN_CYCLE)) == []


def test_an_endorsement_for_another_cycle_fulfils_nothing_here() -> None:
    assert a_company().feed(an_endorsement(cycle_id="autumn")) == []


def test_an_endorsement_by_somebody_else_does_not_fulfil_this_sponsors_prompt() -> None:
    log = a_company(a_relationship(other_id="S2"), a_tied_person("S2"))
    assert kinds(log.feed(an_endorsement(sponsor_id="S2"))) == ["prompt.fulfilled"]
    assert log.stands("S1")


def test_an_endorsement_by_somebody_who_was_no_sponsor_then_fulfils_nothing() -> None:
    log = Log(an_employee_joined(), a_tied_person(), a_relationship(started_at=IN_CYCLE), a_cycle(), a_tick())
    log.feed(an_endorsement(given_at=IN_CYCLE - SECOND))
    assert log.stands()


def test_an_endorsement_by_somebody_who_became_a_sponsor_after_the_opening_counts() -> None:
    log = Log(an_employee_joined(), a_tied_person(), a_relationship(started_at=utc(2026, 3, 5)), a_cycle(), a_tick())
    assert kinds(log.feed(an_endorsement())) == ["prompt.fulfilled"]


def test_an_endorsement_for_somebody_who_had_left_fulfils_nothing() -> None:
    log = a_company(an_employee_left(effective_at=utc(2026, 3, 5)))
    assert log.feed(an_endorsement(given_at=utc(2026, 3, 6))) == []


def test_an_endorsement_for_somebody_out_of_scope_then_fulfils_nothing() -> None:
    log = a_company(an_employee_promoted(level=4, effective_at=utc(2024, 2, 1)))
    assert log.feed(an_endorsement()) == []


def test_an_endorsement_counts_for_good_whatever_becomes_of_sponsor_and_employee() -> None:
    log = a_company(an_endorsement())
    after = days_after(IN_CYCLE, 1)
    news: list[CareerEvent] = [
        a_relationship_ended(ended_at=after),
        a_tied_person(left_at=after),
        an_employee_promoted(level=6, effective_at=after),
        an_employee_left(effective_at=days_after(after, 1)),
        a_refusal(),
        a_tick(CLOSES),
    ]
    assert log.feed(*news) == []


def test_an_endorsement_withdrawn_asks_again() -> None:
    log = a_company(an_endorsement())
    assert kinds(log.feed(an_endorsement_withdrawn())) == ["prompt.opened"]
    assert asked(log.prompt()).version == 2


def test_a_withdrawal_may_come_before_the_endorsement() -> None:
    log = a_company(an_endorsement_withdrawn(at=LATER), an_endorsement())
    assert log.stands()


def test_an_endorsement_given_again_after_its_withdrawal_counts() -> None:
    log = a_company(an_endorsement(), an_endorsement_withdrawn(), an_endorsement())
    assert isinstance(log.prompt(), PromptFulfilled)


def test_an_older_withdrawal_does_not_undo_a_newer_endorsement() -> None:
    log = a_company(an_endorsement(at=LATER), an_endorsement_withdrawn())
    assert isinstance(log.prompt(), PromptFulfilled)


def test_of_two_withdrawals_the_later_counts() -> None:
    newer, older = an_endorsement_withdrawn(at=LATER), an_endorsement_withdrawn(at=LONG_AGO)
    assert a_company(newer, an_endorsement(), older).stands()
    assert a_company(older, an_endorsement(), newer).stands()


def test_an_endorsement_restated_holds_as_last_stated() -> None:
    log = a_company(an_endorsement(cycle_id="autumn", at=LATER), an_endorsement())
    assert log.stands()


def test_of_two_endorsements_the_first_given_fulfils_the_prompt() -> None:
    log = a_company(an_endorsement("N2"), an_endorsement("N1", given_at=OPENS))
    prompt = log.prompt()
    assert isinstance(prompt, PromptFulfilled)
    assert prompt.endorsement_id == "N1"


def test_when_the_first_of_two_endorsements_is_withdrawn_the_other_fulfils_the_prompt() -> None:
    log = a_company(an_endorsement("N1"), an_endorsement("N2", given_at=days_after(IN_CYCLE, 1)))
    assert kinds(log.feed(an_endorsement_withdrawn("N1"))) == ["prompt.fulfilled"]


def test_an_endorsement_that_amends_its_sponsor_counts_for_the_one_last_stated() -> None:
    log = a_company(
        a_relationship(other_id="S2"), a_tied_person("S2"), an_endorsement(), an_endorsement(sponsor_id="S2")
    )
    assert isinstance(log.prompt("S2"), PromptFulfilled)
    assert log.stands("S1")


def test_an_older_statement_of_an_endorsement_does_not_give_it_back_to_its_first_sponsor() -> None:
    log = a_company(a_relationship(other_id="S2"), a_tied_person("S2"))
    log.feed(an_endorsement(sponsor_id="S2", at=LATER), an_endorsement())
    assert isinstance(log.prompt("S2"), PromptFulfilled)
    assert log.stands("S1")


def test_a_sponsor_who_declined_is_asked_no_more_in_this_cycle() -> None:
    log = a_company(a_cycle(cycle_id="role"))
    log.feed(a_refusal())
    assert withdrawn_because(log.prompt()) == "declined"
    assert log.stands(cycle="role")
    assert log.feed(an_achievement("A2", impact=3), an_amendment(title="Changed"), a_refusal()) != []
    assert not log.stands()


def test_a_sponsor_who_takes_their_refusal_back_is_asked_again_whichever_comes_first() -> None:
    later = {"at": OPENS + timedelta(hours=2)}
    log = a_company(a_refusal())
    assert "prompt.opened" in kinds(log.feed(a_refusal_taken_back(**later)))
    assert a_company(a_refusal_taken_back(**later), a_refusal()).stands()
    assert not a_company(a_refusal_taken_back(), a_refusal(**later)).stands()


def test_a_refusal_before_the_cycle_opens_counts() -> None:
    log = a_company(a_refusal(), at=OPENS)
    assert kinds(log.outputs) == ["gap.opened"]


def test_a_refusal_leaves_the_other_sponsor_asked() -> None:
    log = a_company(a_relationship(other_id="S2"), a_tied_person("S2"), a_refusal())
    assert log.stands("S2")
    assert log.gap() is None


def test_a_sponsor_who_speaks_after_all_fulfils_the_prompt() -> None:
    log = a_company(a_refusal())
    assert kinds(log.feed(an_endorsement())) == ["prompt.fulfilled", "gap.closed"]


def test_a_snooze_is_told_and_ends_by_the_clock() -> None:
    until = utc(2026, 3, 20)
    log = a_company()
    assert kinds(log.feed(a_snooze(until=until))) == ["prompt.updated"]
    assert asked(log.prompt()).snoozed_until == until
    assert log.feed(a_tick(until - SECOND)) == []
    assert kinds(log.feed(a_tick(until))) == ["prompt.updated"]
    assert asked(log.prompt()).snoozed_until is None


def test_a_snooze_before_the_cycle_opens_holds_at_the_opening() -> None:
    log = a_company(a_snooze(), at=OPENS)
    assert asked(log.prompt()).snoozed_until == utc(2026, 3, 20)


def test_a_snooze_known_before_its_cycle_ends_by_the_clock_as_well() -> None:
    until = utc(2026, 3, 20)
    log = Log(an_employee_joined(), a_relationship(), a_tied_person(), a_tick(), a_snooze(until=until), a_cycle())
    assert asked(log.prompt()).snoozed_until == until
    assert kinds(log.feed(a_tick(until))) == ["prompt.updated"]


def test_of_two_snoozes_the_one_said_last_holds() -> None:
    log = a_company(a_snooze(until=utc(2026, 3, 15), at=LATER), a_snooze(until=utc(2026, 3, 25)))
    assert asked(log.prompt()).snoozed_until == utc(2026, 3, 15)


def test_a_snooze_is_the_sponsors_own() -> None:
    log = a_company(a_relationship(other_id="S2"), a_tied_person("S2"), a_snooze(sponsor_id="S2"))
    assert asked(log.prompt("S1")).snoozed_until is None


def test_a_snoozed_prompt_is_withdrawn_when_its_cycle_closes() -> None:
    log = a_company(a_snooze(until=days_after(CLOSES, 5)))
    assert kinds(log.feed(a_tick(CLOSES))) == ["prompt.withdrawn"]
    assert log.feed(a_tick(days_after(CLOSES, 6))) == []


def test_a_snooze_and_a_refusal_do_not_undo_each_other() -> None:
    assert not a_company(a_snooze(), a_refusal()).stands()
    assert not a_company(a_refusal(), a_snooze()).stands()


# -- gaps -----------------------------------------------------------------------------------------


def test_an_employee_without_a_sponsor_has_a_gap() -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick())
    assert kinds(log.outputs) == ["gap.opened"]
    gap = log.gap()
    assert isinstance(gap, GapOpened)
    assert (gap.version, gap.suggestions) == (1, ())


def test_an_employee_with_a_sponsor_has_no_gap() -> None:
    assert a_company().gap() is None


def test_a_gap_closes_with_the_cycle() -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick())
    assert kinds(log.feed(a_tick(CLOSES))) == ["gap.closed"]
    assert closed_because(log.gap()) == "cycle_closed"


@pytest.mark.parametrize(
    ("news", "reason"),
    [
        (lambda: a_cancellation(), "cycle_cancelled"),
        (lambda: a_closing(), "cycle_closed"),
        (lambda: an_amendment(opens_at=utc(2026, 3, 20)), "cycle_closed"),
        (lambda: an_employee_left(), "employee_left"),
        (lambda: an_employee_promoted(level=6), "out_of_scope"),
        (lambda: an_endorsement(sponsor_id="V1"), "sponsor_found"),
    ],
)
def test_a_gap_closes_with_its_reason(news: Any, reason: str) -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick())
    assert kinds(log.feed(news())) == ["gap.closed"]
    assert closed_because(log.gap()) == reason


def test_a_gap_that_opens_again_has_the_next_version() -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick(), a_closing())
    assert kinds(log.feed(an_amendment())) == ["gap.opened"]
    gap = log.gap()
    assert isinstance(gap, GapOpened)
    assert gap.version == 3


def test_a_volunteers_general_endorsement_does_not_close_a_gap() -> None:
    log = Log(an_employee_joined(), a_cycle(), a_tick())
    assert log.feed(an_endorsement(sponsor_id="V1", cycle_id=None)) == []


def test_a_volunteers_endorsement_withdrawn_opens_the_gap_again() -> None:
    log = Log(an_employee_joined(), a_cycle(), an_endorsement(sponsor_id="V1"), a_tick())
    assert log.outputs == []
    assert kinds(log.feed(an_endorsement_withdrawn(sponsor_id="V1"))) == ["gap.opened"]


def test_a_volunteers_endorsement_counts_from_its_time_by_the_clock() -> None:
    given_at = days_after(IN_CYCLE, 1)
    log = Log(an_employee_joined(), a_cycle(), a_tick())
    assert log.feed(an_endorsement(sponsor_id="V1", given_at=given_at)) == []
    assert kinds(log.feed(a_tick(given_at))) == ["gap.closed"]


def test_a_sponsor_who_has_spoken_and_gone_leaves_no_gap() -> None:
    log = a_company(an_endorsement(), a_tied_person(left_at=IN_CYCLE), a_relationship_ended(ended_at=IN_CYCLE + SECOND))
    assert log.gap() is None


def test_a_snoozing_sponsor_leaves_no_gap() -> None:
    assert a_company(a_snooze()).gap() is None


# -- what is kept is bounded ----------------------------------------------------------------------

ENCODED_BYTES = 900_000
"""A Kafka record holds 1,000,000 by default, and the state of an employee is one record of the changelog."""


def test_what_is_kept_of_an_employee_is_bounded() -> None:
    text = "What was done, for whom, and what came of it. " * 50
    shuffled = random.Random(7)
    log = Log(an_employee_joined())
    events: list[CareerEvent] = [
        an_achievement(
            f"achievement-{n:05d}",
            title=text[:200],
            outcome=text[:2000],
            link=f"https://example.com/{n}",
            competencies=("delivery", "leadership", "juggling"),
            occurred_on=date(2020, 1, 1) + timedelta(days=shuffled.randrange(2000)),
            witnesses=tuple(f"email:witness-{w}@example.com" for w in range(shuffled.randrange(8))),
        )
        for n in range(5000)
    ]
    events += [an_endorsement(f"endorsement-{n:04d}", cycle_id=None, statement=text[:2000]) for n in range(1000)]
    events += [a_relationship(kind="worked_with", other_id=f"W{n}") for n in range(500)]
    events += [a_tied_person(f"W{n}") for n in range(500)]
    events += [an_employee_changed(effective_at=days_after(utc(2020, 1, 1), n)) for n in range(100)]
    events += [a_retraction(f"achievement-{n:05d}") for n in range(0, 5000, 5)]
    events += [a_refusal(sponsor_id=f"S{n}") for n in range(300)]
    shuffled.shuffle(events)
    log.feed(*events, a_cycle(), a_tick())
    employee = log.employees["E1"]
    assert len(encode_employee(employee)) < ENCODED_BYTES, len(encode_employee(employee))
    assert len(employee.profiles) == BOUNDS["profiles"]
    assert len(employee.ties) == BOUNDS["ties"]
    assert len(employee.people) == BOUNDS["people"]
    assert len(employee.endorsements) == BOUNDS["endorsements"]
    assert len(employee.answers) == BOUNDS["answers"]
    assert len([a for a in employee.achievements.values() if not a.retracted]) == BOUNDS["achievements"]
    assert len([a for a in employee.achievements.values() if a.retracted]) == BOUNDS["achievements"]


def test_a_statement_that_names_a_mailing_list_keeps_the_first_fifty_names() -> None:
    names = tuple(f"email:{n}@example.com" for n in range(500))
    log = a_company(
        an_achievement(witnesses=names, competencies=names, link="https://example.com/" + 5000 * "x"),
        a_tied_person(refs=names),
    )
    employee = log.employees["E1"]
    done = employee.achievements["A1"]
    assert (len(done.witnesses), len(done.competencies), done.link) == (50, 50, "")
    assert len(employee.people["S1"].refs) == 50


def test_the_newest_achievements_are_kept_whatever_came_last() -> None:
    newest = [an_achievement(f"A{n}", occurred_on=date(2025, 6, 1) + timedelta(days=n)) for n in range(200)]
    oldest = [an_achievement(f"B{n}", occurred_on=date(2025, 4, 1)) for n in range(50)]
    log = Log(an_employee_joined(), *newest, *oldest)
    assert set(log.employees["E1"].achievements) == {f"A{n}" for n in range(200)}
    other_way = Log(*oldest, *newest)
    assert other_way.employees["E1"].achievements == log.employees["E1"].achievements


def test_hundreds_of_retractions_do_not_push_out_what_counts() -> None:
    log = a_company(*(a_retraction(f"gone-{n}") for n in range(500)))
    assert log.shown() == ["A1"]


def test_of_retractions_the_newest_are_remembered() -> None:
    log = Log(*(a_retraction(f"{300 - n}", at=days_after(LONG_AGO, n)) for n in range(201)))
    assert "300" not in log.employees["E1"].achievements
    assert {"299", "100"} <= set(log.employees["E1"].achievements)


def test_a_sponsor_is_not_forgotten_for_a_hundred_team_mates() -> None:
    log = a_company()
    for n in range(300):
        log.feed(a_relationship(kind="worked_with", other_id=f"W{n}"), a_tied_person(f"W{n}"))
    assert kinds(log.outputs) == ["prompt.opened"]


def test_a_mentor_is_not_forgotten_for_a_hundred_team_mates() -> None:
    log = Log(
        an_employee_joined(), a_relationship(kind="mentor", other_id="W"), a_tied_person("W"), a_cycle(), a_tick()
    )
    log.feed(*(a_relationship(kind="worked_with", other_id=f"W{n}") for n in range(300)))
    assert [s.person_id for s in log.suggested()] == ["W"]


def test_a_tie_let_go_after_its_end_does_not_come_back_by_a_repetition_of_its_start() -> None:
    start = a_relationship(kind="worked_with", other_id="W")
    log = Log(an_employee_joined(), start, a_relationship_ended(kind="worked_with", other_id="W"))
    log.feed(*(a_relationship(kind="worked_with", other_id=f"W{n}") for n in range(100)))
    log.feed(*(a_relationship_ended(kind="worked_with", other_id=f"W{n}") for n in range(100)))
    assert start.relationship_id not in log.employees["E1"].ties
    log.feed(start)
    assert start.relationship_id not in log.employees["E1"].ties


def test_a_profile_beyond_the_bound_that_comes_again_changes_nothing() -> None:
    profiles = [an_employee_joined(level=4)]
    profiles += [an_employee_joined(effective_at=days_after(utc(2025, 1, 1), n)) for n in range(20)]
    log = Log(*profiles, a_relationship(), a_tied_person(), a_cycle(), a_tick())
    before = log.employees["E1"]
    assert log.feed(*profiles) == []
    assert log.employees["E1"] == before


def test_the_oldest_profile_kept_stands_for_those_forgotten() -> None:
    profiles = [an_employee_joined(effective_at=days_after(IN_CYCLE, n)) for n in range(17)]
    shuffled = random.Random(7).sample(profiles, len(profiles))
    log = Log(*shuffled, a_relationship(), a_tied_person(), a_cycle(), a_tick(OPENS))
    assert len(log.employees["E1"].profiles) == 16
    assert log.stands()


def test_the_newest_profiles_are_kept() -> None:
    profiles = [an_employee_joined(effective_at=days_after(utc(2025, 1, 1), n), level=5 + n // 19) for n in range(20)]
    assert Log(*profiles, a_relationship(), a_tied_person(), a_cycle(levels=(6,)), a_tick()).stands()


def test_a_correction_of_a_profile_that_is_kept_does_not_undo_that_others_are_forgotten() -> None:
    profiles = [an_employee_joined(effective_at=days_after(IN_CYCLE, n)) for n in range(17)]
    correction = an_employee_changed(effective_at=days_after(IN_CYCLE, 10), name="Corrected")
    log = Log(*profiles, correction, a_relationship(), a_tied_person(), a_cycle(), a_tick(OPENS))
    assert log.stands()


def test_before_the_first_profile_nobody_is_asked_while_none_is_forgotten() -> None:
    profiles = [an_employee_joined(effective_at=days_after(IN_CYCLE, n)) for n in range(16)]
    log = Log(*profiles, a_relationship(), a_tied_person(), a_cycle(), a_tick(OPENS))
    assert log.outputs == []
