"""Signing in with the company's OpenID provider: who a link is for has to be who opens it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.portal import sign_in
from services.portal.settings import PortalSettings
from shared.contracts.identities import EmployeeMergedInto
from tests.identity_provider import CLIENT, ISSUER, IdentityProvider
from tests.portal import KEY, URL, Portal, heading
from tests.prompt_events import NOW, opened

PATH = f"{URL}prompts/{opened().prompt_id}"


@pytest.fixture
def company() -> IdentityProvider:
    return IdentityProvider(email="Priya@Example.com", email_verified=True)


def a_portal(folder: Path, provider: Any, **changes: Any) -> Portal:
    made = Portal(folder, identity_provider=provider, oidc_issuer=ISSUER, oidc_client_id=CLIENT, **changes)
    made.reads_prompt(opened())
    made.knows("email:priya@example.com", "E1")
    made.knows("email:bo@example.com", "E3")
    return made


@pytest.fixture
def portal(tmp_path: Path, company: IdentityProvider) -> Iterator[Portal]:
    made = a_portal(tmp_path, company.http)
    yield made
    made.store.close()


async def test_a_link_leads_over_the_sign_in_to_its_prompt(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    assert heading(page) == "Will you speak for Mina Okafor?"
    assert str(page.url) == PATH
    assert [note.what for note in portal.audit] == ["signed_in", "prompt_viewed"]
    sent = await browser.sends(page, "/endorse", statement="Yes.")
    assert heading(sent).startswith("You have spoken")
    again = await browser.opens(opened())  # signed in already: straight to the page
    assert [str(step.url.host) for step in again.history] == ["portal.example"]


async def test_a_link_in_the_wrong_hands_shows_nothing(portal: Portal, company: IdentityProvider) -> None:
    company.claims["email"] = "bo@example.com"
    page = await portal.browser().opens(opened())
    assert (page.status_code, heading(page)) == (404, "There is nothing here")
    assert "Mina" not in page.text
    assert [(note.what, note.person_id) for note in portal.audit] == [("signed_in", "E3")]


async def test_without_a_link_one_signs_in_and_comes_to_ones_own_pages(portal: Portal) -> None:
    browser = portal.browser()
    refused = await browser.sees("/")
    assert refused.status_code == 401
    assert 'href="/sign-in"' in refused.text
    page = await browser.sees("/sign-in")
    assert (page.status_code, str(page.url)) == (200, URL)
    assert "One answer is due." in page.text


async def test_a_session_that_a_link_alone_began_is_none_where_people_sign_in(portal: Portal, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    by_link = Portal(tmp_path / "other")
    by_link.reads_prompt(opened())
    let_in = by_link.browser()
    await let_in.opens(opened())
    browser = portal.browser()
    browser.http.cookies.update(let_in.http.cookies)
    assert (await browser.sees("/")).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"iss": "http://evil.example"},
        {"nonce": "of-another-sign-in"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"email_verified": False},
        {"email": None},
        {"email": ""},
        {"email": "nobody@example.com"},
    ],
    ids=lambda claims: next(iter(claims)) + str(next(iter(claims.values())))[:8],
)
async def test_a_token_that_is_not_of_this_provider_for_us_and_now_lets_nobody_in(
    portal: Portal, company: IdentityProvider, claims: dict[str, Any]
) -> None:
    company.claims |= claims
    browser = portal.browser()
    page = await browser.opens(opened())
    assert (page.status_code, heading(page)) == (403, "You could not be signed in")
    assert [note.what for note in portal.audit] == ["sign_in_refused"]
    assert "example.com" not in portal.audit[0].detail
    assert (await browser.sees("/")).status_code == 401


async def test_a_token_signed_with_another_key_lets_nobody_in(portal: Portal, company: IdentityProvider) -> None:
    company.key = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
    assert (await portal.browser().opens(opened())).status_code == 403


async def test_who_presses_cancel_is_told_how_to_try_again(portal: Portal, company: IdentityProvider) -> None:
    company.refuses = True
    page = await portal.browser().opens(opened())
    assert page.status_code == 403
    assert 'href="/sign-in"' in page.text


async def test_an_answer_that_this_browser_did_not_ask_for_lets_nobody_in(
    portal: Portal, company: IdentityProvider
) -> None:
    victim, attacker = portal.browser(), portal.browser()
    begun = await attacker.http.get("/sign-in", follow_redirects=False)
    sent_back = await attacker.http.get(begun.headers["location"], follow_redirects=False)
    refused = await victim.http.get(sent_back.headers["location"])  # the attacker's code, in the victim's browser
    assert refused.status_code == 403
    await victim.http.get("/sign-in", follow_redirects=False)  # and with a sign-in of the victim's own under way
    assert (await victim.http.get(sent_back.headers["location"])).status_code == 403
    assert len(company.codes) == 1  # it was not even asked for what the code is worth


async def test_a_code_without_what_the_sign_in_began_with_is_worth_nothing(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = portal.browser()
    monkeypatch.setattr(sign_in.secrets, "token_urlsafe", lambda size: "v" * 64)
    begun = await browser.http.get("/sign-in", follow_redirects=False)
    sent_back = await browser.http.get(begun.headers["location"], follow_redirects=False)
    browser.http.cookies.delete(sign_in.COOKIE)
    assert (await browser.http.get(sent_back.headers["location"])).status_code == 403


async def test_a_provider_that_is_away_or_is_none_is_said_to_be_so(tmp_path: Path) -> None:
    async def broken(_: Request) -> PlainTextResponse:
        return PlainTextResponse("no", 500)

    portal = a_portal(tmp_path, Starlette(routes=[Route("/{path:path}", broken)]))
    page = await portal.browser().opens(opened())
    assert page.status_code == 503
    assert "sign-in does not answer" in page.text


async def test_a_provider_that_calls_itself_otherwise_is_not_the_companys(
    portal: Portal, company: IdentityProvider
) -> None:
    company.calls_itself = "http://evil.example"
    company.claims["iss"] = "http://evil.example"
    assert (await portal.browser().opens(opened())).status_code == 503


async def test_the_claim_may_be_an_id_of_the_hris(tmp_path: Path) -> None:
    portal = a_portal(tmp_path, IdentityProvider(employee="E1").http, oidc_claim="employee")
    portal.knows("hris:E1", "E1")
    assert (await portal.browser().opens(opened())).status_code == 200


async def test_where_nobody_signs_in_there_is_no_such_page(tmp_path: Path) -> None:
    portal = Portal(tmp_path)
    for path in ("/sign-in", "/signed-in?code=1&state=2"):
        assert (await portal.browser().sees(path)).status_code == 404


def test_a_provider_without_a_client_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="PORTAL_OIDC_CLIENT_ID"):
        PortalSettings(url=URL, keys=KEY, oidc_issuer=ISSUER)


def test_a_name_means_who_has_it_now_whatever_is_read_again(portal: Portal) -> None:
    ref: Any = "email:priya@example.com"
    assert portal.store.whom(ref, NOW) == "E1"
    portal.knows(ref, "E9", since=NOW)
    portal.knows(ref, "E1")
    assert portal.store.whom(ref, NOW) == "E9"
    assert portal.store.whom(ref, NOW - timedelta(days=1)) == "E1"
    portal.reads_identity(EmployeeMergedInto(employee_id="E9", into_id="E3", revision=2))
    portal.reads_identity(EmployeeMergedInto(employee_id="E9", into_id="E1", revision=1))
    assert portal.store.whom(ref, NOW) == "E3"
    assert portal.store.whom("email:nobody@example.com", NOW) is None
