"""Lets others have the event loop in the midst of long work: by time, for what a piece of work takes differs much."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

TURN_SECONDS: Final = 0.005
"""So long work may hold the event loop. Heartbeats, HTTP requests and acknowledgements wait meanwhile."""


class Turns:
    """The turns of one piece of work; the first begins now."""

    def __init__(self) -> None:
        self._ends = monotonic() + TURN_SECONDS

    async def give(self) -> None:
        """Let all others who wait run once, if this turn is over."""
        if monotonic() >= self._ends:
            await asyncio.sleep(0)
            self._ends = monotonic() + TURN_SECONDS
