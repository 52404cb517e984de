"""Sends HTTP requests that were made beforehand, over connections that stay open: a client that costs little.

Not httpx: it takes as much CPU for a request as the server, and here shares a core with the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from deploy.spawn import LOOPBACK


class Unanswered(Exception):
    """A connection ended, or could not be had, before its answer was whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a request."""
    head = {"Host": LOOPBACK, **headers, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A connection to a server on this machine, for one request at a time; opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send `request` and return the answer.

        Raises:
            Unanswered: it is not known whether the server has dealt with it; the next request opens anew.
        """
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(LOOPBACK, self._port)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return Answer(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
        except (OSError, asyncio.IncompleteReadError) as exc:
            self.close()
            raise Unanswered(f"the connection ended without an answer: {exc!r}") from exc

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
