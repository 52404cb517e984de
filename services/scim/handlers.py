"""Answers requests to /scim/v2: who asks, how much they send, then the protocol; each fault is a SCIM error."""

from __future__ import annotations

from time import monotonic
from typing import Final

import orjson
import structlog
from scim2_models import PayloadTooLargeException, SCIMException, UnauthorizedException
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.scim.metrics import REQUEST_SECONDS, REQUESTS_OPEN
from services.scim.protocol import Protocol
from services.scim.schema import PROVIDER
from services.scim.settings import ScimSettings, read_tokens
from services.scim.storage import RETRY_AFTER_SECONDS, Storage, Unavailable
from shared.service.bodies import BodyTooLarge, SenderSilent, whole_body

ROOT: Final = "/scim/v2"

log = structlog.get_logger(__name__)


class Broken(SCIMException):
    """The sender stopped in the midst of a request."""

    status = 408


class Door:
    """The protocol as an ASGI application, for what is at `ROOT` and below."""

    def __init__(self, settings: ScimSettings, storage: Storage) -> None:
        self._settings = settings
        self._tokens = read_tokens(settings.tokens)
        self._service = Protocol(PROVIDER)
        self._handler = AsyncScimHandler(self._service, storage)
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        begun = monotonic()
        asked = self._asked(request)
        operation = self._operation(asked)
        try:
            told = await self._answer(request, asked, operation)
        except Exception as exc:
            told = self._refused(exc, operation)
        status = int(told.status)
        REQUEST_SECONDS.labels(operation.value if operation else "none", str(status)).observe(monotonic() - begun)
        body = b"" if told.body is None else orjson.dumps(told.body)
        await Response(body, status, told.headers)(scope, receive, send)

    def _asked(self, request: Request) -> ScimRequest:
        root = str(self._settings.url).rstrip("/") if self._settings.url else str(request.base_url.replace(path=""))
        path = request.scope["path"].removeprefix(ROOT)  # not of the URL: that would lose a newline in an id
        return ScimRequest(
            method=request.method,
            base_url=root + ROOT,
            path=path,
            query=dict(request.query_params),
            headers=request.headers.items(),
        )

    def _operation(self, asked: ScimRequest) -> Operation | None:
        try:
            return self._service.match(asked).operation
        except SCIMException:
            return None

    async def _answer(self, request: Request, asked: ScimRequest, operation: Operation | None) -> ScimResponse:
        # RFC 7643, section 5: what the provider can do may be asked by anybody.
        if operation is not Operation.service_provider_config:
            self._authenticate(asked)
        if self._open >= self._settings.max_requests:
            raise Unavailable(detail="too many requests are open; try again later")
        self._open += 1
        REQUESTS_OPEN.set(self._open)
        try:
            asked.body = await whole_body(request, self._settings.max_body_bytes, self._settings.read_timeout_seconds)
            return await self._handler.handle(asked)
        finally:
            self._open -= 1
            REQUESTS_OPEN.set(self._open)

    def _authenticate(self, asked: ScimRequest) -> None:
        scheme, _, token = (asked.header("Authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthorizedException(detail="send Authorization: Bearer with a token of SCIM_TOKENS")
        if self._tokens.sender_of(token.strip()) is None:
            raise UnauthorizedException(detail="the token is not known here; was it replaced?")

    def _refused(self, exc: Exception, operation: Operation | None) -> ScimResponse:
        if isinstance(exc, BodyTooLarge):
            exc = PayloadTooLargeException(detail=f"{exc}; provision fewer members or values at a time")
        if isinstance(exc, SenderSilent):
            exc = Broken(detail=str(exc))
        told = self._service.error_response(exc)
        if isinstance(exc, Unavailable):
            told.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if isinstance(exc, Broken):
            told.headers["Connection"] = "close"
        what = {"operation": operation.value if operation else None, "status": int(told.status)}
        if isinstance(exc, SCIMException):
            # Never the detail: it may hold what was sent.
            log.info("request refused", **what, scim_type=exc.scim_type or None)
        else:
            log.error("a request failed", exc_info=exc, **what)
        return told
