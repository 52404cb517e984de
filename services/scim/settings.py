"""Settings of the SCIM provider: who may provision, how much at a time, and how long Kafka may take."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.service.main import STOP_GRACE_SECONDS
from shared.service.settings import ServiceSettings, http_port
from shared.service.tokens import Tokens
from shared.sources.declaration import Declaration
from shared.sources.files import BadDeclaration, read_source, sources_dir


class ScimSettings(ServiceSettings):
    """Settings of `python -m services.scim`."""

    model_config = SettingsConfigDict(env_prefix="SCIM_", env_ignore_empty=True, hide_input_in_errors=True)

    http_port: int = http_port(8110)
    tokens: SecretStr = Field(
        SecretStr(""),
        description="which identity systems may provision: name=token, separated by commas; one may have several "
        "tokens, so that one can be replaced without a gap. While it is empty nobody is let in",
    )
    url: HttpUrl | None = Field(
        None,
        description="address at which identity systems reach /scim/v2, where that is not the address that they ask for "
        "(behind a proxy that ends TLS); goes into the locations of resources",
    )
    sources_dir: Path = sources_dir()
    max_body_bytes: int = Field(
        256 * 1024, ge=1024, le=400_000, description="largest body of a request, and largest resource, in bytes"
    )
    max_requests: int = Field(
        100, ge=1, description="requests that are read and answered at a time; with more, senders are told to try later"
    )
    read_timeout_seconds: float = Field(
        30.0, gt=0, description="how long a sender may be silent in the midst of a request, in seconds"
    )
    ack_timeout_seconds: float = Field(
        5.0,
        ge=0.5,
        le=STOP_GRACE_SECONDS - 1,
        description="how long Kafka may take to acknowledge, in seconds, before the sender is told to try again",
    )

    @field_validator("tokens")
    @classmethod
    def _tokens_are_readable(cls, value: SecretStr) -> SecretStr:
        read_tokens(value)
        return value

    @model_validator(mode="after")
    def _there_is_a_file(self) -> ScimSettings:
        read_declaration(self.sources_dir)
        return self


def read_tokens(value: SecretStr) -> Tokens:
    """Return the tokens that are let in.

    Raises:
        ValueError: an entry is unfit; the message shows no token.
    """
    text = value.get_secret_value()
    return Tokens.parse(text) if text.strip() else Tokens([])


def read_declaration(folder: Path) -> Declaration:
    """Return the source that says what becomes of what is provisioned.

    Raises:
        ValueError: it is not there, or can't be used.
    """
    path = folder / "scim.yaml"
    try:
        found = read_source(path)
    except BadDeclaration as exc:
        raise ValueError(f"SOURCES_DIR: {exc}") from exc
    if found.provider != "scim":
        raise ValueError(f"SOURCES_DIR: {path}: has not `provider: scim`, so its deliveries are not made here")
    return found
