"""Fetches the records that thin notifications name: each once a run, a few at a time, as patiently as the API asks."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from services.sources.metrics import FETCH_ATTEMPTS, FETCHES
from shared.sources.declaration import Declaration, Fetch
from shared.transport.retry_after import seconds_to_wait

_LARGEST: Final = 1024 * 1024
"""Bytes of a record. One employee has some thousand."""
_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 15.0)
_TRY_AGAIN: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_ADVICE: Final[Mapping[int, str]] = {
    401: "are its credentials in SOURCES_CREDENTIALS right?",
    403: "may its credentials in SOURCES_CREDENTIALS read this?",
    404: "it is not there, or not to be seen by these credentials",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record that a delivery names."""

    source: str
    key: str


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Why a record was not had; in words for whoever reads the dead letter, without its key."""

    reason: str


class _Busy(Exception):
    """The API is to be asked again, after so many seconds if it said so."""

    def __init__(self, what: str, wait: float | None) -> None:
        super().__init__(what)
        self.wait = wait


class Fetcher:
    """Asks vendors' APIs. A part of the service: starts and stops with it.

    Args:
        sources: the sources, by name.
        credentials: user:password or a token, of those that have some.
        timeout_seconds: how long one answer may take.
        give_up_seconds: how long the records of one call of `fetch` are tried for; each gets one attempt.
        transport: what carries requests; httpx's own when None.
        sleep: lets that many seconds pass.
    """

    def __init__(
        self,
        sources: Mapping[str, Declaration],
        credentials: Mapping[str, str],
        *,
        timeout_seconds: float,
        give_up_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetches = {name: source.fetch for name, source in sources.items() if source.fetch is not None}
        self._credentials = credentials
        self._give_up_seconds = give_up_seconds
        self._sleep = sleep
        self._not_before: dict[str, float] = {}
        self._client = httpx.AsyncClient(timeout=timeout_seconds, transport=transport, follow_redirects=False)

    async def start(self) -> None:
        """Do nothing yet: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch(self, wanted: Collection[Wanted]) -> Mapping[Wanted, Any]:
        """Return each record, as JSON, or `Unfetched`. However many deliveries name a record, it is asked for once."""
        deadline = monotonic() + self._give_up_seconds
        places = {name: asyncio.Semaphore(fetch.concurrency) for name, fetch in self._fetches.items()}
        asked = list(dict.fromkeys(wanted))

        async def one(what: Wanted) -> Any:
            async with places[what.source]:
                return await self._patiently(what, deadline)

        found = dict(zip(asked, await asyncio.gather(*(one(what) for what in asked)), strict=True))
        for what in asked:
            FETCHES.labels(what.source, "failed" if isinstance(found[what], Unfetched) else "fetched").inc()
        for source, deliveries in Counter(what.source for what in wanted).items():
            FETCHES.labels(source, "shared").inc(deliveries - sum(what.source == source for what in asked))
        return found

    async def _patiently(self, what: Wanted, deadline: float) -> Any:
        attempt = 0
        while True:
            await self._sleep(max(0.0, self._not_before.get(what.source, 0.0) - monotonic()))
            try:
                return await self._once(what)
            except _Busy as busy:
                wait = busy.wait if busy.wait is not None else _WAITS[min(attempt, len(_WAITS) - 1)]
                attempt += 1
                if monotonic() + wait > deadline:
                    return Unfetched(
                        f"the record could not be fetched in {attempt} attempts: {busy}; replay the source later"
                    )
                # The limit is the account's: whoever of this source is next waits as well.
                self._not_before[what.source] = max(self._not_before.get(what.source, 0.0), monotonic() + wait)

    async def _once(self, what: Wanted) -> Any:
        fetch = self._fetches[what.source]
        if what.source not in self._credentials:
            return Unfetched(f"{what.source} has no credentials in SOURCES_CREDENTIALS to fetch the record with")
        try:
            async with self._client.stream(
                fetch.method,
                fetch.url.replace("{key}", quote(what.key, safe="")),
                json=fetch.json_body,
                headers={
                    "Accept": "application/json",
                    "Authorization": _authorization(fetch, self._credentials[what.source]),
                },
            ) as answer:
                status, retry_after = answer.status_code, answer.headers.get("retry-after")
                body = await _read(answer)
        except httpx.RequestError as exc:
            FETCH_ATTEMPTS.labels(what.source, "unreachable").inc()
            raise _Busy(f"no answer ({type(exc).__name__})", None) from exc
        if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            FETCH_ATTEMPTS.labels(what.source, "busy").inc()
            raise _Busy(f"the API answered {status}", seconds_to_wait(retry_after, datetime.now(UTC)))
        if status != HTTPStatus.OK:
            FETCH_ATTEMPTS.labels(what.source, "refused").inc()
            return Unfetched(f"the API answered {status} to the record: {_ADVICE.get(status, 'is fetch.url right?')}")
        FETCH_ATTEMPTS.labels(what.source, "answered").inc()
        if body is None:
            return Unfetched(f"the record has more than {_LARGEST} bytes: ask for fewer fields")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            return Unfetched(f"what the API answered is not JSON: {exc}")


async def _read(answer: httpx.Response) -> bytes | None:
    """Return the body, or None where it is larger than a record may be; no more of it is read then."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST:
            return None
    return bytes(body)


def _authorization(fetch: Fetch, credentials: str) -> str:
    if fetch.auth == "bearer":
        return f"Bearer {credentials}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"
