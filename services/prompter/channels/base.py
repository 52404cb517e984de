"""What every channel is, and what those that speak HTTP have in common: one request, its answer read in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from services.prompter.letter import Letter
from services.prompter.what_is_retried import Verdict, judge_answer, judge_error
from shared.contracts.outputs import ChannelName

BODY_LIMIT_BYTES: Final = 4096
"""How much of an answer is read; a longer one costs us the connection, not our memory."""

_CONNECT_SECONDS: Final = 5
"""Shorter than the whole attempt's time: that nobody was there to be told is worth knowing for sure."""

_QUOTED_CHARACTERS: Final = 200


class Channel(Protocol):
    """One way to sponsors, by one endpoint."""

    @property
    def name(self) -> ChannelName:
        """Its name in the policy's file and in `deliveries`."""

    async def attempt(self, letter: Letter) -> Verdict:
        """Try once to send the letter, and return what that came to; raise nothing that a receiver can cause."""

    async def close(self) -> None:
        """Close the connections."""


class Http:
    """An HTTP client for one endpoint.

    By aiohttp: with 32 connections it takes a twentieth of the CPU time of httpx, whose pool looks at each connection
    for each request, and a sixth of that of one httpx client for each connection.

    Args:
        timeout: seconds that a whole request may take.
        clock: wall clock, aware, for a Retry-After that is a date.
        url_setting: the setting that holds the address, for advice.
        key_setting: the setting that holds the key or token, the same.
    """

    def __init__(self, timeout: float, clock: Callable[[], datetime], *, url_setting: str, key_setting: str) -> None:
        self._timeout, self._clock = timeout, clock
        self._url_setting, self._key_setting = url_setting, key_setting
        self._session: ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Verdict, bytes]:
        """Return what became of one request, and the beginning of the answer's body."""
        answer: ClientResponse | None = None
        said = b""
        try:
            # Around all of it: a receiver that dribbles would hold us as long as it likes.
            async with (
                asyncio.timeout(self._timeout),
                self._open().post(
                    url, data=body, headers=headers, allow_redirects=False, proxy=proxy_for(url)
                ) as answer,
            ):
                said = await _beginning(answer)
        # OSError and ValueError: what aiohttp lets through of sockets, and of headers and addresses that can't be sent.
        except (ClientError, TimeoutError, OSError, ValueError) as exc:
            if answer is None:
                return judge_error(exc, self._timeout), b""
        told = answer.headers  # whatever became of its body, the status is an answer
        verdict = judge_answer(
            answer.status,
            told.get("retry-after"),
            told.get("location"),
            " ".join(said.decode("utf-8", "replace").split())[:_QUOTED_CHARACTERS],
            self._clock(),
            url_setting=self._url_setting,
            key_setting=self._key_setting,
        )
        return verdict, said

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> ClientSession:
        """Return the session: it belongs to the loop that runs, so it is made when there is one."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0),  # who may attempt at the same time is the postman's to say
                timeout=ClientTimeout(total=None, connect=min(self._timeout, _CONNECT_SECONDS)),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                headers={"user-agent": "sponsorship-tracker-prompter", "accept-encoding": "identity"},
            )
        return self._session


@lru_cache(maxsize=16)
def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for an address (HTTPS_PROXY, NO_PROXY), None for none.

    aiohttp would look it up for each request, and with it the `.netrc`, whose passwords are no business of ours.
    """
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


async def _beginning(answer: ClientResponse) -> bytes:
    """Return the beginning of the body. Read to its end, if that is near, the connection can be kept."""
    read = b""
    while len(read) < BODY_LIMIT_BYTES and (chunk := await answer.content.read(BODY_LIMIT_BYTES - len(read))):
        read += chunk
    return read
