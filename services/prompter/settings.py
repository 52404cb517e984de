"""The prompter's settings."""

from __future__ import annotations

from email.headerregistry import Address
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.prompter.policy import Policy, read_policy
from shared.contracts.outputs import ChannelName
from shared.portal_links import PortalAddress, read_keys
from shared.service.settings import http_port
from shared.streaming.service import StreamSettings
from shared.transport.webhooks import WebhookKey


def _is_key(secret: SecretStr) -> SecretStr:
    WebhookKey(secret.get_secret_value())
    return secret


def _is_portal_key(secret: SecretStr) -> SecretStr:
    (_,) = read_keys(secret.get_secret_value())
    return secret


def _is_address(text: str) -> str:
    sender(text)
    return text


def sender(text: str) -> Address:
    """Return the address in a From.

    Raises:
        ValueError: there is none.
    """
    name, address = parseaddr(text)
    local, at, domain = address.rpartition("@")
    if not (local and at and domain):
        raise ValueError("must be an address, as prompts@example.com or Sponsorship <prompts@example.com>")
    return Address(display_name=name, username=local, domain=domain)


def _is_policy(path: Path) -> Path:
    read_policy(path)
    return path


class PrompterSettings(StreamSettings):
    """How sponsors are reached, by which policy, and how patiently."""

    model_config = SettingsConfigDict(env_prefix="PROMPTER_", env_ignore_empty=True, hide_input_in_errors=True)

    http_port: int = http_port(8106)
    policy_file: Annotated[Path, AfterValidator(_is_policy)] = Field(
        Path("deploy/policy.yaml"),
        validate_default=True,
        description="the company's defaults: channels, quiet hours, working days, limits; read at the start",
    )
    webhook_url: HttpUrl | None = Field(
        None, description="channel webhook: address that messages are posted to; redirects are not followed"
    )
    webhook_secret: Annotated[SecretStr, AfterValidator(_is_key)] | None = Field(
        None,
        description="channel webhook: the key that the receiver checks signatures with: whsec_ and 24 to 64 bytes "
        "in base64",
    )
    slack_bot_token: SecretStr | None = Field(
        None,
        description="channel slack: token of an app with chat:write and users:read.email; it writes to each sponsor",
    )
    slack_webhook_url: HttpUrl | None = Field(
        None, description="channel slack, without a token: an incoming webhook, which posts all to one conversation"
    )
    teams_webhook_url: HttpUrl | None = Field(
        None, description="channel teams: a workflow's webhook; it gets sponsorEmail beside the card, to write to them"
    )
    smtp_host: str | None = Field(None, description="channel email: the mail server")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="how the way there is kept private; none is for a server on the same machine"
    )
    smtp_user: str | None = Field(None, description="who we are to the mail server, if it asks")
    smtp_password: SecretStr | None = Field(None, description="the password for that")
    mail_from: Annotated[str, AfterValidator(_is_address)] | None = Field(
        None, description="channel email: sender, as prompts@example.com or Sponsorship <prompts@example.com>"
    )

    concurrency: int = Field(8, ge=1, le=64, description="attempts at one channel's receiver at the same time")
    attempt_timeout_seconds: float = Field(
        10, gt=0, le=10, description="how long a receiver may take to answer one attempt, in seconds"
    )
    max_attempts: int = Field(40, ge=1, le=1000, description="attempts for one message by one channel")
    give_up_after_seconds: float = Field(
        7200,
        ge=0,
        le=7 * 86400,
        description="how long one message is tried by all channels together, in seconds from when its turn came",
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
    def _channels_are_set_up(self) -> PrompterSettings:
        for channel in self.policy.channels:
            if missing := self._missing(channel):
                raise ValueError(f"{self.policy_file} names the channel {channel}, which needs {missing}")
        return self

    @cached_property
    def policy(self) -> Policy:
        """The company's defaults."""
        return read_policy(self.policy_file)

    def _missing(self, channel: ChannelName) -> str:
        """Return the settings that the channel lacks, in words; empty if it has all."""
        needed: dict[ChannelName, dict[str, object]] = {
            "webhook": {"PROMPTER_WEBHOOK_URL": self.webhook_url, "PROMPTER_WEBHOOK_SECRET": self.webhook_secret},
            "email": {"PROMPTER_SMTP_HOST": self.smtp_host, "PROMPTER_MAIL_FROM": self.mail_from},
            "slack": {
                "PROMPTER_SLACK_BOT_TOKEN or PROMPTER_SLACK_WEBHOOK_URL": self.slack_bot_token or self.slack_webhook_url
            },
            "teams": {"PROMPTER_TEAMS_WEBHOOK_URL": self.teams_webhook_url},
        }
        return " and ".join(name for name, value in needed[channel].items() if value is None)
