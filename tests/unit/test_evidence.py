"""Which evidence a prompt shows, in which order, and why: what moves the ranking, and what does not."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import permutations

import pytest

from services.correlator.policy import Policy
from shared.contracts.base import utc
from shared.contracts.career import SELF, CareerEvent, EndorsementGiven
from shared.contracts.said import Evidence, PromptOpened
from tests.career import (
    IN_CYCLE,
    Log,
    a_company,
    a_correction,
    a_retraction,
    a_tied_person,
    an_achievement,
    an_amendment,
    an_endorsement,
    an_endorsement_withdrawn,
)

WINDOW_ENDS = date(2026, 2, 28)


def codes(piece: Evidence) -> list[str]:
    return [reason.code for reason in piece.reasons]


def piece(log: Log, evidence_id: str) -> Evidence:
    return next(found for found in log.evidence() if found.evidence_id == evidence_id)


def days_before_the_end(days: int) -> date:
    return WINDOW_ENDS - timedelta(days=days)


def without_the_first(*achievements: CareerEvent, policy: Policy | None = None) -> Log:
    """A company whose own achievement, A1, is taken back."""
    return a_company(a_retraction(), *achievements, policy=policy)


# -- how many -------------------------------------------------------------------------------------


def test_at_most_five_pieces_are_shown_each_with_a_reason() -> None:
    log = a_company(*(an_achievement(f"A{n}", impact=n % 4, competencies=()) for n in range(2, 20)))
    assert len(log.evidence()) == 5
    assert all(shown.reasons and all(reason.text for reason in shown.reasons) for shown in log.evidence())


def test_how_many_pieces_is_the_companys_to_say() -> None:
    more = [an_achievement(f"A{n}") for n in range(2, 6)]
    assert len(a_company(*more, policy=Policy(evidence_pieces=2)).evidence()) == 2


def test_without_evidence_the_sponsor_is_asked_all_the_same() -> None:
    assert without_the_first().evidence() == []


# -- how strong it is -----------------------------------------------------------------------------


def strength_at_the_opening(*achievements: CareerEvent, policy: Policy | None = None) -> int | None:
    log = without_the_first(*achievements, policy=policy)
    [opened] = [said for said in log.outputs if isinstance(said, PromptOpened)]
    return opened.evidence_strength


def great(achievement_id: str = "A2", days: int = 0) -> CareerEvent:
    """An achievement that shows what the cycle looks for, mattered to the company, and that the sponsor did not see."""
    done = {"occurred_on": days_before_the_end(days), "competencies": ("delivery",), "impact": 3, "witnesses": ()}
    return an_achievement(achievement_id, **done)


def test_an_opened_prompt_says_what_its_evidence_weighs_in_hundredths() -> None:
    assert strength_at_the_opening(great()) == 600
    assert strength_at_the_opening(great(days=180)) == 300
    assert strength_at_the_opening() == 0


def test_evidence_that_repeats_itself_and_what_is_not_shown_adds_less_or_nothing() -> None:
    assert strength_at_the_opening(great(), great("A3")) == 600 + 360
    assert strength_at_the_opening(great(), great("A3"), policy=Policy(evidence_pieces=1)) == 600


# -- what moves the ranking -----------------------------------------------------------------------


def test_a_piece_that_shows_what_the_cycle_looks_for_goes_first() -> None:
    log = without_the_first(
        an_achievement("a-other", competencies=("juggling",)), an_achievement("b-match", competencies=("delivery",))
    )
    assert log.shown() == ["b-match", "a-other"]


def test_a_piece_that_shows_two_of_them_goes_before_one_that_shows_one() -> None:
    log = without_the_first(
        an_achievement("a-one", competencies=("delivery",)),
        an_achievement("b-both", competencies=("delivery", "leadership")),
    )
    assert log.shown() == ["b-both", "a-one"]


def test_a_third_match_counts_as_well() -> None:
    log = without_the_first(
        an_amendment(competencies=("a", "b", "c", "d")),
        an_achievement("a-two", competencies=("a", "b")),
        an_achievement("b-three", competencies=("b", "c", "d")),
    )
    assert log.shown() == ["b-three", "a-two"]


def test_a_match_outweighs_the_greatest_impact_without_one() -> None:
    log = without_the_first(
        an_achievement("a-great", competencies=("juggling",), impact=3),
        an_achievement("b-match", competencies=("delivery",), impact=0),
    )
    assert log.shown() == ["b-match", "a-great"]


@pytest.mark.parametrize("impact", [0, 1, 2])
def test_a_piece_that_reached_further_goes_first(impact: int) -> None:
    log = without_the_first(
        an_achievement("a-less", impact=impact, competencies=("delivery",)),
        an_achievement("b-more", impact=impact + 1, competencies=("delivery",)),
    )
    assert log.shown() == ["b-more", "a-less"]


def test_a_recent_piece_goes_before_one_of_half_a_year_ago() -> None:
    log = without_the_first(
        an_achievement("a-old", occurred_on=days_before_the_end(180)),
        an_achievement("b-new", occurred_on=days_before_the_end(0)),
    )
    assert log.shown() == ["b-new", "a-old"]


def test_after_a_half_life_a_piece_counts_half() -> None:
    # Impact 3 counts twice as much as impact 0: at one half-life they are equal, and of equals the older stays.
    for days, order in ((175, ["strong", "fresh"]), (180, ["strong", "fresh"]), (230, ["fresh", "strong"])):
        log = without_the_first(
            an_achievement("strong", impact=3, occurred_on=days_before_the_end(days), competencies=("delivery",)),
            an_achievement("fresh", impact=0, occurred_on=days_before_the_end(0), competencies=("leadership",)),
        )
        assert log.shown() == order, days


def test_the_half_life_is_the_companys_to_say() -> None:
    pieces = [
        an_achievement("strong", impact=3, occurred_on=days_before_the_end(90), competencies=("delivery",)),
        an_achievement("fresh", impact=0, occurred_on=days_before_the_end(0), competencies=("leadership",)),
    ]
    assert without_the_first(*pieces).shown() == ["strong", "fresh"]
    assert without_the_first(*pieces, policy=Policy(half_life_days=30)).shown() == ["fresh", "strong"]


def test_age_counts_to_the_end_of_the_window_and_does_not_drift_with_the_clock() -> None:
    pieces = [
        an_achievement("a", impact=3, occurred_on=days_before_the_end(200)),
        an_achievement("b", impact=1, occurred_on=days_before_the_end(3)),
    ]
    assert a_company(*pieces, at=utc(2026, 3, 1)).evidence() == a_company(*pieces, at=utc(2026, 3, 30)).evidence()


def test_no_piece_is_too_old_to_be_weighed() -> None:
    # With a half-life of a day, what is three years old counts 2 to the power of -1,095: no float holds that.
    log = a_company(
        an_amendment(evidence_from=date(2020, 1, 1)),
        an_achievement("old", occurred_on=days_before_the_end(1200)),
        an_achievement("older", occurred_on=days_before_the_end(1500)),
        policy=Policy(half_life_days=1),
    )
    assert log.shown() == ["A1", "old", "older"]


def test_what_the_sponsor_saw_goes_first() -> None:
    log = without_the_first(an_achievement("a-unseen"), an_achievement("b-seen", witnesses=("hris:E9", "hris:S1")))
    assert log.shown() == ["b-seen", "a-unseen"]
    assert "seen_by_you" in codes(piece(log, "b-seen"))
    assert "not_yet_seen" not in codes(piece(log, "b-seen"))
    assert "seen_by_you" not in codes(piece(log, "a-unseen"))
    assert "not_yet_seen" in codes(piece(log, "a-unseen"))


def test_a_sponsor_is_recognised_by_any_of_their_names() -> None:
    log = a_company(
        a_tied_person(refs=("hris:S1", "email:s1@example.com")), an_achievement(witnesses=("email:s1@example.com",))
    )
    assert "seen_by_you" in codes(piece(log, "A1"))


def test_what_another_sponsor_saw_is_seen_by_them_alone() -> None:
    log = a_company(an_achievement(witnesses=("hris:S2",)))
    assert "seen_by_you" not in codes(piece(log, "A1"))


def test_variety_goes_before_repetition() -> None:
    log = without_the_first(
        *(an_achievement(f"a{n}", competencies=("delivery",)) for n in range(6)),
        an_achievement("b", competencies=("leadership",)),
    )
    assert log.shown()[:2] == ["a0", "b"]


def test_a_repetition_weighs_less_each_time() -> None:
    # Four times the same against one that is weaker to begin with: the third repetition is weaker still.
    log = without_the_first(
        *(an_achievement(f"a{n}", impact=3, competencies=("delivery",)) for n in range(4)),
        an_achievement("b", impact=0, competencies=("leadership",)),
    )
    assert log.shown().index("b") == 2


def test_without_a_match_variety_goes_by_what_a_piece_shows_first() -> None:
    log = without_the_first(
        *(an_achievement(f"a{n}", competencies=("juggling", f"n{n}")) for n in range(3)),
        an_achievement("b", competencies=("cooking",)),
        an_achievement("c", competencies=()),
    )
    assert log.shown() == ["a0", "b", "c", "a1", "a2"]


def test_what_only_its_owner_says_comes_after_what_others_say_and_is_told_as_such() -> None:
    log = a_company(an_achievement("A0", source=f"{SELF}#1"), an_achievement("A2", competencies=("leadership",)))
    assert log.shown() == ["A1", "A2", "A0"]
    assert codes(piece(log, "A0"))[-1] == "self_reported"
    assert "self_reported" not in codes(piece(log, "A1"))


def test_what_its_owners_word_weighs_is_the_companys_to_say() -> None:
    log = a_company(an_achievement("A0", source=f"{SELF}#1"), policy=Policy(self_reported_weight=1.0))
    assert log.shown() == ["A0", "A1"]


def test_the_newest_statement_says_whose_words_they_are() -> None:
    log = a_company(a_correction(title="As I would say it", source=f"{SELF}#1"))
    assert (codes(piece(log, "A1"))[-1], piece(log, "A1").title) == ("self_reported", "As I would say it")
    log.feed(a_correction(title="As the tool says it"))
    assert "self_reported" not in codes(piece(log, "A1"))


def test_of_equal_pieces_the_older_goes_first_then_the_smaller_id() -> None:
    a_day_apart = [
        an_achievement("a-newer", occurred_on=days_before_the_end(1)),
        an_achievement("b-older", occurred_on=days_before_the_end(2)),
    ]
    assert without_the_first(*a_day_apart).shown() == ["b-older", "a-newer"]
    for ids in permutations(("x", "y", "z")):
        assert without_the_first(*(an_achievement(i) for i in ids)).shown() == ["x", "y", "z"]


# -- reasons --------------------------------------------------------------------------------------


def test_all_that_speaks_for_a_piece_is_said_in_words() -> None:
    log = a_company(
        an_achievement(
            impact=2,
            competencies=("delivery", "leadership", "juggling"),
            witnesses=("hris:S1",),
            occurred_on=days_before_the_end(10),
        )
    )
    assert [(reason.code, reason.text) for reason in piece(log, "A1").reasons] == [
        ("competency", "It shows delivery and leadership, which this cycle looks for."),
        ("impact", "It mattered to several teams."),
        ("seen_by_you", "You saw it yourself."),
        ("recent", "It is recent."),
    ]


def test_competencies_are_named_in_the_order_of_the_cycle() -> None:
    log = a_company(
        an_amendment(competencies=("a", "b", "c", "d")), an_achievement(competencies=("d", "c", "b", "a", "e"))
    )
    assert piece(log, "A1").reasons[0].text == "It shows a, b, c and d, which this cycle looks for."


@pytest.mark.parametrize(
    ("impact", "words"),
    [(1, "to the team"), (2, "to several teams"), (3, "to the whole company or its customers")],
)
def test_an_impact_is_said_as_far_as_it_reached(impact: int, words: str) -> None:
    (reason,) = [r for r in piece(a_company(an_achievement(impact=impact)), "A1").reasons if r.code == "impact"]
    assert reason.text == f"It mattered {words}."


def test_an_impact_not_said_is_no_reason() -> None:
    assert "impact" not in codes(piece(a_company(an_achievement(impact=0)), "A1"))


@pytest.mark.parametrize(("days", "recent"), [(92, True), (93, False)])
def test_recent_is_what_happened_in_the_last_three_months_of_the_window(days: int, recent: bool) -> None:
    log = a_company(an_achievement(occurred_on=days_before_the_end(days)))
    assert ("recent" in codes(piece(log, "A1"))) is recent


def test_a_piece_without_any_other_reason_adds_another_side() -> None:
    log = a_company(an_achievement(impact=0, competencies=(), occurred_on=days_before_the_end(300)))
    assert codes(piece(log, "A1")) == ["variety", "not_yet_seen"]


def test_title_outcome_day_and_link_are_shown_as_they_were_said() -> None:
    shown = piece(a_company(an_achievement(title="T", outcome="O", link="https://example.com/1")), "A1")
    assert (shown.kind, shown.title, shown.outcome, shown.link) == ("achievement", "T", "O", "https://example.com/1")
    assert shown.occurred_on == date(2026, 1, 15)


# -- endorsements as evidence ---------------------------------------------------------------------


def earlier(**given: object) -> EndorsementGiven:
    """An endorsement that another sponsor gave in general before the cycle opened."""
    return an_endorsement(
        "N9", **({"sponsor_id": "S9", "cycle_id": None, "given_at": utc(2026, 2, 1), "statement": "Did well."} | given)
    )


def test_an_earlier_endorsement_by_somebody_else_is_evidence() -> None:
    log = a_company(earlier(), a_tied_person("S9", name="Ola Berg"))
    shown = piece(log, "N9")
    assert (shown.kind, shown.title, shown.outcome) == ("endorsement", "Endorsed by Ola Berg", "Did well.")
    assert (shown.occurred_on, codes(shown)) == (date(2026, 2, 1), ["spoken_for"])


def test_an_endorsement_by_somebody_not_described_is_another_sponsors() -> None:
    assert piece(a_company(earlier()), "N9").title == "Endorsed by another sponsor"


def test_an_endorsement_for_another_cycle_is_evidence_in_this_one() -> None:
    assert "N9" in a_company(earlier(cycle_id="autumn")).shown()


@pytest.mark.parametrize(
    ("given", "why_not"),
    [
        ({"sponsor_id": "S1"}, "the sponsor's own word is no news to them"),
        ({"cycle_id": "spring"}, "what is said in this cycle goes to those who decide"),
        ({"given_at": utc(2026, 3, 1)}, "nor is what is said while it is open"),
        ({"given_at": utc(2025, 2, 28, 23, 59)}, "it lies before the window"),
    ],
)
def test_not_every_endorsement_is_evidence(given: dict[str, object], why_not: str) -> None:
    assert "N9" not in a_company(earlier(**given)).shown(), why_not


def test_an_endorsement_after_the_window_and_before_the_opening_is_no_evidence() -> None:
    log = a_company(an_amendment(evidence_to=date(2026, 1, 31)), earlier())
    assert "N9" not in log.shown()


@pytest.mark.parametrize(("given_at", "counts"), [(utc(2026, 2, 28, 23, 59), True), (utc(2026, 3, 1), False)])
def test_an_endorsement_is_evidence_only_if_it_was_given_before_the_opening(given_at: datetime, counts: bool) -> None:
    log = a_company(an_amendment(evidence_to=date(2026, 3, 31)), earlier(given_at=given_at))
    assert ("N9" in log.shown()) is counts


def test_an_endorsement_counts_on_the_first_day_of_the_window() -> None:
    assert "N9" in a_company(earlier(given_at=utc(2025, 3, 1))).shown()


def test_an_endorsement_withdrawn_is_no_evidence() -> None:
    log = a_company(earlier(), an_endorsement_withdrawn("N9", sponsor_id="S9"))
    assert "N9" not in log.shown()


def test_an_endorsement_counts_as_a_piece_that_shows_one_competency() -> None:
    log = without_the_first(
        earlier(given_at=utc(2026, 1, 15)),
        an_achievement("a-unmatched", impact=3, competencies=(), occurred_on=date(2026, 1, 15)),
        an_achievement("b-matched", impact=1, competencies=("delivery",), occurred_on=date(2026, 1, 15)),
    )
    assert log.shown() == ["b-matched", "N9", "a-unmatched"]


def test_an_old_endorsement_weighs_less() -> None:
    log = without_the_first(
        earlier(given_at=utc(2025, 4, 1)),
        an_achievement("a", impact=0, competencies=("delivery",), occurred_on=date(2026, 1, 15)),
    )
    assert log.shown() == ["a", "N9"]


def test_five_endorsements_are_one_argument() -> None:
    log = a_company(
        *(an_endorsement(f"N{n}", sponsor_id=f"S{n}", cycle_id=None, given_at=utc(2026, 2, n)) for n in range(2, 8)),
        an_achievement("A2", impact=0, competencies=("leadership",)),
    )
    assert {"A1", "A2"} <= set(log.shown()[:3])


def test_each_piece_is_shown_once() -> None:
    log = a_company(an_achievement(), an_achievement("A2", competencies=("delivery", "leadership", "delivery")))
    assert sorted(log.shown()) == ["A1", "A2"]
    assert log.calendar.now == IN_CYCLE
