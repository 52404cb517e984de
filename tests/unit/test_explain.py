"""What an explanation says: the condition that decided, the facts behind it, the terms of a weight, what to do."""

from __future__ import annotations

from datetime import date

import pytest

from services.correlator import explanation as explanation_module
from services.correlator.explanation import (
    Condition,
    Disagreement,
    Explanation,
    NotKnown,
    PromptExplained,
    explain,
)
from services.correlator.policy import Policy
from services.correlator.rules import NotAsked
from services.correlator.telling import listed, told_in_words
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent
from shared.streaming.records import Record
from tests.career import (
    CLOSES,
    IN_CYCLE,
    OPENS,
    a_cancellation,
    a_closing,
    a_correction,
    a_cycle,
    a_refusal,
    a_relationship,
    a_relationship_ended,
    a_retraction,
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
    an_introduction,
    days_after,
)
from tests.property.test_explain_properties import followed

JOINED, SPONSORED, DESCRIBED, ACHIEVED, CYCLE = range(5)
"""Offsets of what every company below begins with."""


def a_log(*more: CareerEvent) -> list[CareerEvent]:
    """An employee, their sponsor, an achievement that the sponsor saw, the open cycle, then `more`, then the time."""
    said = utc(2025, 1, 1)  # older than `more`, which was built before it
    return [
        an_employee_joined(at=said, revision=0),
        a_relationship(at=said),
        a_tied_person(name="Sam Roe", at=said, revision=0),
        an_achievement(witnesses=("hris:S1",), at=said),
        a_cycle(at=said),
        *more,
        a_tick(),
    ]


def explained(events: list[CareerEvent], employee: str = "E1", cycle: str = "spring") -> Explanation:
    return explain(followed(employee, events), cycle, (1, len(events)), {}, ())


def the_prompt(events: list[CareerEvent]) -> PromptExplained:
    (prompt,) = explained(events).prompts
    return prompt


def what_decided(conditions: tuple[Condition, ...]) -> Condition:
    return conditions[-1]


def offsets(condition: Condition) -> list[int]:
    return [fact.offset for fact in condition.facts]


# -- prompts --------------------------------------------------------------------------------------


def test_of_a_prompt_that_stands_every_condition_holds_and_names_its_facts() -> None:
    prompt = the_prompt(a_log())
    assert (prompt.verdict, prompt.reason, prompt.sponsor_name) == ("asked", None, "Sam Roe")
    assert all(condition.holds for condition in prompt.conditions)
    facts = {condition.name: offsets(condition) for condition in prompt.conditions}
    assert facts["with_the_company"] == [JOINED]
    assert facts["in_scope"] == [JOINED, CYCLE]
    assert facts["is_sponsor"] == [SPONSORED]
    assert facts["sponsor_is_there"] == [DESCRIBED]
    assert facts["opened"] == facts["not_over"] == [CYCLE, 5]


def test_the_scope_is_told_part_by_part() -> None:
    (scope,) = [c for c in the_prompt(a_log()).conditions if c.name == "in_scope"]
    assert scope.because == "acme/eng/pay is in eng; level 5 is among 5"
    events = a_log(an_amendment(min_months_in_level=30, unit_ids=("ops", "hr"), levels=(3, 4)))
    assert what_decided(the_prompt(events).conditions).because == (
        "acme/eng/pay is in none of ops and hr; level 5 is not among 3 and 4; "
        "at that level since 2024-01-01: 30 months are reached on 2026-07-01, and the cycle opens 2026-03-01"
    )


@pytest.mark.parametrize(
    ("news", "name", "reason", "words"),
    [
        (lambda: an_amendment(opens_at=days_after(IN_CYCLE, 1)), "opened", "cycle_closed", "opens 2026-03-11 00:00"),
        (a_cancellation, "not_cancelled", "cycle_cancelled", "the cycle was cancelled"),
        (a_closing, "not_over", "cycle_closed", "ended 2026-03-10 00:00 UTC"),
        (an_employee_left, "with_the_company", "employee_left", "the employee has left"),
        (lambda: an_employee_promoted(level=6), "in_scope", "out_of_scope", "level 6 is not among 5"),
        (a_relationship_ended, "is_sponsor", "relationship_ended", "is not their sponsor now"),
        (lambda: a_tied_person(left_at=OPENS), "sponsor_is_there", "sponsor_left", "Person S1 (S1) has left"),
        (a_refusal, "not_declined", "declined", "Sam Roe (S1) has declined"),
    ],
)
def test_what_decided_is_the_last_condition_with_the_fact_that_did_it(
    news: type[CareerEvent], name: str, reason: str, words: str
) -> None:
    prompt = the_prompt(a_log(news()))
    decided = what_decided(prompt.conditions)
    assert (prompt.verdict, prompt.reason) == ("not_asked", reason)
    assert (decided.name, decided.holds) == (name, False)
    assert words in decided.because
    assert 5 in offsets(decided)
    assert all(condition.holds for condition in prompt.conditions[:-1])


