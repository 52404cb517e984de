"""Reads deliveries that are CloudEvents already (structured, binary, a batch): they keep their id, source and time."""

from __future__ import annotations

from typing import Any, Final

import orjson

from shared.contracts.cloudevents import BadCloudEvent, read_feed_event
from shared.contracts.feeds import SHAPES
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery
from shared.sources.expressions import Unmappable
from shared.sources.mapping import Mapped, MappedEvent, checked

_FEED_OF: Final = {event_type: feed for feed, types in SHAPES.items() for event_type in types}
_BATCH: Final = "application/cloudevents-batch+json"


class CloudEventsMapper:
    """Expressions can't do it: attributes may be in headers, and the payload is passed on whatever it is."""

    def __init__(self, declaration: Declaration) -> None:
        self._source = declaration.source

    def map_delivery(self, delivery: Delivery) -> Mapped:
        """Return the events of a delivery.

        Raises:
            Unmappable: one is no CloudEvent, is of another source, or of a type that no feed knows.
        """
        kind = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _BATCH:
            return Mapped((self._event(delivery, delivery.body, "the event"),))
        batch = delivery.payload
        if not isinstance(batch, list):
            raise Unmappable("the batch is not a JSON array of CloudEvents")
        return Mapped(tuple(self._event(delivery, orjson.dumps(one), f"event {at}") for at, one in enumerate(batch)))

    def _event(self, delivery: Delivery, value: bytes, where: str) -> MappedEvent:
        # The CloudEvents Kafka binding names attributes ce_x where the HTTP binding has ce-x.
        attributes = [(f"ce_{name[3:]}", text.encode()) for name, text in delivery.headers.items() if name[:3] == "ce-"]
        content_type = [("content-type", delivery.headers["content-type"].encode())] if attributes else []
        try:
            event = read_feed_event(None, value, [*attributes, *content_type], delivery.received_at)
        except BadCloudEvent as exc:
            raise Unmappable(f"{where}: {exc}") from exc
        if event.source != self._source and not event.source.startswith(f"{self._source}/"):
            raise Unmappable(f"{where}: source: is not {self._source}, nor below it: this webhook speaks for no other")
        if event.type not in _FEED_OF:
            raise Unmappable(f"{where}: type: {event.type[:100]!r} is none that a feed understands")
        if not event.subject:
            raise Unmappable(f"{where}: subject: is missing: it says whom or what the event is about")
        data: Any = event.data
        mapped = MappedEvent(_FEED_OF[event.type], event.id, event.source, event.type, event.subject, event.time, data)
        return checked(mapped, where)
