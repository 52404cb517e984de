"""Decides what a poller asks next, and how far a list has been polled: rounds, pages, the cursor that outlives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import orjson

from shared.contracts.base import Contract, EventTime
from shared.sources.apis import CursorPaging, LinkPaging, OffsetPaging, PageNumbers, Poll, Since, UrlPaging
from shared.sources.declaration import Declaration
from shared.sources.delivery import DEEPEST, too_deep
from shared.sources.expressions import Expression, Unmappable
from shared.sources.mapping import LONGEST_SUBJECT
from shared.sources.rows import row_body


class Round(Contract):
    """A round in hand: one pass over a list's pages.

    Attributes:
        began_at: when, by the vendor's clock, its first page was asked for.
        since: from when on changes are asked for; None for all there is.
        at: where the next page is: an address, a cursor, an offset or a number, as the list is paged; None: the first.
    """

    began_at: EventTime
    since: EventTime | None = None
    at: str | None = None


class Cursor(Contract):
    """How far a list of a source has been polled, as it lies in `sources.cursors`.

    Attributes:
        covered_until: what was changed before this time by the vendor's clock has been told; None before the first
            round has ended.
        ended_at: when the last round ended.
        news_at: when something came last.
        round: the one in hand.
    """

    covered_until: EventTime | None = None
    ended_at: EventTime | None = None
    news_at: EventTime | None = None
    round: Round | None = None

    def with_page(self, page: Page, *, has_news: bool, now: datetime) -> Cursor:
        """Return the cursor once what `page` holds is safe."""
        if self.round is None:
            raise ValueError("there is no round in hand that the page could be of")
        news_at = now if has_news else self.news_at
        if page.next is not None:
            following = self.round.model_copy(update={"at": page.next})
            return self.model_copy(update={"news_at": news_at, "round": following})
        return Cursor(covered_until=self.round.began_at, ended_at=now, news_at=news_at, round=None)


@dataclass(frozen=True, slots=True)
class Page:
    """What an answer holds.

    Attributes:
        records: of the list.
        next: where the next page is; None at the end.
    """

    records: tuple[Any, ...]
    next: str | None


def next_round_at(poll: Poll, cursor: Cursor, zone: ZoneInfo) -> datetime:
    """Return when the next round is to begin, UTC; long ago where one is in hand, or there was none yet."""
    if cursor.round is not None or cursor.ended_at is None:
        return datetime.min.replace(tzinfo=UTC)
    if poll.every_minutes is not None:
        return cursor.ended_at + timedelta(minutes=poll.every_minutes)
    assert poll.daily_at is not None  # noqa: S101 - the declaration was checked
    ended = cursor.ended_at.astimezone(zone)
    today = datetime.combine(ended.date(), poll.daily_at, zone)
    due = today if today > ended else datetime.combine(ended.date() + timedelta(days=1), poll.daily_at, zone)
    return due.astimezone(UTC)


def begun(poll: Poll, cursor: Cursor, now: datetime) -> Cursor:
    """Return the cursor with a round in hand: the one that it has, or a new one.

    Args:
        poll: what is polled.
        cursor: as it was left.
        now: by our clock; `by_the_vendors_clock` says it again once the vendor has told its own.
    """
    if cursor.round is not None:
        return cursor
    since = None
    if poll.since is not None and cursor.covered_until is not None:
        since = cursor.covered_until - timedelta(minutes=poll.since.overlap_minutes)
    return cursor.model_copy(update={"round": Round(began_at=now, since=since)})


def by_the_vendors_clock(round_: Round, said: datetime | None) -> Round:
    """Return a round that began when the vendor's clock said so.

    What is changed is stamped by the vendor's clock, so the next round has to be asked for by it. If it says a later
    time than ours we keep ours: to ask too far back costs repetitions, and not far enough would cost changes.
    """
    return round_ if said is None or said >= round_.began_at else round_.model_copy(update={"began_at": said})


def page_url(poll: Poll, round_: Round, zone: ZoneInfo) -> str:
    """Return the address of the page that the round is at."""
    if isinstance(poll.paging, LinkPaging | UrlPaging) and round_.at is not None:
        return round_.at
    asked: dict[str, str] = {}
    if poll.since is not None and round_.since is not None:
        asked[poll.since.parameter] = _since(poll.since, round_.since, zone)
    if isinstance(poll.paging, CursorPaging) and round_.at is not None:
        asked[poll.paging.parameter] = round_.at
    elif isinstance(poll.paging, OffsetPaging):
        asked[poll.paging.parameter] = round_.at or "0"
    elif isinstance(poll.paging, PageNumbers):
        asked[poll.paging.parameter] = round_.at or str(poll.paging.first)
    address = urlsplit(poll.url)
    query = urlencode([*parse_qsl(address.query, keep_blank_values=True), *asked.items()])
    return urlunsplit(address._replace(query=query))


def read_page(declaration: Declaration, poll: Poll, round_: Round, document: Any, next_link: str | None = None) -> Page:
    """Return what an answer holds.

    Args:
        declaration: the source.
        poll: the list of it.
        round_: the one that the page was asked for in.
        document: the answer's body, as JSON.
        next_link: the target of its Link header's ``rel=next``.

    Raises:
        Unmappable: it is not what the declaration says; the message says what was looked for.
    """
    found = _found(declaration, poll.records, document, "records")
    if not isinstance(found, list):
        raise Unmappable(f"poll.{poll.name}.records: {poll.records.text!r} finds no list in the answer")
    following = _next(declaration, poll, round_, document, next_link, len(found))
    if following is not None and following == round_.at:
        raise Unmappable(f"poll.{poll.name}.paging: the answer names the page itself as the next one")
    return Page(tuple(found), following)


def key_in(declaration: Declaration, poll: Poll, record: Any) -> str | None:
    """Return what names a record of a list that tells only what has changed; None where a list tells all.

    Raises:
        Unmappable: nothing names it.
    """
    if poll.changes_only is None:
        return None
    where = f"poll.{poll.name}.changes_only"
    key = declaration.functions.text_of(poll.changes_only.evaluate({"item": record}, declaration.functions, where))
    if key is None or len(key) > LONGEST_SUBJECT:
        raise Unmappable(f"{where}: {poll.changes_only.text!r} finds nothing to name it by")
    return key


def body_of(declaration: Declaration, poll: Poll, record: Any, began_at: datetime) -> bytes:
    """Return the body of the delivery that a record of a list is.

    Raises:
        Unmappable: it lies too deep in itself, or the list's expression does not fit it.
    """
    if too_deep(record):
        raise Unmappable(f"is nested deeper than the {DEEPEST} levels that are allowed")
    if poll.changes_only is not None:
        return row_body(record, began_at)
    if poll.delivery is None:
        return orjson.dumps(record)
    where = f"poll.{poll.name}.delivery"
    return orjson.dumps(poll.delivery.evaluate({"item": record}, declaration.functions, where))


def _next(
    declaration: Declaration, poll: Poll, round_: Round, document: Any, next_link: str | None, records: int
) -> str | None:
    paging = poll.paging
    if isinstance(paging, LinkPaging):
        return _own(poll, next_link)
    if isinstance(paging, UrlPaging):
        return _own(poll, _text(declaration, paging.next, document, "next"))
    if isinstance(paging, CursorPaging):
        return _text(declaration, paging.next, document, "next")
    # An API may give fewer records than were asked for, so a short page is no end.
    if isinstance(paging, OffsetPaging):
        so_far = int(round_.at or "0") + records
        total = None if paging.total is None else _number(declaration, paging.total, document, "total")
        return None if records == 0 or (total is not None and so_far >= total) else str(so_far)
    if isinstance(paging, PageNumbers):
        number = int(round_.at or paging.first)
        last = None if paging.last is None else _number(declaration, paging.last, document, "last")
        return None if records == 0 or (last is not None and number >= last) else str(number + 1)
    return None


def _own(poll: Poll, following: str | None) -> str | None:
    """Return the next page's address, which has to be the API's own, for the credentials go with it."""
    if following is None:
        return None
    whole = urljoin(poll.url, following)
    if urlsplit(whole)[:2] != urlsplit(poll.url)[:2]:
        raise Unmappable(f"poll.{poll.name}.paging: the next page is not at {urlsplit(poll.url).netloc}: not followed")
    return whole


def _found(declaration: Declaration, expression: Expression, document: Any, where: str) -> Any:
    seen: Mapping[str, Any] = {"body": document}
    return expression.evaluate(seen, declaration.functions, f"poll.{where}")


def _text(declaration: Declaration, expression: Expression, document: Any, where: str) -> str | None:
    return declaration.functions.text_of(_found(declaration, expression, document, where))


def _number(declaration: Declaration, expression: Expression, document: Any, where: str) -> int:
    found = _found(declaration, expression, document, where)
    if isinstance(found, bool) or not isinstance(found, int | float | str) or not str(found).isdigit():
        raise Unmappable(f"poll.{where}: {expression.text!r} gives no number")
    return int(found)


def _since(since: Since, at: datetime, zone: ZoneInfo) -> str:
    if since.format == "date":
        return at.astimezone(zone).date().isoformat()
    if since.format == "seconds":
        return str(int(at.timestamp()))
    if since.format == "milliseconds":
        return str(int(at.timestamp() * 1000))
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
