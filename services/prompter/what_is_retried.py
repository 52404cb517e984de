"""Decides what an answer of a receiver means: taken, refused for good, or to be tried again, and then when.

Pure: statuses, headers and errors in, verdicts and seconds out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final, Literal

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientResponseError,
    ConnectionTimeoutError,
    NonHttpUrlClientError,
)

from shared.transport.retry_after import seconds_to_wait

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 300.0

_TRY_AGAIN: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)}
)
_WHAT_TO_DO: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "does it have the key of {key}, and do both clocks agree?",
    HTTPStatus.FORBIDDEN: "does it have the key of {key}?",
    HTTPStatus.NOT_FOUND: "is {url} right?",
    HTTPStatus.GONE: "it wants no more messages at this address: set {url} to one that does, "
    "then replay the dead letters",
}

Result = Literal["delivered", "refused", "busy", "unreachable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt came to.

    Attributes:
        result: delivered; refused (for good); busy (answered, to be tried again); unreachable (no answer, the same).
        detail: what happened, for an operator; empty when delivered.
        status: the HTTP status, where there was an answer.
        retry_after: seconds that the receiver asks us to wait, at most the cap; None when it asks for nothing.
        may_have_arrived: not delivered as far as we know, but the receiver may have taken it.
        of_one_recipient: it says something of this sponsor's mailbox, and nothing of the endpoint.
    """

    result: Result
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None
    may_have_arrived: bool = False
    of_one_recipient: bool = False

    @property
    def try_again(self) -> bool:
        """Tell whether another attempt may fare better."""
        return self.result in ("busy", "unreachable")


def judge_answer(
    status: int,
    retry_after: str | None,
    location: str | None,
    said: str,
    now: datetime,
    *,
    url_setting: str,
    key_setting: str,
) -> Verdict:
    """Return what an answer means.

    Args:
        status: the HTTP status.
        retry_after: the header of that name, as sent.
        location: the header of that name, as sent.
        said: the beginning of the body.
        now: for a Retry-After that is a date.
        url_setting: the setting that holds the address, for advice.
        key_setting: the setting that holds the key or token, the same.
    """
    if 200 <= status < 300:
        return Verdict("delivered", status=status)
    answered = f"the receiver answered {_named(status)}"
    if status in _TRY_AGAIN:
        wait = seconds_to_wait(retry_after, now)
        asked = f" and asked us to wait {wait:g} s" if wait is not None else ""
        return Verdict("busy", f"{answered}{asked}{_quoted(said)}", status, wait, may_have_arrived=status >= 500)
    if 300 <= status < 400:
        where = f" to {location[:200]!r}" if location else ""
        advice = f"redirects are not followed; set {url_setting} to the address that it leads to"
        return Verdict("refused", f"{answered}{where}: {advice}", status)
    advice = _WHAT_TO_DO.get(status, "").format(url=url_setting, key=key_setting)
    advised = f": {advice}" if advice else ""
    return Verdict("refused", f"{answered}{advised}{_quoted(said)}", status)


def judge_error(error: ClientError | OSError | ValueError, timeout_seconds: float) -> Verdict:
    """Return what it means that there was no answer.

    Args:
        error: as aiohttp raised it; a TimeoutError is an OSError.
        timeout_seconds: how long an attempt may take.
    """
    if isinstance(error, ClientConnectorError | ConnectionTimeoutError | ClientHttpProxyError):
        return Verdict("unreachable", f"can't connect to the receiver: {_why(error)}")
    if isinstance(error, TimeoutError):
        return Verdict(
            "unreachable", f"the receiver did not answer within {timeout_seconds:g} s", may_have_arrived=True
        )
    if isinstance(error, ValueError | NonHttpUrlClientError):
        return Verdict("refused", f"the request can't be made: {type(error).__name__}")
    return Verdict("unreachable", f"the connection broke before the answer came: {_why(error)}", may_have_arrived=True)


def _why(error: Exception) -> str:
    """Return what went wrong without the address, which of an incoming webhook is its key."""
    if isinstance(error, ConnectionTimeoutError):
        return "it did not answer in time"
    if isinstance(error, ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error) or type(error).__name__


def wait_before(attempt: int, last: Verdict, chance: float) -> float:
    """Return the seconds to wait before the attempt after number `attempt` (from 1).

    Twice as long each time, of which half by chance, so that many who failed at once don't come back at once.

    Args:
        chance: from 0 to 1.
    """
    if last.retry_after is not None:
        return last.retry_after
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(attempt - 1, 10))
    return longest * (0.5 + 0.5 * chance)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _quoted(said: str) -> str:
    return f" ({said!r})" if said else ""
