"""What is explained is what the correlator did, for every history: versions, verdicts, evidence, places in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from hypothesis import given, settings

from services.correlator.explanation import Explanation, Fact, explain, known_cycles
from services.correlator.policy import Policy
from services.correlator.replay import Follower
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, write_contract
from shared.contracts.said import GapOpened, GapUpdated, PromptFulfilled, PromptOpened, PromptUpdated, write
from shared.streaming.records import Record
from tests.career import Log
from tests.histories import EMPLOYEES, a_history
from tests.property.test_correlator_properties import quick, rngs

some = settings(quick, max_examples=25)


def followed(employee_id: str, events: Sequence[CareerEvent]) -> Follower:
    """Follow the employee through a partition that holds these events."""
    seen = Follower(employee_id, Policy())
    for offset, event in enumerate(events):
        key = event.employee_id.encode() if event.employee_id is not None else None
        seen.take(Record("career-events", 1, offset, key, write_contract(event), (), utc(2026, 1, 1)))
    return seen


def explanations(events: Sequence[CareerEvent]) -> Iterator[tuple[Follower, Explanation]]:
    """Yield what is explained of everybody of whom anything is."""
    for employee_id in EMPLOYEES:
        seen = followed(employee_id, events)
        if seen.employee.profiles and seen.calendar.now is not None:
            for cycle_id in known_cycles(seen):
                yield seen, explain(seen, cycle_id, (1, len(events)), {}, ())


@some
@given(rngs)
def test_who_is_followed_alone_has_said_of_them_what_the_correlator_says_byte_for_byte(rng: Random) -> None:
    events = a_history(rng)
    log = Log(*events)
    for employee_id in EMPLOYEES:
        said = [write(one.output) for one in followed(employee_id, events).said]
        assert said == [write(output) for output in log.outputs if output.employee_id == employee_id]


@some
@given(rngs)
def test_what_is_explained_as_standing_is_what_stands(rng: Random) -> None:
    events = a_history(rng)
    log = Log(*events)
    for _, explanation in explanations(events):
        of = (explanation.employee_id, explanation.cycle_id)
        for prompt in explanation.prompts:
            last = log.prompt(prompt.sponsor_id, *of)
            match prompt.verdict:
                case "asked":
                    assert isinstance(last, PromptOpened | PromptUpdated)
                    shown = [piece.evidence_id for piece in prompt.evidence if piece.shown]
                    assert shown == [piece.evidence_id for piece in last.body.evidence]
                    assert prompt.snoozed_until == last.snoozed_until
                case "spoken":
                    assert isinstance(last, PromptFulfilled)
                case "not_asked":
                    assert last is None or last.type == "prompt.withdrawn"
            assert (prompt.versions[-1].type if prompt.versions else None) == (last.type if last is not None else None)
        gap = log.gap(*of)
        assert explanation.gap.open == isinstance(gap, GapOpened | GapUpdated)
        if isinstance(gap, GapOpened | GapUpdated):
            suggested = [person.person_id for person in explanation.gap.considered if person.suggested]
            assert suggested == [suggestion.person_id for suggestion in gap.suggestions]
        sponsors = {prompt.sponsor_id for prompt in explanation.prompts}
        prompted = {
            o.sponsor_id for o in log.outputs if o.type.startswith("prompt") and (o.employee_id, o.cycle_id) == of
        }
        assert prompted <= sponsors


@some
@given(rngs)
def test_every_fact_lies_where_the_explanation_says(rng: Random) -> None:
    events = a_history(rng)
    for _, explanation in explanations(events):
        for fact in facts_of(explanation):
            assert events[fact.offset].id == fact.event_id
            assert events[fact.offset].type == fact.type
            assert fact.partition == 1


def facts_of(explanation: Explanation) -> Iterator[Fact]:
    yield explanation.clock
    yield from explanation.cycle_facts
    for prompt in explanation.prompts:
        for part in (*prompt.conditions, *prompt.evidence, *prompt.left_out):
            yield from part.facts
    for part in (*explanation.gap.conditions, *explanation.gap.considered):
        yield from part.facts
    for versions in (*(prompt.versions for prompt in explanation.prompts), explanation.gap.versions):
        for version in versions:
            yield version.because_of


@some
@given(rngs)
def test_the_weight_is_the_product_of_its_terms_and_falls_from_place_to_place(rng: Random) -> None:
    for seen, explanation in explanations(a_history(rng)):
        for prompt in explanation.prompts:
            grades = [piece.grade for piece in prompt.evidence]
            assert grades == sorted(grades, reverse=True)
            assert sum(piece.shown for piece in prompt.evidence) == min(5, len(prompt.evidence))
            # nothing that is known of the employee is passed over in silence
            told = {(p.kind, p.evidence_id) for p in (*prompt.evidence, *prompt.left_out)}
            if prompt.verdict == "asked":
                assert {("achievement", key) for key in seen.employee.achievements} <= told
            for piece in prompt.evidence:
                assert piece.terms
                assert piece.facts
                assert 2 ** (piece.grade / 4) <= piece.weight * 1.0001
                assert piece.weight <= 2 ** ((piece.grade + 1) / 4) * 1.0001
