"""Wires the prompter: `prompts` in, requests to the webhook out, and what became of them to `deliveries`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address

import structlog

from services.prompter.delivery import Postman
from services.prompter.handlers import SERVICE, PromptHandler
from services.prompter.settings import MAX_RUN, PrompterSettings
from shared.streaming.records import Output
from shared.streaming.service import StreamService
from shared.streaming.topics import PROMPTS

log = structlog.get_logger(__name__)


class Prompter(StreamService):
    """The service. Whether the receiver is there is no part of its readiness: prompts wait in Kafka for it."""

    def __init__(self, settings: PrompterSettings) -> None:
        super().__init__(SERVICE, settings)
        self._state = self.state("prompts")
        self._postman = Postman(settings)
        self.alongside(self._postman)
        handler = PromptHandler(self._state, self._postman, self._keep, lambda: datetime.now(UTC), settings.portal)
        self.consume([PROMPTS], handler, max_run=MAX_RUN)
        if _is_readable_on_the_way(settings):
            log.warning(
                "PROMPTER_WEBHOOK_URL is not https: whoever carries these messages can read them",
                host=settings.webhook_url.host,
            )

    async def stop(self) -> None:
        """End the run in hand at once, what was delivered in it kept, and leave the group."""
        self._postman.interrupt()  # else the run would wait for a receiver that may not come back
        await super().stop()

    async def _keep(self, outputs: Sequence[Output]) -> None:
        await self.write(outputs)
        await self.write(self._state.changes())
        self._state.settle()


def build(settings: PrompterSettings) -> Prompter:
    """Return the service."""
    return Prompter(settings)


def _is_readable_on_the_way(settings: PrompterSettings) -> bool:
    host = settings.webhook_url.host or ""
    if settings.webhook_url.scheme == "https" or host == "localhost":
        return False
    try:
        return not ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True
