"""Posts letters to the company's own receiver as Standard Webhooks: signed, the key of idempotency in `webhook-id`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.prompter.channels.base import Http
from services.prompter.letter import Letter
from services.prompter.messages import message
from services.prompter.what_is_retried import Verdict
from shared.contracts.outputs import ChannelName
from shared.transport.webhooks import WebhookKey


class WebhookChannel:
    """The company's receiver.

    Args:
        url: where it is.
        secret: the key that it checks signatures with.
        http: the client.
        clock: wall clock, aware, for signatures.
    """

    name: ChannelName = "webhook"

    def __init__(self, url: str, secret: str, http: Http, clock: Callable[[], datetime]) -> None:
        self._url, self._key, self._http, self._clock = url, WebhookKey(secret), http, clock

    async def attempt(self, letter: Letter) -> Verdict:
        """Post it once."""
        sent = message(letter)
        headers = self._key.sign(sent.id, sent.body, self._clock())
        verdict, _ = await self._http.post(self._url, sent.body, {**headers, "content-type": "application/json"})
        return verdict

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
