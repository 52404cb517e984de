"""Reads settings that list secrets: ``name=secret``, separated by commas."""

from __future__ import annotations

from typing import Final

SHORTEST_SECRET: Final = 16
"""Characters. Below this a token can be guessed; `openssl rand -hex 32` makes a good one."""


def pairs_of(text: str, form: str) -> list[tuple[int, str, str]]:
    """Return the entries of a list of secrets, separated by commas: the number of each, whose it is, and the secret.

    Args:
        text: the list; the first ``=`` of an entry parts it.
        form: how an entry has to look, for the error.

    Raises:
        ValueError: an entry is unfit; the message counts entries and shows no secret.
    """
    pairs = []
    for number, entry in enumerate((part.strip() for part in text.split(",")), start=1):
        if not entry:
            continue
        name, equals, secret = (part.strip() for part in entry.partition("="))
        if not (name and equals and secret):
            raise ValueError(f"entry {number} is not {form}")
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"entry {number}: what {name} has is shorter than {SHORTEST_SECRET} characters")
        pairs.append((number, name, secret))
    return pairs
