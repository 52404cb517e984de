"""Sources' webhooks at the gateway, without Kafka: who is let in, what is kept, what a vendor is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from services.gateway.app import http_app
from services.gateway.problems import Problem, Unavailable
from services.gateway.settings import GatewaySettings
from shared.service.health import Health
from shared.sources.xml_bodies import read_xml
from tests.source_payloads import FOLDER, PASSWORD, successfactors, workday
from tests.unit.test_gateway import MemorySink

KEY = "1b4f0e9851971998"
NEXT = "0f86d081884c7d66"
CHALLENGED = """\
name: slacklike
title: A tool that challenges
source: urn:slacklike
webhook:
  signature:
    kind: hmac
    header: X-Signature
    prefix: v0=
    signed: "v0:{timestamp}:{body}"
    timestamp_header: X-Request-Timestamp
  handshake:
    kind: challenge
    when: body.type == 'url_verification'
    answer: body.challenge
subject: text(body.user)
events:
  - feed: people
    type: employee.left
    data: {employee_id: text(body.user)}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "slacklike.yaml").write_text(CHALLENGED)
    return tmp_path


def settings(folder: Path, **changes: Any) -> GatewaySettings:
    secrets = f"bamboohr={KEY},bamboohr={NEXT},github={KEY},slacklike={KEY},cloudevents={KEY}"
    fields = {"tokens": "urn:acme:hris=0123456789abcdef", "source_secrets": secrets, "sources_dir": folder}
    return GatewaySettings(**{**fields, **changes})


class Door:
    """A gateway in memory, and what came through it."""

    def __init__(self, folder: Path, fails_with: Problem | None = None, **changes: Any) -> None:
        self.sink = MemorySink(fails_with)
        self._app = http_app(settings(folder, **changes), self.sink, Health())

    async def send(
        self,
        source: str,
        body: Any,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        method: str = "POST",
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, f"/v1/sources/{source}", content=body, headers=headers)

    async def github(self, body: bytes, **more: str) -> httpx.Response:
        return await self.send("github", body, {"X-Hub-Signature-256": sha256(body), **more})


def sha256(signed: bytes, key: str = KEY, prefix: str = "sha256=") -> str:
    return prefix + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


