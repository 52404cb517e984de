"""The whole path on real Kafka: the company's autumn through all services as processes, also when they are killed."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
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
from shared.company.scenario import Scenario, demo_scenario
from shared.streaming.topics import create_topics

pytestmark = pytest.mark.kafka

KILLED = ("people", "achievements", "cycles", "endorsements", "correlator", "prompter", "insights")


@contextlib.contextmanager
def a_running_system(tmp_path: Path, scenario: Scenario) -> Iterator[System]:
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
def test_the_autumn_ends_in_the_prompts_and_gaps_that_it_calls_for(tmp_path: Path) -> None:
    scenario = demo_scenario()
    with contextlib.ExitStack() as running:
        system = running.enter_context(a_running_system(tmp_path, scenario))
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

        # told once more, all of it changes nothing
        feeder.feed(scenario.records(), lambda _: None)
        assert wait_until_quiet(system, lag, within=60) == {}
        assert differences(insights, scenario) == []
        after = insights.get("/v1/summary")
        assert [after[of] for of in ("prompts", "gaps", "deliveries")] == [
            summary[of] for of in ("prompts", "gaps", "deliveries")
        ]
        assert system.stack.dead() == {}


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
