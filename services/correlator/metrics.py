"""The correlator's metrics."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("correlator_events_total", "Career events taken in, by type", ["type"])
OUTPUTS = Counter("correlator_outputs_total", "What was said, by type: prompt.opened, gap.closed, …", ["type"])
VISITED = Counter(
    "correlator_employees_reconsidered_total", "Employees looked at because time or a cycle moved", ["cause"]
)
VISIT_SECONDS = Histogram(
    "correlator_visit_seconds",
    "Time to look at all employees of a partition after a cycle or the clock moved",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 10, 60, 300),
)
EXPLANATION_SECONDS = Histogram(
    "correlator_explanation_seconds",
    "Time to answer why a prompt or a gap exists, its turn awaited, by outcome: explained, not_known, busy, failed",
    ["outcome"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
CLOCK = Gauge("correlator_clock_timestamp_seconds", "The time, as the log tells it", ["partition"])

event_of_type = cache(EVENTS.labels)
"""Returns the counter of a type of career event; `labels` itself takes three times as long as to count."""
output_of_type = cache(OUTPUTS.labels)
"""Returns the counter of a type of output."""
