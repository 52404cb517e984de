"""A SCIM provider without Kafka, and requests in the manner of identity systems."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from starlette.types import ASGIApp

from services.scim.app import http_app
from services.scim.claims import Claims
from services.scim.following import learn
from services.scim.schema import ENTERPRISE
from services.scim.settings import ScimSettings
from services.scim.view import View
from shared.service.health import Health
from shared.sources.delivery import read_delivery
from shared.sources.files import read_source
from shared.sources.mappers import read
from shared.sources.mapping import Mapped, MappedEvent
from shared.streaming.records import Output, Record
from shared.streaming.topics import SCIM_RESOURCES, SOURCES_RECEIVED
from tests.source_payloads import FOLDER

CLAIM: Final = "a claim"
TOKEN: Final = "0123456789abcdef"
CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
DECLARATION: Final = read_source(FOLDER / "scim.yaml")


class MemoryKafka:
    """Takes records as Kafka would, or fails as told, and gives those of the log back; `beside` has the same log."""

    def __init__(self, beside: MemoryKafka | None = None) -> None:
        self.view, self.claims = View(), Claims()
        self.records: list[Output] = [] if beside is None else beside.records
        self.fails_with: dict[str, Exception] = {}
        self.loses: dict[str, Exception] = {}
        """What is raised though the records were written. Both by topic, and for claims by CLAIM."""
        self.pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
        """Lets others go on; awaited before each thing that Kafka does."""
        self.trouble: str | None = None
        self.hangs = False
        self._learnt = 0

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        for record in records:
            await self.pause()
            if _kind(record) in self.fails_with:
                return self._acknowledged(self.fails_with[_kind(record)])
            self.records.append(record)
        return self._acknowledged(next((self.loses[_kind(r)] for r in records if _kind(r) in self.loses), None))

    async def _acknowledged(self, fault: Exception | None) -> None:
        await self.pause()
        if fault is not None:
            raise fault

    def objection(self) -> str | None:
        return self.trouble

    async def catch_up(self) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        end = len(self.records)
        await self.pause()
        for record in self.records[self._learnt : end]:
            if record.topic == SCIM_RESOURCES:
                learn(self.view, self.claims, record.key or b"", record.value)
        self._learnt = max(end, self._learnt)

    def told(self) -> list[Mapped]:
        """What `deploy/sources/scim.yaml` makes of each delivery."""
        return [
            read(DECLARATION, read_delivery(Record(r.topic, 0, at, r.key, r.value, r.headers, datetime.now(UTC))))
            for at, r in enumerate(self.records)
            if r.topic == SOURCES_RECEIVED
        ]

    def events(self) -> list[MappedEvent]:
        told = self.told()
        assert [fault for mapped in told for fault in mapped.faults] == []
        return [event for mapped in told for event in mapped.events]


def _kind(record: Output) -> str:
    return CLAIM if (record.key or b"").startswith(b"Claim/") else record.topic


class Provider:
    """A provider, asked as an identity system asks."""

    def __init__(self, beside: MemoryKafka | None = None, **changes: Any) -> None:
        self.kafka = MemoryKafka(beside)
        self.settings = ScimSettings(**{"tokens": f"entra={TOKEN}", "sources_dir": FOLDER, **changes})
        self.late = timedelta()
        self.app: ASGIApp = http_app(
            self.settings, self.kafka.view, self.kafka.claims, self.kafka, self.kafka, Health(), now=self.now
        )

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **options: Any
    ) -> httpx.Response:
        """Send a request to /scim/v2; an object or a list is sent as JSON."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/scim+json")
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://scim.example.com") as client:
            return await client.request(method, f"/scim/v2{path}", content=body, headers=headers, **options)

    async def created(self, body: Any) -> str:
        """Create a user or a group; return its id."""
        answer = await self.ask("POST", "/Groups" if GROUP in body["schemas"] else "/Users", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def patched(self, user: str, *operations: dict[str, Any], **options: Any) -> httpx.Response:
        """Patch a user."""
        return await self.ask("PATCH", f"/Users/{user}", patch(*operations), **options)


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": list(operations)}


def a_user(
    number: str | None = "E1", name: str = "ann", manager: Any = None, department: str = "Payments", **changes: Any
) -> dict[str, Any]:
    """A user as Entra ID creates one; None leaves an attribute out."""
    enterprise = {"employeeNumber": number, "department": department, "manager": manager}
    return without_nothing(
        {
            "schemas": [CORE, ENTERPRISE],
            "userName": f"{name}@example.com",
            "externalId": name,
            "displayName": f"{name.title()} Lee",
            "active": True,
            "emails": [{"primary": True, "type": "work", "value": f"{name}@example.com"}],
            "meta": {"resourceType": "User"},
            ENTERPRISE: without_nothing(enterprise),
            **changes,
        }
    )


def a_group(*members: str, name: str = "Engineers") -> dict[str, Any]:
    return {"schemas": [GROUP], "displayName": name, "members": [{"value": member} for member in members]}


def without_nothing(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}
