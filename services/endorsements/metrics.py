"""What the endorsements service counts beyond what every intake does."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

ANSWERS: Final = Counter("endorsements_answers", "What sponsors said, by the feed event's type", ["type"])
