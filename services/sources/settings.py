"""The settings of the sources service."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator
from pydantic_settings import SettingsConfigDict

from shared.service.settings import http_port
from shared.sources.files import read_sources, sources_dir
from shared.streaming.service import StreamSettings


class SourcesSettings(StreamSettings):
    """Where the sources' files are."""

    model_config = SettingsConfigDict(env_prefix="SOURCES_")

    http_port: int = http_port(8107)
    sources_dir: Path = sources_dir()

    @field_validator("sources_dir")
    @classmethod
    def _files_can_be_used(cls, value: Path) -> Path:
        read_sources(value)
        return value
