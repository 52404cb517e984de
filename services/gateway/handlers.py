"""Turns a request into records and an answer: whose it is, in which of the four forms, and whether Kafka has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from services.gateway.bodies import chunks, whole_body
from services.gateway.bulk import ERRORS_TOLD, Upload
from services.gateway.events import (
    CLOUDEVENT_JSON,
    bad_events,
    read_batch,
    read_binary,
    read_structured,
    to_record,
)
from services.gateway.metrics import EVENTS, REQUEST_SECONDS, REQUESTS_OPEN
from services.gateway.openapi import REQUEST_BODY, RESPONSES
from services.gateway.problems import (
    BadEvents,
    Busy,
    ErrorItem,
    FieldError,
    ForeignSource,
    Problem,
    TooLarge,
    Unauthenticated,
    UnknownFeed,
    UnsupportedContent,
    problem_response,
)
from services.gateway.settings import GatewaySettings
from services.gateway.sink import Sink
from shared.service.tokens import Tokens
from shared.streaming.records import Output
from shared.streaming.topics import ATTRIBUTES_FEED, FEEDS

CLOUDEVENT_BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
_EVENTS_BETWEEN_PAUSES = 100
"""Events of a batch that are read before others get their turn on the event loop."""

log = structlog.get_logger(__name__)
bearer = HTTPBearer(auto_error=False, description="the token of your source; ask whoever runs the gateway for one")


class Receipt(BaseModel):
    """What became of the events of a request."""

    accepted: int = Field(description="events that Kafka has acknowledged")
    rejected: int = Field(0, description="NDJSON: lines that are no event that may enter")
    errors: list[ErrorItem] = Field([], description=f"NDJSON: what was wrong, the first {ERRORS_TOLD}")


@dataclass(slots=True)
class Intake:
    """What a request needs: who may send, where records go, and how much is allowed at a time."""

    settings: GatewaySettings
    tokens: Tokens
    sink: Sink
    open_requests: int = field(default=0)


def feed_router(intake: Intake) -> APIRouter:
    """Return the route that takes events."""
    router = APIRouter()
    feeds = list(intake.settings.feeds)

    @router.post(
        "/v1/feeds/{feed}",
        summary="Send events to a feed",
        description="202 says that Kafka has the events safe. After any other answer, or none, send the request again: "
        "an event that is sent twice, with the same source and id, counts once.",
        status_code=202,
        response_model=Receipt,
        responses=RESPONSES,
        openapi_extra=REQUEST_BODY,
        operation_id="sendEvents",
    )
    async def send_events(
        request: Request,
        *,
        # No annotation, which would be looked up where this function is not: the feeds are those of the settings.
        feed: str = Path(description="what the events are about", json_schema_extra={"enum": feeds}),
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Response:
        begun = monotonic()
        mode = _mode(request)
        try:
            answer = await _receive(intake, request, feed, mode, credentials)
        except Problem as problem:
            answer = problem_response(problem)
            _note(feed, problem)
        REQUEST_SECONDS.labels(_feed_label(feed), mode, str(answer.status_code)).observe(monotonic() - begun)
        return answer

    return router


async def _receive(
    intake: Intake, request: Request, feed: str, mode: str, credentials: HTTPAuthorizationCredentials | None
) -> Response:
    source = _source_of(intake.tokens, credentials)
    if feed not in intake.settings.feeds:
        raise UnknownFeed(f"there is no feed {feed[:100]!r}; there are {', '.join(intake.settings.feeds)}")
    _check_content(request, mode)
    if intake.open_requests >= intake.settings.max_requests:
        raise Busy("too many requests are open; try again later")
    intake.open_requests += 1
    REQUESTS_OPEN.set(intake.open_requests)
    try:
        if mode == "bulk":
            return await _bulk(intake, request, feed, source)
        return await _events(intake, request, feed, mode, source)
    finally:
        intake.open_requests -= 1
        REQUESTS_OPEN.set(intake.open_requests)


async def _events(intake: Intake, request: Request, feed: str, mode: str, source: str) -> Response:
    """Take one event, or a batch of which either all or none enter."""
    body = await whole_body(request, intake.settings, f"send fewer events at a time, or {NDJSON}")
    longest = intake.settings.max_event_bytes
    try:
        if mode == "batch":
            records = await _batch_records(feed, body, source, longest)
        elif mode == "structured":
            records = [to_record(feed, read_structured(body, source), longest)]
        else:
            records = [to_record(feed, read_binary(request.headers.raw, body, source), longest)]
    except Problem as problem:
        problem.events = problem.events or 1
        raise
    try:
        await (await intake.sink.send(records))
    except Problem as problem:
        problem.events = len(records)
        raise
    EVENTS.labels(feed, "accepted").inc(len(records))
    return _receipt(len(records))


async def _bulk(intake: Intake, request: Request, feed: str, source: str) -> Response:
    upload = Upload(feed, source, intake.sink, intake.settings.max_event_bytes)
    await upload.take(chunks(request, intake.settings.read_timeout_seconds))
    if not upload.accepted:
        raise upload.nothing_entered()
    return _receipt(upload.accepted, upload.rejected, upload.errors)


async def _batch_records(feed: str, body: bytes, source: str, longest: int) -> list[Output]:
    records: list[Output] = []
    problems: list[Problem] = []
    errors: list[FieldError] = []
    events = read_batch(body)
    for index, raw in enumerate(events):
        if index % _EVENTS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(0)
        try:
            records.append(to_record(feed, read_structured(raw, source), longest))
        except (BadEvents, ForeignSource, TooLarge) as problem:
            problems.append(problem)
            errors += (
                replace(error, pointer=f"/{index}{error.pointer}")
                for error in problem.errors or (FieldError("", problem.detail),)
            )
    if not problems:
        return records
    # The gravest by what the sender must do: get another token, cut the event, mend it.
    for kind in (ForeignSource, TooLarge):
        if all(isinstance(problem, kind) for problem in problems):
            detail = f"none of the batch was taken: {bad_events(errors).detail}"
            raise kind(detail, errors, events=len(events))
    refusal = bad_events(errors, events=len(events))
    refusal.detail = f"none of the batch was taken: {refusal.detail}"
    raise refusal


def _source_of(tokens: Tokens, credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise Unauthenticated("send Authorization: Bearer with the token of your source", token_was_sent=False)
    source = tokens.sender_of(credentials.credentials)
    if source is None:
        raise Unauthenticated("the token is not known here; was it replaced?", token_was_sent=True)
    return source


def _mode(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    known = {CLOUDEVENT_JSON: "structured", CLOUDEVENT_BATCH: "batch", NDJSON: "bulk"}
    if media_type in known:
        return known[media_type]
    # CloudEvents HTTP binding, section 3: whatever begins like this is not binary mode, known or not.
    if media_type.startswith("application/cloudevents"):
        return "unknown"
    return "binary" if any(name.startswith("ce-") for name in request.headers) else "unknown"


def _check_content(request: Request, mode: str) -> None:
    sent = request.headers.get("content-type", "")
    if mode == "unknown":
        raise UnsupportedContent(
            f"the content type is {sent[:100] or 'missing'}; send {CLOUDEVENT_JSON}, {CLOUDEVENT_BATCH} or {NDJSON}, "
            "or any other with the CloudEvent's attributes as ce- headers"
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedContent(f"the content encoding is {encoding[:100]!r}; send the body as it is")
    _, _, charset = sent.lower().partition("charset=")
    if mode != "binary" and charset.partition(";")[0].strip(' "') not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedContent(f"the content type is {sent[:100]}; JSON is sent in UTF-8 (RFC 8259)")


def _receipt(accepted: int, rejected: int = 0, errors: Sequence[Mapping[str, Any]] = ()) -> Response:
    return JSONResponse({"accepted": accepted, "rejected": rejected, "errors": list(errors)}, 202)


def _note(feed: str, problem: Problem) -> None:
    outcome = "unavailable" if problem.status == 503 else "rejected"
    EVENTS.labels(_feed_label(feed), outcome).inc(problem.events)
    log.info(
        "request refused",
        feed=_feed_label(feed),
        status=problem.status,
        problem=problem.name,
        detail=problem.detail,
        instance=problem.instance,
    )


def _feed_label(feed: str) -> str:
    return feed if feed in (*FEEDS, ATTRIBUTES_FEED) else "unknown"
