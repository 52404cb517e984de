"""A vendor's API is asked with the right credentials; OAuth's tokens are had once for all, and renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import ValidationError

from services.sources import accounts as accounts_module
from services.sources.accounts import Account, GivenUp, NotHad, Question, Refused
from shared.sources.apis import Api

TOKEN_URL = "https://id.example/token"
OAUTH = {"kind": "client_credentials", "token_url": TOKEN_URL}
RECORD = Question("https://api.example/people/1")


class Vendor:
    """An API and its token's address. Tokens are t1, t2, …; `taken` says which the API takes."""

    def __init__(
        self,
        *,
        expires_in: Any = 3600,
        token_answer: Callable[[], httpx.Response] | None = None,
        takes: Callable[[str], bool] = lambda token: True,
    ) -> None:
        self.expires_in = expires_in
        self.token_answer = token_answer
        self.takes = takes
        self.token_requests: list[httpx.Request] = []
        self.asked_with: list[str] = []
        self.slept: list[float] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # so that several are under way
        if str(request.url) == TOKEN_URL:
            self.token_requests.append(request)
            if self.token_answer is not None:
                return self.token_answer()
            said = {"access_token": f"t{len(self.token_requests)}", "token_type": "Bearer"}
            return httpx.Response(200, json=said | ({} if self.expires_in is None else {"expires_in": self.expires_in}))
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.asked_with.append(token)
        return httpx.Response(200 if self.takes(token) else 401, json={"id": 1})

    def account(self, **auth: Any) -> Account:
        async def sleep(seconds: float) -> None:
            self.slept.append(round(seconds))

        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return Account("acme", Api.model_validate({"auth": OAUTH | auth}), "id:s:cret", client, sleep)


def deadline(seconds: float = 60) -> float:
    return monotonic() + seconds


async def test_one_token_is_asked_for_however_many_wait_for_it() -> None:
    vendor = Vendor()
    account = vendor.account(scope="people:read")
    await asyncio.gather(*(account.ask(RECORD, deadline=deadline()) for _ in range(20)))
    (request,) = vendor.token_requests
    assert parse_qs(request.content.decode()) == {"grant_type": ["client_credentials"], "scope": ["people:read"]}
    assert request.headers["authorization"] == "Basic aWQ6czpjcmV0"
    assert set(vendor.asked_with) == {"t1"}


async def test_id_and_secret_go_in_the_body_where_the_vendor_wants_them_there() -> None:
    vendor = Vendor()
    await vendor.account(sent_in="body").ask(RECORD, deadline=deadline())
    (request,) = vendor.token_requests
    assert parse_qs(request.content.decode())["client_secret"] == ["s:cret"]
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("expires_in", "later", "tokens"),
    [(3600, 3500, 1), (3600, 3545, 2), ("3600", 3545, 2), (20, 17, 1), (20, 18.5, 2), (None, 1e9, 1)],
)
async def test_a_token_is_replaced_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, expires_in: Any, later: float, tokens: int
) -> None:
    vendor = Vendor(expires_in=expires_in)
    account = vendor.account()
    await account.ask(RECORD, deadline=deadline())
    monkeypatch.setattr(accounts_module, "monotonic", lambda: monotonic() + later)
    await account.ask(RECORD, deadline=deadline(later + 60))
    assert len(vendor.token_requests) == tokens


async def test_a_token_that_was_taken_back_is_replaced_once_for_all_that_use_it() -> None:
    vendor = Vendor(takes=lambda token: token != "t1")
    account = vendor.account()
    answers = await asyncio.gather(*(account.ask(RECORD, deadline=deadline()) for _ in range(8)))
    assert [answer.document for answer in answers] == [{"id": 1}] * 8
    assert len(vendor.token_requests) == 2


async def test_a_new_token_that_is_refused_too_is_an_error_and_no_circle() -> None:
    vendor = Vendor(takes=lambda token: False)
    with pytest.raises(Refused, match="answered 401: are its credentials"):
        await vendor.account().ask(RECORD, deadline=deadline())
    assert vendor.asked_with == ["t1", "t2"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), r"answered 401 \(invalid_client\) and gave no token"),
        (httpx.Response(400, json={"error": "<b>s:cret</b>"}), "answered 400 and gave no token"),
        (httpx.Response(200, json={"access_token": ""}), "answered 200 and gave no token"),
        (httpx.Response(200, text="<html>"), "answered 200 and gave no token"),
        (httpx.Response(200, json=["a"]), "answered 200 and gave no token"),
    ],
)
async def test_a_token_that_is_not_given_says_where_to_look_and_shows_no_secret(
    answer: httpx.Response, told: str
) -> None:
    vendor = Vendor(token_answer=lambda: answer)
    with pytest.raises(NotHad, match=told) as refused:
        await vendor.account().ask(RECORD, deadline=deadline())
    assert "cret" not in str(refused.value).replace("id and secret", "")
    assert vendor.asked_with == []


async def test_a_busy_token_address_is_asked_again_when_it_says() -> None:
    answers = [
        httpx.Response(429, headers={"Retry-After": "9"}),
        httpx.Response(200, json={"access_token": "late"}),
    ]
    vendor = Vendor(token_answer=lambda: answers.pop(0))
    await vendor.account().ask(RECORD, deadline=deadline())
    assert (vendor.asked_with, vendor.slept) == (["late"], [9])


async def test_who_is_asked_to_wait_longer_than_there_is_time_gives_up_at_once() -> None:
    answers = [httpx.Response(503, headers={"Retry-After": "1800"})]
    vendor = Vendor(token_answer=lambda: answers.pop(0))
    account = vendor.account()
    for told in ("answered 503", "asks to be left alone for 1800 s"):
        with pytest.raises(GivenUp, match=told):
            await account.ask(RECORD, deadline=deadline())
    assert (vendor.slept, len(vendor.token_requests)) == ([], 1)


@pytest.mark.parametrize(
    ("auth", "credentials", "sent"),
    [
        ("basic", "ann:pa:ss", {"Authorization": "Basic YW5uOnBhOnNz"}),
        ("bearer", "a:b", {"Authorization": "Bearer a:b"}),
        (
            {"kind": "headers", "headers": {"Authorization": "Bearer {0}", "X-Account-Token": "{1}"}},
            "key:tok:en",
            {"Authorization": "Bearer key", "X-Account-Token": "tok:en"},
        ),
        ({"kind": "headers", "headers": {"X-Api-Key": "{0}"}}, "k:ey", {"X-Api-Key": "k:ey"}),
    ],
)
def test_credentials_are_sent_as_the_file_says(auth: Any, credentials: str, sent: Mapping[str, str]) -> None:
    declared: Any = Api.model_validate({"auth": auth}).auth
    assert declared.refuses(credentials) is None
    assert declared.headers(credentials) == sent


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ("digest", "Input tag 'digest' found using 'kind' does not match any of the expected tags"),
        (OAUTH | {"token_url": "http://id.example/token"}, "has to be https: credentials are sent along"),
        (
            {"kind": "headers", "headers": {"X-Key": "{2}"}},
            "X-Key is filled with {0}, and with {1} where there are two",
        ),
    ],
)
def test_a_way_to_sign_in_that_there_is_none_of_is_told(auth: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Api.model_validate({"auth": auth})
    assert told in str(refused.value)
