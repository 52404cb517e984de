"""Whatever a source sends, an intake service takes it, lets it wait or says why not, and always in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from services.achievements.handlers import take as take_achievement
from services.cycles.handlers import taker
from services.endorsements.handlers import take as take_endorsement
from shared.contracts.career import read_career_event
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.competencies import normalised_competencies
from shared.contracts.ids import EmployeeId
from shared.streaming.intake import Normalise, UnknownPerson
from shared.streaming.records import Output, Poison
from shared.streaming.service import reason_of
from tests.intake_events import EVERY_SHAPE, an_event, payload

TAKERS: Final[Mapping[str, Normalise]] = {
    "achievements": take_achievement,
    "cycles": taker("feed"),
    "endorsements": take_endorsement,
}
TYPES: Final = [(feed, event_type) for feed, shapes in EVERY_SHAPE.items() for event_type in shapes]

words = st.text(max_size=40) | st.text("ab :@#.!\n\u3002\ud800", max_size=400)
json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


def somewhere_else(data: Any) -> SearchStrategy[Any]:
    """Return `data` with any one of its parts, however deep, replaced by any JSON value."""
    if isinstance(data, dict):
        return (
            st.sampled_from(sorted(data)).flatmap(
                lambda key: somewhere_else(data[key]).map(lambda value: data | {key: value})
            )
            | json_values
        )
    if isinstance(data, list) and data:
        return somewhere_else(data[0]).map(lambda value: [value, *data[1:]]) | json_values
    return json_values | words


def outcome(feed: str, event: FeedEvent) -> list[Output] | str:
    """Return what becomes of an event, or the reason why it waits or is buried; fails on any other error."""
    try:
        shaped = payload(feed, event)
        return list(TAKERS[feed](event, shaped, lambda ref: EmployeeId(f"of {ref}")))
    except (Poison, ValidationError) as exc:
        return reason_of(exc)
    except UnknownPerson as exc:
        return str(exc)


def is_sound(result: list[Output] | str) -> bool:
    if isinstance(result, str):
        field, colon, what = result.partition(": ")
        return bool(field and colon and what)
    return all(read_career_event(output.value or b"") for output in result)


@pytest.mark.parametrize(("feed", "event_type"), TYPES)
@given(data=json_values)
def test_any_json_value_becomes_events_or_a_reason_that_names_a_field(feed: str, event_type: str, data: Any) -> None:
    assert is_sound(outcome(feed, an_event(event_type, data)))


@pytest.mark.parametrize(("feed", "event_type"), TYPES)
@given(data=st.data())
def test_a_payload_with_one_part_replaced_becomes_events_or_a_reason_that_names_a_field(
    feed: str, event_type: str, data: st.DataObject
) -> None:
    changed = data.draw(somewhere_else(EVERY_SHAPE[feed][event_type]()))
    assert is_sound(outcome(feed, an_event(event_type, changed)))


@pytest.mark.parametrize(("feed", "event_type"), TYPES)
@given(data=st.data())
def test_the_same_event_twice_gives_the_same_bytes(feed: str, event_type: str, data: st.DataObject) -> None:
    changed = data.draw(somewhere_else(EVERY_SHAPE[feed][event_type]()))
    event = an_event(event_type, changed)
    assert outcome(feed, event) == outcome(feed, event)


@pytest.mark.parametrize(("feed", "event_type"), TYPES)
@given(ids=st.lists(st.text(min_size=1, max_size=10), min_size=2, max_size=2, unique=True))
def test_different_events_have_different_ids(feed: str, event_type: str, ids: list[str]) -> None:
    made = [outcome(feed, an_event(event_type, EVERY_SHAPE[feed][event_type](), id=event_id)) for event_id in ids]
    if event_type == "clock.ticked":  # the same time is the same event, whoever says it
        return
    first, second = (
        {read_career_event(o.value or b"").id for o in outputs} for outputs in made if not isinstance(outputs, str)
    )
    assert first.isdisjoint(second)


@given(spelt=st.lists(words, max_size=6))
@example(spelt=["\u00df\u0301"])  # folding takes it out of its normal form
def test_the_form_of_a_competency_is_its_own_form(spelt: list[str]) -> None:
    once = normalised_competencies(spelt)
    assert normalised_competencies(once) == once


@given(word=st.text(min_size=1, max_size=30))
def test_neither_case_nor_hash_nor_space_makes_another_competency(word: str) -> None:
    plain = normalised_competencies([word])
    assert normalised_competencies([f" #{word} "]) == plain
    assert normalised_competencies([word.casefold()]) == plain
