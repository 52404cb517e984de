"""Decides when an endpoint that does not answer is left alone, and when it is tried again: a circuit breaker.

Pure: the time comes from the caller.
"""

from __future__ import annotations

from typing import Final

from services.prompter.what_is_retried import Verdict

FAILURES: Final = 5
"""Attempts in a row that fail for now before the circuit opens."""
_FIRST_REST_SECONDS: Final = 10.0
_LONGEST_REST_SECONDS: Final = 120.0


class Breaker:
    """The circuit to one endpoint. Open, nothing is sent; after a rest one attempt goes, and its result decides."""

    def __init__(self) -> None:
        self._failures = 0
        self._rests = 0
        self._open_until: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Tell whether the endpoint is left alone, or just tried again."""
        return self._open_until is not None

    def seconds_to_wait(self, now: float) -> float:
        """Return how long an attempt has to wait; 0 if it may go, and then `note` has to follow.

        Args:
            now: seconds of a clock that only goes forward.
        """
        if self._open_until is None:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        if self._trying:
            return 1.0
        self._trying = True
        return 0.0

    def note(self, verdict: Verdict, now: float) -> None:
        """Take in what an attempt came to. Whoever refuses a message for good is there, or one recipient for now."""
        self._trying = False
        if not verdict.try_again or verdict.of_one_recipient:
            self._failures = self._rests = 0
            self._open_until = None
        elif verdict.retry_after is not None:  # asked for by the endpoint, so meant for whatever we have for it
            self._open_until = max(self._open_until or 0.0, now + verdict.retry_after)
        else:
            self._failures += 1
            if self._failures >= FAILURES:
                rest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2.0 ** min(self._rests, 10))
                self._rests += self._open_until is None or now >= self._open_until
                self._open_until = now + rest

    def abandon(self) -> None:
        """Take back an attempt that was let go and not made."""
        self._trying = False
