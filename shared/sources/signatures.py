"""Decides whether a request comes from who holds a source's secret: by its raw body, before anything of it is parsed.

Vendors' schemes differ in four things only: what is signed, by which hash, how it is written, and in which header. So a
declaration says those, and there is one piece of code that compares.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract
from shared.sources.expressions import Unmappable, read_time

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_MOST_CANDIDATES: Final = 8
"""Signatures in one header that are compared: senders that rotate keys send two."""
_PLACES: Final = re.compile(r"\{(\w*)\}")
_PARTS: Final = ("body", "timestamp", "id")
_USERNAME: Final = re.compile(rb"<(?:[\w.-]{1,50}:)?Username(?:\s[^<>]{0,500})?>([^<>]{1,1000})</")
_PASSWORD: Final = re.compile(rb"<(?:[\w.-]{1,50}:)?Password(?:\s[^<>]{0,500})?>([^<>]{1,1000})</")
"""What an element of that name holds, whatever the sender calls the namespace."""


class BadSignature(Exception):
    """The request does not come from who holds the secret, or not lately; the message says which, and no secret."""


class _Scheme(Contract):
    """How a request is told to be genuine."""

    def kept(self, body: bytes) -> bytes:
        """Return the body as it is to be kept."""
        return body


class Hmac(_Scheme):
    """A signature by HMAC (RFC 2104)."""

    kind: Literal["hmac"]
    header: HeaderName = Field(description="where the signature is; several may stand there, separated by blanks")
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    prefix: str = Field("", description="what stands before a signature, as sha256= or v1,")
    signed: str = Field("{body}", description="what is signed, of {body}, {timestamp} and {id}")
    timestamp_header: HeaderName | None = None
    id_header: HeaderName | None = None
    tolerance_seconds: int = Field(300, ge=1, le=86400, description="how far the timestamp may be from now")
    key_encoding: Literal["text", "base64"] = Field(
        "text", description="base64: the secret is the key in base64, after whsec_ if it has that"
    )

    @model_validator(mode="after")
    def _all_that_is_signed_is_there(self) -> Hmac:
        parts = _PLACES.findall(self.signed)
        if "body" not in parts or not set(parts) <= set(_PARTS):
            raise ValueError("signed: has {body}, and beside it {timestamp} and {id} at most")
        for part, header in (("timestamp", self.timestamp_header), ("id", self.id_header)):
            if (part in parts) != (header is not None):
                raise ValueError(
                    f"{part}_header and {{{part}}} in signed belong together: a header not signed says nothing"
                )
        return self

    def key(self, secret: str) -> bytes:
        """Return the key that `secret` writes.

        Raises:
            ValueError: it is not base64, where it has to be.
        """
        if self.key_encoding == "text":
            return secret.encode()
        encoded = secret.removeprefix("whsec_")
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error as exc:
            raise ValueError("the secret is not base64, after whsec_ if it has that") from exc

    def check(self, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Return if one of `secrets` signed this, lately.

        Args:
            secrets: those that are valid now: two while one is being replaced.
            headers: the request's, names in lower case.
            body: as it came.
            now: aware.

        Raises:
            BadSignature: none did.
        """
        sent = _header(headers, self.header, "the signature")
        values = {"timestamp": b"", "id": b""}
        for part, name in (("timestamp", self.timestamp_header), ("id", self.id_header)):
            if name is not None:
                values[part] = _header(headers, name, "which is part of what is signed,").encode("latin-1", "replace")
        signed = self.what_is_signed({**values, "body": body})
        candidates = [one for one in sent.split() if one.startswith(self.prefix)][:_MOST_CANDIDATES]
        if not candidates:
            raise BadSignature(f"no signature in {self.header} begins with {self.prefix!r}")
        right = False
        for secret in secrets:
            expected = self.sign(self.key(secret), signed)
            for candidate in candidates:
                # Every pair is compared, each in constant time: how long it takes says nothing.
                right |= hmac.compare_digest(self._as_compared(expected), self._as_compared(candidate))
        if not right:
            raise BadSignature(f"the signature in {self.header} is not that of this body with a secret known here")
        if self.timestamp_header is not None:
            self._check_age(headers[self.timestamp_header.lower()], now)

    def what_is_signed(self, values: Mapping[str, bytes]) -> bytes:
        """Return the bytes that are signed, where `values` are those of `body`, `timestamp` and `id`."""
        pieces = _PLACES.split(self.signed)  # what stands between, and names, in turns
        return b"".join(values[piece] if at % 2 else piece.encode() for at, piece in enumerate(pieces))

    def sign(self, key: bytes, signed: bytes) -> str:
        """Return the signature as it stands in the header."""
        digest = hmac.new(key, signed, getattr(hashlib, self.algorithm)).digest()
        match self.encoding:
            case "hex":
                return self.prefix + digest.hex()
            case "base64":
                return self.prefix + base64.b64encode(digest).decode()
            case "base64url":
                return self.prefix + base64.urlsafe_b64encode(digest).decode()

    def _as_compared(self, signature: str) -> bytes:
        # Hex in either case, base64 with padding or without: senders' libraries differ, and nothing is lost by it.
        signature = signature.removeprefix(self.prefix)
        signature = signature.lower() if self.encoding == "hex" else signature.rstrip("=")
        return signature.encode("utf-8", "replace")

    def _check_age(self, said: str, now: datetime) -> None:
        try:
            age = (now - read_time(said)).total_seconds()
        except Unmappable as exc:
            raise BadSignature(f"{self.timestamp_header}: {exc}") from exc
        if abs(age) > self.tolerance_seconds:
            raise BadSignature(
                f"it was signed {abs(age):.0f} s {'ago' if age > 0 else 'from now'}, allowed are "
                f"{self.tolerance_seconds}: an old request sent again, or a clock that is wrong"
            )


