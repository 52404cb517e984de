"""Polls vendors' lists by their schedules: a page's records are safe in `sources.received` before the cursor moves.

Whoever holds a source's partition of `sources.received` polls it. Should two do so for a moment, some is told twice,
under the same ids; a cursor never says more than what is safe, so nothing is lost.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import orjson
import structlog
from aiokafka.errors import KafkaError

from services.sources.accounts import Account, Accounts, NotHad, Question, Refused
from services.sources.deliveries import received, unfit
from services.sources.memory import cursor_record
from services.sources.metrics import LAST_POLL, POLL_OVERDUE_AFTER, POLLED, POLLS, QUIET_SINCE, SILENT_AFTER
from shared.sources.apis import Poll
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, too_deep
from shared.sources.expressions import Unmappable
from shared.sources.known_rows import known_row
from shared.sources.polling import (
    Cursor,
    Page,
    Round,
    begun,
    body_of,
    by_the_vendors_clock,
    key_in,
    next_round_at,
    page_url,
    read_page,
)
from shared.sources.rows import row_digest
from shared.streaming.records import Output
from shared.streaming.topics import PARTITIONS

_LARGEST_PAGE: Final = 64 * 1024 * 1024
"""Bytes. What is larger is to be paged, or loaded as an extract."""
_AGAIN_SECONDS: Final = 300.0
"""How long after a failed round it is tried again, at most; sooner where the list is polled more often."""
_LOOK_SECONDS: Final = 1.0
_EXPIRED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""How APIs answer to a cursor that they have forgotten."""
_A_DAY: Final = 86_400.0

log = structlog.get_logger(__name__)


class Memory(Protocol):
    """Where cursors and known rows are read."""

    async def cursor(self, name: str) -> Cursor:
        """Return the cursor of that name."""

    async def known_rows(self, owner: str) -> dict[str, bytes | int]:
        """Return the digest of each row that was sent of that list, by its key."""


@dataclass(frozen=True, slots=True)
class _List:
    declaration: Declaration
    poll: Poll
    account: Account

    @property
    def name(self) -> str:
        return f"{self.declaration.name}/{self.poll.name}"

    @property
    def rows(self) -> str:
        """Whose its rows are in `sources.rows`; not the source's, which are its extracts'."""
        return f"{self.declaration.name}:{self.poll.name}"

    @property
    def labels(self) -> tuple[str, str]:
        return self.declaration.name, self.poll.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.declaration.timezone)


@dataclass(slots=True)
class _Sorted:
    """What is made of a page's records."""

    outputs: list[Output] = field(default_factory=list)
    remembered: dict[str, bytes] = field(default_factory=dict)
    sent: int = 0
    unchanged: int = 0
    unfit: int = 0


