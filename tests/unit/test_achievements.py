"""Whatever tool it comes from, an achievement reaches the employee's log in one form, and says why if it does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from services.achievements.handlers import take
from services.achievements.normalise import OUTCOME_CHARACTERS, TITLE_CHARACTERS, AchievementEvent, normalise
from shared.contracts.career import (
    Achievement,
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    read_career_event,
)
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.competencies import normalised_competencies
from shared.contracts.ids import AchievementId, Ref, feed_event_id
from shared.streaming.intake import UnknownPerson
from shared.streaming.topics import CAREER_EVENTS
from tests.intake_events import (
    EVERY_SHAPE,
    MINA,
    NOW,
    SOURCE,
    Data,
    a_highlight,
    a_recognition,
    a_retraction,
    a_review,
    an_achievement,
    an_event,
    an_issue,
    an_owners_word,
    everybody,
    knows,
    payload,
    reason,
    without,
)

SHAPES = EVERY_SHAPE["achievements"]
TOOLS = ("recognition.given", "review.completed", "issue.resolved")


def statements(event: FeedEvent) -> tuple[AchievementEvent, ...]:
    return normalise(event, payload("achievements", event), everybody)


def said(event_type: str, data: Data, **event: Any) -> AchievementEvent:
    (statement,) = statements(an_event(event_type, data, **event))
    return statement


def achievement(event_type: str, data: Data, **event: Any) -> Achievement:
    statement = said(event_type, data, **event)
    assert isinstance(statement, AchievementRecorded | AchievementCorrected)
    return statement.achievement


def why_not(event_type: str, data: Any) -> str:
    return reason(lambda: statements(an_event(event_type, data)))


# -- our own shape --------------------------------------------------------------------------------


def test_an_achievement_is_recorded_as_it_was_stated_under_the_id_it_was_given() -> None:
    statement = said("achievement.recorded", an_achievement())
    assert isinstance(statement, AchievementRecorded)
    assert statement.employee_id == MINA
    assert statement.achievement == Achievement(
        achievement_id=AchievementId("A1"),
        title="Checkout answers in half the time",
        outcome="From 900 ms to 430 ms at the busiest hour",
        impact=2,
        occurred_on=date(2026, 1, 14),
        competencies=("technical depth",),
        link="https://example.com/checkout",
        witnesses=(Ref("email:priya@example.com"), Ref("github:ann")),
    )


def test_a_correction_states_the_whole_achievement_anew() -> None:
    statement = said("achievement.corrected", an_achievement(title="Checkout answers sooner"))
    assert isinstance(statement, AchievementCorrected)
    assert (statement.achievement.achievement_id, statement.achievement.title) == ("A1", "Checkout answers sooner")


def test_a_retraction_names_the_achievement_and_why() -> None:
    statement = said("achievement.retracted", a_retraction())
    assert isinstance(statement, AchievementRetracted)
    assert (statement.employee_id, statement.achievement_id, statement.reason) == (MINA, "A1", "Counted twice")


@pytest.mark.parametrize(
    ("event_type", "kind"), [("achievement.hidden", AchievementHidden), ("achievement.shown", AchievementShown)]
)
def test_its_owner_hides_an_achievement_and_shows_it_again(event_type: str, kind: type) -> None:
    statement = said(event_type, an_owners_word())
    assert isinstance(statement, AchievementHidden | AchievementShown)
    assert (type(statement), statement.employee_id, statement.achievement_id) == (kind, MINA, "A1")


def test_a_witness_stays_the_name_that_the_source_has_and_need_not_be_known() -> None:
    assert achievement("achievement.recorded", an_achievement(witnesses=[" Stranger@X.org "])).witnesses == (
        "email:stranger@x.org",
    )


@pytest.mark.parametrize("event_type", SHAPES)
def test_every_statement_tells_when_and_by_whom_it_was_said(event_type: str) -> None:
    statement = said(event_type, SHAPES[event_type](), id="ev-9", source="urn:example:x")
    assert (statement.at, statement.source) == (NOW, "urn:example:x#ev-9")


@pytest.mark.parametrize("event_type", SHAPES)
def test_an_event_about_an_unknown_employee_waits_for_them(event_type: str) -> None:
    event = an_event(event_type, SHAPES[event_type]())
    with pytest.raises(UnknownPerson):
        normalise(event, payload("achievements", event), knows({}))


@pytest.mark.parametrize("event_type", SHAPES)
def test_what_is_written_can_be_read_from_the_employees_log(event_type: str) -> None:
    event = an_event(event_type, SHAPES[event_type]())
    outputs = list(take(event, payload("achievements", event), everybody))
    assert [(output.topic, output.key) for output in outputs] == [(CAREER_EVENTS, b"E2")]
    assert tuple(read_career_event(output.value or b"") for output in outputs) == statements(event)


# -- recognition ----------------------------------------------------------------------------------


def test_a_recognition_becomes_an_achievement_that_its_giver_has_seen() -> None:
    statement = said("recognition.given", a_recognition())
    assert isinstance(statement, AchievementRecorded)
    assert statement.employee_id == MINA
    recorded = statement.achievement
    assert recorded.title == "Halved the checkout's response time"
    assert recorded.outcome == "Orders rose by 3 %. Thank you!"
    assert recorded.competencies == ("technical depth", "delivery")
    assert recorded.witnesses == ("email:priya@example.com",)
    assert recorded.occurred_on == date(2026, 2, 3)


@pytest.mark.parametrize(("amount", "impact"), [(0, 0), (9, 0), (10, 1), (49, 1), (50, 2), (99, 2), (100, 3), (500, 3)])
def test_the_more_points_the_further_an_achievement_is_taken_to_reach(amount: int, impact: int) -> None:
    assert achievement("recognition.given", a_recognition(amount=amount)).impact == impact


@pytest.mark.parametrize(
    ("text", "title", "outcome"),
    [
        ("Shipped it", "Shipped it", ""),
        ("Shipped it!", "Shipped it!", ""),
        ("Shipped v2.0 of the API. Well done.", "Shipped v2.0 of the API", "Well done."),
        ("Cut cost by approx. a third. Well done.", "Cut cost by approx. a third", "Well done."),
        ("Cut it by approx.  a third", "Cut it by approx. a third", ""),
        ('She said "it works." It did.', 'She said "it works."', "It did."),
        ("Shipped it\nand more", "Shipped it", "and more"),
        ("完成了迁移。谢谢。", "完成了迁移", "谢谢。"),
        ("...", "...", ""),
    ],
)
def test_the_title_is_the_first_sentence_and_the_outcome_the_rest(text: str, title: str, outcome: str) -> None:
    recorded = achievement("recognition.given", a_recognition(reason=text))
    assert (recorded.title, recorded.outcome) == (title, outcome)


def test_a_first_sentence_that_is_too_long_is_cut_at_a_word_and_stands_whole_in_the_outcome() -> None:
    text = "Carried " + "the big migration " * 20
    recorded = achievement("recognition.given", a_recognition(reason=text))
    assert len(recorded.title) <= TITLE_CHARACTERS
    assert recorded.title.endswith(("migration…", "big…", "the…"))
    assert recorded.outcome == text.strip()


def test_a_title_without_spaces_is_cut_inside_its_word() -> None:
    recorded = achievement("recognition.given", a_recognition(reason="x" * 500))
    assert recorded.title == "x" * (TITLE_CHARACTERS - 1) + "…"


def test_a_title_is_cut_inside_a_word_where_the_words_before_it_would_leave_little() -> None:
    title = achievement("recognition.given", a_recognition(reason="I " + "x" * 500)).title
    assert title == "I " + "x" * (TITLE_CHARACTERS - 3) + "…"


def test_what_just_fits_is_not_cut() -> None:
    title, outcome = "x" * (TITLE_CHARACTERS - 1) + "!", "y" * (OUTCOME_CHARACTERS - TITLE_CHARACTERS - 1)
    recorded = achievement("recognition.given", a_recognition(reason=f"{title} {outcome.upper()}"))
    assert (recorded.title, recorded.outcome) == (title, outcome.upper())
    assert achievement("issue.resolved", an_issue(summary=title)).title == title


def test_a_recognition_told_again_in_a_new_event_is_the_same_achievement() -> None:
    first, again = (achievement("recognition.given", a_recognition(), id=event_id) for event_id in ("ev-1", "ev-2"))
    assert first.achievement_id == again.achievement_id


@pytest.mark.parametrize("party", ["giver", "receiver"])
def test_a_recognition_without_a_usable_address_names_the_field(party: str) -> None:
    assert why_not("recognition.given", a_recognition(**{party: {"email": "mina"}})).startswith(f"{party}.email: ")
    assert why_not("recognition.given", a_recognition(**{party: {}})) == f"{party}.email: Field required"


# -- review ---------------------------------------------------------------------------------------


def test_each_strong_highlight_of_a_review_becomes_an_achievement_that_the_reviewer_has_seen() -> None:
    review = a_review(
        highlights=[
            a_highlight(rating=5),
            a_highlight(rating=3, text="Was in time."),
            a_highlight(rating=4, text="Taught three teams to test.", competency="#Team_Work"),
        ]
    )
    recorded = [
        s.achievement for s in statements(an_event("review.completed", review)) if s.type != "achievement.retracted"
    ]
    assert [(a.title, a.outcome, a.impact, a.competencies) for a in recorded] == [
        ("Led the migration", "Nobody noticed.", 2, ("leadership",)),
        ("Taught three teams to test", "", 1, ("team work",)),
    ]
    assert {a.witnesses for a in recorded} == {("email:priya@example.com",)}
    assert {a.link for a in recorded} == {"https://reviews.example.com/1"}
    assert {a.occurred_on for a in recorded} == {date(2026, 2, 3)}  # where it was sent from


def test_the_highlights_of_one_review_are_different_achievements_and_different_events() -> None:
    made = statements(an_event("review.completed", a_review(highlights=[a_highlight(), a_highlight()])))
    assert len({statement.id for statement in made}) == 2
    assert len({s.achievement.achievement_id for s in made if isinstance(s, AchievementRecorded)}) == 2


def test_a_highlight_keeps_its_id_when_another_ones_rating_is_corrected() -> None:
    def second(rating_of_first: int) -> AchievementEvent:
        review = a_review(highlights=[a_highlight(rating=rating_of_first), a_highlight(text="Taught.")])
        return statements(an_event("review.completed", review))[-1]

    assert second(rating_of_first=5) == second(rating_of_first=2)


def test_a_review_without_strong_highlights_says_nothing_and_waits_for_nobody() -> None:
    event = an_event("review.completed", a_review(highlights=[a_highlight(rating=3)]))
    assert normalise(event, payload("achievements", event), knows({})) == ()


def test_a_rating_out_of_range_names_its_highlight() -> None:
    assert why_not("review.completed", a_review(highlights=[a_highlight(rating=6)])).startswith("highlights.0.rating: ")


def test_a_highlight_without_words_names_its_place() -> None:
    review = a_review(highlights=[a_highlight(), a_highlight(text="\x1f")])
    assert why_not("review.completed", review).startswith("highlights.1.text: ")


# -- issue ----------------------------------------------------------------------------------------


def test_a_resolved_issue_becomes_an_achievement_of_its_assignee() -> None:
    statement = said("issue.resolved", an_issue())
    assert isinstance(statement, AchievementRecorded)
    assert statement.employee_id == MINA
    recorded = statement.achievement
    assert recorded.title == "Payments survive the loss of a data centre"
    assert recorded.outcome == ""
    assert recorded.link == "https://jira.example.com/PAY-7"
    assert recorded.competencies == ("technical depth", "backlog")
    assert recorded.occurred_on == date(2026, 2, 3)
    assert recorded.witnesses == ()


@pytest.mark.parametrize(
    ("event_type", "of"),
    [
        ("recognition.given", lambda at: a_recognition(created_at=at)),
        ("review.completed", lambda at: a_review(submittedAt=at)),
        ("issue.resolved", lambda at: an_issue(resolutiondate=at)),
    ],
)
@pytest.mark.parametrize("at", ["2026-02-03T00:30:00+02:00", "2026-02-03T23:30:00-02:00", "2026-02-03T23:30:00Z"])
def test_the_day_of_an_achievement_is_that_of_the_zone_its_time_was_said_in(
    event_type: str, of: Callable[[str], Data], at: str
) -> None:
    assert achievement(event_type, of(at)).occurred_on == date(2026, 2, 3)


@pytest.mark.parametrize(
    ("priority", "impact"), [("Highest", 3), ("High", 2), ("Medium", 1), ("Low", 0), ("Lowest", 0)]
)
def test_the_graver_an_issue_the_further_its_end_reaches(priority: str, impact: int) -> None:
    assert achievement("issue.resolved", an_issue(priority=priority)).impact == impact


def test_an_assignee_may_have_a_colon_in_their_account() -> None:
    event = an_event("issue.resolved", an_issue(assignee="557058:ab-1"))
    (statement,) = normalise(event, payload("achievements", event), knows({Ref("jira:557058:ab-1"): MINA}))
    assert statement.employee_id == MINA


def test_a_summary_that_is_too_long_is_cut_and_stands_in_the_outcome() -> None:
    recorded = achievement("issue.resolved", an_issue(summary="survive " * 1000))
    assert recorded.title.endswith("survive…")
    assert len(recorded.title) <= TITLE_CHARACTERS
    assert recorded.outcome.endswith("survive…")
    assert len(recorded.outcome) <= OUTCOME_CHARACTERS


@pytest.mark.parametrize(
    ("issue", "field"),
    [
        (an_issue(assignee=" "), "issue.fields.assignee"),
        (an_issue(summary="\x1f"), "issue.fields.summary"),
        (an_issue(priority="Blocker"), "issue.fields.priority"),
        (an_issue(resolutiondate="yesterday"), "issue.fields.resolutiondate"),
        (without(an_issue(), "issue", "key"), "issue.key"),
        (without(an_issue(), "issue"), "issue"),
    ],
)
def test_an_issue_that_cant_be_read_names_the_field(issue: Data, field: str) -> None:
    assert why_not("issue.resolved", issue).startswith(f"{field}: ")


# -- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", TOOLS)
def test_the_same_id_from_two_tools_is_two_achievements(event_type: str) -> None:
    ids = {
        achievement(event_type, SHAPES[event_type](), source=source).achievement_id
        for source in ("urn:example:a", "urn:example:b")
    }
    assert len(ids) == 2


def test_the_same_id_for_different_things_of_one_tool_is_different_achievements() -> None:
    made = (
        achievement("recognition.given", a_recognition(id="7")),
        achievement("review.completed", a_review(reviewId="7")),
        achievement("issue.resolved", an_issue(key="7")),
    )
    assert len({recorded.achievement_id for recorded in made}) == 3


@pytest.mark.parametrize("event_type", [event_type for event_type in SHAPES if event_type != "review.completed"])
def test_the_event_id_is_that_of_the_feed_event(event_type: str) -> None:
    assert said(event_type, SHAPES[event_type]()).id == feed_event_id(SOURCE, "ev-1")


# -- what can't be read ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["achievement_id", "employee", "title", "occurred_on"])
def test_an_achievement_without_what_it_needs_names_the_field(field: str) -> None:
    assert why_not("achievement.recorded", without(an_achievement(), field)) == f"{field}: Field required"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("employee", " "),
        ("title", ""),
        ("title", "x" * 201),
        ("occurred_on", "2026-02-30"),
        ("impact", 4),
        ("competencies", "delivery"),
        ("outcome", "x" * 2001),
    ],
)
def test_an_achievement_with_a_bad_field_names_it(field: str, value: Any) -> None:
    assert why_not("achievement.recorded", an_achievement(**{field: value})).startswith(f"{field}: ")


def test_a_bad_witness_names_its_place() -> None:
    bad = an_achievement(witnesses=["E1", "github:"])
    assert why_not("achievement.recorded", bad).startswith("witnesses.1: ")


# -- competencies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelt",
    [
        "technical_depth",
        "#Technical_Depth",
        "Technical depth",
        " technical-depth ",
        "TECHNICAL  DEPTH",
        "#technical\N{EN DASH}depth",
    ],
)
def test_a_competency_has_one_form_however_it_is_spelt(spelt: str) -> None:
    assert normalised_competencies([spelt]) == ("technical depth",)


def test_competencies_are_named_once_in_order_and_empty_ones_fall_away() -> None:
    assert normalised_competencies(["B", "#a", "# ", "", "b"]) == ("b", "a")
