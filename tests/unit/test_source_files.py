"""A source's file: what it may say, and what its author is told when it says something else."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.base import utc
from shared.sources.delivery import DEEPEST, Delivery, TooDeeplyNested, read_delivery, too_deep
from shared.sources.expressions import Expression, SourceFunctions, Unmappable, read_time
from shared.sources.files import BadDeclaration, read_source, read_sources
from shared.sources.mappers import _class_of, read
from shared.sources.mapping import key_of
from shared.streaming.records import Record
from shared.streaming.service import reason_of

ACME = """\
name: acme
title: Acme People
source: urn:acme:people
timezone: Europe/Berlin
webhook:
  signature: {kind: hmac, header: X-Acme-Signature}
tables:
  levels: {Engineer: 4}
each: body.changes
subject: text(item.no)
id: item.change
time: item.at
events:
  - when: item.kind == 'change'
    feed: people
    type: employee.changed
    data:
      employee_id: text(item.no)
      level: lookup('levels', item.title)
      effective_at: time(item.from)
      external_ids:
        trace: headers."x-trace"
ignore:
  - when: item.kind == 'payroll'
    why: nothing to do with it
"""


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    path = tmp_path / "acme.yaml"
    path.write_text(ACME)
    return path


def faults(path: Path, text: str) -> list[str]:
    """Return the lines that tell of what is wrong with a file, without its folder."""
    path.write_text(text)
    with pytest.raises(BadDeclaration) as refused:
        read_source(path)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines), lines
    return [line.removeprefix(f"{path.parent}/") for line in lines]


def an_entry(**changes: Any) -> dict[str, Any]:
    return {"no": 17, "change": "c1", "at": "2026-03-02T09:00:00Z", "kind": "change", **changes}


def a_delivery(*entries: Any, **headers: str) -> Delivery:
    import json

    return Delivery("acme", json.dumps({"changes": entries}).encode(), headers, utc(2026, 3, 2, 10))


# -- what the author is told ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("name: acme", "name: acne", "acme.yaml:1: name: is 'acne', and the file is acme.yaml"),
        ("title: Acme People\n", "", "acme.yaml:1: title: Field required"),
        ("timezone: Europe/Berlin", "timezone: Berlin", "acme.yaml:4: timezone: 'Berlin' is not an IANA time zone"),
        ("kind: hmac", "kind: hamc", "acme.yaml:6: webhook.signature: Input tag 'hamc'"),
        (
            "header: X-Acme-Signature",
            "header: X Acme",
            "acme.yaml:6: webhook.signature.header: String should match pattern",
        ),
        (
            "header: X-Acme-Signature",
            'header: X-A, signed: "{time}"',
            "acme.yaml:6: webhook.signature.signed: has {body}",
        ),
        ("each: body.changes", "each: body.[", "acme.yaml:9: each: is no JMESPath: Invalid jmespath expression"),
        ("subject: text(item.no)", "subject: txt(item.no)", "acme.yaml:10: subject: calls txt(), which is none of"),
        ("when: item.kind == 'change'", "when: '!item.kind.a'", "acme.yaml:14: events.0.when: has ! before a path"),
        ("feed: people", "feed: persons", "acme.yaml:15: events.0.feed: Input should be 'people'"),
        ("type: employee.changed", "type: employee.chnged", "acme.yaml:16: events.0.type: feeds.people knows no"),
        ("employee_id:", "employe_id:", "acme.yaml:17: events.0.data: employee.changed has no employe_id; it has"),
        ("lookup('levels', item.title)", "lookup('levels'", "acme.yaml:19: events.0.data.level: is no JMESPath"),
        ("why: nothing to do with it", "reason: x", "acme.yaml:24: ignore.0.why: Field required"),
        (
            "why: nothing to do with it",
            "why: x\n    who: y",
            "acme.yaml:26: ignore.0.who: is not known here: is it misspelt?",
        ),
        (
            "webhook:\n  signature: {kind: hmac, header: X-Acme-Signature}\n",
            "",
            "acme.yaml:1: webhook: is missing: a source has a webhook, bulk, poll or kafka, or several",
        ),
        (
            "webhook:",
            "bulk: {format: csv, key: no, encoding: utf-9}\nwebhook:",
            "acme.yaml:5: bulk.encoding: is no enc",
        ),
        ("subject: text(item.no)\n", "", "acme.yaml:1: subject: is missing: events about one subject keep their order"),
        ("title: Acme People", "title: [a", "acme.yaml:3: is no YAML"),
        ("title: Acme People", "title: `a`", "an expression that begins with a quote or ` needs quotes"),
        ("title: Acme People", "title: x\ntitle: y", "acme.yaml:3: title: is there twice"),
        (ACME[ACME.index("events:") :], "mapper: nobody\n", "acme.yaml:13: mapper: there is no entry point 'nobody'"),
        (ACME, "", "acme.yaml:1: is empty"),
        (ACME, "- a\n- b\n", "acme.yaml:1: the file: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(acme: Path, before: str, after: str, told: str) -> None:
    assert before in ACME
    lines = faults(acme, ACME.replace(before, after))
    assert any(told in line for line in lines), lines


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path, acme: Path) -> None:
    (tmp_path / "other.yaml").write_text("name: other\n")
    acme.write_text(ACME.replace("feed: people", "feed: x").replace("name: acme", "name: Acme!"))
    with pytest.raises(BadDeclaration) as refused:
        read_sources(tmp_path)
    said = str(refused.value)
    for part in ("acme.yaml:1: name", "acme.yaml:15: events.0.feed", "other.yaml:1: title", "other.yaml:1: source"):
        assert part in said
    with pytest.raises(BadDeclaration, match="there is no such folder"):
        read_sources(tmp_path / "nowhere")


def test_a_file_that_is_no_text_is_told_so(acme: Path) -> None:
    acme.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadDeclaration, match=r"acme\.yaml: can't be read"):
        read_source(acme)


def test_the_file_that_the_page_shows_for_one_of_your_own_can_be_used(acme: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "integrators" / "README.md"
    (shown,) = re.findall(r"```yaml\n(name: acme.*?)```", page.read_text(), re.DOTALL)
    acme.write_text(shown)
    entry = {"kind": "change", "changeId": "c1", "at": "2026-03-02T09:00:00", "validFrom": "2026-04-01"}
    person = {"no": 17, "first": "Ann", "last": "Lee", "title": "Engineer"}
    (event,) = read(read_source(acme), a_delivery({**entry, "person": person})).events
    assert event.data == {
        "employee_id": "17",
        "name": "Ann Lee",
        "level": 4,
        "effective_at": "2026-04-01T00:00:00+02:00",
    }


# -- what a delivery becomes ----------------------------------------------------------------------


def test_a_day_without_a_time_begins_in_the_sources_own_zone(acme: Path) -> None:
    (event,) = read(read_source(acme), a_delivery(an_entry(**{"from": "2026-07-01"}))).events
    assert event.data["effective_at"] == "2026-07-01T00:00:00+02:00"
    (event,) = read(read_source(acme), a_delivery(an_entry(at="2026-03-02T09:00:00"))).events
    assert event.time == utc(2026, 3, 2, 8)


@pytest.mark.parametrize(
    ("zone", "said", "begins", "day"),
    [
        ("Europe/Berlin", "'2026-03-29T02:30:00'", "2026-03-29T01:30:00+00:00", "2026-03-29"),  # a time there never was
        ("Europe/Berlin", "'2026-10-25T02:30:00'", "2026-10-25T00:30:00+00:00", "2026-10-25"),  # one there was twice
        ("Africa/Cairo", "'2026-04-24'", "2026-04-23T22:00:00+00:00", "2026-04-24"),  # a day that began at one
        ("Pacific/Auckland", "'2026-04-01'", "2026-03-31T11:00:00+00:00", "2026-04-01"),
        ("America/New_York", "'2026-04-01'", "2026-04-01T04:00:00+00:00", "2026-04-01"),
        ("Europe/Berlin", "`1767222000`", "2025-12-31T23:00:00+00:00", "2026-01-01"),
        ("Europe/Berlin", "'1767222000000'", "2025-12-31T23:00:00+00:00", "2026-01-01"),
        ("Europe/Berlin", "'2025-12-31T23:00:00Z'", "2025-12-31T23:00:00+00:00", "2025-12-31"),  # its own zone counts
    ],
)
def test_the_sources_zone_decides_the_day_where_none_was_said(zone: str, said: str, begins: str, day: str) -> None:
    functions = SourceFunctions(zone)
    time = datetime.fromisoformat(Expression(f"time({said})").evaluate({}, functions, "x"))
    assert time.astimezone(UTC).isoformat() == begins
    assert Expression(f"date({said})").evaluate({}, functions, "x") == day


def test_a_time_keeps_the_zone_it_was_said_in_so_that_its_day_can_be_told() -> None:
    for said, given in (
        ("'2026-01-01'", "2026-01-01T00:00:00+01:00"),
        ("`1767222000`", "2026-01-01T00:00:00+01:00"),
        ("'2026-01-01T00:00:00+13:00'", "2026-01-01T00:00:00+13:00"),
    ):
        assert Expression(f"time({said})").evaluate({}, SourceFunctions("Europe/Berlin"), "x") == given


@pytest.mark.parametrize("said", ["'0001-01-01'", "'9999-12-31T23:59:59-12:00'"])
def test_a_time_that_is_none_in_utc_is_refused(said: str) -> None:
    with pytest.raises(Unmappable, match="outside the years 1 to 9999"):
        Expression(f"time({said})").evaluate({}, SourceFunctions("Europe/Berlin"), "x")


def test_what_says_no_time_was_so_when_it_came(acme: Path) -> None:
    (event,) = read(read_source(acme), a_delivery(an_entry(at=None))).events
    assert event.time == utc(2026, 3, 2, 10)


def test_a_field_that_is_not_there_says_nothing(acme: Path) -> None:
    (event,) = read(read_source(acme), a_delivery(an_entry())).events
    assert event.data == {"employee_id": "17"}
    (event,) = read(read_source(acme), a_delivery(an_entry(), **{"x-trace": "t"})).events
    assert event.data["external_ids"] == {"trace": "t"}


def test_the_headers_to_keep_are_those_that_expressions_read(acme: Path) -> None:
    assert read_source(acme).headers_read == {"content-type", "x-trace"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"title": "Gardener"}, "events.0.data.level: tables.levels has nothing for 'Gardener'; add it, then replay"),
        ({"no": None}, "events.0.subject: 'text(item.no)' gives no text, so it is not known whom this is about"),
        ({"no": " : "}, "events.0.subject: 'text(item.no)' gives a ref that names nobody"),
        ({"no": "x" * 1001}, "events.0.subject: is longer than 1000 characters"),
        ({"change": None}, "events.0.id: 'item.change' gives no text and no number"),
        ({"change": ["c"]}, "events.0.id: 'item.change' gives no text and no number"),
        ({"at": "soon"}, "events.0.time: a time is neither ISO 8601 nor a number"),
        ({"at": 10**30}, "events.0.time: a time is neither ISO 8601 nor a number"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "events.0.time: a time lies outside the years 1 to 9999"),
        ({"at": {"a": 1}}, "events.0.time: gives neither text nor a number"),
        (
            {"from": ["x"]},
            "events.0.data.effective_at: 'time(item.from)' does not fit this payload (JMESPathTypeError)",
        ),
        ({"kind": "other"}, "no rule of events applies to this, nor one of ignore"),
    ],
)
def test_an_entry_that_cannot_be_read_says_which_key_did_not_fit(acme: Path, entry: Any, told: str) -> None:
    (fault,) = read(read_source(acme), a_delivery(an_entry(**entry))).faults
    assert fault.startswith("entry 0: ")
    assert told in fault


def test_all_that_is_wrong_with_an_entry_is_told_at_once(acme: Path) -> None:
    (fault,) = read(read_source(acme), a_delivery(an_entry(change=None, at="soon", title="Gardener"))).faults
    assert [
        told.split(":")[0] for told in fault.removeprefix("entry 0: ").split("; ") if told.startswith("events")
    ] == [
        "events.0.id",
        "events.0.time",
        "events.0.data.level",
    ]


def test_a_payload_that_its_feed_would_not_take_dies_here_with_the_field_and_without_the_value(acme: Path) -> None:
    acme.write_text(ACME.replace("levels: {Engineer: 4}", "levels: {Engineer: 444}"))
    (fault,) = read(read_source(acme), a_delivery(an_entry(title="Engineer"))).faults
    assert "events.0.data: employee.changed as it was mapped is none: level: Input should be less than" in fault
    assert "444" not in fault


def test_an_entry_that_becomes_two_events_gives_each_an_id_of_its_own(acme: Path) -> None:
    leaves = "  - {feed: people, type: employee.left, data: {employee_id: text(item.no)}}\nignore:"
    acme.write_text(ACME.replace("ignore:", leaves))
    mapped = read(read_source(acme), a_delivery(an_entry()))
    assert [event.id for event in mapped.events] == ["c1/employee.changed", "c1/employee.left"]
    assert mapped.faults == ()


def test_two_different_events_of_one_id_are_a_fault_and_the_same_entry_twice_is_one_event(acme: Path) -> None:
    mapped = read(read_source(acme), a_delivery(an_entry(), an_entry()))
    assert (len(mapped.events), mapped.faults) == (1, ())
    mapped = read(read_source(acme), a_delivery(an_entry(), an_entry(no=18)))
    assert "entry 1: id: two different events of this delivery have the same" in mapped.faults[0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"employees[0][id]=1", "the body is neither JSON nor XML (application/x-www-form-urlencoded)"),
        (b"", "the body is neither JSON nor XML"),
        (b"\xff", "the body is neither JSON nor XML"),
        (b"[" * 70 + b"]" * 70, "nested deeper than the 64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than the 64 levels"),
        (b'{"changes": 3}', "each: 'body.changes' finds no list"),
        (b"null", "each: 'body.changes' finds no list"),
    ],
)
def test_a_body_that_is_none_says_why(acme: Path, body: bytes, told: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(Unmappable) as refused:
        read(read_source(acme), Delivery("acme", body, headers, utc(2026, 3, 2)))
    assert told in reason_of(refused.value)


def test_depth_counts_what_lies_in_each_other_and_not_what_lies_beside() -> None:
    wide: Any = [[{"a": []}] for _ in range(10_000)]
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert not too_deep(wide)
    assert not too_deep(deep)
    assert too_deep([deep])
    with pytest.raises(TooDeeplyNested):
        _ = Delivery("acme", b"[" * 65 + b"1" + b"]" * 65, {}, utc(2026, 3, 2)).payload


def test_a_delivery_of_one_subject_is_keyed_by_it_and_one_that_may_have_several_by_its_source(acme: Path) -> None:
    assert key_of(read_source(acme), a_delivery(an_entry())) == "acme"
    acme.write_text(ACME.replace("each: body.changes\n", "").replace("item.no", "body.no"))
    one = Delivery("acme", b'{"no": "E17"}', {}, utc(2026, 3, 2))
    assert key_of(read_source(acme), one) == "hris:E17"
    assert key_of(read_source(acme), Delivery("acme", b"{}", {}, utc(2026, 3, 2))) == "acme"
    assert key_of(read_source(acme), Delivery("acme", b"no json", {}, utc(2026, 3, 2))) == "acme"


@pytest.mark.parametrize(("value", "headers"), [(b"{}", ()), (None, (("source", b"acme"),))])
def test_a_record_that_is_no_delivery_says_so(value: Any, headers: Any) -> None:
    with pytest.raises(Unmappable, match="it is no delivery of the gateway's"):
        read_delivery(Record("sources.received", 0, 0, None, value, headers, utc(2026, 3, 2)))


# -- functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "gives"),
    [
        ("text(body.n)", "5"),
        ("text(body.none)", None),
        ("text(' ')", None),
        ("value(body.v)", "x"),
        ("value(body.empty)", None),
        ("value(body.n)", 5),
        ("words([body.a, body.v.value])", "Ann x"),
        ("words([body.a, body.none])", None),
        ("cut(body.long, `10`)", "one two t…"),
        ("cut(body.none, `10`)", None),
        ("time(`1770890400`)", "2026-02-12T10:00:00+00:00"),
        ("time('1770890400123')", "2026-02-12T10:00:00.123000+00:00"),
        ("time('2026-02-12T11:00:00.000+0100')", "2026-02-12T11:00:00+01:00"),
        ("time(body.none)", None),
        ("date('2026-02-12')", "2026-02-12"),
        ("date('2026-02-12T23:30:00-05:00')", "2026-02-12"),
        ("date('')", None),
        ("lookup('t', 'a')", 1),
        ("lookup('empty', 'a')", None),
    ],
)
def test_a_function_gives_what_its_page_says(expression: str, gives: Any) -> None:
    body = {"n": 5, "v": {"value": "x"}, "empty": {"value": ""}, "a": "Ann", "long": "one\n two three four"}
    functions = SourceFunctions("UTC", {"t": {"a": 1}, "empty": {}})
    assert Expression(expression).evaluate({"body": body}, functions, "x") == gives


def test_a_lookup_in_no_table_says_so() -> None:
    with pytest.raises(Unmappable, match="there is no table 'x'"):
        Expression("lookup('x', 'a')").evaluate({}, SourceFunctions(), "events.0.data.level")


@pytest.mark.parametrize(("given", "counts"), [("`0`", True), ("''", False), ("`[]`", False), ("body.none", False)])
def test_what_counts_as_true_is_as_jmespath_has_it(given: str, counts: bool) -> None:
    assert Expression(given).holds({"body": {}}, SourceFunctions(), "when") is counts


def test_a_number_beyond_all_time_is_no_time() -> None:
    with pytest.raises(Unmappable):
        read_time(float("inf"))


# -- a package of somebody else's -----------------------------------------------------------------


def test_a_package_can_bring_a_mapper_by_an_entry_point(
    tmp_path: Path, acme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    info = site / "acme_source-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sponsorship_tracker.sources]\nacme = acme_source:Acme\nbroken = acme_source:Nobody\n"
    )
    (site / "acme_source.py").write_text(
        "from shared.sources.mapping import Mapped\n"
        "class Acme:\n"
        "    def __init__(self, declaration): self.name = declaration.name\n"
        "    def map_delivery(self, delivery): return Mapped((), (self.name + ' ' + delivery.body.decode(),))\n"
    )
    monkeypatch.syspath_prepend(str(site))
    _class_of.cache_clear()
    head = ACME[: ACME.index("events:")]
    acme.write_text(head + "mapper: acme\n")
    assert read(read_source(acme), Delivery("acme", b"<xml/>", {}, datetime.now(UTC))).ignored == ("acme <xml/>",)
    assert (
        "mapper: the entry point 'broken' (acme_source:Nobody) can't be loaded"
        in faults(acme, head + "mapper: broken")[0]
    )
    sys.modules.pop("acme_source", None)
    _class_of.cache_clear()
