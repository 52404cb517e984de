"""Reads a request's body, no larger than allowed and no longer than its sender goes on sending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import ClientDisconnect, Request

from services.gateway.problems import SenderSilent, TooLarge
from services.gateway.settings import GatewaySettings


async def whole_body(request: Request, settings: GatewaySettings, advice: str) -> bytes:
    """Return the body of a request.

    Args:
        request: the request; its body has not been read.
        settings: how large it may be, and how long its sender may be silent.
        advice: what to do about a body that is too large.

    Raises:
        TooLarge: it is larger than allowed; no more of it is read.
        SenderSilent: it did not come to its end.
    """
    too_large = TooLarge(f"the body has more than {settings.max_body_bytes} bytes; {advice}")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    async for chunk in chunks(request, settings.read_timeout_seconds):
        body += chunk
        if len(body) > settings.max_body_bytes:
            raise too_large
    return bytes(body)


async def chunks(request: Request, silence_seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield a body as it comes.

    Raises:
        SenderSilent: nothing came for `silence_seconds`, or the connection ended.
    """
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise SenderSilent(f"nothing came for {silence_seconds:g} s") from None
        except ClientDisconnect:
            raise SenderSilent("the connection was closed in the midst of the body") from None
        yield chunk
