"""Makes the link by which one person sees the evidence on record about them, where the company has no sign-in."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.contracts.ids import EmployeeId
from shared.portal_links import own_link, read_keys

LONGEST_DAYS: Final = 90
"""A link is as good as its keeper: one that is found years later must open nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `person link`."""
    parser.add_argument(
        "--days", type=_days, default=14, help=f"how long it opens the page, {LONGEST_DAYS} at most (%(default)s)"
    )


def run(asked: argparse.Namespace) -> int:
    """Write the link to stdout, and whom it lets in, until when, to stderr. Asks nobody whether the person exists."""
    url = os.environ.get("PORTAL_URL", "")
    if not url:
        return _refused("PORTAL_URL is empty: write the portal's address, as https://sponsorship.example.com")
    try:
        key = read_keys(os.environ.get("PORTAL_KEYS", ""))[0]
    except ValueError as exc:
        return _refused(f"PORTAL_KEYS: {exc}")
    expires = datetime.now(UTC) + timedelta(days=asked.days)
    print(own_link(url, key, EmployeeId(asked.employee), expires))
    print(
        f"lets in whoever has it, as {asked.employee}, until {expires:%Y-%m-%d %H:%M} UTC: send it to them alone",
        file=sys.stderr,
    )
    return 0


def _refused(why: str) -> int:
    print(f"tracker person: {why}", file=sys.stderr)
    return 1


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= LONGEST_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {LONGEST_DAYS}")
    return int(text)
