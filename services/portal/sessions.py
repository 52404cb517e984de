"""Decides who is asking: opens links, and signs and checks sessions and the tokens of forms.

A session is a signed cookie, and holds nothing but whom it is for and a name of its own. A form's token belongs to one
session and is new each time the form is shown; it names what the form leads to, so that the same form sent twice leads
to the same event.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from itsdangerous import BadData, URLSafeTimedSerializer

from shared.contracts.ids import EmployeeId

COOKIE: Final = "sponsorship-portal"
OWN_COOKIE: Final = "sponsorship-own"

Opens = Literal["prompts", "own", "all"]
"""What a session lets its person see: prompts to them as a sponsor, the evidence about themselves, or both."""
_BEGUN_BY: Final[dict[str, Opens]] = {"link": "prompts", "own-link": "own", "sign-in": "all"}


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has opened a link.

    Attributes:
        person_id: whose link it was.
        name: tells this session from others; in the audit.
        opens: what it lets the person see.
    """

    person_id: EmployeeId
    name: str
    opens: Opens = "prompts"


class NotSignedIn(Exception):
    """There is no session, or its time is over."""


class StaleForm(Exception):
    """The form is not one that this session was shown lately."""


class Sessions:
    """Signs and checks.

    Args:
        keys: all that are valid, newest first.
        seconds: how long a session is good for, and a form.
        begun_by: what a session begins with, a link to a prompt or to one's own evidence, or a sign-in; those of
            another kind are none.
    """

    def __init__(
        self, keys: Sequence[str], seconds: int, begun_by: Literal["link", "own-link", "sign-in"] = "link"
    ) -> None:
        self.seconds = seconds
        self.opens = _BEGUN_BY[begun_by]
        # One browser may hold a session of each: a sponsor is somebody's protégé, too.
        self.cookie_name = OWN_COOKIE if self.opens == "own" else COOKIE
        self._cookies = _signer(keys, f"session-{begun_by}")
        self._forms = _signer(keys, "form")

    def begin(self, person_id: EmployeeId) -> Session:
        """Return a new session."""
        return Session(person_id, secrets.token_urlsafe(9), self.opens)

    def cookie(self, session: Session) -> str:
        """Return the cookie's value."""
        return str(self._cookies.dumps([session.person_id, session.name]))

    def read(self, cookie: str | None) -> Session:
        """Return whose cookie this is.

        Raises:
            NotSignedIn: it is none of ours, or too old.
        """
        try:
            person_id, name = self._cookies.loads(cookie or "", max_age=self.seconds)
        except (BadData, ValueError, TypeError) as exc:
            raise NotSignedIn from exc
        return Session(EmployeeId(person_id), name, self.opens)

    def form_token(self, session: Session) -> str:
        """Return a token for one showing of a page; its forms carry it."""
        return str(self._forms.dumps([session.name, secrets.token_urlsafe(9)]))

    def check_form(self, session: Session, token: str) -> str:
        """Return the name of the showing that `token` belongs to.

        Raises:
            StaleForm: it belongs to another session, is too old, or is none of ours.
        """
        try:
            name, showing = self._forms.loads(token, max_age=self.seconds)
        except (BadData, ValueError, TypeError) as exc:
            raise StaleForm from exc
        if name != session.name:
            raise StaleForm
        return str(showing)


def _signer(keys: Sequence[str], salt: str) -> URLSafeTimedSerializer:
    # The library signs with the last of several keys.
    return URLSafeTimedSerializer(
        list(reversed(keys)), salt=f"portal-{salt}", signer_kwargs={"digest_method": hashlib.sha256}
    )
