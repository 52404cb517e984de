"""The project's command line: what a person sees of an explanation, and with which exit code a command ends."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy.tracker import explain as command
from deploy.tracker.__main__ import main
from services.correlator.asking import Thing
from services.correlator.explanation import Explanation, NotKnown, Place, explain
from shared.contracts.said import write
from shared.streaming.reading import NotRead
from tests.career import a_cycle, a_tick, an_achievement, an_employee_joined
from tests.property.test_explain_properties import followed
from tests.unit.test_explain import a_log


class Asking:
    """Answers from the builders' company, with no Kafka; `trouble` is raised instead."""

    events = a_log()
    trouble: Exception | None = None
    tampered = False
    extra: tuple[Place, ...] = ()

    def __init__(self, *_: object) -> None:
        pass

    def about_employee(self, _employee: str, _cycle: str | None) -> list[Explanation]:
        if self.trouble is not None:
            raise self.trouble
        seen = followed("E1", self.events)
        written = {
            said.output.id: [(Place(topic="prompts", partition=2, offset=7), write(said.output))] for said in seen.said
        }
        if self.tampered:
            written = {key: [(place, value + b" ")] for key, [(place, value)] in written.items()}
        return [explain(seen, "spring", (1, len(self.events)), written, self.extra)]

    def about_thing(self, thing_id: str, _version: int | None) -> tuple[Thing, Explanation]:
        (explanation,) = self.about_employee("E1", None)
        return Thing("gap" if thing_id == explanation.gap.gap_id else "prompt", "E1", "spring"), explanation


@pytest.fixture(autouse=True)
def _without_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Asking", Asking)
    for name in ("trouble", "tampered", "events", "extra"):
        monkeypatch.setattr(Asking, name, getattr(Asking, name))


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["explain", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_person_sees_the_rule_the_facts_and_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "--employee", "E1", "--cycle", "spring")
    assert (code, err) == (0, "")
    for words in (
        "Mina Okafor (E1) in “Spring promotions”",
        "Sam Roe (S1) is asked",
        "judge, in services/correlator/rules.py",
        "1. Checkout in half the time",
        "1.30 seen: the sponsor is among its witnesses",
        "prompts 2/7",
        "There is no gap: sponsor found",
        "relationship.started: S1 is their sponsor from 2025-01-01 00:00 UTC on",
    ):
        assert words in out, words


def test_what_a_source_wrote_commands_neither_terminal_nor_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = an_achievement("A9", title="[bold]Evil[/bold] \x1b[2J")
    monkeypatch.setattr(Asking, "events", a_log(evil))
    _, out, _ = ran(capsys, "--employee", "E1")
    assert "[bold]Evil[/bold] \N{REPLACEMENT CHARACTER}[2J" in out
    assert "\x1b" not in out


def test_a_gap_by_its_id_shows_the_gap_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "events", [an_employee_joined(), a_cycle(), a_tick()])
    gap = Asking().about_employee("E1", None)[0].gap.gap_id
    code, out, _ = ran(capsys, gap)
    assert code == 0
    assert "There is a gap" in out
    assert "Nobody came into question as a sponsor." in out


def test_for_programs_it_is_a_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = Asking().about_employee("E1", None)[0].prompts[0].prompt_id
    code, out, _ = ran(capsys, prompt, "--json")
    told = json.loads(out)
    assert (code, [p["prompt_id"] for p in told["prompts"]], "gap" in told) == (0, [prompt], False)
    assert told["prompts"][0]["versions"][0]["record"] == {"topic": "prompts", "partition": 2, "offset": 7}


def test_one_sponsor_may_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(json.loads(ran(capsys, "--employee", "E1", "--sponsor", "S1", "--json")[1])["prompts"]) == 1
    code, _, err = ran(capsys, "--employee", "E1", "--sponsor", "S9")
    assert code == 3
    assert "S9 is not, and never was, a sponsor of E1" in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tampered": True}, "version 1 of .* reads otherwise in prompts .partition 2, offset 7"),
        ({"extra": (Place(topic="gaps", partition=0, offset=3),)}, "gaps .partition 0, offset 3. says something of E1"),
    ],
)
def test_what_was_written_otherwise_than_the_log_calls_for_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(Asking, name, value)
    code, _, err = ran(capsys, "--employee", "E1")
    assert code == 1
    assert re.search(says, err)
    assert "CORRELATOR_" in err


@pytest.mark.parametrize(("trouble", "code"), [(NotKnown("nothing about E9"), 3), (NotRead("Kafka is away"), 1)])
def test_without_an_answer_the_reason_goes_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trouble: Exception, code: int
) -> None:
    monkeypatch.setattr(Asking, "trouble", trouble)
    assert ran(capsys, "--employee", "E9") == (code, "", f"tracker explain: {trouble}\n")


@pytest.mark.parametrize(
    "arguments",
    [(), ("some-id", "--employee", "E1"), ("some-id", "--cycle", "spring"), ("--employee", "E1", "--version", "2")],
)
def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = ran(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "see --help" in err


def test_wrong_settings_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRELATOR_HALF_LIFE_DAYS", "soon")
    code, _, err = ran(capsys, "--employee", "E1")
    assert code == 2
    assert "half_life_days" in err
