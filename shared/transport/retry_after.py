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
    at = read_http_date(asked)
    return None if at is None else min(max((at - now).total_seconds(), 0.0), at_most)


def read_http_date(said: str) -> datetime | None:
    """Return the time that a header such as Date says (RFC 9110, section 5.6.7), in UTC where it names no zone."""
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, OverflowError):  # the latter of a year of many digits
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
