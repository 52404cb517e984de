"""The correlator's HTTP API: what it answers, and with which problem where it can't."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from services.correlator import api
from services.correlator.explanation import Disagreement, NotKnown, explain
from services.correlator.policy import Policy
from shared.service.health import Health
from shared.streaming.reading import NotRead
from tests.no_keys import no_keys
from tests.property.test_explain_properties import followed
from tests.unit.test_explain import a_log


class Asking:
    """Answers without Kafka; `trouble` is raised instead."""

    trouble: Exception | None = None
    asked: tuple[Any, ...] = ()

    def __init__(self, *_: object) -> None:
        pass

    def about_employee(self, *asked: Any) -> list[Any]:
        return [self._answer(asked)]

    def about_thing(self, *asked: Any) -> tuple[str, Any]:
        return "prompt", self._answer(asked)

    def _answer(self, asked: tuple[Any, ...]) -> Any:
        type(self).asked = asked
        if self.trouble is not None:
            raise self.trouble
        return explain(followed("E1", a_log()), "spring", (1, 6), {}, ())


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    monkeypatch.setattr(api, "Asking", Asking)
    monkeypatch.setattr(Asking, "trouble", None)
    transport = httpx.ASGITransport(
        api.make_api("nowhere:9", no_keys(), Policy(), Health()), raise_app_exceptions=False
    )
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_an_employee_is_explained_a_cycle_an_item_and_no_cache_keeps_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/explanations", params={"employee": "E1", "cycle": "spring"})
    assert (answer.status_code, Asking.asked) == (200, ("E1", "spring"))
    assert answer.json()["items"][0]["prompts"][0]["verdict"] == "asked"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_prompt_is_explained_as_of_the_version_that_is_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/explanations/some-id", params={"version": 2})
    assert (answer.status_code, Asking.asked) == (200, ("some-id", 2))
    assert answer.json()["employee_id"] == "E1"


@pytest.mark.parametrize(
    ("trouble", "status", "kind"),
    [
        (NotKnown("nothing about E9"), 404, "not-known"),
        (NotRead("can't read"), 503, "kafka-away"),
        (Disagreement("secret"), 500, "fault"),
    ],
)
async def test_what_can_not_be_explained_is_a_problem(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, trouble: Exception, status: int, kind: str
) -> None:
    monkeypatch.setattr(Asking, "trouble", trouble)
    answer = await client.get("/v1/explanations/some-id")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"].endswith(f":{kind}")
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/explanations")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("employee: ")


async def test_who_would_wait_too_long_is_told_to_come_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "BUSY_AFTER_SECONDS", 0.01)
    reading, may_end = threading.Event(), threading.Event()

    def answer_slowly(*_: object) -> Any:
        reading.set()
        may_end.wait(10)
        raise NotKnown("the first one")

    monkeypatch.setattr(Asking, "_answer", answer_slowly)
    first = asyncio.create_task(client.get("/v1/explanations/some-id"))
    await asyncio.to_thread(reading.wait, 10)
    second = await client.get("/v1/explanations", params={"employee": "E1"})
    may_end.set()
    assert (second.status_code, second.json()["type"].rpartition(":")[2]) == (503, "busy")
    assert (await first).status_code == 404


async def test_what_operators_need_is_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "alive"}
    assert "correlator_explanation_seconds" in (await client.get("/metrics")).text
