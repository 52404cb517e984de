"""Decides in which language a sponsor's messages are written: their choice, above their records, above the default."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.languages import Language, choose, read_languages

_SERVICE: Final = Path(__file__).parent


def language_of(chosen: str | None, recorded: str | None, company: str) -> str:
    """Return the tag of the first of these for which there is a catalogue; `de-AT` is written in `de`.

    Args:
        chosen: the BCP 47 tag that the sponsor chose, if any.
        recorded: the one that the company's records have of them, if any.
        company: the company's default.
    """
    return choose(read_languages(_SERVICE), chosen, ",".join(tag for tag in (recorded, company) if tag)).tag


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
