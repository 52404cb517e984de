"""The whole path on real Kafka: the company's autumn through all services as processes, also when they are killed."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from deploy.broker import Broker
from deploy.feeding import Feeder
from deploy.lag import LagReader
from deploy.outcome import Insights, differences
from deploy.spawn import free_ports
from deploy.stack import SERVICES
from deploy.system import System, start_system, wait_until_quiet
from deploy.tracker.__main__ import main as tracker
from services.correlator.explanation import explain, known_cycles
from services.correlator.policy import Policy
from services.correlator.replay import Follower
from shared.company.cycles import PROMOTION, PROMOTION_CYCLE_AMENDED
from shared.company.scenario import Scenario, demo_scenario
from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import opened_keyring
from shared.streaming.reading import partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, PARTITIONS, create_topics, partition_of
from tests.integration.erasing import a_person_is_erased_everywhere

pytestmark = pytest.mark.kafka

KILLED = ("people", "achievements", "cycles", "endorsements", "correlator", "prompter", "insights")


@contextlib.contextmanager
def a_running_system(tmp_path: Path, scenario: Scenario, env: Mapping[str, str] | None = None) -> Iterator[System]:
    port, controller_port, receiver_port, *ports = free_ports(3 + len(SERVICES))
    with contextlib.ExitStack() as running:
        broker = running.enter_context(
            Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
        )
        create_topics(broker.bootstrap_servers)
        yield start_system(
            running,
            broker.bootstrap_servers,
            scenario,
            env=env,
            ports={service.name: ports[number] for number, service in enumerate(SERVICES)},
            receiver_port=receiver_port,
            data_dir=tmp_path,
            log_dir=tmp_path / "logs",
        )


def a_feeder(running: contextlib.ExitStack, system: System) -> tuple[Feeder, LagReader, Insights]:
    feeder = Feeder(system.stack.url("gateway"), system.tokens, system.bootstrap_servers)
    lag = LagReader(system.bootstrap_servers)
    insights = Insights(system.stack.url("insights"))
    for closing in (feeder.close, lag.close, insights.close):
        running.callback(closing)
    return feeder, lag, insights


SEALED = {"PERSON_MARKS_KEY": "m" * 40, "PERSON_MASTER_KEYS": base64.b64encode(b"k" * 32).decode()}


@pytest.mark.timeout(600)
def test_the_autumn_ends_in_the_prompts_and_gaps_that_it_calls_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With personal data sealed; the other tests, of kills among them, are without."""
    scenario = demo_scenario()
    for name, value in SEALED.items():
        monkeypatch.setenv(name, value)  # for the commands
    with contextlib.ExitStack() as running:
        system = running.enter_context(a_running_system(tmp_path, scenario, SEALED))
        feeder, lag, insights = a_feeder(running, system)
        for phase in scenario.phases:
            feeder.feed(phase.records, lambda _: None)
            assert wait_until_quiet(system, lag, within=60) == {}
        assert differences(insights, scenario) == []

        # each standing prompt has been delivered in its present version, once, and nothing was sent that nobody asked
        summary = insights.get("/v1/summary")
        received = httpx.get(f"{system.receiver}/received?limit=1", trust_env=False).json()
        assert received["accepted"] == summary["deliveries"]["delivered"] > 0
        assert (received["repeated"], received["rejected"], summary["deliveries"]["failed"]) == (0, 0, 0)
        for prompt in insights.all("/v1/prompts", status="open"):
            deliveries = insights.get(f"/v1/prompts/{prompt['prompt_id']}")["deliveries"]
            snoozed = prompt["snoozed_until"] is not None
            assert any(d["outcome"] == "delivered" for d in deliveries) or snoozed

        every_prompt_and_gap_is_explained_as_it_stands(system, scenario, insights)
        an_open_cycle_is_simulated_as_it_stands(system, insights, tmp_path)
        all_that_is_held_on_a_person_is_exported(system, scenario, insights, tmp_path)

        # told once more, all of it changes nothing
        feeder.feed(scenario.records(), lambda _: None)
        assert wait_until_quiet(system, lag, within=60) == {}
        assert differences(insights, scenario) == []
        after = insights.get("/v1/summary")
        assert [after[of] for of in ("prompts", "gaps", "deliveries")] == [
            summary[of] for of in ("prompts", "gaps", "deliveries")
        ]
        assert system.stack.dead() == {}
        a_person_is_erased_everywhere(system, scenario, feeder, lag, insights, tmp_path)


