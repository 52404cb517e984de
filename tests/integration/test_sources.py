"""Sources on a real Kafka: a signed webhook ends as a career event, whoever is killed on the way, and once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from deploy.broker import Broker
from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import service
from deploy.tracker import extracts
from deploy.tracker.__main__ import main as tracker
from shared.contracts.career import CareerEvent, EmployeeChanged, EmployeeJoined, EmployeeLeft, read_career_event
from shared.streaming.topics import (
    CAREER_EVENTS,
    SOURCES_RECEIVED,
    TopicSpec,
    create_topics,
    dead_topic,
    feed_topic,
)
from tests.integration.reading import WITHIN, records_of
from tests.scim import PATCH, a_user

pytestmark = pytest.mark.kafka

NAMES: Final = ("people", "sources", "gateway", "scim")
SECRET: Final = "an-old-secret-of-bamboohr"
NEXT_SECRET: Final = "the-next-secret-of-bamboohr"
SHIPPED: Final = Path(__file__).parents[2] / "deploy/sources/bamboohr.yaml"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own, for it kills services that others might use."""
    port, controller_port = free_ports(2)
    folder = tmp_path_factory.mktemp("kafka")
    with Broker(folder, port=port, controller_port=controller_port, die_with_parent=True) as own:
        create_topics(own.bootstrap_servers)
        yield own


def with_levels(levels: str) -> str:
    """Return the shipped file with the levels of this company, as an integrator fills it in."""
    shipped = SHIPPED.read_text()
    assert "levels: {}" in shipped
    return shipped.replace("levels: {}", f"levels: {{{levels}}}")


def deliver_bamboohr(services: Supervisor, body: bytes, secret: str) -> httpx.Response:
    timestamp = str(int(time.time()))
    signature = hmac.new(secret.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-BambooHR-Timestamp": timestamp,
        "X-BambooHR-Signature": signature,
    }
    url = services.url("gateway", "/v1/sources/bamboohr")
    return httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30)


