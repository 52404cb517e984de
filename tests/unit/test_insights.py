"""What a record becomes in the read model, how rows are applied, what holds when, and what the API answers."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import OperationalError

from deploy.broker import PROJECT
from services.insights import handlers
from services.insights.answers import Page, Share
from services.insights.api import make_api
from services.insights.applying import Run, apply_run, read_progress
from services.insights.dashboard import Dashboard
from services.insights.forgetting import forget, scrub
from services.insights.handlers import Projector
from services.insights.measures.keeping import measure
from services.insights.offsets import AnotherLog, check_same_log, lag_of, positions_to_set_back
from services.insights.overview import render
from services.insights.paging import BadCursor, read_cursor, write_cursor
from services.insights.patience import GivenUp
from services.insights.projection import TOPICS, project
from services.insights.reading import NotKnown, Reader
from services.insights.rows import (
    KINDS,
    AchievementRow,
    ClockRow,
    ProfileRow,
    PromptHistoryRow,
    PromptRow,
    PromptViewRow,
    newest,
)
from services.insights.schema import NewerSchema, create_schema
from services.insights.settings import InsightsSettings
from services.insights.tables import (
    MEASURED,
    TOLD,
    attribute_names,
    attributes,
    counted_events,
    metadata,
    profiles,
    progress,
    prompt_views,
)
from shared.contracts.audit import PortalAudited
from shared.contracts.base import Contract
from shared.contracts.career import (
    Achievement,
    AchievementCorrected,
    AchievementRecorded,
    AchievementRetracted,
    ClockTicked,
    Cycle,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EmployeeChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EndorsementGiven,
    EndorsementWithdrawn,
    Profile,
    PromptDeclined,
    PromptSnoozed,
    RelationshipEnded,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
    write_contract,
)
from shared.contracts.ids import gap_id, prompt_id, stable_id, version_event_id
from shared.contracts.outputs import (
    DeliveryRecorded,
    Evidence,
    GapClosed,
    GapOpened,
    GapUpdated,
    Opportunity,
    PromptBody,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    Protege,
    Reason,
    SuggestedSponsor,
)
from shared.database import for_reading, open_database
from shared.processing import read_processing
from shared.service.health import Health
from shared.streaming.records import Poison, Record
from shared.streaming.sealing import cleaned
from shared.streaming.topics import CAREER_EVENTS, DELIVERIES, GAPS, PORTAL_AUDIT, PROMPTS

START = datetime(2026, 1, 1, tzinfo=UTC)

SHIPPED = read_processing(PROJECT / "deploy" / "processing.yaml")


def day(n: float) -> datetime:
    """The n-th day of the tests' time."""
    return START + timedelta(days=n)


# -- builders -------------------------------------------------------------------------------------


def said(kind: type[Any], on: float, /, **fields: Any) -> Any:
    """A career event of that kind, said on that day."""
    event_id = fields.pop("id", None) or stable_id("test", kind.__name__, str(on), repr(sorted(fields.items())))
    return kind(id=event_id, at=day(on), source="test#1", **fields)


def a_profile(name: str = "Ann Lee", *, level: int = 4, unit: Sequence[str] = ("co", "eng"), **more: Any) -> Profile:
    return Profile(**{"name": name, "level": level, "level_since": date(2025, 1, 1), "unit_path": unit, **more})


def joined(employee: str, on: float = 0, *, revision: int = 1, profile: Profile | None = None, **more: Any) -> Any:
    fields = {"effective_at": day(on), "profile": profile or a_profile(), **more}
    return said(EmployeeJoined, on, employee_id=employee, revision=revision, **fields)


def left(employee: str, on: float, *, revision: int = 9) -> Any:
    profile = a_profile(active=False)
    return said(EmployeeLeft, on, employee_id=employee, revision=revision, effective_at=day(on), profile=profile)


def tied(employee: str, other: str, on: float = 0, *, kind: str = "sponsor", tie: str = "") -> Any:
    fields = {"relationship_id": tie or f"{employee}-{other}", "kind": kind, "other_id": other, "started_at": day(on)}
    return said(RelationshipStarted, on, employee_id=employee, **fields)


def untied(employee: str, other: str, on: float, *, kind: str = "sponsor", tie: str = "") -> Any:
    fields = {"relationship_id": tie or f"{employee}-{other}", "kind": kind, "other_id": other, "ended_at": day(on)}
    return said(RelationshipEnded, on, employee_id=employee, **fields)


def an_achievement(achievement: str = "A1", **more: Any) -> Achievement:
    return Achievement(
        **{"achievement_id": achievement, "title": "Halved latency", "outcome": "Half", "occurred_on": date(2025, 5, 1)}
        | more
    )


def a_cycle(cycle: str = "C1", *, opens: float = 10, closes: float = 20, **more: Any) -> Cycle:
    return Cycle(
        **{
            "cycle_id": cycle,
            "kind": "promotion",
            "title": "Spring promotions",
            "evidence_from": date(2025, 1, 1),
            "evidence_to": date(2025, 12, 31),
            "opens_at": day(opens),
            "closes_at": day(closes),
        }
        | more
    )


def a_body(employee: str = "E1", cycle: str = "C1", *, title: str = "Halved latency") -> PromptBody:
    return PromptBody(
        opportunity=Opportunity(
            cycle_id=cycle, kind="promotion", title="Spring promotions", competencies=("impact",), closes_at=day(20)
        ),
        protege=Protege(employee_id=employee, name="Ann Lee", level=4, unit_id="eng"),
        sponsor_name="Sue Park",
        why="you are their sponsor",
        evidence=(
            Evidence(
                kind="achievement",
                evidence_id="A1",
                title=title,
                occurred_on=date(2025, 5, 1),
                reasons=(Reason(code="impact", text="it reached several teams"),),
            ),
        ),
    )


def prompted(
    kind: type[Any], version: int, *, employee: str = "E1", sponsor: str = "S1", cycle: str = "C1", **more: Any
) -> Any:
    prompt = prompt_id(cycle, employee, sponsor)  # type: ignore[arg-type]
    if kind in (PromptOpened, PromptUpdated):
        more = {"body": a_body(employee, cycle)} | more
    return kind(
        id=version_event_id(prompt, version),
        prompt_id=prompt,
        version=version,
        sponsor_id=sponsor,
        cycle_id=cycle,
        employee_id=employee,
        at=day(10 + version),
        because_of="because",
        **more,
    )


def missing(kind: type[Any], version: int, *, employee: str = "E1", cycle: str = "C1", **more: Any) -> Any:
    gap = gap_id(cycle, employee)  # type: ignore[arg-type]
    if kind in (GapOpened, GapUpdated):
        more = {"suggestions": (SuggestedSponsor(person_id="M1", name="Mo Diaz", level=7, why="a mentor"),)} | more
    return kind(
        id=version_event_id(gap, version),
        gap_id=gap,
        version=version,
        cycle_id=cycle,
        employee_id=employee,
        at=day(10 + version),
        because_of="because",
        **more,
    )


