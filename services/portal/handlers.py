"""Answers the portal's requests: who is it, what do they ask, what does it become, and is it safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final, Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.portal import answering, choosing, sign_in
from services.portal.answering import BadAnswer, Given, NotNow
from services.portal.guards import Limits, check_origin, read_form
from services.portal.metrics import ANSWERS, VISIBLE_SECONDS
from services.portal.pages import STYLE, STYLE_NAME, Pages, Reader, snooze_times
from services.portal.sessions import NotSignedIn, Session, Sessions, StaleForm
from services.portal.sign_in import Provider, SignInFailed
from services.portal.store import Store, StoredPrompt
from shared.contracts.audit import AuditedAction, AuditedView, PortalAudited
from shared.contracts.career import write_contract
from shared.contracts.choices import PreferencesSet, Resumed, SponsorChoice, Stopped
from shared.contracts.ids import EmployeeId, EventId, PromptId, Ref, stable_id
from shared.languages import Language, choose
from shared.portal_links import BadLink, read_link, read_own_link
from shared.streaming.records import Output
from shared.streaming.sink import NotWritten
from shared.streaming.topics import PORTAL_AUDIT

_VISIBLE_WITHIN_SECONDS: Final = 3.0
_LOOK_EVERY_SECONDS: Final = 0.02
UNFAMILIAR: Final = "I do not know this work well enough to speak for it."
"""The reason of who presses "I don't know this work"."""

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where events go; see `shared.streaming.sink.KafkaSink`."""

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        """Take records, and return what to await for their being safe."""


_Decide = Callable[[StoredPrompt, dict[str, list[str]], str, datetime], Given]
"""Makes an answer of a prompt, the form's fields, the showing it comes from, and the time."""


class NotFound(Exception):
    """There is no such page, or it is not for this person, which nobody is told apart."""