def test_who_has_spoken_is_told_by_which_endorsement() -> None:
    prompt = the_prompt(a_log(an_endorsement("N7")))
    decided = what_decided(prompt.conditions)
    assert (prompt.verdict, decided.name) == ("spoken", "not_spoken_yet")
    assert decided.because == "Sam Roe (S1) has spoken for them, by the endorsement N7"
    assert offsets(decided) == [5]


def test_an_endorsement_that_does_not_count_is_named() -> None:
    prompt = the_prompt(a_log(an_endorsement("N7"), an_endorsement_withdrawn("N7")))
    (spoken,) = [condition for condition in prompt.conditions if condition.name == "not_spoken_yet"]
    assert prompt.verdict == "asked"
    assert offsets(spoken) == [5, 6]
    assert "taken back" in spoken.because


def test_a_cycle_taken_up_again_after_it_was_cancelled_is_told_so() -> None:
    prompt = the_prompt(a_log(a_cancellation(), an_amendment()))
    (place,) = [condition for condition in prompt.conditions if condition.name == "not_cancelled"]
    assert prompt.verdict == "asked"
    assert "taken up again" in place.because


def test_a_snoozed_prompt_says_until_when() -> None:
    prompt = the_prompt(a_log(a_snooze(until=CLOSES)))
    assert (prompt.verdict, prompt.snoozed_until) == ("asked", CLOSES)
    assert prompt.conditions[-1].because.endswith("put the answer off until 2026-03-31 00:00 UTC")


def test_a_sponsor_who_was_never_described_is_not_there() -> None:
    events = [an_employee_joined(), a_relationship(), a_cycle(), a_tick()]
    decided = what_decided(the_prompt(events).conditions)
    assert decided.because == "S1 has not been described to this employee's log yet"


def test_each_version_is_told_with_the_event_that_led_to_it() -> None:
    prompt = the_prompt(a_log(a_tick(OPENS), an_achievement("A2"), a_refusal()))
    told = [(version.version, version.type, version.reason, version.because_of.offset) for version in prompt.versions]
    assert told == [
        (1, "prompt.opened", None, 5),
        (2, "prompt.updated", None, 6),
        (3, "prompt.withdrawn", "declined", 7),
    ]


def test_what_the_mere_passing_of_time_changed_is_told_with_the_clock_event() -> None:
    events = [*a_log(a_snooze(until=days_after(IN_CYCLE, 2))), a_tick(days_after(IN_CYCLE, 1))]
    prompt = the_prompt([*events, a_tick(days_after(IN_CYCLE, 3))])
    told = [(version.type, version.because_of.type, version.because_of.offset) for version in prompt.versions]
    assert told == [("prompt.opened", "clock.ticked", 6), ("prompt.updated", "clock.ticked", 8)]


def test_an_event_that_was_told_twice_is_shown_where_it_was_told_first() -> None:
    refused = a_refusal()
    described = a_tied_person(name="Sam Roe")
    events = [*a_log(refused, described), refused, described]
    prompt = the_prompt(events)
    assert offsets(what_decided(prompt.conditions)) == [5]
    (there,) = [condition for condition in prompt.conditions if condition.name == "sponsor_is_there"]
    assert offsets(there) == [6]


def test_the_clock_is_the_event_that_moved_the_time() -> None:
    explanation = explained([*a_log(), a_tick(OPENS)])
    assert (explanation.now, explanation.clock.offset) == (IN_CYCLE, 5)


# -- evidence -------------------------------------------------------------------------------------


