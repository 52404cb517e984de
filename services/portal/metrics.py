"""The portal's metrics. Labels are topics, routes, kinds of answer and reasons; never a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "portal_http_request_seconds",
    "Time until a request is answered, by route",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ANSWERS = Counter(
    "portal_answers_total",
    "Answers and choices that Kafka acknowledged, by kind: endorsed, declined, snoozed, not_mine, "
    "taken_back, stopped, resumed, preferences_set, achievement_added, achievement_corrected, achievement_hidden, "
    "achievement_shown",
    ["kind"],
)
TURNED_AWAY = Counter(
    "portal_turned_away_total",
    "Requests that were not let through, by reason: link, session, sign_in, form, rate, elsewhere (posted from another "
    "site)",
    ["reason"],
)
VISIBLE_SECONDS = Histogram(
    "portal_answer_visible_seconds",
    "Time from Kafka's acknowledgement of an answer until this process had read it back",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
RECORDS = Counter("portal_records_total", "Records read into the portal's read model, by topic", ["topic"])
UNREADABLE = Counter("portal_unreadable_records_total", "Records that could not be read, by topic", ["topic"])
LAG = Gauge("portal_lag_records", "Records in the topics that are not in this process's read model yet")
RECORDS_IN_FLIGHT = Gauge("portal_in_flight_records", "Records handed to the producer and not yet acknowledged")
BYTES_IN_FLIGHT = Gauge("portal_in_flight_bytes", "Bytes of the records not yet acknowledged")
ACK_SECONDS = Histogram(
    "portal_kafka_ack_seconds",
    "Time until Kafka acknowledged all records handed over together",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
