"""Reads a request's body; what goes wrong becomes the problem that a sender is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.requests import Request

from services.gateway.problems import SenderSilent, TooLarge
from services.gateway.settings import GatewaySettings
from shared.service import bodies


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
    try:
        return await bodies.whole_body(request, settings.max_body_bytes, settings.read_timeout_seconds)
    except bodies.BodyTooLarge as exc:
        raise TooLarge(f"{exc}; {advice}") from exc
    except bodies.SenderSilent as exc:
        raise SenderSilent(str(exc)) from exc


async def chunks(request: Request, silence_seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield a body as it comes.

    Raises:
        SenderSilent: nothing came for `silence_seconds`, or the connection ended.
    """
    try:
        async for chunk in bodies.chunks(request, silence_seconds):
            yield chunk
    except bodies.SenderSilent as exc:
        raise SenderSilent(str(exc)) from exc
