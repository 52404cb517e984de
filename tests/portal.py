"""A portal in this process, over a sink that keeps what is written and gives it back to the portal as Kafka would."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from starlette.types import ASGIApp

from services.achievements.normalise import normalise
from services.portal import own, projection
from services.portal.app import http_app
from services.portal.projection import project
from services.portal.settings import PortalSettings
from services.portal.store import Store
from shared.contracts.audit import PortalAudited, read_audited
from shared.contracts.base import utc
from shared.contracts.career import (
    SELF,
    Achievement,
    AchievementHidden,
    AchievementRecorded,
    AchievementShown,
    CareerEvent,
    EmployeeJoined,
    Profile,
    RelationshipEnded,
    RelationshipStarted,
    StatementDisowned,
    write_contract,
)
from shared.contracts.choices import SponsorChoice, read_choice
from shared.contracts.cloudevents import FeedEvent, read_feed_event
from shared.contracts.feeds import ACHIEVEMENTS, read_payload
from shared.contracts.identities import Held, Identity, RefClaimed
from shared.contracts.ids import AchievementId, EmployeeId, EventId, Ref, RelationshipId, UnitId
from shared.contracts.outputs import PromptEvent, PromptOpened
from shared.portal_links import own_link, prompt_link
from shared.service.health import Health
from shared.streaming.records import Output, Record
from shared.streaming.sink import NotWritten
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PORTAL_AUDIT, PROMPTS, SPONSOR_CHOICES
from tests.prompt_events import NOW

URL: Final = "http://portal.example/"
KEY: Final = "k" * 32  # not a secret: for tests
OTHER_KEY: Final = "o" * 32
_Word = TypeVar("_Word", AchievementHidden, AchievementShown)


HIRED: Final = utc(2020, 1, 1)


class Portal:
    """A portal, with what it has read and what it has written."""

    intake_is_away = False
    """Whether what people say of themselves stays in the feed: the achievements service is stopped."""

    def __init__(
        self, folder: Path, *, now: datetime = NOW, identity_provider: ASGIApp | None = None, **changes: Any
    ) -> None:
        self.store = Store(folder / "portal.db")
        self.store.begin("a-kafka", {})
        self.written: list[Output] = []
        self.fails_with: NotWritten | None = None
        self.on_take_back: PromptEvent | None = None
        """What the correlator says once an answer is taken back; None while it says nothing."""
        self.now = now
        self._offset = 0
        settings = PortalSettings(**{"url": URL, "keys": KEY, **changes})
        self.identity_provider = None if identity_provider is None else httpx.ASGITransport(identity_provider)
        self.http: ASGIApp = http_app(
            settings, self.store, self, Health(), wall=lambda: self.now, to_provider=self.identity_provider
        )

    # -- as Kafka

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        if self.fails_with is not None:
            raise self.fails_with
        for record in records:
            self.written.append(record)
            if record.topic in projection.TOPICS:
                self.read(record.topic, record.value, record.key)
            if record.topic == own.FEED and not self.intake_is_away:
                self.reads_career(*taken_in(record, self.now))
            if self.on_take_back is not None and b"withdrawn" in (record.value or b""):
                self.reads_prompt(self.on_take_back)
        return asyncio.sleep(0)

    def read(self, topic: str, value: bytes | None, key: bytes | None = None) -> None:
        self._offset += 1
        record = Record(topic, 0, self._offset, key, value, (), self.now)
        self.store.apply(project(record), {(topic, 0): self._offset + 1})

    def reads_prompt(self, event: PromptEvent) -> None:
        self.read(PROMPTS, write_contract(event), event.sponsor_id.encode())

    def reads_career(self, *events: CareerEvent) -> None:
        for event in events:
            self.read(CAREER_EVENTS, write_contract(event), (event.employee_id or "").encode())

    def knows(self, ref: str, employee: str, since: datetime = HIRED) -> None:
        held = (Held(since=since, said_at=since),)
        self.reads_identity(RefClaimed(ref=Ref(ref), employee_id=EmployeeId(employee), held=held, revision=1))

    def reads_identity(self, said: Identity) -> None:
        self.read(IDENTITIES, write_contract(said), b"")

    @property
    def own_statements(self) -> list[FeedEvent]:
        return [read_feed_event(r.key, r.value, (), self.now) for r in self.written if r.topic == own.FEED]

    @property
    def answers(self) -> list[FeedEvent]:
        return [read_feed_event(r.key, r.value, (), self.now) for r in self.written if r.topic == projection.ANSWERS]

    @property
    def choices(self) -> list[SponsorChoice]:
        return [read_choice(r.value or b"") for r in self.written if r.topic == SPONSOR_CHOICES]

    @property
    def audit(self) -> list[PortalAudited]:
        return [read_audited(r.value or b"") for r in self.written if r.topic == PORTAL_AUDIT]

    # -- as a person

    def browser(self, **headers: str) -> Browser:
        return Browser(self, headers)


class Browser:
    """A browser without scripts: it follows redirects, keeps cookies, and sends the forms that it was shown."""

    def __init__(self, portal: Portal, headers: dict[str, str]) -> None:
        self.portal = portal
        transport = httpx.ASGITransport(portal.http, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(
            transport=transport,
            mounts={"http://id.example": portal.identity_provider} if portal.identity_provider else {},
            base_url=URL,
            follow_redirects=True,
            headers={"sec-fetch-site": "same-origin"} | headers,
        )

    async def opens(self, prompt: PromptOpened) -> httpx.Response:
        return await self.http.get(prompt_link(URL, KEY, prompt))

    async def opens_own(self, employee: str = "E2", *, days: int = 7) -> httpx.Response:
        """Open a link to the evidence about oneself."""
        return await self.http.get(own_link(URL, KEY, EmployeeId(employee), self.portal.now + timedelta(days=days)))

    async def sees(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def sends(self, page: httpx.Response, action: str, **fields: str | list[str]) -> httpx.Response:
        """Send a form of `page`, the one whose action ends so, with these fields."""
        (path,) = {
            path for path in re.findall(r'<form method="post" action="([^"]+)"', page.text) if path.endswith(action)
        }
        return await self.http.post(path, data={"form": token_of(page), **fields})

    async def takes_back(self, page: httpx.Response, action: str) -> httpx.Response:
        """Press the button of `page` by which an answer is taken back."""
        (answer,) = set(re.findall(r'<input type="hidden" name="answer" value="([^"]+)">', page.text))
        return await self.sends(page, action, answer=answer)


def taken_in(record: Output, now: datetime) -> list[CareerEvent]:
    """Return what the achievements service makes of an event."""
    event = read_feed_event(record.key, record.value, (), now)
    payload = read_payload(ACHIEVEMENTS, event.type, event.data)
    return list(normalise(event, payload, lambda ref: EmployeeId(ref.removeprefix("hris:"))))


def token_of(page: httpx.Response) -> str:
    """Return the token in the forms of a page."""
    (token,) = set(re.findall(r'<input type="hidden" name="form" value="([^"]+)">', page.text))
    return token


def heading(page: httpx.Response) -> str:
    """Return the page's heading, as text."""
    (found,) = re.findall(r"<h1>(.*?)</h1>", page.text, re.S)
    return re.sub(r"<[^>]+>", "", found).strip()


