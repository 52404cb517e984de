"""What each measure comes to, of a company small enough to count by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, func, select

from deploy.broker import PROJECT
from services.insights.api import make_api
from services.insights.dashboard import Dashboard
from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.facts import (
    END_OF_TIME,
    CycleFacts,
    EndorsementFacts,
    Facts,
    GapFacts,
    Person,
    PromptFacts,
    Standing,
    Tie,
)
from services.insights.measures.grouping import NOT_SAID, labels_of, table_rows
from services.insights.measures.intervals import newcombe, wilson
from services.insights.measures.keeping import measure, read_measured
from services.insights.measures.measure import Value
from services.insights.measures.measuring import Measuring, tell
from services.insights.measures.taking import MEASURES, take
from services.insights.parts import NONE, percent
from services.insights.reading import Reader
from services.insights.tables import measurements
from shared.contracts.career import ClockTicked, CycleOpened, EndorsementGiven
from shared.contracts.ids import prompt_id
from shared.contracts.outputs import GapOpened, PromptFulfilled, PromptOpened
from shared.database import for_reading
from shared.processing import read_processing
from shared.service.health import Health
from tests.unit.test_insights import (
    a_cycle,
    a_profile,
    apply,
    day,
    delivered,
    engine,  # noqa: F401 (a fixture)
    joined,
    left,
    logged,
    missing,
    noted,
    prompted,
    reader,  # noqa: F401 (a fixture)
    said,
    tied,
    untied,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)

SHIPPED = read_processing(PROJECT / "deploy" / "processing.yaml")


def standing(on: datetime | None = None, **more: Any) -> Standing:
    fields = {
        "at": on or NOW - timedelta(days=400),
        "level": 4,
        "level_since": date(2024, 1, 1),
        "unit_path": ("co", "eng"),
        "location": "Lyon",
        "active": True,
    }
    return Standing(**(fields | more))


def people(count: int, *standings: Standing, prefix: str = "E") -> dict[str, Person]:
    return {f"{prefix}{n}": Person(f"{prefix}{n}", standings or (standing(),)) for n in range(count)}


def sponsors(
    who: Sequence[str], by: str, *, since: datetime = NOW - timedelta(days=90), until: Any = END_OF_TIME
) -> Any:
    return [Tie(employee, by, since, until) for employee in who]


def cycle(cycle_id: str = "C1", **more: Any) -> CycleFacts:
    fields: dict[str, Any] = {
        "cycle_id": cycle_id,
        "kind": "promotion",
        "title": "Spring",
        "status": "open",
        "unit_ids": frozenset(),
        "levels": frozenset(),
        "min_months_in_level": 0,
        "opens_at": NOW - timedelta(days=30),
        "ends_at": NOW + timedelta(days=30),
    }
    return CycleFacts(**(fields | more))


def prompt(employee: str, status: str = "open", *, hours: float = 1, **more: Any) -> PromptFacts:
    opened = NOW - timedelta(days=20)
    fields: dict[str, Any] = {
        "cycle_id": "C1",
        "employee_id": employee,
        "sponsor_id": "S",
        "status": status,
        "opened_at": opened,
        "pieces": 3,
        "strength": 300,
        "delivered_at": opened + timedelta(minutes=2),
        "changed_at": opened + timedelta(hours=hours),
        "viewed_at": None,
        "endorsed_at": None,
    }
    return PromptFacts(**(fields | more))


def whole(values: Sequence[Value], measure: str, cycle_id: str = "") -> Value:
    [found] = [v for v in values if (v.measure, v.cycle_id, v.dimension) == (measure, cycle_id, "")]
    return found


def by(values: Sequence[Value], measure: str, dimension: str) -> dict[Any, Any]:
    return {
        (v.group_id, v.across_id) if v.across_id else v.group_id: None if v.hidden else (v.part, v.whole)
        for v in values
        if (v.measure, v.dimension) == (measure, dimension)
    }


# -- definitions ----------------------------------------------------------------------------------


def test_every_measure_says_in_words_what_it_is_and_where_it_misleads() -> None:
    names = [one.name for one in MEASURES]
    assert len(names) == len(set(names))
    for one in MEASURES:
        assert len(one.definition) > 60, one.name
        assert one.pitfalls, one.name
        assert (one.unit == "seconds") == one.name.endswith("_seconds"), one.name


def test_every_measure_is_explained_to_people_teams_in_the_same_words() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "sponsors.md").read_text().split())
    for one in MEASURES:
        assert f"### {one.title} `{one.name}`, {one.unit}. {one.definition}" in page
        for pitfall in one.pitfalls:
            assert f"- {pitfall}" in page


def test_what_is_taken_has_a_definition_and_most_definitions_are_taken() -> None:
    facts = Facts(NOW, people(30), cycles=[cycle(), replace(cycle("C0"), status="closed", ends_at=NOW)])
    assert {value.measure for value in take(facts, 10).values} == {one.name for one in MEASURES}


# -- coverage -------------------------------------------------------------------------------------


def test_coverage_counts_the_active_with_an_active_sponsor() -> None:
    everybody = people(20) | people(1, standing(level=8, unit_path=("co",)), prefix="S")
    everybody |= people(3, standing(), standing(NOW - timedelta(days=5), active=False), prefix="L")
    ties = [
        *sponsors(["E0", "E1", "L0"], "S0"),
        *sponsors(["E2"], "L1"),
        *sponsors(["E3"], "stranger"),
        *sponsors(["E4"], "E4"),
        *sponsors(["E5"], "S0", until=NOW),
        *sponsors(["E6"], "S0", since=NOW + timedelta(days=1)),
        *sponsors(["E0"], "E7"),
    ]
    values = coverage.sponsor_coverage(Facts(NOW, everybody, ties), 1)
    assert (whole(values, "sponsor_coverage").part, whole(values, "sponsor_coverage").whole) == (2, 21)
    assert by(values, "sponsor_coverage", "level") == {"4": (2, 20), "8": (0, 1)}
    assert by(values, "sponsor_coverage", "unit") == {"co": (2, 21), "eng": (2, 20)}


def test_somebody_whose_first_profile_lies_ahead_is_not_an_employee_yet() -> None:
    later = people(10) | people(5, standing(NOW + timedelta(days=1)), prefix="N")
    assert whole(coverage.sponsor_coverage(Facts(NOW, later), 1), "sponsor_coverage").whole == 10


def test_coverage_of_an_open_cycle_is_of_its_scope() -> None:
    everybody = people(12) | people(15, standing(level=6), prefix="H")
    ties = sponsors(["H0", "H1", "E0"], "H2")
    scoped = cycle(levels=frozenset({6}))
    values = coverage.sponsor_coverage(Facts(NOW, everybody, ties, cycles=[scoped]), 10)
    assert (whole(values, "sponsor_coverage", "C1").part, whole(values, "sponsor_coverage", "C1").whole) == (2, 15)


def test_small_groups_and_what_they_could_be_worked_out_from_are_hidden() -> None:
    everybody = people(12) | people(13, standing(level=5), prefix="F") | people(4, standing(level=6), prefix="H")
    found = by(coverage.sponsor_coverage(Facts(NOW, everybody), 10), "sponsor_coverage", "level")
    assert found == {"4": None, "5": (0, 13), "6": None}


@pytest.mark.parametrize(
    ("days", "band"),
    [
        (0, "under 1 year"),
        (364, "under 1 year"),
        (366, "1 to 2 years"),
        (740, "2 to 5 years"),
        (2000, "5 years and more"),
    ],
)
def test_tenure_is_the_time_since_the_first_profile(days: int, band: str) -> None:
    person = Person("E1", (standing(NOW - timedelta(days=days)),))
    assert ("tenure", band) in labels_of(person, person.standings[0], NOW)


def test_a_place_that_is_not_said_is_a_group_of_its_own() -> None:
    person = Person("E1", (standing(location=""),))
    assert ("location", NOT_SAID) in labels_of(person, person.standings[0], NOW)


def test_the_table_has_the_deepest_layer_of_units_that_fits_a_page() -> None:
    paths = [("co", f"d{n % 12}", f"t{n % 24}") for n in range(720)]
    assert table_rows(paths, 10) == [f"t{n}" for n in range(24)]
    assert table_rows(paths, 20) == [f"d{n}" for n in range(12)], "teams are too small to show levels of"
    assert table_rows([*paths, *(("co", "d1", f"s{n}") for n in range(9))], 10)[0] == "d0", "too many teams"
    assert table_rows([], 10) == []


def test_earlier_moments_are_told_by_what_is_known_of_them_now() -> None:
    year = timedelta(weeks=52)
    everybody = people(10, standing(NOW - 2 * year)) | people(1, standing(NOW - 2 * year), prefix="S")
    everybody |= people(5, standing(NOW - timedelta(weeks=10)), prefix="N")
    ties = [
        *sponsors(["E0", "E1"], "S0", since=NOW - timedelta(weeks=30)),
        *sponsors(["E0"], "N0", since=NOW - timedelta(weeks=40)),
        *sponsors(["E2"], "S0", since=NOW - 2 * year, until=NOW - timedelta(weeks=20)),
    ]
    moments = coverage.sponsor_coverage_over_time(Facts(NOW, everybody, ties), 10)
    told = {(NOW - moment.at) // timedelta(weeks=1): (moment.part, moment.whole) for moment in moments}
    assert len(told) == 53
    assert [told[weeks] for weeks in (52, 31, 30, 21, 20, 11, 10, 0)] == [
        *[(1, 11), (1, 11), (3, 11), (3, 11), (2, 11), (2, 11), (2, 16), (2, 16)]
    ]


def test_the_last_moment_is_now() -> None:
    facts = Facts(NOW, people(20), sponsors([f"E{n}" for n in range(7)], "E9"))
    last = coverage.sponsor_coverage_over_time(facts, 10)[-1]
    now = whole(coverage.sponsor_coverage(facts, 10), "sponsor_coverage")
    assert (last.at, last.part, last.whole) == (NOW, now.part, now.whole) == (NOW, 7, 20)


# -- scope ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "months", "opens", "holds"),
    [
        (date(2025, 3, 15), 12, datetime(2026, 3, 15, 9, tzinfo=UTC), True),
        (date(2025, 3, 16), 12, datetime(2026, 3, 15, 9, tzinfo=UTC), False),
        (date(2025, 8, 31), 6, datetime(2026, 2, 28, 9, tzinfo=UTC), True),
        (date(2025, 8, 31), 6, datetime(2026, 2, 27, 9, tzinfo=UTC), False),
        (date(2026, 5, 1), 0, datetime(2026, 3, 1, tzinfo=UTC), False),
    ],
)
def test_months_in_level_are_counted_as_the_correlator_does(
    since: date, months: int, opens: datetime, holds: bool
) -> None:
    from services.correlator.standing import months_later

    assert cycle(min_months_in_level=months, opens_at=opens).holds(standing(level_since=since)) is holds
    assert (months_later(since, months) <= opens.date()) is holds


# -- gaps, load -----------------------------------------------------------------------------------


def test_gaps_are_as_old_as_their_last_opening() -> None:
    found = [GapFacts("C1", NOW - timedelta(days=days)) for days in (1, 2, 9)]
    values = gaps.gaps(Facts(NOW, cycles=[cycle(), cycle("C2")], gaps=found))
    assert (whole(values, "gaps_standing", "C1").value, whole(values, "gaps_standing", "C2").value) == (3, 0)
    age = whole(values, "gap_age_seconds", "C1")
    assert (age.value, age.high) == (2 * 86400, 9 * 86400)
    assert whole(values, "gap_age_seconds", "C2").value is None


def test_load_is_of_sponsors_who_have_somebody() -> None:
    everybody = people(30) | people(3, standing(level=8), prefix="S")
    ties = [*sponsors([f"E{n}" for n in range(12)], "S0"), *sponsors(["E0", "E1"], "S1"), *sponsors(["gone"], "S2")]
    values = load.sponsor_load(Facts(NOW, everybody, ties))
    mean = whole(values, "sponsor_load")
    assert (mean.value, mean.high, mean.whole) == (7, 12, 2)
    assert {v.group_id: v.value for v in values if v.dimension and v.value} == {"2": 1, "10": 1}


def test_gini_is_0_for_the_same_load_and_near_1_for_one_who_has_nearly_all() -> None:
    assert load.gini([3, 3, 3]) == pytest.approx(0)
    assert load.gini([1, 1, 1, 97]) == pytest.approx(0.72)
    assert load.gini([0] * 99 + [5]) == pytest.approx(0.99)
    assert load.gini([]) is None


# -- conversion -----------------------------------------------------------------------------------


def test_conversion_goes_from_opened_over_delivered_to_endorsed() -> None:
    found = [
        prompt("E0", "fulfilled", hours=10),
        prompt("E1", "fulfilled", hours=30, delivered_at=None),
        prompt("E2", "withdrawn", pieces=0, strength=0),
        prompt("E3"),
        prompt("E4", "fulfilled", opened_at=None, pieces=None, strength=None, delivered_at=None),
    ]
    values = conversion.conversion(Facts(NOW, people(20), cycles=[cycle()], prompts=found), 1)
    assert (whole(values, "prompts_delivered", "C1").part, whole(values, "prompts_delivered", "C1").whole) == (3, 4)
    assert (whole(values, "prompts_endorsed", "C1").part, whole(values, "prompts_endorsed", "C1").whole) == (2, 4)
    assert whole(values, "prompt_delivery_seconds", "C1").value == 120
    assert whole(values, "prompt_endorsement_seconds", "C1").value == 20 * 3600
    assert whole(values, "evidence_pieces", "C1").value == 2.25
    strength = whole(values, "evidence_strength", "C1")
    assert (strength.value, strength.whole) == (3.0, 4)
    assert whole(values, "prompts_without_evidence", "C1").value == 0.25


def test_conversion_by_group_is_hidden_for_few_proteges_however_many_prompts_they_have() -> None:
    found = [prompt(f"E{n % 9}", sponsor_id=f"S{n}") for n in range(40)]
    found += [prompt(f"H{n}", "fulfilled") for n in range(20)]
    everybody = people(9) | people(20, standing(level=6), prefix="H")
    values = conversion.conversion(Facts(NOW, everybody, cycles=[cycle()], prompts=found), 10)
    assert by(values, "prompts_endorsed", "level") == {"4": None, "6": None}
    assert whole(values, "prompts_endorsed", "C1").whole == 60


def test_a_delivery_before_the_last_opening_is_no_waiting() -> None:
    early = prompt("E1", delivered_at=NOW - timedelta(days=25))
    values = conversion.conversion(Facts(NOW, people(20), cycles=[cycle()], prompts=[early]), 1)
    assert whole(values, "prompt_delivery_seconds", "C1").value is None


def test_viewed_lies_between_delivered_and_endorsed() -> None:
    delivered = NOW - timedelta(days=20) + timedelta(minutes=2)
    seen = delivered + timedelta(hours=1)
    found = [
        prompt("E0", "fulfilled", sponsor_id="S0", viewed_at=seen, endorsed_at=seen + timedelta(minutes=3)),
        prompt("E1", "fulfilled", sponsor_id="S1", endorsed_at=seen),
        prompt("E2", sponsor_id="S2", viewed_at=seen + timedelta(hours=2)),
        prompt("E3", sponsor_id="S2", viewed_at=delivered - timedelta(days=1)),
        prompt("E4", "withdrawn", sponsor_id="S2"),
        # Endorsed in another tool, and looked at afterwards: viewed, and no time that an answer took.
        prompt("E5", "fulfilled", sponsor_id="S2", viewed_at=seen, endorsed_at=seen - timedelta(minutes=1)),
    ]
    values = conversion.conversion(Facts(NOW, people(20), cycles=[cycle()], prompts=found), 3)
    viewed = whole(values, "prompts_viewed", "C1")
    assert (viewed.part, viewed.whole) == (4, 6)
    looked, answered = (whole(values, f"prompt_{what}_seconds", "C1") for what in ("view", "answer"))
    assert (looked.value, looked.whole) == (3600, 3)
    assert (answered.value, answered.whole) == (180, 1)


def test_what_fewer_than_k_sponsors_viewed_is_hidden_however_many_prompts_they_have() -> None:
    found = [prompt(f"E{n}", sponsor_id=f"S{n % 9}", viewed_at=NOW) for n in range(40)]
    values = conversion.conversion(Facts(NOW, people(40), cycles=[cycle()], prompts=found), 10)
    hidden = {value.measure for value in values if value.hidden and not value.dimension}
    assert hidden == {"prompts_viewed", "prompt_view_seconds", "prompt_answer_seconds"}
    assert all(value.part is value.value is None for value in values if value.measure in hidden)


def test_viewed_by_group_is_of_where_the_sponsor_is_and_hidden_for_few_sponsors() -> None:
    found = [prompt(f"E{n}", sponsor_id=f"S{n}", viewed_at=NOW if n < 3 else None) for n in range(12)]
    found += [prompt(f"E{n}", sponsor_id=f"H{n % 10}", viewed_at=NOW) for n in range(12, 40)]
    seniors = people(12, standing(level=7), prefix="S") | people(10, standing(level=8), prefix="H")
    facts = Facts(NOW, people(40) | seniors, cycles=[cycle()], prompts=found)
    values = conversion.conversion(facts, 10)
    assert by(values, "prompts_viewed", "level") == {"7": (3, 12), "8": (28, 28)}, "the protégés are of level 4"
    assert by(conversion.conversion(facts, 11), "prompts_viewed", "level") == {"7": None, "8": None}, (
        "of the whole and the twelve the ten would come out"
    )


def test_the_first_endorsement_is_timed_from_the_opening() -> None:
    opens = NOW - timedelta(days=30)
    spoken = [EndorsementFacts(f"E{n}", "C1", opens + timedelta(days=n)) for n in (2, 5)]
    spoken += [EndorsementFacts("E9", "C2", opens - timedelta(days=1)), EndorsementFacts("E9", None, opens)]
    values = conversion.conversion(Facts(NOW, cycles=[cycle(), cycle("C2"), cycle("C3")], endorsements=spoken), 10)
    waited = [whole(values, "first_advocacy_seconds", name).value for name in ("C1", "C2", "C3")]
    assert waited == [2 * 86400, 0, None]
    assert [whole(values, "endorsements", name).value for name in ("", "C1", "C2", "C3")] == [1, 2, 1, 0]


def test_a_cycle_that_is_only_announced_or_called_off_has_no_conversion() -> None:
    values = conversion.conversion(Facts(NOW, cycles=[cycle(status="announced"), cycle("C2", status="cancelled")]), 1)
    assert {value.cycle_id for value in values} == {""}


# -- outcomes -------------------------------------------------------------------------------------


def a_closed_cycle(*, promoted_with: int, promoted_without: int, each: int = 20) -> Facts:
    opens = NOW - timedelta(days=100)
    before = standing(NOW - timedelta(days=400))
    after = standing(opens + timedelta(days=40), level=5)
    everybody = people(1, standing(level=9, unit_path=("board",)), prefix="S")
    for prefix, risen in (("W", promoted_with), ("O", promoted_without)):
        everybody |= people(each, before, prefix=prefix) | people(risen, before, after, prefix=prefix)
    ended = cycle(status="closed", opens_at=opens, ends_at=opens + timedelta(days=30), unit_ids=frozenset({"eng"}))
    ties = sponsors([f"W{n}" for n in range(each)], "S0", since=opens - timedelta(days=9))
    # A sponsor who came after the opening does not make somebody one of those who had one.
    ties += sponsors(["O0"], "S0", since=opens + timedelta(days=1))
    return Facts(NOW, everybody, ties, cycles=[ended])


def test_promoted_with_a_sponsor_is_next_to_promoted_without() -> None:
    values = outcomes.promoted(a_closed_cycle(promoted_with=8, promoted_without=2), 10)
    assert by(values, "promoted", "advocacy") == {"with a sponsor": (8, 20), "without a sponsor": (2, 20)}
    difference = whole(values, "promotion_difference", "C1")
    assert difference.value == pytest.approx(0.3)
    assert (difference.low, difference.high) == pytest.approx(newcombe(8, 20, 2, 20))
    assert "NOT CAUSE" in outcomes.PROMOTED.pitfalls[0]


def test_both_are_hidden_when_one_is_of_few() -> None:
    values = outcomes.promoted(a_closed_cycle(promoted_with=3, promoted_without=2, each=9), 10)
    assert by(values, "promoted", "advocacy") == {"with a sponsor": None, "without a sponsor": None}
    assert whole(values, "promotion_difference", "C1").hidden


def test_a_promotion_long_after_the_cycle_does_not_count_for_it() -> None:
    facts = a_closed_cycle(promoted_with=8, promoted_without=2)
    later = replace(facts, now=NOW + timedelta(days=900))
    risen = {f"O{n}": Person(f"O{n}", (*facts.people[f"O{n}"].standings, standing(NOW + timedelta(days=800), level=7)))
             for n in range(10, 20)}  # fmt: skip
    values = outcomes.promoted(replace(later, people={**facts.people, **risen}), 10)
    assert by(values, "promoted", "advocacy")["without a sponsor"] == (2, 20)


def test_an_open_cycle_has_no_outcome_yet() -> None:
    assert outcomes.promoted(Facts(NOW, people(40), cycles=[cycle()]), 10) == []


def test_a_mentor_who_later_became_the_sponsor_is_counted_once() -> None:
    start = NOW - timedelta(days=100)
    mentors = sponsors(["E0", "E1", "E2"], "M", since=start) + sponsors(["E0"], "M", since=start + timedelta(days=20))
    ties = sponsors(["E0"], "M", since=start + timedelta(days=30)) + sponsors(["E1"], "M", since=start)
    values = outcomes.mentor_to_sponsor(Facts(NOW, sponsors=ties, mentors=mentors))
    assert (values[0].part, values[0].whole, values[1].value) == (1, 3, 30 * 86400)


# -- intervals ------------------------------------------------------------------------------------


def test_wilson_is_as_published() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I: method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_newcombe_is_as_published() -> None:
    # Newcombe (1998), Statistics in Medicine 17:873-890, table II: method 10.
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert newcombe(5, 56, 0, 29) == pytest.approx((-0.0381, 0.1926), abs=5e-5)


@pytest.mark.parametrize(("part", "of"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_has_no_interval(part: int, of: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(part, of)


# -- kept, served, told ---------------------------------------------------------------------------


def season() -> list[Any]:
    lead = a_profile("Sue Park", level=8, unit=("co",))
    events: list[Any] = [joined("S1", -400, profile=lead), joined("gone", -400), left("gone", -3)]
    for n in range(12):
        events += [joined(f"E{n}", -400, profile=a_profile(f"Person {n}"))]
        if n < 8:
            events.append(tied(f"E{n}", "S1", -30))
    events += [untied("E7", "S1", -1), said(CycleOpened, 1, cycle=a_cycle()), said(ClockTicked, 12, now=day(12))]
    events += [
        prompted(PromptOpened, 1),
        prompted(PromptFulfilled, 2, endorsement_id="N1"),
        missing(GapOpened, 1, employee="E9"),
        delivered(at=11.5),
    ]
    return events


def test_what_is_measured_is_kept_and_not_taken_again_until_the_log_goes_on(engine: Engine) -> None:  # noqa: F811
    apply(engine, logged(*season()))
    taken = measure(engine, 10)
    assert taken is not None
    with engine.connect() as connection:
        kept = read_measured(connection)
    assert (kept.clock, kept.k) == (day(12), 10)
    told = [value for value in taken.values if not value.hidden or value.dimension == "unit and level"]
    assert sorted(map(repr, kept.taken.values)) == sorted(map(repr, told))
    assert sum(kept.hidden.values()) == sum(value.hidden for value in taken.values) > 0
    assert kept.taken.moments == taken.moments
    assert whole(kept.taken.values, "sponsor_coverage").part == 7
    assert whole(kept.taken.values, "prompt_delivery_seconds", "C1").value == 43200
    assert measure(engine, 10) is None
    assert measure(engine, 11) is not None, "another k hides other groups"
    apply(
        engine, [r for r in logged(*season(), joined("E20", -1)) if r.offset > 40] or logged(*season(), joined("E20"))
    )
    assert measure(engine, 11) is not None


def test_times_are_taken_from_the_first_view_to_the_endorsement_that_fulfilled_the_prompt(engine: Engine) -> None:  # noqa: F811
    given = {"sponsor_id": "S1", "cycle_id": "C1", "employee_id": "E1"}
    views = [noted(on=on) for on in (13, 12.5, 14)]
    spoken = [said(EndorsementGiven, on, endorsement_id=f"N{on}", given_at=day(on), **given) for on in (13.5, 15)]
    fulfilled = prompted(PromptFulfilled, 2, endorsement_id="N13.5")
    apply(engine, logged(*season()[:-3], prompted(PromptOpened, 1), delivered(at=12), *views, *spoken, fulfilled))
    taken = measure(engine, 1)
    assert taken is not None
    viewed = whole(taken.values, "prompts_viewed", "C1")
    assert (viewed.part, viewed.whole) == (1, 1)
    assert whole(taken.values, "prompt_view_seconds", "C1").value == 0.5 * 86400
    assert whole(taken.values, "prompt_answer_seconds", "C1").value == 86400


def test_before_the_first_clock_event_there_is_nothing_to_measure(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(joined("E1")))
    measure(engine, 10)
    assert reader.measures().clock is None
    assert reader.coverage().overall is None


async def test_measures_are_served_with_words_and_without_small_groups(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*season()))
    measure(engine, 10)
    transport = httpx.ASGITransport(make_api(reader, Dashboard(reader.for_dashboard), Health(), SHIPPED))
    async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
        everything = (await client.get("/v1/measures")).json()
        assert [item["name"] for item in everything["items"]] == [one.name for one in MEASURES]
        assert everything["k"] == 10
        one = (await client.get("/v1/measures/sponsor_coverage")).json()
        [company] = [value for value in one["values"] if not value["dimension"] and not value["cycle_id"]]
        assert (company["part"], company["whole"]) == (7, 13)
        # The one lead is the company less the unit of the twelve.
        assert one["hidden"] == {"level": 2, "unit": 1}
        assert len(one["over_time"]) == 53
        coverage_page = (await client.get("/v1/coverage")).json()
        assert coverage_page["overall"] == {"active": 13, "covered": 7, "share": 0.5385}
        assert (coverage_page["by_level"], coverage_page["hidden"]) == ([], 3)
        answer = await client.get("/v1/measures/happiness")
        assert answer.status_code == 404
        assert "sponsor_coverage" in answer.json()["detail"]


def test_prometheus_is_told_the_whole_and_no_group(engine: Engine) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    taken = measure(engine, 10)
    assert taken is not None
    tell(taken)
    assert REGISTRY.get_sample_value("insights_sponsor_coverage_ratio", {"cycle": ""}) == pytest.approx(48 / 130)
    assert REGISTRY.get_sample_value("insights_prompts_endorsed_ratio", {"cycle": "C1"}) == pytest.approx(1 / 3)
    tell(take(Facts(NOW, people(3), cycles=[cycle()], prompts=[prompt("E1")]), 10))
    assert REGISTRY.get_sample_value("insights_prompts_endorsed_ratio", {"cycle": "C1"}) is None, "one protégé is few"
    tell(take(Facts(NOW), 10))
    assert REGISTRY.get_sample_value("insights_sponsor_coverage_ratio", {"cycle": "C1"}) is None


def test_a_measuring_that_fails_leaves_what_was_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from services.insights.measures import keeping

    apply(engine, logged(*season()))
    measure(engine, 10)
    monkeypatch.setattr(keeping, "_row", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure(engine, 11)
    with for_reading(engine).connect() as connection:
        assert read_measured(connection).k == 10
        assert connection.execute(select(func.count()).select_from(measurements)).scalar_one() > 20


# -- the dashboard --------------------------------------------------------------------------------


def a_large_season() -> list[Any]:
    """A company that is large enough for every part of the page."""
    lead = a_profile("Sue Park", level=8, unit=("co", "eng"))
    events: list[Any] = [joined(f"S{n}", -400, profile=lead) for n in range(10)]
    for unit in ("eng", "ops"):
        for level in (3, 4):
            profile = a_profile("<b>Ann</b>", level=level, unit=("co", unit), location="<i>Lyon</i>")
            for n in range(30):
                who = f"{unit}{level}-{n}"
                events.append(joined(who, -400, profile=profile))
                if n < 12:
                    events += [tied(who, f"S{n % 10}", -60), prompted(PromptOpened, 1, employee=who, cycle="C1")]
                if n < 4:
                    events.append(prompted(PromptFulfilled, 2, employee=who, cycle="C1", endorsement_id="N"))
                if n > 20:
                    events.append(missing(GapOpened, 1, employee=who))
    title = "Spring & <script>alert(1)</script>"
    closed = a_cycle("C0", opens=-50, closes=-20, title="Autumn")
    return [
        *events,
        said(CycleOpened, -100, cycle=closed),
        said(CycleOpened, 1, cycle=a_cycle(title=title)),
        said(ClockTicked, 13, now=day(13)),
    ]


async def dashboard(reader: Reader, query: str = "") -> httpx.Response:  # noqa: F811
    transport = httpx.ASGITransport(make_api(reader, Dashboard(reader.for_dashboard), Health(), SHIPPED))
    async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
        return await client.get(f"/dashboard{query}")


async def test_the_dashboard_shows_each_chart_with_its_numbers_in_a_table(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    measure(engine, 10)
    page = (await dashboard(reader)).text
    assert "48 of 130 active employees" in page
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(figures) >= 7
    for figure in figures:
        assert figure.count("<svg") == 2, "one for wide screens and one for narrow ones"
        assert figure.count('role="img" aria-label="') == 2
        assert figure.count("<table>") == 1
    assert "This is not cause" in page
    assert '<td class="n">40% of 30</td>' in page
    assert "16 (33%)" in page


async def test_the_funnel_of_a_cycle_shows_what_was_viewed(engine: Engine, reader: Reader) -> None:  # noqa: F811
    events = a_large_season()
    lead = a_profile("Sue Park", level=8, unit=("co", "eng"))
    for n in range(10):
        events.append(joined(f"S{n + 10}", -400, profile=lead))
        prompt_of = prompt_id("C1", f"ops4-{n}", f"S{n + 10}")  # type: ignore[arg-type]
        events.append(prompted(PromptOpened, 1, employee=f"ops4-{n}", sponsor=f"S{n + 10}"))
        if n < 6:
            events += [noted(on=on, event=f"view {n} of day {on}", prompt_id=prompt_of) for on in (11, 12)]
    apply(engine, logged(*events))
    measure(engine, 11)
    page = (await dashboard(reader)).text
    assert '<th scope="row"><bdi>Viewed</bdi></th><td class="n">6</td><td class="n">10%</td>' in page
    assert "Viewed, of the prompts that were opened" in page
    parts = dict(re.findall(r'<section aria-labelledby="prompts-viewed-by-(\w+)">(.*?)</section>', page, re.DOTALL))
    assert parts["level"].count("<bdi>Level 8</bdi>") == 1, "where the sponsors are, and not their protégés"
    assert '<td class="n">6</td><td class="n">58</td><td class="n">10%</td>' in parts["level"]
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "each part has an id of its own"
    measure(engine, 12)
    page = (await dashboard(reader)).text
    assert "<bdi>Viewed</bdi>" not in page, "eleven sponsors are fewer than twelve"
    assert "Viewed, of the prompts" not in page


async def test_where_no_group_of_sponsors_is_large_enough_the_page_says_so_once(engine: Engine, reader: Reader) -> None:  # noqa: F811
    events = a_large_season()
    for n in range(10):
        of = a_profile("Sue Park", level=5 + n, unit=(f"unit-{n}",), location=f"Place {n}")
        events.append(joined(f"S{n + 10}", -400 if n % 2 else -3000, profile=of))
        events.append(prompted(PromptOpened, 1, employee=f"ops4-{n}", sponsor=f"S{n + 10}"))
    events.append(noted(on=11, prompt_id=prompt_id("C1", "ops4-0", "S10")))  # type: ignore[arg-type]
    apply(engine, logged(*events))
    measure(engine, 11)
    page = (await dashboard(reader)).text
    [part] = re.findall(r"<h3>Viewed, of the prompts that were opened</h3>(.*?)<h3>", page, re.DOTALL)
    assert "<p>No group is large enough.</p>" in part
    assert "<section" not in part


async def test_a_cycle_shows_who_was_endorsed_by_unit_level_tenure_and_location(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    measure(engine, 10)
    page = (await dashboard(reader)).text
    parts = dict(re.findall(r'<section aria-labelledby="prompts-endorsed-by-(\w+)">(.*?)</section>', page, re.DOTALL))
    rows = {of: re.findall(r"<bdi>(.*?)</bdi></th>(.*?)</tr>", part) for of, part in parts.items()}
    of_24 = '<td class="n">8</td><td class="n">24</td><td class="n">33%</td>'
    of_48 = '<td class="n">16</td><td class="n">48</td><td class="n">33%</td>'
    assert rows["unit"] == [("co", of_48)], "the units of the table; here the layer below is of too few for it"
    assert rows["level"] == [("Level 3", of_24), ("Level 4", of_24)]
    assert [share for _, share in rows["tenure"] + rows["location"]] == [of_48] * 2
    assert "prompts-endorsed-by" not in (await dashboard(reader, "?cycle=C0")).text, "nobody was asked in it"


async def test_the_dashboard_runs_no_script_and_fetches_nothing(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    measure(engine, 10)
    answer = await dashboard(reader)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = answer.text.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert page.count("<style>") == 1
    assert not re.search(r"<script|<link|<img|src=|https?://|@import|\sstyle=|\son\w+=|<image|<foreignObject", page)
    assert "Spring &amp; &lt;script&gt;" in page
    assert "<i>Lyon" not in page


async def test_the_dashboard_shows_the_cycle_that_is_asked_for(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    measure(engine, 10)
    assert '<h2 id="cycle"><bdi>Spring' in (await dashboard(reader)).text
    assert '<h2 id="cycle"><bdi>Autumn' in (await dashboard(reader, "?cycle=C0")).text
    assert '<h2 id="cycle"><bdi>Spring' in (await dashboard(reader, "?cycle=unheard-of")).text
    assert (await dashboard(reader, "?cylce=C0")).status_code == 400


async def test_the_dashboard_follows_what_is_measured(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*a_large_season()))
    transport = httpx.ASGITransport(make_api(reader, Dashboard(reader.for_dashboard), Health(), SHIPPED))
    async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
        assert "Nothing is measured yet" in (await client.get("/dashboard")).text
        measure(engine, 10)
        assert "48 of 130" in (await client.get("/dashboard")).text
        more = [joined(f"new-{n}", 1, profile=a_profile(level=3, unit=("co", "eng"))) for n in range(20)]
        apply(engine, logged(*a_large_season(), *more))
        measure(engine, 10)
        assert "48 of 150" in (await client.get("/dashboard")).text


async def test_a_small_company_sees_why_it_is_shown_little(engine: Engine, reader: Reader) -> None:  # noqa: F811
    apply(engine, logged(*season()))
    measure(engine, 50)
    page = (await dashboard(reader)).text
    assert "There are too few employees to tell" in page
    assert "No unit has enough people of one level" in page


async def test_the_page_is_made_before_somebody_asks_for_it(engine: Engine) -> None:  # noqa: F811
    apply(engine, logged(*season()))
    shown: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    part = Measuring(engine, 10, 0.01, lambda: loop.call_soon_threadsafe(shown.put_nowait, 1))
    await part.start()
    async with asyncio.timeout(20):
        await shown.get()
        apply(engine, logged(*season(), joined("E20")))
        await shown.get()
    await part.stop()
    assert shown.empty(), "not made again while nothing else was measured"


@pytest.mark.parametrize(
    ("share", "digits", "shown"),
    [
        (0.0, 0, "0%"),
        (24 / 63_736, 0, "0.04%"),
        (0.0049, 0, "0.5%"),
        (0.005, 0, "0.5%"),
        (0.63, 0, "63%"),
        (0.995, 0, "99.5%"),
        (0.9996, 0, "99.96%"),
        (1.0, 0, "100%"),
        (0.0004, 1, "0.04%"),
        (0.0816, 1, "8.2%"),
        (None, 0, NONE),
    ],
)
def test_a_share_of_few_does_not_look_like_nobody_nor_all_but_few_like_everybody(
    share: float | None, digits: int, shown: str
) -> None:
    assert percent(share, digits) == shown
