"""Keeps the portal's pages to themselves: headers on every answer, limits, and where posts come from."""

from __future__ import annotations

from time import monotonic
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.portal.metrics import REQUEST_SECONDS

LARGEST_FORM: Final = 64 * 1024
"""Bytes of a form. The longest statement has 2,000 characters, of up to 12 bytes each as forms write them."""
_FIELDS: Final = 100

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    # Not `no-referrer`: with that browsers hide from us, too, which page a form was posted from.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for browsers that do not know frame-ancestors
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-robots-tag": "noindex, nofollow",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


class TooOften(Exception):
    """More is asked than one may ask in a minute."""


class FromElsewhere(Exception):
    """A form was posted from another site."""


class BadForm(Exception):
    """What was posted is no form of ours."""


class Limits:
    """Counts what is asked, in this process.

    Args:
        openings: links a minute from one address.
        requests: pages and answers a minute in one session.
    """

    def __init__(self, openings: int, requests: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._openings = RateLimitItemPerMinute(openings, namespace="openings")
        self._requests = RateLimitItemPerMinute(requests, namespace="requests")

    def opening(self, address: str) -> None:
        """Count the opening of a link.

        Raises:
            TooOften: there were too many.
        """
        self._count(self._openings, address)

    def request(self, session: str) -> None:
        """Count a request of a session.

        Raises:
            TooOften: there were too many.
        """
        self._count(self._requests, session)

    def _count(self, item: RateLimitItemPerMinute, who: str) -> None:
        if not self._limiter.hit(item, who):
            raise TooOften


def check_origin(request: Request, portal_url: str) -> None:
    """Let a post pass that a page of ours has sent.

    A browser of today says so itself (`Sec-Fetch-Site`), an older one names the page's origin. This stands before the
    form's token, not in its place.

    Raises:
        FromElsewhere: another site's page has sent it.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise FromElsewhere(site)
        return
    origin = request.headers.get("origin")
    if origin is not None and origin not in (_origin(portal_url), _origin(str(request.base_url))):
        raise FromElsewhere(origin)


async def read_form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a posted form.

    Raises:
        BadForm: it is none, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm(f"content type {kind[:100]!r}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise BadForm(f"more than {LARGEST_FORM} bytes")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as exc:
        raise BadForm("not a form in UTF-8") from exc
    # No field of ours takes a NUL, and no database would.
    return {name: [value.replace("\x00", "") for value in values] for name, values in fields.items()}


class Guarded:
    """An ASGI application with the headers that keep its pages to themselves, and its requests measured.

    Args:
        app: the application.
        secure: whether browsers are to use nothing but https from now on.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._headers = {**_HEADERS, "strict-transport-security": "max-age=31536000"} if secure else _HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = monotonic(), 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                kept = scope["path"].startswith("/static/") and status == 200
                headers["cache-control"] = _FOR_GOOD if kept else "no-store"
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            REQUEST_SECONDS.labels(scope["method"][:10], route, str(status)).observe(monotonic() - begun)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"
