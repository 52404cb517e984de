"""The metrics of the write-back tables. Labels are tables and partitions; never a key."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CACHE = Counter(
    "table_reads_total", "Keys read from a table: hit (in memory) or miss (from RocksDB)", ["table", "outcome"]
)
DIRTY_BYTES = Gauge("table_dirty_bytes", "Bytes of changes that no checkpoint has saved yet", ["table"])
RECOVERED = Counter("table_recovered_records_total", "Changelog records read in recovery", ["table"])
RECOVERY_LEFT = Gauge(
    "table_recovery_left_records",
    "Changelog records that recovery had still to read when it last wrote",
    ["table", "partition"],
)