def a_person(employee: str, name: str, *, level: int = 4, active: bool = True, **changes: Any) -> EmployeeJoined:
    fields: dict[str, Any] = {
        "id": EventId(f"{employee}-joined"),
        "at": NOW - timedelta(days=1000),
        "source": "test",
        "employee_id": EmployeeId(employee),
        "effective_at": NOW - timedelta(days=1000),
        "revision": 1,
        "profile": Profile(
            name=name, level=level, level_since=date(2024, 1, 1), unit_path=(UnitId("payments"),), active=active
        ),
    }
    return EmployeeJoined(**(fields | changes))


def a_piece(achievement_id: str = "A1", employee: str = "E2", **changes: Any) -> AchievementRecorded:
    """An achievement that a recognition tool told of."""
    at = changes.pop("at", NOW - timedelta(days=30))
    done: dict[str, Any] = {
        "achievement_id": AchievementId(achievement_id),
        "title": "Checkout answers in half the time",
        "outcome": "From 900 ms to 430 ms at the busiest hour",
        "impact": 2,
        "occurred_on": date(2026, 1, 14),
        "competencies": ("delivery",),
        "link": "https://example.com/checkout",
        "witnesses": ("hris:E1",),
    }
    return AchievementRecorded(
        id=EventId(f"{achievement_id}-{at:%Y%m%d%H%M%S}"),
        at=at,
        source=changes.pop("source", "urn:acme:recognition#1"),
        employee_id=EmployeeId(employee),
        achievement=Achievement(**(done | changes)),
    )


def a_hiding(achievement_id: str, employee: str = "E2", *, at: datetime = NOW) -> AchievementHidden:
    return _word(AchievementHidden, achievement_id, employee, at)


def a_showing(achievement_id: str, employee: str = "E2", *, at: datetime = NOW) -> AchievementShown:
    return _word(AchievementShown, achievement_id, employee, at)


def a_disowning(statement_id: str, employee: str = "E2") -> StatementDisowned:
    return StatementDisowned(
        id=EventId(f"not-{statement_id}"),
        at=NOW,
        source="test",
        employee_id=EmployeeId(employee),
        statement_id=EventId(statement_id),
    )


def _word(of: type[_Word], achievement_id: str, employee: str, at: datetime) -> _Word:
    return of(
        id=EventId(f"{of.__name__}-{achievement_id}-{at:%Y%m%d%H%M%S}"),
        at=at,
        source=f"{SELF}#1",
        employee_id=EmployeeId(employee),
        achievement_id=AchievementId(achievement_id),
    )


def a_tie(
    employee: str, sponsor: str = "E1", *, started_at: datetime = NOW - timedelta(days=400)
) -> RelationshipStarted:
    return RelationshipStarted(
        id=EventId(f"{employee}-{sponsor}"),
        at=started_at,
        source="test",
        employee_id=EmployeeId(employee),
        relationship_id=RelationshipId(f"{employee}-{sponsor}"),
        kind="sponsor",
        other_id=EmployeeId(sponsor),
        started_at=started_at,
    )


def a_tie_end(employee: str, sponsor: str = "E1", *, ended_at: datetime = NOW) -> RelationshipEnded:
    return RelationshipEnded(
        id=EventId(f"{employee}-{sponsor}-end"),
        at=ended_at,
        source="test",
        employee_id=EmployeeId(employee),
        relationship_id=RelationshipId(f"{employee}-{sponsor}"),
        kind="sponsor",
        other_id=EmployeeId(sponsor),
        ended_at=ended_at,
    )
