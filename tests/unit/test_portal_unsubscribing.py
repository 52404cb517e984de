"""One click in a mail program stops all messages: no page, no cookie, no script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.contracts.ids import EmployeeId
from shared.portal_links import prompt_link, read_stop_link, stop_link
from tests.portal import KEY, OTHER_KEY, URL, Portal
from tests.prompt_events import opened

LINK = stop_link(URL, KEY, EmployeeId("E1"))
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    portal = Portal(tmp_path)
    yield portal
    portal.store.close()


def a_mail_program(portal: Portal) -> httpx.AsyncClient:
    """Return one as RFC 8058 has it: it posts a form from nowhere, keeps no cookies, and follows no redirect."""
    transport = httpx.ASGITransport(portal.http, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=URL, headers={"sec-fetch-site": "cross-site"})


async def test_one_click_stops_everything_and_a_second_changes_nothing(portal: Portal) -> None:
    async with a_mail_program(portal) as program:
        answers = [await program.post(LINK, data=ONE_CLICK) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "You have stopped all messages" in answers[0].text
    assert [(choice.type, choice.sponsor_id) for choice in portal.choices] == [("choice.stopped", "E1")]
    assert [(note.what, note.session) for note in portal.audit] == [("stopped", "one click")]
    assert portal.written[0].key == b"E1"


async def test_looking_at_the_address_stops_nothing_and_shows_a_button_that_does(portal: Portal) -> None:
    async with a_mail_program(portal) as program:
        page = await program.get(LINK)
        assert page.status_code == 200
        assert portal.choices == []
        assert f'action="{httpx.URL(LINK).path}"' in page.text
        await program.post(LINK)
    assert len(portal.choices) == 1


@pytest.mark.parametrize(
    "link",
    [
        stop_link(URL, OTHER_KEY, EmployeeId("E1")),
        LINK[:-2],
        prompt_link(URL, KEY, opened()).replace("/p/", "/unsubscribe/"),
    ],
)
async def test_an_address_that_is_not_ours_stops_nobody(portal: Portal, link: str) -> None:
    async with a_mail_program(portal) as program:
        assert (await program.post(link, data=ONE_CLICK)).status_code == 403
        assert (await program.get(link)).status_code == 403
    assert portal.choices == []


def test_an_address_made_with_an_older_key_still_stops() -> None:
    assert read_stop_link([OTHER_KEY, KEY], LINK.rpartition("/")[2]) == "E1"
