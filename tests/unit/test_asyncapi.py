"""docs/asyncapi.yaml is as the code is, and a change that would break a reader of what is in Kafka fails here."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from deploy import asyncapi
from deploy.asyncapi import DOCUMENT, broken, document, written
from deploy.compatibility import breaks
from shared.streaming.topics import ALL_TOPICS

NOW = document()
KEPT = yaml.safe_load(DOCUMENT.read_text())
PAGE = Path(__file__).parents[2] / "docs" / "integrators" / "README.md"


def test_nothing_that_is_in_kafka_or_is_sent_today_is_refused_by_the_code_as_it_is_now() -> None:
    assert broken(KEPT, NOW) == [], "see python -m deploy.asyncapi --help"


def test_the_document_is_as_the_code_is_now() -> None:
    assert DOCUMENT.read_text() == written(NOW), "run: .venv/bin/python -m deploy.asyncapi"


def test_every_topic_is_in_it_and_every_reference_leads_somewhere() -> None:
    assert set(NOW["channels"]) == {spec.name for spec in ALL_TOPICS}
    for reference in set(re.findall(r'"#/([^"]+)"', json.dumps(NOW))):
        found: Any = NOW
        for part in reference.split("/"):
            found = found[part]
        assert found, reference


def test_the_payloads_on_the_integrators_page_fit_the_schemas() -> None:
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` \| .* \| `(\{.*\})` \|$", PAGE.read_text(), re.M)
    assert len(rows) > 15
    for event_type, example in rows:
        schema = NOW["components"]["messages"][event_type]["payload"]["properties"]["data"]
        validator = Draft202012Validator({**schema, "components": NOW["components"]})
        Draft202012Validator.check_schema(validator.schema)
        validator.validate(json.loads(example))
        assert not validator.is_valid([]), event_type


# -- what breaks a reader -------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Return what breaks when the schemas of today become what `change` makes of them."""
    new = copy.deepcopy(NOW)
    change(new)
    return broken(NOW, new)


def achievement(new: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = new["components"]["schemas"]["Achievement"]
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda new: achievement(new)["required"].append("link"), "achievement.link: is required now, and was not"),
        (lambda new: achievement(new)["properties"].pop("link"), "achievement.link: is refused now, and was a field"),
        (
            lambda new: achievement(new)["properties"]["title"].update(maxLength=100),
            "achievement.title: maxLength is 100 now, and was 200",
        ),
        (
            lambda new: achievement(new)["properties"]["title"].update(type="integer"),
            "achievement.title: has to be integer now, and was string",
        ),
        (
            lambda new: achievement(new)["properties"]["witnesses"]["items"].update(pattern="^hris:"),
            "achievement.witnesses[]: pattern is ^hris: now, and was free",
        ),
        (
            lambda new: new["components"]["schemas"]["Cycle"]["properties"]["kind"]["enum"].remove("stretch"),
            "cycle.kind: stretch is no longer taken",
        ),
        (lambda new: new["channels"]["feeds.people"]["messages"].pop("employee.left"), "employee.left is gone"),
        (lambda new: new["channels"].pop("gaps"), "gaps: gaps.GapClosed is gone"),
        (
            lambda new: new["components"]["schemas"]["EmployeeFields"]["properties"]["level"].update(
                anyOf=[{"type": "integer"}]
            ),
            "EmployeeFields.level: has to be integer now, and was null",
        ),
        (
            lambda new: new["components"]["schemas"]["EmployeeFields"].update(additionalProperties=False),
            "EmployeeFields: refuses further fields now, and let them pass",
        ),
    ],
)
def test_a_change_that_breaks_a_reader_is_told_by_its_field(change: Any, told: str) -> None:
    assert any(told in fault for fault in changed(change)), changed(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda new: achievement(new)["properties"].update(colour={"type": "string"}),
        lambda new: achievement(new)["required"].remove("title"),
        lambda new: achievement(new)["properties"]["title"].update(maxLength=300),
        lambda new: achievement(new)["properties"]["title"].pop("maxLength"),
        lambda new: new["components"]["schemas"]["Cycle"]["properties"]["kind"]["enum"].append("sabbatical"),
        lambda new: achievement(new)["properties"]["link"].update(anyOf=[{"type": "string"}, {"type": "null"}]),
        lambda new: new["channels"]["feeds.people"]["messages"].update({"employee.renamed": {}}),
        lambda new: new["components"]["schemas"].update(Another={"type": "object"}),
    ],
)
def test_a_change_that_breaks_nobody_is_let_pass(change: Any) -> None:
    assert changed(change) == []


def test_a_breaking_change_is_not_written_unless_it_is_said_that_it_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "asyncapi.yaml"
    assert asyncapi.main([str(path)]) == 0
    before = path.read_text()
    new = copy.deepcopy(NOW)
    achievement(new)["required"].append("link")
    monkeypatch.setattr(asyncapi, "document", lambda: new)
    assert asyncapi.main([str(path)]) == 1
    assert path.read_text() == before
    assert "achievement.link: is required now, and was not" in capsys.readouterr().err
    assert asyncapi.main([str(path), "--breaking"]) == 0
    assert path.read_text() != before


# A schema and a value for it, small enough that chance finds the pairs that matter.
leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 1},
        {"type": "string", "minLength": 2},
        {"type": "integer"},
        {"type": "number"},
        {"type": "integer", "minimum": 1},
        {"enum": ["a", "bb"], "type": "string"},
        {"const": "a", "type": "string"},
        {},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"anyOf": [{"type": "integer", "maximum": 0}, {"type": "string"}]},
    ]
)
schemas = (
    leaves
    | st.builds(
        lambda properties, required, more: {
            "type": "object",
            "properties": properties,
            "required": sorted(required & set(properties)),
            **({} if more is None else {"additionalProperties": more}),
        },
        st.dictionaries(st.sampled_from("xy"), leaves, max_size=2),
        st.sets(st.sampled_from("xy")),
        st.sampled_from([None, False, True]),
    )
    | st.builds(lambda items: {"type": "array", "items": items}, leaves)
)
scalars = st.sampled_from(["", "a", "bb", 0, 1, 1.5, None])
documents = scalars | st.dictionaries(st.sampled_from("xyz"), scalars, max_size=3) | st.lists(scalars, max_size=2)


@given(schemas, schemas, st.lists(documents, min_size=5, max_size=20))
def test_what_is_said_to_break_nobody_takes_all_that_the_old_took(old: Any, new: Any, tried: list[Any]) -> None:
    if breaks({"S": old}, {"S": new}, ["S"]):
        return
    before, after = Draft202012Validator(old), Draft202012Validator(new)
    declared = set(new.get("properties", ())) - set(old.get("properties", ()))
    for value in tried:
        if isinstance(value, dict) and declared & set(value):
            continue  # what a sender put there unasked, before the field was anybody's
        assert after.is_valid(value) or not before.is_valid(value), value


@given(schemas)
def test_a_schema_breaks_nothing_of_itself(schema: Any) -> None:
    assert breaks({"S": schema}, {"S": schema}, ["S"]) == []
