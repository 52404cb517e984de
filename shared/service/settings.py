"""Settings every service has, read from the environment; each service adds its own class on top."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def http_port(default: int) -> Any:
    """Return the field `http_port` with a service's own default; 0 takes any free port."""
    return Field(default, validation_alias="HTTP_PORT", ge=0, le=65535, description="port of the service's HTTP server")


class ServiceSettings(BaseSettings):
    """The settings all services share. Their names in the environment have no prefix; a service's own have its name."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:19092",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="brokers to connect to, host:port, separated by commas",
    )
    http_host: str = Field(
        "127.0.0.1",
        validation_alias="HTTP_HOST",
        description="address the service's HTTP server listens on",
    )
    http_port: int = http_port(0)
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        validation_alias="LOG_FORMAT",
        description="auto: for people at a terminal, JSON lines elsewhere",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL", description="the least grave level that is logged"
    )


def environment_name(settings: type[BaseSettings], field: str) -> str:
    """Return the environment variable that sets `field`."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, str):
        return alias
    return (settings.model_config.get("env_prefix", "") + field).upper()


def describe_settings(settings: type[BaseSettings]) -> str:
    """Return one paragraph a setting: its environment variable, what it means, its default; for --help and the docs."""
    lines = []
    for field, info in settings.model_fields.items():
        default = "required" if info.is_required() else f"default: {info.get_default(call_default_factory=True)!r}"
        lines.append(f"  {environment_name(settings, field)}\n      {info.description} ({default})")
    return "\n".join(lines)
