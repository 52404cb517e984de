"""Makes text that came from elsewhere fit to be shown in a line of ours."""

from __future__ import annotations

import unicodedata
from typing import Final
from urllib.parse import urlsplit

_DIRECTION_MARKS: Final = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def plain(text: str) -> str:
    """Return `text` on one line, without what could take hold of a terminal or turn the reading direction."""
    if text.isascii() and text.isprintable():  # most is, and each prompt is made of dozens of such
        return " ".join(text.split())
    kept = (" " if character.isspace() else character for character in text if character not in _DIRECTION_MARKS)
    return " ".join("".join(c for c in kept if unicodedata.category(c) != "Cc").split())


def web_address(text: str) -> str:
    """Return `text` as an address that may be followed; nothing where it is none: people and sources send any text."""
    address = text.strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return address if parts.scheme in ("http", "https") and parts.netloc else ""


def sentence(text: str) -> str:
    """Return `text` with a full stop where it has no end."""
    return text if not text or text[-1] in ".!?…" else f"{text}."
