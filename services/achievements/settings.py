"""The settings of the achievements service: those of every stream service, and its port."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.service.settings import http_port
from shared.streaming.service import StreamSettings


class AchievementsSettings(StreamSettings):
    """Where Kafka is and where the service listens; how achievements are read is no setting."""

    model_config = SettingsConfigDict(env_prefix="ACHIEVEMENTS_")

    http_port: int = http_port(8102)
