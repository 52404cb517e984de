"""The gateway as a process on a real Kafka: what it answers 202 for is there, and an outage loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import ProducerFencedError
from kafka.future import Future

from deploy.broker import Broker
from deploy.spawn import LOOPBACK, free_ports, log_tail, spawn, wait_until
from services.gateway.problems import Unavailable
from services.gateway.sink import FeedSink, kafka_sink
from shared.contracts.base import utc
from shared.contracts.cloudevents import read_feed_event
from shared.streaming.records import Output
from shared.streaming.topics import create_topics
from tests.no_keys import no_keys

HRIS = "urn:acme:hris"
TOKEN = "0123456789abcdef"
PROJECT = Path(__file__).parents[2]


class Gateway:
    """A gateway process and a client to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.client = httpx.Client(
            base_url=f"http://{LOOPBACK}:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        )

    def send(self, body: bytes, *, feed: str = "people", form: str = "cloudevents", **more: Any) -> httpx.Response:
        headers = {"Content-Type": f"application/{form}+json"} | more.pop("headers", {})
        return self.client.post(f"/v1/feeds/{feed}", content=body, headers=headers, **more)

    def is_alive(self) -> bool:
        return self._is_well("/healthz")

    def is_ready(self) -> bool:
        return self._is_well("/readyz")

    def _is_well(self, path: str) -> bool:
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def a_gateway(bootstrap_servers: str, folder: Path, *, without_kafka: bool = False, **env: str) -> Iterator[Gateway]:
    [port] = free_ports(1)
    log = folder / f"gateway-{port}.log"
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "HTTP_PORT": str(port),
        "GATEWAY_TOKENS": f"{HRIS}={TOKEN}",
        **env,
    }
    process = spawn(
        [sys.executable, "-m", "services.gateway"],
        log=log,
        env=environment,
        cwd=PROJECT,
        parent_death_signal=signal.SIGKILL,
    )
    gateway = Gateway(process, port, log)
    try:
        assert wait_until(gateway.is_alive if without_kafka else gateway.is_ready, within=30), log_tail(log)
        yield gateway
    finally:
        gateway.client.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def gateway(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    create_topics(kafka.bootstrap_servers)
    with a_gateway(kafka.bootstrap_servers, tmp_path_factory.mktemp("gateway")) as running:
        yield running


class Tail:
    """Reads what is written to topics from now on."""

    def __init__(self, bootstrap_servers: str, *topics: str) -> None:
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
        partitions = [TopicPartition(topic, p) for topic in topics for p in self._consumer.partitions_for_topic(topic)]
        self._consumer.assign(partitions)
        self._consumer.seek_to_end()
        for partition in partitions:
            self._consumer.position(partition)  # seeks are lazy

    def read(self, count: int, *, within: float = 20) -> list[Any]:
        """The next `count` records, in order within each partition."""
        records: list[Any] = []
        deadline = time.monotonic() + within
        while len(records) < count and time.monotonic() < deadline:
            for batch in self._consumer.poll(timeout_ms=200).values():
                records += batch
        assert len(records) == count
        return records

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def a_tail(bootstrap_servers: str, *topics: str) -> Iterator[Tail]:
    tail = Tail(bootstrap_servers, *topics)
    try:
        yield tail
    finally:
        tail.close()


def an_event(subject: str = "hris:E1", data: str = "{}", event_id: str | None = None) -> bytes:
    event = {
        "specversion": "1.0",
        "id": event_id or str(uuid.uuid4()),
        "source": HRIS,
        "type": "employee.left",
        "subject": subject,
    }
    return (json.dumps(event, ensure_ascii=False)[:-1] + f',"data":{data}}}').encode()


def told(answer: httpx.Response, status: int) -> Mapping[str, Any]:
    assert answer.status_code == status, answer.text
    content: Mapping[str, Any] = answer.json()
    return content


def test_each_form_arrives_on_its_feeds_topic_with_key_and_bytes(kafka: Any, gateway: Gateway) -> None:
    payload = '{"n": 1.10, "big": 123456789012345678901234567890, "s": "\\u00e9 é"}'
    structured = an_event("hris:Zoë", payload)
    batch = [an_event("b1", payload), an_event("b2", payload)]
    lines = [an_event("n1", payload), an_event("n2", payload)]
    with a_tail(kafka.bootstrap_servers, *(f"feeds.{f}" for f in ("people", "achievements", "cycles"))) as tail:
        told(gateway.send(structured), 202)
        [record] = tail.read(1)
        assert (record.topic, record.key, record.value) == ("feeds.people", "hris:Zoë".encode(), structured)
        assert record.headers == [("content-type", b"application/cloudevents+json")]

        body = b"[" + b", ".join(batch) + b"]"
        assert told(gateway.send(body, feed="achievements", form="cloudevents-batch"), 202)["accepted"] == 2
        arrived = tail.read(2)
        assert {(r.topic, r.key, r.value) for r in arrived} == {
            ("feeds.achievements", b"b1", batch[0]),
            ("feeds.achievements", b"b2", batch[1]),
        }

        attributes = {"specversion": "1.0", "id": "x", "source": HRIS, "type": "t", "subject": "hris:Zo%C3%AB"}
        headers = {f"ce-{name}": value for name, value in attributes.items()} | {"Content-Type": "application/json"}
        told(gateway.send(payload.encode(), feed="cycles", headers=headers), 202)
        [record] = tail.read(1)
        event = read_feed_event(record.key, record.value, record.headers, utc(2026, 1, 1))
        assert (record.topic, record.key) == ("feeds.cycles", "hris:Zoë".encode())
        assert (event.subject, event.data) == ("hris:Zoë", json.loads(payload))
        assert payload.encode() in record.value

        ndjson = {"Content-Type": "application/x-ndjson"}
        assert told(gateway.send(b"\n".join(lines), headers=ndjson), 202)["accepted"] == 2
        assert sorted(r.value for r in tail.read(2)) == sorted(lines)


def test_what_was_answered_with_202_is_there(kafka: Any, gateway: Gateway) -> None:
    with a_tail(kafka.bootstrap_servers, "feeds.endorsements") as tail:
        consumer = tail._consumer
        for count in range(1, 21):
            before = sum(consumer.end_offsets(list(consumer.assignment())).values())
            told(gateway.send(an_event(f"hris:E{count}"), feed="endorsements"), 202)
            assert sum(consumer.end_offsets(list(consumer.assignment())).values()) == before + 1


def test_bad_lines_in_the_midst_of_an_upload_are_kept_and_the_others_arrive_in_order(
    kafka: Any, gateway: Gateway
) -> None:
    subjects = [f"hris:U{n}" for n in range(40)]
    lines: list[bytes] = []
    for n in range(5000):
        bad = n % 997 == 500
        lines.append(b'{"broken": %d,' % n if bad else an_event(subjects[n % 40], f'{{"n": {n}}}', str(n)))
    bad_lines = [line for line in lines if line.startswith(b'{"broken"')]

    def body() -> Iterator[bytes]:
        whole = b"\n".join(lines)
        for start in range(0, len(whole), 10_000):
            yield whole[start : start + 10_000]

    with (
        a_tail(kafka.bootstrap_servers, "feeds.achievements") as tail,
        a_tail(kafka.bootstrap_servers, "feeds.achievements.dead") as dead,
    ):
        answer = gateway.client.post(
            "/v1/feeds/achievements", content=body(), headers={"Content-Type": "application/x-ndjson"}
        )
        receipt = told(answer, 202)
        assert (receipt["accepted"], receipt["rejected"]) == (5000 - len(bad_lines), len(bad_lines))
        assert [error["line"] for error in receipt["errors"]] == [n * 997 + 501 for n in range(len(bad_lines))]
        records = tail.read(receipt["accepted"])
        for subject in subjects:
            numbers = [int(json.loads(r.value)["id"]) for r in records if r.key == subject.encode()]
            assert numbers == sorted(numbers)
            assert len(numbers) >= 120
        letters = dead.read(len(bad_lines))
        assert [letter.value for letter in letters] == bad_lines
        assert b"JSON" in dict(letters[0].headers)["dead-reason"]


def test_metrics_tell_what_came_in(gateway: Gateway) -> None:
    def counted(outcome: str) -> float:
        text = gateway.client.get("/metrics").text
        found = re.search(rf'gateway_events_total{{feed="cycles",outcome="{outcome}"}} (\S+)', text)
        return float(found.group(1)) if found else 0.0

    accepted, rejected = counted("accepted"), counted("rejected")
    told(gateway.send(an_event(), feed="cycles"), 202)
    told(gateway.send(b"{}", feed="cycles"), 422)
    assert (counted("accepted"), counted("rejected")) == (accepted + 1, rejected + 1)
    text = gateway.client.get("/metrics").text
    for name in ("gateway_request_duration_seconds", "gateway_in_flight_records", "gateway_kafka_ack_seconds"):
        assert name in text
    assert TOKEN not in text
    assert TOKEN not in gateway.log.read_text()


def test_the_curl_commands_of_the_page_for_integrators_work_as_they_stand(gateway: Gateway, tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "integrators" / "README.md").read_text()
    commands = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if block.startswith("curl")]
    assert len(commands) == 4
    (tmp_path / "events.ndjson").write_bytes(an_event() + b"\n" + an_event() + b"\n")
    environment = os.environ | {"GATEWAY": f"http://{LOOPBACK}:{gateway.port}", "TOKEN": TOKEN}
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert " 202 " in done.stdout, done.stdout + done.stderr


