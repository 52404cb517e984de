"""Wires the achievements service: `feeds.achievements` in, `career-events` out."""

from __future__ import annotations

from services.achievements.handlers import take
from services.achievements.settings import AchievementsSettings
from shared.contracts.feeds import ACHIEVEMENTS
from shared.streaming.intake import intake
from shared.streaming.service import StreamService


def build(settings: AchievementsSettings) -> StreamService:
    """Return the service."""
    service = StreamService("achievements", settings)
    intake(service, "achievements", ACHIEVEMENTS, take)
    return service
