import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice, pairwise
from typing import Any
from zoneinfo import available_timezones

import pytest
from pydantic import ValidationError

from shared.company.population import (
    Company,
    achievements,
    employees,
    endorsements,
    org_units,
    relationships,
)
from shared.company.records import FeedRecord
from shared.company.scenario import PROMOTION, ROLE, Scenario, demo_scenario
from shared.company.truth import (
    CycleFact,
    DeclinedFact,
    EndorsedFact,
    Expected,
    ExpectedPrompt,
    Fact,
    GapKey,
    Known,
    LeftFact,
    NowFact,
    ProfileFact,
    PromptKey,
    SponsorEndedFact,
    SponsorFact,
    Unclear,
    expected,
)
from shared.contracts.base import utc
from shared.contracts.cloudevents import BadCloudEvent, FeedEvent, read_feed_event
from shared.contracts.feeds import ACHIEVEMENTS, CYCLES, ENDORSEMENTS, PEOPLE, read_payload
from shared.contracts.ids import CycleId, EmployeeId, EndorsementId, RelationshipId, UnitId

SHAPES = {"people": PEOPLE, "achievements": ACHIEVEMENTS, "cycles": CYCLES, "endorsements": ENDORSEMENTS}
STREAMS: tuple[Callable[[Company], Iterator[FeedRecord]], ...] = (
    org_units,
    employees,
    relationships,
    achievements,
    endorsements,
)
OPEN, FULFILLED = ExpectedPrompt("open"), ExpectedPrompt("fulfilled")


@cache
def the_demo() -> Scenario:
    return demo_scenario()


def understood(record: FeedRecord) -> FeedEvent:
    event = read_feed_event(record.key.encode(), record.value, (), utc(2026, 1, 1))
    read_payload(SHAPES[record.feed], event.type, event.data)
    return event


def payloads(records: Iterable[FeedRecord]) -> list[dict[str, Any]]:
    return [json.loads(record.value)["data"] for record in records]


def digest(records: Iterator[FeedRecord]) -> str:
    sha = hashlib.sha256()
    for record in records:
        sha.update(record.value + b"\n")
    return sha.hexdigest()


# -- the population -------------------------------------------------------------------------------


def test_another_process_writes_the_same_bytes_for_the_same_seed() -> None:
    command = [sys.executable, "-m", "shared.company", "--employees", "40", "--seed", "7", "--feed", "achievements"]
    told = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "99"}, capture_output=True, check=True)
    assert hashlib.sha256(told.stdout).hexdigest() == digest(achievements(Company(40, 7)))


def test_another_seed_makes_another_company() -> None:
    assert digest(employees(Company(40, 7))) != digest(employees(Company(40, 8)))


@pytest.mark.parametrize("stream", STREAMS)
def test_every_record_is_a_cloud_event_of_the_shape_that_its_type_has(
    stream: Callable[[Company], Iterator[FeedRecord]],
) -> None:
    for record in stream(Company(60, 3)):
        event = understood(record)
        assert (event.id, event.type, event.subject) == (record.id, record.type, record.key)
        assert event.source.startswith("urn:example:")


def test_ids_of_events_are_unique() -> None:
    company = Company(120, 5)
    seen = Counter((json.loads(r.value)["source"], r.id) for stream in STREAMS for r in stream(company))
    assert seen.most_common(1)[0][1] == 1


def test_memory_does_not_grow_with_the_length_of_the_stream() -> None:
    def peak(stream: Callable[[Company], Iterator[FeedRecord]], count: int) -> int:
        records = stream(Company(1_000_000))
        next(records)
        tracemalloc.start()
        for _ in islice(records, count):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    for stream in STREAMS:
        peak(stream, 50)  # fills what is filled once, such as caches of the JSON encoder
        assert peak(stream, 500) < peak(stream, 50) + 20_000, stream.__name__


def test_the_last_of_a_million_is_there_at_once() -> None:
    person = Company(1_000_000).person(999_999)
    assert person.employee_id == "E1000000"
    assert person.manager_index is not None


def test_levels_form_a_pyramid_from_1_to_9() -> None:
    company = Company(2000, 2)
    levels = Counter(company.level(index) for index in range(company.size))
    assert set(levels) == set(range(1, 10))
    assert levels[9] == 1
    assert levels[2] > levels[4] > levels[6] > levels[7] > levels[8]


def test_about_three_in_five_have_a_sponsor() -> None:
    company = Company(2000, 2)
    sponsored = sum(bool(company.sponsors(index)) for index in range(company.size))
    assert 0.55 < sponsored / company.size < 0.65


