"""Grafana's dashboards are as the code is, ask for what exists, and carry nothing of one machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.broker import PROJECT
from deploy.dashboards import FOLDER, dashboards, written
from services.insights.measures.taking import MEASURES
from services.insights.schema import DASHBOARDS
from services.insights.tables import MEASURED, cycles, metadata
from tests.unit.test_operators_page import check_query

KEPT: Final[dict[str, dict[str, Any]]] = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PANELS: Final = [
    pytest.param(panel, id=f"{name}: {panel['title']}") for name, of in sorted(KEPT.items()) for panel in of["panels"]
]
EACH_DASHBOARD: Final = pytest.mark.parametrize("name", sorted(KEPT))
EACH_PANEL: Final = pytest.mark.parametrize("panel", PANELS)
DATASOURCES: Final = {"prometheus": "metrics", "grafana-postgresql-datasource": "readmodel"}
OPEN_TABLES: Final = {table.name for table in (*MEASURED, cycles)}
UNITS: Final = {"short", "percentunit", "s", "bytes", "dateTimeAsIso"}


def test_the_files_are_as_the_code_is_now() -> None:
    assert KEPT.keys() == dashboards().keys()
    for name, dashboard in dashboards().items():
        assert (FOLDER / name).read_text() == written(dashboard), "run: .venv/bin/python -m deploy.dashboards"


@EACH_DASHBOARD
def test_a_dashboard_is_found_by_its_name_and_asks_for_the_datasources_that_it_needs(name: str) -> None:
    dashboard = KEPT[name]
    assert dashboard["uid"] == name.removesuffix(".json")
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    asked = {DATASOURCES[panel["datasource"]["type"]] for panel in dashboard["panels"]}
    assert {name for name, variable in variables.items() if variable["type"] == "datasource"} == asked
    for variable in variables.values():
        if variable["type"] == "datasource":
            assert DATASOURCES[variable["query"]] == variable["name"]
    assert ("cycle" in variables) == ("${cycle:" in json.dumps(dashboard["panels"]))


@EACH_DASHBOARD
def test_a_dashboard_names_no_machine(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"https?://|localhost|\b\d+\.\d+\.\d+\.\d+\b|\binstance=", text)


@EACH_DASHBOARD
def test_panels_do_not_lie_over_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    panels = KEPT[name]["panels"]
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


@EACH_PANEL
def test_a_panel_says_what_it_shows_in_which_unit_and_names_each_line(panel: Mapping[str, Any]) -> None:
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert panel["datasource"]["uid"] == f"${{{DATASOURCES[panel['datasource']['type']]}}}"
        if "expr" in target:
            check_query(target["expr"])
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            by = {label for group in grouped for label in re.findall(r"\w+", group)} - {"le"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == (by or named_at_all(target["expr"]))
        else:
            assert set(re.findall(r"\b(?:FROM|JOIN) (\w+)", target["rawSql"])) <= OPEN_TABLES


def test_what_a_dashboard_may_read_holds_no_person() -> None:
    columns = {column.name for name in OPEN_TABLES for column in metadata.tables[name].columns}
    assert not columns & {"employee_id", "sponsor_id", "name", "body", "manager_id", "other_id"}


def test_every_measure_is_on_a_dashboard() -> None:
    text = json.dumps(KEPT)
    assert [measure.name for measure in MEASURES if f"'{measure.name}'" not in text] == []


def test_grafana_is_given_the_datasources_and_the_role() -> None:
    given = yaml.safe_load((PROJECT / "deploy/grafana/provisioning/datasources/datasources.yml").read_text())
    assert {source["type"]: source["uid"] for source in given["datasources"]}.keys() == DATASOURCES.keys()
    [read_model] = [source for source in given["datasources"] if source["uid"] == "readmodel"]
    assert read_model["user"] == DASHBOARDS
    assert f"CREATE ROLE {DASHBOARDS} " in Path(PROJECT / "deploy/grafana/make-role.sh").read_text()


def named_at_all(query: str) -> set[str]:
    """The labels that a line is named by where nothing is summed: the service's own, or none of a total."""
    return set() if re.search(r"\b(sum|max|min)\b", query) else {"service"}