def told(answer: httpx.Response, status: int, kind: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    content: dict[str, Any] = answer.json()
    if kind:
        assert content["type"] == f"urn:sponsorship-tracker:problem:{kind}"
        assert answer.headers["content-type"] == "application/problem+json"
    return content


def counted(source: str, outcome: str) -> float:
    labels = {"source": source, "outcome": outcome}
    return REGISTRY.get_sample_value("gateway_source_deliveries_total", labels) or 0.0


async def test_a_signed_delivery_is_kept_as_it_was_sent_with_the_headers_that_its_reading_needs(folder: Path) -> None:
    door = Door(folder)
    body = b'{"action":  "opened", "n": 1.10, "pull_request": {"user": {"login": "ann"}}}'
    before = counted("github", "received")
    assert told(await door.github(body, **{"X-GitHub-Event": "pull_request", "Cookie": "c"}), 200) == {"accepted": 1}
    (record,) = door.sink.records
    assert (record.topic, record.key, record.value) == ("sources.received", b"github:ann", body)
    assert record.headers == (("source", b"github"), ("http-x-github-event", b"pull_request"))
    assert counted("github", "received") == before + 1


async def test_a_soap_message_is_kept_as_it_was_sent_and_acknowledged_as_its_sender_wants_it(folder: Path) -> None:
    door = Door(folder, source_secrets=f"successfactors-events=tracker:{KEY}")
    login = {"Authorization": "Basic " + base64.b64encode(f"tracker:{KEY}".encode()).decode()}
    answer = await door.send("successfactors-events", successfactors(), {**login, "Content-Type": "text/xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    said = read_xml(answer.content)["Envelope"]["Body"]["ExternalEventResponse"]["responsePayload"]
    assert (said["status"], said["statusDetails"]) == ("200", "received")
    assert abs(datetime.fromisoformat(said["statusDate"]) - datetime.now(UTC)) < timedelta(minutes=1)
    (record,) = door.sink.records
    assert (record.key, record.value) == (b"successfactors-events", successfactors())
    assert (await door.send("successfactors-events", successfactors())).status_code == 401


async def test_a_password_in_the_body_lets_it_in_and_is_not_kept(folder: Path) -> None:
    door = Door(folder, source_secrets=f"workday-events=tracker:{PASSWORD}")
    answer = await door.send("workday-events", workday())
    assert answer.status_code == 200
    (record,) = door.sink.records
    assert record.value == workday(password="")
    assert (await door.send("workday-events", workday(password="guessed-password"))).status_code == 401
    assert len(door.sink.records) == 1


async def test_xml_that_lies_too_deep_in_itself_is_refused_and_what_could_grow_is_kept_unread(folder: Path) -> None:
    door = Door(folder)
    told(await door.github(b"<a>" * 65 + b"</a>" * 65), 422, "too-deep")
    bomb = b'<!DOCTYPE a [<!ENTITY b "cccccccc">]><a>&b;</a>'
    told(await door.github(bomb), 200)
    assert [record.value for record in door.sink.records] == [bomb]


async def test_a_header_that_is_there_twice_is_kept_as_one_with_both_in_their_order(folder: Path) -> None:
    door = Door(folder)
    twice = [("X-Hub-Signature-256", sha256(b"{}")), ("X-GitHub-Event", "push"), ("X-GitHub-Event", "issues")]
    told(await door.send("github", b"{}", twice), 200)
    (record,) = door.sink.records
    assert record.headers == (("source", b"github"), ("http-x-github-event", b"push, issues"))


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\xfe", b"a=1&b=2", b"[]", b"null"])
async def test_what_is_signed_and_cannot_be_read_is_taken_for_the_sources_service_to_keep(
    folder: Path, body: bytes
) -> None:
    door = Door(folder)
    told(await door.github(body), 200)
    assert [record.value for record in door.sink.records] == [body]
    assert door.sink.records[0].key == b"github"


async def test_nothing_is_parsed_before_the_signature_is_found_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shared.sources.delivery as delivery

    def parsed(_: bytes) -> Any:
        raise AssertionError("parsed")

    monkeypatch.setattr(delivery.orjson, "loads", parsed)
    content = told(await Door(folder).send("github", b"{}", {"X-Hub-Signature-256": sha256(b"[]")}), 401, "not-genuine")
    assert "not that of this body" in content["detail"]


@pytest.mark.parametrize(
    ("source", "headers", "status", "kind", "detail"),
    [
        ("github", {}, 401, "not-genuine", "the signature is missing: send X-Hub-Signature-256"),
        ("github", {"X-Hub-Signature-256": "sha256=00"}, 401, "not-genuine", "not that of this body"),
        ("nobody", {}, 404, "unknown-source", "there is no source 'nobody'"),
        ("merge", {}, 404, "unknown-source", "merge is not let in: it has no secret in GATEWAY_SOURCE_SECRETS"),
        ("github", {"Content-Encoding": "gzip"}, 415, "unsupported-content", "let the source send the body as it is"),
    ],
)
async def test_a_delivery_that_may_not_enter_is_told_why(
    folder: Path, source: str, headers: dict[str, str], status: int, kind: str, detail: str
) -> None:
    door = Door(folder)
    answer = await door.send(source, b"{}", headers)
    assert detail in told(answer, status, kind)["detail"]
    assert door.sink.records == []
    assert KEY not in answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(("age", "status"), [(0, 200), (250, 200), (-250, 200), (400, 401), (86400, 401), (-400, 401)])
async def test_a_delivery_is_replayed_in_vain_once_it_is_old(folder: Path, age: int, status: int) -> None:
    stamp = str(int((datetime.now(UTC) - timedelta(seconds=age)).timestamp()))
    headers = {"X-BambooHR-Timestamp": stamp, "X-BambooHR-Signature": sha256(b"{}" + stamp.encode(), NEXT, "")}
    assert (await Door(folder).send("bamboohr", b"{}", headers)).status_code == status


async def test_a_body_that_is_too_large_or_too_deep_is_refused_and_neither_is_held(folder: Path) -> None:
    door = Door(folder, max_body_bytes=2000)
    told(await door.github(b"x" * 2001), 413, "too-large")

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 500

    told(await door.send("github", endless()), 413, "too-large")
    for depth in (65, 900):
        assert "64" in told(await door.github(b"[" * depth + b"]" * depth), 422, "too-deep")["detail"]
    told(await door.github(b"[" * 64 + b"]" * 64), 200)
    assert len(door.sink.records) == 1


async def test_while_kafka_is_away_or_too_much_is_under_way_the_vendor_is_told_to_send_again(folder: Path) -> None:
    before = counted("github", "unavailable")
    answer = await Door(folder, Unavailable("Kafka did not acknowledge")).github(b"{}")
    told(answer, 503, "kafka-unavailable")
    assert answer.headers["retry-after"] == "5"
    assert counted("github", "unavailable") == before + 1


@pytest.mark.parametrize("body", [b"Ping test", b'"Ping test"', b'{"text":"Ping test"}', b' {"text": "Ping test"}\n'])
async def test_hibobs_ping_is_answered_before_its_secret_is_known_and_written_nowhere(
    folder: Path, body: bytes
) -> None:
    door = Door(folder)
    assert told(await door.send("hibob", body), 200) == {"accepted": 0}
    assert door.sink.records == []
    told(await door.send("hibob", b'{"text":"Ping test!"}'), 404, "unknown-source")
    signed = Door(folder, source_secrets=f"hibob={KEY}")
    told(await signed.send("hibob", b'{"type":"employee.left"}'), 401, "not-genuine")
    signature = base64.b64encode(hmac.new(KEY.encode(), b"{}", hashlib.sha512).digest()).decode()
    told(await signed.send("hibob", b"{}", {"Bob-Signature": signature}), 200)


async def test_a_challenge_gets_back_what_it_asks_for_only_if_it_is_signed(folder: Path) -> None:
    door = Door(folder)
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()
    stamp = str(int(datetime.now(UTC).timestamp()))
    signature = sha256(f"v0:{stamp}:".encode() + body, prefix="v0=")
    answer = await door.send("slacklike", body, {"X-Signature": signature, "X-Request-Timestamp": stamp})
    assert (answer.status_code, answer.text) == (200, "3eZbrw1a")
    assert answer.headers["content-type"].startswith("text/plain")
    told(await door.send("slacklike", body, {"X-Signature": "v0=00", "X-Request-Timestamp": stamp}), 401)
    assert door.sink.records == []


async def test_a_cloudevents_origin_may_ask_whether_it_may_send(folder: Path) -> None:
    door = Door(folder)
    origin = {"WebHook-Request-Origin": "events.example.com"}
    answer = await door.send("cloudevents", b"", {**origin, "WebHook-Request-Rate": "120"}, "OPTIONS")
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "events.example.com"
    assert answer.headers["webhook-allowed-rate"] == "6000"
    assert "webhook-allowed-rate" not in (await door.send("cloudevents", b"", origin, "OPTIONS")).headers
    for source, headers in (("cloudevents", {"WebHook-Request-Origin": "evil.example"}), ("github", origin)):
        refused = await door.send(source, b"", headers, "OPTIONS")
        told(refused, 403, "origin-refused")
        assert "webhook-allowed-origin" not in refused.headers


async def test_how_long_a_source_has_been_quiet_is_told_of_those_that_are_let_in(folder: Path) -> None:
    name, label = "gateway_source_quiet_since_timestamp_seconds", {"source": "github"}
    # Not let in here; a gateway of another test may have, and all have the same registry.
    other = REGISTRY.get_sample_value(name, {"source": "personio"})
    door = Door(folder)
    started = REGISTRY.get_sample_value(name, label)
    await door.github(b"{}")
    assert (REGISTRY.get_sample_value(name, label) or 0) > (started or 0)
    assert REGISTRY.get_sample_value(name, {"source": "personio"}) == other
    assert REGISTRY.get_sample_value("gateway_source_silent_after_seconds", {"source": "bamboohr"}) == 168 * 3600
    assert REGISTRY.get_sample_value("gateway_source_silent_after_seconds", {"source": "github"}) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source_secrets": "bamboohr"}, "GATEWAY_SOURCE_SECRETS: entry 1 is not name=secret"),
        ({"source_secrets": "bamboohr=short"}, "entry 1: what bamboohr has is shorter than 16 characters"),
        ({"source_secrets": f"bambohr={KEY}"}, "entry 1: there is no source bambohr; there are bamboohr, "),
        ({"source_secrets": f"lattice={KEY}***"}, "entry 1: lattice: the secret is not base64"),
        ({"source_secrets": ",".join(f"github={KEY}{n}" for n in range(3))}, "entry 3: github has more than 2 secrets"),
        ({"sources_dir": Path("/nowhere")}, "SOURCES_DIR: /nowhere: there is no such folder"),
    ],
)
def test_a_wrong_setting_is_told_and_shows_no_secret(folder: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(folder, **changes)
    (error,) = refused.value.errors()
    assert told in error["msg"]
    assert KEY not in error["msg"]


def test_a_source_without_secrets_is_no_fault(folder: Path) -> None:
    assert settings(folder, source_secrets="").source_secrets.get_secret_value() == ""