class Company:
    """A running gateway, sources and people service, and the folder of the sources' files."""

    def __init__(self, broker: Broker, folder: Path, bob: str, acme: str) -> None:
        self.bootstrap_servers = broker.bootstrap_servers
        self.sources = folder / "sources"
        self.sources.mkdir()
        (self.sources / "bamboohr.yaml").write_text(with_levels("Engineer: 4"))
        hibob = SHIPPED.with_name("hibob.yaml").read_text().replace("levels: {}", "levels: {Engineer: 4}")
        scim = SHIPPED.with_name("scim.yaml").read_text().replace("levels: {}", "levels: {Engineer: 4}")
        (self.sources / "scim.yaml").write_text(scim)
        (self.sources / "hibob.yaml").write_text(hibob.replace("https://api.hibob.com", bob))
        self._client = httpx.Client(trust_env=False, timeout=30)  # a new one for each request takes 20 ms to make
        create_topics(broker.bootstrap_servers, [TopicSpec(WORKERS, partitions=2)])
        (self.sources / "workers.yaml").write_text(OWN_TOPIC)
        (self.sources / "acme.yaml").write_text(ACME.replace("https://api.acme.example", acme))
        self.services = Supervisor(
            [service(name) for name in NAMES],
            env={
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "DATA_DIR": str(folder / "faust"),
                "SOURCES_DIR": str(self.sources),
                "LOG_FORMAT": "json",
            },
            service_env={
                "gateway": {
                    "GATEWAY_TOKENS": "urn:acme:hris=0123456789abcdef",
                    "GATEWAY_SOURCE_SECRETS": f"bamboohr={SECRET},bamboohr={NEXT_SECRET},hibob={SECRET}",
                },
                "scim": {"SCIM_TOKENS": f"entra={SECRET}"},
                "sources": {"SOURCES_CREDENTIALS": f"hibob=SERVICE-1:0123456789abcdef,acme=tracker:{SECRET}"},
            },
            ports=dict(zip(NAMES, free_ports(len(NAMES)), strict=True)),
            log_dir=folder / "logs",
        )

    def deliver_hibob(self, payload: dict[str, Any]) -> httpx.Response:
        """Send a payload as HiBob does: HMAC-SHA512 over the body, in base64."""
        body = json.dumps(payload).encode()
        signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha512).digest()).decode()
        url = self.services.url("gateway", "/v1/sources/hibob")
        return self._client.post(url, content=body, headers={"Bob-Signature": signature})

    def provision(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask the SCIM provider, as an identity system does."""
        return httpx.request(
            method,
            self.services.url("scim", f"/scim/v2{path}"),
            json=body,
            headers={"Authorization": f"Bearer {SECRET}"},
            trust_env=False,
            timeout=30,
        )

    def metric(self, of: str, line: str) -> float:
        text = self._client.get(self.services.url(of, "/metrics")).text
        return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)), 0.0)

    def deliver(self, body: bytes, secret: str = SECRET) -> httpx.Response:
        """Send a body as BambooHR does: HMAC-SHA256 over the body, then the timestamp."""
        return deliver_bamboohr(self.services, body, secret)

    def publish(self, topic: str, records: list[tuple[bytes, bytes | None]]) -> None:
        """Write to a topic as the company's own systems do."""
        with closing(KafkaProducer(bootstrap_servers=self.bootstrap_servers)) as producer:
            for sent in [producer.send(topic, key=key, value=value) for key, value in records]:
                sent.get(timeout=10)

    def records(self, topic: str, enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
        """Return all records of `topic` as soon as they are enough; fail when they are not in time."""
        return records_of(self.bootstrap_servers, topic, enough, what)

    def told_of(self, employee: str, at_least: int = 1) -> list[CareerEvent]:
        """Return what the log says of an employee once it says so much."""
        said: list[CareerEvent] = []

        def enough(records: list[Any]) -> bool:
            said[:] = [read_career_event(r.value) for r in records if r.key == employee.encode()]
            return len(said) >= at_least

        self.records(CAREER_EVENTS, enough, f"an event of {employee}")
        return said

    def feed_events(self, *employees: str) -> list[dict[str, Any]]:
        """Return the events of feeds.people about these employees, once each has one."""
        found: list[dict[str, Any]] = []

        def enough(records: list[Any]) -> bool:
            found[:] = [json.loads(r.value) for r in records if r.key.decode().removeprefix("hris:") in employees]
            return {event["data"]["employee_id"] for event in found} == set(employees)

        self.records(feed_topic("people"), enough, f"events of {len(employees)} employees")
        return found


class Bob(BaseHTTPRequestHandler):
    """Bob's API, which first asks to be left alone for a second."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        number = self.path.rpartition("/")[2]
        busy = len(self.asked) == 1
        record = {
            "id": number,
            "displayName": "Cy Ray",
            "work": {"department": "U1", "title": "Engineer", "reportsTo": None},
        }
        body = b"" if busy else json.dumps(record).encode()
        self.send_response(429 if busy else 200)
        if busy:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


ACME: Final = """
name: acme
title: Acme People
source: urn:acme:people
api:
  auth: {kind: client_credentials, token_url: https://api.acme.example/token}
poll:
  - name: people
    url: https://api.acme.example/people
    every_minutes: 0.01
    records: body.people
    paging: {kind: cursor, parameter: after, next: body.next}
    since: {parameter: since}
subject: text(body.id)
events:
  - feed: people
    type: employee.changed
    data: {employee_id: text(body.id), name: body.name, unit_id: "'U1'", level: body.level}
"""


WORKERS: Final = "hr.workers"
OWN_TOPIC: Final = f"""
name: workers
title: Our own topic of workers
source: urn:own:workers
kafka: {{name: {WORKERS}, group: sponsorship-tracker}}
subject: headers."kafka-key"
id: headers."kafka-position"
time: headers."kafka-timestamp"
events:
  - when: body
    feed: people
    type: employee.changed
    data: {{employee_id: headers."kafka-key", name: body.name, unit_id: "'U1'", level: body.level}}
  - when: "!(body)"
    feed: people
    type: employee.left
    data: {{employee_id: headers."kafka-key"}}
"""


class Acme(BaseHTTPRequestHandler):
    """Acme's API: OAuth, and a list whose second page can be made to wait."""

    pages: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    asked: ClassVar[list[str]] = []
    second_is_asked_for: ClassVar = threading.Event()
    second_may_be_given: ClassVar = threading.Event()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        authorized = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        right = (authorized, form["grant_type"]) == (f"tracker:{SECRET}", ["client_credentials"])
        self._answer(200, {"access_token": "t1", "expires_in": 3600}) if right else self._answer(401, {})

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer t1":
            self._answer(401, {})
            return
        query = parse_qs(urlsplit(self.path).query)
        if not self.pages:
            self._answer(404, {})
            return
        if "since" in query:
            self._answer(200, {"people": []})
            return
        page = query.get("after", ["first"])[0]
        self.asked.append(page)
        if page == "second":
            self.second_is_asked_for.set()
            self.second_may_be_given.wait(30)
        names = list(self.pages)
        following = names[names.index(page) + 1] if page != names[-1] else None
        self._answer(200, {"people": self.pages[page], "next": following})

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # whoever asked was killed
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def bob() -> Iterator[str]:
    """The address of a server that plays the vendor's side."""
    yield from served(Bob)


@pytest.fixture(scope="module")
def acme() -> Iterator[str]:
    """The address of Acme's API."""
    yield from served(Acme)


def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def company(broker: Broker, bob: str, acme: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = Company(broker, tmp_path_factory.mktemp("company"), bob, acme)
    with company.services:
        yield company


def an_employee(*, action: str = "Updated", **fields: str) -> tuple[str, dict[str, Any]]:
    """Return an employee of the test's own, as BambooHR tells of a change."""
    employee = f"B-{uuid.uuid4().hex[:10]}"
    return employee, {
        "id": employee,
        "action": action,
        "timestamp": "2026-01-31T18:42:00+0000",
        "changedFields": sorted(fields),
        "fields": {name: {"value": value} for name, value in fields.items()},
    }


def a_body(*employees: dict[str, Any]) -> bytes:
    return json.dumps({"employees": employees}).encode()


def test_a_signed_webhook_ends_as_a_career_event_and_counts_once_however_often_it_is_sent(company: Company) -> None:
    ann, entry = an_employee(firstName="Ann", lastName="Hale", department="U1", jobTitle="Engineer")
    body = a_body(entry)
    assert company.deliver(body).json() == {"accepted": 1}
    assert company.deliver(body, NEXT_SECRET).status_code == 200, "two secrets are valid while one is replaced"

    (joined,) = company.told_of(ann)
    assert isinstance(joined, EmployeeJoined)
    assert (joined.employee_id, joined.profile.name, joined.profile.level) == (ann, "Ann Hale", 4)
    assert joined.source.startswith("urn:bamboohr#")
    assert wait_until(
        lambda: company.metric("sources", 'sources_events_total{outcome="duplicate",source="bamboohr"}') >= 1,
        within=WITHIN,
    )
    assert len(company.feed_events(ann)) == 1
    assert company.metric("gateway", 'gateway_source_deliveries_total{outcome="received",source="bamboohr"}') >= 2
    assert company.metric("sources", 'sources_last_delivery_timestamp_seconds{source="bamboohr"}') > time.time() - 120


def test_what_is_not_signed_never_reaches_kafka_and_what_was_answered_is_there_byte_for_byte(company: Company) -> None:
    _, refused = an_employee(department="U1")
    forged = company.deliver(a_body(refused), secret="somebody-elses-secret")
    assert (forged.status_code, forged.json()["type"]) == (401, "urn:sponsorship-tracker:problem:not-genuine")
    _, entry = an_employee(department="U1")
    body = b"  " + a_body(entry)
    assert company.deliver(body).status_code == 200
    received = company.records(SOURCES_RECEIVED, lambda rs: body in {r.value for r in rs}, "the delivery")
    assert a_body(refused) not in {r.value for r in received}
    (record,) = [r for r in received if r.value == body]
    assert record.headers == [("source", b"bamboohr"), ("http-content-type", b"application/json")]


def test_a_notification_without_values_ends_as_a_career_event_with_the_record_that_it_names(company: Company) -> None:
    number = str(uuid.uuid4().int)[:19]
    answer = company.deliver_hibob(
        {"type": "employee.updated", "triggeredAt": "2026-01-08T13:06:26.915906", "data": {"employeeId": number}}
    )
    assert answer.status_code == 200
    (joined,) = company.told_of(number)
    assert isinstance(joined, EmployeeJoined)
    assert (joined.profile.name, joined.profile.level) == ("Cy Ray", 4)
    assert Bob.asked == [f"/v1/people/{number}"] * 2, "the first time it asked to wait"
    assert company.metric("sources", 'sources_fetches_total{outcome="fetched",source="hibob"}') == 1


@pytest.mark.fault
def test_what_is_provisioned_ends_as_career_events_and_survives_a_kill_in_the_midst(company: Company) -> None:
    numbers = [f"S-{uuid.uuid4().hex[:10]}" for _ in range(24)]
    users = [a_user(number, number.lower(), title="Engineer", department="U1") for number in numbers]
    created: dict[str, str] = {}
    for n, user in enumerate(users):
        if n == 8:
            threading.Timer(0.02, company.services.kill, ["scim"]).start()
        try:
            created[numbers[n]] = company.provision("POST", "/Users", user).raise_for_status().json()["id"]
        except httpx.TransportError:
            assert n >= 8
    assert 8 <= len(created) < len(users)
    company.services.restart("scim")
    for number, user in zip(numbers, users, strict=True):
        found = company.provision("GET", f'/Users?filter=userName eq "{user["userName"]}"').json()["Resources"]
        if number in created:
            assert [one["id"] for one in found] == [created[number]], "it was answered as created"
        elif not found:
            # What the killed process had claimed is free once its claim is over.
            assert wait_until(
                lambda user=user: company.provision("POST", "/Users", user).status_code == 201, within=WITHIN
            )
    events = company.feed_events(*numbers)
    assert {event["type"] for event in events} == {"employee.hired"}

    first, path = numbers[0], f"/Users/{created[numbers[0]]}"
    (joined,) = company.told_of(first)
    assert isinstance(joined, EmployeeJoined)
    assert (joined.profile.level, joined.profile.unit_path[-1]) == (4, "U1")
    leaves = {"op": "Replace", "path": "active", "value": "False"}
    assert company.provision("PATCH", path, {"schemas": [PATCH], "Operations": [leaves]}).status_code == 204
    assert company.provision("GET", path).json()["active"] is False, "what was answered as done can be read back"
    assert isinstance(company.told_of(first, at_least=2)[-1], EmployeeLeft)


@pytest.mark.fault
def test_a_sources_service_that_is_killed_loses_nothing_and_says_nothing_twice(company: Company) -> None:
    polled = [{"id": f"A-{uuid.uuid4().hex[:10]}", "name": f"Al No{n}", "level": 4} for n in range(6)]
    Acme.pages.update({"first": polled[:2], "second": polled[2:4], "third": polled[4:]})
    assert Acme.second_is_asked_for.wait(WITHIN)  # so it is between two pages when it is killed
    people = dict(
        an_employee(firstName="Bo", lastName=f"No{n}", department="U1", jobTitle="Engineer") for n in range(60)
    )
    names = list(people)
    workers = [(f"K-{uuid.uuid4().hex[:10]}", {"name": f"Kim No{n}", "level": 4}) for n in range(20)]
    told = [(name.encode(), json.dumps(worker).encode()) for name, worker in workers]
    company.publish(WORKERS, [*told[:10], (b"odd", b"{worker")])
    for name in names[:20]:
        assert company.deliver(a_body(people[name])).status_code == 200
    company.services.kill("sources")
    Acme.second_may_be_given.set()
    company.publish(WORKERS, [*told[10:], (told[0][0], None)])
    for name in names[20:40]:
        assert company.deliver(a_body(people[name])).status_code == 200, "the gateway needs no sources service"
    company.services.restart("sources")
    for name in names[40:]:
        assert company.deliver(a_body(people[name])).status_code == 200
    events = company.feed_events(*names)
    ids = {(event["source"], event["id"]) for event in events}
    assert len(ids) == len(names), "whatever was said again has the same id"
    company.told_of(names[-1])

    events = company.feed_events(*(name for name, _ in workers))
    assert len({(event["source"], event["id"]) for event in events}) == len(workers) + 1
    assert [event["type"] for event in events if event["subject"] == f"hris:{workers[0][0]}"][-1] == "employee.left"
    company.records(dead_topic(SOURCES_RECEIVED), lambda rs: b"{worker" in {r.value for r in rs}, "the bad record")

    events = company.feed_events(*(person["id"] for person in polled))
    assert len({event["id"] for event in events}) == len(polled)
    assert Acme.asked == ["first", "second", "second", "third"], "what was safe is not asked for again"
    assert wait_until(
        lambda: (
            company.metric("sources", 'sources_polls_total{outcome="nothing_new",poll="people",source="acme"}') >= 1
        ),
        within=WITHIN,
    )
    assert company.metric("sources", 'sources_polls_total{outcome="news",poll="people",source="acme"}') == 1


def test_what_could_not_be_read_is_taken_up_again_once_the_file_is_mended(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    good, fine = an_employee(department="U1")
    odd, strange = an_employee(department="U1", jobTitle="Principal Gardener")
    body = a_body(fine, strange)
    assert company.deliver(body).status_code == 200

    topic = dead_topic(SOURCES_RECEIVED)
    letters = company.records(topic, lambda rs: body in {r.value for r in rs}, "the dead letter")
    (letter,) = [r for r in letters if r.value == body]
    reason = dict(letter.headers)["dead-reason"].decode()
    assert reason.startswith("entry 1: ")
    assert "tables.levels has nothing for 'Principal Gardener'" in reason
    company.feed_events(good)  # its neighbour in the delivery was not held up

    replay = ["source", "replay", "bamboohr", "--bootstrap-servers", company.bootstrap_servers]
    replay += ["--sources-dir", str(company.sources)]
    assert tracker(replay) == 1
    assert "0 put back, 1 left" in capsys.readouterr().out
    restarted_with(company, with_levels("Engineer: 4, Principal Gardener: 6"))
    assert tracker([*replay, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "would be put back" in said
    assert f"feeds.people  employee.changed  about hris:{odd}" in said
    assert '"level": 6' in said
    assert tracker(replay) == 0
    assert "1 put back, 0 left" in capsys.readouterr().out
    assert tracker(replay) == 0
    assert "0 put back, 0 left, 1 had been before" in capsys.readouterr().out

    events = company.feed_events(good, odd)
    assert [event["data"]["level"] for event in events if event["data"]["employee_id"] == odd] == [6]
    assert len({event["id"] for event in events}) == 2, "the good one, read again, has the id that it had"


def restarted_with(company: Company, declaration: str) -> None:
    (company.sources / "bamboohr.yaml").write_text(declaration)
    company.services.terminate("sources")
    company.services.restart("sources")


def an_extract(path: Path, workers: dict[str, str]) -> Path:
    head = (
        "Employee ID,Worker,Primary Work Email,Supervisory Organization ID,Manager ID,Location,Job Profile,"
        "Time in Job Profile Start Date,Termination Date"
    )
    lines = [f"{no},{name},,U1,,,Engineer,2024-10-01," for no, name in workers.items()]
    path.write_text("\n".join([head, *lines, ""]))
    return path


def test_a_nightly_extract_tells_only_what_changed_and_a_load_that_broke_off_is_made_good(
    company: Company, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = {f"W-{uuid.uuid4().hex[:8]}": f"Worker {n}" for n in range(1200)}
    first, last = next(iter(workers)), list(workers)[-1]
    (company.sources / "workday.yaml").write_text(
        SHIPPED.with_name("workday.yaml").read_text().replace("levels: {}", "levels: {Engineer: 4}")
    )
    company.services.terminate("sources")
    company.services.restart("sources")
    extract = an_extract(tmp_path / "workers.csv", workers)

    def load(as_of: str, *more: str) -> tuple[int, str]:
        options = ["--bootstrap-servers", company.bootstrap_servers, "--sources-dir", str(company.sources)]
        code = tracker(["source", "load", "workday", str(extract), "--as-of", as_of, *options, *more])
        said = capsys.readouterr()
        return code, said.out + said.err

    assert load("2026-03-02T02:00:00Z", "--dry-run") == (
        0,
        "1200 rows, 1200 would be sent, 0 unchanged, 0 can't be sent\n",
    )
    sends = iter(range(100))
    real = extracts._acknowledged

    async def breaks_off(producer: Any, outputs: Any) -> None:
        if next(sends) == 2:  # the second batch of rows is in Kafka, and not yet remembered
            raise KafkaTimeoutError("away")
        await real(producer, outputs)

    monkeypatch.setattr(extracts, "BATCH", 500)
    with monkeypatch.context() as patched:
        patched.setattr(extracts, "_acknowledged", breaks_off)
        assert load("2026-03-02T02:00:00Z") == (1, "tracker source load: KafkaTimeoutError: away\n")
    assert load("2026-03-02T02:00:00Z")[1] == "1200 rows, 700 sent, 500 unchanged, 0 can't be sent\n"
    events = company.feed_events(*workers)
    assert len({event["id"] for event in events}) == 1200

    assert load("2026-03-03T02:00:00Z")[1] == "1200 rows, 0 sent, 1200 unchanged, 0 can't be sent\n"
    del workers[last]
    an_extract(extract, {**workers, first: "Worker by another name"})
    code, said = load("2026-03-01T02:00:00Z")
    assert code == 1
    assert "it would put the past in place of the present" in said
    assert load("2026-03-04T02:00:00Z")[1].splitlines() == [
        "1199 rows, 1 sent, 1198 unchanged, 0 can't be sent",
        "1 rows of earlier extracts are not in this one; nothing is said of them",
    ]
    changed = company.told_of(first, at_least=2)[-1]
    assert isinstance(changed, EmployeeChanged)
    assert changed.profile.name == "Worker by another name"