def test_the_weight_is_told_as_the_product_of_its_terms() -> None:
    (piece,) = the_prompt(a_log()).evidence
    assert [(term.name, round(term.factor, 4)) for term in piece.terms] == [
        ("competencies", 3.0),
        ("impact", 1.25),
        ("seen", 1.3),
        ("recency", round(0.5 ** (44 / 180), 4)),
    ]
    assert piece.weight == pytest.approx(3.0 * 1.25 * 1.3 * 0.5 ** (44 / 180))
    assert piece.terms[3].because == "2026-01-15, 44 days before the evidence window ends; half each 180"
    assert [fact.offset for fact in piece.facts] == [ACHIEVED]


def test_what_shows_the_same_again_is_told_to_weigh_less() -> None:
    second = the_prompt(a_log(an_achievement("A2"))).evidence[1]
    assert second.terms[-1].name == "repetition"
    assert (second.terms[-1].factor, second.terms[-1].because) == (0.6, "1 placed before it show the same: delivery")


def test_pieces_beyond_the_five_are_told_as_not_shown() -> None:
    prompt = the_prompt(a_log(*(an_achievement(f"A{n}") for n in range(2, 9))))
    assert [piece.shown for piece in prompt.evidence] == [True] * 5 + [False] * 3
    assert [piece.place for piece in prompt.evidence] == list(range(1, 9))


def test_what_does_not_count_is_told_with_the_reason() -> None:
    prompt = the_prompt(
        a_log(
            an_achievement("old", occurred_on=date(2025, 2, 28)),
            an_achievement("new", occurred_on=date(2026, 3, 1)),
            an_achievement("false"),
            a_retraction("false"),
            an_endorsement("own", cycle_id=None, given_at=days_after(OPENS, -9)),
            an_endorsement("late", sponsor_id="S9", cycle_id=None, given_at=IN_CYCLE),
        )
    )
    assert {left.evidence_id: left.reason for left in prompt.left_out} == {
        "old": "before_window",
        "new": "after_window",
        "false": "retracted",
        "own": "by_the_sponsor",
        "late": "after_the_opening",
    }


def test_a_correction_is_the_fact_that_counts() -> None:
    (piece,) = the_prompt(a_log(a_correction(title="As it was"))).evidence
    assert (piece.title, [fact.type for fact in piece.facts]) == ("As it was", ["achievement.corrected"])


# -- gaps, and where nothing stands ---------------------------------------------------------------


def test_a_gap_tells_who_came_into_question_and_why_not() -> None:
    events = [
        an_employee_joined(),
        a_cycle(),
        a_relationship(kind="mentor", other_id="T1"),
        a_tied_person("T1", level=6, introductions=(an_introduction("X1"), an_introduction("M1"))),
        a_tick(),
    ]
    gap = explained(events).gap
    assert (gap.open, gap.reason) == (True, None)
    assert [(p.person_id, p.suggested, p.objection) for p in gap.considered] == [
        ("T1", False, "is at level 6, not 7 or above"),
        ("X1", True, None),
        ("M1", False, "is their manager"),
    ]
    assert [fact.offset for fact in gap.considered[0].facts] == [2, 3]
    assert [version.type for version in gap.versions] == ["gap.opened"]


def test_who_comes_behind_the_three_is_told_so() -> None:
    mentors = [
        event for n in range(4) for event in (a_relationship(kind="mentor", other_id=f"T{n}"), a_tied_person(f"T{n}"))
    ]
    considered = explained([an_employee_joined(), a_cycle(), *mentors, a_tick()]).gap.considered
    assert [person.suggested for person in considered] == [True, True, True, False]
    assert considered[3].objection == "3 who come first are suggested"


def test_no_gap_where_a_sponsor_is_asked() -> None:
    gap = explained(a_log()).gap
    assert (gap.open, gap.reason) == (False, "sponsor_found")
    assert what_decided(gap.conditions).because == "Sam Roe (S1) is asked"


def test_no_gap_where_somebody_spoke_unasked_and_their_word_is_named() -> None:
    gap = explained([an_employee_joined(), a_cycle(), an_endorsement("N1", sponsor_id="S9"), a_tick()]).gap
    assert what_decided(gap.conditions).because == "S9 has spoken for them, unasked"
    assert offsets(what_decided(gap.conditions)) == [2]


