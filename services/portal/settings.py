"""The portal's settings: where it is reached, whose links it trusts, and how long a browser stays signed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.portal_links import read_keys
from shared.service.settings import ServiceSettings, http_port


def _are_keys(value: SecretStr) -> SecretStr:
    read_keys(value.get_secret_value())
    return value


class PortalSettings(ServiceSettings):
    """Settings of `python -m services.portal`."""

    model_config = SettingsConfigDict(env_prefix="PORTAL_", env_ignore_empty=True, hide_input_in_errors=True)

    http_port: int = http_port(8108)
    url: HttpUrl = Field(
        description="address at which sponsors reach the portal; with https, its cookie is sent over nothing else"
    )
    keys: Annotated[SecretStr, AfterValidator(_are_keys)] = Field(
        description="keys that links and sessions are signed with, newest first, separated by commas, of 32 characters "
        "or more each; all are valid, so that one can be replaced without a gap"
    )
    database: Path = Field(
        Path(".local/portal.db"),
        description="file of this process's own copy of what it needs of the log; filled anew where it is missing",
    )
    clock: Literal["wall", "log"] = Field(
        "wall",
        description="what time it is: the wall clock, or for replays and demos the time that the log tells last "
        "(CYCLES_CLOCK)",
    )
    oidc_issuer: HttpUrl | None = Field(
        None,
        description="address of the company's OpenID provider; with it nobody sees anything, link or not, who has not "
        "signed in there. Tell the provider to send people back to PORTAL_URL/signed-in",
    )
    oidc_client_id: str = Field("", description="what the OpenID provider knows the portal as")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="the portal's secret at the OpenID provider; empty where it asks for PKCE alone"
    )
    oidc_claim: str = Field(
        "email",
        description="claim of the ID token that names the person: an email, or an id of the primary HRIS",
    )
    session_minutes: int = Field(
        480, ge=5, le=43_200, description="how long a browser stays signed in after a link was opened in it, in minutes"
    )
    link_openings_per_minute: int = Field(
        60, ge=1, description="links that may be opened from one address a minute; what is guessed counts too"
    )
    requests_per_minute: int = Field(120, ge=1, description="pages and answers that one session may ask for a minute")
    ack_timeout_seconds: float = Field(
        5.0, ge=0.5, le=9, description="how long Kafka may take to acknowledge an answer, in seconds"
    )

    @model_validator(mode="after")
    def _a_provider_knows_us(self) -> PortalSettings:
        if self.oidc_issuer is not None and not self.oidc_client_id:
            raise ValueError("PORTAL_OIDC_ISSUER needs PORTAL_OIDC_CLIENT_ID beside it")
        return self