def test_people_live_on_several_continents_and_write_their_names_in_several_scripts() -> None:
    company = Company(300, 2)
    people = [company.person(index) for index in range(company.size)]
    assert {person.timezone for person in people} <= available_timezones()
    assert {person.timezone.split("/")[0] for person in people} >= {"Europe", "America", "Africa", "Asia", "Australia"}
    assert 0.2 < sum(ord(person.name[0]) > 0x250 for person in people) / len(people) < 0.5
    assert all(person.email.isascii() and person.email.endswith(("@example.com", "@example.org")) for person in people)


def test_a_year_of_achievements_comes_from_several_sources_in_several_shapes() -> None:
    events = [understood(record) for record in achievements(Company(240, 2026))]
    assert len(events) > 4000
    assert {event.type for event in events} == set(ACHIEVEMENTS) - {
        "achievement.hidden",
        "achievement.shown",
    }  # tools hide nothing
    assert len({event.source for event in events}) == 4
    times = [event.time for event in events]
    assert utc(2025, 8, 20) < min(times) < utc(2025, 9, 5)
    assert utc(2026, 8, 20) < max(times) < utc(2026, 9, 1)
    impacts = Counter(event.data["impact"] for event in events if event.type == "achievement.recorded")
    assert set(impacts) == {0, 1, 2, 3}


def test_a_company_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="write 1 or more"):
        Company(0)


# -- the command line -----------------------------------------------------------------------------


def test_the_command_writes_one_event_a_line_and_can_be_cut_off() -> None:
    command = f"{sys.executable} -m shared.company --employees 100000 --feed people | head -3"
    told = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert [json.loads(line)["type"] for line in told.stdout.splitlines()] == ["unit.defined"] * 3
    assert told.stderr == ""


def test_the_command_says_what_it_does_not_take() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "shared.company", "--employees", "0"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "0 is less than 1" in told.stderr


# -- the scenario as a whole ----------------------------------------------------------------------


def test_the_same_scenario_is_told_every_time() -> None:
    assert digest(the_demo().records()) == digest(demo_scenario().records())


def test_only_the_garbled_records_are_not_understood() -> None:
    dead: Counter[str] = Counter()
    for record in the_demo().records():
        try:
            understood(record)
        except (BadCloudEvent, KeyError, ValidationError):
            dead[record.feed] += 1
    assert dead == the_demo().expected_dead_letters
    assert set(dead) == set(SHAPES)


def test_every_phase_ends_with_a_later_tick_than_the_one_before() -> None:
    ends = [json.loads(phase.records[-1].value) for phase in the_demo().phases]
    assert {end["type"] for end in ends} == {"clock.ticked"}
    nows = [end["data"]["now"] for end in ends]
    assert nows == sorted(set(nows))


def test_some_events_come_twice_and_some_late() -> None:
    history = the_demo().phases[0].records
    values = Counter(record.value for record in history)
    assert sum(count == 2 for count in values.values()) > 50
    assert {record.feed for record in history if values[record.value] == 2} >= {"people", "achievements"}
    times = [understood(record).time for record in dict.fromkeys(history) if record.type == "recognition.given"]
    assert any(earlier > later and (earlier - later).days > 60 for earlier, later in pairwise(times))


def test_achievements_and_a_relationship_of_the_late_hire_come_before_their_hire() -> None:
    late = the_demo().cast.hired_late.employee_id
    person = the_demo().company.person(int(late[1:]) - 1)
    history, hired_in = the_demo().phases[0], the_demo().phases[2]
    assert not [r for r in history.records if r.key == late and r.type.startswith("employee.")]
    keys = Counter(r.key.lower() for r in history.records if r.type)
    assert keys[late.lower()] >= 2
    assert keys[person.email] >= 2
    assert [r for r in history.records if r.key == late and r.type == "relationship.started"]
    assert [r for r in hired_in.records if r.key == late and r.type == "employee.hired"]


def test_no_other_event_of_the_history_needs_the_late_hire() -> None:
    late = the_demo().cast.hired_late.employee_id
    person = the_demo().company.person(int(late[1:]) - 1)
    for data in payloads(r for r in the_demo().phases[0].records if r.type == "relationship.started"):
        assert data["other"] not in (late, person.email)