def test_where_neither_prompt_nor_gap_stands_the_condition_that_decided_is_told() -> None:
    explanation = explained([an_employee_joined(level=3), a_cycle(), a_tick()])
    assert explanation.prompts == ()
    assert (explanation.gap.open, explanation.gap.reason, explanation.gap.versions) == (False, "out_of_scope", ())
    assert what_decided(explanation.gap.conditions).because == "acme/eng/pay is in eng; level 3 is not among 5"


# -- what can't be explained ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "cycle", "says"),
    [
        ([a_cycle(), a_tick()], "spring", "nothing about 'E1'.*feeds.*parked"),
        ([an_achievement(), a_cycle(), a_tick()], "spring", "1 records about 'E1', but no profile.*employee.hired"),
        ([an_employee_joined(), a_cycle(), a_tick()], "autumn", "no cycle 'autumn': known are spring"),
        ([an_employee_joined(), a_tick()], "autumn", "no cycle 'autumn': none has been announced"),
        ([an_employee_joined(), a_cycle()], "spring", "no time yet.*cycles"),
    ],
)
def test_what_the_log_does_not_hold_is_told_with_what_to_do(events: list[CareerEvent], cycle: str, says: str) -> None:
    with pytest.raises(NotKnown, match=says):
        explained(events, cycle=cycle)


def test_an_explanation_that_disagrees_with_the_rule_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation_module, "judge", lambda *_: NotAsked("declined"))
    with pytest.raises(Disagreement, match="declined"):
        explained(a_log())
    monkeypatch.undo()
    monkeypatch.setattr(explanation_module, "has_gap", lambda *_, **__: "employee_left")
    with pytest.raises(Disagreement, match="employee_left"):
        explained(a_log())


def test_a_record_that_was_not_understood_is_told_and_the_rest_explained() -> None:
    seen = followed("E1", a_log())
    seen.take(Record("career-events", 1, 99, b"E1", b"{", (), IN_CYCLE))
    explanation = explain(seen, "spring", (1, 100), {}, ())
    assert explanation.log.not_understood[0].startswith("1/99, 2026-03-10 00:00 UTC: ")
    assert explanation.log.employee_records == 5
    assert explanation.prompts[0].verdict == "asked"


def test_what_concerns_others_is_passed_over() -> None:
    seen = followed("E1", [*a_log(), an_employee_joined(employee_id="E2"), a_refusal(employee_id="E2")])
    assert seen.records == 4
    assert explain(seen, "spring", (1, 9), {}, ()).prompts[0].verdict == "asked"


def test_the_settings_that_it_went_by_are_told() -> None:
    assert explained(a_log()).settings.model_dump() == vars(Policy())


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (an_employee_moved(), "Mina Okafor, level 5 since 2024-01-01, in acme/eng/pay, manager M1"),
        (an_employee_left(unit_path=()), "in no unit, manager M1, has left"),
        (an_employee_changed(manager_id=None, revision=7), "in acme/eng/pay (revision 7)"),
        (a_relationship(), "S1 is their sponsor from 2025-01-01 00:00 UTC on"),
        (a_relationship_ended(kind="mentor"), "S1 is their mentor until 2026-03-10 00:00 UTC"),
        (a_tied_person(left_at=OPENS), "Person S1 (S1), level 8, leaves 2026-03-01 00:00 UTC"),
        (an_achievement(competencies=()), "“Checkout in half the time”, 2026-01-15, impact 1, shows nothing named"),
        (a_retraction(), "A1 is taken back"),
        (an_endorsement(cycle_id=None), "S1 speaks for them, for no cycle in particular"),
        (an_endorsement_withdrawn(), "S1 takes N1 back"),
        (a_refusal(), "S1 will not speak for them in spring"),
        (a_snooze(), "S1 puts spring off until 2026-03-20 00:00 UTC"),
        (an_amendment(min_months_in_level=6), "“Spring promotions”: eng, levels 5, 6 months in level; 2026-03-01"),
        (a_cycle(unit_ids=(), levels=()), "the company, every level;"),
        (a_closing(), "spring was closed 2026-03-10 00:00 UTC"),
        (a_cancellation(), "spring is cancelled"),
        (a_tick(), "it is 2026-03-10 00:00 UTC"),
    ],
)
def test_an_event_is_told_in_a_line(event: CareerEvent, words: str) -> None:
    assert words in told_in_words(event)


def test_words_are_listed_as_in_a_sentence() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
