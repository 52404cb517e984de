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
    "Requests to a vendor's API, for records and for lists, by result: answered, busy, refused, unreachable",
    ["source", "result"],
)
POLLS: Final = Counter(
    "sources_polls",
    "Rounds over a list that is polled, by outcome: news, nothing_new, failed (what the log says; it goes on later)",
    ["source", "poll", "outcome"],
)
POLLED: Final = Counter(
    "sources_polled_records",
    "Records of lists that are polled, by outcome: sent, unchanged (since the last round), unfit (a dead letter)",
    ["source", "poll", "outcome"],
)
LAST_POLL: Final = Gauge(
    "sources_last_poll_timestamp_seconds",
    "When a page of a list that is polled was had last; before the first, when this began to poll it. Once a round had "
    "to begin anew: when one has ended",
    ["source", "poll"],
)
POLL_OVERDUE_AFTER: Final = Gauge(
    "sources_poll_overdue_after_seconds",
    "How long no page may be had of a list that is polled before somebody should look",
    ["source", "poll"],
)
FOLLOWED: Final = Counter(
    "sources_followed_records",
    "Records of companies' topics that became deliveries, or dead letters",
    ["source", "topic"],
)
QUIET_SINCE: Final = Gauge(
    "sources_quiet_since_timestamp_seconds",
    "When there was news last in a list that is polled, or a topic; before the first, when this began to look",
    ["source", "origin"],
)
SILENT_AFTER: Final = Gauge(
    "sources_silent_after_seconds",
    "How long a source that is polled, or has a topic, may be without news before somebody should look, where its file "
    "says so",
    ["source"],
)
