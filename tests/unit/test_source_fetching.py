"""Records that thin notifications name: each asked for once, a few at a time, as patiently as the API asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.sources.accounts import Accounts
from services.sources.fetching import Fetcher, Unfetched, Wanted
from services.sources.handlers import DeliveryHandler
from services.sources.settings import SourcesSettings
from shared.contracts.base import utc
from shared.sources.files import read_sources
from shared.streaming.records import Record
from tests.source_payloads import (
    FOLDER,
    HIBOB_RECORD,
    hibob,
    successfactors,
    successfactors_event,
    successfactors_record,
)

SOURCES = read_sources(FOLDER)
CREDENTIALS = {"hibob": "SERVICE-1:token", "bamboohr-events": "key:x"}
ANN = Wanted("hibob", "3332883854254932743")


class Clock:
    """Sleeps without waiting, and remembers for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(round(seconds))
        await asyncio.sleep(0)


class Api:
    """A vendor's API in memory: answers in turn, the last one for ever."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[], httpx.Response]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = Clock()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return (
            httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)
            if isinstance(answer, httpx.Response)
            else answer()
        )

    def fetcher(self, give_up: float = 120, **credentials: str) -> Fetcher:
        accounts = Accounts(
            SOURCES,
            CREDENTIALS | credentials,
            timeout_seconds=5,
            transport=httpx.MockTransport(self._answer),
            sleep=self.clock.sleep,
        )
        return Fetcher(SOURCES, accounts, give_up_seconds=give_up)


def record(body: Any, offset: int = 0, source: bytes = b"hibob") -> Record:
    value = json.dumps(body).encode()
    return Record("sources.received", 0, offset, b"k", value, (("source", source),), utc(2026, 3, 2, 9))


async def test_a_record_is_asked_for_as_the_file_says() -> None:
    api = Api(httpx.Response(200, json=HIBOB_RECORD))
    strange = Wanted("hibob", "../admin?x=1#")
    assert await api.fetcher().fetch([strange]) == {strange: HIBOB_RECORD}
    (request,) = api.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.hibob.com/v1/people/..%2Fadmin%3Fx%3D1%23")
    assert request.headers["authorization"] == "Basic U0VSVklDRS0xOnRva2Vu"
    assert json.loads(request.content)["humanReadable"] == "REPLACE"


async def test_a_record_in_two_parts_is_asked_for_in_two_requests_and_seen_by_their_names() -> None:
    api = Api(httpx.Response(200, json={"responses": []}))
    one = Wanted("finch", "5d0b")
    found = await api.fetcher(finch="0123456789abcdef").fetch([one])
    assert found == {one: {"individual": {"responses": []}, "employment": {"responses": []}}}
    assert sorted(str(request.url) for request in api.requests) == [
        "https://api.tryfinch.com/employer/employment",
        "https://api.tryfinch.com/employer/individual",
    ]
    for request in api.requests:
        assert json.loads(request.content) == {"requests": [{"individual_id": "5d0b"}]}
        assert request.headers["finch-api-version"] == "2020-09-17"


async def test_a_record_of_which_a_part_is_refused_is_not_had() -> None:
    api = Api(httpx.Response(200, json={}), httpx.Response(403))
    one = Wanted("finch", "5d0b")
    found = await api.fetcher(finch="0123456789abcdef").fetch([one])
    assert "answered 403: may its credentials" in found[one].reason


async def test_many_notifications_about_one_employee_cost_one_request() -> None:
    api = Api(httpx.Response(200, json=HIBOB_RECORD))
    handler = DeliveryHandler(SOURCES, api.fetcher())
    bodies = [{**hibob("employee.updated"), "triggeredAt": f"2026-01-08T13:06:{n:02}"} for n in range(30)]
    outputs = await handler([record(body, at) for at, body in enumerate(bodies)])
    assert len(api.requests) == 1
    assert len({json.loads(output.value or b"")["id"] for output in outputs}) == 30
    assert {output.topic for output in outputs} == {"feeds.people"}


async def test_each_entry_of_a_delivery_has_its_own_record_and_one_that_is_not_had_holds_up_no_other() -> None:
    api = Api(httpx.Response(200, json=successfactors_record()), httpx.Response(404))
    events = [successfactors_event(event_id=n) for n in "ab"] + [successfactors_event("104", event_id="c")]
    message = successfactors("ChangeInTitle", *events)
    source = "successfactors-events"
    sent = Record("sources.received", 0, 0, b"k", message, (("source", source.encode()),), utc(2026, 3, 2, 9))
    fetcher = api.fetcher(**{source: "tracker@acme:0123456789"})
    outputs = await DeliveryHandler(SOURCES, fetcher)([sent])
    assert [request.url.path for request in api.requests] == ["/odata/v2/User('103')", "/odata/v2/User('104')"]
    assert [output.topic for output in outputs] == ["feeds.people", "feeds.people", "sources.received.dead"]
    assert outputs[-1].value == message
    assert b"entry 2: the record: the API answered 404" in dict(outputs[-1].headers)["dead-reason"]


async def test_what_holds_all_that_is_needed_fetches_nothing() -> None:
    api = Api(httpx.Response(500))
    (output,) = await DeliveryHandler(SOURCES, api.fetcher())([record(hibob("employee.left"))])
    assert (output.topic, api.requests) == ("feeds.people", [])


async def test_no_more_requests_are_under_way_than_the_file_allows() -> None:
    under_way = most = 0

    async def slow(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return httpx.Response(200, json={})

    accounts = Accounts(SOURCES, CREDENTIALS, timeout_seconds=5, transport=httpx.MockTransport(slow))
    fetcher = Fetcher(SOURCES, accounts, give_up_seconds=9)
    assert len(await fetcher.fetch([Wanted("hibob", str(n)) for n in range(40)])) == 40
    assert most == 4


@pytest.mark.parametrize("status", [429, 503])
async def test_an_api_that_asks_to_wait_is_waited_for_as_long_as_it_says(status: int) -> None:
    api = Api(httpx.Response(status, headers={"Retry-After": "7"}), httpx.Response(200, json={"id": "1"}))
    assert await api.fetcher().fetch([ANN]) == {ANN: {"id": "1"}}
    assert api.clock.slept == [7]


async def test_the_wait_is_for_all_that_is_asked_of_that_account() -> None:
    api = Api(httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200, json={}))
    fetcher = api.fetcher()
    await fetcher.fetch([ANN])
    await fetcher.fetch([Wanted("hibob", "2")])
    assert api.clock.slept == [7, 7]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            httpx.Response(500),
            "the record: it could not be had in 1 attempts: the API answered 500; replay the source later",
        ),
        (httpx.ConnectError("no route"), "no answer (ConnectError)"),
        (httpx.Response(401), "answered 401: are its credentials in SOURCES_CREDENTIALS right?"),
        (httpx.Response(404), "it is not there, or not to be seen by these credentials"),
        (httpx.Response(302, headers={"Location": "https://evil.example"}), "answered 302: is its url"),
        (httpx.Response(200, text="<html>Sign in</html>"), "the record: what the API answered is not JSON"),
        (httpx.Response(200, content=b"x" * (1024 * 1024 + 1)), "the record: the answer has more than 1048576 bytes"),
    ],
)
async def test_a_record_that_cannot_be_had_leaves_a_dead_letter_with_the_reason(answer: Any, told: str) -> None:
    api = Api(answer)
    handler = DeliveryHandler(SOURCES, api.fetcher(give_up=0))
    (letter, left) = await handler([record(hibob("employee.updated")), record(hibob("employee.left"), 1)])
    assert (letter.topic, left.topic) == ("sources.received.dead", "feeds.people")
    reason = dict(letter.headers)["dead-reason"].decode()
    assert told in reason
    assert ANN.key not in reason


async def test_a_source_without_credentials_says_so() -> None:
    fetcher = Fetcher(SOURCES, Accounts(SOURCES, {}, timeout_seconds=1), give_up_seconds=1)
    found = (await fetcher.fetch([ANN]))[ANN]
    assert isinstance(found, Unfetched)
    assert found.reason == "hibob has no credentials in SOURCES_CREDENTIALS to fetch the record with"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hibob", "SOURCES_CREDENTIALS: entry 1 is not name=credentials"),
        ("github=0123456789abcdef", "entry 1: github is no source with `api` in its file"),
        ("hibob=0123456789abcdef", "entry 1: hibob wants user:password"),
    ],
)
def test_wrong_credentials_are_told_and_not_shown(text: str, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SourcesSettings(sources_dir=Path(FOLDER), credentials=text)
    assert told in refused.value.errors()[0]["msg"]
    assert "0123456789abcdef" not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("let_in", [False, True])
async def test_a_source_may_state_protected_attributes_only_where_a_company_names_some(
    tmp_path: Path,
    *,
    let_in: bool,
) -> None:
    (tmp_path / "survey.yaml").write_text(
        "name: survey\ntitle: A survey\nsource: urn:survey\n"
        "webhook: {signature: {kind: token}}\nsubject: body.who\nid: body.id\ntime: body.at\n"
        "events:\n- {feed: attributes, type: attributes.stated,"
        " data: {employee_id: body.who, values: {gender: body.gender}}}\n"
        "- {feed: people, type: employee.changed, id: body.other, data: {employee_id: body.who}}\n"
    )
    sources = read_sources(tmp_path)
    handler = DeliveryHandler(sources, Api().fetcher(), takes_attributes=let_in)
    body = {"who": "E1", "id": "7", "at": "2026-03-01T09:30:00Z", "gender": "x", "other": "8"}
    told = [(output.topic, dict(output.headers)) for output in await handler([record(body, source=b"survey")])]
    topics = [topic for topic, _ in told]
    if let_in:
        assert topics == ["feeds.attributes", "feeds.people"]
    else:
        assert topics == ["feeds.people", "sources.received.dead"]
        assert b"PROTECTED_ATTRIBUTES" in told[1][1]["dead-reason"]
