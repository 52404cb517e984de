"""What the prompter counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES: Final = Counter(
    "prompter_deliveries",
    "Versions of prompts, and reminders, dealt with, by outcome: delivered, failed, skipped, delayed, suppressed",
    ["outcome"],
)
NOT_SENT: Final = Counter(
    "prompter_not_sent",
    "Those of them that the policy did not let out, or not yet, by reason: stopped, not_mine, snoozed, quiet_hours, "
    "day_off, holiday, leave, weekly_limit, gathering, told_already, superseded, ended_unseen, not_taken_down",
    ["reason"],
)
ALREADY_DEALT_WITH: Final = Counter(
    "prompter_already_dealt_with", "Records that said nothing new: a version that had been dealt with, or an older one"
)
CHOICES: Final = Counter("prompter_choices", "Sponsors' choices read, by type", ["type"])
UNDER_WAY: Final = Gauge(
    "prompter_sponsors_under_way", "Sponsors with a message being sent, or who are to be looked at now; 0 when idle"
)
HELD: Final = Gauge("prompter_partitions", "Partitions whose sponsors this process sends to")
DUE_LATER: Final = Gauge("prompter_sponsors_due_later", "Sponsors who are looked at again at a time that is known")
ATTEMPTS: Final = Counter(
    "prompter_attempts",
    "Attempts at sending, by channel and result: delivered, refused (permanent), busy (to be tried again), unreachable",
    ["channel", "result"],
)
ATTEMPT_SECONDS: Final = Histogram(
    "prompter_attempt_seconds",
    "How long a channel's receiver took to answer, or not to",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT: Final = Gauge("prompter_requests_in_flight", "Attempts that wait for an answer, by channel", ["channel"])
CIRCUIT_OPEN: Final = Gauge(
    "prompter_circuit_open",
    "1 while a channel's receiver is left alone, for it did not answer or asked for it",
    ["channel"],
)
