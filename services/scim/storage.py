"""Makes a change safe: tells the sources service of it, then writes the resource, then reads that back, then answers.

In this order, for what was told and not written is told again when the identity system tries again, and what was
written and not told never would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final, Protocol, cast
from uuid import uuid4

import orjson
from aiokafka.errors import KafkaError
from scim2_models import (
    Meta,
    NotFoundException,
    PayloadTooLargeException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    SearchRequest,
    TooManyException,
    UniquenessException,
)
from scim2_server.storage import AsyncScimStorage, SearchPage

from services.scim.claims import Claim, Claims, names_taken, taken_by_another
from services.scim.metrics import CHANGES, DELIVERIES
from services.scim.schema import Kind, User, write_resource
from services.scim.telling import Body, told
from services.scim.view import View, page_of
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, to_record
from shared.sources.mapping import key_of
from shared.streaming.records import Output
from shared.streaming.sink import NotWritten, RecordTooLarge
from shared.streaming.topics import SCIM_RESOURCES

RETRY_AFTER_SECONDS: Final = 5
_STEPS_OF_A_CHANGE: Final = 4
"""To claim, to read that back, to tell and to write; each is given up after `seconds`."""
_RESOURCES_BETWEEN_PAUSES: Final = 100
"""Resources that a filter is tried on before others get their turn on the event loop."""


class Unavailable(SCIMException):
    """The change could not be made safe, or it is not known whether it is; it may be asked for again."""

    status = 503


class Log(Protocol):
    """The topic that the view is made of."""

    def objection(self) -> str | None:
        """Return why the view may be behind; None when it is up to date."""

    async def catch_up(self) -> None:
        """Return when the view has all that had been written at the time of the call."""


class Sink(Protocol):
    """Where records go."""

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        """Take `records`, in order; return what to await for their being safe."""


class Storage(AsyncScimStorage):
    """What the protocol reads and writes. Reads are of the view; changes are made one after the other.

    Args:
        view: what is provisioned, as `log` has it.
        claims: who is about to take which name, as `log` has it.
        log: the topic that both are made of.
        sink: the way to Kafka.
        declaration: the source that deliveries are of.
        seconds: how long the log may take to be read to its end, and a search.
        largest: bytes of the largest resource.
        now: tells the time.
    """

    def __init__(
        self,
        view: View,
        claims: Claims,
        log: Log,
        sink: Sink,
        declaration: Declaration,
        *,
        seconds: float,
        largest: int,
        now: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._claims = claims
        self._log = log
        self._sink = sink
        self._declaration = declaration
        self._seconds = seconds
        self._largest = largest
        self._now = now
        self._process = uuid4().hex
        self._one_at_a_time = asyncio.Lock()

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,  # noqa: ARG002 - all is in memory, nothing to spare
    ) -> Resource[Any]:
        """Return a copy of a resource."""
        self._ensure_read()
        return self._standing(resource_type, resource_id).model_copy(deep=True)

    async def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,  # noqa: ARG002 - cursors are not announced
    ) -> SearchPage:
        """Return copies of the resources of a page."""
        self._ensure_read()
        page = page_of(await self._matching(resource_types, search_request), search_request)
        return SearchPage(page.total, [one.model_copy(deep=True) for one in page.resources])

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Keep a new resource."""
        async with self._one_at_a_time:
            await self._catch_up()
            now, version = self._now(), uuid4().hex
            created = resource.model_copy(deep=True)
            created.id = str(uuid4())
            created.meta = Meta(resource_type=resource_type.name, created=now, last_modified=now, version=_tag(version))
            return await self._write(_kind(resource_type), None, created, version, now)

    async def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """Keep a resource in the place of what had its id."""
        async with self._one_at_a_time:
            await self._catch_up()
            before = self._standing(resource_type, str(resource.id))
            _check_version(before, expected_version)
            now, version = self._now(), uuid4().hex
            updated = resource.model_copy(deep=True)
            updated.meta = cast("Meta", before.meta).model_copy(
                update={"location": None, "last_modified": now, "version": _tag(version)}
            )
            return await self._write(_kind(resource_type), before, updated, version, now)

    async def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """Keep a resource no more."""
        async with self._one_at_a_time:
            await self._catch_up()
            before = self._standing(resource_type, resource_id)
            _check_version(before, expected_version)
            kind = _kind(resource_type)
            await self._tell(told(self._view, before, None, uuid4().hex, self._now()))
            await self._send([Output(SCIM_RESOURCES, _key(kind, resource_id), None)])
            CHANGES.labels(kind, "removed").inc()
            await self._catch_up()

    async def _matching(self, resource_types: list[ResourceType], asked: SearchRequest[Any]) -> list[Resource[Any]]:
        candidates = [one for kind in resource_types for one in self._view.candidates(_kind(kind), asked)]
        if asked.filter is None:
            return candidates
        until = monotonic() + self._seconds
        found = []
        for number, one in enumerate(candidates):
            if number % _RESOURCES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
                if monotonic() > until:
                    raise TooManyException(detail="the filter takes too long; ask for less, or by userName eq")
            if asked.filter.match(one):
                found.append(one)
        return found

    async def _write(
        self, kind: Kind, before: Resource[Any] | None, after: Resource[Any], version: str, now: datetime
    ) -> Resource[Any]:
        self._ensure_unique(after)
        value = orjson.dumps(write_resource(after))
        if len(value) > self._largest:
            raise PayloadTooLargeException(
                detail=f"the {kind.lower()} has more than {self._largest} bytes; provision fewer members or values"
            )
        names = names_taken(before, after)
        if names:
            await self._claim(names)
            try:
                self._ensure_unique(after)  # who held a name before us has written by now
            except UniquenessException:
                await self._let_go(names)
                raise
        await self._tell(told(self._view, before, after, version, now))
        await self._send([Output(SCIM_RESOURCES, _key(kind, str(after.id)), value)])
        CHANGES.labels(kind, "created" if before is None else "changed").inc()
        if names:  # only now, or another could find neither the claim nor the user
            await self._let_go(names)
        await self._catch_up()
        return after

    def _ensure_unique(self, resource: Resource[Any]) -> None:
        if isinstance(resource, User) and (taken := taken_by_another(self._view, resource)) is not None:
            raise UniquenessException(detail=taken)

    async def _claim(self, names: Sequence[str]) -> None:
        """Return once these names are ours to give, for as long as it takes to write."""
        at = self._now()
        claim = Claim(by=self._process, at=at, until=at + timedelta(seconds=_STEPS_OF_A_CHANGE * self._seconds))
        await self._send([Output(SCIM_RESOURCES, name.encode(), claim.as_json()) for name in names])
        await self._catch_up()
        if not self._claims.holds(names, self._process):
            await self._let_go(name for name in names if self._claims.holds([name], self._process))
            raise Unavailable(detail="another process gives this userName or employeeNumber just now; ask for it again")
        # Two steps are left. A process that stood still for so long that it can't take them in time stops here.
        if self._now() > claim.until - timedelta(seconds=2 * self._seconds):
            raise Unavailable(detail="Kafka took too long to say whether the name is free; ask for it again")

    async def _let_go(self, names: Iterable[str]) -> None:
        await self._send([Output(SCIM_RESOURCES, name.encode(), None) for name in names])

    async def _tell(self, bodies: Sequence[Body]) -> None:
        now = self._now()
        records = []
        for body in bodies:
            delivery = Delivery(self._declaration.name, orjson.dumps(body), {"content-type": "application/json"}, now)
            records.append(to_record(self._declaration, delivery, key_of(self._declaration, delivery)))
        await self._send(records)
        DELIVERIES.inc(len(records))

    async def _send(self, records: Sequence[Output]) -> None:
        try:
            await (await self._sink.send(records))
        except RecordTooLarge as exc:
            raise PayloadTooLargeException(detail=f"{exc}; provision fewer members or values") from exc
        except NotWritten as exc:
            raise Unavailable(detail=f"{exc}; ask for it again") from exc

    async def _catch_up(self) -> None:
        """Have the view hold all that was written by now, by whomever, also what we did not see acknowledged."""
        self._ensure_read()
        try:
            async with asyncio.timeout(self._seconds):
                await self._log.catch_up()
        except (TimeoutError, KafkaError) as exc:
            raise Unavailable(detail="Kafka did not say in time what is provisioned; ask for it again") from exc

    def _ensure_read(self) -> None:
        objection = self._log.objection()
        if objection is not None:
            raise Unavailable(detail=f"what is provisioned is not known yet: {objection}; ask for it again")

    def _standing(self, resource_type: ResourceType, resource_id: str) -> Resource[Any]:
        found = self._view.get(_kind(resource_type), resource_id)
        if found is None:
            raise NotFoundException(detail=f"there is no {resource_type.name} with this id")
        return found


def _check_version(resource: Resource[Any], expected: str | None) -> None:
    if expected is not None and cast("Meta", resource.meta).version != expected:
        raise PreconditionFailedException(detail="the resource has been changed since it was read")


def _tag(version: str) -> str:
    """Return the version as an entity tag; RFC 7644, section 3.14, prefers weak ones."""
    return f'W/"{version}"'


def _kind(resource_type: ResourceType) -> Kind:
    return "Group" if resource_type.name == "Group" else "User"


def _key(kind: Kind, resource_id: str) -> bytes:
    return f"{kind}/{resource_id}".encode()