class Desk:
    """What the routes work with.

    Args:
        store: the read model.
        sink: to Kafka.
        sessions: who is who, for prompts.
        own_sessions: who is who, for the evidence about oneself; the same where people sign in.
        pages: what people see.
        limits: what is too often.
        keys: all keys that sign links, newest first.
        portal_url: where people reach us.
        provider: where people sign in; None where a link is enough.
        now: what time it is for decisions, given what the log says.
        wall: the wall clock, for the audit.
    """

    def __init__(
        self,
        *,
        store: Store,
        sink: Sink,
        sessions: Sessions,
        own_sessions: Sessions,
        pages: Pages,
        languages: dict[str, Language],
        limits: Limits,
        keys: Sequence[str],
        portal_url: str,
        provider: Provider | None,
        now: Callable[[], datetime],
        wall: Callable[[], datetime],
    ) -> None:
        self.store = store
        self.pages = pages
        self.now = now
        self.portal_url = portal_url
        self._sink = sink
        self._provider = provider
        self._sessions = sessions
        self._own_sessions = own_sessions
        self._languages = languages
        self._limits = limits
        self._keys = keys
        self._wall = wall
        self._turns: WeakValueDictionary[EmployeeId, asyncio.Lock] = WeakValueDictionary()

    @property
    def tags(self) -> list[str]:
        """The languages that can be chosen."""
        return list(self._languages)

    @property
    def signs_in(self) -> bool:
        """Whether people sign in, and a link alone is not enough."""
        return self._provider is not None

    def turn(self, person_id: EmployeeId) -> asyncio.Lock:
        """Return the lock under which a person's answers come one after the other, whichever tab they come from."""
        return self._turns.setdefault(person_id, asyncio.Lock())

    # -- who ---------------------------------------------------------------------------------------

    async def open_link(self, request: Request, token: str) -> Response:
        """Let the link's person in, and go to its prompt, at an address that says nothing to others.

        Where people sign in, the link says where to go and not who has come.
        """
        self._limits.opening(request.client.host if request.client else "")
        try:
            link = read_link(self._keys, token, self.now())
        except BadLink as exc:
            await self.audit("link_refused", None, detail=str(exc))
            raise
        session = self._signed_in_already(request, self._sessions, link.sponsor_id)
        if session is None and self._provider is not None:
            return await self._to_provider(self._provider, link.prompt_id)
        session = session or self._sessions.begin(link.sponsor_id)
        await self.audit("link_opened", session, prompt_id=link.prompt_id)
        return self._let_in(session, f"/prompts/{link.prompt_id}")

    async def open_own_link(self, request: Request, token: str) -> Response:
        """Let the link's person in to the evidence about themselves; as `open_link`."""
        self._limits.opening(request.client.host if request.client else "")
        try:
            person_id = read_own_link(self._keys, token, self._wall())
        except BadLink as exc:
            await self.audit("link_refused", None, detail=str(exc))
            raise
        session = self._signed_in_already(request, self._own_sessions, person_id)
        if session is None and self._provider is not None:
            return await self._to_provider(self._provider, None, own=True)
        session = session or self._own_sessions.begin(person_id)
        await self.audit("own_link_opened", session, employee_id=person_id)
        return self._let_in(session, "/me")

    async def sign_in(self, request: Request, *, own: bool = False) -> Response:
        """Send somebody to the provider who wants to see their protégés, or the evidence about themselves.

        Raises:
            NotFound: nobody signs in here.
        """
        if self._provider is None:
            raise NotFound
        self._limits.opening(request.client.host if request.client else "")
        return await self._to_provider(self._provider, None, own=own)

    async def signed_in(self, request: Request) -> Response:
        """Let somebody in whom the provider has sent back.

        Raises:
            NotFound: nobody signs in here.
            SignInFailed: the provider has not confirmed who they are, or nobody knows them.
        """
        if self._provider is None:
            raise NotFound
        self._limits.opening(request.client.host if request.client else "")
        try:
            who = await self._provider.finish(request.cookies.get(sign_in.COOKIE), str(request.url))
            person = await self._known(who.ref)
        except SignInFailed as exc:
            log.info("a sign-in failed", reason=str(exc))
            await self.audit("sign_in_refused", None, detail=str(exc))
            raise
        session = self._sessions.begin(person)
        await self.audit("signed_in", session, prompt_id=who.prompt_id)
        # A prompt that is somebody else's is not found there, as any other that one asks for.
        path = "/me" if who.own else "/" if who.prompt_id is None else f"/prompts/{who.prompt_id}"
        answer = self._let_in(session, path)
        answer.delete_cookie(sign_in.COOKIE)
        return answer

    async def _known(self, ref: Ref) -> EmployeeId:
        person = await asyncio.to_thread(self.store.whom, ref, self.now())
        if person is None:
            raise SignInFailed("nobody is known by what the provider calls them")
        return person

    async def _to_provider(self, provider: Provider, prompt_id: PromptId | None, *, own: bool = False) -> Response:
        begun = await provider.begin(prompt_id, own=own)
        answer = see(begun.address)
        answer.set_cookie(
            sign_in.COOKIE,
            begun.cookie,
            max_age=sign_in.TAKES_AT_MOST_SECONDS,
            secure=self._secure(),
            httponly=True,
            samesite="lax",
        )
        return answer

    def _let_in(self, session: Session, path: str) -> Response:
        answer, sessions = see(path), self._sessions_of(session)
        answer.set_cookie(
            self._cookie_name(sessions),
            sessions.cookie(session),
            max_age=sessions.seconds,
            secure=self._secure(),
            httponly=True,
            samesite="lax",  # not strict: the redirect is part of a way that began in a mail
        )
        return answer

    def _signed_in_already(self, request: Request, sessions: Sessions, person_id: EmployeeId) -> Session | None:
        """Return the session that this browser has for the same person: what is open in its other tabs goes on."""
        try:
            session = sessions.read(request.cookies.get(self._cookie_name(sessions)))
        except NotSignedIn:
            return None
        return session if session.person_id == person_id else None

    def session(self, request: Request) -> Session:
        """Return who asks, for prompts.

        Raises:
            NotSignedIn: nobody we know.
            TooOften: they ask too much.
        """
        return self._session(request, self._sessions)

    def own_session(self, request: Request) -> Session:
        """Return who asks, for the evidence about themselves; raises as `session`."""
        return self._session(request, self._own_sessions)

    def _session(self, request: Request, sessions: Sessions) -> Session:
        session = sessions.read(request.cookies.get(self._cookie_name(sessions)))
        self._limits.request(session.name)
        return session

    async def form(self, request: Request) -> dict[str, list[str]]:
        """Return the fields of a form.

        Raises:
            FromElsewhere: another site has sent it.
            BadForm: it is none.
        """
        check_origin(request, self.portal_url)
        return await read_form(request)

    def showing(self, session: Session, fields: dict[str, list[str]]) -> str:
        """Return the name of the showing that a form comes from.

        Raises:
            StaleForm: it is not one that we showed this session lately.
        """
        return self._sessions.check_form(session, _first(fields, "form"))

    def signed_out(self, session: Session) -> Response:
        """Return the way to the page that says so."""
        answer = see("/signed-out")
        answer.delete_cookie(
            self._cookie_name(self._sessions_of(session)), secure=self._secure(), httponly=True, samesite="lax"
        )
        return answer

    async def reader(self, request: Request, session: Session | None = None) -> Reader:
        """Return for whom a page is written, and how."""
        chosen = await asyncio.to_thread(self.store.preferences, session.person_id) if session else None
        return self.reader_of(request, session, chosen)

    def reader_of(self, request: Request, session: Session | None, chosen: PreferencesSet | None) -> Reader:
        """Return for whom a page is written, given what they prefer."""
        language = choose(
            self._languages, chosen.language if chosen else None, request.headers.get("accept-language", "")
        )
        return Reader(
            language,
            self.now(),
            session,
            chosen.timezone if chosen else None,
            self._sessions.form_token(session) if session else "",
        )

    def _secure(self) -> bool:
        return self.portal_url.startswith("https:")

    def _sessions_of(self, session: Session) -> Sessions:
        return self._own_sessions if session.opens == "own" else self._sessions

    def _cookie_name(self, sessions: Sessions) -> str:
        # The prefix makes browsers refuse the cookie from any other host, and over http.
        return f"__Host-{sessions.cookie_name}" if self._secure() else sessions.cookie_name

    # -- what --------------------------------------------------------------------------------------

    async def prompt(self, session: Session, prompt_id: str) -> StoredPrompt:
        """Return a prompt of this person's.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        prompt = await asyncio.to_thread(self.store.prompt, PromptId(prompt_id))
        if prompt is None or prompt.sponsor_id != session.person_id:
            raise NotFound
        return prompt

    async def audit(self, what: AuditedView, session: Session | None, **about: Any) -> None:
        """Note that something is being looked at; it is shown only once that is safe.

        Raises:
            NotWritten: it could not be noted.
        """
        await (await self._sink.send([self._audited(EventId(str(uuid4())), what, session, **about)]))

    async def answer(self, session: Session, prompt: StoredPrompt, given: Given) -> None:
        """Write an answer, with its audit, and wait until our own pages show it.

        Raises:
            NotWritten: it is not known to be safe; it may be sent again.
        """
        about = {"prompt_id": prompt.prompt_id, "employee_id": prompt.employee_id}
        await self._write(session, given.kind, given.event_id, given.output, given.event_id, **about)

    async def took_back(self, session: Session, employee_id: EmployeeId, given: Given) -> None:
        """Write that a "not me" is taken back; as `answer`."""
        await self._write(session, given.kind, given.event_id, given.output, given.event_id, employee_id=employee_id)

    async def chose(self, session: Session, what: AuditedAction, choice: SponsorChoice) -> None:
        """Write a choice; as `answer`."""
        await self._write(session, what, choice.id, answering.choice_output(choice), choice.id)

    async def state(
        self, session: Session, what: AuditedAction, event_id: EventId, statement_id: EventId, output: Output
    ) -> bool:
        """Write what a person says of themselves, with its audit; return whether our own pages show it yet.

        Args:
            session: who says so.
            what: for metrics and audit.
            event_id: the feed event's.
            statement_id: the id of what the event becomes in the log, from which we read it back.
            output: the event.

        Raises:
            NotWritten: it is not known to be safe; it may be sent again.
        """
        return await self._write(session, what, event_id, output, statement_id, employee_id=session.person_id)

    async def _write(
        self,
        session: Session,
        what: AuditedAction,
        event_id: EventId,
        output: Output,
        read_back: EventId,
        /,
        **about: Any,
    ) -> bool:
        if await asyncio.to_thread(self.store.knows, read_back):
            return True
        note = self._audited(EventId(stable_id("audit", event_id)), what, session, event_id=event_id, **about)
        await (await self._sink.send([output, note]))
        ANSWERS.labels(what).inc()
        return await self._until_visible(read_back)

    async def note(self, session: Session, what: AuditedAction) -> None:
        """Note an action that leads to no event."""
        await (await self._sink.send([self._audited(EventId(str(uuid4())), what, session)]))

    async def _until_visible(self, event_id: EventId) -> bool:
        """Wait until this process has read an answer back. It is safe already: who has waited long enough goes on."""
        begun = monotonic()
        if await _in_time(lambda: self.store.knows(event_id)):
            VISIBLE_SECONDS.observe(monotonic() - begun)
            return True
        log.warning("an answer is safe in Kafka and not read back yet", waited_seconds=_VISIBLE_WITHIN_SECONDS)
        return False

    async def until_asked_again(self, prompt_id: PromptId) -> None:
        """Wait until a prompt whose answer was taken back is asked again; its page says how it stands if that lasts."""

        def is_asked() -> bool:
            prompt = self.store.prompt(prompt_id)
            return prompt is None or answering.standing(prompt) != "taken_back"

        await _in_time(is_asked)

    def _audited(
        self, note_id: EventId, what: AuditedView | AuditedAction, session: Session | None, **about: Any
    ) -> Output:
        person = session.person_id if session else None
        note = PortalAudited(
            id=note_id, at=self._wall(), what=what, person_id=person, session=session.name if session else "", **about
        )
        return Output(PORTAL_AUDIT, person.encode() if person else None, write_contract(note))


async def _in_time(comes: Callable[[], bool]) -> bool:
    """Wait until it is so in the read model, and tell whether it came within the time that people wait for a page."""
    begun = monotonic()
    while monotonic() - begun < _VISIBLE_WITHIN_SECONDS:
        if await asyncio.to_thread(comes):
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


def see(path: str) -> RedirectResponse:
    """Return the way to a page, to be asked for with GET."""
    return RedirectResponse(path, 303)


def html(text: str, status: int = 200) -> HTMLResponse:
    """Return a page."""
    return HTMLResponse(text, status)


def portal_router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/p/{token}")
    async def link(request: Request, token: str) -> Response:
        return await desk.open_link(request, token)

    @router.get("/sign-in")
    async def sign_in_page(request: Request) -> Response:
        return await desk.sign_in(request)

    @router.get("/signed-in")
    async def signed_in(request: Request) -> Response:
        return await desk.signed_in(request)

    @router.get("/")
    async def proteges(request: Request) -> Response:
        session = desk.session(request)
        await desk.audit("proteges_viewed", session)
        reader = await desk.reader(request, session)

        def asked() -> str:
            who = session.person_id
            prompts = desk.store.prompts_of(who)
            person = desk.store.person(who, reader.now)
            name = person.name if person else next((p.body.sponsor_name for p in prompts if p.body), "")
            return desk.pages.proteges(reader, name, prompts, desk.store.proteges_of(who, reader.now))

        return html(await asyncio.to_thread(asked))

    @router.get("/prompts/{prompt_id}")
    async def prompt(request: Request, prompt_id: str) -> Response:
        session = desk.session(request)
        found = await desk.prompt(session, prompt_id)
        await desk.audit("prompt_viewed", session, prompt_id=found.prompt_id, employee_id=found.employee_id)
        return html(desk.pages.prompt(await desk.reader(request, session), found))

    async def answered(request: Request, prompt_id: str, decide: _Decide) -> Response:
        session = desk.session(request)
        fields = await desk.form(request)
        async with desk.turn(session.person_id):
            found = await desk.prompt(session, prompt_id)
            try:
                showing = desk.showing(session, fields)
                await desk.answer(session, found, decide(found, fields, showing, desk.now()))
            except NotNow:
                pass  # its page says how it stands
            except (StaleForm, BadAnswer, NotWritten) as exc:
                status, mistake = _mistake(exc)
                page = desk.pages.prompt(
                    await desk.reader(request, session),
                    found,
                    mistake=mistake,
                    written=next(iter(fields.get("statement", ())), None),  # nobody is to write it twice
                )
                return html(page, status)
        return see(f"/prompts/{found.prompt_id}")

    @router.post("/prompts/{prompt_id}/endorse")
    async def endorse(request: Request, prompt_id: str) -> Response:
        return await answered(
            request, prompt_id, lambda p, fields, _, now: answering.endorse(p, _first(fields, "statement"), now)
        )

    @router.post("/prompts/{prompt_id}/decline")
    async def decline(request: Request, prompt_id: str) -> Response:
        def decide(p: StoredPrompt, fields: dict[str, list[str]], _: str, now: datetime) -> Given:
            said = _first(fields, "reason")
            if _first(fields, "because") == "unfamiliar":
                said = f"{UNFAMILIAR} {said}".strip()
            return answering.decline(p, said, now)

        return await answered(request, prompt_id, decide)

    @router.post("/prompts/{prompt_id}/snooze")
    async def snooze(request: Request, prompt_id: str) -> Response:
        def decide(p: StoredPrompt, fields: dict[str, list[str]], showing: str, now: datetime) -> Given:
            wanted = _first(fields, "until")
            until = snooze_times(p, now).get(wanted)
            if until is None:
                raise BadAnswer("which_day")
            return answering.snooze(p, until, f"{showing} {wanted}", now)

        return await answered(request, prompt_id, decide)

    @router.post("/prompts/{prompt_id}/not-me")
    async def not_me(request: Request, prompt_id: str) -> Response:
        return await answered(request, prompt_id, lambda p, _, __, now: answering.refuse(p, "", now))

    @router.post("/prompts/{prompt_id}/take-back")
    async def take_back(request: Request, prompt_id: str) -> Response:
        done = await answered(
            request, prompt_id, lambda p, fields, _, now: answering.take_back(p, _first(fields, "answer"), now)
        )
        await desk.until_asked_again(PromptId(prompt_id))
        return done

    @router.post("/proteges/{employee_id}/take-back")
    async def mine_after_all(request: Request, employee_id: str) -> Response:
        session = desk.session(request)
        fields = await desk.form(request)
        desk.showing(session, fields)
        async with desk.turn(session.person_id):
            said = await asyncio.to_thread(desk.store.said_of_tie, session.person_id, EmployeeId(employee_id))
            try:
                given = answering.mine_after_all(said, _first(fields, "answer"), desk.now())
                await desk.took_back(session, EmployeeId(employee_id), given)
            except NotNow:
                pass  # the page says how it stands
        return see("/")

    @router.get("/preferences")
    async def preferences(request: Request) -> Response:
        session = desk.session(request)
        await desk.audit("preferences_viewed", session)
        return html(await _preferences(desk, request, session, saved="saved" in request.query_params))

    @router.post("/preferences")
    async def set_preferences(request: Request) -> Response:
        session = desk.session(request)
        fields = await desk.form(request)
        desk.showing(session, fields)
        async with desk.turn(session.person_id):
            before = await asyncio.to_thread(desk.store.preferences, session.person_id)
            try:
                choice = choosing.prefer(session.person_id, fields, before, desk.tags, desk.now())
            except BadAnswer as exc:
                return html(await _preferences(desk, request, session, mistake=exc.code), 422)
            if choice is not None:
                await desk.chose(session, "preferences_set", choice)
        return see("/preferences?saved")

    async def asking(
        request: Request,
        what: AuditedAction,
        decide: Callable[[EmployeeId, Stopped | Resumed | None, datetime], SponsorChoice | None],
    ) -> Response:
        session = desk.session(request)
        desk.showing(session, await desk.form(request))
        async with desk.turn(session.person_id):
            before = await asyncio.to_thread(desk.store.asking, session.person_id)
            choice = decide(session.person_id, before, desk.now())
            if choice is not None:
                await desk.chose(session, what, choice)
        return see("/preferences?saved")

    @router.post("/stop")
    async def stop(request: Request) -> Response:
        return await asking(request, "stopped", choosing.stop)

    @router.post("/resume")
    async def resume(request: Request) -> Response:
        return await asking(request, "resumed", choosing.resume)

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        session = desk.session(request)
        desk.showing(session, await desk.form(request))
        await desk.note(session, "signed_out")
        return desk.signed_out(session)

    @router.get(f"/static/{STYLE_NAME}")
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")

    return router


async def _preferences(
    desk: Desk, request: Request, session: Session, *, saved: bool = False, mistake: str | None = None
) -> str:
    chosen = await asyncio.to_thread(desk.store.preferences, session.person_id)
    before = await asyncio.to_thread(desk.store.asking, session.person_id)
    reader = desk.reader_of(request, session, chosen)
    return desk.pages.preferences(reader, chosen, stopped=isinstance(before, Stopped), saved=saved, mistake=mistake)


def _mistake(error: StaleForm | BadAnswer | NotWritten) -> tuple[int, str]:
    """Return the status and what the page has to say."""
    match error:
        case BadAnswer():
            return 422, error.code
        case StaleForm():
            return 403, "stale"
        case _:
            return 503, "not_safe"


def _first(fields: dict[str, list[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")
