"""Decides for whom a bearer token speaks."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from shared.service.secrets import pairs_of


class Tokens:
    """The tokens that are let in, each of one sender. Holds their digests only, so none can leak from here."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._known = [(_digest(token), sender) for sender, token in pairs]

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Return the tokens that `text` lists: ``sender=token``, separated by commas.

        The first ``=`` parts them: senders may be URIs, in which ``:`` and ``/`` are common, and a token may end in
        ``=``.

        Raises:
            ValueError: the text lists none, or an entry is unfit; the message counts entries and shows no token.
        """
        pairs = pairs_of(text, "sender=token, as urn:acme:hris=9f86d081884c7d65")
        senders: dict[bytes, str] = {}
        for number, sender, token in pairs:
            if senders.setdefault(_digest(token), sender) != sender:
                raise ValueError(f"entry {number}: the token of {sender} is also another's; make one for each")
        if not pairs:
            raise ValueError("there is none, so nobody could send: list sender=token, separated by commas")
        return cls((sender, token) for _, sender, token in pairs)

    def sender_of(self, token: str) -> str | None:
        """Return for whom `token` speaks, or None when it is not known.

        Takes the same time whichever token it is, and however much of it is right.
        """
        asked = _digest(token)
        found = None
        for known, sender in self._known:
            if hmac.compare_digest(known, asked):
                found = sender
        return found


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
