"""Signs webhooks as Standard Webhooks 1.0 say, and checks such signatures: the key is what both ends share.

The scheme is the `standardwebhooks` library's (https://github.com/standard-webhooks/standard-webhooks, spec/).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
_BYTES: Final = (24, 64)
"""Least and greatest length of a key in bytes (the specification's "Signature scheme")."""


class BadSignature(Exception):
    """The message was not signed with our key, or not lately; the message says which."""


class WebhookKey:
    """The secret of one webhook, shared by its sender and its receiver.

    Args:
        secret: ``whsec_`` and the key in base64, as `openssl rand -base64 32` gives it.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """

    def __init__(self, secret: str) -> None:
        if not secret.startswith(_PREFIX):
            raise ValueError(f"must begin with {_PREFIX}: {_PREFIX}<base64>, the base64 from `openssl rand -base64 32`")
        encoded = secret.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error as exc:
            raise ValueError(f"what follows {_PREFIX} must be base64, as `openssl rand -base64 32` gives it") from exc
        if not _BYTES[0] <= len(key) <= _BYTES[1]:
            raise ValueError(f"the key has {len(key)} bytes, {_BYTES[0]} to {_BYTES[1]} are asked for")
        self._webhook = Webhook(key)

    def sign(self, message_id: str, body: bytes, attempted_at: datetime) -> dict[str, str]:
        """Return the headers of one attempt to send `body`.

        Args:
            message_id: the same for every attempt at the same message; the receiver knows a repeat by it.
            body: the request's body, byte for byte.
            attempted_at: now; a receiver refuses what was signed more than five minutes ago.
        """
        at = attempted_at.astimezone(UTC)
        return {
            ID_HEADER: message_id,
            TIMESTAMP_HEADER: str(int(at.timestamp())),
            SIGNATURE_HEADER: self._webhook.sign(message_id, at, body.decode()),
        }

    def check(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the id of the message if it was signed with this key within the last five minutes.

        Raises:
            BadSignature: it was not.
        """
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as exc:
            raise BadSignature(str(exc)) from exc
        except ValueError as exc:  # the library lets through what its parsing raises on a malformed header or body
            raise BadSignature(f"malformed: {exc}") from exc
        return next(value for name, value in headers.items() if name.lower() == ID_HEADER)
