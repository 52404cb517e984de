"""Asks vendors' APIs: each with its own credentials, a few requests at a time, as patiently as the API asks.

OAuth's tokens are had here too: one request for many who wait, a new one before the old expires or once it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

import httpx
import orjson

from services.sources.metrics import FETCH_ATTEMPTS
from shared.sources.apis import Api, Basic, ClientCredentials
from shared.sources.declaration import Declaration
from shared.transport.retry_after import read_http_date, seconds_to_wait

LARGEST_TOKEN: Final = 64 * 1024
_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 15.0)
_LONGEST_WAIT: Final = 3600.0
"""Seconds. What an API may ask of all who use an account; who can't wait so long gives up and comes back later."""
_MARGIN: Final = 60.0
"""Seconds before its end that a token is replaced, for a request may take a while; of a short life a tenth."""
_TRY_AGAIN: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_ADVICE: Final[Mapping[int, str]] = {
    401: "are its credentials in SOURCES_CREDENTIALS right?",
    403: "may its credentials in SOURCES_CREDENTIALS read this?",
    404: "it is not there, or not to be seen by these credentials",
}


class NotHad(Exception):
    """The API did not give what it was asked for; the message says why, without naming what that was."""


class Refused(NotHad):
    """The API will not give it, however often it is asked."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the API answered {status}: {_ADVICE.get(status, 'is its url right?')}")
        self.status = status


class GivenUp(NotHad):
    """The API was busy or away for as long as could be waited."""


class _Busy(Exception):
    """The API is to be asked again, after so many seconds if it said so."""

    def __init__(self, what: str, wait: float | None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Question:
    """A request.

    Attributes:
        largest: bytes that the answer may have.
    """

    url: str = field(repr=False)
    method: str = "GET"
    json_body: Any = field(default=None, repr=False)
    largest: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API gave.

    Attributes:
        document: its body, as JSON.
        next_link: the target of its Link header's ``rel=next`` (RFC 8288).
        at: when it was given, by the vendor's clock, where it says so (the Date header).
    """

    document: Any = field(repr=False)
    next_link: str | None = field(default=None, repr=False)
    at: datetime | None = None