def test_a_stop_answers_what_is_open_before_it_ends(kafka: Any, gateway: Gateway, tmp_path: Path) -> None:
    with a_gateway(kafka.bootstrap_servers, tmp_path) as stopping, a_tail(kafka.bootstrap_servers, "feeds.people") as t:
        begun, go_on = threading.Event(), threading.Event()

        def body() -> Iterator[bytes]:
            yield an_event("hris:S1") + b"\n"
            begun.set()
            go_on.wait(20)
            yield an_event("hris:S2") + b"\n"

        answers: list[httpx.Response] = []
        upload = threading.Thread(
            target=lambda: answers.append(stopping.send(body(), headers={"Content-Type": "application/x-ndjson"}))
        )
        upload.start()
        begun.wait(20)
        t.read(1)
        stopping.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "stopping" in stopping.log.read_text(), within=10)
        go_on.set()
        upload.join(20)
        assert told(answers[0], 202)["accepted"] == 2
        t.read(1)
        assert stopping.process.wait(20) == 0


def fenced(*_: Any) -> Any:
    raise ProducerFencedError("another one took over")


def silent(*_: Any) -> Any:
    return Future()


@pytest.mark.parametrize("send", [fenced, silent])
async def test_a_producer_that_failed_for_good_is_replaced(
    kafka: Any, monkeypatch: pytest.MonkeyPatch, send: Any
) -> None:
    create_topics(kafka.bootstrap_servers)
    sink = kafka_sink(kafka.bootstrap_servers, no_keys(), ack_seconds=1, max_records=1, max_bytes=10_000)
    record = Output("feeds.cycles", b"hris:E1", an_event())
    await sink.start()
    try:
        assert await asyncio.to_thread(wait_until, lambda: sink.objection() is None, within=20)
        failed = sink._producer
        monkeypatch.setattr(failed, "send", send)
        with pytest.raises(Unavailable):
            await (await FeedSink(sink).send([record]))
        assert await asyncio.to_thread(wait_until, lambda: sink._producer not in (failed, None), within=20)
        await (await FeedSink(sink).send([record]))
        assert sink.objection() is None
    finally:
        await sink.stop()


