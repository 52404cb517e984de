"""The two cycles of the demo's autumn, each as its source announces it and as the expected outcome counts on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from shared.company.truth import CycleFact
from shared.contracts.base import utc
from shared.contracts.career import CycleKind
from shared.contracts.ids import CycleId, UnitId

PROMOTION: Final = CycleId("promotion-2026-autumn")
ROLE: Final = CycleId("role-2026-service-leads")


@dataclass(frozen=True)
class PlannedCycle:
    """A cycle with all that its announcement says."""

    fact: CycleFact
    kind: CycleKind
    title: str
    competencies: tuple[str, ...]
    evidence_from: date
    evidence_to: date

    def payload(self) -> dict[str, Any]:
        """Return the payload of ``cycle.opened`` or ``cycle.amended``."""
        return {
            "cycle_id": self.fact.cycle_id,
            "kind": self.kind,
            "title": self.title,
            "unit_ids": sorted(self.fact.unit_ids),
            "levels": sorted(self.fact.levels),
            "min_months_in_level": self.fact.min_months_in_level,
            "competencies": list(self.competencies),
            "evidence_from": self.evidence_from.isoformat(),
            "evidence_to": self.evidence_to.isoformat(),
            "opens_at": self.fact.opens_at.isoformat(),
            "closes_at": self.fact.closes_at.isoformat(),
        }


PROMOTED_DIVISIONS: Final = (UnitId("div-1"), UnitId("div-2"))
OTHER_DIVISION: Final = UnitId("div-3")
SHARED_DEPARTMENT: Final = UnitId("dept-4")
"""The first department of the second division: in scope of both cycles, where a division has three departments."""

PROMOTION_CYCLE: Final = PlannedCycle(
    CycleFact(
        PROMOTION,
        edition=1,
        unit_ids=frozenset(PROMOTED_DIVISIONS),
        levels=frozenset({2, 3, 4, 5}),
        min_months_in_level=12,
        opens_at=utc(2026, 9, 7, 8),
        closes_at=utc(2026, 10, 9, 16),
    ),
    "promotion",
    "Autumn promotions 2026",
    ("leadership", "delivery", "technical_depth"),
    date(2025, 9, 1),
    date(2026, 9, 30),
)
PROMOTION_CYCLE_AMENDED: Final = replace(
    PROMOTION_CYCLE, fact=replace(PROMOTION_CYCLE.fact, edition=2, closes_at=utc(2026, 10, 30, 16))
)
ROLE_CYCLE: Final = PlannedCycle(
    CycleFact(
        ROLE,
        edition=1,
        unit_ids=frozenset({OTHER_DIVISION, SHARED_DEPARTMENT}),
        levels=frozenset({2, 3, 4}),
        min_months_in_level=6,
        opens_at=utc(2026, 9, 22, 8),
        closes_at=utc(2026, 10, 16, 16),
    ),
    "role",
    "Service lead roles",
    ("collaboration", "communication", "customer_focus"),
    date(2026, 1, 1),
    date(2026, 9, 30),
)
