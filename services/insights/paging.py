"""Cuts a list into pages by the last id seen, so that pages hold still while the list changes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 500


class BadCursor(ValueError):
    """The cursor is none of this list; the message says what to do."""


def write_cursor(of: str, last_id: str) -> str:
    """Return the cursor of the page that follows `last_id` in the list named `of`."""
    return base64.urlsafe_b64encode(json.dumps([of, last_id]).encode()).decode().rstrip("=")


def read_cursor(of: str, cursor: str) -> str:
    """Return the id after which the page begins.

    Raises:
        BadCursor: it was not made by `write_cursor` for this list.
    """
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not (isinstance(found, list) and len(found) == 2 and found[0] == of and isinstance(found[1], str)):
        raise BadCursor(f"is no cursor of {of}: take `next` of a page of this list as it is, or leave it out")
    if "\x00" in found[1]:
        raise BadCursor("holds a NUL")
    return found[1]


def cut(found: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Return the page out of `limit` + 1 rows that were asked for, and its last row if more follow."""
    page = found[:limit]
    return page, page[-1] if len(found) > limit else None
