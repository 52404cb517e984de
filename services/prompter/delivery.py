"""Posts signed messages to the webhook, and tries again as `what_is_retried` says, until taken, refused or too late."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from services.prompter.messages import Message
from services.prompter.metrics import ATTEMPT_SECONDS, ATTEMPTS, IN_FLIGHT
from services.prompter.settings import PrompterSettings
from services.prompter.what_is_retried import Verdict, judge_answer, judge_error, wait_before
from shared.transport.webhooks import WebhookKey

_BODY_LIMIT_BYTES: Final = 4096
"""How much of an answer is read; a longer one costs us the connection, not our memory."""

_CONNECT_SECONDS: Final = 5
"""Shorter than the whole attempt's time: that nobody was there to be told is worth knowing for sure."""

_QUOTED_CHARACTERS: Final = 200


class Interrupted(Exception):
    """The service stops: the message's outcome is open, and it will be sent again at the next start."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message.

    Attributes:
        detail: why it failed; empty when it was delivered.
        status: the last HTTP status, if there was any answer to the last attempt.
        attempts: requests made.
        may_have_arrived: it failed, but some attempt's answer was lost, so the receiver may have it.
    """

    delivered: bool
    detail: str
    status: int | None
    attempts: int
    may_have_arrived: bool


class Postman:
    """Delivers messages to one webhook, a bounded number at a time. A part of the service: starts and stops with it.

    Args:
        settings: where to, with which key, how patiently.
        clock: wall clock, aware, for signatures.
        elapsed: a clock that only ever goes forward, in seconds.
        sleep: lets that many seconds pass.
        chance: a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        settings: PrompterSettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = monotonic,
        sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._url = str(settings.webhook_url)
        self._key = WebhookKey(settings.webhook_secret.get_secret_value())
        self._timeout = settings.attempt_timeout_seconds
        self._max_attempts = settings.max_attempts
        self._patience = settings.give_up_after_seconds
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._clock, self._elapsed, self._sleep, self._chance = clock, elapsed, sleep, chance
        self._stopping = asyncio.Event()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_SECONDS), pool=None),
            limits=httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency),
            follow_redirects=False,
            headers={
                "user-agent": "sponsorship-tracker-prompter",
                "content-type": "application/json",
                "accept-encoding": "identity",
            },
        )

    async def start(self) -> None:
        """Do nothing: the webhook need not be there yet."""

    def interrupt(self) -> None:
        """Begin no request and wait for no other attempt from now on; requests under way may end."""
        self._stopping.set()

    async def stop(self) -> None:
        """Close the connections."""
        self.interrupt()
        await self._client.aclose()

    def deadline(self) -> float:
        """Return until when messages that are taken up now are tried again."""
        return self._elapsed() + self._patience

    async def deliver(self, message: Message, until: float) -> Receipt:
        """Post `message` until it is taken, refused for good, tried often enough, or `until` is past.

        Raises:
            Interrupted: the service stops, and the outcome is open.
        """
        verdicts: list[Verdict] = []

        async def attempt() -> Verdict:
            async with self._slots:
                if self._stopping.is_set():
                    raise Interrupted
                verdicts.append(await self._post(message))
            return verdicts[-1]

        def wait(state: RetryCallState) -> float:
            return wait_before(state.attempt_number, verdicts[-1], self._chance())

        def is_too_late(state: RetryCallState) -> bool:
            return self._elapsed() + state.upcoming_sleep > until

        retrying = AsyncRetrying(
            retry=retry_if_result(_should_try_again),
            wait=wait,
            stop=_any(stop_after_attempt(self._max_attempts), is_too_late),
            sleep=self._pause,
            retry_error_callback=lambda _: verdicts[-1],
        )
        last: Verdict = await retrying(attempt)
        gave_up = f" (given up after {len(verdicts)} attempt{'s' if len(verdicts) > 1 else ''})"
        return Receipt(
            delivered=last.result == "delivered",
            detail=last.detail + gave_up if last.try_again else last.detail,
            status=last.status,
            attempts=len(verdicts),
            may_have_arrived=any(verdict.may_have_arrived for verdict in verdicts),
        )

    async def _post(self, message: Message) -> Verdict:
        signed = self._key.sign(message.id, message.body, self._clock())
        answer: httpx.Response | None = None
        said = ""
        begun = self._elapsed()
        with IN_FLIGHT.track_inprogress():
            try:
                # httpx's timeouts are for single reads: a receiver that dribbles would hold us as long as it likes.
                async with (
                    asyncio.timeout(self._timeout),
                    self._client.stream("POST", self._url, content=message.body, headers=signed) as answer,
                ):
                    said = await _beginning(answer)
            except (httpx.TransportError, TimeoutError) as exc:
                verdict = judge_error(exc, self._timeout)
        if answer is not None:  # whatever became of its body, the status is an answer
            headers = answer.headers
            verdict = judge_answer(
                answer.status_code, headers.get("retry-after"), headers.get("location"), said, self._clock()
            )
        ATTEMPT_SECONDS.observe(self._elapsed() - begun)
        ATTEMPTS.labels(verdict.result).inc()
        return verdict

    async def _pause(self, seconds: float) -> None:
        either = {asyncio.create_task(self._sleep(seconds)), asyncio.create_task(_is_set(self._stopping))}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
        if self._stopping.is_set():
            raise Interrupted


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()


def _should_try_again(verdict: Verdict) -> bool:
    return verdict.try_again


def _any(*stops: Callable[[RetryCallState], bool]) -> Callable[[RetryCallState], bool]:
    return lambda state: any(stop(state) for stop in stops)


async def _beginning(answer: httpx.Response) -> str:
    """Return the beginning of the body on one line. Read to its end, if that is near, the connection can be kept."""
    read = b""
    async for chunk in answer.aiter_raw(_BODY_LIMIT_BYTES):
        read += chunk
        if len(read) >= _BODY_LIMIT_BYTES:
            break
    return " ".join(read[:_BODY_LIMIT_BYTES].decode("utf-8", "replace").split())[:_QUOTED_CHARACTERS]
