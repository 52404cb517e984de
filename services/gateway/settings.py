"""Settings of the gateway."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.gateway.source_secrets import SourceSecrets
from shared.service.main import STOP_GRACE_SECONDS
from shared.service.settings import AttributeSettings, http_port
from shared.service.tokens import Tokens
from shared.sources.files import BadDeclaration, read_sources, sources_dir
from shared.streaming.topics import ATTRIBUTES_FEED, FEEDS


class GatewaySettings(AttributeSettings):
    """Who may send, how much at a time, and how long Kafka may take."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    http_port: int = http_port(8080)
    tokens: SecretStr = Field(
        description="who may send: source=token, separated by commas; `source` is the CloudEvents attribute; "
        "a source may have several tokens, so that one can be replaced without a gap"
    )
    sources_dir: Path = sources_dir()
    source_secrets: SecretStr = Field(
        SecretStr(""),
        description="which sources of SOURCES_DIR may send, and with which secret: name=secret, separated by commas; a "
        "source may have two, so that one can be replaced without a gap. One without a secret is not let in",
    )
    max_body_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        description="largest body of a request with one event or a batch, in bytes; NDJSON uploads have no limit",
    )
    max_event_bytes: int = Field(
        900_000,
        ge=512,
        description="largest event, and longest NDJSON line, in bytes; below Kafka's message.max.bytes (1 MiB by "
        "default) by enough for key and headers",
    )
    max_in_flight_records: int = Field(
        20_000,
        ge=1,
        description="records that may wait for Kafka's acknowledgement; with more, senders are told to try later",
    )
    max_in_flight_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="bytes of records that may wait for Kafka's acknowledgement"
    )
    max_requests: int = Field(
        200, ge=1, description="requests that are read and answered at a time; bounds the memory taken by their bodies"
    )
    ack_timeout_seconds: float = Field(
        8.0,
        ge=0.5,
        le=STOP_GRACE_SECONDS - 1,
        description="how long Kafka may take to acknowledge, in seconds, before the sender is told to try again; "
        "shorter than the grace that open requests have when the service stops",
    )
    read_timeout_seconds: float = Field(
        30.0, gt=0, description="how long a sender may be silent in the midst of a request, in seconds"
    )

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds that events may be sent to."""
        return (*FEEDS, ATTRIBUTES_FEED) if self.protected_attributes else FEEDS

    @model_validator(mode="after")
    def _sources_are_readable(self) -> GatewaySettings:
        try:
            sources = read_sources(self.sources_dir)
        except BadDeclaration as exc:
            raise ValueError(f"SOURCES_DIR: {exc}") from exc
        try:
            SourceSecrets.parse(self.source_secrets.get_secret_value(), sources)
        except ValueError as exc:
            raise ValueError(f"GATEWAY_SOURCE_SECRETS: {exc}") from exc
        return self

    @field_validator("tokens")
    @classmethod
    def _tokens_are_readable(cls, value: SecretStr) -> SecretStr:
        Tokens.parse(value.get_secret_value())
        return value
