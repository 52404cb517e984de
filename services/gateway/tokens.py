"""Decides which source a bearer token speaks for."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from shared.service.secrets import pairs_of


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


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
