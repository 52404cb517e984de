"""Serves explanations: why a prompt or a gap exists, or why not, read from the log at each request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Annotated, Any, Final, TypeVar

import structlog
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.types import ASGIApp

from services.correlator.asking import Asking
from services.correlator.explanation import Disagreement, Explanation, NotKnown
from services.correlator.metrics import EXPLANATION_SECONDS
from services.correlator.policy import Policy
from shared.contracts.base import Contract
from shared.service.access import Sort
from shared.service.health import Health, operations_routes
from shared.streaming.person_keys import Keyring
from shared.streaming.reading import NotRead, unwatched

BUSY_AFTER_SECONDS: Final = 20.0
"""How long a request waits for its turn. Explanations are made one at a time: each reads a partition of the log, and
what the service itself has to handle shall not wait for many of them."""
RETRY_AFTER_SECONDS: Final = 10

SORTS: Final[Mapping[str, Sort]] = {"/v1/explanations": "explanations", "/openapi.json": "system"}
"""What sort of data is behind each path."""

_NO_STORE: Final = {"Cache-Control": "no-store"}
_PROBLEM: Final = "urn:sponsorship-tracker:problem:"

log = structlog.get_logger(__name__)

T = TypeVar("T")
Id = Annotated[str, Field(min_length=1, max_length=500)]


class Explanations(Contract):
    """What was asked for, a cycle an item."""

    items: tuple[Explanation, ...]


class Problem(Contract):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Busy(Exception):
    """Others are being answered."""


def make_api(bootstrap_servers: str, keys: Keyring, policy: Policy, health: Health) -> ASGIApp:
    """Return the HTTP application: explanations, and what operators need."""
    # No /docs: those pages load scripts from a CDN. The document itself is at /openapi.json.
    app = FastAPI(
        title="Sponsorship tracker: explanations",
        version="1",
        description="Why a prompt or a gap exists, or why not. Each answer is read from Kafka when it is asked for, "
        "which takes seconds where the log is long.",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": Problem}, "503": {"model": Problem}},
    )
    asking = Asking(bootstrap_servers, keys, policy, unwatched)
    turn = threading.Lock()

    def in_turn(ask: Callable[[], T]) -> T:
        begun = monotonic()
        outcome = "failed"
        if not turn.acquire(timeout=BUSY_AFTER_SECONDS):
            EXPLANATION_SECONDS.labels("busy").observe(monotonic() - begun)
            raise Busy
        try:
            answer = ask()
            outcome = "explained"
        except NotKnown:
            outcome = "not_known"
            raise
        finally:
            turn.release()
            EXPLANATION_SECONDS.labels(outcome).observe(monotonic() - begun)
        return answer

    # Plain functions: FastAPI runs them in threads, so that no reading holds up the event loop.

    @app.get("/v1/explanations", tags=["explanations"])
    def of_employee(
        response: Response,
        employee: Annotated[Id, Query(description="the id of the primary HRIS")],
        cycle: Annotated[Id | None, Query(description="all that are known where it is left out")] = None,
    ) -> Explanations:
        """Why the prompts and the gap of an employee are as they are, also where there are none."""
        response.headers.update(_NO_STORE)
        return Explanations(items=tuple(in_turn(lambda: asking.about_employee(employee, cycle))))

    @app.get("/v1/explanations/{prompt_or_gap}", tags=["explanations"])
    def of_thing(
        response: Response,
        prompt_or_gap: Annotated[Id, Path(description="the id of a prompt or a gap")],
        version: Annotated[
            int | None, Query(ge=1, description="as it was when this version was said; as of now where it is left out")
        ] = None,
    ) -> Explanation:
        """Why a prompt or a gap is as it is, or was when one of its versions was said."""
        response.headers.update(_NO_STORE)
        return in_turn(lambda: asking.about_thing(prompt_or_gap, version)[1])

    app.router.routes.extend(operations_routes(health))
    _problems(app)
    return app


def _problems(app: FastAPI) -> None:
    @app.exception_handler(NotKnown)
    async def _(_: Request, exc: NotKnown) -> Response:
        return _problem(404, "not-known", "The log holds nothing of this", str(exc))

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, exc: RequestValidationError) -> Response:
        wrong = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in exc.errors())
        return _problem(400, "bad-parameter", "A parameter is wrong", wrong)

    @app.exception_handler(Busy)
    async def _(_: Request, _exc: Busy) -> Response:
        return _problem(503, "busy", "Others are being answered", "explanations are made one at a time: try again")

    @app.exception_handler(NotRead)
    async def _(_: Request, exc: NotRead) -> Response:
        log.warning("Kafka could not be read, an explanation was refused", error=str(exc))
        return _problem(503, "kafka-away", "Kafka could not be read", str(exc))

    @app.exception_handler(Disagreement)
    async def _(_: Request, exc: Disagreement) -> Response:
        log.error("an explanation does not agree with the rule, and was not given", error=str(exc))
        return _problem(
            500, "fault", "The explanation does not agree with the rule", "a fault of this program: report it"
        )


def _problem(status: int, name: str, title: str, detail: str) -> JSONResponse:
    headers: dict[str, Any] = dict(_NO_STORE)
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    problem = Problem(type=_PROBLEM + name, title=title, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, headers, media_type="application/problem+json")
