"""The whole path on real Kafka: the company's autumn through all services as processes, also when they are killed."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError

from deploy.broker import PROJECT, Broker
from deploy.feeding import Feeder
from deploy.lag import LagReader
from deploy.outcome import Insights, differences
from deploy.postgres import a_postgres
from deploy.spawn import free_ports, wait_until
from deploy.stack import SERVICES
from deploy.system import System, start_system, wait_until_quiet
from deploy.tracker.__main__ import main as tracker
from services.correlator.explanation import explain, known_cycles
from services.correlator.policy import Policy
from services.correlator.replay import Follower
from services.insights.measures.keeping import measure
from services.insights.projection import TOPICS
from services.insights.schema import DASHBOARDS, create_schema
from services.insights.tables import profiles
from shared.company.cycles import PROMOTION, PROMOTION_CYCLE_AMENDED
from shared.company.scenario import Scenario, demo_scenario
from shared.contracts.audit import PortalAudited
from shared.contracts.career import ClockTicked, EndorsementGiven, read_career_event
from shared.contracts.ids import EndorsementId, PromptId, stable_id
from shared.contracts.outputs import PromptFulfilled, read_delivery, read_prompt_event
from shared.database import open_database
from shared.streaming.reading import partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, DELIVERIES, PROMPTS, create_topics, partition_of
from tests.impatient import impatient
from tests.integration.test_sources import a_body, an_employee, deliver_bamboohr, with_levels
from tests.panels import Prometheus, a_prometheus, choices_of, faults_in_lines, shown_of_rows
from tests.unit.test_insights import apply, recorded, said

pytestmark = pytest.mark.kafka

KILLED = ("people", "achievements", "cycles", "endorsements", "correlator", "prompter", "insights")


@contextlib.contextmanager
def a_running_system(
    tmp_path: Path, scenario: Scenario, env: Mapping[str, str] | None = None, *, killed: bool = False
) -> Iterator[System]:
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
            services=impatient(broker) if killed else SERVICES,
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


@pytest.mark.timeout(300)
def test_the_autumn_ends_in_the_prompts_and_gaps_that_it_calls_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = demo_scenario()
    let_bamboohr_in(monkeypatch, tmp_path / "sources")
    with contextlib.ExitStack() as running:
        system = running.enter_context(a_running_system(tmp_path, scenario))
        ports = {service.name: int(system.stack.url(service.name).rpartition(":")[2]) for service in SERVICES}
        prometheus = running.enter_context(a_prometheus(ports, tmp_path / "prometheus"))
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

        every_panel_that_asks_by_sql_shows_what_it_says(log_of(system))
        every_panel_that_asks_prometheus_shows_what_it_says(system, prometheus)


def every_prompt_and_gap_is_explained_as_it_stands(system: System, scenario: Scenario, insights: Insights) -> None:
    """Explain everybody in every cycle from the log, and hold it against what insights has of prompts and gaps."""
    prompts = {p["prompt_id"]: (p["status"], p["withdrawn_because"]) for p in insights.all("/v1/prompts")}
    gaps = {g["gap_id"]: g["status"] for g in insights.all("/v1/gaps")}
    everybody = {e["employee_id"]: Follower(e["employee_id"], Policy()) for e in insights.all("/v1/employees")}
    assert len(everybody) >= scenario.company.size
    for record in read_to_the_end(system.bootstrap_servers, CAREER_EVENTS):
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

    the_command_and_the_api_explain(system, insights)
    code, told = explained_by_the_command(system, "--employee", neither.employee_id, "--cycle", neither.cycle_id)
    verdict = json.loads(told)["gap"]
    assert (code, verdict["open"], verdict["reason"]) == (0, False, neither.gap.reason)


def the_command_and_the_api_explain(system: System, insights: Insights) -> None:
    """Ask for a prompt and a gap; both read for themselves, and hold what was written against the log."""
    prompt = next(insights.all("/v1/prompts", status="fulfilled"))
    gap = next(insights.all("/v1/gaps", status="open"))
    for asked, verdict in (
        ([prompt["prompt_id"]], lambda told: told["prompts"][0]["verdict"] == "spoken" and "gap" not in told),
        ([prompt["prompt_id"], "--version", "1"], lambda told: len(told["prompts"][0]["versions"]) == 1),
        ([gap["gap_id"]], lambda told: told["gap"]["open"] and told["prompts"] == []),
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
        for record in read_to_the_end(system.bootstrap_servers, topic, partitions)
        if any(mark in (record.key or b"") + b" " + (record.value or b"") for mark in marks)
    }
    assert held <= exported
    topics = {line["topic"] for line in lines if "topic" in line}
    assert {"identities", "career-events", "prompts", "feeds.people", "correlator-standing-changelog"} <= topics
    assert {"profiles", "prompts"} <= {line["table"] for line in lines if "table" in line}
    states = [line for line in lines if line.get("topic") == "correlator-standing-changelog" and line["keyed_by_them"]]
    assert states[-1]["value"]["employee_id"] == who.employee_id


BAMBOOHR: Final = "a-secret-of-bamboohr"


def let_bamboohr_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a vendor's webhook in; all services inherit these."""
    shutil.copytree(PROJECT / "deploy" / "sources", folder)
    (folder / "bamboohr.yaml").write_text(with_levels("Engineer: 4"))
    monkeypatch.setenv("SOURCES_DIR", str(folder))
    monkeypatch.setenv("GATEWAY_SOURCE_SECRETS", f"bamboohr={BAMBOOHR}")


