"""The SCIM provider's metrics. Labels are operations, kinds of resource and statuses; never a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "scim_request_duration_seconds",
    "Time from a request's head until its answer, by operation of the protocol (none: no such endpoint)",
    ["operation", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS_OPEN = Gauge("scim_requests_open", "Requests being read or answered")
RESOURCES = Gauge("scim_resources", "Resources that are provisioned, by kind: User, Group", ["kind"])
CHANGES = Counter(
    "scim_changes_total",
    "Changes that Kafka acknowledged, by kind of resource and what was done: created, changed, removed",
    ["kind", "change"],
)
DELIVERIES = Counter("scim_deliveries_total", "Deliveries to the sources service that Kafka acknowledged")
UNREADABLE = Counter("scim_unreadable_records_total", "Records of scim.resources that could not be read")
RECORDS_IN_FLIGHT = Gauge("scim_in_flight_records", "Records handed to the producer and not yet acknowledged")
BYTES_IN_FLIGHT = Gauge("scim_in_flight_bytes", "Bytes of the records not yet acknowledged")
ACK_SECONDS = Histogram(
    "scim_kafka_ack_seconds",
    "Time until Kafka acknowledged all records handed over together",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
