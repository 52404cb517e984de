"""Lists are polled by their schedules, page by page, and the cursor never says more than what is safe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.sources.accounts import Accounts
from services.sources.metrics import LAST_POLL, POLLS
from services.sources.polling import Poller
from shared.contracts.base import utc
from shared.sources.declaration import Declaration
from shared.sources.expressions import Unmappable
from shared.sources.polling import Cursor, Round, next_round_at, page_url, read_page
from shared.streaming.records import Output
from shared.streaming.topics import SOURCES_CURSORS, SOURCES_RECEIVED, SOURCES_ROWS, dead_topic

NOW = utc(2026, 3, 2, 9)
URL = "https://api.acme.example/v1/people?limit=2"


def a_source(**poll: Any) -> Declaration:
    """A source with one list, which is paged by cursor and knows `since`, where the test says nothing else."""
    declared = {
        "name": "people",
        "url": URL,
        "every_minutes": 15,
        "records": "body.people",
        "paging": {"kind": "cursor", "parameter": "cursor", "next": "body.next"},
        "since": {"parameter": "updated_since", "overlap_minutes": 10},
        **poll,
    }
    return Declaration.model_validate(
        {
            "name": "acme",
            "title": "Acme",
            "source": "urn:acme",
            "timezone": "Europe/Berlin",
            "api": {"auth": "bearer"},
            "poll": [{key: value for key, value in declared.items() if value is not None}],
            "subject": "text(body.id || body.row.id)",
            "events": [
                {"feed": "people", "type": "employee.changed", "data": {"employee_id": "text(body.id || body.row.id)"}}
            ],
        }
    )


def a_round(at: str | None = None, since: datetime | None = None) -> Round:
    return Round(began_at=NOW, since=since, at=at)


# -- pages ----------------------------------------------------------------------------------------


LINK = {"kind": "link"}
BY_URL = {"kind": "url", "next": "body.links.next"}
CURSOR = {"kind": "cursor", "parameter": "after", "next": "body.next"}
OFFSET = {"kind": "offset", "parameter": "offset", "total": "body.total"}
PAGES = {"kind": "page", "last": "body.pages"}
TWO = [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("paging", "at", "body", "link", "following", "url"),
    [
        (None, None, {}, None, None, URL),
        (LINK, None, {}, "/v1/people?p=2", "https://api.acme.example/v1/people?p=2", URL),
        (LINK, "https://api.acme.example/v1/people?p=2", {}, None, None, "https://api.acme.example/v1/people?p=2"),
        (BY_URL, None, {"links": {"next": f"{URL}&p=2"}}, None, f"{URL}&p=2", URL),
        (BY_URL, f"{URL}&p=2", {"links": {"next": None}}, None, None, f"{URL}&p=2"),
        (CURSOR, None, {"next": "b=/+"}, None, "b=/+", URL),
        (CURSOR, "b=/+", {"next": ""}, None, None, f"{URL}&after=b%3D%2F%2B"),
        (OFFSET, None, {"total": 5}, None, "2", f"{URL}&offset=0"),
        (OFFSET, "2", {"total": "5"}, None, "4", f"{URL}&offset=2"),
        (OFFSET, "4", {"total": 5}, None, None, f"{URL}&offset=4"),
        ({"kind": "offset"}, "4", {}, None, "6", f"{URL}&offset=4"),
        (PAGES, None, {"pages": 2}, None, "2", f"{URL}&page=1"),
        (PAGES, "2", {"pages": 2}, None, None, f"{URL}&page=2"),
        ({"kind": "page", "first": 0}, None, {}, None, "1", f"{URL}&page=0"),
    ],
)
def test_pages_are_asked_for_as_the_file_says(
    paging: Any, at: str | None, body: Any, link: str | None, following: str | None, url: str
) -> None:
    source = a_source(paging=paging)
    assert page_url(source.poll[0], a_round(at), ZoneInfo("UTC")) == url
    page = read_page(source, source.poll[0], a_round(at), {"people": TWO, **body}, link)
    assert (page.records, page.next) == (tuple(TWO), following)


@pytest.mark.parametrize("paging", [{"kind": "offset"}, {"kind": "page"}])
def test_a_list_without_a_total_ends_with_an_empty_page_and_not_with_a_short_one(paging: Any) -> None:
    source = a_source(paging=paging)
    assert read_page(source, source.poll[0], a_round(), {"people": [{"id": 1}]}).next is not None
    assert read_page(source, source.poll[0], a_round("4"), {"people": []}).next is None


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ("time", "updated_since=2026-03-01T23%3A30%3A00Z"),
        ("date", "updated_since=2026-03-02"),
        ("seconds", "updated_since=1772407800"),
        ("milliseconds", "updated_since=1772407800000"),
    ],
)
def test_since_when_is_said_as_the_api_wants_it(form: str, sent: str) -> None:
    poll = a_source(since={"parameter": "updated_since", "format": form}).poll[0]
    assert page_url(poll, a_round(since=utc(2026, 3, 1, 23, 30)), ZoneInfo("Europe/Berlin")) == f"{URL}&{sent}"


@pytest.mark.parametrize(
    ("paging", "at", "body", "link", "told"),
    [
        (LINK, None, {}, "https://evil.example/v1", "the next page is not at api.acme.example: not followed"),
        (BY_URL, None, {"links": {"next": "http://api.acme.example/v1"}}, None, "not followed"),
        (CURSOR, "b", {"next": "b"}, None, "names the page itself as the next one"),
        (OFFSET, None, {"total": "many"}, None, "'body.total' gives no number"),
        (PAGES, None, {"pages": True}, None, "'body.pages' gives no number"),
        (None, None, {"people": {}}, None, "poll.people.records: 'body.people' finds no list in the answer"),
    ],
)
def test_an_answer_that_is_none_is_told(paging: Any, at: str | None, body: Any, link: str | None, told: str) -> None:
    source = a_source(paging=paging)
    with pytest.raises(Unmappable) as refused:
        read_page(source, source.poll[0], a_round(at), {"people": TWO, **body}, link)
    assert told in str(refused.value)


# -- the schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poll", "ended_at", "due"),
    [
        ({}, utc(2026, 3, 2, 9), utc(2026, 3, 2, 9, 15)),
        ({"every_minutes": None, "daily_at": "02:30"}, utc(2026, 3, 2, 0, 15), utc(2026, 3, 2, 1, 30)),
        ({"every_minutes": None, "daily_at": "02:30"}, utc(2026, 3, 2, 1, 31), utc(2026, 3, 3, 1, 30)),
        ({"every_minutes": None, "daily_at": "06:00"}, utc(2026, 3, 28, 12), utc(2026, 3, 29, 4)),  # summer time
    ],
)
def test_a_round_is_due_as_the_file_says_in_the_zone_of_the_source(
    poll: Any, ended_at: datetime, due: datetime
) -> None:
    cursor = Cursor(covered_until=ended_at, ended_at=ended_at)
    assert next_round_at(a_source(**poll).poll[0], cursor, ZoneInfo("Europe/Berlin")) == due


def test_a_first_round_and_one_that_broke_off_are_due_at_once() -> None:
    poll = a_source().poll[0]
    broke_off = Cursor(covered_until=NOW, ended_at=NOW, round=a_round("b"))
    assert max(next_round_at(poll, cursor, ZoneInfo("UTC")) for cursor in (Cursor(), broke_off)) < utc(1970, 1, 1)


@pytest.mark.parametrize(
    ("poll", "told"),
    [
        ({"daily_at": "02:30"}, "either every_minutes, or daily_at"),
        ({"every_minutes": None}, "either every_minutes, or daily_at"),
        ({"since": None}, "either since, or changes_only"),
        ({"changes_only": "item.id"}, "either since, or changes_only"),
        ({"since": None, "changes_only": "item.id", "delivery": "item"}, "goes with since only"),
        ({"url": "http://api.acme.example"}, "has to be https"),
    ],
)
def test_a_poll_that_would_cost_much_or_give_away_credentials_is_refused(poll: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        a_source(**poll)
    assert told in str(refused.value)


# -- rounds ---------------------------------------------------------------------------------------


class Stopped(Exception):
    """The process has ended here."""


class World:
    """A vendor's API, Kafka, and the time, in memory.

    Attributes:
        pages: what the API answers to each query.
        asked: the queries.
        written: what Kafka has acknowledged.
    """

    def __init__(self, source: Declaration, pages: Mapping[str, Any]) -> None:
        self.source = source
        self.pages: dict[str, Any] = dict(pages)
        self.asked: list[str] = []
        self.written: list[Output] = []
        self.now = NOW
        self.vendors_clock: timedelta | None = timedelta()
        self.dies_at: Callable[[int, Sequence[Output]], bool] = lambda number, outputs: False
        self.writes = 0

    def _answer(self, request: httpx.Request) -> httpx.Response:
        query = request.url.query.decode().removeprefix("limit=2").removeprefix("&")
        self.asked.append(query)
        found = self.pages[query]
        if isinstance(found, httpx.Response):
            return httpx.Response(found.status_code, headers=found.headers)
        headers = {}
        if self.vendors_clock is not None:
            headers["Date"] = format_datetime(self.now + self.vendors_clock, usegmt=True)
        return httpx.Response(200, json=found, headers=headers)

    async def cursor(self, name: str) -> Cursor:
        said = [o.value or b"" for o in self.written if (o.topic, o.key) == (SOURCES_CURSORS, name.encode())]
        return Cursor.model_validate_json(said[-1]) if said else Cursor()

    async def known_rows(self, owner: str) -> dict[str, bytes]:
        prefix = f"{owner}/".encode()
        rows = [o for o in self.written if o.topic == SOURCES_ROWS and (o.key or b"").startswith(prefix)]
        return {(o.key or b"")[len(prefix) :].decode(): (o.value or b"")[:16] for o in rows}

    async def write(self, outputs: Sequence[Output]) -> None:
        self.writes += 1
        if self.dies_at(self.writes, outputs):
            raise Stopped
        self.written.extend(outputs)

    async def rounds(self, minutes: float = 1) -> None:
        """Let a new process poll for so long."""
        until = self.now + timedelta(minutes=minutes)

        async def sleep(seconds: float) -> None:
            self.now += timedelta(seconds=seconds)
            if self.now > until:
                raise Stopped
            await asyncio.sleep(0)

        accounts = Accounts(
            {"acme": self.source},
            {"acme": "0123456789abcdef"},
            timeout_seconds=1,
            transport=httpx.MockTransport(self._answer),
            sleep=sleep,
        )
        poller = Poller(
            {"acme": self.source},
            accounts,
            self,
            write=self.write,
            holds=lambda partition: True,
            give_up_seconds=0,
            now=lambda: self.now,
            sleep=sleep,
        )
        with pytest.raises(ExceptionGroup) as ended:
            await poller.run()
        assert ended.group_contains(Stopped)

    def received(self) -> list[Any]:
        return [json.loads(o.value or b"") for o in self.written if o.topic == SOURCES_RECEIVED]

    def dead(self) -> list[str]:
        letters = [o for o in self.written if o.topic == dead_topic(SOURCES_RECEIVED)]
        return [dict(o.headers)["dead-reason"].decode() for o in letters]


def people(*numbers: int, next: str | None = None) -> dict[str, Any]:
    return {"people": [{"id": number} for number in numbers], "next": next}


async def test_a_round_takes_in_all_pages_and_the_next_asks_for_what_changed_since_with_an_overlap() -> None:
    world = World(a_source(), {"": people(1, 2, next="b"), "cursor=b": people(3)})
    await world.rounds()
    assert world.received() == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert {output.key for output in world.written if output.topic == SOURCES_RECEIVED} == {
        b"hris:1",
        b"hris:2",
        b"hris:3",
    }
    world.pages["updated_since=2026-03-02T08%3A50%3A00Z"] = people(3)
    await world.rounds(20)
    assert world.asked == ["", "cursor=b", "updated_since=2026-03-02T08%3A50%3A00Z"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=-7), timedelta(minutes=7), None])
async def test_a_round_is_counted_by_the_vendors_clock_where_ours_is_ahead_of_it(ahead: timedelta | None) -> None:
    world = World(a_source(), {"": people(1)})
    world.vendors_clock = ahead
    await world.rounds()
    covered = (await world.cursor("acme/people")).covered_until
    assert covered == (NOW + ahead if ahead is not None and ahead < timedelta() else NOW)


@pytest.mark.parametrize("write", range(1, 7))
async def test_a_poller_that_dies_at_any_write_loses_no_page(write: int) -> None:
    pages = {"": people(1, 2, next="b"), "cursor=b": people(3, 4, next="c"), "cursor=c": people(5)}
    world = World(a_source(), pages)
    world.dies_at = lambda number, outputs: number == write
    await world.rounds()
    died_after = list(world.asked)
    await world.rounds()
    assert {person["id"] for person in world.received()} == {1, 2, 3, 4, 5}
    assert len(world.received()) <= 7, "no more than the page in hand is told again"
    assert world.asked[len(died_after)] == died_after[-1], "it goes on with the page that was not safe"


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=5), kills=st.lists(st.integers(1, 4), max_size=6))
@settings(max_examples=30)
def test_however_often_it_is_killed_all_is_told_and_the_cursor_says_no_more_than_that(
    sizes: list[int], kills: list[int]
) -> None:
    pages, number = {}, 0
    for at, size in enumerate(sizes):
        following = f"p{at + 1}" if at + 1 < len(sizes) else None
        pages[f"cursor=p{at}" if at else ""] = people(*range(number, number + size), next=following)
        number += size
    world = World(a_source(), pages)

    async def live_and_die() -> None:
        for kill in [*kills, 10_000]:
            world.writes = 0
            world.dies_at = lambda count, outputs, kill=kill: count == kill  # type: ignore[misc]
            await world.rounds(0.1)
            told = {person["id"] for person in world.received()}
            cursor = await world.cursor("acme/people")
            if cursor.covered_until is not None:
                return
            done = int(cursor.round.at.removeprefix("p")) if cursor.round and cursor.round.at else 0
            assert told >= set(range(sum(sizes[:done])))

    asyncio.run(live_and_die())
    assert {person["id"] for person in world.received()} == set(range(number))


async def test_a_page_that_the_vendor_has_forgotten_makes_the_round_begin_anew() -> None:
    world = World(a_source(), {"": people(1, next="b"), "cursor=b": httpx.Response(410)})
    await world.rounds(12)
    assert world.asked == ["", "cursor=b"] * 3
    assert (await world.cursor("acme/people")).covered_until is None
    looks_well_at = LAST_POLL.labels("acme", "people")._value.get()
    assert looks_well_at == NOW.timestamp(), "it breaks off at the same page each time, and PollsFail has to see that"
    world.pages["cursor=b"] = people(2)
    await world.rounds()
    assert world.asked[6:] == ["", "cursor=b"]
    assert [person["id"] for person in world.received()] == [1, 1, 1, 1, 2]
    assert LAST_POLL.labels("acme", "people")._value.get() > looks_well_at


async def test_a_poll_that_fails_and_one_without_news_are_told_apart() -> None:
    world = World(a_source(), {"": httpx.Response(503), "updated_since=2026-03-02T08%3A54%3A01Z": people()})

    def told() -> dict[str, float]:
        return {o: POLLS.labels("acme", "people", o)._value.get() for o in ("news", "nothing_new", "failed")}

    before = told()
    await world.rounds(4)
    world.pages[""] = people(1)
    await world.rounds(20)
    after = told()
    assert {outcome: after[outcome] - before[outcome] for outcome in after} == {
        "news": 1,
        "nothing_new": 1,
        "failed": 1,
    }
    assert (await world.cursor("acme/people")).news_at == datetime(2026, 3, 2, 9, 4, 1, tzinfo=UTC)


async def test_a_list_without_since_tells_only_what_is_not_as_it_was() -> None:
    source = a_source(since=None, changes_only="text(item.id)", paging=None)
    world = World(source, {"": {"people": [{"id": 1, "title": "Engineer"}, {"id": 2, "title": "Engineer"}]}})
    await world.rounds()
    world.pages[""] = {"people": [{"title": "Engineer", "id": 1}, {"id": 2, "title": "Principal"}, {"id": 2}]}
    await world.rounds(20)
    assert [told["row"] for told in world.received()] == [
        {"id": 1, "title": "Engineer"},
        {"id": 2, "title": "Engineer"},
        {"id": 2, "title": "Principal"},
    ]
    assert world.received()[2]["as_of"] == "2026-03-02T09:15:00+00:00"
    await world.rounds(20)
    assert len(world.received()) == 3


@pytest.mark.parametrize("write", range(1, 4))
async def test_rows_are_remembered_once_they_are_safe(write: int) -> None:
    world = World(a_source(since=None, changes_only="text(item.id)", paging=None), {"": people(1, 2)})
    world.dies_at = lambda number, outputs: number == write
    await world.rounds()
    await world.rounds()
    assert {told["row"]["id"] for told in world.received()} == {1, 2}


async def test_records_that_no_delivery_can_be_made_of_are_dead_letters_and_hold_up_nothing() -> None:
    source = a_source(since=None, changes_only="text(item.id)", paging=None)
    deep: Any = {"id": 3}
    for _ in range(300):
        deep = {"id": 3, "inner": deep}
    world = World(source, {"": {"people": [{"id": 1, "fat": "x" * 1_000_000}, {"name": "Ann"}, deep, {"id": 2}]}})
    await world.rounds()
    assert [told["row"] for told in world.received()] == [{"id": 2}]
    fat, nameless, nested = world.dead()
    assert "bytes, and may have 900000: let the source give fewer fields" in fat
    assert "poll.people.changes_only: 'text(item.id)' finds nothing to name it by" in nameless
    assert "is nested deeper than the 64 levels" in nested


async def test_a_record_may_be_told_in_the_form_of_the_sources_webhooks() -> None:
    world = World(a_source(delivery="{event: 'polled', id: item.id}"), {"": people(7)})
    await world.rounds()
    assert world.received() == [{"event": "polled", "id": 7}]


async def test_what_another_process_holds_is_not_polled() -> None:
    source = a_source()
    world = World(source, {})
    looked = 0

    async def sleep(seconds: float) -> None:
        nonlocal looked
        looked += 1
        if looked > 3:
            raise Stopped

    accounts = Accounts({"acme": source}, {"acme": "0123456789abcdef"}, timeout_seconds=1)
    poller = Poller(
        {"acme": source}, accounts, world, write=world.write, holds=lambda partition: False,
        give_up_seconds=0, now=lambda: datetime.now(UTC), sleep=sleep,
    )  # fmt: skip
    with pytest.raises(ExceptionGroup):
        await poller.run()
    assert world.asked == []