@pytest.mark.kafka
@pytest.mark.fault
def test_while_kafka_is_away_nobody_gets_a_202_and_once_it_is_back_all_is_well(tmp_path: Path) -> None:
    port, controller_port = free_ports(2)
    broker = Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
    with broker:
        create_topics(broker.bootstrap_servers)
        limits = {"GATEWAY_ACK_TIMEOUT_SECONDS": "2", "GATEWAY_MAX_IN_FLIGHT_RECORDS": "1"}
        with a_gateway(broker.bootstrap_servers, tmp_path, **limits) as gateway:
            told(gateway.send(an_event("before")), 202)
            broker.kill()

            # One waits for Kafka until its time is over; what may wait is bounded, so the others are told at once.
            begun = time.monotonic()
            answers: list[httpx.Response] = []
            senders = [
                threading.Thread(target=lambda: answers.append(gateway.send(an_event("during")))) for _ in range(4)
            ]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join(20)
            kinds = [told(answer, 503)["type"].rpartition(":")[2] for answer in answers]
            assert kinds == ["busy", "busy", "busy", "kafka-unavailable"]
            assert all(1 <= int(answer.headers["retry-after"]) <= 5 for answer in answers)
            assert time.monotonic() - begun < 5

            bulk = gateway.send(an_event("during"), headers={"Content-Type": "application/x-ndjson"})
            assert told(bulk, 503)["accepted"] == 0
            assert wait_until(lambda: not gateway.is_ready(), within=10)
            told(gateway.send(an_event("during")), 503)

            broker.start()
            assert wait_until(gateway.is_ready, within=20)
            assert wait_until(lambda: gateway.send(an_event("back")).status_code == 202, within=10)
            with a_tail(broker.bootstrap_servers, "feeds.people") as tail:
                told(gateway.send(an_event("after")), 202)
                assert tail.read(1)[0].key == b"after"


@pytest.mark.kafka
def test_a_gateway_that_starts_without_kafka_says_so_and_finds_it_later(tmp_path: Path) -> None:
    port, controller_port = free_ports(2)
    broker = Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
    with a_gateway(broker.bootstrap_servers, tmp_path, without_kafka=True) as gateway:
        assert "kafka" in gateway.client.get("/readyz").json()["waiting_for"]
        told(gateway.send(an_event()), 503)
        with broker:
            create_topics(broker.bootstrap_servers)
            assert wait_until(gateway.is_ready, within=30), log_tail(gateway.log)
            told(gateway.send(an_event()), 202)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(20) == 0
