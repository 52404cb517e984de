"""The gateway's metrics. Labels are feeds, modes, outcomes and statuses; never a source's events or a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter(
    "gateway_events_total",
    "Events received, by outcome: accepted (acknowledged by Kafka), rejected (the sender's fault), unavailable (ours)",
    ["feed", "outcome"],
)
DELIVERIES = Counter(
    "gateway_source_deliveries_total",
    "Sources' requests, by outcome: received (acknowledged by Kafka), handshake, refused (signature or origin), "
    "rejected (too large, too deep, broken off), unavailable (ours)",
    ["source", "outcome"],
)
QUIET_SINCE = Gauge(
    "gateway_source_quiet_since_timestamp_seconds",
    "When a source that is let in delivered last; before its first delivery, when the gateway started",
    ["source"],
)
SILENT_AFTER = Gauge(
    "gateway_source_silent_after_seconds",
    "How long a source that is let in may be quiet before somebody should look, where its file says so",
    ["source"],
)
REQUEST_SECONDS = Histogram(
    "gateway_request_duration_seconds",
    "Time from a request's head until its answer",
    ["feed", "mode", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
REQUESTS_OPEN = Gauge("gateway_requests_open", "Requests being read or answered")
RECORDS_IN_FLIGHT = Gauge("gateway_in_flight_records", "Records handed to the producer and not yet acknowledged")
BYTES_IN_FLIGHT = Gauge("gateway_in_flight_bytes", "Bytes of the records not yet acknowledged")
ACK_SECONDS = Histogram(
    "gateway_kafka_ack_seconds",
    "Time until Kafka acknowledged all records handed over together",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
