"""Who is let in, as what; which rows they see; what is noted of it; and the record of processing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from deploy.broker import PROJECT
from services.correlator import api as correlator_api
from services.correlator.policy import Policy
from services.insights.api import SORTS, make_api
from services.insights.dashboard import Dashboard
from services.insights.measures.keeping import measure
from services.insights.reading import Reader as ReadModel
from services.insights.schema import create_schema
from services.insights.settings import InsightsSettings
from services.insights.tables import metadata
from shared.contracts.audit import ReadAudited
from shared.contracts.career import ClockTicked, CycleOpened
from shared.contracts.outputs import GapOpened, PromptOpened
from shared.database import for_reading, open_database
from shared.processing import read_processing
from shared.service.access import Access, Doors, Guarded, NotNoted, Reader, Role, read_access
from shared.service.health import Health
from shared.streaming.topics import ALL_TOPICS
from shared.yaml_files import BadFile
from tests.no_keys import no_keys
from tests.unit.test_insights import a_cycle, a_profile, apply, day, joined, logged, missing, prompted, said, tied

RECORD = PROJECT / "deploy" / "processing.yaml"


def a_reader(role: Role = "people-team", token: str = "", **fields: Any) -> Reader:
    name = fields.pop("name", f"a {role}")
    return Reader(name=name, role=role, token_sha256=sha256((token or name).encode()).hexdigest(), **fields)


READERS = (
    a_reader("people-team", "all"),
    a_reader("people-team", "some", name="partner", units=("eng",)),
    a_reader("sponsor", "sue", employee_id="S1"),
    a_reader("protege", "ann", employee_id="E1"),
    a_reader("operator", "ops"),
    Reader(name="by proxy", role="people-team", user="hr@example.com"),
)


class Guard:
    """The API of insights behind its doors, over a company of three, one of them in another unit."""

    def __init__(self, app: Any) -> None:
        self.noted: list[ReadAudited] = []
        self.kafka_is_away = False
        doors = Doors(Access(readers=READERS), "of the proxy")
        self.app = Guarded(app, doors, SORTS, self.note)

    async def note(self, read: ReadAudited) -> None:
        if self.kafka_is_away:
            raise NotNoted("away")
        self.noted.append(read)

    async def get(self, path: str, token: str = "", **headers: str) -> httpx.Response:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
            return await client.get(path, headers=headers)

    async def ids(self, what: str, key: str, token: str) -> set[str]:
        listed = (await self.get(f"/v1/{what}", token)).json()["items"]
        return {item[key] for item in listed}


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    engine = open_database(f"sqlite:///{tmp_path / 'insights.db'}", "insights")
    create_schema(engine)
    yield Guard(an_api(engine))
    engine.dispose()


def an_api(engine: Engine) -> Any:
    apply(
        engine,
        logged(
            joined("E1"),
            joined("E2", profile=a_profile("Bo", unit=("co", "eng", "web"))),
            joined("E3", profile=a_profile("Cy", unit=("co", "law"))),
            joined("S1", profile=a_profile("Sue", level=8, unit=("co",))),
            tied("E1", "S1"),
            said(CycleOpened, 1, cycle=a_cycle("C1")),
            said(ClockTicked, 12, now=day(12)),
            prompted(PromptOpened, 1, employee="E1"),
            missing(GapOpened, 1, employee="E2"),
            missing(GapOpened, 1, employee="E3"),
        ),
    )
    measure(engine, 1)
    model = ReadModel(for_reading(engine), dict)
    return make_api(model, Dashboard(model.for_dashboard), Health(), read_processing(RECORD))


async def test_nobody_is_let_in_without_a_name_that_we_know(guard: Guard) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !"},
        {"X-Forwarded-User": "hr@example.com"},
    ):
        answer = await guard.get("/v1/employees", **headers)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert guard.noted == []
    assert (await guard.get("/healthz")).status_code == 200


async def test_a_browser_s_password_and_the_proxy_s_word_let_in(guard: Guard) -> None:
    password = base64.b64encode(b"anybody:all").decode()
    assert (await guard.get("/v1/employees", Authorization=f"Basic {password}")).status_code == 200
    said_by_proxy = {"X-Forwarded-User": "hr@example.com", "X-Proxy-Secret": "of the proxy"}
    assert (await guard.get("/", **said_by_proxy)).status_code == 200
    assert (await guard.get("/", **{**said_by_proxy, "X-Proxy-Secret": "guessed"})).status_code == 401
    assert [read.who for read in guard.noted] == ["a people-team", "by proxy"]


async def test_without_a_secret_no_proxy_is_believed() -> None:
    doors = Doors(Access(readers=READERS), "")
    assert doors.who({"x-forwarded-user": "hr@example.com", "x-proxy-secret": ""}) is None


@pytest.mark.parametrize(
    ("token", "may"),
    [
        ("all", {"/", "/dashboard", "/v1/measures", "/v1/progress", "/v1/employees", "/v1/prompts", "/v1/gaps"}),
        ("some", {"/", "/dashboard", "/v1/measures", "/v1/progress", "/v1/employees", "/v1/prompts", "/v1/gaps"}),
        ("sue", {"/v1/employees", "/v1/prompts"}),
        ("ann", {"/v1/employees", "/v1/gaps"}),
        ("ops", {"/v1/progress"}),
    ],
)
async def test_a_role_says_what_may_be_read(guard: Guard, token: str, may: set[str]) -> None:
    asked = ["/", "/dashboard", "/v1/measures", "/v1/progress", "/v1/employees", "/v1/prompts", "/v1/gaps", "/else"]
    got = {path: (await guard.get(path, token)).status_code for path in asked}
    assert got == {path: 200 if path in may else 403 for path in asked}
    assert {read.asked: read.given for read in guard.noted} == {path: path in may for path in asked}


def test_every_path_of_the_apis_is_some_sort_of_data() -> None:
    for app, sorts in (
        (make_api(None, None, Health(), read_processing(RECORD)), SORTS),  # type: ignore[arg-type]
        (correlator_api.make_api("nowhere:9", no_keys(), Policy(), Health()), correlator_api.SORTS),
    ):
        inner: Any = getattr(app, "_app", app)
        served = {re.sub(r"/\{.*", "", route.path) for route in inner.routes} - {"/healthz", "/readyz", "/metrics"}
        assert served == set(sorts)


async def test_who_is_limited_to_units_sees_their_people_and_those_below(guard: Guard) -> None:
    assert await guard.ids("employees", "employee_id", "all") == {"E1", "E2", "E3", "S1"}
    assert await guard.ids("employees", "employee_id", "some") == {"E1", "E2"}
    assert await guard.ids("gaps", "employee_id", "some") == {"E2"}
    assert await guard.ids("prompts", "employee_id", "some") == {"E1"}
    assert (await guard.get("/v1/employees/E3", "some")).status_code == 404
    assert "E3" not in (await guard.get("/", "some")).text
    assert "E3" in (await guard.get("/", "all")).text


async def test_a_sponsor_sees_those_whom_they_speak_for_and_what_they_were_asked(guard: Guard) -> None:
    assert await guard.ids("employees", "employee_id", "sue") == {"E1"}
    assert await guard.ids("prompts", "sponsor_id", "sue") == {"S1"}
    assert (await guard.get("/v1/employees/E2", "sue")).status_code == 404


async def test_a_protege_sees_themselves_and_nothing_of_what_a_sponsor_answers(guard: Guard) -> None:
    assert await guard.ids("employees", "employee_id", "ann") == {"E1"}
    assert (await guard.get("/v1/employees/E1", "ann")).json()["standing_prompts"] == []
    everybodys = (await guard.get("/v1/prompts", "all")).json()["items"]
    for prompt in everybodys:
        assert (await guard.get(f"/v1/prompts/{prompt['prompt_id']}", "ann")).status_code == 403
    gap = (await guard.get("/v1/gaps", "all")).json()["items"][0]["gap_id"]
    assert (await guard.get(f"/v1/gaps/{gap}", "ann")).status_code == 404


async def test_a_reading_is_noted_before_it_is_given_and_what_can_t_be_noted_is_not(guard: Guard) -> None:
    await guard.get("/v1/prompts?employee=E1", "all")
    (read,) = guard.noted
    assert (read.who, read.role, read.sort, read.asked, read.given) == (
        "a people-team",
        "people-team",
        "prompts",
        "/v1/prompts?employee=E1",
        True,
    )
    guard.kafka_is_away = True
    answer = await guard.get("/v1/prompts?employee=E1", "all")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("readers:\n  - name: a\n    role: boss\n    user: a\n", ":3: readers.0.role: Input should be"),
        ("readers:\n  - name: a\n    role: operator\n", ":2: readers.0: needs a user"),
        ("readers:\n  - {name: a, role: sponsor, user: a}\n", ":2: readers.0: a sponsor needs an employee_id"),
        ("readers:\n  - {name: a, role: operator, user: a, units: [x]}\n", ":2: readers.0: units limit a people-team"),
        ("readers:\n  - name: a\n    name: b\n", ":3: readers.0.name: is there twice"),
        (
            "readers:\n  - {name: a, role: operator, user: u}\n  - {name: b, role: operator, user: u}\n",
            ":1: the file: user u is more than one reader's",
        ),
        ("reader: []\n", ":1: reader: is not known here"),
    ],
)
def test_a_mistake_in_the_access_file_is_told_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    with pytest.raises(BadFile, match=re.escape(f"{path}{complaint}")):
        read_access(path)


def test_the_example_of_an_access_file_can_be_read() -> None:
    assert {reader.role for reader in read_access(PROJECT / "deploy" / "access.example.yaml").readers} >= {"operator"}


def test_a_service_does_not_start_with_an_access_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCESS_FILE", "/nowhere/access.yaml")
    with pytest.raises(ValueError, match="can't be read"):
        InsightsSettings()


# -- the record of processing ---------------------------------------------------------------------


def test_the_shipped_record_speaks_of_every_topic_and_table() -> None:
    record = read_processing(RECORD)
    tables = [table for kind in record.kinds.values() for table in kind.tables]
    assert sorted(tables) == sorted(metadata.tables)
    kept = dict(record.retention_ms())
    compacted = {spec.name for spec in ALL_TOPICS if spec.config.get("cleanup.policy") == "compact"}
    assert kept.keys() == {spec.name for spec in ALL_TOPICS} - compacted
    assert (kept["career-events"], kept["feeds.people"]) == (-1, 400 * 86_400_000)


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        ("topics: [deliveries]", "topics: []", "no kind has the topic deliveries: say what is in it"),
        ("topics: [deliveries]", "topics: [deliveries, gaps]", "the topic gaps is in several kinds: asked, deliveries"),
        ("keep: 1095 days", "keep: 30 days", "kinds.answers: feeds.endorsements can't be kept for 30 days"),
        ("keep: 1095 days", "keep: a while", "kinds.answers.keep: 'a while' is neither 'for ever' nor a number of"),
        (
            "keep: for ever\n    topics: [prompts, gaps]",
            "keep: 9 days\n    topics: [prompts, gaps]",
            "kinds.asked: prompts can't be kept for 9 days: insights and the portal are rebuilt",
        ),
        ("contact:", "kontakt:", "contact: Field required"),
    ],
)
def test_a_record_that_leaves_something_out_is_refused(tmp_path: Path, line: str, instead: str, complaint: str) -> None:
    path = tmp_path / "processing.yaml"
    text = RECORD.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, instead))
    with pytest.raises(BadFile, match=re.escape(complaint)):
        read_processing(path)


async def test_the_record_is_served_also_to_operators(guard: Guard) -> None:
    told = (await guard.get("/v1/processing", "ops")).json()
    assert told["kinds"]["audit"]["keep"] == "730 days"