class Poller:
    """Polls all lists of the sources that have credentials; runs beside a service's consumers.

    Args:
        sources: the sources, by name.
        accounts: those of the sources that have credentials.
        memory: where cursors and known rows are.
        write: returns when Kafka has acknowledged what it is given.
        holds: tells whether this process is the one that polls what belongs to a partition of `sources.received`.
        give_up_seconds: how long a page is tried for before the round is put off.
        now: the time, aware.
        sleep: lets that many seconds pass.
    """

    def __init__(
        self,
        sources: Mapping[str, Declaration],
        accounts: Accounts,
        memory: Memory,
        *,
        write: Callable[[Sequence[Output]], Awaitable[None]],
        holds: Callable[[int], bool],
        give_up_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lists = [
            _List(source, poll, account)
            for name, source in sources.items()
            if (account := accounts.get(name)) is not None
            for poll in source.poll
        ]
        self._memory = memory
        self._write = write
        self._holds = holds
        self._give_up_seconds = give_up_seconds
        self._now = now
        self._sleep = sleep
        self._begun_anew: set[str] = set()
        """Lists whose round began anew, and has not ended since."""
        for one in self._lists:
            for outcome in ("news", "nothing_new", "failed"):
                POLLS.labels(*one.labels, outcome)  # so that a rate over an outcome that never came is 0 and not absent

    async def run(self) -> None:
        """Poll until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._lists:
                group.create_task(self._follow(one))
            await asyncio.Event().wait()

    async def _follow(self, polled: _List) -> None:
        while True:
            try:
                await self._follow_on(polled)
            except KafkaError as exc:  # only from reading: what is written is tried for as long as it takes
                log.warning(
                    "what is known of a list can't be read, trying again",
                    source=polled.declaration.name,
                    poll=polled.poll.name,
                    error=str(exc) or type(exc).__name__,
                )
            await self._sleep(_LOOK_SECONDS)

    async def _follow_on(self, polled: _List) -> None:
        place = zlib.crc32(polled.declaration.name.encode()) % PARTITIONS
        while True:
            if not self._holds(place):
                await self._sleep(_LOOK_SECONDS)
                continue
            cursor = await self._memory.cursor(polled.name)
            self._tell(polled, cursor)
            not_before = self._now()
            while self._holds(place):
                now = self._now()
                due = max(not_before, next_round_at(polled.poll, cursor, polled.zone))
                if due > now:
                    await self._sleep(min(_LOOK_SECONDS, (due - now).total_seconds()))
                    continue
                cursor, failed = await self._round(polled, cursor, place)
                if failed:
                    not_before = self._now() + timedelta(seconds=_again(polled.poll))

    def _tell(self, polled: _List, cursor: Cursor) -> None:
        began = self._now()
        LAST_POLL.labels(*polled.labels).set((cursor.ended_at or began).timestamp())
        QUIET_SINCE.labels(*polled.labels).set((cursor.news_at or began).timestamp())
        POLL_OVERDUE_AFTER.labels(*polled.labels).set(_overdue(polled.poll))
        if (hours := polled.declaration.silent_after_hours) is not None:
            SILENT_AFTER.labels(polled.declaration.name).set(hours * 3600)

    async def _round(self, polled: _List, cursor: Cursor, place: int) -> tuple[Cursor, bool]:
        """Return the cursor after the round, or after as much of it as could be had, and whether it failed."""
        known: dict[str, bytes | int] = {}
        seen: set[str] = set()
        if polled.poll.changes_only is not None:
            known = await self._memory.known_rows(polled.rows)
        sent = 0
        while True:
            cursor = begun(polled.poll, cursor, self._now())
            assert cursor.round is not None  # noqa: S101 - it has been begun
            try:
                page, round_ = await self._page(polled, cursor.round)
                found = self._sorted(polled, round_, page, known, seen)
            except (NotHad, Unmappable) as exc:
                return await self._failed(polled, cursor, exc), True
            await self._write(found.outputs)
            if found.remembered:
                as_of = round_.began_at
                await self._write([known_row(polled.rows, key, new, as_of) for key, new in found.remembered.items()])
                known.update(found.remembered)
            now = self._now()
            cursor = cursor.model_copy(update={"round": round_}).with_page(page, has_news=found.sent > 0, now=now)
            await self._write([cursor_record(polled.name, cursor)])
            self._count(polled, cursor, found, now)
            sent += found.sent
            if cursor.round is None:
                POLLS.labels(*polled.labels, "news" if sent else "nothing_new").inc()
                log.debug("polled", source=polled.declaration.name, poll=polled.poll.name, records=sent)
                return cursor, False
            if not self._holds(place):
                return cursor, False

    async def _page(self, polled: _List, round_: Round) -> tuple[Page, Round]:
        url = page_url(polled.poll, round_, polled.zone)
        question = Question(url, largest=_LARGEST_PAGE)
        answer = await polled.account.ask(question, deadline=monotonic() + self._give_up_seconds)
        if round_.at is None:
            round_ = by_the_vendors_clock(round_, answer.at)
        return read_page(polled.declaration, polled.poll, round_, answer.document, answer.next_link), round_

    async def _failed(self, polled: _List, cursor: Cursor, error: Exception) -> Cursor:
        POLLS.labels(*polled.labels, "failed").inc()
        log.warning(
            "a poll failed",
            source=polled.declaration.name,
            poll=polled.poll.name,
            error=str(error),
            again_in_seconds=_again(polled.poll),
        )
        if isinstance(error, Refused) and error.status in _EXPIRED and cursor.round and cursor.round.at is not None:
            # The vendor knows the page no more: the round begins anew, from when it would have begun.
            cursor = cursor.model_copy(update={"round": None})
            await self._write([cursor_record(polled.name, cursor)])
            self._begun_anew.add(polled.name)
        return cursor

    def _count(self, polled: _List, cursor: Cursor, found: _Sorted, now: datetime) -> None:
        for outcome, records in (("sent", found.sent), ("unchanged", found.unchanged), ("unfit", found.unfit)):
            POLLED.labels(*polled.labels, outcome).inc(records)
        if cursor.round is None:
            self._begun_anew.discard(polled.name)
        if polled.name not in self._begun_anew:  # or a list that breaks off at the same page each time would look well
            LAST_POLL.labels(*polled.labels).set(now.timestamp())
        if cursor.news_at is not None:
            QUIET_SINCE.labels(*polled.labels).set(cursor.news_at.timestamp())

    def _sorted(
        self, polled: _List, round_: Round, page: Page, known: Mapping[str, bytes | int], seen: set[str]
    ) -> _Sorted:
        found = _Sorted()
        for record in page.records:
            try:
                body = self._body(polled, round_, record, known, seen, found)
            except Unmappable as exc:
                found.unfit += 1
                body = b"" if too_deep(record) else orjson.dumps(record)
                found.outputs.append(unfit(polled.declaration, self._delivery(polled, body), str(exc)))
                continue
            if body is not None:
                found.sent += 1
                found.outputs.append(received(polled.declaration, self._delivery(polled, body)))
        return found

    def _body(
        self,
        polled: _List,
        round_: Round,
        record: Any,
        known: Mapping[str, bytes | int],
        seen: set[str],
        found: _Sorted,
    ) -> bytes | None:
        """Return the body of the delivery that a record is; None where it has not changed."""
        body = body_of(polled.declaration, polled.poll, record, round_.began_at)
        key = key_in(polled.declaration, polled.poll, record)
        if key is None:
            return body
        digest = row_digest(record)
        if key in seen or known.get(key) == digest:
            # Of two with one key the first holds, or they would take turns to be news; where a list moves while it is
            # paged, the second is the first again.
            seen.add(key)
            found.unchanged += 1
            return None
        seen.add(key)
        found.remembered[key] = digest
        return body

    def _delivery(self, polled: _List, body: bytes) -> Delivery:
        return Delivery(polled.declaration.name, body, {}, self._now())


def _again(poll: Poll) -> float:
    return min(_AGAIN_SECONDS, _AGAIN_SECONDS if poll.every_minutes is None else poll.every_minutes * 60)


def _overdue(poll: Poll) -> float:
    """Return how long after its last page a list is overdue: three rounds, or a day and three hours."""
    return _A_DAY + 3 * 3600 if poll.every_minutes is None else max(3 * poll.every_minutes * 60, 1800.0)
