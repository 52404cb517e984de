"""Decides in which language a sponsor's messages are written: their own choice above the company's default."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.languages import Language, choose, read_languages

_SERVICE: Final = Path(__file__).parent


def language_of(company: str, chosen: str | None) -> str:
    """Return the language's tag. A choice that there is no catalogue for falls back to the company's.

    Args:
        company: the company's default.
        chosen: the BCP 47 tag that the sponsor chose, if any; `de-AT` is written in `de`.
    """
    return choose(read_languages(_SERVICE), chosen, company).tag


def language(tag: str) -> Language:
    """Return the language of that tag; English where its catalogue has gone since the message was planned."""
    return choose(read_languages(_SERVICE), tag, "")


def known_language(tag: str) -> str:
    """Return `tag` if messages can be written in it.

    Raises:
        ValueError: there is no catalogue for it.
    """
    known = read_languages(_SERVICE)
    if tag not in known:
        raise ValueError(f"messages can't be written in {tag!r}: write one of {', '.join(known)}")
    return tag
