"""`tracker source check`: what an integrator is told before anything is live. (`replay`: see the integration test.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.tracker.__main__ import main
from tests.source_payloads import FOLDER, PAGES, bamboohr, github, successfactors, successfactors_record


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "delivery.json"
    path.write_text(json.dumps({"employees": [bamboohr(fields={"department": "U1"})]}))
    return path


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code = main(["source", "check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_check_says_event_by_event_what_a_payload_becomes(payload: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", "check", "bamboohr", "--payload", str(payload)]) == 0
    said = capsys.readouterr().out
    for part in (
        "bamboohr.yaml: BambooHR, field-based webhooks: the file can be used",
        "note: tables.levels is empty, so what is looked up in it is not said",
        "feeds.people  employee.changed  about hris:101, at 2026-01-31T18:42:00+00:00",
        '{"employee_id": "101", "unit_id": "U1"}',
        "the people service makes of it: employee.patched",
    ):
        assert part in said
    code, answer = checked(capsys, FOLDER / "bamboohr.yaml", "--payload", payload)
    assert (code, answer["ok"]) == (0, True)
    (event,) = answer["payloads"][0]["events"]
    assert event["intake"] == {"becomes": ["employee.patched"], "waits_for": [], "refused": None}


def test_check_says_whom_an_event_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "merged.json"
    path.write_text(json.dumps(github()))
    code, answer = checked(capsys, "github", "--payload", path, "--header", "X-GitHub-Event: pull_request")
    (event,) = answer["payloads"][0]["events"]
    assert (code, event["intake"]["becomes"], event["intake"]["waits_for"]) == (
        0,
        ["achievement.recorded"],
        ["github:ann"],
    )
    code, answer = checked(capsys, "github", "--payload", path)
    assert (code, answer["payloads"][0]["ignored"]) == (0, ["is another event than pull_request"])


def test_check_says_what_the_intake_would_refuse_though_its_shape_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cycle.json"
    data = {"id": "C", "name": "n", "cycleType": "promotion", "periodStart": "2026-01-01", "periodEnd": "2025-01-01"}
    times = {"startsAt": "2026-03-01T00:00:00Z", "endsAt": "2026-04-01T00:00:00Z"}
    path.write_text(
        json.dumps({"type": "reviewCycle.launched", "timestamp": "2026-03-01T00:00:00Z", "data": data | times})
    )
    code, answer = checked(capsys, "lattice", "--payload", path)
    assert (code, answer["ok"]) == (1, False)
    assert answer["payloads"][0]["events"][0]["intake"]["refused"].startswith("evidence_to: 2025-01-01 is before")
    assert main(["source", "check", "lattice", "--payload", str(path)]) == 1
    assert "the cycles service would refuse it: evidence_to" in capsys.readouterr().out


def test_check_reads_xml_and_the_record_that_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payload, record = tmp_path / "event.xml", tmp_path / "user.json"
    payload.write_bytes(successfactors())
    code, answer = checked(capsys, "successfactors-events", "--payload", payload)
    assert code == 1
    assert "say with --fetched what that gives" in answer["payloads"][0]["faults"][0]
    record.write_text(json.dumps(successfactors_record()))
    code, answer = checked(capsys, "successfactors-events", "--payload", payload, "--fetched", record)
    (event,) = answer["payloads"][0]["events"]
    assert (code, event["type"], event["data"]["name"]) == (0, "employee.changed", "Ann Lee")


def test_check_fails_where_a_payload_would_become_a_dead_letter(
    payload: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload.write_text("no json")
    code, answer = checked(capsys, "bamboohr", "--payload", payload)
    assert (code, answer["ok"]) == (1, False)
    assert answer["payloads"][0]["faults"][0].startswith("the body is neither JSON nor XML")
    assert main(["source", "check", "bamboohr", "--payload", str(payload)]) == 1
    assert "  a dead letter: the body is neither JSON nor XML" in capsys.readouterr().out


def test_check_reads_what_a_vendors_api_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, record = tmp_path / "page.json", tmp_path / "record.json"
    document, _, fetched = PAGES["personio", "persons"]
    path.write_text(json.dumps(document))
    record.write_text(json.dumps(fetched))
    code, answer = checked(capsys, "personio", "--payload", path, "--list", "persons", "--fetched", record)
    assert code == 0
    assert [event["subject"] for event in answer["payloads"][0]["events"]] == ["hris:77"]
    path.write_text('{"errors": []}')
    code, answer = checked(capsys, "personio", "--payload", path, "--list", "persons")
    assert code == 1
    assert "'body._data' finds no list" in answer["payloads"][0]["faults"][0]
    assert main(["source", "check", "personio", "--list", "people"]) == 2
    assert "personio polls no such list; it polls persons" in capsys.readouterr().err


def test_check_tells_of_a_file_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text("name: acme\n")
    assert main(["source", "check", str(path)]) == 1
    assert f"{path}:1: title: Field required" in capsys.readouterr().err
    code, answer = checked(capsys, path)
    assert (code, answer["ok"]) == (1, False)
    assert f"{path}:1: title: Field required" in answer["faults"]


@pytest.mark.parametrize(
    "arguments", [["--payload", "/nowhere.json"], ["--header", "X-GitHub-Event"], ["--payload", "/"]]
)
def test_wrong_use_is_told_apart_from_a_fault(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", "check", "github", *arguments]) == 2
    assert "tracker source check: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["source"], ["source", "check"], ["nonsense"]])
def test_a_command_that_there_is_none_of_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: tracker" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["source"], ["source", "check"], ["source", "replay"]])
def test_every_command_has_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: tracker")


def test_check_tells_all_that_is_wrong_at_once_and_from_which_entry_each_event_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(
        """
name: acme
title: A source of the test's own
source: urn:acme
bulk: {format: ndjson, key: id}
each: body.row.people
subject: item.id
id: item.id
events:
  - feed: people
    type: employee.changed
    data: {employee_id: item.id, level: to_number(item.level), level_since: date(item.since)}
  - when: item.left
    feed: people
    type: employee.left
    data: {employee_id: item.id, effective_at: time(item.left)}
"""
    )
    rows = tmp_path / "rows.ndjson"
    good = {"id": "E1", "level": "4", "since": "2026-01-01"}
    bad = {"id": "", "level": "5", "since": "no day", "left": "some day"}
    rows.write_text(json.dumps({"id": "1", "people": [good, bad, good | {"id": "E3"}]}) + "\n")
    code, answer = checked(capsys, path, "--payload", rows)
    assert code == 1
    (payload,) = answer["payloads"]
    assert [(event["entry"], event["subject"]) for event in payload["events"]] == [(0, "hris:E1"), (2, "hris:E3")]
    (fault,) = payload["faults"]
    assert fault.startswith("line 1: entry 1: ")
    for part in ("events.0.id", "events.0.subject", "events.0.data.level_since", "events.1.id", "events.1.data.effe"):
        assert part in fault
    assert main(["source", "check", str(path), "--payload", str(rows)]) == 1
    assert "  entry 2: feeds.people  employee.changed  about hris:E3" in capsys.readouterr().out
