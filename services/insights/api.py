"""Serves the read model: a JSON API under `/v1`, an overview page at `/`, and what operators need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.insights import answers, comparisons
from services.insights.answers import BadParameter, CycleStatus, GapStatus, Page, Problem, PromptStatus
from services.insights.dashboard import Dashboard
from services.insights.limiting import Limit, limit_of
from services.insights.metrics import REQUEST_SECONDS
from services.insights.overview import CONTENT_SECURITY_POLICY, GAPS_SHOWN, render
from services.insights.paging import DEFAULT_LIMIT, LARGEST_LIMIT, BadCursor
from services.insights.parts import POLICY
from services.insights.reading import NotKnown, Reader
from services.insights.tables import MAX_ID_CHARACTERS
from shared.contracts.base import Level
from shared.database import AWAY, trouble
from shared.processing import Processing
from shared.service.access import Sort
from shared.service.health import Health, operations_routes

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_PROBLEM = "urn:sponsorship-tracker:problem:"

log = structlog.get_logger(__name__)

# PostgreSQL takes no NUL in a parameter, so none gets that far.
_Text = Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=r"^[^\x00]*$")
Id = Annotated[str, _Text]
PathId = Annotated[str, Path(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=r"^[^\x00]*$")]


class _Paged(BaseModel):
    # A misspelt filter is an error: a list that is silently not filtered would be taken for the answer.
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=LARGEST_LIMIT, description="items of a page at most")
    cursor: Annotated[str, Field(min_length=1, max_length=4 * MAX_ID_CHARACTERS)] | None = Field(
        None, description="`next` of the page before; absent for the first"
    )


class EmployeesAsked(_Paged):
    """Which employees."""

    unit: Id | None = Field(None, description="their own org unit")
    level: Level | None = None
    manager: Id | None = Field(None, description="their manager's id")
    active: bool | None = None


class CyclesAsked(_Paged):
    """Which cycles."""

    status: CycleStatus | None = None


class PromptsAsked(_Paged):
    """Which prompts."""

    cycle: Id | None = None
    sponsor: Id | None = None
    employee: Id | None = Field(None, description="the protégé")
    status: PromptStatus | None = None


class GapsAsked(_Paged):
    """Which gaps."""

    cycle: Id | None = None
    employee: Id | None = None
    status: GapStatus | None = None


class DashboardAsked(BaseModel):
    """What the dashboard shows."""

    model_config = ConfigDict(extra="forbid")

    cycle: Id | None = None


def _limit(request: Request) -> Limit:
    return limit_of(request.scope.get("reader"))  # put there by `Guarded`


Seen = Annotated[Limit, Depends(_limit)]
"""What who asks may see."""

SORTS: Final[Mapping[str, Sort]] = {
    "/": "measures",
    "/dashboard": "measures",
    "/openapi.json": "system",
    "/v1/summary": "measures",
    "/v1/coverage": "measures",
    "/v1/measures": "measures",
    "/v1/comparisons": "comparisons",
    "/dashboard/comparisons": "comparisons",
    "/v1/cycles": "measures",
    "/v1/progress": "system",
    "/v1/processing": "system",
    "/v1/employees": "employees",
    "/v1/prompts": "prompts",
    "/v1/gaps": "gaps",
}
"""What sort of data is behind each path."""


def make_api(reader: Reader, dashboard: Dashboard, health: Health, processing: Processing) -> ASGIApp:
    """Return the HTTP application over `reader`, `dashboard` and the record of processing."""
    # No /docs: those pages load scripts from a CDN. The document itself is at /openapi.json.
    app = FastAPI(
        title="Sponsorship tracker: insights",
        version="1",
        description="Where advocacy happens and where it is missing. Lists are in the order of ids and paged by "
        "cursor; what depends on time is told at the log's clock.",
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"model": Problem, "description": "What was wrong with the request"},
            "503": {"model": Problem, "description": "The database is away; try again after `Retry-After` seconds"},
        },
    )
    _routes(app, reader, dashboard, processing)
    app.router.routes.extend(operations_routes(health))
    _problems(app)
    _describe_problems(app)
    return _Measured(app)


def _routes(app: FastAPI, reader: Reader, dashboard: Dashboard, processing: Processing) -> None:
    # Plain functions: FastAPI runs them in threads, so that no query holds up the event loop.

    @app.get("/v1/summary", tags=["the whole"])
    def summary() -> answers.Summary:
        """What happened, in numbers."""
        return reader.summary()

    @app.get("/v1/coverage", tags=["the whole"])
    def coverage() -> answers.Coverage:
        """The share of active employees for whom an active sponsor speaks: overall, by unit, by level."""
        return reader.coverage()

    @app.get("/v1/measures", tags=["the whole"])
    def measures() -> answers.Measures:
        """Every measure: its definition, where it misleads, what it comes to for the company and for each cycle."""
        return reader.measures()

    @app.get("/v1/measures/{name}", tags=["the whole"])
    def measure(name: PathId) -> answers.MeasureDetail:
        """One measure by unit, level, location and tenure, without groups that tell about few; and over time."""
        return reader.measure(name)

    @app.get("/v1/comparisons", tags=["the whole"])
    def by_protected_attributes() -> answers.Comparisons:
        """Measures by protected attributes, for the people team alone, where a company has turned that on."""
        return reader.comparisons()

    @app.get("/v1/progress", tags=["the whole"])
    def progress() -> answers.Progress:
        """How far each partition of the log is projected."""
        return reader.progress()

    @app.get("/v1/processing", tags=["the whole"])
    def processing_record() -> Processing:
        """Which data there are of people, why, on which legal basis, who reads them, how long they stay."""
        return processing

    @app.get("/v1/employees", tags=["employees"])
    def employees(asked: Annotated[EmployeesAsked, Query()], seen: Seen) -> Page[answers.Employee]:
        """Employees, by id."""
        return reader.employees(**asked.model_dump(), seen=seen)

    # `:path`, for the ids of sources may have slashes in them, and HTTP servers decode %2F before anybody can look.
    @app.get("/v1/employees/{employee_id:path}", tags=["employees"])
    def employee(employee_id: PathId, seen: Seen) -> answers.EmployeeDetail:
        """One employee: who speaks for them, which prompts and gaps stand."""
        return reader.employee(employee_id, seen)

    @app.get("/v1/cycles", tags=["cycles"])
    def cycles(asked: Annotated[CyclesAsked, Query()]) -> Page[answers.Cycle]:
        """Cycles, by id."""
        return reader.cycles(**asked.model_dump())

    @app.get("/v1/cycles/{cycle_id:path}", tags=["cycles"])
    def cycle(cycle_id: PathId) -> answers.CycleDetail:
        """One cycle: its scope, and what became of its prompts and gaps."""
        return reader.cycle(cycle_id)

    @app.get("/v1/prompts", tags=["prompts"])
    def prompts(asked: Annotated[PromptsAsked, Query()], seen: Seen) -> Page[answers.Prompt]:
        """Prompts, by id."""
        return reader.prompts(**asked.model_dump(), seen=seen)

    @app.get("/v1/prompts/{prompt_id}", tags=["prompts"])
    def prompt(prompt_id: PathId, seen: Seen) -> answers.PromptDetail:
        """One prompt: what its sponsor sees with every reason, its versions, its deliveries."""
        return reader.prompt(prompt_id, seen)

    @app.get("/v1/gaps", tags=["gaps"])
    def gaps(asked: Annotated[GapsAsked, Query()], seen: Seen) -> Page[answers.Gap]:
        """Gaps, by id."""
        return reader.gaps(**asked.model_dump(), seen=seen)

    @app.get("/v1/gaps/{gap_id}", tags=["gaps"])
    def gap(gap_id: PathId, seen: Seen) -> answers.GapDetail:
        """One gap: who could become the sponsor, and why; its versions."""
        return reader.gap(gap_id, seen)

    @app.get("/", include_in_schema=False)
    def overview(seen: Seen) -> HTMLResponse:
        page = render(
            reader.summary(),
            reader.coverage().overall,
            reader.cycles(limit=LARGEST_LIMIT),
            reader.gaps(limit=GAPS_SHOWN, status="open", seen=seen),
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    @app.get("/dashboard", include_in_schema=False)
    def dashboard_page(asked: Annotated[DashboardAsked, Query()]) -> HTMLResponse:
        return HTMLResponse(dashboard.page(asked.cycle), headers={"Content-Security-Policy": POLICY})

    @app.get("/dashboard/comparisons", include_in_schema=False)
    def comparisons_page() -> HTMLResponse:
        page = comparisons.render(*reader.for_comparisons())
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


# -- problems -------------------------------------------------------------------------------------


def _problems(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def _(_: Request, exc: RequestValidationError) -> Response:
        # What was sent is not repeated: it may be a person's name or address.
        wrong = [
            BadParameter(parameter=".".join(str(part) for part in error["loc"][1:]), detail=str(error["msg"]))
            for error in exc.errors()
        ]
        named = ", ".join(bad.parameter for bad in wrong)
        return _problem(400, "bad-parameter", "A parameter is wrong", f"wrong: {named}", wrong)

    @app.exception_handler(BadCursor)
    async def _(_: Request, exc: BadCursor) -> Response:
        wrong = [BadParameter(parameter="cursor", detail=str(exc))]
        return _problem(400, "bad-parameter", "A parameter is wrong", "wrong: cursor", wrong)

    @app.exception_handler(NotKnown)
    async def _(_: Request, exc: NotKnown) -> Response:
        return _problem(404, "not-known", "There is nothing of this id", str(exc))

    @app.exception_handler(StarletteHTTPException)
    async def _(_: Request, exc: HTTPException) -> Response:
        answer = _problem(exc.status_code, None, str(exc.detail), f"{exc.detail}: see /openapi.json for what is served")
        answer.headers.update(exc.headers or {})
        return answer

    async def away(_: Request, exc: Exception) -> Response:
        log.warning("the database is away, a request was refused", error=trouble(exc))
        answer = _problem(503, "database-away", "The database is away", "try again in some seconds; see /readyz")
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer

    for kind in AWAY:
        app.add_exception_handler(kind, away)


def _problem(
    status: int, name: str | None, title: str, detail: str, errors: list[BadParameter] | None = None
) -> JSONResponse:
    kind = "about:blank" if name is None else _PROBLEM + name
    problem = Problem(type=kind, title=title, status=status, detail=detail, errors=errors or [])
    return JSONResponse(problem.model_dump(exclude_defaults=True), status, media_type=PROBLEM_JSON)


def _describe_problems(app: FastAPI) -> None:
    # FastAPI describes every answer's model as application/json; problems have a media type of their own.
    as_generated: Callable[[], dict[str, Any]] = app.openapi

    def described() -> dict[str, Any]:
        document = as_generated()
        for path in document["paths"].values():
            for operation in path.values():
                for status in ("4XX", "503"):
                    content = operation["responses"][status]["content"]
                    if "application/json" in content:
                        content[PROBLEM_JSON] = content.pop("application/json")
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way of changing the document


class _Measured:
    """Measures requests by route, and lets no cache keep an answer: there are persons in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = monotonic()
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [
                        *message["headers"],
                        (b"cache-control", b"no-store"),
                        (b"x-content-type-options", b"nosniff"),
                    ],
                }
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            # The route as it was declared, /v1/employees/{employee_id}: a path with an id in it names a person.
            route = getattr(scope.get("route"), "path", "other").replace(":path}", "}")
            REQUEST_SECONDS.labels(scope["method"], route, str(status)).observe(monotonic() - begun)
