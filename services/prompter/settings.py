"""The prompter's settings."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.portal_links import PortalAddress, read_keys
from shared.service.settings import http_port
from shared.streaming.service import StreamSettings
from shared.transport.webhooks import WebhookKey

MAX_RUN: Final = 16
"""Prompts taken from Kafka at a time. Small, for a run is what waits while a receiver is away."""

LONGEST_RUN_SECONDS: Final = 290
"""What the longest run may take. Kafka's own limit between two polls is 300 s by default, and ours is above it; a
consumer past it is thrown out of its group, and its run is handled again."""


def _is_key(secret: SecretStr) -> SecretStr:
    WebhookKey(secret.get_secret_value())
    return secret


def _is_portal_key(secret: SecretStr) -> SecretStr:
    (_,) = read_keys(secret.get_secret_value())
    return secret


class PrompterSettings(StreamSettings):
    """Where prompts are delivered, and how patiently."""

    model_config = SettingsConfigDict(env_prefix="PROMPTER_", hide_input_in_errors=True)

    http_port: int = http_port(8106)
    webhook_url: HttpUrl = Field(description="address that prompts are posted to; redirects are not followed")
    webhook_secret: Annotated[SecretStr, AfterValidator(_is_key)] = Field(
        description="the key that the receiver checks signatures with: whsec_ and 24 to 64 bytes in base64"
    )
    concurrency: int = Field(8, ge=1, le=64, description="requests to the webhook at the same time")
    attempt_timeout_seconds: float = Field(
        10, gt=0, le=30, description="how long the webhook may take to answer one request, in seconds"
    )
    max_attempts: int = Field(8, ge=1, le=100, description="requests for one prompt before it is given up")
    give_up_after_seconds: float = Field(
        120,
        ge=0,
        le=280,
        description="how long a prompt is tried again, in seconds from when it was taken from Kafka with its run; "
        "each gets one attempt whatever the time",
    )

    portal_url: HttpUrl | None = Field(
        None, description="the portal's address as sponsors reach it (PORTAL_URL); messages then have a link to it"
    )
    portal_key: Annotated[SecretStr, AfterValidator(_is_portal_key)] | None = Field(
        None, description="what those links are signed with: the first of PORTAL_KEYS"
    )

    @property
    def portal(self) -> PortalAddress | None:
        """Where messages link to; None where there is no portal."""
        if self.portal_url is None or self.portal_key is None:
            return None
        return PortalAddress(str(self.portal_url), self.portal_key.get_secret_value())

    @model_validator(mode="after")
    def _a_portal_has_address_and_key(self) -> PrompterSettings:
        if (self.portal_url is None) != (self.portal_key is None):
            raise ValueError("PROMPTER_PORTAL_URL and PROMPTER_PORTAL_KEY belong together: set both or neither")
        return self

    @model_validator(mode="after")
    def _a_run_ends_in_time(self) -> PrompterSettings:
        longest = self.longest_run_seconds
        if longest > LONGEST_RUN_SECONDS:
            raise ValueError(
                f"PROMPTER_GIVE_UP_AFTER_SECONDS + {MAX_RUN} * PROMPTER_ATTEMPT_TIMEOUT_SECONDS is {longest:g} s; "
                f"it may be {LONGEST_RUN_SECONDS} s at most, or Kafka takes the prompter for dead"
            )
        return self

    @property
    def longest_run_seconds(self) -> float:
        """Return how long a run can take: all for one sponsor, tried to the end, then once each, none answered."""
        return self.give_up_after_seconds + MAX_RUN * self.attempt_timeout_seconds