def delivered(version: int = 1, *, outcome: str = "delivered", at: float = 12, attempts: int = 1) -> DeliveryRecorded:
    prompt = prompt_id("C1", "E1", "S1")  # type: ignore[arg-type]
    return DeliveryRecorded(
        id=version_event_id(prompt, version),
        prompt_id=prompt,
        version=version,
        sponsor_id="S1",  # type: ignore[arg-type]
        channel="webhook",
        outcome=outcome,  # type: ignore[arg-type]
        attempts=attempts,
        at=day(at),
    )


def noted(what: str = "prompt_viewed", on: float = 12, *, event: str = "", **more: Any) -> PortalAudited:
    """What the portal notes; by default that S1 has opened the page of their prompt for E1."""
    about = {"prompt_id": prompt_id("C1", "E1", "S1"), "employee_id": "E1"}  # type: ignore[arg-type]
    fields: dict[str, Any] = {"person_id": "S1", "session": "browser", **about} | more
    return PortalAudited(id=event or stable_id("test", what, str(on)), at=day(on), what=what, **fields)  # type: ignore[arg-type]


def topic_of(event: Contract) -> str:
    name = getattr(event, "type", "")
    if isinstance(event, PortalAudited):
        return PORTAL_AUDIT
    if isinstance(event, DeliveryRecorded):
        return DELIVERIES
    if isinstance(event, PromptOpened | PromptUpdated | PromptWithdrawn | PromptFulfilled):
        return PROMPTS
    return GAPS if name.startswith("gap.") else CAREER_EVENTS


def recorded(event: Contract | bytes | None, *, topic: str = "", partition: int = 0, offset: int = 0) -> Record:
    value = write_contract(event) if isinstance(event, Contract) else event
    topic = topic or (topic_of(event) if isinstance(event, Contract) else CAREER_EVENTS)
    return Record(topic, partition, offset, b"key", value, (), START)


def logged(*events: Contract) -> list[Record]:
    """The events as they lie in their topics, in partition 0, one after the other."""
    ends = dict.fromkeys(TOPICS, 0)
    records = []
    for event in events:
        topic = topic_of(event)
        records.append(recorded(event, offset=ends[topic]))
        ends[topic] += 1
    return records


def apply(engine: Engine, records: Iterable[Record]) -> None:
    apply_run(engine, Run(list(records), project))


def dump(engine: Engine, *, without: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in the order of their keys."""
    with engine.connect() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(select(table))),
                key=lambda row: tuple(map(str, row)),
            )
            for table in metadata.sorted_tables
            if table.name not in without
        }


@cache
def empty_schema() -> bytes:
    """A SQLite file with the newest schema; to take the steps to it takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "insights.db"
        engine = open_database(f"sqlite:///{file}", "insights")
        create_schema(engine)
        engine.dispose()
        return file.read_bytes()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    file = tmp_path / "insights.db"
    file.write_bytes(empty_schema())
    opened = open_database(f"sqlite:///{file}", "insights")
    yield opened
    opened.dispose()


@pytest.fixture
def reader(engine: Engine) -> Reader:
    return Reader(for_reading(engine), dict)


# -- projection -----------------------------------------------------------------------------------


def rows_of(event: Contract) -> list[Any]:
    return list(project(recorded(event)).rows)


@pytest.mark.parametrize("kind", [EmployeeJoined, EmployeeMoved, EmployeePromoted, EmployeeChanged, EmployeeLeft])
def test_every_statement_about_an_employee_becomes_the_profile_from_then_on(kind: type[Any]) -> None:
    profile = a_profile(manager_id="M1", location="Lyon")
    event = said(kind, 3, employee_id="E1", revision=2, effective_at=day(5), profile=profile)
    assert rows_of(event) == [
        ProfileRow(
            employee_id="E1",  # type: ignore[arg-type]
            effective_at=day(5),
            revision=2,
            said_by=event.id,
            name="Ann Lee",
            level=4,
            level_since=date(2025, 1, 1),
            unit_id="eng",  # type: ignore[arg-type]
            unit_path=["co", "eng"],
            manager_id="M1",  # type: ignore[arg-type]
            location="Lyon",
            active=True,
        )
    ]


def test_an_employee_of_no_unit_has_no_own_unit() -> None:
    [row] = rows_of(joined("E1", profile=a_profile(unit=())))
    assert (row.unit_id, row.unit_path) == (None, [])


def test_the_start_and_the_end_of_a_relationship_are_statements_of_their_own() -> None:
    tie, start = rows_of(tied("E1", "S1", 3))
    again, end = rows_of(untied("E1", "S1", 8))
    assert (tie.employee_id, tie.other_id, tie.kind) == ("E1", "S1", "sponsor")
    assert (start.relationship_id, start.started_at) == ("E1-S1", day(3))
    assert (again.employee_id, again.other_id) == ("E1", "S1")
    assert (end.relationship_id, end.ended_at) == ("E1-S1", day(8))


@pytest.mark.parametrize("kind", [AchievementRecorded, AchievementCorrected])
def test_an_achievement_is_kept_as_last_stated(kind: type[Any]) -> None:
    [row] = rows_of(said(kind, 1, employee_id="E1", achievement=an_achievement(competencies=("impact",), impact=2)))
    assert (row.achievement_id, row.employee_id, row.title, row.outcome) == ("A1", "E1", "Halved latency", "Half")
    assert (row.impact, row.competencies, row.retracted, row.said_at) == (2, ["impact"], False, day(1))


def test_of_a_retracted_achievement_nothing_is_kept_but_whose_it_was() -> None:
    event = said(AchievementRetracted, 2, employee_id="E1", achievement_id="A1", reason="it was Bo's")
    assert rows_of(event) == [
        AchievementRow("A1", day(2), event.id, "E1", retracted=True)  # type: ignore[arg-type]
    ]


def test_the_words_of_an_endorsement_stay_in_the_log() -> None:
    event = said(
        EndorsementGiven,
        4,
        employee_id="E1",
        endorsement_id="N1",
        sponsor_id="S1",
        cycle_id="C1",
        given_at=day(3),
        statement="She carried it",
    )
    who, given = rows_of(event)
    assert (who.employee_id, who.sponsor_id) == ("E1", "S1")
    assert (given.cycle_id, given.given_at) == ("C1", day(3))
    assert "carried" not in repr((who, given))


def test_an_endorsement_that_is_withdrawn_says_so() -> None:
    event = said(EndorsementWithdrawn, 5, employee_id="E1", endorsement_id="N1", sponsor_id="S1")
    _, withdrawn = rows_of(event)
    assert (withdrawn.endorsement_id, withdrawn.withdraw_said_at) == ("N1", day(5))


@pytest.mark.parametrize("kind", [CycleOpened, CycleAmended])
def test_a_cycle_is_kept_as_last_stated(kind: type[Any]) -> None:
    [row] = rows_of(said(kind, 1, cycle=a_cycle(unit_ids=("eng",), levels=(4, 5), min_months_in_level=12)))
    assert (row.cycle_id, row.unit_ids, row.levels, row.min_months_in_level) == ("C1", ["eng"], [4, 5], 12)
    assert (row.opens_at, row.closes_at) == (day(10), day(20))


def test_a_closed_and_a_cancelled_cycle_say_so() -> None:
    [closed] = rows_of(said(CycleClosed, 15, cycle_id="C1", closed_at=day(14)))
    [cancelled] = rows_of(said(CycleCancelled, 16, cycle_id="C1", reason="no budget"))
    assert (closed.cycle_id, closed.closed_at) == ("C1", day(14))
    assert (cancelled.cycle_id, cancelled.cancelled_because) == ("C1", "no budget")


def test_a_clock_event_is_the_time() -> None:
    assert rows_of(said(ClockTicked, 1, now=day(7))) == [ClockRow(day(7))]


@pytest.mark.parametrize(
    "event",
    [
        said(
            TiedPersonChanged,
            1,
            employee_id="E1",
            revision=1,
            person=TiedPerson(person_id="S1", name="Sue", level=8, unit_path=(), refs=()),  # type: ignore[arg-type]
        ),
        said(PromptDeclined, 1, employee_id="E1", cycle_id="C1", sponsor_id="S1"),
        said(PromptSnoozed, 1, employee_id="E1", cycle_id="C1", sponsor_id="S1", until=day(3)),
    ],
    ids=lambda event: event.type,
)
def test_what_only_decisions_need_is_counted_and_makes_no_row(event: Contract) -> None:
    assert project(recorded(event)).rows == ()
    assert project(recorded(event)).type == event.type  # type: ignore[attr-defined]


def test_an_opened_prompt_stands_with_its_body_and_opening() -> None:
    event = prompted(PromptOpened, 1, snoozed_until=day(13))
    history, row, body, opening = rows_of(event)
    assert (history.event_id, history.type, history.version) == (event.id, "prompt.opened", 1)
    assert (row.status, row.version, row.changed_at, row.sponsor_id, row.employee_id) == (
        "open",
        1,
        day(11),
        "S1",
        "E1",
    )
    assert body.body == event.body.model_dump(mode="json")
    assert (body.sponsor_timezone, body.snoozed_until) == ("UTC", day(13))
    assert (opening.opened_at, opening.opened_version) == (day(11), 1)


def test_an_updated_prompt_stands_and_was_not_opened_again() -> None:
    history, row, body = rows_of(prompted(PromptUpdated, 2))
    assert (history.type, row.status, body.body_version) == ("prompt.updated", "open", 2)


def test_a_withdrawn_and_a_fulfilled_prompt_keep_the_body_that_was_shown_before() -> None:
    _, withdrawn = rows_of(prompted(PromptWithdrawn, 2, reason="sponsor_left"))
    _, fulfilled = rows_of(prompted(PromptFulfilled, 2, endorsement_id="N1"))
    assert (withdrawn.status, withdrawn.withdrawn_because) == ("withdrawn", "sponsor_left")
    assert (fulfilled.status, fulfilled.endorsement_id) == ("fulfilled", "N1")


def test_gaps_stand_until_they_are_closed() -> None:
    _, opened, suggested, opening = rows_of(missing(GapOpened, 1))
    _, updated, suggested_again = rows_of(missing(GapUpdated, 2))
    _, closed = rows_of(missing(GapClosed, 3, reason="sponsor_found"))
    assert [opened.status, updated.status, closed.status] == ["open", "open", "closed"]
    assert suggested.suggestions[0]["name"] == "Mo Diaz"
    assert (suggested_again.suggestions_version, opening.opened_at) == (2, day(11))
    assert closed.closed_because == "sponsor_found"


def test_a_delivery_is_kept_by_its_id_and_outcome() -> None:
    [row] = rows_of(delivered(outcome="failed", attempts=6))
    assert row.key == (delivered().id, "failed")
    assert (row.attempts, row.version, row.channel) == (6, 1, "webhook")


def test_a_view_of_a_prompt_is_kept_without_who_viewed_it() -> None:
    view = noted(on=12)
    assert rows_of(view) == [PromptViewRow(view.id, view.prompt_id, day(12))]  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["link_opened", "signed_in", "endorsed", "proteges_viewed"])
