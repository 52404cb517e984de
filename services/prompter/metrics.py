"""What the prompter counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES: Final = Counter(
    "prompter_deliveries", "Versions of prompts dealt with, by outcome: delivered, failed, skipped", ["outcome"]
)
ALREADY_DEALT_WITH: Final = Counter(
    "prompter_already_dealt_with", "Records that said nothing new: a version that had been dealt with, or an older one"
)
ATTEMPTS: Final = Counter(
    "prompter_attempts",
    "Requests to the webhook, by result: delivered, refused (permanent), busy (to be tried again), unreachable",
    ["result"],
)
ATTEMPT_SECONDS: Final = Histogram(
    "prompter_attempt_seconds",
    "How long the webhook took to answer, or not to",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT: Final = Gauge("prompter_requests_in_flight", "Requests to the webhook that wait for an answer")
