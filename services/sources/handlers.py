"""Takes deliveries of `sources.received`: reads each as its source's file says, and writes its events to the feeds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from services.sources.metrics import DELIVERIES, EVENTS, LAST_SEEN
from shared.contracts.ids import EventId, feed_event_id
from shared.sources.declaration import Declaration
from shared.sources.delivery import read_delivery
from shared.sources.expressions import Unmappable
from shared.sources.mappers import read
from shared.sources.mapping import MappedEvent, to_output
from shared.streaming.records import Output, Record
from shared.streaming.service import buried

SERVICE: Final = "sources"
_REMEMBERED: Final = 100_000
"""Event ids that are remembered to drop repetitions early. An economy only: whoever reads a feed knows them by id."""
_UNKNOWN: Final = "unknown"


class DeliveryHandler:
    """Handles a record at a time; holds nothing that a restart would miss."""

    def __init__(self, sources: Mapping[str, Declaration]) -> None:
        self._sources = sources
        self._seen: OrderedDict[EventId, None] = OrderedDict()
        for name in sources:  # so that a rate over an outcome that never came is 0 and not absent
            for outcome in ("mapped", "ignored", "dead"):
                DELIVERIES.labels(name, outcome)
            for outcome in ("accepted", "duplicate"):
                EVENTS.labels(name, outcome)

    def __call__(self, record: Record) -> Iterable[Output]:
        """Return the events that the delivery becomes, and its dead letter where some entries can't be read.

        Raises:
            Unmappable: nothing can be made of it; the message says why.
        """
        label = _UNKNOWN
        try:
            delivery = read_delivery(record)
            declaration = self._declared(delivery.source)
            label = declaration.name
            LAST_SEEN.labels(label).set(record.time.timestamp())
            mapped = read(declaration, delivery)
        except Exception:
            DELIVERIES.labels(label, "dead").inc()
            raise
        outcome = "dead" if mapped.faults else "mapped" if mapped.events else "ignored"
        DELIVERIES.labels(label, outcome).inc()
        fresh = [event for event in mapped.events if not self._was_seen(event)]
        EVENTS.labels(label, "accepted").inc(len(fresh))
        EVENTS.labels(label, "duplicate").inc(len(mapped.events) - len(fresh))
        outputs = [to_output(event) for event in fresh]
        if mapped.faults:
            outputs.append(buried(record, Unmappable("; ".join(mapped.faults)), SERVICE))
        return outputs

    def _declared(self, name: str) -> Declaration:
        if name not in self._sources:
            known = ", ".join(sorted(self._sources))
            raise Unmappable(f"there is no source {name[:100]!r} in SOURCES_DIR; there are {known}")
        return self._sources[name]

    def _was_seen(self, event: MappedEvent) -> bool:
        event_id = feed_event_id(event.source, event.id)
        if event_id in self._seen:
            return True
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False
