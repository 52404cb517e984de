"""Makes and reads links into the portal, each signed, for one person and to one thing: a prompt, all messages to stop,
or the evidence about oneself. Those to a prompt and to evidence expire. What one kind of link opens, no other does.

Whoever sends prompts makes those to prompts, and the portal reads them; both hold the key. The same prompt always gives
the same link, so that a message that is sent again is the message that was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

from shared.contracts.ids import EmployeeId, PromptId
from shared.contracts.outputs import PromptOpened, PromptUpdated

SHORTEST_KEY: Final = 32
"""Characters. As many as `openssl rand -hex 16` prints: 128 bits."""
AFTER_THE_END: Final = timedelta(days=14)
"""How long a link outlives what it asks about: so long it says that the decision is closed, and what was answered."""
_SALT: Final = "prompt-link"
_STOP_SALT: Final = "stop-link"
_OWN_SALT: Final = "own-link"


class BadLink(ValueError):
    """The link is not one of ours, or its time is over; the message says which, for a log."""


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """Where links lead, and what signs them: what whoever sends prompts needs to know of the portal."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says: whom it lets in, and to answer what."""

    sponsor_id: EmployeeId
    prompt_id: PromptId


def prompt_link(portal_url: str, key: str, prompt: PromptOpened | PromptUpdated) -> str:
    """Return the address on which the prompt's sponsor, and nobody else, answers it.

    Args:
        portal_url: the portal's address as sponsors reach it.
        key: the newest of the portal's keys.
        prompt: what is asked.
    """
    # In seconds, for a source may say that it closes at the end of time, after which there is no date.
    expires = int(prompt.body.opportunity.closes_at.timestamp() + AFTER_THE_END.total_seconds())
    token = _signer([key]).dumps([prompt.sponsor_id, prompt.prompt_id, expires])
    return f"{portal_url.rstrip('/')}/p/{token}"


def read_link(keys: Sequence[str], token: str, now: datetime) -> Link:
    """Return what the last part of a link says.

    Args:
        keys: all keys that are valid, newest first; two are, while one replaces the other.
        token: that part.
        now: the time, aware.

    Raises:
        BadLink: no key has signed it, or it has expired.
    """
    try:
        sponsor_id, prompt_id, expires = _signer(keys).loads(token)
    except (BadData, ValueError, TypeError) as exc:
        raise BadLink("none of the keys has signed it") from exc
    if now.timestamp() >= expires:
        raise BadLink("its time is over")
    return Link(EmployeeId(sponsor_id), PromptId(prompt_id))


def stop_link(portal_url: str, key: str, sponsor_id: EmployeeId) -> str:
    """Return the address at which all messages to this person are stopped by one click (RFC 8058).

    It does not expire, for a mail may be opened years later; the worst that it can do to its person is silence.
    """
    return f"{portal_url.rstrip('/')}/unsubscribe/{_signer([key], _STOP_SALT).dumps(sponsor_id)}"


def read_stop_link(keys: Sequence[str], token: str) -> EmployeeId:
    """Return whom the last part of such an address is for.

    Raises:
        BadLink: no key has signed it.
    """
    try:
        sponsor_id = _signer(keys, _STOP_SALT).loads(token)
    except (BadData, ValueError) as exc:
        raise BadLink("none of the keys has signed it") from exc
    return EmployeeId(str(sponsor_id))


def own_link(portal_url: str, key: str, person_id: EmployeeId, expires: datetime) -> str:
    """Return the address at which a person, and nobody else, sees the evidence that is on record about them.

    Args:
        portal_url: the portal's address as people reach it.
        key: the newest of the portal's keys.
        person_id: whom it lets in.
        expires: from when on it opens nothing, aware.
    """
    token = _signer([key], _OWN_SALT).dumps([person_id, int(expires.timestamp())])
    return f"{portal_url.rstrip('/')}/e/{token}"


def read_own_link(keys: Sequence[str], token: str, now: datetime) -> EmployeeId:
    """Return whom the last part of such an address lets in.

    Raises:
        BadLink: no key has signed it, or it has expired.
    """
    try:
        person_id, expires = _signer(keys, _OWN_SALT).loads(token)
    except (BadData, ValueError, TypeError) as exc:
        raise BadLink("none of the keys has signed it") from exc
    if now.timestamp() >= expires:
        raise BadLink("its time is over")
    return EmployeeId(person_id)


def read_keys(text: str) -> list[str]:
    """Return the keys in a setting, newest first.

    Raises:
        ValueError: there is none, or one is too short to be safe.
    """
    keys = [key for part in text.split(",") if (key := part.strip())]
    if not keys or any(len(key) < SHORTEST_KEY for key in keys):
        raise ValueError(
            f"write one key of {SHORTEST_KEY} characters or more (openssl rand -hex 32), or several, newest first, "
            "separated by commas"
        )
    return keys


def _signer(keys: Sequence[str], salt: str = _SALT) -> URLSafeSerializer:
    # The library signs with the last of several keys.
    return URLSafeSerializer(list(reversed(keys)), salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
