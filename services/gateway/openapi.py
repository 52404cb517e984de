"""What the OpenAPI document says of a request's four forms and of the answers."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from services.gateway.problems import (
    PROBLEM_JSON,
    ForeignSource,
    NotGenuine,
    OriginRefused,
    Problem,
    ProblemDetails,
    SenderSilent,
    TooDeep,
    TooLarge,
    Unauthenticated,
    UnknownFeed,
    UnknownSource,
    UnsupportedContent,
)

_ATTRIBUTES: dict[str, tuple[str, str]] = {
    "specversion": ("1.0", "the version of CloudEvents"),
    "id": ("ach-4711", "with source it identifies the event: one sent twice counts once"),
    "source": ("urn:acme:recognition", "who sends; must be the source that the token speaks for"),
    "type": ("achievement.recorded", "what the payload is; docs/integrators/README.md lists the types of each feed"),
    "subject": ("hris:E00017", "whom or what it is about; events with one subject keep their order"),
    "time": ("2026-03-01T09:30:00Z", "when the source said it (RFC 3339); of two statements the newer holds"),
}
_REQUIRED = ["specversion", "id", "source", "type", "subject"]
_PAYLOAD = {
    "achievement_id": "4711",
    "employee": "hris:E00017",
    "title": "Cut checkout latency by half",
    "occurred_on": "2026-02-27",
}
_EXAMPLE = {**{name: example for name, (example, _) in _ATTRIBUTES.items()}, "data": _PAYLOAD}
_EVENT: dict[str, Any] = {
    "type": "object",
    "title": "CloudEvent",
    "description": "A CloudEvent 1.0 in the JSON format.",
    "required": _REQUIRED,
    "properties": {
        **{
            name: {
                "type": "string",
                "minLength": 1,
                "description": meaning,
                **({"const": "1.0"} if name == "specversion" else {}),
                **({"maxLength": 1000} if name == "subject" else {}),
                **({"format": "date-time"} if name == "time" else {}),
            }
            for name, (_, meaning) in _ATTRIBUTES.items()
        },
        "datacontenttype": {"type": "string", "description": "the payload's media type; JSON when absent"},
        "data": {"description": "the payload; passed on as it is sent"},
        "data_base64": {"type": "string", "description": "the payload, where it is not JSON or text"},
    },
    "example": _EXAMPLE,
}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The content type says which of the four forms it is. Where it is none of those listed, it is "
        "binary mode: the attributes are in `ce-` headers (percent-encoded), and the body is the payload.",
        "content": {
            "application/cloudevents+json": {"schema": _EVENT},
            "application/cloudevents-batch+json": {
                "schema": {
                    "type": "array",
                    "items": _EVENT,
                    "description": "All of it enters, or none: each event is checked before the first is written.",
                }
            },
            "application/x-ndjson": {
                "schema": {
                    "type": "string",
                    "description": "One CloudEvent a line, of any length in all; read as it comes. A bad line does not "
                    "stop the others: it is reported, and kept in the feed's dead letter topic.",
                }
            },
            "application/json": {
                "schema": {"description": "Binary mode: the payload alone."},
                "example": _PAYLOAD,
            },
            "*/*": {"schema": {"description": "Binary mode with a payload that is not JSON."}},
        },
    },
    "parameters": [
        {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": f"Binary mode only{', and there required' if name in _REQUIRED else ''}: {meaning}",
            "schema": {"type": "string"},
            "example": example,
        }
        for name, (example, meaning) in _ATTRIBUTES.items()
    ],
}


SCHEMAS: dict[str, Any] = models_json_schema(
    [(ProblemDetails, "serialization")], ref_template="#/components/schemas/{model}"
)[1]["$defs"]
"""What `RESPONSES` refer to. FastAPI would add them by itself only with application/json beside the true media type."""


def _answer(description: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
    }
    if headers:
        answer["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in headers.items()
        }
    return answer


def _of(*problems: type[Problem], headers: dict[str, str] | None = None) -> dict[str, Any]:
    return _answer("; or: ".join(problem.title for problem in problems) + ".", headers)


RESPONSES: dict[int | str, dict[str, Any]] = {
    401: _of(Unauthenticated, headers={"WWW-Authenticate": "the Bearer scheme (RFC 6750)"}),
    403: _of(ForeignSource),
    404: _of(UnknownFeed),
    405: _answer("Only POST is understood here.", {"Allow": "the methods that are understood"}),
    408: _of(SenderSilent),
    413: _of(TooLarge),
    415: _of(UnsupportedContent),
    422: _answer("What was sent is not a valid CloudEvent, or no line of an upload was accepted; `errors` says where."),
    500: _answer("A fault of the gateway. Send the request again."),
    503: _answer(
        "Kafka did not acknowledge, or too much is under way. Send the request again.",
        {"Retry-After": "seconds to wait before the request is sent again"},
    ),
}

SOURCE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "What the source sends, as it sends it. It is kept byte for byte, save a password in it.",
        "content": {"*/*": {"schema": {"description": "The source's own."}}},
    }
}
SOURCE_RESPONSES: dict[int | str, dict[str, Any]] = {
    **{code: RESPONSES[code] for code in (405, 408, 413, 415, 500, 503)},
    401: _of(NotGenuine, headers={"WWW-Authenticate": "says that a signature is asked for"}),
    403: _of(OriginRefused),
    404: _of(UnknownSource),
    422: _of(TooDeep),
}
