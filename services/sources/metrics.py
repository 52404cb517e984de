"""What the sources service counts. Labels are sources' names, as their files have them; never a person."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

DELIVERIES: Final = Counter(
    "sources_deliveries",
    "Deliveries read, by outcome: mapped, ignored (the source's file says that nothing is made of it), dead",
    ["source", "outcome"],
)
EVENTS: Final = Counter(
    "sources_events",
    "Events made of deliveries, by outcome: accepted (written to their feed), duplicate (its id was seen before)",
    ["source", "outcome"],
)
LAST_SEEN: Final = Gauge(
    "sources_last_delivery_timestamp_seconds", "When the newest delivery of a source was written to Kafka", ["source"]
)
FETCHES: Final = Counter(
    "sources_fetches",
    "Records that deliveries name, by outcome: fetched, shared (with another delivery of the run), failed (given up)",
    ["source", "outcome"],
)
FETCH_ATTEMPTS: Final = Counter(
    "sources_fetch_attempts",
    "Requests to a vendor's API, by result: answered, busy, refused, unreachable",
    ["source", "result"],
)
