"""Sends letters by one channel after the other, and tries again as `what_is_retried` says, until taken or too late."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Literal

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from services.prompter.breaker import Breaker
from services.prompter.channels.base import Channel
from services.prompter.letter import Letter
from services.prompter.metrics import ATTEMPT_SECONDS, ATTEMPTS, CIRCUIT_OPEN, IN_FLIGHT
from services.prompter.what_is_retried import Verdict, wait_before
from shared.contracts.outputs import ChannelName


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a letter.

    Attributes:
        outcome: open when it was let be before there was an outcome: the service stops, or it is not wanted as it is.
        by: the channel of the last attempt, or the first of its way.
        detail: why it failed; empty when it was delivered.
        status: the last status of the protocol, if there was any answer to the last attempt.
        attempts: attempts made.
        may_have_arrived: it was not delivered as far as we know, but some attempt's answer was lost.
    """

    outcome: Literal["delivered", "failed", "open"]
    by: ChannelName
    detail: str
    status: int | None
    attempts: int
    may_have_arrived: bool


class _LetBe(Exception):
    """Nothing more is tried: the service stops, or the letter is not wanted any more as it is."""


class Errand:
    """One letter on its way: whether it still is wanted, and the means to have that asked again at once.

    Args:
        is_wanted: asked before each attempt.
        aside: is entered while it waits for its next attempt, and others may go.
    """

    def __init__(
        self, is_wanted: Callable[[], bool], aside: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.is_wanted, self.aside = is_wanted, aside
        self.news = asyncio.Event()


class _Endpoint:
    def __init__(self, channel: Channel, concurrency: int) -> None:
        self.channel = channel
        self.slots = asyncio.Semaphore(concurrency)
        self.breaker = Breaker()


class Postman:
    """Delivers letters, to each endpoint a bounded number at a time: one that is slow holds up no other.

    Args:
        channels: the ways that are set up, by name.
        concurrency: attempts at one endpoint at the same time.
        max_attempts: attempts for one letter by one channel.
        patience: seconds for which one letter is tried by all channels together.
        elapsed: a clock that only ever goes forward, in seconds.
        sleep: lets that many seconds pass.
        chance: a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        channels: Mapping[ChannelName, Channel],
        *,
        concurrency: int,
        max_attempts: int,
        patience: float,
        elapsed: Callable[[], float] = monotonic,
        sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._endpoints = {name: _Endpoint(channel, concurrency) for name, channel in channels.items()}
        self._max_attempts, self._patience = max_attempts, patience
        self._elapsed, self._sleep, self._chance = elapsed, sleep, chance
        self._resting = asyncio.Event()
        for name, endpoint in self._endpoints.items():
            CIRCUIT_OPEN.labels(name).set_function(partial(_as_number, endpoint.breaker))

    @property
    def channels(self) -> frozenset[ChannelName]:
        """The ways that are set up."""
        return frozenset(self._endpoints)

    async def start(self) -> None:
        """Do nothing: the receivers need not be there yet."""

    def rest(self) -> None:
        """Begin no attempt and wait for no other from now on; attempts under way may end."""
        self._resting.set()

    def go_on(self) -> None:
        """Take it up again."""
        self._resting.clear()

    async def stop(self) -> None:
        """Close the connections."""
        self.rest()
        for endpoint in self._endpoints.values():
            await endpoint.channel.close()

    async def deliver(self, letter: Letter, way: Sequence[ChannelName], errand: Errand) -> Receipt:
        """Send `letter` by the first channel of `way`; by the next where one refuses it for good, or can't be reached.

        Where an answer was lost the letter may have arrived, and goes no other way: the sponsor would have it twice.
        """
        until = self._elapsed() + self._patience
        verdicts: list[Verdict] = []
        details: list[str] = []
        by = way[0]
        for by in way:
            earlier = len(verdicts)
            try:
                last = await self._deliver_by(self._endpoints[by], letter, errand, until, verdicts)
            except _LetBe:
                return self._receipt("open", by, [], verdicts)
            if last.result == "delivered":
                return self._receipt("delivered", by, [], verdicts)
            tried = len(verdicts) - earlier
            gave_up = f" (given up after {tried} attempt{'' if tried == 1 else 's'})" if last.try_again else ""
            details.append(f"{by + ': ' if len(way) > 1 else ''}{last.detail}{gave_up}")
            if any(verdict.may_have_arrived for verdict in verdicts):
                break
        return self._receipt("failed", by, details, verdicts)

    def _receipt(
        self,
        outcome: Literal["delivered", "failed", "open"],
        by: ChannelName,
        details: Sequence[str],
        verdicts: Sequence[Verdict],
    ) -> Receipt:
        return Receipt(
            outcome=outcome,
            by=by,
            detail="; ".join(details),
            status=verdicts[-1].status if verdicts else None,
            attempts=len(verdicts),
            may_have_arrived=any(verdict.may_have_arrived for verdict in verdicts),
        )

    async def _deliver_by(
        self, endpoint: _Endpoint, letter: Letter, errand: Errand, until: float, verdicts: list[Verdict]
    ) -> Verdict:
        last = Verdict("unreachable", "it did not answer others, so nothing was sent to it in the time there was")

        async def attempt() -> Verdict:
            nonlocal last
            while True:
                async with endpoint.slots:
                    if self._resting.is_set() or not errand.is_wanted():
                        raise _LetBe
                    wait = endpoint.breaker.seconds_to_wait(self._elapsed())
                    if wait <= 0:
                        last = await self._attempt(endpoint, letter)
                        verdicts.append(last)
                        return last
                if self._elapsed() + wait > until:
                    return last
                await self._pause(wait, errand)

        def wait(state: RetryCallState) -> float:
            return wait_before(state.attempt_number, last, self._chance())

        def is_too_late(state: RetryCallState) -> bool:
            return self._elapsed() + state.upcoming_sleep > until

        retrying = AsyncRetrying(
            retry=retry_if_result(_should_try_again),
            wait=wait,
            stop=_any(stop_after_attempt(self._max_attempts), is_too_late),
            sleep=lambda seconds: self._step_aside(seconds, errand),
            retry_error_callback=lambda _: last,
        )
        result: Verdict = await retrying(attempt)
        return result

    async def _attempt(self, endpoint: _Endpoint, letter: Letter) -> Verdict:
        name = endpoint.channel.name
        begun = self._elapsed()
        with IN_FLIGHT.labels(name).track_inprogress():
            try:
                verdict = await endpoint.channel.attempt(letter)
            except BaseException:
                endpoint.breaker.abandon()
                raise
        endpoint.breaker.note(verdict, self._elapsed())
        ATTEMPT_SECONDS.labels(name).observe(self._elapsed() - begun)
        ATTEMPTS.labels(name, verdict.result).inc()
        return verdict

    async def _step_aside(self, seconds: float, errand: Errand) -> None:
        with errand.aside():
            await self._pause(seconds, errand)

    async def _pause(self, seconds: float, errand: Errand) -> None:
        """Let time pass, and end it early where nothing more is to be tried."""
        until = self._elapsed() + seconds
        while (left := until - self._elapsed()) > 0:
            any_of = {
                asyncio.create_task(self._sleep(left)),
                asyncio.create_task(_is_set(self._resting)),
                asyncio.create_task(_is_set(errand.news)),
            }
            try:
                await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in any_of:
                    task.cancel()
            news = errand.news.is_set()
            errand.news.clear()
            if self._resting.is_set() or (news and not errand.is_wanted()):
                raise _LetBe


def _as_number(breaker: Breaker) -> float:
    return float(breaker.is_open)


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()


def _should_try_again(verdict: Verdict) -> bool:
    return verdict.try_again


def _any(*stops: Callable[[RetryCallState], bool]) -> Callable[[RetryCallState], bool]:
    return lambda state: any(stop(state) for stop in stops)
