"""Everybody's log learns of a cycle and of the time; what can't be a cycle says why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.cycles.handlers import WallClock, taker
from services.cycles.normalise import ClockSource, CycleEvent, normalise, tick
from services.cycles.settings import CyclesSettings
from shared.contracts.career import (
    ClockTicked,
    Cycle,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    read_career_event,
)
from shared.contracts.ids import CycleId, UnitId, feed_event_id
from shared.streaming.records import Output, Record
from shared.streaming.topics import CAREER_EVENTS, PARTITIONS, PEOPLE_CHANGES, dead_topic, feed_topic
from tests.intake_events import (
    EVERY_SHAPE,
    NOW,
    SOURCE,
    Data,
    a_cancellation,
    a_closing,
    a_cycle,
    a_tick,
    an_event,
    everybody,
    payload,
    reason,
    without,
)

SHAPES = EVERY_SHAPE["cycles"]
CYCLE_TYPES = [event_type for event_type in SHAPES if event_type != "clock.ticked"]


def said(event_type: str, data: Any, *, clock: ClockSource = "feed", **changes: Any) -> CycleEvent:
    event = an_event(event_type, data, **changes)
    return normalise(event, payload("cycles", event), clock)


def why_not(event_type: str, data: Any, *, clock: ClockSource = "feed") -> str:
    return reason(lambda: said(event_type, data, clock=clock))


# -- cycles ---------------------------------------------------------------------------------------


def test_a_cycle_is_announced_as_it_was_stated() -> None:
    statement = said("cycle.opened", a_cycle())
    assert isinstance(statement, CycleOpened)
    assert statement.cycle == Cycle(
        cycle_id=CycleId("spring-2026"),
        kind="promotion",
        title="Spring promotions 2026",
        unit_ids=(UnitId("div-1"),),
        levels=(3, 4, 5),
        min_months_in_level=12,
        competencies=("technical depth", "delivery"),
        evidence_from=date(2025, 3, 1),
        evidence_to=date(2026, 2, 28),
        opens_at=datetime(2026, 3, 2, 8, tzinfo=UTC),
        closes_at=datetime(2026, 3, 27, 17, tzinfo=UTC),
    )


def test_an_amendment_states_the_whole_cycle_anew() -> None:
    statement = said("cycle.amended", a_cycle(levels=[4]))
    assert isinstance(statement, CycleAmended)
    assert statement.cycle.levels == (4,)


def test_a_cycle_is_closed_at_the_time_that_was_said() -> None:
    statement = said("cycle.closed", a_closing())
    assert isinstance(statement, CycleClosed)
    assert (statement.cycle_id, statement.closed_at) == ("spring-2026", datetime(2026, 3, 20, 12, tzinfo=UTC))


def test_a_cycle_is_closed_when_it_was_said_where_no_time_is_given() -> None:
    statement = said("cycle.closed", without(a_closing(), "closed_at"))
    assert isinstance(statement, CycleClosed)
    assert statement.closed_at == NOW


def test_a_cancellation_says_why() -> None:
    statement = said("cycle.cancelled", a_cancellation())
    assert isinstance(statement, CycleCancelled)
    assert (statement.cycle_id, statement.reason) == ("spring-2026", "Budget")


@pytest.mark.parametrize("event_type", SHAPES)
def test_every_statement_tells_when_and_by_whom_it_was_said(event_type: str) -> None:
    statement = said(event_type, SHAPES[event_type](), id="ev-9", source="urn:example:x")
    assert (statement.at, statement.source, statement.employee_id) == (NOW, "urn:example:x#ev-9", None)


@pytest.mark.parametrize("event_type", CYCLE_TYPES)
def test_the_event_id_is_that_of_the_feed_event(event_type: str) -> None:
    assert said(event_type, SHAPES[event_type]()).id == feed_event_id(SOURCE, "ev-1")


@pytest.mark.parametrize("event_type", SHAPES)
def test_every_partition_of_the_log_gets_the_same_copy(event_type: str) -> None:
    event = an_event(event_type, SHAPES[event_type]())
    outputs = list(taker("feed")(event, payload("cycles", event), everybody))
    topics = (CAREER_EVENTS, PEOPLE_CHANGES) if event_type == "clock.ticked" else (CAREER_EVENTS,)
    everywhere = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    assert [(output.topic, output.partition) for output in outputs] == everywhere
    assert {read_career_event(output.value or b"") for output in outputs} == {said(event_type, SHAPES[event_type]())}


# -- what can't be a cycle ------------------------------------------------------------------------


@pytest.mark.parametrize("closes_at", ["2026-03-02T08:00:00Z", "2026-03-01T08:00:00Z", "2026-03-02T09:59:00+02:00"])
def test_a_cycle_that_closes_before_it_opens_is_refused_with_both_times(closes_at: str) -> None:
    words = why_not("cycle.opened", a_cycle(closes_at=closes_at))
    assert words.startswith("closes_at: ")
    assert "opens_at, 2026-03-02T08:00:00+00:00" in words
    assert "send a later closes_at" in words


def test_an_evidence_window_that_ends_before_it_begins_is_refused_with_both_dates() -> None:
    words = why_not("cycle.amended", a_cycle(evidence_to="2025-02-28"))
    assert words.startswith("evidence_to: 2025-02-28 ")
    assert "evidence_from, 2025-03-01" in words


def test_an_evidence_window_of_one_day_is_one() -> None:
    assert isinstance(said("cycle.opened", a_cycle(evidence_to="2025-03-01")), CycleOpened)


@pytest.mark.parametrize(
    "field", ["cycle_id", "kind", "title", "evidence_from", "evidence_to", "opens_at", "closes_at"]
)
def test_a_cycle_without_what_it_needs_names_the_field(field: str) -> None:
    assert why_not("cycle.opened", without(a_cycle(), field)) == f"{field}: Field required"


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        ("cycle.opened", a_cycle(kind="lottery"), "kind"),
        ("cycle.opened", a_cycle(levels=[3, 99]), "levels.1"),
        ("cycle.opened", a_cycle(opens_at="2026-03-02T08:00:00"), "opens_at"),
        ("cycle.opened", a_cycle(min_months_in_level=-1), "min_months_in_level"),
        ("cycle.closed", a_closing(closed_at="soon"), "closed_at"),
        ("cycle.closed", without(a_closing(), "cycle_id"), "cycle_id"),
        ("cycle.cancelled", a_cancellation(cycle_id=""), "cycle_id"),
        ("clock.ticked", a_tick(now="noon"), "now"),
        ("clock.ticked", {}, "now"),
    ],
)
def test_a_bad_field_is_named(event_type: str, data: Data, field: str) -> None:
    assert why_not(event_type, data).startswith(f"{field}: ")


# -- the clock ------------------------------------------------------------------------------------


def test_where_the_feed_has_the_clock_its_ticks_tell_the_time() -> None:
    statement = said("clock.ticked", a_tick(), clock="feed")
    assert isinstance(statement, ClockTicked)
    assert statement.now == datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_where_the_wall_has_the_clock_a_tick_of_the_feed_is_refused_and_the_setting_named() -> None:
    words = why_not("clock.ticked", a_tick(), clock="wall")
    assert words.startswith("type: clock.ticked ")
    assert "CYCLES_CLOCK=wall" in words
    assert "set CYCLES_CLOCK=feed" in words


def test_the_same_time_told_twice_is_one_event_whoever_tells_it() -> None:
    wall = tick(NOW, at=NOW, source="cycles#x")
    feed = said("clock.ticked", a_tick(now="2026-03-02T10:00:00+01:00"))
    assert wall.id == feed.id
    assert tick(NOW + timedelta(seconds=1), at=NOW, source="cycles#x").id != wall.id


class Hands:
    """The time as a test sets it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.appointed = True

    def clock(self, every: float = 60) -> WallClock:
        return WallClock(
            every, lambda: self.appointed, lambda: NOW + timedelta(seconds=self.seconds), lambda: self.seconds
        )


