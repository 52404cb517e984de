"""What the people service counts beyond what every intake does."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

CHANGES: Final = Counter("people_changes", "Changes taken in from people-changes, by type", ["type"])
REPEATED: Final = Counter("people_changes_without_news", "Changes that said nothing new of anybody")
STATEMENTS: Final = Counter(
    "people_statements", "What was told: identities, career events and messages to other people, by type", ["type"]
)
RESTATED: Final = Counter("people_restated_employees", "Employees looked at again because a unit above them moved")
EMPLOYEES: Final = Gauge(
    "people_employees", "Employees whose profile is known, in the partitions that this process has had records from"
)
UNITS: Final = Gauge("people_units", "Org units known; each partition holds all, so the greatest of them")
