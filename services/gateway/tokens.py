"""Decides which source a bearer token speaks for."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

SHORTEST_TOKEN = 16
"""Characters. Below this a token can be guessed; `openssl rand -hex 32` makes a good one."""


class Tokens:
    """The tokens that are let in, each for one source. Holds their digests only, so none can leak from here."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._known = [(_digest(token), source) for source, token in pairs]

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Return the tokens that `text` lists: ``source=token``, separated by commas.

        The first ``=`` parts them: sources are URIs, in which ``:`` and ``/`` are common, and a token may end in ``=``.

        Raises:
            ValueError: the text lists none, or an entry is unfit; the message counts entries and shows no token.
        """
        pairs = pairs_of(text, "source=token, as urn:acme:hris=9f86d081884c7d65")
        sources: dict[bytes, str] = {}
        for number, source, token in pairs:
            if sources.setdefault(_digest(token), source) != source:
                raise ValueError(f"entry {number}: the token of {source} is also another source's; make one for each")
        if not pairs:
            raise ValueError("there is none, so nobody could send: list source=token, separated by commas")
        return cls((source, token) for _, source, token in pairs)

    def source_of(self, token: str) -> str | None:
        """Return the source that `token` speaks for, or None when it is not known.

        Takes the same time whichever token it is, and however much of it is right.
        """
        asked = _digest(token)
        found = None
        for known, source in self._known:
            if hmac.compare_digest(known, asked):
                found = source
        return found


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
        if len(secret) < SHORTEST_TOKEN:
            raise ValueError(f"entry {number}: what {name} has is shorter than {SHORTEST_TOKEN} characters")
        pairs.append((number, name, secret))
    return pairs


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
