"""Answers a person's requests about their own evidence: what is on record, what is to be mended or hidden, who saw it.

Nobody but the person themselves is let in here. Where a link is enough, it is one of a kind of its own, and so is the
session that it begins: what is sent to sponsors opens nothing here, and what is here nothing of theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.portal import own, told
from services.portal.handlers import Desk, NotFound, html, see
from services.portal.own import BadStatement, Fields, Said
from services.portal.own_pages import PAGE, OwnPages
from services.portal.pages import Reader
from services.portal.sessions import NotSignedIn, Session, StaleForm
from services.portal.store import KnownPerson, StoredAchievement
from shared.contracts.audit import AuditedView
from shared.contracts.ids import AchievementId
from shared.streaming.sink import NotWritten

_TO_MEND: Final = (StaleForm, BadStatement, NotWritten)
"""What the form is shown again for, with what was written in it."""


def own_router(desk: Desk, pages: OwnPages) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/e/{token}")
    async def link(request: Request, token: str) -> Response:
        return await desk.open_own_link(request, token)

    async def shown(
        request: Request, session: Session, what: AuditedView, page: Callable[[Reader, KnownPerson], str]
    ) -> Response:
        person = await _themselves(desk, session)
        await desk.audit(what, session, employee_id=person.employee_id)
        reader = await desk.reader(request, session)
        return html(await asyncio.to_thread(page, reader, person))

    @router.get("/me")
    async def evidence(request: Request) -> Response:
        try:
            session = desk.own_session(request)
        except NotSignedIn:
            if not desk.signs_in:
                raise
            return await desk.sign_in(request, own=True)

        def page(reader: Reader, person: KnownPerson) -> str:
            record = desk.store.achievements_of(person.employee_id)
            number = _number(request.query_params.get("page", ""))
            here = record[(number - 1) * PAGE : number * PAGE]
            return pages.evidence(
                reader,
                person,
                here,
                number=number,
                of=max(1, -(-len(record) // PAGE)),
                witnesses=desk.store.names_of(list({ref for one in here for ref in one.witnesses}), reader.now),
                shown_to=told.shown_to(told.who_was_told(desk.store.tellings_about(person.employee_id))),
                done=request.query_params.get("done", ""),
            )

        return await shown(request, session, "own_evidence_viewed", page)

    @router.get("/me/told")
    async def who_was_told(request: Request) -> Response:
        def page(reader: Reader, person: KnownPerson) -> str:
            return pages.told(reader, person, told.who_was_told(desk.store.tellings_about(person.employee_id)))

        return await shown(request, desk.own_session(request), "own_told_viewed", page)

    async def form(
        request: Request,
        session: Session,
        achievement: StoredAchievement | None,
        written: Fields | None = None,
        error: StaleForm | BadStatement | NotWritten | None = None,
    ) -> Response:
        """Return the form of a new achievement, or of one that is there; where there was an error, as it was sent."""
        status, mistake = (200, None) if error is None else _mistake(error)
        reader = await desk.reader(request, session)
        tellings = await asyncio.to_thread(desk.store.tellings_about, session.person_id)
        return html(pages.form(reader, achievement, tellings, written=written, mistake=mistake), status)

    @router.get("/me/add")
    async def add_form(request: Request) -> Response:
        session = desk.own_session(request)
        await _themselves(desk, session)
        await desk.audit("own_form_viewed", session, employee_id=session.person_id)
        return await form(request, session, None)

    @router.get("/me/correct")
    async def correct_form(request: Request) -> Response:
        session = desk.own_session(request)
        achievement = await _theirs(desk, session, request.query_params.get("achievement", ""))
        await desk.audit("own_form_viewed", session, employee_id=session.person_id)
        return await form(request, session, achievement)

    async def stated(
        session: Session, fields: dict[str, list[str]], decide: Callable[[str, datetime], Said | None]
    ) -> Response:
        """Write what a form of ours says, and go where it shows."""
        said = decide(desk.showing(session, fields), desk.now())
        page = f"/me?page={_number(_first(fields, 'page'))}"
        if said is None:
            return see(page)
        visible = await desk.state(session, said.what, said.event_id, said.statement_id, said.output)
        return see(f"{page}&done={said.what.removeprefix('achievement_') if visible else 'waiting'}")

    @router.post("/me/add")
    async def add(request: Request) -> Response:
        session = desk.own_session(request)
        fields = await desk.form(request)
        async with desk.turn(session.person_id):
            person_id = (await _themselves(desk, session)).employee_id
            try:
                return await stated(session, fields, lambda showing, now: own.add(person_id, fields, showing, now))
            except _TO_MEND as exc:
                return await form(request, session, None, fields, exc)

    @router.post("/me/correct")
    async def correct(request: Request) -> Response:
        session = desk.own_session(request)
        fields = await desk.form(request)
        async with desk.turn(session.person_id):
            known = await _theirs(desk, session, _first(fields, "achievement"))
            try:
                return await stated(session, fields, lambda _, now: own.correct(known, fields, now))
            except _TO_MEND as exc:
                return await form(request, session, known, fields, exc)

    async def word(request: Request, decide: Callable[[StoredAchievement, datetime], Said | None]) -> Response:
        session = desk.own_session(request)
        fields = await desk.form(request)
        async with desk.turn(session.person_id):
            known = await _theirs(desk, session, _first(fields, "achievement"))
            return await stated(session, fields, lambda _, now: decide(known, now))

    @router.post("/me/hide")
    async def hide(request: Request) -> Response:
        return await word(request, own.hide)

    @router.post("/me/show")
    async def show(request: Request) -> Response:
        return await word(request, own.show)

    @router.post("/me/sign-out")
    async def sign_out(request: Request) -> Response:
        session = desk.own_session(request)
        desk.showing(session, await desk.form(request))
        await desk.note(session, "signed_out")
        return desk.signed_out(session)

    return router


async def _themselves(desk: Desk, session: Session) -> KnownPerson:
    """Return who is signed in; of somebody whom the log does not know there is nothing to see or to say."""
    person = await asyncio.to_thread(desk.store.person, session.person_id, desk.now())
    if person is None:
        raise NotFound
    return person


async def _theirs(desk: Desk, session: Session, achievement_id: str) -> StoredAchievement:
    """Return an achievement of who is signed in; another's is not found, as any that there is none of."""
    known = await asyncio.to_thread(desk.store.achievement, session.person_id, AchievementId(achievement_id))
    if known is None:
        raise NotFound
    return known


def _mistake(error: StaleForm | BadStatement | NotWritten) -> tuple[int, str]:
    """Return the status and what the page has to say."""
    match error:
        case BadStatement():
            return 422, error.code
        case StaleForm():
            return 403, "stale"
        case _:
            return 503, "not_safe"


def _number(text: str) -> int:
    return int(text) if len(text) < 7 and text.isascii() and text.isdigit() and int(text) > 0 else 1


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "")