def every_panel_that_asks_prometheus_shows_what_it_says(system: System, prometheus: Prometheus) -> None:
    """Ask a Prometheus that has scraped all services the whole time, each query of each panel."""
    _, employee = an_employee(employeeNumber="1", jobTitle="Engineer", department="U1", status="Active")
    assert deliver_bamboohr(system.stack, a_body(employee), BAMBOOHR).status_code == 200
    faults: list[str] = []

    def none_left() -> bool:
        faults[:] = faults_in_lines(prometheus) + prometheus.unhealthy_rules()
        return not faults

    wait_until(none_left, within=40, every=2)
    assert faults == []


def every_panel_that_asks_by_sql_shows_what_it_says(log: Sequence[Record]) -> None:
    """Ask a PostgreSQL that is filled from the same log, as the role of Grafana, each query of each panel."""
    with a_postgres() as server:
        url = server.new_database(role=DASHBOARDS)
        engine = open_database(url, "insights")
        create_schema(engine)
        apply(engine, log)
        measure(engine, 10)
        as_grafana = open_database(url.replace("//tests@", f"//{DASHBOARDS}@"), "grafana")
        with as_grafana.connect() as connection:
            cycles = choices_of(connection, "prompts")
            assert (PROMOTION_CYCLE_AMENDED.title, PROMOTION) in cycles
            at_the_end = shown_of_rows(connection, [cycle_id for _, cycle_id in cycles])
        # a year on the cycles are closed, and it shows who was promoted
        a_year_on = PROMOTION_CYCLE_AMENDED.fact.closes_at + timedelta(days=365)
        apply(engine, [recorded(said(ClockTicked, 1, now=a_year_on), offset=10**6)])
        measure(engine, 10)
        with as_grafana.connect() as connection:
            afterwards = shown_of_rows(connection, [cycle_id for _, cycle_id in cycles])
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(select(profiles.c.name))
        as_grafana.dispose()
        engine.dispose()
    assert at_the_end.wrong | afterwards.wrong == set()
    assert at_the_end.empty & afterwards.empty == set()


def log_of(system: System) -> list[Record]:
    """Return all that insights reads; and views of prompts, for nobody opens pages in this autumn."""
    log = [record for topic in TOPICS for record in read_to_the_end(system.bootstrap_servers, topic)]
    endorsed = {
        event.endorsement_id: event.given_at
        for event in (read_career_event(record.value or b"") for record in log if record.topic == CAREER_EVENTS)
        if isinstance(event, EndorsementGiven)
    }
    viewed: list[PortalAudited] = []
    for record in log:
        if record.topic == PROMPTS:
            event = read_prompt_event(record.value or b"")
            if isinstance(event, PromptFulfilled):
                viewed.append(
                    a_view(event.prompt_id, endorsed[EndorsementId(event.endorsement_id)] - timedelta(hours=1))
                )
        elif record.topic == DELIVERIES:
            delivery = read_delivery(record.value or b"")
            viewed.append(a_view(delivery.prompt_id, delivery.at + timedelta(minutes=5)))
    return [*log, *(recorded(view, offset=n) for n, view in enumerate(viewed))]


def a_view(of: PromptId, at: datetime) -> PortalAudited:
    return PortalAudited(id=stable_id("test", of, str(at)), at=at, what="prompt_viewed", person_id=None, prompt_id=of)


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
        system = running.enter_context(a_running_system(tmp_path, scenario, killed=True))
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
