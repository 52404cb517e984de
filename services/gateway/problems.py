"""What a sender is told when something is wrong: RFC 9457 problem details, one class a kind of problem."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_TYPE = "urn:sponsorship-tracker:problem:"


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of a request.

    Attributes:
        pointer: a JSON pointer (RFC 6901) into the body, or ``header:<name>``.
        detail: what is wrong there and what would be right.
    """

    pointer: str
    detail: str


class Problem(Exception):
    """A request that is not answered with success; a subclass says what kind of problem it is.

    Args:
        detail: what was wrong with this very request, and what to do.
        errors: the parts that are wrong.
        members: further members of the answer.
        events: how many events were read and refused for it; for the metrics.
    """

    status: ClassVar[int]
    name: ClassVar[str]
    title: ClassVar[str]
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        detail: str,
        errors: Sequence[FieldError] = (),
        members: Mapping[str, Any] | None = None,
        events: int = 0,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.members = dict(members or {})
        self.events = events

    @cached_property
    def instance(self) -> str:
        """The name of this occurrence, in the answer and in the log."""
        return f"urn:uuid:{uuid.uuid4()}"


class Unauthenticated(Problem):
    """No token, or none that is known."""

    status, name, title = 401, "unauthenticated", "A known token is needed"

    def __init__(self, detail: str, *, token_was_sent: bool) -> None:
        super().__init__(detail)
        # RFC 6750, section 3: no error code where no token was sent.
        challenge = 'Bearer realm="sponsorship-tracker"'
        self.headers = {"WWW-Authenticate": challenge + (', error="invalid_token"' if token_was_sent else "")}


class ForeignSource(Problem):
    """An event that names a source for which the token does not speak."""

    status, name, title = 403, "foreign-source", "The token does not speak for this source"


class UnknownFeed(Problem):
    """There is no such feed."""

    status, name, title = 404, "unknown-feed", "There is no such feed"


class UnknownSource(Problem):
    """There is no such source, or it is not let in."""

    status, name, title = 404, "unknown-source", "There is no such source here"


class NotGenuine(Problem):
    """A delivery that does not come from who holds the source's secret."""

    status, name, title = 401, "not-genuine", "The delivery is not signed with a secret known here"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        # RFC 9110, section 11.6.1: a 401 names a scheme; what is asked for is the source's own.
        self.headers = {"WWW-Authenticate": 'Signature realm="sponsorship-tracker"'}


class OriginRefused(Problem):
    """An origin that may not send here (CloudEvents' abuse protection)."""

    status, name, title = 403, "origin-refused", "This origin may not send here"


class TooDeep(Problem):
    """A payload that lies too deep in itself."""

    status, name, title = 422, "too-deep", "The payload is nested too deeply"


class SenderSilent(Problem):
    """The sender stopped in the midst of a request."""

    status, name, title = 408, "sender-silent", "The request did not come to its end"
    headers: Mapping[str, str] = {"Connection": "close"}


class TooLarge(Problem):
    """A body or an event is larger than allowed."""

    status, name, title = 413, "too-large", "The request or an event in it is too large"


class UnsupportedContent(Problem):
    """A content type or encoding that the gateway does not read."""

    status, name, title = 415, "unsupported-content", "The content type is not one that is understood here"


class BadEvents(Problem):
    """What was sent is not a CloudEvent that can enter."""

    status, name, title = 422, "invalid-event", "What was sent is not a valid CloudEvent"


class Busy(Problem):
    """More is under way than the gateway may hold."""

    status, name, title = 503, "busy", "Too much is under way"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        # Not the same for all: those who were refused together would come back together, and be refused again.
        self.headers = {"Retry-After": str(1 + secrets.randbelow(RETRY_AFTER_SECONDS))}


class Unavailable(Problem):
    """Kafka did not acknowledge."""

    status, name, title = 503, "kafka-unavailable", "The events could not be made safe"
    headers: Mapping[str, str] = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def problem_response(problem: Problem) -> JSONResponse:
    """Return the answer that tells of `problem`."""
    return details_response(
        status=problem.status,
        kind=_TYPE + problem.name,
        title=problem.title,
        detail=problem.detail,
        errors=problem.errors,
        members=problem.members,
        headers=problem.headers,
        instance=problem.instance,
    )


def details_response(
    *,
    status: int,
    title: str,
    detail: str,
    kind: str = "about:blank",
    errors: Sequence[FieldError] = (),
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    instance: str | None = None,
) -> JSONResponse:
    """Return problem details as an answer; `about:blank` says no more than the status (RFC 9457, section 4.2.1)."""
    content: dict[str, Any] = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance or f"urn:uuid:{uuid.uuid4()}",
        **(members or {}),
    }
    if errors:
        content["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in errors]
    return JSONResponse(content, status, dict(headers or {}), PROBLEM_JSON)


class ErrorItem(BaseModel):
    """One part of a request that is wrong."""

    pointer: str | None = Field(None, description="JSON pointer into the body, or header:<name>")
    line: int | None = Field(None, description="NDJSON: the line, counted from 1")
    detail: str = Field(description="what is wrong there and what would be right")
    dead_letter: bool | None = Field(
        None, description="NDJSON: whether the line is kept, byte for byte, in the feed's dead letter topic"
    )


class ProblemDetails(BaseModel):
    """Problem details as RFC 9457 defines them, with `errors` for the parts that are wrong."""

    type: str = Field(description="the kind of problem", examples=[_TYPE + BadEvents.name])
    title: str = Field(description="the kind of problem, in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what was wrong with this request, and what to do")
    instance: str = Field(description="names this occurrence; the gateway's log has it too")
    errors: list[ErrorItem] = Field([], description="the parts that are wrong")
    accepted: int | None = Field(None, description="NDJSON: events that Kafka had acknowledged by then")
    rejected: int | None = Field(None, description="NDJSON: lines that were rejected by then")
