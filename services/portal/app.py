"""Wires the portal: the log into its read model, pages over that, and answers to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import structlog
from fastapi import FastAPI, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from services.portal.following import Follower
from services.portal.guards import BadForm, FromElsewhere, Guarded, Limits, TooOften
from services.portal.handlers import Desk, NotFound, Sink, html, portal_router
from services.portal.metrics import ACK_SECONDS, BYTES_IN_FLIGHT, RECORDS_IN_FLIGHT, TURNED_AWAY
from services.portal.own import FEED
from services.portal.own_pages import OwnPages
from services.portal.own_routes import own_router
from services.portal.pages import Pages
from services.portal.projection import ANSWERS
from services.portal.sessions import NotSignedIn, Sessions, StaleForm
from services.portal.settings import PortalSettings
from services.portal.sign_in import Provider, ProviderAway, SignInFailed
from services.portal.store import Store
from services.portal.unsubscribing import unsubscribe_router
from shared.languages import marked, read_languages
from shared.portal_links import BadLink, read_keys
from shared.service.health import Health, operations_routes
from shared.streaming.person_keys import Keyring
from shared.streaming.sink import KafkaSink, NotWritten, SinkMetrics
from shared.streaming.topics import PORTAL_AUDIT, SPONSOR_CHOICES

NAME: Final = "portal"
_MAX_IN_FLIGHT_RECORDS: Final = 2000
_MAX_IN_FLIGHT_BYTES: Final = 8 * 1024 * 1024

log = structlog.get_logger(__name__)


def build(settings: PortalSettings) -> Portal:
    """Return the service; connects to nothing."""
    store = Store(settings.database)
    keys = Keyring(settings, settings.kafka_bootstrap_servers)
    sink = KafkaSink(
        settings.kafka_bootstrap_servers,
        name=NAME,
        topics=[ANSWERS, SPONSOR_CHOICES, FEED, PORTAL_AUDIT],
        metrics=SinkMetrics(RECORDS_IN_FLIGHT, BYTES_IN_FLIGHT, ACK_SECONDS),
        keys=keys,
        ack_seconds=settings.ack_timeout_seconds,
        max_records=_MAX_IN_FLIGHT_RECORDS,
        max_bytes=_MAX_IN_FLIGHT_BYTES,
    )
    follower = Follower(settings.kafka_bootstrap_servers, store, keys)
    health = Health()
    health.require("kafka", sink.objection)
    health.require("log", follower.objection)
    if settings.url.scheme != "https" and settings.url.host not in ("localhost", "127.0.0.1"):
        log.warning("PORTAL_URL is not https: whoever carries its pages can read them", host=settings.url.host)
    return Portal(store, sink, follower, http_app(settings, store, sink, health))


class Portal:
    """The portal as a process runs it. Pages are answered from before the log has been read; `/readyz` tells."""

    def __init__(self, store: Store, sink: KafkaSink, follower: Follower, http: ASGIApp) -> None:
        self._store, self._sink, self._follower = store, sink, follower
        self.http = http

    async def start(self) -> None:
        """Begin to follow the log and to connect."""
        await self._sink.start()
        await self._follower.start()

    async def run(self) -> None:
        """Return only by raising."""
        done, rest = await asyncio.wait(
            {asyncio.create_task(self._sink.run()), asyncio.create_task(self._follower.run())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in rest:
            task.cancel()
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Flush and close; the HTTP server has by then answered what was open."""
        await self._follower.stop()
        await self._sink.stop()
        self._store.close()


def http_app(
    settings: PortalSettings,
    store: Store,
    sink: Sink,
    health: Health,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    to_provider: httpx.AsyncBaseTransport | None = None,
) -> ASGIApp:
    """Return the HTTP application over `store`, `sink` and the way to the OpenID provider, wherever these are."""
    keys = read_keys(settings.keys.get_secret_value())
    languages = read_languages(Path(__file__).parent)

    provider = None if settings.oidc_issuer is None else _provider(settings, keys, to_provider)

    def now() -> datetime:
        told = store.now() if settings.clock == "log" else None
        return told or wall()

    seconds = settings.session_minutes * 60
    sessions = Sessions(keys, seconds, "link" if provider is None else "sign-in")
    limits = Limits(settings.link_openings_per_minute, settings.requests_per_minute)
    desk = Desk(
        store=store,
        sink=sink,
        sessions=sessions,
        own_sessions=Sessions(keys, seconds, "own-link") if provider is None else sessions,
        pages=Pages(languages),
        languages=languages,
        limits=limits,
        keys=keys,
        portal_url=str(settings.url),
        provider=provider,
        now=now,
        wall=wall,
    )
    # No document of an API: what is here is for people.
    app = FastAPI(title="Sponsorship tracker: portal", openapi_url=None)
    app.include_router(portal_router(desk))
    app.include_router(own_router(desk, OwnPages(desk.pages)))
    app.include_router(unsubscribe_router(desk, limits, keys))
    app.router.routes.extend(operations_routes(health))
    _say_what_is_wrong(app, desk, signs_in=provider is not None)
    return Guarded(app, secure=settings.url.scheme == "https")


