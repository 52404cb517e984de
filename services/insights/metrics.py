"""The metrics of insights. Labels are tables, topics and routes; never a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("insights_rows_upserted_total", "Rows sent to the database, one a key and run, by table", ["table"])
TRANSACTION_SECONDS = Histogram(
    "insights_transaction_seconds",
    "Time of one transaction that projects a run",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUN_RECORDS = Histogram(
    "insights_run_records", "Records of one run", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 20000)
)
LAG = Gauge("insights_projection_lag_records", "Records in a topic that are not in the database yet", ["topic"])
DATABASE_FAILURES = Counter("insights_database_failures_total", "Transactions that failed and were tried again")
REQUEST_SECONDS = Histogram(
    "insights_http_request_seconds",
    "Time until a request is answered, by route as the API declares it",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
