"""Lets sources' webhooks in: genuine by the raw body, whole, as sent; answered once Kafka has them.

Nothing is parsed before the signature is found right. What is then no JSON, or of no known kind, is taken all the same:
it is the sources service that reads deliveries, and keeps those that it can't read, with the reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from services.gateway.bodies import whole_body
from services.gateway.handlers import Intake
from services.gateway.metrics import DELIVERIES, QUIET_SINCE, REQUESTS_OPEN, SILENT_AFTER
from services.gateway.openapi import SOURCE_BODY, SOURCE_RESPONSES
from services.gateway.problems import (
    Busy,
    NotGenuine,
    OriginRefused,
    Problem,
    TooDeep,
    UnknownSource,
    UnsupportedContent,
    problem_response,
)
from services.gateway.source_secrets import SourceSecrets
from shared.sources.declaration import Challenge, Declaration, Handshake, Origins, Ping, Receipt, Webhook
from shared.sources.delivery import Delivery, TooDeeplyNested, to_record
from shared.sources.expressions import Unmappable
from shared.sources.mapping import key_of
from shared.sources.signatures import BadSignature

_UNKNOWN = "unknown"
SourceName = Annotated[str, Path(description="the source's name, as its file has it")]

log = structlog.get_logger(__name__)


class DeliveryReceipt(BaseModel):
    """What became of a delivery."""

    accepted: int = Field(description="deliveries that Kafka has acknowledged: 1, or 0 for a test of the connection")


@dataclass(frozen=True)
class Doors:
    """Which sources there are, which are let in, and what is shared with the feeds: room, and the way to Kafka."""

    intake: Intake
    sources: Mapping[str, Declaration]
    secrets: SourceSecrets

    def __post_init__(self) -> None:
        started = datetime.now(UTC).timestamp()
        for name in self.secrets.names():
            QUIET_SINCE.labels(name).set(started)
            if (hours := self.sources[name].silent_after_hours) is not None:
                SILENT_AFTER.labels(name).set(hours * 3600)


class _OfASource(APIRoute):
    """A route whose endpoint is given the request and the source's name, and answers by itself.

    To find that out for each request, and that nothing is to be validated, took FastAPI a tenth of what the gateway
    does for a webhook.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(request, request.path_params["source"])
            return answer

        return handle


def source_router(doors: Doors) -> APIRouter:
    """Return the routes of sources' webhooks."""
    router = APIRouter(route_class=_OfASource)

    @router.post(
        "/v1/sources/{source}",
        summary="Deliver a webhook of a source",
        description="200 says that Kafka has the delivery safe. After any other answer, or none, send it again: what "
        "is sent twice counts once. How a delivery is signed is the source's own: see docs/integrators/.",
        status_code=200,
        response_model=DeliveryReceipt,
        responses=SOURCE_RESPONSES,
        openapi_extra=SOURCE_BODY,
        operation_id="deliver",
    )
    async def deliver(request: Request, source: SourceName) -> Response:
        return await _answered(doors, source, _taken(doors, request, source))

    @router.options(
        "/v1/sources/{source}",
        summary="Ask whether an origin may send (CloudEvents' abuse protection)",
        status_code=200,
        responses={code: SOURCE_RESPONSES[code] for code in (403, 404)},
        operation_id="askForPermission",
    )
    async def ask(request: Request, source: SourceName) -> Response:
        return await _answered(doors, source, _permitted(doors, request, source))

    return router


async def _answered(doors: Doors, name: str, work: Awaitable[tuple[str, Response]]) -> Response:
    label = name if name in doors.sources else _UNKNOWN
    try:
        outcome, answer = await work
    except Problem as problem:
        outcome = _outcome(problem)
        answer = problem_response(problem)
        log.info(
            "delivery refused",
            source=label,
            status=problem.status,
            problem=problem.name,
            detail=problem.detail,
            instance=problem.instance,
        )
    DELIVERIES.labels(label, outcome).inc()
    return answer


