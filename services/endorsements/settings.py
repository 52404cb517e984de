"""The settings of the endorsements service: those of every stream service, and its port."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.service.settings import http_port
from shared.streaming.service import StreamSettings


class EndorsementsSettings(StreamSettings):
    """Where Kafka is and where the service listens; how endorsements are read is no setting."""

    model_config = SettingsConfigDict(env_prefix="ENDORSEMENTS_")

    http_port: int = http_port(8104)
