"""What the cycles service counts beyond what every intake does."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

TICKS: Final = Counter("cycles_clock_ticks", "Times told to the log, each to all of its partitions", ["clock"])
NOW: Final = Gauge("cycles_clock_timestamp_seconds", "The time that was last told to the log")
