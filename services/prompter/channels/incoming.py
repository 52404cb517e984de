"""Posts letters to an address that takes JSON and answers by its status: Slack's webhooks, Teams' workflows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from services.prompter.channels.base import Http
from services.prompter.letter import Letter
from services.prompter.what_is_retried import Verdict
from shared.contracts.outputs import ChannelName


class IncomingChannel:
    """Such an address. Whom it shows a message to is its own to say.

    Args:
        name: of the channel.
        url: the address.
        render: makes the JSON.
        http: the client.
    """

    def __init__(self, name: ChannelName, url: str, render: Callable[[Letter], dict[str, Any]], http: Http) -> None:
        self._name, self._url, self._render, self._http = name, url, render, http

    @property
    def name(self) -> ChannelName:
        """Its name."""
        return self._name

    async def attempt(self, letter: Letter) -> Verdict:
        """Post it once."""
        body = json.dumps(self._render(letter), ensure_ascii=False).encode()
        verdict, _ = await self._http.post(self._url, body, {"content-type": "application/json"})
        return verdict

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
