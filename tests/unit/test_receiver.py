"""The receiver takes what is signed, once, and shows each prompt as its sponsor would see it now."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from deploy.receiver import receiver_app
from services.prompter.messages import message
from services.prompter.settings import PrompterSettings
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated
from shared.portal_links import PortalAddress, prompt_link, read_link
from shared.transport.webhooks import BadSignature, WebhookKey
from tests.prompt_events import NOW, a_body, a_letter, fulfilled, opened, updated, withdrawn

KEY = WebhookKey("whsec_" + "c3BvbnNv" * 5)
ANOTHER = WebhookKey("whsec_" + "c3BvbnNw" * 5)


@pytest.fixture
async def receiver() -> AsyncIterator[httpx.AsyncClient]:
    async with a_receiver() as client:
        yield client


def a_receiver(file: Path | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(receiver_app(KEY, file)), base_url="http://receiver")


async def send(
    receiver: httpx.AsyncClient,
    *events: PromptEvent,
    key: WebhookKey = KEY,
    age: int = 0,
    portal: PortalAddress | None = None,
) -> int:
    first = a_letter(*events)
    asks = [item for item in first.items if isinstance(item.event, PromptOpened | PromptUpdated)]
    if portal is not None and asks:
        (item,) = asks
        first = replace(first, items=(replace(item, link=prompt_link(portal.url, portal.key, first.asks[0])),))
    sent = message(first)
    signed = key.sign(sent.id, sent.body, datetime.now(UTC) - timedelta(seconds=age))
    return (await receiver.post("/", content=sent.body, headers=signed)).status_code


async def counts(receiver: httpx.AsyncClient) -> tuple[int, int, int]:
    got = (await receiver.get("/received")).json()
    return got["accepted"], got["repeated"], got["rejected"]


async def test_a_signed_message_is_taken_and_served_as_it_came(receiver: httpx.AsyncClient) -> None:
    assert await send(receiver, opened()) == 200
    (kept,) = (await receiver.get("/received")).json()["messages"]
    assert kept["webhook_id"] == opened().id
    assert kept["message"]["data"]["prompt"]["evidence"][0]["title"] == "Checkout answers in half the time"


async def test_a_repeat_is_welcomed_and_dropped(receiver: httpx.AsyncClient) -> None:
    assert [await send(receiver, opened()) for _ in range(3)] == [200, 200, 200]
    assert await counts(receiver) == (1, 2, 0)


async def test_what_was_received_is_there_for_the_next_receiver(tmp_path: Path) -> None:
    file = tmp_path / "received.ndjson"
    async with a_receiver(file) as first:
        assert await send(first, opened()) == 200
        before = (await first.get("/")).text
    with file.open("ab") as torn:
        torn.write(b'{"webhook_id": "killed in the midst of')
    async with a_receiver(file) as second:
        assert await counts(second) == (1, 0, 0)
        assert (await second.get("/received")).json()["accepted_before"] == 1
        assert (await second.get("/")).text == before
        assert await send(second, opened()) == 200
        assert await counts(second) == (1, 1, 0)  # a repeat, whoever took it first
        assert await send(second, updated()) == 200
    async with a_receiver(file) as third:
        assert await counts(third) == (2, 0, 0)


async def test_what_is_signed_with_another_key_or_long_ago_or_not_at_all_is_refused(
    receiver: httpx.AsyncClient,
) -> None:
    assert await send(receiver, opened(), key=ANOTHER) == 401
    assert await send(receiver, opened(), age=600) == 401
    assert (await receiver.post("/", content=b"{}")).status_code == 401
    malformed = {"webhook-id": "1", "webhook-timestamp": "0", "webhook-signature": "v1"}
    assert (await receiver.post("/", content=b"\xff", headers=malformed)).status_code == 401
    assert await counts(receiver) == (0, 0, 4)


async def test_a_body_that_was_changed_on_the_way_is_refused() -> None:
    sent = message(a_letter(opened()))
    signed = KEY.sign(sent.id, sent.body, datetime.now(UTC))
    assert KEY.check(signed, sent.body) == sent.id
    with pytest.raises(BadSignature):
        KEY.check(signed, sent.body.replace(b"Mina", b"Nina"))
    with pytest.raises(BadSignature):
        KEY.check(signed | {"webhook-id": "another"}, sent.body)


async def test_a_body_without_end_is_not_read_whole(receiver: httpx.AsyncClient) -> None:
    assert (await receiver.post("/", content=b"x" * 300_000)).status_code == 413


async def test_messages_are_served_in_pages(receiver: httpx.AsyncClient) -> None:
    for number in range(5):
        await send(receiver, opened(employee=f"E{number}"))
    first = (await receiver.get("/received", params={"limit": 3})).json()
    rest = (await receiver.get("/received", params={"limit": 3, "offset": first["next_offset"]})).json()
    assert [len(first["messages"]), len(rest["messages"])] == [3, 2]
    assert rest["next_offset"] is None


async def test_the_page_shows_the_newest_version_of_a_prompt(receiver: httpx.AsyncClient) -> None:
    await send(receiver, updated(2, body=a_body(why="There is news")))
    await send(receiver, opened(1))
    page = (await receiver.get("/")).text
    assert "There is news" in page
    assert page.count("<details") == 1


@pytest.mark.parametrize(("end", "label"), [(withdrawn(), "Withdrawn"), (fulfilled(), "Fulfilled")])
async def test_the_page_shows_what_is_not_asked_any_more_as_that(
    receiver: httpx.AsyncClient, end: PromptEvent, label: str
) -> None:
    await send(receiver, opened())
    assert "Asked" in (await receiver.get("/")).text
    await send(receiver, end)
    page = (await receiver.get("/")).text
    assert f'<b class="badge">{label}</b>' in page
    assert '<b class="badge">Asked' not in page
    assert "<bdi>Mina Okafor</bdi>: Spring promotions 2026" in page


async def test_what_a_source_wrote_is_text_on_the_page_and_nothing_else(receiver: httpx.AsyncClient) -> None:
    await send(receiver, opened(body=a_body(why="<script>alert(1)</script>", sponsor_name="<b>Bo</b>")))
    page = (await receiver.get("/", params={"sponsor": '"><script>'})).text + (await receiver.get("/")).text
    assert "<script>" not in page
    assert "<b>Bo</b>" not in page


async def test_many_sponsors_are_shown_page_by_page_and_one_can_be_looked_up(receiver: httpx.AsyncClient) -> None:
    for number in range(25):
        await send(receiver, opened(sponsor=f"E{number:02}", body=a_body(sponsor_name=f"Sponsor {number:02}")))
    first = (await receiver.get("/")).text
    second = (await receiver.get("/", params={"page": 2})).text
    assert (first.count("<section>"), second.count("<section>")) == (20, 5)
    assert "page 1 of 2" in first
    assert (await receiver.get("/", params={"sponsor": "sponsor 07"})).text.count("<section>") == 1


async def test_of_a_digest_each_prompt_is_shown_and_can_be_taken_down_by_itself(receiver: httpx.AsyncClient) -> None:
    await send(receiver, opened(body=a_body(sponsor_name="Priya")), opened(employee="E3"))
    assert (await receiver.get("/")).text.count("Will you speak for") >= 2
    assert await send(receiver, withdrawn(employee="E3")) == 200
    assert await counts(receiver) == (2, 0, 0)
    assert "You need not answer this any more" in (await receiver.get("/")).text


async def test_a_prompt_that_is_asked_can_be_answered_from_the_page_where_there_is_a_portal(
    receiver: httpx.AsyncClient,
) -> None:
    portal = PortalAddress("https://portal.example/", "k" * 32)
    await send(receiver, opened(), portal=portal)
    await send(receiver, opened(employee="E3"))
    page = (await receiver.get("/")).text
    (link,) = re.findall(r'<a class="answer" rel="noopener" href="https://portal.example/p/([^"]+)">', page)
    assert read_link(["k" * 32], link, NOW).prompt_id == opened().prompt_id
    await send(receiver, fulfilled(2), portal=portal)
    assert 'class="answer"' not in (await receiver.get("/")).text


@pytest.mark.parametrize("given", [{"portal_url": "https://portal.example"}, {"portal_key": "k" * 32}])
def test_a_portal_needs_its_address_and_its_key(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="set both or neither"):
        PrompterSettings(webhook_url="http://localhost/", webhook_secret="whsec_" + "c3BvbnNv" * 5, **given)