async def _taken(doors: Doors, request: Request, name: str) -> tuple[str, Response]:
    declaration = _declared(doors, name)
    _check_encoding(request)
    intake = doors.intake
    if intake.open_requests >= intake.settings.max_requests:
        raise Busy("too many requests are open; try again later")
    intake.open_requests += 1
    REQUESTS_OPEN.set(intake.open_requests)
    try:
        body = await whole_body(request, intake.settings, "let the source send fewer changes at a time")
        return await _delivered(doors, declaration, request, body)
    finally:
        intake.open_requests -= 1
        REQUESTS_OPEN.set(intake.open_requests)


async def _delivered(doors: Doors, declaration: Declaration, request: Request, body: bytes) -> tuple[str, Response]:
    webhook = _webhook(declaration)
    if isinstance(webhook.handshake, Ping) and body.strip().decode("utf-8", "replace") in webhook.handshake.bodies:
        return "handshake", JSONResponse({"accepted": 0})
    secrets = doors.secrets.of(declaration.name)
    if not secrets:
        raise UnknownSource(f"{declaration.name} is not let in: it has no secret in GATEWAY_SOURCE_SECRETS")
    now = datetime.now(UTC)
    headers = _headers_of(request)
    try:
        webhook.signature.check(secrets, headers, body, now)
    except BadSignature as exc:
        raise NotGenuine(str(exc)) from exc
    delivery = Delivery(declaration.name, webhook.signature.kept(body), headers, now)
    if (answer := _challenged(webhook.handshake, declaration, delivery)) is not None:
        return "handshake", PlainTextResponse(answer)
    record = to_record(declaration, delivery, key_of(declaration, delivery))
    await (await doors.intake.sink.send([record]))
    QUIET_SINCE.labels(declaration.name).set(now.timestamp())
    return "received", _receipt(webhook.receipt, now)


def _challenged(handshake: Handshake | None, declaration: Declaration, delivery: Delivery) -> str | None:
    """Return what a challenge wants back; None where the delivery is none. A payload that is too deep ends here."""
    try:
        seen = {"body": delivery.payload, "headers": delivery.headers}
        if isinstance(handshake, Challenge) and handshake.when.holds(seen, declaration.functions, "when"):
            return str(handshake.answer.evaluate(seen, declaration.functions, "answer") or "")
    except TooDeeplyNested as exc:
        raise TooDeep(str(exc)) from exc
    except Unmappable:
        pass  # no JSON, so no challenge: the sources service will say why it can't read it
    return None


def _receipt(receipt: Receipt | None, now: datetime) -> Response:
    if receipt is None:
        return JSONResponse({"accepted": 1})
    body = receipt.body.replace("{now}", now.isoformat(timespec="milliseconds"))
    return Response(body, media_type=receipt.content_type)


def _headers_of(request: Request) -> dict[str, str]:
    """Return the headers, names in lower case; what is there several times is joined (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():  # one pass: to look each up takes seven times as long for twenty
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def _permitted(doors: Doors, request: Request, name: str) -> tuple[str, Response]:
    """Answer as CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" has it, section 4.2."""
    handshake = _webhook(_declared(doors, name)).handshake
    origin = request.headers.get("webhook-request-origin", "")
    if not isinstance(handshake, Origins) or origin not in handshake.origins:
        raise OriginRefused(f"the origin {origin[:100]!r} is not among those that {name[:100]} may send from")
    headers = {"Allow": "POST, OPTIONS", "WebHook-Allowed-Origin": origin}
    if "webhook-request-rate" in request.headers:
        headers["WebHook-Allowed-Rate"] = str(handshake.per_minute)
    return "handshake", Response(status_code=HTTPStatus.OK, headers=headers)


def _declared(doors: Doors, name: str) -> Declaration:
    if name not in doors.sources:
        raise UnknownSource(f"there is no source {name[:100]!r}; each has a file in SOURCES_DIR")
    return doors.sources[name]


def _webhook(declaration: Declaration) -> Webhook:
    if declaration.webhook is None:
        raise UnknownSource(f"{declaration.name} has no webhook: its file says by which other way it comes in")
    return declaration.webhook


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedContent(f"the content encoding is {encoding[:100]!r}; let the source send the body as it is")


def _outcome(problem: Problem) -> str:
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "unavailable"
    return "refused" if isinstance(problem, NotGenuine | OriginRefused | UnknownSource) else "rejected"