def test_everybody_who_is_asked_to_speak_has_something_to_go_by() -> None:
    recognised = {r.key.lower() for r in the_demo().records() if r.type == "recognition.given"}
    company = the_demo().company
    for key, prompt in the_demo().expected.prompts.items():
        assert prompt.status != "open" or company.person(int(key.employee_id[1:]) - 1).email in recognised


def test_a_company_too_small_for_the_story_is_refused() -> None:
    with pytest.raises(ValueError, match="larger"):
        demo_scenario(size=30)


# -- the scenario's plants, each by hand ----------------------------------------------------------


def after(phase: str) -> Expected:
    return next(told for told in the_demo().phases if told.name == phase).expected


def fate(key: PromptKey) -> list[str | None]:
    """Return how the prompt stands after each phase from the opening of the promotion cycle on."""
    stood = [phase.expected.prompts.get(key) for phase in the_demo().phases[1:]]
    return [prompt and (prompt.reason or prompt.status) for prompt in stood]


def gap_of(key: PromptKey) -> list[str | None]:
    gap = GapKey(key.cycle_id, key.employee_id)
    return [phase.expected.gaps.get(gap) for phase in the_demo().phases[1:]]


def test_nothing_stands_before_a_cycle_opens() -> None:
    assert after("history") == Expected()


def test_the_endorsement_before_the_cycle_fulfils_at_once() -> None:
    assert fate(the_demo().cast.endorsed_before_the_cycle) == ["fulfilled"] * 5


def test_endorsements_fulfil_from_then_on() -> None:
    cast = the_demo().cast
    for key in cast.endorsed_early:
        assert fate(key) == ["open", *["fulfilled"] * 4]
    for key in cast.endorsed_later:
        assert fate(key) == [*["open"] * 3, "fulfilled", "fulfilled"]
    for key in cast.endorsed_last:
        assert fate(key) == [*["open"] * 4, "fulfilled"]


def test_a_role_endorsement_outlives_the_cycle() -> None:
    for key in the_demo().cast.endorsed_for_the_role:
        assert fate(key) == [None, None, "open", "fulfilled", "fulfilled"]


def test_a_general_endorsement_is_heard_in_both_cycles() -> None:
    key = the_demo().cast.endorsed_in_general
    assert fate(key) == ["open", "open", "open", "fulfilled", "fulfilled"]
    assert fate(key._replace(cycle_id=ROLE)) == [None, None, "open", "fulfilled", "fulfilled"]


def test_the_mentor_who_speaks_closes_the_gap_and_gets_no_prompt() -> None:
    key = the_demo().cast.endorsed_by_their_mentor
    assert fate(key) == [None] * 5
    assert gap_of(key) == ["open", *["closed"] * 4]


def test_the_mentor_who_becomes_a_sponsor_closes_the_gap_and_gets_a_prompt() -> None:
    key = the_demo().cast.mentor_turned_sponsor
    assert fate(key) == [None, *["open"] * 4]
    assert gap_of(key) == ["open", *["closed"] * 4]


def test_what_is_fulfilled_stays_so_after_a_move_or_a_leave() -> None:
    cast = the_demo().cast
    assert fate(cast.endorsed_then_moved) == ["open", *["fulfilled"] * 4]
    assert fate(cast.endorsed_by_one_who_then_leaves) == ["open", *["fulfilled"] * 4]
    assert gap_of(cast.endorsed_by_one_who_then_leaves) == [None] * 5


def test_an_endorsement_taken_back_opens_the_prompt_again() -> None:
    cast = the_demo().cast
    assert fate(cast.endorsed_in_haste) == ["open"] * 5
    assert fate(cast.endorsed_and_taken_back) == ["open", "fulfilled", "fulfilled", "open", "open"]


def test_who_declines_is_not_asked_and_leaves_a_gap_unless_another_sponsor_speaks() -> None:
    cast = the_demo().cast
    assert fate(cast.declined) == ["open", *["declined"] * 4]
    assert gap_of(cast.declined) == [None, *["open"] * 4]
    assert fate(cast.declined_by_one_of_two) == ["open", *["declined"] * 4]
    assert gap_of(cast.declined_by_one_of_two) == [None] * 5
    assert fate(cast.declined_for_the_role) == [None, None, "open", "declined", "declined"]
    assert gap_of(cast.declined_for_the_role) == [None, None, None, "open", "closed"]


def test_a_snoozed_prompt_stands() -> None:
    assert fate(the_demo().cast.snoozed) == ["open"] * 5


