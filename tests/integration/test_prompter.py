"""The prompter as a process, on a real Kafka, with a real receiver: nothing lost, and repeats only with the same id."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from kafka import KafkaProducer
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.broker import PROJECT, Broker, ExternalBroker
from deploy.processes import Supervisor
from deploy.receiver import receiver_app
from deploy.spawn import LOOPBACK, free_ports, wait_until
from deploy.stack import service
from shared.contracts.career import write_contract
from shared.contracts.choices import SponsorChoice
from shared.contracts.outputs import DeliveryRecorded, PromptEvent, read_delivery
from shared.streaming.reading import partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import DELIVERIES, PROMPTS, SPONSOR_CHOICES, create_topics, dead_topic
from shared.transport.webhooks import WebhookKey
from tests.impatient import impatient
from tests.prompt_events import opened, updated, withdrawn
from tests.prompter_world import prefers, resumed, stopped

pytestmark = pytest.mark.kafka

SECRET = "whsec_" + "c3BvbnNv" * 5  # not a secret: for tests
Kafka = Broker | ExternalBroker


@pytest.fixture
def sponsor() -> str:
    """A sponsor of the test's own: tests share topics and the prompter's group."""
    return f"E-{uuid.uuid4().hex[:8]}"


def a_prompter(kafka: Kafka, folder: Path, port: int, **env: Any) -> Supervisor:
    create_topics(kafka.bootstrap_servers)
    return Supervisor(
        impatient(kafka, [service("prompter")]),
        env={
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "DATA_DIR": str(folder / "faust"),
            "PROMPTER_WEBHOOK_URL": f"http://{LOOPBACK}:{port}/",
            "PROMPTER_WEBHOOK_SECRET": SECRET,
            "PROMPTER_POLICY_FILE": str(PROJECT / "deploy" / "policy-at-once.yaml"),
            "LOG_FORMAT": "json",
            **{f"PROMPTER_{name.upper()}": str(value) for name, value in env.items()},
        },
        ports={"prompter": free_ports(1)[0]},
        log_dir=folder / "logs",
    )


@contextmanager
def a_receiver(port: int, *, slow_by: float = 0.0, answer_with: int | None = None) -> Iterator[None]:
    """The real receiver, in this process, on `port`; made slow or broken."""
    app = receiver_app(WebhookKey(SECRET))

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await asyncio.sleep(slow_by)
            if answer_with is not None:
                await send({"type": "http.response.start", "status": answer_with, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    with serving(served, port):
        yield


@contextmanager
def serving(app: ASGIApp, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started, within=10)
        yield
    finally:
        server.should_exit = True
        thread.join()


def write(kafka: Kafka, events: Sequence[PromptEvent]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=5)
    for event in events:
        producer.send(PROMPTS, key=event.sponsor_id.encode(), value=write_contract(event))
    producer.flush(10)
    producer.close()


def choose(kafka: Kafka, choice: SponsorChoice) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    producer.send(SPONSOR_CHOICES, key=choice.sponsor_id.encode(), value=write_contract(choice)).get(10)
    producer.close()


def read(kafka: Kafka, topic: str) -> list[Record]:
    """Return all that is in a topic now."""
    return list(read_to_the_end(kafka.bootstrap_servers, topic, partitions_by_topic(kafka.bootstrap_servers)[topic]))


def deliveries_of(kafka: Kafka, events: Sequence[PromptEvent]) -> list[DeliveryRecorded]:
    ids = {event.id for event in events}
    return [d for record in read(kafka, DELIVERIES) if (d := read_delivery(record.value or b"")).id in ids]


def received(port: int, events: Sequence[PromptEvent]) -> dict[str, int]:
    """Return how often each of the events came, by webhook-id."""
    ids = {event.id for event in events}
    got: dict[str, int] = {}
    offset: int | None = 0
    while offset is not None:
        try:
            page = httpx.get(f"http://{LOOPBACK}:{port}/received?offset={offset}&limit=1000", trust_env=False).json()
        except httpx.TransportError:
            return got
        got |= {one["webhook_id"]: one["repeats"] + 1 for one in page["messages"] if one["webhook_id"] in ids}
        offset = page["next_offset"]
    return got


def metric(prompter: Supervisor, line: str) -> float:
    text = httpx.get(prompter.url("prompter", "/metrics"), trust_env=False).text
    return sum(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line))


def test_each_version_is_delivered_once_and_recorded(kafka: Kafka, tmp_path: Path, sponsor: str) -> None:
    (port,) = free_ports(1)
    first, second = opened(sponsor=sponsor), opened(sponsor=sponsor, employee="E3")
    with a_receiver(port), a_prompter(kafka, tmp_path, port) as prompter:
        write(kafka, [first, second])
        assert wait_until(lambda: len(received(port, [first, second])) == 2, within=30)
        news, end = updated(sponsor=sponsor), withdrawn(sponsor=sponsor, employee="E3")
        write(kafka, [first, news, end, first, second])  # what was delivered comes again
        assert wait_until(lambda: len(received(port, [news, end])) == 2, within=30)
        assert wait_until(lambda: metric(prompter, "prompter_already_dealt_with_total") >= 3, within=30)
    events = [first, second, news, end]
    # The receiver is gone with its memory; what it saw of repeats was asked above, and each has one record.
    delivered = deliveries_of(kafka, events)
    assert Counter(d.id for d in delivered) == Counter(event.id for event in events)
    assert {d.outcome for d in delivered} == {"delivered"}


def test_prompts_wait_for_a_receiver_that_is_away_and_the_prompter_stays_ready(
    kafka: Kafka, tmp_path: Path, sponsor: str
) -> None:
    (port,) = free_ports(1)
    events = [opened(sponsor=sponsor, employee=f"E{number}") for number in range(5)]
    with a_prompter(kafka, tmp_path, port) as prompter:
        write(kafka, events)
        assert wait_until(
            lambda: metric(prompter, 'prompter_attempts_total{channel="webhook",result="unreachable"}') >= 1, within=30
        )
        assert httpx.get(prompter.url("prompter", "/readyz"), trust_env=False).status_code == 200
        receiver = subprocess.Popen(
            [sys.executable, "-m", "deploy.receiver", "--port", str(port), "--secret-env", "KEY"],
            cwd=PROJECT,
            env={**os.environ, "KEY": SECRET},
        )
        try:
            assert wait_until(lambda: len(received(port, events)) == 5, within=40)
            assert set(received(port, events).values()) == {1}
        finally:
            receiver.terminate()
            receiver.wait(10)
        assert prompter.terminate("prompter") == 0
    assert [d.outcome for d in deliveries_of(kafka, events)] == ["delivered"] * 5


def test_a_prompt_that_the_receiver_refuses_is_recorded_and_delivered_when_its_dead_letter_is_replayed(
    kafka: Kafka, tmp_path: Path, sponsor: str
) -> None:
    (port,) = free_ports(1)
    event = opened(sponsor=sponsor)
    with a_prompter(kafka, tmp_path, port):
        with a_receiver(port, answer_with=410):
            write(kafka, [event])
            assert wait_until(lambda: len(deliveries_of(kafka, [event])) == 1, within=30)
        (failed,) = deliveries_of(kafka, [event])
        assert (failed.outcome, failed.status_code, failed.attempts) == ("failed", 410, 1)
        (dead,) = [record for record in read(kafka, dead_topic(PROMPTS)) if record.key == sponsor.encode()]
        assert b"410 Gone" in dict(dead.headers)["dead-reason"]

        with a_receiver(port):
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
            producer.send(PROMPTS, key=dead.key, value=dead.value).get(10)
            producer.close()
            assert wait_until(lambda: received(port, [event]) == {event.id: 1}, within=30)
    assert [d.outcome for d in deliveries_of(kafka, [event])] == ["failed", "delivered"]


def test_a_stop_while_the_receiver_is_away_is_quick_and_no_failure(kafka: Kafka, tmp_path: Path, sponsor: str) -> None:
    (port,) = free_ports(1)
    event = opened(sponsor=sponsor)
    with a_prompter(kafka, tmp_path, port) as prompter:
        write(kafka, [event])
        assert wait_until(
            lambda: metric(prompter, 'prompter_attempts_total{channel="webhook",result="unreachable"}') >= 3, within=30
        )
        assert prompter.terminate("prompter", grace=8) == 0
        log = prompter.log("prompter").read_text()
        assert "never retrieved" not in log
        assert "Traceback" not in log
        assert deliveries_of(kafka, [event]) == []
        with a_receiver(port):
            prompter.restart("prompter")
            assert wait_until(lambda: received(port, [event]) == {event.id: 1}, within=30)


def test_prompts_that_came_while_the_prompter_was_stopped_are_all_delivered(
    kafka: Kafka, tmp_path: Path, sponsor: str
) -> None:
    # Faust empties its queues when flow resumes after recovery; what had been fetched by then must not be lost.
    (port,) = free_ports(1)
    with a_receiver(port), a_prompter(kafka, tmp_path, port) as prompter:
        for restart in range(4):
            assert prompter.terminate("prompter") == 0
            events = [
                opened(sponsor=f"{sponsor}-{restart}-{number % 20}", employee=f"E{number}") for number in range(80)
            ]
            write(kafka, events)
            prompter.restart("prompter")
            assert wait_until(lambda: len(received(port, events)) == 80, within=15), f"lost at restart {restart}"  # noqa: B023
            assert set(received(port, events).values()) == {1}


@pytest.mark.fault
def test_what_the_policy_holds_back_outlives_a_kill_and_a_stop_takes_effect_at_once(
    kafka: Kafka, tmp_path: Path, sponsor: str
) -> None:
    (port,) = free_ports(1)
    now = datetime.now(UTC)
    # Nobody works today, nor on the days next to it: this test may be running at midnight, in any zone.
    in_three_days = f"{now + timedelta(days=3):%A}".lower()
    policy = tmp_path / "policy.yaml"
    at_once = (PROJECT / "deploy" / "policy-at-once.yaml").read_text()
    every_day = next(line for line in at_once.splitlines() if line.startswith("working_days"))
    policy.write_text(at_once.replace(every_day, f"working_days: [{in_three_days}]"))
    first, second = opened(sponsor=sponsor), updated(sponsor=sponsor)
    mine = {"sponsor_id": sponsor}
    with a_receiver(port), a_prompter(kafka, tmp_path, port, policy_file=policy) as prompter:
        write(kafka, [first])
        assert wait_until(lambda: len(deliveries_of(kafka, [first])) == 1, within=30)
        prompter.kill("prompter")
        prompter.restart("prompter")
        choose(kafka, prefers(now, working_days=(1, 2, 3, 4, 5, 6, 7), **mine))
        assert wait_until(lambda: received(port, [first]) == {first.id: 1}, within=30)
        choose(kafka, stopped(now, **mine))
        write(kafka, [second])
        assert wait_until(lambda: len(deliveries_of(kafka, [second])) == 1, within=30)
        choose(kafka, resumed(now + timedelta(seconds=1), **mine))
        assert wait_until(lambda: received(port, [second]) == {second.id: 1}, within=30)
        assert wait_until(lambda: len(deliveries_of(kafka, [first, second])) == 4, within=30)
    assert [(d.version, d.outcome, d.reason) for d in deliveries_of(kafka, [first, second])] == [
        (1, "delayed", "day_off"),
        (1, "delivered", None),
        (2, "suppressed", "stopped"),
        (2, "delivered", None),
    ]


@pytest.mark.fault
def test_kill_9_in_the_midst_of_200_prompts_loses_none_and_repeats_only_what_was_under_way(
    kafka: Kafka, tmp_path: Path, sponsor: str
) -> None:
    (port,) = free_ports(1)
    events = [opened(sponsor=f"{sponsor}-{number % 20}", employee=f"E{number}") for number in range(200)]
    with a_receiver(port, slow_by=0.03), a_prompter(kafka, tmp_path, port, concurrency=4) as prompter:
        write(kafka, events)
        kills = 0
        for enough in (40, 100, 150):
            assert wait_until(lambda: len(received(port, events)) >= enough, within=60, every=0.01)  # noqa: B023
            os.kill(prompter.pid("prompter"), signal.SIGKILL)
            kills += len(received(port, events)) < 200
            prompter.kill("prompter")
            prompter.restart("prompter")
        assert wait_until(lambda: len(received(port, events)) == 200, within=60)
        assert kills == 3, "each kill came while prompts were being delivered"
        times = received(port, events)
        repeats = sum(times.values()) - 200
        begun = 4 * 4  # messages that may be begun and not kept as delivered, at four attempts at a time
        assert repeats <= kills * begun, "at most what was under way, an answer not yet kept included"
        assert wait_until(lambda: len({d.id for d in deliveries_of(kafka, events)}) == 200, within=30)
    folded = {d.id: d.outcome for d in deliveries_of(kafka, events)}
    assert folded == {event.id: "delivered" for event in events}
