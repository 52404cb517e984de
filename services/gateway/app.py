"""Wires the gateway: settings, tokens, the way to Kafka, the HTTP application."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from services.gateway.handlers import Intake, feed_router
from services.gateway.openapi import SCHEMAS
from services.gateway.problems import FieldError, details_response
from services.gateway.settings import GatewaySettings
from services.gateway.sink import FeedSink, Sink, kafka_sink
from services.gateway.source_secrets import SourceSecrets
from services.gateway.sources import Doors, source_router
from shared.service.health import Health, operations_routes
from shared.service.tokens import Tokens
from shared.sources.files import read_sources
from shared.streaming.person_keys import Keyring
from shared.streaming.sink import KafkaSink

log = structlog.get_logger(__name__)


def build(settings: GatewaySettings) -> GatewayService:
    """Return the service."""
    sink = kafka_sink(
        settings.kafka_bootstrap_servers,
        Keyring(settings, settings.kafka_bootstrap_servers),
        ack_seconds=settings.ack_timeout_seconds,
        max_records=settings.max_in_flight_records,
        max_bytes=settings.max_in_flight_bytes,
    )
    health = Health()
    health.require("kafka", sink.objection)
    return GatewayService(sink, http_app(settings, FeedSink(sink), health))


class GatewayService:
    """The gateway as a process runs it. Its HTTP server answers before Kafka is found, with 503."""

    def __init__(self, sink: KafkaSink, http: ASGIApp) -> None:
        self._sink = sink
        self.http = http

    async def start(self) -> None:
        """Begin to connect to Kafka."""
        await self._sink.start()

    async def run(self) -> None:
        """Return only by raising."""
        await self._sink.run()

    async def stop(self) -> None:
        """Flush and close; the HTTP server has by then answered what was open."""
        await self._sink.stop()


def http_app(settings: GatewaySettings, sink: Sink, health: Health) -> FastAPI:
    """Return the HTTP application over `sink`, wherever that writes to."""
    app = _Api(
        title="Sponsorship tracker: gateway",
        version="1",
        description="Takes CloudEvents 1.0 from HRIS, recognition and review tools. Errors are RFC 9457 problems.",
        # The pages that FastAPI makes of the document load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.exception_handler(HTTPException)(_http_problem)
    app.exception_handler(RequestValidationError)(_validation_problem)
    app.exception_handler(Exception)(_fault)
    tokens = Tokens.parse(settings.tokens.get_secret_value())
    intake = Intake(settings, tokens, sink)
    app.include_router(feed_router(intake))
    sources = read_sources(settings.sources_dir)
    secrets = SourceSecrets.parse(settings.source_secrets.get_secret_value(), sources)
    app.include_router(source_router(Doors(intake, sources, secrets)))
    app.router.routes.extend(operations_routes(health))
    return app


class _Api(FastAPI):
    """FastAPI, with the schema of problems in its document."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= SCHEMAS
        return document


async def _http_problem(request: Request, error: HTTPException) -> Response:
    said = {
        404: f"there is nothing at {request.url.path[:200]}; events go to /v1/feeds/{{feed}}, webhooks to "
        "/v1/sources/{{source}}",
        405: f"{request.method[:20]} is not understood at {request.url.path[:200]}",
    }
    return details_response(
        status=error.status_code,
        title=HTTPStatus(error.status_code).phrase,
        detail=said.get(error.status_code, str(error.detail)),
        headers=error.headers,
    )


async def _validation_problem(_: Request, error: RequestValidationError) -> Response:
    errors = [
        FieldError("/" + "/".join(str(part) for part in problem["loc"]), str(problem["msg"]))
        for problem in error.errors()
    ]
    return details_response(status=422, title="Unprocessable Content", detail="the request is malformed", errors=errors)


async def _fault(_: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return details_response(
        status=500,
        title="Internal Server Error",
        detail="the gateway failed at this request; send it again, and tell whoever runs the gateway if it stays so",
    )
