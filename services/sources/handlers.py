"""Takes deliveries of `sources.received`: reads each as its source's file says, and writes its events to the feeds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

from services.sources.fetching import Wanted
from services.sources.metrics import DELIVERIES, EVENTS, LAST_SEEN
from shared.contracts.ids import EventId, feed_event_id
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, read_delivery
from shared.sources.expressions import Unmappable
from shared.sources.mappers import read
from shared.sources.mapping import Mapped, MappedEvent, records_wanted, to_output
from shared.streaming.records import SOURCE_HEADER, Output, Record
from shared.streaming.service import buried
from shared.streaming.topics import ATTRIBUTES_FEED

SERVICE: Final = "sources"
_REMEMBERED: Final = 100_000
"""Event ids that are remembered to drop repetitions early. An economy only: whoever reads a feed knows them by id."""
_UNKNOWN: Final = "unknown"
_NOT_LET_IN: Final = (
    "it states protected attributes, and none is let in here: name those that your company compares by in "
    "PROTECTED_ATTRIBUTES, or take the rule out of the source's file"
)


class Records(Protocol):
    """Where records are had that deliveries name."""

    async def fetch(self, wanted: Collection[Wanted]) -> Mapping[Wanted, Any]:
        """Return each of them, or `Unfetched`."""


class DeliveryHandler:
    """Handles runs of deliveries; holds nothing that a restart would miss.

    Args:
        sources: the sources' files, by name.
        records: where records are had that deliveries name.
        takes_attributes: whether protected attributes are let in.
    """

    def __init__(self, sources: Mapping[str, Declaration], records: Records, *, takes_attributes: bool = False) -> None:
        self._sources = sources
        self._records = records
        self._takes_attributes = takes_attributes
        self._seen: OrderedDict[EventId, None] = OrderedDict()
        for name in sources:  # so that a rate over an outcome that never came is 0 and not absent
            for outcome in ("mapped", "ignored", "dead"):
                DELIVERIES.labels(name, outcome)
            for outcome in ("accepted", "duplicate"):
                EVENTS.labels(name, outcome)

    async def __call__(self, run: Sequence[Record]) -> list[Output]:
        """Return the events that deliveries become, and dead letters of what can't be read; never raises for those."""
        fetched = await self._fetched(run)
        outputs: list[Output] = []
        for record in run:
            try:
                outputs += self._read(record, fetched)
            except Exception as exc:  # as in `each`: this one record can't be dealt with, and the service lives
                outputs.append(buried(record, exc, SERVICE))
        return outputs

    async def _fetched(self, run: Sequence[Record]) -> Mapping[Wanted, Any]:
        wanted: list[Wanted] = []
        for record in run:
            with suppress(Exception):  # whatever is wrong with it is said when it is read
                wanted += _wanted(*self._opened(record))
        return await self._records.fetch(wanted) if wanted else {}

    def _read(self, record: Record, fetched: Mapping[Wanted, Any]) -> Iterable[Output]:
        label = _UNKNOWN
        try:
            declaration, delivery = self._opened(record)
            label = declaration.name
            LAST_SEEN.labels(label).set(record.time.timestamp())
            records = {what.key: fetched[what] for what in _wanted(declaration, delivery)}
            mapped = self._let_in(read(declaration, replace(delivery, records=records) if records else delivery))
        except Exception:
            DELIVERIES.labels(label, "dead").inc()
            raise
        outcome = "dead" if mapped.faults else "mapped" if mapped.events else "ignored"
        DELIVERIES.labels(label, outcome).inc()
        fresh = [event for event in mapped.events if not self._was_seen(event)]
        EVENTS.labels(label, "accepted").inc(len(fresh))
        EVENTS.labels(label, "duplicate").inc(len(mapped.events) - len(fresh))
        outputs = [_with_name(to_output(event), label) for event in fresh]
        if mapped.faults:
            outputs.append(buried(record, Unmappable("; ".join(mapped.faults)), SERVICE))
        return outputs

    def _opened(self, record: Record) -> tuple[Declaration, Delivery]:
        delivery = read_delivery(record)
        if delivery.source not in self._sources:
            known = ", ".join(sorted(self._sources))
            raise Unmappable(f"there is no source {delivery.source[:100]!r} in SOURCES_DIR; there are {known}")
        return self._sources[delivery.source], delivery

    def _let_in(self, mapped: Mapped) -> Mapped:
        if self._takes_attributes or not any(event.feed == ATTRIBUTES_FEED for event in mapped.events):
            return mapped
        others = tuple(event for event in mapped.events if event.feed != ATTRIBUTES_FEED)
        return replace(mapped, events=others, faults=(*mapped.faults, _NOT_LET_IN))

    def _was_seen(self, event: MappedEvent) -> bool:
        event_id = feed_event_id(event.source, event.id)
        if event_id in self._seen:
            return True
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False


def _with_name(output: Output, source: str) -> Output:
    return replace(output, headers=(*output.headers, (SOURCE_HEADER, source.encode())))


def _wanted(declaration: Declaration, delivery: Delivery) -> list[Wanted]:
    return [Wanted(declaration.name, key) for key in records_wanted(declaration, delivery)]
