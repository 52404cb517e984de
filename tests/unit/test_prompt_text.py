"""The text of a prompt can be read by somebody who knows nothing of this system."""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.outputs import Evidence, Reason
from shared.prompt_text import WIDTH, render, render_end
from tests.prompt_events import a_body, fulfilled, opened, updated, withdrawn


def a_piece(**changes: Any) -> Evidence:
    return a_body().evidence[0].model_copy(update=changes)


def test_a_prompt_in_full() -> None:
    assert render(opened(sponsor_timezone="Europe/Berlin")) == (
        """\
Will you speak for Mina Okafor?
===============================

To:           Priya Raman
About:        Mina Okafor (level 5)
Opportunity:  Spring promotions 2026
Closes:       Friday, 27 March 2026, 18:00 (Europe/Berlin time)
Looked for:   technical leadership, delivery

Promotions are being decided, and Mina Okafor is among those it is about.

Why you are getting this
------------------------
You are Mina Okafor's sponsor since 4 May 2024.

What speaks for Mina Okafor
---------------------------
1. Checkout answers in half the time (14 January 2026)
   From 900 ms to 430 ms at the busiest hour; 3 % more orders.
   Chosen because: shows technical leadership, which is looked for; you saw it
   yourself.
   https://example.com/checkout

What now
--------
Whether you speak, and what you say, is yours to decide. Give your word before
it closes, say no, or ask to be reminded later, wherever your company takes such
answers."""
    )


def test_news_is_announced_as_news() -> None:
    assert render(updated()).startswith("News: will you speak for Mina Okafor?")


def test_a_time_zone_that_nobody_knows_gives_utc() -> None:
    assert "27 March 2026, 17:00 (UTC)" in render(opened(sponsor_timezone="Mars/Olympus_Mons"))
    assert "27 March 2026, 17:00 (UTC)" in render(opened(sponsor_timezone="../etc/passwd"))


def test_a_closing_time_near_midnight_shows_the_sponsors_own_day() -> None:
    assert "Saturday, 28 March 2026, 04:00 (Australia/Lord Howe time)" in render(
        opened(sponsor_timezone="Australia/Lord_Howe")
    )


def test_no_evidence_is_said_and_not_shown_as_emptiness() -> None:
    assert "Nothing is on record for Mina Okafor" in render(opened(body=a_body(evidence=())))


def test_an_earlier_endorsement_is_called_one() -> None:
    piece = a_piece(kind="endorsement", title="Kept her word for a year")
    assert "1. Earlier endorsement: Kept her word for a year" in render(opened(body=a_body(evidence=(piece,))))


def test_text_from_a_source_can_neither_break_the_layout_nor_command_a_terminal() -> None:
    piece = a_piece(title="one\n\n\x1b[2Jtwo\r\u202etxet", outcome="", link="")
    text = render(opened(body=a_body(evidence=(piece,))))
    assert "1. one [2Jtwo txet (14 January 2026)" in text
    assert not any(character in text for character in "\x1b\r\u202e")


def test_wide_characters_count_twice() -> None:
    piece = a_piece(title="结账系统" * 30)
    longest = max(render(opened(body=a_body(evidence=(piece,)))).splitlines(), key=len)
    text_lines = [line for line in render(opened(body=a_body(evidence=(piece,)))).splitlines() if "结" in line]
    assert max(len(line) for line in text_lines) <= 3 + (WIDTH - 3) // 2 + 1
    assert len(longest) <= WIDTH


@given(
    title=st.text(max_size=300),
    outcome=st.text(max_size=300),
    name=st.text(min_size=1, max_size=200),
    reasons=st.lists(st.text(max_size=100), max_size=4),
)
def test_whatever_a_source_says_no_line_is_wider_than_the_page(
    title: str, outcome: str, name: str, reasons: list[str]
) -> None:
    piece = Evidence(
        kind="achievement",
        evidence_id="A",
        title=title.replace("://", ""),
        outcome=outcome.replace("://", ""),
        occurred_on=date(2026, 1, 1),
        reasons=tuple(Reason(code="recent", text=reason.replace("://", "")) for reason in reasons),
    )
    body = a_body(evidence=(piece,), sponsor_name=name.replace("://", "x"))
    assert all(len(line) <= WIDTH or _marks(line) for line in render(opened(body=body)).split("\n"))


def _marks(line: str) -> bool:
    """Combining marks take no column of their own."""
    return sum(not unicodedata.combining(character) for character in line) <= WIDTH


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("cycle_closed", "the decision is closed"),
        ("cycle_cancelled", "will not take place"),
        ("out_of_scope", "not among those it is about"),
        ("relationship_ended", "not this person's sponsor any more"),
        ("sponsor_left", "left the company"),
        ("employee_left", "left the company"),
        ("declined", "you said that you will not speak"),
    ],
)
def test_an_end_says_why_in_words(reason: str, words: str) -> None:
    assert words in " ".join(render_end(withdrawn(reason=reason)).split())


def test_a_sponsor_who_has_spoken_is_thanked() -> None:
    assert render_end(fulfilled()).startswith("Thank you")
