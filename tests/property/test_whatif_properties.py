"""What a cycle would bring is what the correlator says when it opens, for every history; a snapshot loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from deploy.tracker.folding import Fold, opened_snapshot, write_snapshot
from deploy.tracker.whatif import Comparison, Outcome, Question, Simulation, Tally, outcome, question
from services.correlator.evidence import chosen
from services.correlator.policy import Policy
from services.correlator.rules import Output
from services.correlator.state import EmployeeState
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, Cycle, CycleOpened, write_contract
from shared.contracts.said import GapOpened, PromptOpened
from shared.streaming.reading import unwatched
from shared.streaming.records import Record
from tests.career import Log, a_cycle, a_tick
from tests.histories import MOMENTS, a_history
from tests.property.test_correlator_properties import quick, rngs

some = settings(quick, max_examples=25)


def a_new_cycle(rng: Random) -> Cycle:
    opened: CycleOpened = a_cycle(
        cycle_id="C9",
        unit_ids=rng.choice(((), ("eng",), ("pay", "ops"))),
        levels=rng.choice(((), (5,), (4, 5))),
        min_months_in_level=rng.choice((0, 3)),
        competencies=rng.choice((("delivery",), ("leadership", "delivery"))),
        opens_at=rng.choice(MOMENTS[5:]),
        closes_at=utc(2027, 1, 1),
    )
    return opened.cycle


def the_fold(events: Sequence[CareerEvent]) -> Fold:
    fold = Fold(until=None)
    for offset, event in enumerate(events):
        fold.take(Record("career-events", 1, offset, None, write_contract(event), (), utc(2026, 1, 1)))
    return fold


def said_at_the_opening(events: Sequence[CareerEvent], cycle: Cycle, about: Question, policy: Policy) -> list[Output]:
    """Return what the correlator says of the cycle when it is told of it, and it is time."""
    log = Log(*events, policy=policy)
    said = log.feed(CycleOpened(id="opened", at=about.as_of, source="test", cycle=cycle), a_tick(about.as_of))
    return [output for output in said if output.cycle_id == "C9"]


def simulated(about: Question, employees: Iterable[EmployeeState], policy: Policy) -> Simulation:
    tally = Tally(about, policy)
    for employee in employees:
        tally.add(employee)
    return tally.simulation()


@some
@given(rngs)
def test_the_prompts_and_gaps_are_those_that_the_correlator_opens(rng: Random) -> None:
    events, cycle = a_history(rng), a_new_cycle(rng)
    policy = Policy(evidence_pieces=rng.randint(1, 5), suggestions=rng.randint(0, 3))
    fold = the_fold(events)
    about = question(cycle, fold.calendar.now)
    said = said_at_the_opening(events, cycle, about, policy)
    prompts = [output for output in said if isinstance(output, PromptOpened)]
    gaps = [output for output in said if isinstance(output, GapOpened)]

    found = simulated(about, fold.employees.values(), policy)
    assert found.prompts == len(prompts)
    assert found.pieces == sum(len(prompt.body.evidence) for prompt in prompts)
    assert found.without_evidence == sum(not prompt.body.evidence for prompt in prompts)
    assert {s.person_id: s.prompts for s in found.sponsors} == {
        who: sum(prompt.sponsor_id == who for prompt in prompts) for who in {p.sponsor_id for p in prompts}
    }
    assert (found.gaps, found.gaps_without_suggestion) == (len(gaps), sum(not gap.suggestions for gap in gaps))
    assert found.in_scope - found.spoken_for == found.gaps
    for shares in (found.by_level, found.by_unit):
        assert sum(share.prompts for share in shares) == found.prompts
        assert sum(share.gaps for share in shares) == found.gaps
        assert sum(share.in_scope for share in shares) == found.in_scope


@some
@given(rngs)
def test_what_other_settings_change_is_what_the_correlator_would_say_otherwise(rng: Random) -> None:
    events, cycle = a_history(rng, most=60), a_new_cycle(rng)
    fold = the_fold(events)
    about = question(cycle, fold.calendar.now)
    policies = (Policy(), Policy(evidence_pieces=rng.randint(1, 6), half_life_days=20, levels_above=rng.randint(1, 4)))
    tallies = [Tally(about, policy) for policy in policies]
    comparison = Comparison(about, *policies)
    for employee in fold.employees.values():
        comparison.add(employee, *(tally.add(employee) for tally in tallies))
    change = comparison.change()

    before, after = (said_at_the_opening(events, cycle, about, policy) for policy in policies)
    old, new = evidence_of(before), evidence_of(after)
    assert (change.prompts_only_before, change.prompts_only_after) == (len(old.keys() - new), len(new.keys() - old))
    assert change.prompts_with_other_evidence == sum(old[prompt] != new[prompt] for prompt in old)
    assert change.pieces_that_go == sum(len(set(old[prompt]) - set(new[prompt])) for prompt in old)
    assert change.pieces_that_come == sum(len(set(new[prompt]) - set(old[prompt])) for prompt in old)
    suggested, suggested_then = suggestions_of(before), suggestions_of(after)
    assert change.gaps_with_other_suggestions == sum(suggested[gap] != suggested_then[gap] for gap in suggested)


def evidence_of(said: Iterable[Output]) -> dict[str, list[str]]:
    return {o.prompt_id: [e.evidence_id for e in o.body.evidence] for o in said if isinstance(o, PromptOpened)}


def suggestions_of(said: Iterable[Output]) -> dict[str, list[str]]:
    return {o.gap_id: [s.person_id for s in o.suggestions] for o in said if isinstance(o, GapOpened)}


@some
@given(rngs)
def test_a_snapshot_gives_the_same_as_the_log(rng: Random) -> None:
    events, cycle = a_history(rng), a_new_cycle(rng)
    fold = the_fold(events)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "company.snapshot"
        write_snapshot(path, [(fold.calendar.now, fold.employees.values())])
        with opened_snapshot(path, unwatched("")) as (clock, employees):
            assert clock == fold.calendar.now
            about = question(cycle, clock)
            found = decided(about, employees)
    assert found == decided(about, fold.employees.values())


def decided(about: Question, employees: Iterable[EmployeeState]) -> dict[str, tuple[Outcome | None, list[list[str]]]]:
    """Return what would come of each employee, and the evidence in its order for whoever is tied to them."""
    return {
        employee.employee_id: (
            outcome(employee, about, Policy()),
            [
                [ranked.piece.evidence_id for ranked in chosen(employee, about.definition, "C9", other, Policy())]
                for other in employee.people
            ],
        )
        for employee in employees
    }