def times(outputs: Sequence[Output]) -> list[datetime]:
    """Return the times told, each once; fails where not every partition was told."""
    told = [event for o in outputs if isinstance(event := read_career_event(o.value or b""), ClockTicked)]
    by_time = {
        event.now: [(o.topic, o.partition) for o in outputs if read_career_event(o.value or b"") == event]
        for event in told
    }
    everywhere = [(topic, partition) for topic in (CAREER_EVENTS, PEOPLE_CHANGES) for partition in range(PARTITIONS)]
    assert all(places == everywhere for places in by_time.values())
    return list(by_time)


async def test_the_time_is_told_at_once_and_then_as_often_as_set() -> None:
    hands = Hands()
    clock = hands.clock(every=60)
    told = []
    for second in (0, 1, 59, 60, 61, 120):
        hands.seconds = second
        told += times(await clock.when_due())
    assert told == [NOW, NOW + timedelta(seconds=60), NOW + timedelta(seconds=120)]


async def test_only_the_appointed_process_tells_the_time_and_a_newly_appointed_one_at_once() -> None:
    hands = Hands()
    clock = hands.clock(every=60)
    assert times(await clock.when_due()) == [NOW]
    hands.appointed = False
    hands.seconds = 61
    assert await clock.when_due() == []
    hands.appointed = True
    hands.seconds = 62
    assert times(await clock.when_due()) == [NOW + timedelta(seconds=62)]
    hands.appointed = False
    hands.seconds = 70
    assert await clock.when_due() == []
    hands.appointed = True
    hands.seconds = 71
    assert times(await clock.when_due()) == [NOW + timedelta(seconds=71)]


def a_record() -> Record:
    return Record(feed_topic("cycles"), 1, 0, b"spring-2026", b"{}", (), NOW)


async def test_the_time_follows_the_news_of_a_run() -> None:
    news = Output(CAREER_EVENTS, None, b"a cycle", partition=0)

    async def handle(run: Sequence[Record]) -> Sequence[Output]:
        return [news]

    first, *rest = await Hands().clock().after_news(handle)([a_record()])
    assert first == news
    assert times(rest) == [NOW]


async def test_a_run_without_news_tells_no_time() -> None:
    buried = Output(dead_topic(feed_topic("cycles")), None, b"{}")

    async def handle(run: Sequence[Record]) -> Sequence[Output]:
        return [buried]

    assert await Hands().clock().after_news(handle)([a_record()]) == [buried]


@pytest.mark.parametrize(("name", "value"), [("CYCLES_CLOCK", "sun"), ("CYCLES_TICK_SECONDS", "0")])
def test_a_clock_that_cant_be_is_refused_at_the_start(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        CyclesSettings()


def test_the_clock_is_the_walls_and_told_once_a_minute_unless_set_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYCLES_CLOCK", raising=False)
    settings = CyclesSettings()
    assert (settings.clock, settings.tick_seconds) == ("wall", 60)
