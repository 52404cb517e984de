"""Tries blocking work again, in a thread, for as long as what it needs is away; says meanwhile what it waits for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

import structlog

T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0

log = structlog.get_logger(__name__)


class GivenUp(Exception):
    """The service stops while the work could not be done; nothing of it has happened."""


class Patience:
    """Does work that needs something which may be away.

    Args:
        needs: what that is, in words.
        away: the exceptions which mean that it is; any other is a fault and is raised at once.
        say: makes one line of such an exception, without personal data.
        on_failure: called each time the work failed so.
    """

    def __init__(
        self,
        needs: str,
        away: tuple[type[Exception], ...],
        say: Callable[[BaseException], str],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._needs = needs
        self._away = away
        self._say = say
        self._on_failure = on_failure
        self._giving_up = asyncio.Event()
        self._trouble: str | None = None

    def objection(self) -> str | None:
        """Return what is waited for, in words for an operator; None when nothing is."""
        return self._trouble

    def give_up(self) -> None:
        """Wait no longer, from now on."""
        self._giving_up.set()

    async def until_done(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, however often it has to be tried; it runs in a thread.

        Raises:
            GivenUp: `give_up` was called and the work still can't be done.
        """
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                done = await asyncio.to_thread(work)
            except self._away as exc:
                said = self._say(exc)
                self._on_failure()
                if self._giving_up.is_set():
                    raise GivenUp(f"{self._needs}: {said}") from exc
                self._trouble = f"{self._needs}: {said}"
                log.warning("waiting", needs=self._needs, error=said, again_in_seconds=round(wait, 1))
            else:
                self._trouble = None
                return done
            # A little by chance, for several processes not to come back all at once.
            await self._pause(wait * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._giving_up.wait()
        except TimeoutError:
            return
