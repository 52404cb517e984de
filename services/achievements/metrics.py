"""What the achievements service counts beyond what every intake does."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

STATED: Final = Counter(
    "achievements_stated", "Statements about achievements that went to the log, by the feed event's type", ["type"]
)
EMPTY: Final = Counter(
    "achievements_events_without_achievement", "Events with nothing to record: reviews without a strong highlight"
)
