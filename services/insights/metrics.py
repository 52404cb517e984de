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
MEASURING_SECONDS = Histogram(
    "insights_measuring_seconds",
    "Time that taking all measures took",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
MEASURING_FAILURES = Counter("insights_measuring_failures_total", "Measurings that a fault of ours ended")

# What /v1/measures defines; `cycle` is empty for the whole company. Groups of people are not told here.
SPONSOR_COVERAGE = Gauge(
    "insights_sponsor_coverage_ratio", "Employees with an active sponsor, of all; of an open cycle's scope", ["cycle"]
)
GAPS_STANDING = Gauge("insights_gaps_standing", "Gaps that stand", ["cycle"])
GAP_AGE = Gauge("insights_gap_age_seconds", "Median age of the gaps that stand", ["cycle"])
SPONSOR_LOAD = Gauge("insights_sponsor_load_proteges", "Mean of protégés that an active sponsor has", ["cycle"])
SPONSOR_LOAD_GINI = Gauge("insights_sponsor_load_gini", "Gini coefficient of the sponsors' load, 0 to 1", ["cycle"])
PROMPTS_DELIVERED = Gauge("insights_prompts_delivered_ratio", "Prompts delivered, of those opened", ["cycle"])
PROMPTS_VIEWED = Gauge("insights_prompts_viewed_ratio", "Prompts viewed on the portal, of those opened", ["cycle"])
VIEW_TIME = Gauge("insights_prompt_view_seconds", "Median time from a prompt's delivery to its first view", ["cycle"])
PROMPTS_ENDORSED = Gauge("insights_prompts_endorsed_ratio", "Prompts endorsed, of those opened", ["cycle"])
ENDORSEMENT_TIME = Gauge(
    "insights_prompt_endorsement_seconds", "Median time from a prompt's opening to its endorsement", ["cycle"]
)
ANSWER_TIME = Gauge(
    "insights_prompt_answer_seconds", "Median time from a prompt's first view to its endorsement", ["cycle"]
)
EVIDENCE = Gauge("insights_prompt_evidence_pieces", "Mean of pieces of evidence in a prompt at its opening", ["cycle"])
EVIDENCE_STRENGTH = Gauge(
    "insights_prompt_evidence_strength", "Median of what a prompt's evidence weighs at its opening", ["cycle"]
)
WITHOUT_EVIDENCE = Gauge(
    "insights_prompts_without_evidence_ratio", "Prompts without evidence, of those opened", ["cycle"]
)
DELIVERY_TIME = Gauge(
    "insights_prompt_delivery_seconds", "Median time from a prompt's opening to its first delivery", ["cycle"]
)
FIRST_ADVOCACY = Gauge(
    "insights_first_advocacy_seconds", "Time from the cycle's opening to the first endorsement for it", ["cycle"]
)
PROMOTION_DIFFERENCE = Gauge(
    "insights_promotion_difference_ratio",
    "Share promoted of those with a sponsor at the opening, less that of those without; it is not cause",
    ["cycle"],
)
MENTOR_TO_SPONSOR_TIME = Gauge(
    "insights_mentor_to_sponsor_seconds", "Median time from the start of mentoring to that of sponsoring", ["cycle"]
)
ENDORSEMENTS = Gauge("insights_endorsements", "Endorsements that stand; without a cycle: the general ones", ["cycle"])
MENTOR_TO_SPONSOR = Gauge("insights_mentor_to_sponsor_ratio", "Mentors who became sponsors, of all", ["cycle"])
ACHIEVEMENTS_UNSEEN = Gauge(
    "insights_achievements_unseen_ratio", "Achievements of a year without a witness, of all", ["cycle"]
)
