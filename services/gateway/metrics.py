"""The gateway's metrics. Labels are feeds, modes, outcomes and statuses; never a source's events or a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter(
    "gateway_events_total",
    "Events received, by outcome: accepted (acknowledged by Kafka), rejected (the sender's fault), unavailable (ours)",
    ["feed", "outcome"],
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
