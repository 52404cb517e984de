"""Reads what a server asks its callers to wait, by Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER_CAP_SECONDS: Final = 60.0
"""The longest wait that a server can ask for where nothing else is said; past it, we come back unasked."""


def seconds_to_wait(
    retry_after: str | None, now: datetime, *, at_most: float = RETRY_AFTER_CAP_SECONDS
) -> float | None:
    """Return what a Retry-After header asks for (RFC 9110, section 10.2.3), from 0 to `at_most`; None if nothing."""
    if retry_after is None:
        return None
    asked = retry_after.strip()
    if asked.isascii() and asked.isdigit():
        # No date is meant by so many digits, and float() of thousands of them would not end well.
        return min(float(asked[:10]), at_most)
    try:
        at = parsedate_to_datetime(asked)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), at_most)
