"""The numbers behind the rules, and the zone that times are told in, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """What a company may want otherwise.

    Attributes:
        evidence_pieces: at most so many pieces in a prompt.
        half_life_days: after so many days an achievement counts half.
        suggestions: at most so many suggested sponsors in a gap.
        levels_above: so many levels above the employee a suggested sponsor has to be, to have influence on a
            decision about the next level.
        self_reported_weight: what an achievement weighs that only the person themselves has stated, as a share of
            what it would weigh otherwise.
        timezone: IANA name, of sponsors for whom the records name none.
    """

    evidence_pieces: int = 5
    half_life_days: int = 180
    suggestions: int = 3
    levels_above: int = 2
    self_reported_weight: float = 0.7
    timezone: str = "UTC"