def test_nothing_else_that_the_portal_notes_becomes_a_row(what: str) -> None:
    assert project(recorded(noted(what))).rows == ()


def test_every_kind_of_row_is_written() -> None:
    from services.insights import rows

    declared = {value for value in vars(rows).values() if isinstance(value, type) and issubclass(value, rows.Row)}
    assert declared - {rows.Row} == set(KINDS)


def test_bytes_that_are_no_event_say_which_field_is_wrong() -> None:
    with pytest.raises(ValidationError, match="type"):
        project(recorded(b'{"type": "employee.vanished"}'))


def test_a_tombstone_is_poison() -> None:
    with pytest.raises(Poison, match="without a value"):
        project(recorded(None))


def test_a_record_of_another_topic_is_poison() -> None:
    with pytest.raises(Poison, match="is not projected"):
        project(recorded(b"{}", topic="identities"))


def test_a_nul_is_poison_for_no_database_of_ours_would_refuse_it_alone() -> None:
    with pytest.raises(Poison, match="NUL"):
        project(recorded(joined("E1", profile=a_profile("Ann\x00Lee"))))


def test_a_backslash_before_u0000_is_text_like_any_other() -> None:
    [row] = rows_of(joined("E1", profile=a_profile("Ann \\u0000 Lee")))
    assert row.name == "Ann \\u0000 Lee"


def test_an_id_that_fits_into_no_index_is_poison() -> None:
    with pytest.raises(Poison, match="employee_id: 401 characters"):
        project(recorded(joined("E" * 401)))


def test_a_number_that_fits_into_no_column_is_poison() -> None:
    with pytest.raises(Poison, match="revision"):
        project(recorded(joined("E1", revision=2**63)))


# -- which of two rows holds ----------------------------------------------------------------------


def test_of_two_statements_about_the_same_thing_the_newer_holds_in_whatever_order() -> None:
    older, newer = AchievementRow("A", day(1), "x", "E", False), AchievementRow("A", day(2), "a", "E", True)  # type: ignore[arg-type]
    assert newest([older, newer]) == newest([newer, older]) == {AchievementRow: [newer]}


def test_of_two_statements_of_the_same_time_the_greater_event_id_holds() -> None:
    one, two = AchievementRow("A", day(1), "a", "E", False), AchievementRow("A", day(1), "b", "E", True)  # type: ignore[arg-type]
    assert newest([two, one]) == {AchievementRow: [two]}


def test_rows_that_never_change_are_kept_once() -> None:
    row = PromptHistoryRow("v1", "P", 1, "prompt.opened", day(1))  # type: ignore[arg-type]
    assert newest([row, row]) == {PromptHistoryRow: [row]}


