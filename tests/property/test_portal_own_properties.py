"""What a person sees on record is what the rules may use, in whatever order it was said."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.correlator.facts import learn
from services.correlator.standing import is_hidden
from services.correlator.state import EmployeeState
from shared.contracts.career import write_contract
from shared.contracts.ids import EmployeeId
from shared.streaming.topics import CAREER_EVENTS
from tests.career import a_correction, a_hiding, a_retraction, a_showing, an_achievement
from tests.prompt_events import NOW
from tests.property.test_portal_properties import a_store, rows_of


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_in_whatever_order_it_is_said_a_persons_page_shows_what_the_rules_may_use(rng: Random) -> None:
    said = [
        rng.choice((an_achievement, a_correction, a_retraction, a_hiding, a_showing))(
            rng.choice(("A1", "A2")), at=NOW + timedelta(days=rng.randrange(9))
        )
        for _ in range(rng.randint(1, 10))
    ]
    employee = EmployeeState("E1")
    with a_store() as store:
        for event in rng.sample(said, len(said)):
            store.apply(rows_of(CAREER_EVENTS, write_contract(event)), {(CAREER_EVENTS, 0): 1})
        for event in said:
            employee = learn(employee, event)
        assert {(one.achievement_id, one.said_by, one.hidden) for one in store.achievements_of(EmployeeId("E1"))} == {
            (key, fact.stamp[1], is_hidden(employee, key))
            for key, fact in employee.achievements.items()
            if not fact.retracted
        }
