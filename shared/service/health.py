"""Tells whether a service lives and is ready, and serves its metrics: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], str | None]
"""Returns None when all is well, else what is missing, in words for an operator."""


class Health:
    """What a service needs to be ready. A process that answers at all is alive; it is ready when no check objects."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def require(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`."""
        self._checks[name] = check

    def objections(self) -> dict[str, str]:
        """Return what is missing, by the name of its check; empty when ready."""
        return {name: said for name, check in self._checks.items() if (said := check()) is not None}


def operations_routes(health: Health) -> list[Route]:
    """Return the routes that operators and their tools use."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        objections = health.objections()
        if objections:
            return JSONResponse({"status": "not ready", "waiting_for": objections}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def operations_app(health: Health) -> Starlette:
    """Return the HTTP application of a service that serves nothing else."""
    return Starlette(routes=operations_routes(health))