class Token(_Scheme):
    """A secret sent as it is. Whoever carries the request can read it, so only over TLS."""

    kind: Literal["token"]
    header: HeaderName = "Authorization"
    prefix: str = "Bearer "

    def key(self, secret: str) -> bytes:
        """Return the token."""
        return secret.encode()

    def check(self, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:  # noqa: ARG002
        """Return if the token is one of `secrets`; see `Hmac.check`.

        Raises:
            BadSignature: it is not.
        """
        sent = _header(headers, self.header, "the token")
        right = _is_one_of(secrets, sent.removeprefix(self.prefix).encode("utf-8", "replace"))
        if not (right and sent.startswith(self.prefix)):
            raise BadSignature(f"the token in {self.header} is not known here; was it replaced?")


class _LoginScheme(_Scheme):
    """A name and a password."""

    def key(self, secret: str) -> bytes:
        """Return the name and the password.

        Raises:
            ValueError: it is not both.
        """
        if ":" not in secret:
            raise ValueError("the secret is user:password")
        return secret.encode()


class Login(_LoginScheme):
    """A name and a password in HTTP's basic authentication (RFC 7617). Only over TLS, as a token."""

    kind: Literal["basic"]

    def check(self, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:  # noqa: ARG002
        """Return if one of `secrets` was sent; see `Hmac.check`.

        Raises:
            BadSignature: none was.
        """
        scheme, _, encoded = _header(headers, "Authorization", "the login").partition(" ")
        try:
            sent = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):  # the latter of what is no ASCII
            sent = b""
        if not _is_one_of(secrets, sent):
            raise BadSignature("the login in Authorization is not known here; was the password replaced?")


class UsernameToken(_LoginScheme):
    """A name and a password in the body (WS-Security, UsernameToken with PasswordText). Only over TLS, as a token.

    They are looked for in the raw bytes, for nothing is parsed that may be anybody's: who has them in the body,
    wherever they stand in it, holds the secret.
    """

    kind: Literal["username_token"]

    def check(self, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:  # noqa: ARG002
        """Return if one of `secrets` was sent; see `Hmac.check`.

        Raises:
            BadSignature: none was.
        """
        name, password = _USERNAME.search(body), _PASSWORD.search(body)
        if name is None or password is None:
            raise BadSignature("the body has no UsernameToken with Username and Password: was the login set up there?")
        sent = ":".join(html.unescape(found[1].decode("utf-8", "replace")).strip() for found in (name, password))
        if not _is_one_of(secrets, sent.encode()):
            raise BadSignature("the login in the body is not known here; was the password replaced?")

    def kept(self, body: bytes) -> bytes:
        """Return the body without what its Password elements hold."""
        return _PASSWORD.sub(lambda found: found[0][: found.start(1) - found.start()] + b"</", body)


Signature = Annotated[Hmac | Token | Login | UsernameToken, Field(discriminator="kind")]


def _is_one_of(secrets: Sequence[str], sent: bytes) -> bool:
    # By their digests, for the time that compare_digest takes depends on the length.
    asked = hashlib.sha256(sent).digest()
    right = False
    for secret in secrets:
        right |= hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), asked)
    return right


def _header(headers: Mapping[str, str], name: str, what: str) -> str:
    value = headers.get(name.lower(), "")
    if not value:
        raise BadSignature(f"{name}, {what} is missing" if what.endswith(",") else f"{what} is missing: send {name}")
    return value
