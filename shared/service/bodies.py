"""Reads a request's body, no larger than allowed and no longer than its sender goes on sending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request


class BodyTooLarge(Exception):
    """A body has more bytes than it may; the message says how many are allowed."""


class SenderSilent(Exception):
    """The sender stopped in the midst of a body; the message says how."""


async def whole_body(request: Request, longest: int, silence_seconds: float) -> bytes:
    """Return the body of a request.

    Args:
        request: the request; its body has not been read.
        longest: how many bytes it may have.
        silence_seconds: how long its sender may send nothing.

    Raises:
        BodyTooLarge: it is larger than allowed; no more of it is read.
        SenderSilent: it did not come to its end.
    """
    too_large = BodyTooLarge(f"the body has more than {longest} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > longest:
        raise too_large
    body = bytearray()
    loop = asyncio.get_running_loop()
    # One limit of time that moves on, and not one for each chunk as in `chunks`: a webhook has one chunk and two empty
    # ends, and their three limits were a fifteenth of what the gateway does for it.
    with _told(silence_seconds):
        async with asyncio.timeout(silence_seconds) as patience:
            async for chunk in request.stream():
                body += chunk
                if len(body) > longest:
                    raise too_large
                patience.reschedule(loop.time() + silence_seconds)
    return bytes(body)


async def chunks(request: Request, silence_seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield a body as it comes.

    Raises:
        SenderSilent: nothing came for `silence_seconds`, or the connection ended.
    """
    stream = request.stream()
    while True:
        try:
            with _told(silence_seconds):
                async with asyncio.timeout(silence_seconds):
                    chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk


@contextmanager
def _told(silence_seconds: float) -> Generator[None, None, None]:
    try:
        yield
    except TimeoutError:
        raise SenderSilent(f"nothing came for {silence_seconds:g} s") from None
    except ClientDisconnect:
        raise SenderSilent("the connection was closed in the midst of the body") from None
