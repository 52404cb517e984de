"""The metrics every stream service has. Labels are topics, states and outcomes; never a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("stream_records_total", "Records handled, by source topic", ["topic"])
RUNS = Counter("stream_runs_total", "Runs of records handled and made safe", ["topics"])
RUN_SECONDS = Histogram(
    "stream_run_seconds",
    "Time of one run from its first record until its offsets may be committed",
    ["topics"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
CHECKPOINT_SECONDS = Histogram(
    "stream_checkpoint_seconds",
    "Time of one checkpoint: changelog acknowledged, local state written",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUN_RECORDS = Histogram(
    "stream_run_records",
    "Records that were fetched together",
    ["topic"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
OUTPUTS = Counter("stream_outputs_total", "Records written and acknowledged, by topic", ["topic"])
DEAD_LETTERS = Counter("stream_dead_letters_total", "Records sent to a dead letter topic, by source topic", ["topic"])
WRITE_RETRIES = Counter("stream_write_retries_total", "Writes to Kafka that had to be tried again")
LAG = Gauge("stream_consumer_lag_records", "Records between the last one read and the end", ["topic", "partition"])
STATE_KEYS = Gauge("stream_state_keys", "Keys held in a state, all partitions of this process", ["state"])

ERASED_RECORDS = Counter(
    "stream_erased_records_total",
    "Records not taken in (read) or not written, for they were about somebody who has been erased",
    ["topic", "when"],
)
PERSON_KEYS_KNOWN = Gauge("stream_person_keys", "Keys of persons' names that this process knows")
INTAKE = Counter(
    "intake_events_total", "Feed events by outcome: accepted, repeated, parked, dead, erased", ["feed", "outcome"]
)
RELEASED = Counter("intake_released_total", "Parked events handled after the person they waited for arrived", ["feed"])
MOVED = Counter(
    "intake_moved_total", "Events that turned out to be about somebody else than they were first taken for", ["feed"]
)
LAST_SEEN = Gauge(
    "intake_last_event_timestamp_seconds", "When the newest event of a feed was written to Kafka", ["feed"]
)
IDENTITIES_KNOWN = Gauge("intake_identities", "Refs that the directory knows")
