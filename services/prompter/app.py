"""Wires the prompter: `prompts` and `sponsor-choices` in, messages by the company's channels and `deliveries` out."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import structlog
from pydantic import HttpUrl

from services.prompter.channels.base import Channel, Http
from services.prompter.channels.incoming import IncomingChannel
from services.prompter.channels.mail import EmailChannel
from services.prompter.channels.slack import SlackBotChannel, slack_message
from services.prompter.channels.teams import teams_message
from services.prompter.channels.webhook import WebhookChannel
from services.prompter.courier import SERVICE, Courier
from services.prompter.delivery import Postman
from services.prompter.forgetting import SPONSORS
from services.prompter.handlers import PromptHandler
from services.prompter.settings import PrompterSettings, sender
from shared.contracts.outputs import ChannelName
from shared.streaming.service import StreamService, each
from shared.streaming.topics import PROMPTS, SPONSOR_CHOICES

log = structlog.get_logger(__name__)


class Prompter(StreamService):
    """The service. Whether receivers are there is no part of its readiness: messages wait for them."""

    def __init__(self, settings: PrompterSettings) -> None:
        super().__init__(SERVICE, settings)
        state = self.state("sponsors", SPONSORS)
        policy = settings.policy
        postman = Postman(
            channels(settings),
            concurrency=settings.concurrency,
            max_attempts=settings.max_attempts,
            patience=settings.give_up_after_seconds,
        )
        self.alongside(postman)
        # Most of those that are begun wait: to be kept before they go out, and for what became of them to be. With four
        # times what a receiver gets at once, that wait was what held up the others.
        at_once = 16 * settings.concurrency
        self._courier = Courier(state, self, postman, policy, _now, at_once=at_once, portal=settings.portal)
        self.beside(self._courier.run, self._courier.rest)
        handler = PromptHandler(state, self._courier, policy.channels[0], _now)
        self.consume([PROMPTS, SPONSOR_CHOICES], each(handler, SERVICE), state=state)

    async def stop(self) -> None:
        """Let attempts under way end and keep what they came to; then end the run in hand and leave the group."""
        await self._courier.end()
        await super().stop()


def build(settings: PrompterSettings) -> Prompter:
    """Return the service."""
    return Prompter(settings)


def channels(settings: PrompterSettings) -> dict[ChannelName, Channel]:
    """Return the ways to sponsors that are set up."""
    found: dict[ChannelName, Channel] = {}
    if settings.webhook_url is not None and settings.webhook_secret is not None:
        _warn_if_readable(settings.webhook_url, "PROMPTER_WEBHOOK_URL")
        http = _http(settings, "PROMPTER_WEBHOOK_URL", "PROMPTER_WEBHOOK_SECRET")
        secret = settings.webhook_secret.get_secret_value()
        found["webhook"] = WebhookChannel(str(settings.webhook_url), secret, http, _now)
    if settings.smtp_host is not None and settings.mail_from is not None:
        found["email"] = EmailChannel(
            settings.smtp_host,
            settings.smtp_port,
            sender(settings.mail_from),
            security=settings.smtp_security,
            user=settings.smtp_user,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password is not None else None,
            timeout=settings.attempt_timeout_seconds,
            clock=_now,
        )
    if settings.slack_bot_token is not None:
        http = _http(settings, "the Slack API's address", "PROMPTER_SLACK_BOT_TOKEN")
        found["slack"] = SlackBotChannel(settings.slack_bot_token.get_secret_value(), http)
    elif settings.slack_webhook_url is not None:
        url = "PROMPTER_SLACK_WEBHOOK_URL"
        found["slack"] = IncomingChannel(
            "slack", str(settings.slack_webhook_url), slack_message, _http(settings, url, url)
        )
    if settings.teams_webhook_url is not None:
        url = "PROMPTER_TEAMS_WEBHOOK_URL"
        found["teams"] = IncomingChannel(
            "teams", str(settings.teams_webhook_url), teams_message, _http(settings, url, url)
        )
    return found


def _http(settings: PrompterSettings, url_setting: str, key_setting: str) -> Http:
    return Http(
        settings.attempt_timeout_seconds,
        _now,
        url_setting=url_setting,
        key_setting=key_setting,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _warn_if_readable(url: HttpUrl, setting: str) -> None:
    host = url.host or ""
    if url.scheme == "https" or host == "localhost":
        return
    try:
        if ip_address(host.strip("[]")).is_loopback:
            return
    except ValueError:
        pass
    log.warning(f"{setting} is not https: whoever carries these messages can read them", host=host)
