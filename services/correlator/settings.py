"""Settings of the correlator."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.correlator.policy import Policy
from shared.contracts.feeds import Timezone
from shared.service.access import AccessSettings
from shared.service.settings import http_port
from shared.streaming.service import StreamSettings


class CorrelatorSettings(StreamSettings, AccessSettings):
    """The correlator's own settings: the numbers behind its rules."""

    model_config = SettingsConfigDict(env_prefix="CORRELATOR_", extra="ignore", frozen=True, populate_by_name=True)

    http_port: int = http_port(8105)
    evidence_pieces: int = Field(Policy.evidence_pieces, ge=1, le=20, description="at most so many pieces in a prompt")
    half_life_days: int = Field(
        Policy.half_life_days, ge=1, le=3650, description="after so many days an achievement counts half"
    )
    suggestions: int = Field(Policy.suggestions, ge=0, le=10, description="at most so many suggested sponsors in a gap")
    levels_above: int = Field(
        Policy.levels_above, ge=1, le=10, description="levels a suggested sponsor is above the employee, at least"
    )
    self_reported_weight: float = Field(
        Policy.self_reported_weight,
        gt=0,
        le=1,
        description="what an achievement in its owner's own words weighs, as a share of what it would weigh otherwise",
    )
    timezone: Timezone = Field(
        Policy.timezone,
        description="the company's time zone, as Europe/Berlin: for sponsors whose records name none, or UTC",
    )

    @property
    def policy(self) -> Policy:
        """The numbers, as the rules take them."""
        return Policy(
            self.evidence_pieces,
            self.half_life_days,
            self.suggestions,
            self.levels_above,
            self.self_reported_weight,
            self.timezone,
        )
