"""The settings of the people service: those of every stream service, and its port."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.service.settings import http_port
from shared.streaming.service import StreamSettings


class PeopleSettings(StreamSettings):
    """Where Kafka is and where the service listens; what is told of people is no setting."""

    model_config = SettingsConfigDict(env_prefix="PEOPLE_")

    http_port: int = http_port(8101)
