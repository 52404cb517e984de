"""The read model does not depend on how its records arrive: on runs, on the order of partitions, on repetition."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from services.insights.applying import Projection, Run, apply_run
from services.insights.projection import project
from shared.contracts.base import Contract
from shared.contracts.career import (
    AchievementCorrected,
    AchievementRecorded,
    AchievementRetracted,
    ClockTicked,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EndorsementGiven,
    EndorsementWithdrawn,
)
from shared.contracts.outputs import (
    GapClosed,
    GapOpened,
    GapUpdated,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
)
from shared.database import open_database
from shared.streaming.records import Record
from tests.unit.test_insights import (
    a_body,
    a_cycle,
    a_profile,
    an_achievement,
    day,
    delivered,
    dump,
    empty_schema,
    joined,
    missing,
    noted,
    prompted,
    recorded,
    said,
    tied,
    topic_of,
    untied,
)

# Few things and few days, so that statements about the same thing meet, also at the same time.
PARTITIONS = 2
employees = st.sampled_from(["E1", "E2", "E3"])
days = st.integers(0, 4)
versions = st.integers(1, 4)


def _of_an_employee(kind: str, who: str, on: int, n: int) -> Any:
    match kind:
        case "profile":
            return joined(who, on, revision=n, profile=a_profile(f"Name {n}", level=n))
        case "tied":
            return tied(who, "S1", on)
        case "untied":
            return untied(who, "S1", on)
        case "recorded" | "corrected":
            event = AchievementRecorded if kind == "recorded" else AchievementCorrected
            return said(event, on, employee_id=who, achievement=an_achievement(f"A-{who}", title=f"Title {n}"))
        case "retracted":
            return said(AchievementRetracted, on, employee_id=who, achievement_id=f"A-{who}")
        case "given":
            fields = {"endorsement_id": f"N-{who}", "sponsor_id": "S1", "given_at": day(on), "cycle_id": f"C{n}"}
            return said(EndorsementGiven, on, employee_id=who, **fields)
        case "withdrawn":
            return said(EndorsementWithdrawn, on, employee_id=who, endorsement_id=f"N-{who}", sponsor_id="S1")
    raise AssertionError(kind)


of_an_employee = st.builds(
    _of_an_employee,
    st.sampled_from(["profile", "tied", "untied", "recorded", "corrected", "retracted", "given", "withdrawn"]),
    employees,
    days,
    versions,
)
of_everybody = st.one_of(
    st.builds(lambda on, n: said(CycleOpened, on, cycle=a_cycle(title=f"Title {n}")), days, versions),
    st.builds(lambda on, n: said(CycleAmended, on, cycle=a_cycle(title=f"Amended {n}")), days, versions),
    st.builds(lambda on, n: said(CycleClosed, on, cycle_id="C1", closed_at=day(n)), days, versions),
    st.builds(lambda on: said(CycleCancelled, on, cycle_id="C1"), days),
    st.builds(lambda on: said(ClockTicked, on, now=day(on)), days),
)


def _of_a_prompt(n: int, sponsor: str, kind: type[Any]) -> Any:
    more: dict[type[Any], dict[str, Any]] = {
        PromptOpened: {"body": a_body(title=f"Title {n}")},
        PromptUpdated: {"body": a_body(title=f"Title {n}")},
        PromptWithdrawn: {"reason": "declined"},
        PromptFulfilled: {"endorsement_id": "N1"},
    }
    return prompted(kind, n, sponsor=sponsor, **more[kind])


def _of_a_gap(n: int, who: str, kind: type[Any]) -> Any:
    return missing(kind, n, employee=who, **({"reason": "sponsor_found"} if kind is GapClosed else {}))


# A version of a prompt or a gap is one event: its kind follows from its number, as if it had happened once.
_PROMPT_KINDS = (PromptOpened, PromptUpdated, PromptWithdrawn, PromptFulfilled)
_GAP_KINDS = (GapOpened, GapUpdated, GapClosed)
of_a_prompt = st.builds(lambda n, who: _of_a_prompt(n, f"S-{who}", _PROMPT_KINDS[n - 1]), versions, employees)
of_a_gap = st.builds(lambda n, who: _of_a_gap(n, who, _GAP_KINDS[(n - 1) % 3]), versions, employees)
of_a_delivery = st.builds(
    lambda n, outcome, on: delivered(n, outcome=outcome, at=on, attempts=on + 1),
    versions,
    st.sampled_from(["delivered", "failed", "skipped", "delayed", "suppressed"]),
    days,
)
of_a_view = st.builds(lambda what, on: noted(what, on), st.sampled_from(["prompt_viewed", "link_opened"]), days)
events = st.lists(st.one_of(of_an_employee, of_everybody, of_a_prompt, of_a_gap, of_a_delivery, of_a_view), max_size=25)


def a_log(happened: Sequence[Any]) -> list[Record]:
    """The events in their topics: each of a key in one partition, those of everybody in all."""
    ends: dict[tuple[str, int], int] = {}
    log: list[Record] = []
    for event in happened:
        topic = topic_of(event)
        own = getattr(event, "employee_id", None) or getattr(event, "sponsor_id", None)
        for partition in range(PARTITIONS) if own is None else [sum(own.encode()) % PARTITIONS]:
            offset = ends.get((topic, partition), 0)
            ends[(topic, partition)] = offset + 1
            log.append(recorded(event, topic=topic, partition=partition, offset=offset))
    return log


@contextmanager
def an_empty_database() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "insights.db"
        file.write_bytes(empty_schema())
        engine = open_database(f"sqlite:///{file}", "insights")
        try:
            yield engine
        finally:
            engine.dispose()


def built_in_one_run(log: Sequence[Record]) -> dict[str, list[tuple[Any, ...]]]:
    with an_empty_database() as engine:
        apply_run(engine, Run(log, project))
        return dump(engine)


def deliver_somehow(engine: Engine, log: Sequence[Record], chance: random.Random) -> None:
    """Deliver the log in runs of any length, partitions interleaved in any way, now and then from an older offset."""
    place = lambda record: (record.topic, record.partition)  # noqa: E731 (a key, used twice)
    partitions = {at: list(records) for at, records in groupby(sorted(log, key=place), key=place)}
    read = dict.fromkeys(partitions, 0)
    while any(read[at] < len(records) for at, records in partitions.items()):
        run: list[Record] = []
        for _ in range(chance.randint(1, 8)):
            at = chance.choice(sorted(partitions))
            if chance.random() < 0.15:
                read[at] = chance.randint(0, read[at])  # a rebalance, or a crash before the commit
            upto = read[at] + chance.randint(0, 4)
            run += partitions[at][read[at] : upto]
            read[at] = min(upto, len(partitions[at]))
        apply_run(engine, Run(run, project, together=chance.randint(1, 5)))


@settings(max_examples=60, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_any_runs_interleaving_and_redelivery_give_the_same_tables(happened: list[Any], chance: random.Random) -> None:
    log = a_log(happened)
    with an_empty_database() as engine:
        deliver_somehow(engine, log, chance)
        assert dump(engine) == built_in_one_run(log)


@settings(max_examples=60, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_of_the_facts_give_the_same_rows(
    happened: list[Any], chance: random.Random
) -> None:
    # More than the log can do to us: the same events in an order of any kind, some written twice by their producers.
    shuffled = happened + [event for event in happened if chance.random() < 0.3]
    chance.shuffle(shuffled)
    of_the_log = ("progress", "event_counts")
    with an_empty_database() as engine:
        deliver_somehow(engine, a_log(shuffled), chance)
        as_shuffled = dump(engine, without=of_the_log)
        counted = events_counted(dump(engine))
    as_happened = built_in_one_run(a_log(happened))
    assert counted == events_counted(as_happened)
    assert as_shuffled == {name: rows for name, rows in as_happened.items() if name not in of_the_log}


def events_counted(tables: dict[str, list[tuple[Any, ...]]]) -> dict[tuple[str, int, str], int]:
    """How many distinct career events there are of each type, in each partition."""
    return {(topic, partition, kind): events for topic, partition, kind, _, events in tables["event_counts"] if events}


@settings(max_examples=40, deadline=None)
@given(events)
def test_every_record_is_counted_once_whatever_becomes_of_it(happened: list[Contract]) -> None:
    log = a_log(happened)
    tables = built_in_one_run(log)
    assert sum(row[3] for row in tables["event_counts"]) == sum(row[2] for row in tables["progress"]) == len(log)


@pytest.mark.parametrize("seed", range(3))
def test_the_chance_in_these_tests_does_deliver_again(seed: int) -> None:
    """A property that never sees a repetition would prove nothing."""
    log = a_log([joined("E1", n % 5, revision=n) for n in range(40)])
    handed: list[Projection] = []
    chance = random.Random(seed)
    with an_empty_database() as engine, pytest.MonkeyPatch.context() as patch:
        real = apply_run

        def spy(on: Engine, run: Run) -> Any:
            for part in run.parts():
                handed.extend(part)
            return real(on, run)

        patch.setattr("tests.property.test_insights_properties.apply_run", spy)
        deliver_somehow(engine, log, chance)
    assert len(handed) > len(log)
