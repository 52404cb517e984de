"""Reads `scim.resources` into the view and the claims, and goes on reading: what others write, and what we wrote."""

from __future__ import annotations

import asyncio

import orjson
import structlog
from aiokafka.errors import KafkaError

from services.scim.claims import KIND, Claims
from services.scim.metrics import RESOURCES, UNREADABLE
from services.scim.schema import Kind, read_resource
from services.scim.view import View
from shared.streaming.following import Follower
from shared.streaming.topics import SCIM_RESOURCES

_AGAIN_AFTER_SECONDS = 1.0

log = structlog.get_logger(__name__)


def learn(view: View, claims: Claims, key: bytes, value: bytes | None) -> None:
    """Have the view and the claims hold what a record says; one that can't be read is passed over."""
    kind_said, _, resource_id = key.decode("utf-8", "replace").partition("/")
    kind: Kind = "Group" if kind_said == "Group" else "User"
    try:
        if kind_said == KIND:
            claims.learn(key.decode(), value)
            return
        view.put(kind, resource_id, None if value is None else read_resource(kind, orjson.loads(value)))
    except ValueError as exc:  # pydantic's errors, and JSON's, are of this kind
        # Never its text: that is people's business.
        UNREADABLE.inc()
        log.warning("a record can't be read, passed over", topic=SCIM_RESOURCES, error=type(exc).__name__)
    RESOURCES.labels(kind).set(view.count(kind))


class ResourceLog:
    """The topic, followed into a view; waits for Kafka where it is away at the start."""

    def __init__(self, bootstrap_servers: str, view: View, claims: Claims) -> None:
        self._view = view
        self._claims = claims
        self._follower = Follower(bootstrap_servers, SCIM_RESOURCES, self._learn)
        self._trouble: str | None = "reading the log"

    def objection(self) -> str | None:
        """Return why the view may be behind, in words for an operator; None when it has been read to the end."""
        return self._trouble

    async def run(self) -> None:
        """Read on; return only by raising a fault that trying again does not mend."""
        while True:
            try:
                await self._follower.start()
            except (KafkaError, OSError) as exc:
                said = f"Kafka: {exc or type(exc).__name__}"
                if said != self._trouble:
                    log.warning("the log can't be followed, trying on", error=said)
                self._trouble = said
                await self._follower.stop()
                await asyncio.sleep(_AGAIN_AFTER_SECONDS)
                continue
            self._trouble = None
            log.info("up to date with the log")
            await self._follower.run()

    async def stop(self) -> None:
        """Read no more."""
        self._trouble = "stopped"
        await self._follower.stop()

    async def catch_up(self) -> None:
        """Return when the view has all that had been written at the time of the call.

        Raises:
            KafkaError: it can't be read.
        """
        await self._follower.catch_up()

    def _learn(self, key: bytes, value: bytes | None) -> None:
        learn(self._view, self._claims, key, value)
