"""The HTTP APIs, asked whatever their own documents allow, and more: no 5xx, and answers are as the documents say."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp

from services.gateway.app import http_app
from services.gateway.settings import GatewaySettings
from shared.service.health import Health
from shared.sources.files import read_sources
from shared.streaming.records import Output
from tests.scim import TOKEN, Provider, a_group, a_user
from tests.source_payloads import FOLDER

_CHECKS: Final = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


@dataclass(frozen=True)
class Api:
    """An API, and what its path parameters have to be for there to be something."""

    app: ASGIApp
    there_are: Mapping[str, Sequence[str]]


class Nowhere:
    """Acknowledges everything."""

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        return asyncio.sleep(0)


def gateway() -> Api:
    sources = [name for name, source in read_sources(FOLDER).items() if source.webhook is not None]
    secret = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZg=="
    secrets = {name: secret if name in ("lattice", "finch") else f"tracker:{TOKEN}" for name in sources}
    app = http_app(
        GatewaySettings(
            tokens=f"urn:acme:recognition={TOKEN}",
            source_secrets=",".join(f"{name}={secret}" for name, secret in secrets.items()),
        ),
        Nowhere(),
        Health(),
    )
    return Api(app, {"source": sources, "feed": ["people", "achievements", "cycles", "endorsements"]})


def scim() -> Api:
    provider = Provider()

    async def filled() -> list[str]:
        return [
            await provider.created(body)
            for body in (a_user(), a_user("E2", "bo", manager={"value": "ann"}), a_group(), a_group(name="Others"))
        ]

    return Api(provider.app, {"id": asyncio.run(filled())})


APIS: Final[Mapping[str, Callable[[], Api]]] = {"gateway": gateway, "scim": scim}


@schemathesis.serializer("application/x-ndjson", "text/plain", "*/*")
def as_it_is(_: Any, value: Any) -> bytes:
    """Bodies of media types that the library does not know."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


def fuzz_api(name: str, examples: int, answered: Counter[str] | None = None) -> None:
    """Ask each operation of an API so many times.

    Args:
        name: of `APIS`.
        examples: requests of each operation.
        answered: is given how often each operation answered with each status.

    Raises:
        AssertionError: an answer is a 5xx, or is not as the document says; the error has the request.
    """
    api = APIS[name]()
    document = schemathesis.openapi.from_asgi("/openapi.json", api.app)
    for found in document.get_all_operations():
        ask = _asking(found.ok(), api, examples, Counter() if answered is None else answered)
        ask()


def _asking(operation: Any, api: Api, examples: int, answered: Counter[str]) -> Callable[[], None]:
    known = st.fixed_dictionaries({name: st.none() | st.sampled_from(values) for name, values in api.there_are.items()})

    @given(operation.as_strategy(), known)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Case, there_are: Mapping[str, str | None]) -> None:
        for name, value in there_are.items():
            if value is not None and name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        response = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
        answered[f"{operation.label} {response.status_code}"] += 1
        case.validate_response(response, checks=list(_CHECKS))

    return ask
