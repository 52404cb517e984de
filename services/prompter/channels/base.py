"""What every channel is, and what those that speak HTTP have in common: one request, its answer read in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

import httpx

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

    Args:
        timeout: seconds that a whole request may take.
        clock: wall clock, aware, for a Retry-After that is a date.
        url_setting: the setting that holds the address, for advice.
        key_setting: the setting that holds the key or token, the same.
    """

    def __init__(self, timeout: float, clock: Callable[[], datetime], *, url_setting: str, key_setting: str) -> None:
        self._timeout, self._clock = timeout, clock
        self._url_setting, self._key_setting = url_setting, key_setting
        self._trust = httpx.create_ssl_context()
        self._clients: list[httpx.AsyncClient] = []
        self._free: list[httpx.AsyncClient] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Verdict, bytes]:
        """Return what became of one request, and the beginning of the answer's body."""
        client = self._free.pop() if self._free else self._one_more()
        try:
            return await self._post(client, url, body, headers)
        finally:
            self._free.append(client)

    async def _post(
        self, client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Verdict, bytes]:
        answer: httpx.Response | None = None
        said = b""
        try:
            # httpx's timeouts are for single reads: a receiver that dribbles would hold us as long as it likes.
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", url, content=body, headers=dict(headers)) as answer,
            ):
                said = await _beginning(answer)
        except (httpx.TransportError, TimeoutError) as exc:
            if answer is None:
                return judge_error(exc, self._timeout), b""
        told = answer.headers  # whatever became of its body, the status is an answer
        verdict = judge_answer(
            answer.status_code,
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
        for client in self._clients:
            await client.aclose()

    def _one_more(self) -> httpx.AsyncClient:
        """Return a client for one connection.

        httpx's pool looks at all its connections for each request: with 32 it takes three times as much CPU as with 8.
        """
        client = httpx.AsyncClient(
            verify=self._trust,
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_SECONDS), pool=None),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            follow_redirects=False,
            headers={"user-agent": "sponsorship-tracker-prompter", "accept-encoding": "identity"},
        )
        self._clients.append(client)
        return client


async def _beginning(answer: httpx.Response) -> bytes:
    """Return the beginning of the body. Read to its end, if that is near, the connection can be kept."""
    read = b""
    async for chunk in answer.aiter_raw(BODY_LIMIT_BYTES):
        read += chunk
        if len(read) >= BODY_LIMIT_BYTES:
            break
    return read[:BODY_LIMIT_BYTES]
