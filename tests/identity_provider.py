"""A small OpenID provider for tests: it signs in, without asking, whoever the test says sits before the browser."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

ISSUER: Final = "http://id.example"
CLIENT: Final = "portal"
_KEY: Final = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, auto_kid=False)


class IdentityProvider:
    """The provider.

    Attributes:
        claims: of whoever signs in next; they replace what the ID token would otherwise say.
        key: what tokens are signed with.
        refuses: whether people press "cancel".
        calls_itself: the issuer in its configuration.
        codes: what it has given out and nobody has come for.
    """

    def __init__(self, **claims: Any) -> None:
        self.claims: dict[str, Any] = claims
        self.key = _KEY
        self.refuses = False
        self.calls_itself = ISSUER
        self.codes: dict[str, dict[str, str]] = {}
        self.http = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/keys", self._keys),
            ]
        )

    async def _configuration(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.calls_itself,
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [_KEY.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        back = f"{asked['redirect_uri']}?state={asked['state']}"
        if self.refuses:
            return RedirectResponse(f"{back}&error=access_denied", 302)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return RedirectResponse(f"{back}&code={code}", 302)

    async def _token(self, request: Request) -> Response:
        form = {
            name: value
            for name, _, value in (pair.partition("=") for pair in (await request.body()).decode().split("&"))
        }
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or asked["code_challenge"] != challenge.decode().rstrip("="):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        said = {name: value for name, value in (claims | self.claims).items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, said, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": token})
