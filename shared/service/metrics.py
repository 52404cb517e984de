"""The metrics of who reads people's data. Labels are roles; never a reader."""

from __future__ import annotations

from prometheus_client import Counter

READS = Counter(
    "reads_total", "Requests for people's data, by role and what became of them: given, refused", ["role", "outcome"]
)