def _provider(settings: PortalSettings, keys: Sequence[str], transport: httpx.AsyncBaseTransport | None) -> Provider:
    return Provider(
        str(settings.oidc_issuer),
        settings.oidc_client_id,
        settings.oidc_client_secret.get_secret_value(),
        settings.oidc_claim,
        str(settings.url),
        keys,
        transport,
    )


_SAID: Final[dict[type[Exception], tuple[int, str, str, str]]] = {
    BadLink: (
        403,
        "link",
        marked("This link can't be used"),
        marked("A link is for one person and for a limited time. The newest message that you got has one that works."),
    ),
    NotSignedIn: (
        401,
        "session",
        marked("Please open your link again"),
        marked(
            "To keep what is here to yourself, you are signed out after a while. The link in your message lets you in."
        ),
    ),
    SignInFailed: (
        403,
        "sign_in",
        marked("You could not be signed in"),
        marked(
            "Your company's sign-in did not tell us who you are. Please try again. If it stays so, tell your people "
            "team."
        ),
    ),
    ProviderAway: (
        503,
        "",
        marked("We can't do this just now"),
        marked("Your company's sign-in does not answer. Please try again in a minute."),
    ),
    StaleForm: (
        403,
        "form",
        marked("This page was open for too long"),
        marked("Nothing has been sent. Please go back, load the page again, and press the button once more."),
    ),
    FromElsewhere: (
        403,
        "elsewhere",
        marked("This was not sent from here"),
        marked("Nothing has been sent. Answers count only when they are given on the pages of this portal."),
    ),
    BadForm: (
        400,
        "form",
        marked("This could not be read"),
        marked("Nothing has been sent. Please go back, load the page again, and press the button once more."),
    ),
    TooOften: (
        429,
        "rate",
        marked("That was a little too fast"),
        marked("Please wait a minute and try again. Nothing is lost."),
    ),
    NotFound: (
        404,
        "",
        marked("There is nothing here"),
        marked("The address may be mistyped, or it is not for you."),
    ),
    NotWritten: (
        503,
        "",
        marked("We can't do this just now"),
        marked("Please try again in a minute. What is sent twice counts once."),
    ),
    SQLAlchemyError: (
        503,
        "",
        marked("We can't do this just now"),
        marked("Please try again in a minute. What is sent twice counts once."),
    ),
}
_SIGNED_OUT: Final = marked("You are signed out"), marked("The link in your message lets you in again.")
_FAULT: Final = (
    marked("Something went wrong on our side"),
    marked("Please try again. If it stays so, tell whoever sent you here."),
)


def _say_what_is_wrong(app: FastAPI, desk: Desk, *, signs_in: bool) -> None:
    """Give each thing that can be wrong its page; with a way to sign in, where one can."""

    def teller(status: int, reason: str, title: str, text: str) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def tell(request: Request, _: Exception) -> Response:
            if reason:
                TURNED_AWAY.labels(reason).inc()
            back = "/sign-in" if signs_in and reason in ("session", "sign_in") else None
            answer = html(desk.pages.message(desk.reader_of(request, None, None), title, text, back=back), status)
            if status in (429, 503):
                answer.headers["retry-after"] = "60" if status == 429 else "10"
            return answer

        return tell

    for kind, said in _SAID.items():
        app.add_exception_handler(kind, teller(*said))

    @app.get("/signed-out")
    async def signed_out(request: Request) -> Response:
        return html(desk.pages.message(desk.reader_of(request, None, None), *_SIGNED_OUT))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            _, reason, title, text = _SAID[NotFound]
            return await teller(error.status_code, reason, title, text)(request, error)
        return await teller(error.status_code, "", *_FAULT)(request, error)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return await teller(500, "", *_FAULT)(request, error)
