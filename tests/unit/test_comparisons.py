"""Comparisons by protected attributes: off until a company turns them on, told once a quarter, and of nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, select

from services.insights.api import SORTS, make_api
from services.insights.applying import Run, apply_run, read_progress
from services.insights.dashboard import Dashboard
from services.insights.forgetting import forget
from services.insights.measures.comparing import COMPARISONS, OTHERS, View, blocks, compare, quarter
from services.insights.measures.facts import Facts, Person
from services.insights.measures.grouping import NOT_SAID
from services.insights.measures.keeping import compare_when_due, read_comparisons
from services.insights.measures.measuring import Comparing
from services.insights.projection import TOPICS, AttributesKept, project, topics_of
from services.insights.reading import Reader
from services.insights.schema import keep_attributes
from services.insights.settings import InsightsSettings
from services.insights.tables import attributes, comparisons, event_counts
from shared.company.__main__ import main as write_company
from shared.company.population import Company
from shared.company.population import attributes as made_up
from shared.contracts.base import Contract
from shared.contracts.career import ClockTicked
from shared.contracts.cloudevents import write_feed_event
from shared.database import for_reading
from shared.service.access import Reader as Somebody
from shared.service.access import may_read
from shared.service.health import Health
from shared.streaming.records import Poison, Record
from shared.streaming.sealing import name_of, names_in
from shared.streaming.topics import ATTRIBUTES
from tests.unit.test_insights import (
    a_profile,
    apply,
    day,
    dump,
    engine,  # noqa: F401 (a fixture)
    joined,
    logged,
    recorded,
    said,
    tied,
)
from tests.unit.test_measures import SHIPPED, cycle, prompt, sponsors, standing

AT = datetime(2026, 4, 1, tzinfo=UTC)
NOW = AT + timedelta(days=40)
KEPT = AttributesKept(frozenset({"gender"}))


def crowd(count: int, prefix: str, *, unit: str = "eng", **more: Any) -> dict[str, Person]:
    begins = standing(AT - timedelta(days=500), unit_path=("co", unit), **more)
    return {f"{prefix}{n}": Person(f"{prefix}{n}", (begins,)) for n in range(count)}


def who(people: Mapping[str, Any], first: int = 0, last: int | None = None) -> list[str]:
    return sorted(people)[first:last]


def told(facts: Facts, values: Mapping[str, str], *, earlier: Sequence[View] = (), k: int = 5) -> dict[Any, Any]:
    """What is told: by view, each value with how many of how many."""
    found: dict[Any, Any] = {}
    for one in compare(facts, "gender", values, earlier, k).values:
        view = (one.measure.removesuffix("_compared"), one.cycle_id or one.group_id)
        found.setdefault(view, {})[one.value_id] = (one.part, one.whole)
    return found


WOMEN, MEN = crowd(20, "W"), crowd(20, "M")
GENDERS = dict.fromkeys(WOMEN, "woman") | dict.fromkeys(MEN, "man")


# -- what is told ---------------------------------------------------------------------------------


def test_coverage_is_told_by_value_with_its_interval() -> None:
    ties = sponsors([*who(WOMEN, 0, 8), *who(MEN, 0, 12)], "W0", since=AT - timedelta(days=90))
    facts = Facts(NOW, WOMEN | MEN, ties)
    found = compare(facts, "gender", GENDERS, (), 5).values
    everybody = [one for one in found if not one.group_id]
    assert [(one.value_id, one.part, one.whole, one.at) for one in everybody] == [
        ("man", 12, 20, AT),
        ("woman", 7, 20, AT),  # nobody is their own sponsor
    ]
    assert all(0 < one.low < one.value < one.high < 1 for one in everybody)


def test_what_happens_within_a_quarter_changes_nothing_that_is_told() -> None:
    ties = sponsors([*who(WOMEN, 5, 15), *who(MEN, 5, 15)], "W0", since=AT - timedelta(days=90))
    before = told(Facts(AT + timedelta(days=1), WOMEN | MEN, ties), GENDERS)
    new = {"N1": Person("N1", (standing(AT + timedelta(days=10)),))}
    ties += sponsors(who(WOMEN, 16, 17), "W0", since=AT + timedelta(days=10))
    later = told(Facts(NOW, WOMEN | MEN | new, ties), GENDERS | {"N1": "woman"})
    assert before == later != {}


def test_who_has_not_said_is_a_value_and_values_of_few_are_told_together() -> None:
    people = crowd(36, "E")
    names = dict(zip(who(people), ["a"] * 12 + ["b"] * 12 + ["c"] * 3 + ["d"] * 3, strict=False))
    ties = sponsors(who(people, 0, None)[::2], "E1", since=AT - timedelta(days=9))
    found = told(Facts(NOW, people, ties), names, k=5)
    assert {value: of for value, (_, of) in found["sponsor_coverage", ""].items()} == {
        "a": 12,
        "b": 12,
        NOT_SAID: 6,
        OTHERS: 6,
    }


def test_a_single_rare_value_is_not_left_alone() -> None:
    assert blocks(["a"] * 30 + ["b"] * 20 + ["c"] * 3, 10) == {"a": "a", "b": OTHERS, "c": OTHERS}
    assert blocks(["a"] * 30 + ["b"] * 20, 10) == {"a": "a", "b": "b"}
    assert blocks(["a"] * 3 + [NOT_SAID] * 30, 10) == {"a": OTHERS, NOT_SAID: OTHERS}
    assert blocks([], 10) == {}


def test_an_attribute_that_nearly_all_have_the_same_value_of_is_not_told() -> None:
    few = dict.fromkeys(who(MEN, 0, 4), "x")
    assert told(Facts(NOW, WOMEN | MEN), dict.fromkeys(GENDERS, "y") | few, k=5) == {}


def test_a_unit_is_told_where_each_value_has_enough_people_and_not_where_one_has_few() -> None:
    def of(**units: int) -> set[Any]:
        """The views that are told beside twenty women and twenty men in eng, of ops with so many."""
        values = GENDERS | {f"{gender}-{n}": gender for gender, count in units.items() for n in range(count)}
        people = WOMEN | MEN
        for gender, count in units.items():
            people |= crowd(count, f"{gender}-", unit="ops")
        ties = sponsors(sorted(people)[::2], "M1", since=AT - timedelta(days=9))
        return {view for _, view in told(Facts(NOW, people, ties), values)}

    assert of(man=16, woman=4) == {""}, "the company less eng is ops, so that eng is not told either"
    assert of(man=16, woman=12) == {"", "eng", "ops"}


def test_a_share_is_not_told_that_would_tell_the_value_of_nearly_all_who_are_counted() -> None:
    # Who has a sponsor anybody in the people team can list: that all of them are men is then each one's value.
    ties = sponsors(who(MEN), "W0", since=AT - timedelta(days=90))
    assert told(Facts(NOW, WOMEN | MEN, ties), GENDERS) == {}
    nobody = told(Facts(NOW, WOMEN | MEN), GENDERS)
    assert nobody["sponsor_coverage", ""] == {"woman": (0, 20), "man": (0, 20)}


def test_a_cycle_is_told_once_after_it_has_ended() -> None:
    ended = cycle("C1", status="closed", opens_at=AT - timedelta(days=90), ends_at=AT - timedelta(days=30))
    asked = [prompt(one, "fulfilled" if n % 2 else "open", opened_at=AT) for n, one in enumerate(sorted(GENDERS))]
    facts = Facts(NOW, WOMEN | MEN, cycles=[ended], prompts=[*asked, asked[0]])
    assert told(facts, GENDERS)["endorsed", "C1"] == {"woman": (10, 20), "man": (10, 20)}
    before = View("endorsed_compared", "C1", "", "", AT - timedelta(days=90))
    assert ("endorsed", "C1") not in told(facts, GENDERS, earlier=[before])
    running = Facts(NOW, WOMEN | MEN, cycles=[cycle(ends_at=AT + timedelta(days=1), status="closed")], prompts=asked)
    assert ("endorsed", "C1") not in told(running, GENDERS)


def test_promotions_are_told_with_a_sponsor_and_without_once_they_can_be_known() -> None:
    opened = AT - timedelta(days=300)
    rises = (standing(AT - timedelta(days=900)), standing(AT - timedelta(days=200), level=5))
    people = WOMEN | MEN
    people |= {one: Person(one, rises) for one in [*who(WOMEN)[::2], *who(MEN)[::2]]}
    ties = sponsors([*who(WOMEN, 0, 10), *who(MEN, 0, 10)], "W19", since=opened - timedelta(days=5))
    ended = cycle("C1", status="closed", opens_at=opened, ends_at=AT - timedelta(days=190))
    facts = Facts(NOW, people, ties, cycles=[ended])
    found = compare(facts, "gender", GENDERS, (), 5).values
    assert {(one.group_id, one.value_id): (one.part, one.whole) for one in found if one.cycle_id} == {
        (group, value): (5, 10) for group in ("with a sponsor", "without a sponsor") for value in ("woman", "man")
    }
    too_early = cycle("C1", status="closed", opens_at=opened, ends_at=AT - timedelta(days=170))
    assert not [
        one
        for one in compare(Facts(NOW, people, ties, cycles=[too_early]), "gender", GENDERS, (), 5).values
        if one.cycle_id
    ]


def test_two_cycles_whose_people_differ_by_few_are_not_both_told() -> None:
    cycles = [cycle(name, status="closed", ends_at=AT - timedelta(days=9)) for name in ("C1", "C2")]
    everybody = sorted(GENDERS)
    asked = [
        prompt(one, "fulfilled" if n % 2 else "open", cycle_id=c)
        for c in ("C1", "C2")
        for n, one in enumerate(everybody)
    ]
    both = told(Facts(NOW, WOMEN | MEN, cycles=cycles, prompts=asked), GENDERS)
    assert {("endorsed", "C1"), ("endorsed", "C2")} <= both.keys(), (
        "the same people, whose values nobody can tell apart"
    )
    one_less = [one for one in asked if (one.cycle_id, one.employee_id) != ("C2", "W3")]
    found = told(Facts(NOW, WOMEN | MEN, cycles=cycles, prompts=one_less), GENDERS)
    assert len({("endorsed", "C1"), ("endorsed", "C2")} & found.keys()) < 2


def test_what_was_told_in_an_earlier_quarter_is_set_beside_what_may_be_told_now() -> None:
    since = AT - timedelta(days=20)
    people = WOMEN | MEN | {"N1": Person("N1", (standing(since, unit_path=("co", "eng")),))}
    ties = sponsors([*who(WOMEN)[::2], *who(MEN)[::2]], "W1", since=AT - timedelta(days=400))
    facts, values = Facts(NOW, people, ties), GENDERS | {"N1": "woman"}
    assert ("sponsor_coverage", "") in told(facts, values)
    before = View("sponsor_coverage_compared", "", "", "", AT - timedelta(days=90))
    assert told(facts, values, earlier=[before]) == {}, "the one who is new would be told by one less"


@pytest.mark.parametrize(
    ("now", "begins"), [((2026, 1, 1), (2026, 1)), ((2026, 6, 30), (2026, 4)), ((2026, 12, 31), (2026, 10))]
)
def test_a_quarter_begins_with_its_first_month(now: tuple[int, int, int], begins: tuple[int, int]) -> None:
    assert quarter(datetime(*now, 23, 59, tzinfo=UTC)) == datetime(*begins, 1, tzinfo=UTC)


def test_every_comparison_is_explained_to_people_teams_in_the_same_words() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "sponsors.md").read_text().split())
    for one in COMPARISONS:
        assert f"### {one.title} `{one.name}`, {one.unit}. {one.definition}" in page
        for pitfall in one.pitfalls:
            assert f"- {pitfall}" in page


# -- how attributes come in -----------------------------------------------------------------------


def stated(employee: str, on: float = 0, *, offset: int = 0, subject: str = "", **values: str | None) -> Record:
    subject = subject or employee
    value = write_feed_event(
        event_id=f"{subject}-{offset}",
        source="urn:hris",
        event_type="attributes.stated",
        subject=subject,
        time=day(on),
        data={"employee_id": employee, "values": values},
    )
    return Record(ATTRIBUTES, 0, offset, subject.encode(), value, (), day(on))


def take_in(engine: Engine, *records: Record, kept: AttributesKept = KEPT) -> None:  # noqa: F811 (not the fixture)
    apply_run(engine, Run(records, lambda record: project(record, kept)))


def kept_of(engine: Engine) -> list[tuple[Any, ...]]:  # noqa: F811
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(attributes.c.employee_id, attributes.c.said)).all()]


def test_nothing_is_read_or_let_in_where_no_attribute_is_named() -> None:
    assert topics_of(()) == TOPICS
    assert ATTRIBUTES not in TOPICS
    with pytest.raises(Poison, match="is not projected"):
        project(stated("E1", gender="woman"))


def test_of_an_attribute_that_is_not_compared_by_nothing_is_kept() -> None:
    [row] = project(stated("E1", gender="woman", religion="x"), KEPT).rows
    assert row.columns()["said"] == {"gender": "woman"}


def test_nothing_is_kept_of_somebody_who_has_been_erased() -> None:
    erased = AttributesKept(KEPT.names, lambda ref: ref == name_of("E1"))
    [row] = project(stated("E1", gender="woman"), erased).rows
    assert (row.columns()["employee_id"], row.columns()["said"]) == (None, None)


@pytest.mark.parametrize(
    ("data", "said_wrong"),
    [
        ({"employee_id": "E1"}, "values"),
        ({"employee_id": "E1", "values": {"Gender!": "x"}}, "values"),
        ({"employee_id": "E1", "values": {"gender": ""}}, "values.gender"),
        ({"values": {"gender": "x"}}, "employee_id"),
    ],
)
def test_a_statement_that_is_none_says_which_field_is_wrong(data: Any, said_wrong: str) -> None:
    value = json.loads(stated("E1").value or b"") | {"data": data}
    with pytest.raises(ValidationError) as caught:
        project(Record(ATTRIBUTES, 0, 0, b"E1", json.dumps(value).encode(), (), day(0)), KEPT)
    assert said_wrong.split(".")[-1] in {str(part) for error in caught.value.errors() for part in error["loc"]}


@pytest.mark.parametrize(
    "value", [b"no event", json.dumps({"specversion": "1.0", "id": "1", "source": "s", "type": "x"}).encode()]
)
def test_what_is_no_statement_becomes_a_dead_letter(value: bytes) -> None:
    with pytest.raises(Poison):
        project(Record(ATTRIBUTES, 0, 0, b"E1", value, (), day(0)), KEPT)


def test_a_statement_names_whose_it_is_so_that_it_is_sealed_under_their_key() -> None:
    record = stated("E1", gender="woman")
    assert names_in(record.topic, record.key, record.value or b"") == (name_of("E1"),)


class AttributesSuite:
    """What has to hold of attributes on every database."""

    def test_the_last_statement_of_a_subject_holds_whole(self, engine: Engine) -> None:  # noqa: F811
        both = AttributesKept(frozenset({"gender", "age"}))
        take_in(engine, stated("E1", gender="woman", age="30s"), stated("E1", offset=1, age="40s"), kept=both)
        assert kept_of(engine) == [("E1", {"age": "40s"})]

    @pytest.mark.parametrize("last", [None, "null"])
    def test_what_is_taken_back_is_gone(self, engine: Engine, last: str | None) -> None:  # noqa: F811
        take_in(engine, stated("E1", gender="woman"))
        again = stated("E1", offset=1, gender=None)
        take_in(engine, again if last else Record(ATTRIBUTES, 0, 1, b"E1", None, (), day(1)))
        assert kept_of(engine) == []

    def test_the_rows_are_those_that_a_compacted_topic_gives(self, engine: Engine) -> None:  # noqa: F811
        records = [
            stated("E1", 3, gender="woman"),
            stated("E2", 1, offset=1, gender="man"),
            stated("E1", 2, offset=2, gender="other"),  # said earlier, sent later
            Record(ATTRIBUTES, 0, 3, b"E2", None, (), day(4)),
            stated("E1", 1, offset=4, subject="survey/E1", gender="woman"),
        ]
        take_in(engine, *records)
        live = dump(engine)["attributes"]
        keep_attributes(engine, ())
        keep_attributes(engine, KEPT.names)
        newest = {record.key: record for record in records}
        take_in(engine, *(record for record in newest.values() if record.value is not None))
        assert dump(engine)["attributes"] == live
        assert len(live) == 2

    def test_other_attributes_than_before_are_read_anew_and_none_leaves_nothing(self, engine: Engine) -> None:  # noqa: F811
        keep_attributes(engine, KEPT.names)
        take_in(engine, stated("E1", gender="woman"))
        assert not keep_attributes(engine, KEPT.names)
        assert kept_of(engine) != []
        assert keep_attributes(engine, {"gender", "age"})
        assert kept_of(engine) == []
        assert read_progress(engine) == {}, "so that the topic is read from its beginning"
        with engine.connect() as connection:
            assert connection.execute(select(event_counts)).all() == []
        take_in(engine, stated("E1", gender="woman"))
        assert keep_attributes(engine, ())
        assert all(dump(engine)[table] == [] for table in ("attributes", "attribute_names", "progress"))

    def test_what_was_told_goes_with_the_attribute(self, engine: Engine) -> None:  # noqa: F811
        a_company(engine)
        compare_when_due(engine, 5, ["gender"])
        keep_attributes(engine, {"age"})
        assert dump(engine)["comparisons"] == dump(engine)["compared"] == []

    def test_somebody_who_is_erased_leaves_no_attribute(self, engine: Engine) -> None:  # noqa: F811
        take_in(engine, stated("E1", gender="woman"), stated("E1", offset=1, subject="survey/7", gender="woman"))
        forget(engine, "E1", lambda text: text == "E1")
        assert kept_of(engine) == []

    def test_an_attribute_waits_until_somebody_has_stated_it(self, engine: Engine) -> None:  # noqa: F811
        a_company(engine)
        assert compare_when_due(engine, 5, ["gender", "age"]) == ["gender"]
        assert compare_when_due(engine, 5, ["gender", "age"]) == []
        with engine.connect() as connection:
            assert read_comparisons(connection, ["age"])[0].at is None
        both = AttributesKept(frozenset({"gender", "age"}))
        keep_attributes(engine, both.names)
        take_in(engine, *(stated(f"E{n}", offset=950 + n, age="ab"[n % 2]) for n in range(40)), kept=both)
        assert compare_when_due(engine, 5, ["age"]) == ["age"]
        with engine.connect() as connection:
            assert read_comparisons(connection, ["age"])[0].values

    def test_comparing_is_done_once_a_quarter_and_stands(self, engine: Engine) -> None:  # noqa: F811
        a_company(engine)
        assert compare_when_due(engine, 5, ["gender"]) == ["gender"]
        once = dump(engine)["comparisons"]
        assert once
        take_in(engine, stated("E0", offset=900, gender="b"))
        assert compare_when_due(engine, 5, ["gender"]) == []
        assert dump(engine)["comparisons"] == once
        apply(engine, [recorded(said(ClockTicked, 200, now=day(200)), partition=1)])
        assert compare_when_due(engine, 5, ["gender"]) == ["gender"]
        with engine.connect() as connection:
            [newest] = read_comparisons(connection, ["gender"])
            assert newest.at == quarter(day(200))
            assert {one.at for one in newest.values} <= {newest.at}
            assert connection.execute(select(comparisons.c.at).distinct()).scalars().all()


def a_company(engine: Engine) -> None:  # noqa: F811
    """Forty people since long ago, half of them of each gender, half of each with a sponsor."""
    keep_attributes(engine, KEPT.names)
    events: list[Contract] = [joined(f"E{n}", -200, profile=a_profile(f"Name {n}")) for n in range(40)]
    events += [tied(f"E{n}", "E39", -200, tie=f"T{n}") for n in range(0, 39) if n % 4 < 2]
    apply(engine, logged(*events, said(ClockTicked, 30, now=day(30))))
    take_in(engine, *(stated(f"E{n}", offset=n, gender="a" if n % 2 else "b") for n in range(40)))


class TestAttributesOnSqlite(AttributesSuite):
    """On a file."""


def test_nothing_is_compared_before_the_log_is_known(engine: Engine) -> None:  # noqa: F811
    a_company(engine)
    Comparing(engine, 5, ["gender"], lambda: False)()
    assert dump(engine)["compared"] == []
    Comparing(engine, 5, [], lambda: True)()
    assert dump(engine)["compared"] == []
    Comparing(engine, 5, ["gender"], lambda: True)()
    assert len(dump(engine)["compared"]) == 1


def test_the_made_up_company_states_attributes_that_can_be_kept_and_none_unless_asked(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    both = AttributesKept(frozenset({"gender", "age_band"}))
    stated_by = [
        project(Record(ATTRIBUTES, 0, n, one.key.encode(), one.value, (), day(0)), both)
        for n, one in enumerate(made_up(Company(200, 1)))
    ]
    values = {row.columns()["said"].get("gender") for found in stated_by for row in found.rows if row.columns()["said"]}
    assert values == {"woman", "man", "non-binary", "declined", None}
    write_company(["--employees", "3"])
    assert b"attributes.stated" not in capfdbinary.readouterr().out
    write_company(["--employees", "3", "--feed", "attributes"])
    assert capfdbinary.readouterr().out.count(b"attributes.stated") == 3


# -- who sees them --------------------------------------------------------------------------------


def ask(engine: Engine, path: str, attributes_: Sequence[str]) -> httpx.Response:  # noqa: F811
    reader = Reader(for_reading(engine), dict, attributes_)
    app = make_api(reader, Dashboard(reader.for_dashboard, compares=bool(attributes_)), Health(), SHIPPED)

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://insights") as client:
            return await client.get(path)

    import asyncio

    return asyncio.run(asked())


@pytest.mark.parametrize("path", ["/v1/comparisons", "/dashboard/comparisons"])
def test_there_is_nothing_to_see_where_it_is_off(engine: Engine, path: str) -> None:  # noqa: F811
    assert ask(engine, path, ()).status_code == 404
    assert "comparisons" not in ask(engine, "/dashboard", ()).text


def test_the_api_tells_shares_with_intervals_and_that_it_is_not_cause(engine: Engine) -> None:  # noqa: F811
    a_company(engine)
    assert ask(engine, "/v1/comparisons", ["gender"]).json()["attributes"][0]["as_of"] is None
    compare_when_due(engine, 5, ["gender"])
    answer = ask(engine, "/v1/comparisons", ["gender"]).json()
    assert "none of them is a cause" in answer["caution"]
    [gender] = answer["attributes"]
    by_name = {item["name"]: item for item in gender["items"]}
    assert [one.name for one in COMPARISONS] == list(by_name)
    values = by_name["sponsor_coverage_compared"]["values"]
    assert [(v["value_id"], v["part"], v["whole"]) for v in values if not v["group_id"]] == [
        ("a", 10, 20),
        ("b", 10, 20),
    ]


def test_the_page_says_so_too_and_is_reached_from_the_dashboard(engine: Engine) -> None:  # noqa: F811
    a_company(engine)
    compare_when_due(engine, 5, ["gender"])
    page = ask(engine, "/dashboard/comparisons", ["gender"])
    assert "This is not cause" in page.text
    assert '<td class="n">10</td><td class="n">20</td>' in page.text
    assert "<script" not in page.text
    assert 'href="/dashboard/comparisons"' in ask(engine, "/dashboard", ["gender"]).text


def test_a_people_team_for_the_whole_company_alone_may_see_them() -> None:
    def somebody(role: Any, **more: Any) -> Somebody:
        return Somebody(name="x", role=role, user="x", **more)

    assert SORTS["/v1/comparisons"] == SORTS["/dashboard/comparisons"] == "comparisons"
    assert may_read(somebody("people-team"), "comparisons")
    others = [somebody("people-team", units=("ENG",)), somebody("operator")]
    others += [somebody(role, employee_id="E1") for role in ("sponsor", "protege")]
    assert not any(may_read(one, "comparisons") for one in others)


def test_without_an_access_file_they_can_not_be_turned_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTECTED_ATTRIBUTES", "gender, disability,gender")
    with pytest.raises(ValidationError, match="ACCESS_FILE"):
        InsightsSettings()
    access = tmp_path / "access.yaml"
    access.write_text("readers: []\n")
    monkeypatch.setenv("ACCESS_FILE", str(access))
    assert InsightsSettings().protected_attributes == ("gender", "disability")
    monkeypatch.setenv("PROTECTED_ATTRIBUTES", "")
    monkeypatch.delenv("ACCESS_FILE")
    assert InsightsSettings().protected_attributes == ()
