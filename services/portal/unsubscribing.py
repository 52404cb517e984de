"""Stops all messages by one click, for somebody who is not signed in: the address in a mail's head (RFC 8058)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.portal import choosing
from services.portal.guards import Limits
from services.portal.handlers import Desk, html
from services.portal.sessions import Session
from shared.languages import marked
from shared.portal_links import read_stop_link

_ONE_CLICK: Final = "one click"
"""In the audit, in place of a session's name."""
_STOPPED: Final = (
    marked("You have stopped all messages"),
    marked("Nothing is sent to you. What is due is on the page of your protégés all the same."),
)


def unsubscribe_router(desk: Desk, limits: Limits, keys: Sequence[str]) -> APIRouter:
    """Return the routes.

    The address itself says who it is and is all that a mail program has: no cookie, no page of ours before, no origin.
    So there is nothing to forge but the address, which is signed; and reading it (a link checker does) changes nothing.
    """
    router = APIRouter()

    @router.get("/unsubscribe/{token}")
    async def ask(request: Request, token: str) -> Response:
        limits.opening(request.client.host if request.client else "")
        read_stop_link(keys, token)
        return html(desk.pages.stop(desk.reader_of(request, None, None), request.url.path))

    @router.post("/unsubscribe/{token}")
    async def stop(request: Request, token: str) -> Response:
        limits.opening(request.client.host if request.client else "")
        person_id = read_stop_link(keys, token)
        async with desk.turn(person_id):
            before = await asyncio.to_thread(desk.store.asking, person_id)
            choice = choosing.stop(person_id, before, desk.now())
            if choice is not None:
                await desk.chose(Session(person_id, _ONE_CLICK), "stopped", choice)
        return html(desk.pages.message(desk.reader_of(request, None, None), *_STOPPED))

    return router