def opened(bootstrap_servers: str, topic: str, partitions: Sequence[int] = range(PARTITIONS)) -> Iterator[Record]:
    with opened_keyring(PersonKeySettings(), bootstrap_servers) as keys:
        yield from read_to_the_end(bootstrap_servers, topic, partitions, keys=keys)


def every_prompt_and_gap_is_explained_as_it_stands(system: System, scenario: Scenario, insights: Insights) -> None:
    """Explain everybody in every cycle from the log, and hold it against what insights has of prompts and gaps."""
    prompts = {p["prompt_id"]: (p["status"], p["withdrawn_because"]) for p in insights.all("/v1/prompts")}
    gaps = {g["gap_id"]: g["status"] for g in insights.all("/v1/gaps")}
    everybody = {e["employee_id"]: Follower(e["employee_id"], Policy()) for e in insights.all("/v1/employees")}
    assert len(everybody) >= scenario.company.size
    for record in opened(system.bootstrap_servers, CAREER_EVENTS):
        theirs = everybody.values() if record.key is None else [everybody[record.key.decode()]]
        for seen in theirs:
            if record.partition == partition_of(seen.employee.employee_id.encode()):
                seen.take(record)
    neither = None
    for seen in everybody.values():
        for cycle_id in known_cycles(seen):
            explanation = explain(seen, cycle_id, (0, 0), {}, ())
            for prompt in explanation.prompts:
                status = {"asked": "open", "spoken": "fulfilled", "not_asked": "withdrawn"}[prompt.verdict]
                found = prompts.pop(prompt.prompt_id, None)
                # why it is not asked may have changed since it was withdrawn; that is told once
                assert (found[0] if found else None) == (status if prompt.versions else None)
                assert found is None or prompt.versions[-1].reason == found[1]
            found_gap = gaps.pop(explanation.gap.gap_id, None)
            assert found_gap == (None if not explanation.gap.versions else "open" if explanation.gap.open else "closed")
            if not explanation.gap.versions and not explanation.prompts:
                neither = explanation
    assert (prompts, gaps) == ({}, {})
    assert neither is not None

    # the command and the API read for themselves, and hold what was written against the log
    prompt = next(insights.all("/v1/prompts", status="fulfilled"))
    gap = next(insights.all("/v1/gaps", status="open"))
    by_pair = ["--employee", neither.employee_id, "--cycle", neither.cycle_id]
    for asked, verdict in (
        ([prompt["prompt_id"]], lambda told: told["prompts"][0]["verdict"] == "spoken" and "gap" not in told),
        ([prompt["prompt_id"], "--version", "1"], lambda told: len(told["prompts"][0]["versions"]) == 1),
        ([gap["gap_id"]], lambda told: told["gap"]["open"] and told["prompts"] == []),
        (by_pair, lambda told: not told["gap"]["open"] and told["gap"]["reason"] == neither.gap.reason),
    ):
        code, told = explained_by_the_command(system, *asked)
        assert code == 0
        assert verdict(json.loads(told)), told
        assert all(version["same_bytes"] for p in json.loads(told)["prompts"] for version in p["versions"])
    assert explained_by_the_command(system, "--employee", "nobody")[0] == 3
    assert explained_by_the_command(system, "no-such-id")[0] == 3
    assert explained_by_the_command(system, gap["gap_id"], "--version", "99")[0] == 3
    url = system.stack.url("correlator", "/v1/explanations")
    answer = httpx.get(f"{url}/{prompt['prompt_id']}", trust_env=False, timeout=30)
    assert [p["verdict"] for p in answer.json()["prompts"] if p["prompt_id"] == prompt["prompt_id"]] == ["spoken"]
    answer = httpx.get(url, params={"employee": "nobody"}, trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def an_open_cycle_is_simulated_as_it_stands(system: System, insights: Insights, tmp_path: Path) -> None:
    """Simulate a cycle that is open: what would be asked and where gaps would be is what stands."""
    cycle = tmp_path / "cycle.json"
    cycle.write_text(json.dumps(PROMOTION_CYCLE_AMENDED.payload()))
    standing = {
        "prompts": len(list(insights.all("/v1/prompts", cycle=PROMOTION, status="open"))),
        "gaps": len(list(insights.all("/v1/gaps", cycle=PROMOTION, status="open"))),
    }
    assert standing["prompts"] > 0
    assert standing["gaps"] > 0
    snapshot = str(tmp_path / "company.snapshot")
    kafka = ["--bootstrap-servers", system.bootstrap_servers]
    assert tracker(["snapshot", snapshot, *kafka]) == 0
    for source in (kafka, ["--snapshot", snapshot]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert tracker(["simulate", "--cycle", str(cycle), "--json", *source]) == 0
        told = json.loads(out.getvalue())
        assert {name: told[name] for name in standing} == standing
    Path(snapshot).unlink()  # it names people, and is the caller's to delete


def all_that_is_held_on_a_person_is_exported(
    system: System, scenario: Scenario, insights: Insights, tmp_path: Path
) -> None:
    """Export a person, and look through every byte of every topic for what the export has left out."""
    prompt = next(insights.all("/v1/prompts", status="open"))
    who = scenario.company.person(int(prompt["employee_id"][1:]) - 1)
    out = io.StringIO()
    asked = ["person", "export", who.employee_id, "--bootstrap-servers", system.bootstrap_servers]
    with contextlib.redirect_stdout(out):
        assert tracker([*asked, "--database-url", f"sqlite:///{tmp_path}/insights.db"]) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    exported = {(line["topic"], line["partition"], line["offset"]) for line in lines if "topic" in line}
    marks = [mark.encode() for mark in (who.employee_id, who.email, who.github, who.jira) if mark]
    held = {
        (record.topic, record.partition, record.offset)
        for topic, partitions in partitions_by_topic(system.bootstrap_servers).items()
        if not topic.startswith("__")
        for record in opened(system.bootstrap_servers, topic, partitions)
        if any(mark in (record.key or b"") + b" " + (record.value or b"") for mark in marks)
    }
    assert held <= exported
    topics = {line["topic"] for line in lines if "topic" in line}
    assert {"identities", "career-events", "prompts", "feeds.people", "correlator-standing-changelog"} <= topics
    assert {"profiles", "prompts"} <= {line["table"] for line in lines if "table" in line}
    states = [line for line in lines if line.get("topic") == "correlator-standing-changelog" and line["keyed_by_them"]]
    assert states[-1]["value"]["employee_id"] == who.employee_id


def explained_by_the_command(system: System, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = tracker(["explain", *arguments, "--json", "--bootstrap-servers", system.bootstrap_servers])
    return code, out.getvalue()


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_services_killed_at_random_moments_lose_nothing_and_say_nothing_twice(tmp_path: Path) -> None:
    scenario = demo_scenario()
    chance = random.Random(20261125)
    with contextlib.ExitStack() as running:
        system = running.enter_context(a_running_system(tmp_path, scenario))
        feeder, lag, insights = a_feeder(running, system)
        kills = 0
        for number, phase in enumerate(scenario.phases):
            feeding = threading.Thread(target=feeder.feed, args=(phase.records, lambda _: None))
            feeding.start()
            # the first phase holds nearly all events: three services are killed in it, then one in each phase
            for name in chance.sample(KILLED, 3 if number == 0 else 1):
                feeding.join(timeout=chance.uniform(0.1, 1.5))
                system.stack.kill(name)
                kills += 1
                system.stack.restart(name)
            feeding.join()
            assert wait_until_quiet(system, lag, within=120) == {}
        assert kills == 8
        assert differences(insights, scenario) == []
        # a kill between an answer and its note costs one repeat, under the same webhook-id, which the receiver drops
        received = httpx.get(f"{system.receiver}/received?limit=1", trust_env=False).json()
        summary = insights.get("/v1/summary")
        assert received["accepted"] == summary["deliveries"]["delivered"]
        assert received["rejected"] == 0
