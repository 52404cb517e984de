"""Wires the SCIM provider: the protocol over a view of what is provisioned, and the way to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.scim.claims import Claims
from services.scim.following import ResourceLog
from services.scim.handlers import ROOT, Door
from services.scim.metrics import ACK_SECONDS, BYTES_IN_FLIGHT, RECORDS_IN_FLIGHT
from services.scim.openapi import document
from services.scim.settings import ScimSettings, read_declaration
from services.scim.storage import Log, Sink, Storage
from services.scim.view import View
from shared.service.health import Health, operations_routes
from shared.streaming.person_keys import Keyring
from shared.streaming.sink import KafkaSink, SinkMetrics
from shared.streaming.topics import SCIM_RESOURCES, SOURCES_RECEIVED

NAME: Final = "scim"
_MAX_IN_FLIGHT_RECORDS: Final = 20_000
_MAX_IN_FLIGHT_BYTES: Final = 16 * 1024 * 1024


def build(settings: ScimSettings) -> Scim:
    """Return the service; connects to nothing."""
    view, claims = View(), Claims()
    resources = ResourceLog(settings.kafka_bootstrap_servers, view, claims)
    sink = KafkaSink(
        settings.kafka_bootstrap_servers,
        name=NAME,
        topics=[SOURCES_RECEIVED, SCIM_RESOURCES],
        metrics=SinkMetrics(RECORDS_IN_FLIGHT, BYTES_IN_FLIGHT, ACK_SECONDS),
        keys=Keyring(settings, settings.kafka_bootstrap_servers),
        ack_seconds=settings.ack_timeout_seconds,
        max_records=_MAX_IN_FLIGHT_RECORDS,
        max_bytes=_MAX_IN_FLIGHT_BYTES,
    )
    health = Health()
    health.require("kafka", sink.objection)
    health.require("log", resources.objection)
    return Scim(sink, resources, http_app(settings, view, claims, resources, sink, health))


class Scim:
    """The provider as a process runs it. It answers before the log has been read, with 503."""

    def __init__(self, sink: KafkaSink, resources: ResourceLog, http: ASGIApp) -> None:
        self._sink, self._resources = sink, resources
        self.http = http

    async def start(self) -> None:
        """Begin to connect."""
        await self._sink.start()

    async def run(self) -> None:
        """Return only by raising."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sink.run())
            tasks.create_task(self._resources.run())

    async def stop(self) -> None:
        """Flush and close; the HTTP server has by then answered what was open."""
        await self._sink.stop()
        await self._resources.stop()


def http_app(
    settings: ScimSettings,
    view: View,
    claims: Claims,
    resources: Log,
    sink: Sink,
    health: Health,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ASGIApp:
    """Return the HTTP application over `view` and `claims`, as `resources` has them, and `sink`, wherever these are."""
    storage = Storage(
        view,
        claims,
        resources,
        sink,
        read_declaration(settings.sources_dir),
        seconds=settings.ack_timeout_seconds,
        largest=settings.max_body_bytes,
        now=now,
    )

    async def openapi(_: Request) -> Response:
        return JSONResponse(document())

    door = Door(settings, storage)
    others = Starlette(routes=[Route("/openapi.json", openapi), *operations_routes(health)])

    # Starlette's Mount knows no path with a newline in it, and would answer without a SCIM error.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{ROOT}/")
        await (door if below else others)(scope, receive, send)

    return app
