"""Signs people in with the company's OpenID provider: authorization code with PKCE (RFC 7636), state and nonce.

With it a link alone shows nothing: whoever opens it has to be the person it is for.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from shared.contracts.ids import PromptId, Ref, normalised_ref

COOKIE: Final = "sponsorship-sign-in"
TAKES_AT_MOST_SECONDS: Final = 600
"""How long a person may be at the provider."""
_METADATA_GOOD_FOR_SECONDS: Final = 3600
_TIMEOUT_SECONDS: Final = 5
_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
"""Signatures by keys that only the provider has; never `none`, never a shared secret."""


class SignInFailed(Exception):
    """Nobody could be signed in; the message says why, for a log. It holds no token and no code."""


class ProviderAway(SignInFailed):
    """The provider can't be asked."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that has begun.

    Attributes:
        address: where at the provider it goes on.
        cookie: what this browser has to bring back.
    """

    address: str
    cookie: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who has shown who they are.

    Attributes:
        ref: how the provider names them.
        prompt_id: what they wanted to see; None for no prompt in particular.
        own: whether they wanted to see the evidence about themselves.
    """

    ref: Ref
    prompt_id: PromptId | None
    own: bool


@dataclass(frozen=True, slots=True)
class _Provider:
    issuer: str
    authorize: str
    token: str
    keys: KeySet


class Provider:
    """The company's OpenID provider.

    Args:
        issuer: its address; its configuration is at ``/.well-known/openid-configuration`` below.
        client_id: what it knows us as.
        client_secret: our secret; empty where PKCE alone is asked for.
        claim: which claim of the ID token names the person.
        portal_url: where people reach us.
        keys: what cookies are signed with, newest first.
        transport: the way to the provider, where it is not the network.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        claim: str,
        portal_url: str,
        keys: Sequence[str],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id, self._client_secret, self._claim = client_id, client_secret, claim
        self._redirect = f"{portal_url.rstrip('/')}/signed-in"
        self._cookies = URLSafeTimedSerializer(
            list(reversed(keys)), salt="portal-sign-in", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._transport = transport
        self._known: tuple[float, _Provider] | None = None
        self._asking = asyncio.Lock()

    async def begin(self, prompt_id: PromptId | None, *, own: bool = False) -> Begun:
        """Return where to send a person who wants to see `prompt_id`, or the evidence about themselves.

        Raises:
            ProviderAway: it can't be asked.
        """
        provider = await self._provider()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        async with self._client() as client:
            address, state = client.create_authorization_url(provider.authorize, code_verifier=verifier, nonce=nonce)
        return Begun(address, str(self._cookies.dumps([state, nonce, verifier, prompt_id, own])))

    async def finish(self, cookie: str | None, answer: str) -> SignedIn:
        """Return who has come back.

        Args:
            cookie: what the browser was given at the beginning.
            answer: the address at which the provider sent it back, whole.

        Raises:
            SignInFailed: it was not begun in this browser, took too long, or the provider did not confirm it.
        """
        try:
            state, nonce, verifier, prompt_id, own = self._cookies.loads(cookie or "", max_age=TAKES_AT_MOST_SECONDS)
        except (BadData, ValueError, TypeError) as exc:
            raise SignInFailed("it was not begun in this browser, or took too long") from exc
        # The library takes an answer without a code for the wish of another way to a token.
        if "code" not in parse_qs(urlsplit(answer).query):
            raise SignInFailed("the provider sent no code: the person may have pressed cancel")
        provider = await self._provider()
        try:
            async with self._client() as client:
                token = await client.fetch_token(
                    provider.token, authorization_response=answer, state=state, code_verifier=verifier
                )
        except AuthlibBaseError as exc:
            raise SignInFailed(f"the provider refused: {exc.error}") from exc
        except httpx.HTTPError as exc:
            raise ProviderAway(f"the provider did not answer: {type(exc).__name__}") from exc
        claims = self._checked(token, provider, nonce)
        return SignedIn(self._named(claims), None if prompt_id is None else PromptId(prompt_id), own)

    def _checked(self, token: Any, provider: _Provider, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token that is the provider's, for us, of now, and for this sign-in."""
        wanted = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(token["id_token"], provider.keys, algorithms=_ALGORITHMS)
            wanted.validate(decoded.claims)
        except (JoseError, KeyError, TypeError, ValueError) as exc:
            raise SignInFailed(f"the ID token is not what was asked for: {type(exc).__name__}") from exc
        return decoded.claims

    def _named(self, claims: dict[str, Any]) -> Ref:
        if self._claim == "email" and claims.get("email_verified") is False:
            raise SignInFailed("the provider has not verified the email")
        try:
            return normalised_ref(str(claims[self._claim]))
        except (KeyError, ValueError) as exc:
            raise SignInFailed(f"the ID token has no claim {self._claim!r} that names somebody") from exc

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._client_id,
            self._client_secret or None,
            redirect_uri=self._redirect,
            scope="openid email",
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            timeout=_TIMEOUT_SECONDS,
            transport=self._transport,
        )

    async def _provider(self) -> _Provider:
        """Return what the provider says of itself, asked for now and then: keys are replaced."""
        async with self._asking:
            if self._known is None or monotonic() - self._known[0] > _METADATA_GOOD_FOR_SECONDS:
                self._known = (monotonic(), await self._ask())
            return self._known[1]

    async def _ask(self) -> _Provider:
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, transport=self._transport) as client:
                said = (await client.get(f"{self._issuer}/.well-known/openid-configuration")).raise_for_status().json()
                keys = (await client.get(said["jwks_uri"])).raise_for_status().json()
            found = _Provider(
                said["issuer"], said["authorization_endpoint"], said["token_endpoint"], KeySet.import_key_set(keys)
            )
        except (httpx.HTTPError, JoseError, KeyError, TypeError, ValueError) as exc:
            raise ProviderAway(f"the provider can't be asked: {type(exc).__name__}") from exc
        if found.issuer.rstrip("/") != self._issuer:
            raise ProviderAway("the provider calls itself otherwise than PORTAL_OIDC_ISSUER")
        return found