class Accounts:
    """The accounts of the sources that have credentials. A part of the service: starts and stops with it.

    Args:
        sources: the sources, by name.
        credentials: of `SOURCES_CREDENTIALS`, by source; each has `api` in its file.
        timeout_seconds: how long one answer may take.
        transport: what carries requests; httpx's own when None.
        sleep: lets that many seconds pass.
    """

    def __init__(
        self,
        sources: Mapping[str, Declaration],
        credentials: Mapping[str, str],
        *,
        timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = httpx.AsyncClient(timeout=timeout_seconds, transport=transport, follow_redirects=False)
        self._accounts = {
            name: Account(name, api, credentials[name], self._client, sleep)
            for name, source in sources.items()
            if name in credentials and (api := source.api) is not None
        }

    def get(self, source: str) -> Account | None:
        """Return the account of a source; None where it has no credentials."""
        return self._accounts.get(source)

    async def start(self) -> None:
        """Do nothing yet: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Account:
    """A source's account at its vendor's API.

    Args:
        source: its name.
        api: how the API is asked.
        credentials: of `SOURCES_CREDENTIALS`.
        client: carries requests.
        sleep: lets that many seconds pass.
    """

    def __init__(
        self,
        source: str,
        api: Api,
        credentials: str,
        client: httpx.AsyncClient,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._api = api
        self._client = client
        self._sleep = sleep
        self._places = asyncio.Semaphore(api.concurrency)
        self._not_before = 0.0
        self._tokens: _Tokens | None = None
        self._fixed: Mapping[str, str] = {}
        if isinstance(api.auth, ClientCredentials):
            self._tokens = _Tokens(api.auth, credentials, client)
        else:
            self._fixed = api.auth.headers(credentials)

    async def ask(self, question: Question, *, deadline: float) -> Answer:
        """Return what the API answers to `question`; it gets one attempt, whatever the deadline is.

        Args:
            question: what is asked.
            deadline: until when a busy API is asked again, by `monotonic`.

        Raises:
            Refused: it will not answer this, with this status.
            GivenUp: it was busy or away.
            NotHad: its answer can't be used.
        """
        async with self._places:
            attempt = 0
            while True:
                await self._wait(deadline, attempt)
                attempt += 1
                try:
                    return await self._authorized(question)
                except _Busy as busy:
                    wait = busy.wait if busy.wait is not None else _WAITS[min(attempt, len(_WAITS)) - 1]
                    # The limit is the account's: whoever is next waits as well.
                    self._not_before = max(self._not_before, monotonic() + wait)
                    if self._not_before > deadline:
                        raise GivenUp(f"it could not be had in {attempt} attempts: {busy}") from busy

    async def _wait(self, deadline: float, attempts: int) -> None:
        wait = self._not_before - monotonic()
        if wait > 0:
            if self._not_before > deadline:
                raise GivenUp(
                    f"it could not be had in {attempts} attempts: the API asks to be left alone for {wait:.0f} s"
                )
            await self._sleep(wait)

    async def _authorized(self, question: Question) -> Answer:
        if self._tokens is None:
            return await self._once(question, self._fixed)
        token = await self._tokens.current()
        try:
            return await self._once(question, {"Authorization": f"Bearer {token}"})
        except Refused as refused:
            if refused.status != HTTPStatus.UNAUTHORIZED:
                raise
        self._tokens.spent(token)  # taken back before its time; a second refusal is about more than the token
        return await self._once(question, {"Authorization": f"Bearer {await self._tokens.current()}"})

    async def _once(self, question: Question, authorization: Mapping[str, str]) -> Answer:
        headers = {"Accept": "application/json", **self._api.headers, **authorization}
        try:
            async with self._client.stream(
                question.method, question.url, json=question.json_body, headers=headers
            ) as answer:
                body = await _read(answer, question.largest)
        except httpx.RequestError as exc:
            FETCH_ATTEMPTS.labels(self._source, "unreachable").inc()
            raise _Busy(f"no answer ({type(exc).__name__})", None) from exc
        except httpx.InvalidURL as exc:
            raise NotHad(f"the address can't be asked: {exc}") from exc
        if _is_busy(answer.status_code):
            FETCH_ATTEMPTS.labels(self._source, "busy").inc()
            raise _Busy(f"the API answered {answer.status_code}", _asked_to_wait(answer))
        if answer.status_code != HTTPStatus.OK:
            FETCH_ATTEMPTS.labels(self._source, "refused").inc()
            raise Refused(answer.status_code)
        FETCH_ATTEMPTS.labels(self._source, "answered").inc()
        if body is None:
            raise NotHad(f"the answer has more than {question.largest} bytes: ask for fewer fields or smaller pages")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise NotHad(f"what the API answered is not JSON: {exc}") from exc
        return Answer(document, answer.links.get("next", {}).get("url"), _said_at(answer))


class _Tokens:
    """The token of an account, had by client credentials (RFC 6749, section 4.4).

    Written on httpx, for authlib's client brings one of its own that knows neither a token that was taken back nor one
    that is asked for the first time by several at once.
    """

    def __init__(self, auth: ClientCredentials, credentials: str, client: httpx.AsyncClient) -> None:
        self._auth = auth
        self._id, _, self._secret = credentials.partition(":")
        self._in_header = Basic(kind="basic").headers(credentials)
        self._client = client
        self._token: str | None = None
        self._good_until: float | None = None
        self._asking = asyncio.Lock()

    async def current(self) -> str:
        """Return a token that is good for a while yet; however many wait for a new one, it is asked for once."""
        async with self._asking:
            if self._token is None or (self._good_until is not None and monotonic() > self._good_until):
                self._token = None
                self._token = await self._new()
            return self._token

    def spent(self, token: str) -> None:
        """Note that the API takes this token no more."""
        if token == self._token:  # another may have replaced it meanwhile
            self._token = None

    async def _new(self) -> str:
        form = {"grant_type": "client_credentials"} | ({"scope": self._auth.scope} if self._auth.scope else {})
        in_body = self._auth.sent_in == "body"
        asked_at = monotonic()
        try:
            answer = await self._client.post(
                self._auth.token_url,
                data=form | ({"client_id": self._id, "client_secret": self._secret} if in_body else {}),
                headers={"Accept": "application/json", **({} if in_body else self._in_header)},
            )
        except httpx.RequestError as exc:
            raise _Busy(f"the token's address does not answer ({type(exc).__name__})", None) from exc
        if _is_busy(answer.status_code):
            raise _Busy(f"the token's address answered {answer.status_code}", _asked_to_wait(answer))
        said = _document(answer)
        token = said.get("access_token")
        if answer.status_code != HTTPStatus.OK or not isinstance(token, str) or not token:
            error = said.get("error")  # RFC 6749, section 5.2; a word such as invalid_client
            why = f" ({error})" if isinstance(error, str) and error.isidentifier() else ""
            raise NotHad(
                f"the token's address answered {answer.status_code}{why} and gave no token: are id and secret in "
                "SOURCES_CREDENTIALS right, and api.auth's token_url, scope and sent_in?"
            )
        life = said.get("expires_in")
        try:
            seconds = None if life is None else float(life)
        except (TypeError, ValueError):
            seconds = None
        self._good_until = None if seconds is None else asked_at + seconds - min(_MARGIN, seconds / 10)
        return token


def _is_busy(status: int) -> bool:
    return status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _asked_to_wait(answer: httpx.Response) -> float | None:
    return seconds_to_wait(answer.headers.get("retry-after"), datetime.now(UTC), at_most=_LONGEST_WAIT)


def _said_at(answer: httpx.Response) -> datetime | None:
    return read_http_date(answer.headers.get("date", ""))


def _document(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = orjson.loads(answer.content[:LARGEST_TOKEN])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


async def _read(answer: httpx.Response, largest: int) -> bytes | None:
    """Return the body, or None where it is larger than it may be; no more of it is read then."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > largest:
            return None
    return bytes(body)