def test_a_sponsor_who_leaves_is_not_asked_and_leaves_gaps() -> None:
    leaver = the_demo().cast.sponsor_who_leaves
    keys = [key for key in after("promotion opens").prompts if key.sponsor_id == leaver]
    assert len(keys) >= 2
    assert all(fate(key)[:2] == ["open", "sponsor_left"] for key in keys)
    assert sum(gap_of(key)[1] == "open" for key in keys) >= 2
    assert not [key for key in after("role opens").prompts if key.cycle_id == ROLE and key.sponsor_id == leaver]


def test_people_who_move_rise_or_leave_fall_out_of_the_cycle_without_a_gap() -> None:
    cast = the_demo().cast
    assert fate(cast.moved_out) == ["open", *["out_of_scope"] * 4]
    assert fate(cast.promoted_out) == ["open", *["out_of_scope"] * 4]
    assert fate(cast.left) == ["open", *["employee_left"] * 4]
    assert gap_of(cast.moved_out) == gap_of(cast.promoted_out) == gap_of(cast.left) == [None] * 5


def test_who_moves_into_scope_is_asked_for() -> None:
    assert fate(the_demo().cast.moved_in) == [None, None, None, "open", "open"]


def test_the_late_hire_is_asked_for_from_their_hire_on() -> None:
    key = the_demo().cast.hired_late
    assert fate(key) == [None, *["open"] * 4]
    assert the_demo().expected.gaps_in_passing == {GapKey(PROMOTION, key.employee_id)}


def test_an_ended_relationship_leaves_a_gap() -> None:
    key = the_demo().cast.relationship_ended
    assert fate(key) == ["open", "open", "open", "relationship_ended", "relationship_ended"]
    assert gap_of(key) == [None, None, None, "open", "open"]


def test_the_role_cycle_closes_with_all_that_hung_on_it() -> None:
    stood, end = after("both open"), after("role closes")
    unanswered = [key for key, prompt in stood.prompts.items() if key.cycle_id == ROLE and prompt == OPEN]
    assert len(unanswered) > 10
    assert all(end.prompts[key] == ExpectedPrompt("withdrawn", "cycle_closed") for key in unanswered)
    assert {status for gap, status in end.gaps.items() if gap.cycle_id == ROLE} == {"closed"}


def test_promotions_are_still_open_at_the_end() -> None:
    end = the_demo().expected
    assert sum(prompt == OPEN for prompt in end.prompts.values()) > 10
    assert sum(status == "open" for status in end.gaps.values()) > 10
    assert {key.cycle_id for key, prompt in end.prompts.items() if prompt == OPEN} == {PROMOTION}


def test_planted_evidence_belongs_to_prompts_that_stand_to_the_end() -> None:
    cast = the_demo().cast
    for planted in (cast.corrected, cast.retracted, cast.late_and_strong):
        assert fate(planted.prompt) == ["open"] * 5
    assert cast.retracted.achievement_id in the_demo().retracted
    assert cast.corrected.achievement_id not in the_demo().retracted


def test_planted_evidence_is_what_the_cycle_looks_for_and_was_seen_by_the_sponsor() -> None:
    by_id = {
        json.loads(r.value)["data"]["achievement_id"]: json.loads(r.value)["data"]
        for r in the_demo().records()
        if r.type == "achievement.recorded" and r.id.startswith("planted-")
    }
    cycle = payloads(r for r in the_demo().records() if r.key == PROMOTION and r.type == "cycle.opened")[0]
    for planted in (the_demo().cast.corrected, the_demo().cast.retracted, the_demo().cast.late_and_strong):
        done = by_id[planted.achievement_id]
        assert done["competencies"] == cycle["competencies"]
        assert done["witnesses"] == [planted.prompt.sponsor_id]
        assert cycle["evidence_from"] <= done["occurred_on"] <= cycle["evidence_to"]


def test_the_facts_of_a_phase_are_those_of_its_records() -> None:
    """Every endorsement and every decline that is fed is a known fact, and none is known that is not fed."""
    fed = {
        json.loads(r.value)["data"]["endorsement_id"]
        for r in the_demo().records()
        if r.type == "endorsement.given" and "garbled" not in r.id
    }
    facts = [fact for phase in the_demo().phases for fact in phase.facts]
    assert fed == {fact.endorsement_id for fact in facts if isinstance(fact, EndorsedFact)}
    assert sum(isinstance(fact, DeclinedFact) for fact in facts) == len(
        {r.id for r in the_demo().records() if r.type == "prompt.declined"}
    )


# -- how the expected outcome is made of facts ----------------------------------------------------

