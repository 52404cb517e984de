"""What the correlator remembers once it forgets somebody is what the log gives without their records; sealed too."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.correlator.facts import learn
from services.correlator.forgetting import STANDING, forget
from services.correlator.state import EmployeeState, decode_employee, encode_employee
from shared.contracts.career import (
    EmployeeEvent,
    EndorsementGiven,
    EndorsementWithdrawn,
    RelationshipEnded,
    RelationshipStarted,
    read_career_event,
    write_contract,
)
from shared.streaming.sealing import cleaned
from shared.streaming.topics import CAREER_EVENTS
from tests.histories import EMPLOYEES, PEOPLE, a_history
from tests.sealed import Keys


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from((*PEOPLE, "X0", "M1")))
def test_a_state_that_forgets_is_that_of_a_log_read_without_the_person(rng: Random, erased: str) -> None:
    events = _of_one_mind(event for event in a_history(rng) if event.employee_id is not None)
    for employee in EMPLOYEES:
        theirs = [event for event in events if event.employee_id == employee]
        left = [event for event in (_without(event, erased) for event in theirs) if event is not None]
        forgotten = forget(_known(employee, theirs), erased, {f"hris:{erased}"})
        assert _facts(forgotten) == _facts(_known(employee, left))


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from((*PEOPLE, "X0", "M1")))
def test_a_sealed_state_whose_person_s_key_is_gone_opens_as_the_one_that_forgot_them(rng: Random, erased: str) -> None:
    keys = Keys()
    events = list(a_history(rng))
    for employee in EMPLOYEES:
        known = _known(employee, (e for e in events if e.employee_id == employee))
        sealed = keys.seal("correlator-standing-changelog", STANDING, f"employee/{employee}", encode_employee(known))
        assert keys.open("correlator-standing-changelog", STANDING, sealed) == encode_employee(known)
        left = Keys(but=erased, like=keys).open("correlator-standing-changelog", STANDING, sealed)
        assert left is not None
        assert decode_employee(left) == forget(known, erased, {f"hris:{erased}"})


def _of_one_mind(events: Iterable[EmployeeEvent]) -> list[EmployeeEvent]:
    """Leave out what says of a relationship or an endorsement that it is another person's: then it depends on whose
    word is the last, and without the one the other's holds."""
    whose: dict[tuple[str, str], str] = {}
    kept = []
    for event in events:
        match event:
            case RelationshipStarted() | RelationshipEnded():
                thing, person = event.relationship_id, event.other_id
            case EndorsementGiven() | EndorsementWithdrawn():
                thing, person = event.endorsement_id, event.sponsor_id
            case _:
                kept.append(event)
                continue
        if whose.setdefault((event.employee_id, thing), person) == person:
            kept.append(event)
    return kept


def _without(event: EmployeeEvent, erased: str) -> EmployeeEvent | None:
    key = event.employee_id.encode()
    value = cleaned(CAREER_EVENTS, key, write_contract(event), lambda name: name == f"hris:{erased}", str)
    return None if value is None else read_career_event(value)


def _known(employee: str, events: Iterable[EmployeeEvent]) -> EmployeeState:
    state = EmployeeState(employee)
    for event in events:
        state = learn(state, event)
    return state


def _facts(state: EmployeeState) -> object:
    return (state.profiles, state.ties, state.people, state.achievements, state.endorsements, state.answers)