def test_of_two_rows_of_the_same_age_the_first_is_kept_as_the_database_does() -> None:
    first, second = PromptHistoryRow("v1", "P", 1, "prompt.opened", day(1)), PromptHistoryRow("v1", "Q", 1, "x", day(2))  # type: ignore[arg-type]
    assert newest([first, second]) == {PromptHistoryRow: [first]}
    one, other = AchievementRow("A", day(1), "a", "E", False), AchievementRow("A", day(1), "a", "E", True)  # type: ignore[arg-type]
    assert newest([one, other]) == {AchievementRow: [one]}


def test_rows_come_in_the_order_of_their_keys_so_that_two_processes_lock_them_alike() -> None:
    [rows] = newest(row for employee in "cab" for row in rows_of(joined(employee))).values()
    assert [row.key[0] for row in rows] == ["a", "b", "c"]


# -- the read model: the same on SQLite (here) and on PostgreSQL (tests/integration) ---------------


class ReadModelSuite:
    """What has to hold on every database."""

    def test_the_steps_lead_to_the_tables_that_the_code_expects(self, engine: Engine) -> None:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []

    def test_one_that_forgets_a_person_has_the_rows_of_one_that_never_knew_them(self, engine: Engine) -> None:
        suggestions = tuple(
            SuggestedSponsor(person_id=who, name=name, level=7, why="a mentor")
            for who, name in (("S1", "Sam Roe"), ("M1", "Mo Diaz"))
        )
        events: tuple[Any, ...] = (
            joined("E1", profile=a_profile("Ann Lee", manager_id="S1")),
            joined("S1", profile=a_profile("Sam Roe")),
            joined("E2"),
            tied("E1", "S1"),
            tied("E1", "S2", tie="other"),
            said(EndorsementGiven, 11, employee_id="E1", endorsement_id="N1", sponsor_id="S1", given_at=day(11)),
            prompted(PromptOpened, 1),
            prompted(PromptOpened, 1, sponsor="S2"),
            delivered(),
            noted(),
            missing(GapOpened, 1, suggestions=suggestions),
            missing(GapOpened, 1, employee="S1"),
        )
        apply(engine, logged(*events))
        changed = forget(engine, "S1", lambda told: "S1" in told)
        scrub(engine)
        counts = ("progress", "event_counts", "counted_events")
        forgotten = dump(engine, without=counts)
        assert changed["profiles"] == 2  # theirs, and that of somebody whose manager they were
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(table.delete())
        apply(
            engine,
            [
                Record(r.topic, r.partition, r.offset, r.key, value, (), r.time)
                for r in logged(*events)
                if (value := cleaned(r.topic, r.key, r.value or b"", lambda name: name == "hris:S1", str)) is not None
            ],
        )
        assert forgotten == dump(engine, without=counts)

    def test_a_database_from_before_there_were_steps_is_brought_up_and_its_log_read_anew(self, engine: Engine) -> None:
        for table in (*MEASURED, *TOLD, attributes, attribute_names, counted_events, prompt_views):
            table.drop(engine)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE event_counts DROP COLUMN events"))
            connection.execute(text("ALTER TABLE achievements DROP COLUMN witnesses"))
            connection.execute(text("ALTER TABLE prompts DROP COLUMN opened_evidence"))
            connection.execute(text("ALTER TABLE prompts DROP COLUMN opened_strength"))
            connection.execute(text("DROP TABLE alembic_version"))
            connection.execute(progress.insert(), {"topic": CAREER_EVENTS, "partition": 0, "next_offset": 7})
        create_schema(engine)
        assert read_progress(engine) == {}
        self.test_the_steps_lead_to_the_tables_that_the_code_expects(engine)

    def test_the_newest_schema_is_left_as_it_is(self, engine: Engine) -> None:
        apply(engine, logged(joined("E1")))
        before = dump(engine)
        create_schema(engine)
        assert dump(engine) == before

    def test_a_schema_of_a_newer_version_is_refused_with_what_to_do(self, engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(NewerSchema, match="Start that one"):
            create_schema(engine)

    def test_a_run_that_comes_again_changes_nothing(self, engine: Engine) -> None:
        run = logged(joined("E1"), prompted(PromptOpened, 1), missing(GapOpened, 1), delivered())
        apply(engine, run)
        once = dump(engine)
        apply(engine, run)
        assert dump(engine) == once
        assert {row[2] for row in once["progress"]} == {1}

    def test_offsets_never_go_back(self, engine: Engine) -> None:
        run = logged(joined("E1"), joined("E2"), joined("E3"))
        apply(engine, run)
        apply(engine, run[:1])
        assert read_progress(engine) == {(CAREER_EVENTS, 0): 3}

    def test_a_record_delivered_twice_in_a_run_is_counted_once(self, engine: Engine) -> None:
        run = logged(joined("E1"))
        apply(engine, [*run, *run])
        assert dump(engine)["event_counts"] == [(CAREER_EVENTS, 0, "employee.joined", 1, 1)]

    def test_an_event_that_was_written_twice_is_two_records_and_one_event(self, engine: Engine, reader: Reader) -> None:
        # An intake writes again what it wrote before a crash, in its next run or long after.
        apply(engine, logged(joined("E1"), joined("E1"), joined("E2")))
        apply(engine, [recorded(joined("E1"), offset=3), recorded(joined("E1"), partition=1)])
        assert dump(engine)["event_counts"] == [
            (CAREER_EVENTS, 0, "employee.joined", 4, 2),
            (CAREER_EVENTS, 1, "employee.joined", 1, 1),
        ]
        assert reader.summary().career_events == {"employee.joined": 3}

    def test_a_run_is_applied_whole_or_not_at_all(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        from services.insights import applying

        apply(engine, logged(joined("E1")))
        before = dump(engine)

        def fail(*_: object) -> None:
            raise OperationalError("UPDATE progress", {}, Exception("the database went away"))

        monkeypatch.setattr(applying, "_advance", fail)
        with pytest.raises(OperationalError):
            apply(engine, logged(joined("E1"), joined("E2"), prompted(PromptOpened, 1)))
        assert dump(engine) == before

    def test_a_newer_statement_is_not_overwritten_by_an_older_one_of_a_later_run(self, engine: Engine) -> None:
        apply(engine, [recorded(said(CycleAmended, 5, cycle=a_cycle(title="As amended")), partition=1)])
        apply(engine, [recorded(said(CycleOpened, 1, cycle=a_cycle(title="As announced")), partition=0)])
        assert [row[4] for row in dump(engine)["cycles"]] == ["As amended"]

    def test_statements_of_the_same_time_compare_by_code_point_as_in_python(self, engine: Engine) -> None:
        # In most languages' order "a" comes before "B"; in that of code points, which Stamp has, after.
        for event_id, title, partition in (("a", "said by a", 0), ("B", "said by B", 1)):
            event = said(CycleOpened, 1, id=event_id, cycle=a_cycle(title=title))
            apply(engine, [recorded(event, partition=partition)])
        assert [row[4] for row in dump(engine)["cycles"]] == ["said by a"]

    def test_an_end_known_before_its_start_is_not_lost(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(joined("E1"), untied("E1", "S1", 8), said(ClockTicked, 9, now=day(9))))
        apply(engine, [recorded(tied("E1", "S1", 3), offset=3)])
        assert reader.employee("E1").sponsors == []

    def test_a_cycle_in_every_partition_is_one_cycle(self, engine: Engine, reader: Reader) -> None:
        opened, tick = said(CycleOpened, 1, cycle=a_cycle()), said(ClockTicked, 12, now=day(12))
        for partition in range(4):
            apply(engine, [recorded(opened, partition=partition), recorded(tick, partition=partition, offset=1)])
        summary = reader.summary()
        assert summary.cycles.open == 1
        assert summary.career_events == {"clock.ticked": 1, "cycle.opened": 1}
        assert summary.clock == day(12)

    def test_the_clock_does_not_go_back(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(said(ClockTicked, 12, now=day(12)), said(ClockTicked, 3, now=day(3))))
        assert reader.summary().clock == day(12)

    def test_totals_count_distinct_events_and_what_stands(self, engine: Engine, reader: Reader) -> None:
        events = [
            prompted(PromptOpened, 1),
            prompted(PromptUpdated, 2),
            prompted(PromptFulfilled, 3, endorsement_id="N1"),
            prompted(PromptOpened, 1, sponsor="S2"),
            prompted(PromptWithdrawn, 2, sponsor="S2", reason="declined"),
            prompted(PromptOpened, 3, sponsor="S2"),
            missing(GapOpened, 1),
            missing(GapUpdated, 2),
            missing(GapOpened, 1, employee="E2"),
            missing(GapClosed, 2, employee="E2", reason="sponsor_found"),
            delivered(),
            delivered(outcome="failed"),
            delivered(outcome="delayed"),
            delivered(outcome="suppressed"),
        ]
        # The correlator, too, writes again what it wrote before a crash: the same events at other offsets.
        apply(engine, logged(*events, *events))
        summary = reader.summary()
        assert summary.prompts.model_dump() == {
            "opened": 3,
            "updated": 1,
            "fulfilled": 1,
            "withdrawn": 1,
            "standing": 1,
        }
        assert summary.gaps.model_dump() == {"opened": 2, "updated": 1, "closed": 1, "standing": 1}
        assert summary.deliveries.model_dump() == {
            "delivered": 1,
            "failed": 1,
            "skipped": 0,
            "delayed": 1,
            "suppressed": 1,
        }

    @pytest.mark.parametrize(
        ("now", "status"), [(9, "announced"), (10, "open"), (19, "open"), (20, "closed"), (99, "closed")]
    )
    def test_the_status_of_a_cycle_follows_the_clock(
        self, engine: Engine, reader: Reader, now: int, status: str
    ) -> None:
        apply(engine, logged(said(CycleOpened, 1, cycle=a_cycle()), said(ClockTicked, now, now=day(now))))
        assert reader.cycle("C1").status == status
        assert [cycle.cycle_id for cycle in reader.cycles(limit=5, status=status).items] == ["C1"]

    def test_before_the_first_clock_event_no_cycle_has_opened(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(said(CycleOpened, 1, cycle=a_cycle())))
        assert reader.cycle("C1").status == "announced"

    def test_a_cycle_closed_by_hand_is_closed_from_then_on(self, engine: Engine, reader: Reader) -> None:
        opened, closed = said(CycleOpened, 1, cycle=a_cycle()), said(CycleClosed, 13, cycle_id="C1", closed_at=day(14))
        apply(engine, logged(opened, closed, said(ClockTicked, 13, now=day(13))))
        assert reader.cycle("C1").status == "open"
        apply(engine, [recorded(said(ClockTicked, 14, now=day(14)), offset=3)])
        assert reader.cycle("C1").status == "closed"

    def test_a_cancelled_cycle_is_cancelled_and_one_amended_after_that_is_not(
        self, engine: Engine, reader: Reader
    ) -> None:
        tick = said(ClockTicked, 12, now=day(12))
        apply(engine, logged(said(CycleOpened, 1, cycle=a_cycle()), said(CycleCancelled, 11, cycle_id="C1"), tick))
        assert reader.cycle("C1").status == "cancelled"
        apply(engine, [recorded(said(CycleAmended, 12, cycle=a_cycle()), offset=3)])
        assert reader.cycle("C1").status == "open"

    def test_a_cycle_of_which_only_the_end_is_known_is_shown_as_that(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(said(CycleCancelled, 11, cycle_id="C1"), said(ClockTicked, 12, now=day(12))))
        assert (reader.cycle("C1").status, reader.cycle("C1").title) == ("cancelled", None)

    def test_the_profile_in_force_is_that_of_the_clock(self, engine: Engine, reader: Reader) -> None:
        promoted = joined("E1", 10, revision=2, profile=a_profile(level=5))
        apply(engine, logged(joined("E1"), promoted, said(ClockTicked, 5, now=day(5))))
        assert reader.employee("E1").level == 4
        apply(engine, [recorded(said(ClockTicked, 10, now=day(10)), offset=3)])
        assert reader.employee("E1").level == 5

    def test_of_two_profiles_for_the_same_moment_the_greater_revision_holds(
        self, engine: Engine, reader: Reader
    ) -> None:
        apply(engine, logged(joined("E1", 0, revision=3, profile=a_profile("Right"))))
        apply(engine, [recorded(joined("E1", 0, revision=2, profile=a_profile("Wrong")), offset=1)])
        assert reader.employee("E1").name == "Right"

    def test_before_the_first_profile_known_the_first_is_in_force_as_for_the_correlator(
        self, engine: Engine, reader: Reader
    ) -> None:
        later = joined("E1", 12, revision=2, profile=a_profile(level=7))
        apply(engine, logged(joined("E1", 10), later, said(ClockTicked, 5, now=day(5))))
        assert [(person.level, person.since) for person in reader.employees(limit=5).items] == [(4, day(10))]

    def test_what_is_not_there_is_said_not_to_be(self, reader: Reader) -> None:
        with pytest.raises(NotKnown):
            reader.employee("E1")

    def test_a_relationship_that_begins_again_holds_again(self, engine: Engine, reader: Reader) -> None:
        tick = said(ClockTicked, 9, now=day(9))
        apply(engine, logged(joined("E1"), tied("E1", "S1", 1), untied("E1", "S1", 3), tied("E1", "S1", 5), tick))
        assert [sponsor.since for sponsor in reader.employee("E1").sponsors] == [day(5)]

    def test_a_relationship_that_will_end_still_holds(self, engine: Engine, reader: Reader) -> None:
        tick = said(ClockTicked, 9, now=day(9))
        apply(engine, logged(joined("E1"), tied("E1", "S1", 1), untied("E1", "S1", 20), tick))
        assert [sponsor.person_id for sponsor in reader.employee("E1").sponsors] == ["S1"]
        apply(engine, [recorded(said(ClockTicked, 20, now=day(20)), offset=4)])
        assert reader.employee("E1").sponsors == []

    def test_an_employee_is_shown_with_who_speaks_for_them_and_where_nobody_does(
        self, engine: Engine, reader: Reader
    ) -> None:
        given = {"endorsement_id": "N1", "sponsor_id": "S1"}
        apply(
            engine,
            logged(
                joined("E1"),
                joined("S1", profile=a_profile("Sue Park", level=8)),
                tied("E1", "S1", 1),
                tied("E1", "X9", 2),
                tied("E1", "M1", 1, kind="mentor"),
                said(AchievementRecorded, 1, employee_id="E1", achievement=an_achievement("A1")),
                said(AchievementRecorded, 1, employee_id="E1", achievement=an_achievement("A2")),
                said(AchievementRetracted, 2, employee_id="E1", achievement_id="A2"),
                said(EndorsementGiven, 3, employee_id="E1", given_at=day(3), **given),
                said(ClockTicked, 9, now=day(9)),
                prompted(PromptOpened, 1),
                missing(GapOpened, 1, cycle="C2"),
            ),
        )
        ann = reader.employee("E1")
        assert [(sponsor.person_id, sponsor.name, sponsor.active) for sponsor in ann.sponsors] == [
            ("S1", "Sue Park", True),
            ("X9", None, False),
        ]
        assert (ann.achievements, ann.endorsements) == (1, 1)
        assert [prompt.sponsor_id for prompt in ann.standing_prompts] == ["S1"]
        assert [gap.cycle_id for gap in ann.standing_gaps] == ["C2"]
        apply(engine, [recorded(said(EndorsementWithdrawn, 4, employee_id="E1", **given), offset=10)])
        assert reader.employee("E1").endorsements == 0

    def test_a_prompt_is_shown_with_its_evidence_history_and_deliveries(self, engine: Engine, reader: Reader) -> None:
        changed = prompted(PromptUpdated, 2, body=a_body(title="Led the launch"))
        apply(engine, logged(prompted(PromptOpened, 1), changed, delivered(1), delivered(2, at=13)))
        apply(engine, [recorded(prompted(PromptFulfilled, 3, endorsement_id="N1"), offset=2)])
        prompt = reader.prompt(changed.prompt_id)
        assert (prompt.status, prompt.version, prompt.updates, prompt.body_version) == ("fulfilled", 3, 1, 2)
        assert (prompt.opened_at, prompt.first_opened_at, prompt.changed_at) == (day(11), day(11), day(13))
        assert prompt.body == changed.body
        assert [entry.type for entry in prompt.history] == ["prompt.opened", "prompt.updated", "prompt.fulfilled"]
        assert [delivery.version for delivery in prompt.deliveries] == [1, 2]

    def test_prompts_are_found_by_cycle_sponsor_employee_and_status(self, engine: Engine, reader: Reader) -> None:
        apply(
            engine,
            logged(
                prompted(PromptOpened, 1),
                prompted(PromptOpened, 1, sponsor="S2"),
                prompted(PromptOpened, 1, cycle="C2"),
                prompted(PromptOpened, 1, employee="E2"),
                prompted(PromptWithdrawn, 2, employee="E2", reason="declined"),
            ),
        )

        def found(**by: str) -> int:
            return len(reader.prompts(limit=50, **by).items)  # type: ignore[arg-type]

        assert [found(), found(cycle="C2"), found(sponsor="S2"), found(employee="E2")] == [4, 1, 1, 1]
        assert [found(status="open"), found(status="withdrawn", cycle="C1"), found(status="fulfilled")] == [3, 1, 0]

    def test_a_gap_names_the_employee_as_they_are_now(self, engine: Engine, reader: Reader) -> None:
        opened = missing(GapOpened, 1)
        apply(
            engine,
            logged(
                joined("E1", profile=a_profile(level=6, unit=("co", "ops"))),
                said(CycleOpened, 1, cycle=a_cycle()),
                said(ClockTicked, 12, now=day(12)),
                opened,
            ),
        )
        gap = reader.gap(opened.gap_id)
        assert (gap.employee_name, gap.level, gap.unit_id, gap.cycle_title) == (
            "Ann Lee",
            6,
            "ops",
            "Spring promotions",
        )
        assert [person.name for person in gap.suggestions] == ["Mo Diaz"]
        assert [entry.type for entry in gap.history] == ["gap.opened"]

    def test_a_cycle_has_its_funnel(self, engine: Engine, reader: Reader) -> None:
        events = [
            said(CycleOpened, 1, cycle=a_cycle()),
            prompted(PromptOpened, 1),
            prompted(PromptOpened, 1, sponsor="S2"),
        ]
        closed = missing(GapClosed, 2, reason="sponsor_found")
        apply(engine, logged(*events, prompted(PromptWithdrawn, 2, sponsor="S2", reason="declined"), closed))
        assert reader.cycle("C1").funnel.model_dump() == {
            "prompts_standing": 1,
            "prompts_fulfilled": 0,
            "prompts_withdrawn": 1,
            "gaps_standing": 0,
            "gaps_closed": 1,
        }

    def test_pages_hold_every_item_once_while_items_come_and_change(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(*(joined(f"E{n}") for n in range(7))))
        first = reader.employees(limit=3)
        apply(engine, [recorded(joined("E00"), offset=7), recorded(left("E5", 1), offset=8)])
        second = reader.employees(limit=3, cursor=first.next)
        third = reader.employees(limit=3, cursor=second.next)
        seen = [person.employee_id for page in (first, second, third) for person in page.items]
        assert seen == [f"E{n}" for n in range(7)]
        assert third.next is None

    def test_a_page_that_is_just_full_is_the_last(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(joined("E1"), joined("E2")))
        assert reader.employees(limit=2).next is None
        assert reader.employees(limit=1).next is not None

    def test_ids_are_in_the_order_of_code_points(self, engine: Engine, reader: Reader) -> None:
        apply(engine, logged(*(joined(name) for name in ("b", "A", "a", "B", "é"))))
        assert [person.employee_id for person in reader.employees(limit=9).items] == ["A", "B", "a", "b", "é"]

    def test_employees_are_found_by_unit_level_manager_and_standing(self, engine: Engine, reader: Reader) -> None:
        boss = a_profile(level=9, unit=("co",))
        apply(
            engine, logged(joined("E1", profile=a_profile(manager_id="E2")), joined("E2", profile=boss), left("E3", 1))
        )

        def found(**by: Any) -> list[str]:
            return [person.employee_id for person in reader.employees(limit=9, **by).items]

        assert found(unit="co") == found(level=9) == ["E2"]
        assert found(manager="E2") == ["E1"]
        assert found(active=False) == ["E3"]

    def test_an_employee_with_an_active_sponsor_is_covered(self, engine: Engine, reader: Reader) -> None:
        lead = a_profile(level=8, unit=("co",))
        apply(
            engine,
            logged(
                joined("sponsor", profile=lead),
                joined("covered"),
                tied("covered", "sponsor"),
                joined("mentored"),
                tied("mentored", "sponsor", kind="mentor"),
                joined("over"),
                tied("over", "sponsor"),
                untied("over", "sponsor", 5),
                joined("to-come"),
                tied("to-come", "sponsor", 50),
                joined("of-a-leaver"),
                tied("of-a-leaver", "leaver"),
                left("leaver", 3),
                joined("of-a-stranger"),
                tied("of-a-stranger", "stranger"),
                joined("own"),
                tied("own", "own"),
                tied("leaver", "sponsor"),
                said(ClockTicked, 9, now=day(9)),
            ),
        )
        measure(engine, 1)
        coverage = reader.coverage()
        assert coverage.overall == Share(active=8, covered=1, share=0.125)
        units = {unit.unit_id: (unit.covered, unit.active) for unit in coverage.by_unit}
        assert units == {"co": (1, 8), "eng": (1, 7)}
        assert {level.level: (level.covered, level.active) for level in coverage.by_level} == {4: (1, 7), 8: (0, 1)}

    def test_progress_tells_the_lag_where_the_ends_are_known(self, engine: Engine) -> None:
        apply(engine, logged(joined("E1")))
        reader = Reader(engine, lambda: {(CAREER_EVENTS, 0): 5, (CAREER_EVENTS, 1): 2})
        progress = reader.progress()
        found = [(of.partition, of.next_offset, of.end_offset, of.lag) for of in progress.partitions]
        assert found == [(0, 1, 5, 4), (1, 0, 2, 2)]
        assert progress.lag == 6
        assert {topic.topic: topic.lag for topic in reader.summary().progress}[CAREER_EVENTS] == 6

    def test_a_question_that_takes_long_sees_one_moment_and_holds_up_no_run(self, engine: Engine) -> None:
        apply(engine, logged(joined("E1")))
        with for_reading(engine).connect() as question:
            counted = select(func.count()).select_from(profiles)
            before = question.execute(counted).scalar()
            apply(engine, [recorded(joined("E2"), offset=1)])
            assert question.execute(counted).scalar() == before == 1

    def test_texts_of_all_scripts_come_back_as_they_were(self, engine: Engine, reader: Reader) -> None:
        name = "Zoë O'Brien 💡 \\ \" % 测试"
        apply(engine, logged(joined("E1", profile=a_profile(name))))
        assert reader.employee("E1").name == name


class TestReadModelOnSqlite(ReadModelSuite):
    """On SQLite."""


# -- runs: dead letters, and a database that is away ----------------------------------------------


async def test_a_record_that_cannot_be_read_becomes_a_dead_letter_and_the_rest_go_on(engine: Engine) -> None:
    bad = Record(CAREER_EVENTS, 0, 0, b"E1", b"not json \xff", (("ce_id", b"1"),), START)
    outputs = await Projector(engine, "insights").handle([bad, recorded(joined("E2"), offset=1)])
    assert [(out.topic, out.key, out.value) for out in outputs] == [("career-events.dead", b"E1", b"not json \xff")]
    assert dict(outputs[0].headers)["ce_id"] == b"1"
    assert dict(outputs[0].headers)["dead-service"] == b"insights"
    found = dump(engine)
    assert [row[0] for row in found["profiles"]] == ["E2"]
    assert (CAREER_EVENTS, 0, "unreadable", 1, 0) in found["event_counts"]


async def test_a_dead_letter_is_written_again_when_its_run_comes_again(engine: Engine) -> None:
    projector = Projector(engine, "insights")
    bad = [recorded(b"{}")]
    assert len(await projector.handle(bad)) == len(await projector.handle(bad)) == 1


async def test_a_database_that_is_away_holds_the_run_until_it_is_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    projector = Projector(engine, "insights")
    objections: list[str | None] = []
    real: Callable[..., Any] = apply_run

    def away_twice(*args: Any) -> Any:
        if len(objections) < 2:
            objections.append(projector.patience.objection())
            raise OperationalError("INSERT", {"name": "Ann Lee"}, Exception("connection refused"))
        objections.append(projector.patience.objection())
        return real(*args)

    monkeypatch.setattr(handlers, "apply_run", away_twice)
    await projector.handle([recorded(joined("E1"))])
    assert objections == [None, *["the database: Exception: connection refused"] * 2]
    assert projector.patience.objection() is None
    assert [row[0] for row in dump(engine)["profiles"]] == ["E1"]


async def test_what_is_unreadable_is_one_dead_letter_however_often_its_run_is_tried(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def away_at_first(on: Engine, run: Run) -> Any:
        for _ in run.parts():
            pass
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("COMMIT", {}, Exception("connection refused"))
        return apply_run(on, run)

    monkeypatch.setattr(handlers, "apply_run", away_at_first)
    records = [recorded(b"{}", offset=0), recorded(joined("E1"), offset=1), recorded(b"[]", offset=2)]
    letters = await Projector(engine, "insights").handle(records)
    assert [dict(letter.headers)["dead-offset"] for letter in letters] == [b"0", b"2"]
    assert dump(engine)["event_counts"] == [
        (CAREER_EVENTS, 0, "employee.joined", 1, 1),
        (CAREER_EVENTS, 0, "unreadable", 2, 0),
    ]


async def test_a_stop_does_not_wait_for_a_database_that_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("connection refused"))

    monkeypatch.setattr(handlers, "apply_run", away)
    projector = Projector(engine, "insights")
    handling = asyncio.create_task(projector.handle([recorded(joined("E1"))]))
    async with asyncio.timeout(5):
        while projector.patience.objection() is None:  # noqa: ASYNC110 (readiness is asked, it does not tell)
            await asyncio.sleep(0.001)
    projector.patience.give_up()
    async with asyncio.timeout(5):
        with pytest.raises(GivenUp):
            await handling


async def test_a_fault_that_time_does_not_mend_is_raised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: Any) -> Any:
        raise TypeError("a fault of ours")

    monkeypatch.setattr(handlers, "apply_run", faulty)
    with pytest.raises(TypeError):
        await Projector(engine, "insights").handle([recorded(joined("E1"))])


# -- offsets --------------------------------------------------------------------------------------


def test_a_group_that_is_ahead_of_the_database_goes_back_and_no_other() -> None:
    committed = {("prompts", 0): 10, ("prompts", 1): 4, ("gaps", 0): 3}
    assert positions_to_set_back(committed, {("prompts", 0): 7, ("prompts", 1): 9}) == {
        ("prompts", 0): 7,
        ("gaps", 0): 0,
    }


def test_a_database_filled_from_another_log_is_found_out() -> None:
    with pytest.raises(AnotherLog, match=r"prompts, partition 0 .* up to offset 7, but the topic ends at 2"):
        check_same_log({("prompts", 0): 7}, {("prompts", 0): 2})
    check_same_log({("prompts", 0): 2}, {("prompts", 0): 2})


def test_lag_is_what_lies_between() -> None:
    assert lag_of({("prompts", 0): 2}, {("prompts", 0): 5, ("prompts", 1): 3}) == {("prompts", 0): 3, ("prompts", 1): 3}


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/x", "hunter2", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_is_not_supported_is_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        InsightsSettings(database_url=url)
    assert "hunter2" not in str(refused.value)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSIGHTS_DATABASE_URL", "postgresql://u:p@db/insights")
    monkeypatch.setenv("HTTP_PORT", "8091")
    settings = InsightsSettings()
    assert (settings.database_url, settings.http_port) == ("postgresql://u:p@db/insights", 8091)
    assert "u:p" not in repr(settings)


# -- paging ---------------------------------------------------------------------------------------


def test_a_cursor_comes_back_as_the_id_it_was_made_of() -> None:
    assert read_cursor("gaps", write_cursor("gaps", "E/é 1")) == "E/é 1"


@pytest.mark.parametrize(
    "cursor", ["", "%%%", "bm9wZQ", write_cursor("prompts", "E1"), write_cursor("gaps", "a\x00b"), "W10"]
)
def test_what_is_no_cursor_of_the_list_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor("gaps", cursor)


# -- the API --------------------------------------------------------------------------------------


@pytest.fixture
async def api(engine: Engine, reader: Reader) -> Any:
    apply(
        engine,
        logged(
            joined("E1"),
            joined("E2", profile=a_profile("Bo <b>Bold</b>")),
            joined("S1", profile=a_profile("Sue Park", level=8)),
            tied("E1", "S1"),
            said(CycleOpened, 1, cycle=a_cycle("C 1/2")),
            said(ClockTicked, 12, now=day(12)),
            prompted(PromptOpened, 1, cycle="C 1/2"),
            missing(GapOpened, 1, employee="E2", cycle="C 1/2"),
        ),
    )
    measure(engine, 1)
    transport = httpx.ASGITransport(make_api(reader, Dashboard(reader.for_dashboard), Health(), SHIPPED))
    async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
        yield client


async def test_every_list_answers_and_every_item_of_it_has_its_own_page(api: httpx.AsyncClient) -> None:
    for name, key in (("employees", "employee_id"), ("prompts", "prompt_id"), ("gaps", "gap_id")):
        page = (await api.get(f"/v1/{name}")).json()
        assert page["items"], name
        assert page["next"] is None
        for item in page["items"]:
            detail = await api.get(f"/v1/{name}/{item[key]}")
            assert detail.status_code == 200
            assert item.items() <= detail.json().items()


async def test_the_summary_the_coverage_and_the_progress_answer(api: httpx.AsyncClient) -> None:
    summary = (await api.get("/v1/summary")).json()
    assert (summary["clock"], summary["prompts"]["standing"]) == ("2026-01-13T00:00:00Z", 1)
    assert (await api.get("/v1/coverage")).json()["overall"] == {"active": 3, "covered": 1, "share": 0.3333}
    assert (await api.get("/v1/progress")).json()["lag"] is None


async def test_a_list_is_walked_by_its_cursor(api: httpx.AsyncClient) -> None:
    seen: list[str] = []
    asked: dict[str, Any] = {"limit": 1}
    while True:
        page = (await api.get("/v1/employees", params=asked)).json()
        seen += [person["employee_id"] for person in page["items"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert seen == ["E1", "E2", "S1"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("status=standing", "status"),
        ("stauts=open", "stauts"),
        ("cursor=nonsense", "cursor"),
        ("sponsor=", "sponsor"),
        ("sponsor=%00", "sponsor"),
    ],
)
async def test_a_bad_parameter_is_named_in_a_problem(api: httpx.AsyncClient, query: str, parameter: str) -> None:
    answer = await api.get(f"/v1/prompts?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:sponsorship-tracker:problem:bad-parameter"
    assert [error["parameter"] for error in problem["errors"]] == [parameter]


@pytest.mark.parametrize("path", ["employees/E9", "cycles/C9", "prompts/P9", "gaps/G9", "nothing"])
async def test_what_is_not_there_is_a_problem_too(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/v1/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404


async def test_a_method_that_is_not_served_is_a_problem_that_names_those_that_are(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/prompts")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_database_that_is_away_is_said_with_when_to_come_again(tmp_path: Path) -> None:
    nowhere = Reader(open_database("postgresql://nobody@127.0.0.1:1/none", "insights"), dict)
    transport = httpx.ASGITransport(make_api(nowhere, Dashboard(nowhere.for_dashboard), Health(), SHIPPED))
    async with httpx.AsyncClient(transport=transport, base_url="http://insights") as client:
        answer = await client.get("/v1/summary")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["type"].endswith(":database-away")
        assert (await client.get("/healthz")).status_code == 200


async def test_the_openapi_document_names_every_route_and_problems_as_problems(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/v1/summary",
        "/v1/coverage",
        "/v1/measures",
        "/v1/measures/{name}",
        "/v1/comparisons",
        "/v1/progress",
        "/v1/processing",
        "/v1/employees",
        "/v1/employees/{employee_id}",
        "/v1/cycles",
        "/v1/cycles/{cycle_id}",
        "/v1/prompts",
        "/v1/prompts/{prompt_id}",
        "/v1/gaps",
        "/v1/gaps/{gap_id}",
    }
    for path in document["paths"].values():
        responses = path["get"]["responses"]
        assert set(responses) == {"200", "4XX", "503"}
        assert set(responses["4XX"]["content"]) == {"application/problem+json"}
    named = {parameter["name"] for parameter in document["paths"]["/v1/prompts"]["get"]["parameters"]}
    assert named == {"limit", "cursor", "cycle", "sponsor", "employee", "status"}


async def test_no_cache_keeps_an_answer_for_there_are_persons_in_it(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v1/employees")).headers["cache-control"] == "no-store"


async def test_metrics_name_routes_and_never_a_person(api: httpx.AsyncClient) -> None:
    await api.get("/v1/employees/E1")
    await api.get("/v1/nobody/ann@example.com")
    metrics = (await api.get("/metrics")).text
    assert 'route="/v1/employees/{employee_id}"' in metrics
    assert "E1" not in metrics
    assert "ann@example.com" not in metrics


# -- the overview ---------------------------------------------------------------------------------


async def test_the_overview_shows_cycles_and_gaps_and_links_that_lead_somewhere(api: httpx.AsyncClient) -> None:
    answer = await api.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "Spring promotions" in page
    assert "33%" in page
    links = {link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', page)}
    assert len(links) >= 12
    for link in links:
        assert (await api.get(link)).status_code == 200, link


async def test_the_overview_shows_names_as_text(api: httpx.AsyncClient) -> None:
    page = (await api.get("/")).text
    assert "Bo &lt;b&gt;Bold&lt;/b&gt;" in page
    assert "<b>" not in page


async def test_the_overview_needs_nothing_from_elsewhere(api: httpx.AsyncClient) -> None:
    page = (await api.get("/")).text
    assert not re.search(r"<script|<link|<img|src=|https?://|@import|style=", page)


def test_the_overview_of_an_empty_company_says_so(reader: Reader) -> None:
    page = render(reader.summary(), reader.coverage().overall, Page(items=[], next=None), Page(items=[], next=None))
    assert "No cycle has been announced yet" in page
    assert "no clock event yet" in page


def test_a_prompt_row_knows_its_age() -> None:
    rows = [row for row in rows_of(prompted(PromptOpened, 3)) if isinstance(row, PromptRow)]
    assert rows[0].age == (3,)