ANN, BOB, CYCLE = EmployeeId("ann"), EmployeeId("bob"), CycleId("c")
KEY, GAP = PromptKey(CYCLE, ANN, BOB), GapKey(CYCLE, ANN)
OPENS, CLOSES = utc(2026, 9, 7), utc(2026, 10, 9)


A_CYCLE = CycleFact(CYCLE, 1, frozenset(), frozenset(), 0, OPENS, CLOSES)


def a_profile(who: EmployeeId, at: datetime = datetime(2020, 1, 1, tzinfo=UTC), level: int = 3) -> ProfileFact:
    return ProfileFact(who, at, level, datetime(2024, 1, 1, tzinfo=UTC).date(), frozenset({UnitId("company")}))


def outcome(*facts: Fact, before: Expected | None = None) -> Expected:
    known = Known()
    tie = SponsorFact(RelationshipId("r"), ANN, BOB, utc(2025, 1, 1))
    for fact in (a_profile(ANN), a_profile(BOB, level=7), tie, A_CYCLE, NowFact(utc(2026, 9, 20)), *facts):
        known.learn(fact)
    return expected(known, before or Expected())


def test_a_sponsor_of_somebody_in_scope_is_asked() -> None:
    assert outcome().prompts == {KEY: OPEN}


def test_nobody_has_a_prompt_withdrawn_that_never_stood() -> None:
    assert outcome(DeclinedFact(KEY)).prompts == {}


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (DeclinedFact(KEY), "declined"),
        (LeftFact(ANN, utc(2026, 9, 10)), "employee_left"),
        (LeftFact(BOB, utc(2026, 9, 10)), "sponsor_left"),
        (SponsorEndedFact(RelationshipId("r"), utc(2026, 9, 10)), "relationship_ended"),
        (replace(A_CYCLE, edition=2, levels=frozenset({4})), "out_of_scope"),
        (NowFact(CLOSES), "cycle_closed"),
    ],
)
def test_a_prompt_that_stood_is_withdrawn_for_the_reason(fact: Fact, reason: str) -> None:
    assert outcome(fact, before=outcome()).prompts == {KEY: ("withdrawn", reason)}


def test_an_endorsement_given_out_of_scope_does_not_fulfil() -> None:
    endorsed = EndorsedFact(EndorsementId("e"), ANN, BOB, CYCLE, utc(2026, 9, 8))
    assert outcome(endorsed).prompts == {KEY: FULFILLED}
    out = replace(A_CYCLE, edition=2, unit_ids=frozenset({UnitId("elsewhere")}))
    assert outcome(endorsed, out).prompts == {}


def test_what_is_fulfilled_stays_so_after_the_relationship_ends() -> None:
    endorsed = EndorsedFact(EndorsementId("e"), ANN, BOB, CYCLE, utc(2026, 9, 8))
    assert outcome(endorsed, SponsorEndedFact(RelationshipId("r"), utc(2026, 9, 10))).prompts == {KEY: FULFILLED}


def test_what_comes_after_the_end_of_a_cycle_is_no_reason() -> None:
    after_the_end = (LeftFact(ANN, utc(2026, 10, 10)), NowFact(utc(2026, 10, 11)))
    assert outcome(*after_the_end, before=outcome()).prompts == {KEY: ("withdrawn", "cycle_closed")}


def test_a_general_endorsement_from_before_the_cycle_does_not_fulfil() -> None:
    given_before = EndorsedFact(EndorsementId("e"), ANN, BOB, None, utc(2026, 9, 6))
    given_within = EndorsedFact(EndorsementId("e"), ANN, BOB, None, utc(2026, 9, 8))
    assert outcome(given_before).prompts == {KEY: OPEN}
    assert outcome(given_within).prompts == {KEY: FULFILLED}


def test_somebody_without_a_sponsor_is_a_gap() -> None:
    known = outcome()
    assert GapKey(CYCLE, BOB) in known.gaps
    assert GAP not in known.gaps


def test_a_plant_with_two_reasons_is_refused() -> None:
    with pytest.raises(Unclear, match="withdrawn for any of"):
        outcome(DeclinedFact(KEY), LeftFact(BOB, utc(2026, 9, 10)), before=outcome())


def test_a_gap_that_hangs_on_a_sponsor_who_spoke_and_left_is_refused() -> None:
    spoke = EndorsedFact(EndorsementId("e"), ANN, BOB, CYCLE, utc(2026, 9, 8))
    with pytest.raises(Unclear, match="is that a gap"):
        outcome(spoke, LeftFact(BOB, utc(2026, 9, 10)))
