"""Plays the receiver of messages: takes each request, says 200, and tells what came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from deploy.spawn import LOOPBACK


async def receive(take: Callable[[bytes, bytes], None]) -> asyncio.Server:
    """Return a server on a free port; `take` is given of each request its head, in lower case, and its body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                take(head, body)  # before the answer: who has that may end
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, LOOPBACK, 0)
