"""Insights as a process, on real Kafka, over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from deploy.broker import PROJECT
from deploy.postgres import Postgres, a_postgres
from deploy.spawn import LOOPBACK, free_ports, spawn, wait_until
from services.insights.applying import Run, apply_run
from services.insights.copying import UnderWay
from services.insights.forgetting import forget, scrub
from services.insights.measures.keeping import measure
from services.insights.projection import TOPICS, project
from services.insights.reading import Reader
from services.insights.schema import create_schema
from shared.contracts.base import Contract
from shared.contracts.career import AchievementRecorded, ClockTicked, CycleOpened, write_contract
from shared.contracts.outputs import GapOpened, PromptFulfilled, PromptOpened, PromptUpdated
from shared.database import for_reading, open_database
from shared.streaming.topics import CAREER_EVENTS, GAPS, PARTITIONS, create_topics, dead_topic
from tests.unit.test_comparisons import AttributesSuite
from tests.unit.test_insights import (
    ReadModelSuite,
    a_cycle,
    a_profile,
    an_achievement,
    apply,
    day,
    dump,
    joined,
    logged,
    missing,
    prompted,
    recorded,
    said,
    tied,
    topic_of,
)

Tables = Mapping[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server:
        yield server


class OnPostgres:
    """Gives each test of a suite a database of its own on the server."""

    @pytest.fixture
    def engine(self, postgres: Postgres) -> Iterator[Engine]:
        opened = open_database(postgres.new_database(), "insights")
        create_schema(opened)
        yield opened
        opened.dispose()


class TestReadModelOnPostgres(OnPostgres, ReadModelSuite):
    """All that holds on SQLite, and what only a server with many clients can get wrong."""

    @pytest.fixture
    def reader(self, engine: Engine) -> Reader:
        return Reader(for_reading(engine), dict)

    def test_of_who_is_forgotten_no_byte_is_left_in_tables_or_in_what_is_known_of_their_columns(
        self, engine: Engine, postgres: Postgres
    ) -> None:
        name = "Zwiebelturm Quastenflosser"
        people = [joined(f"E{n}", profile=a_profile(f"Ann Lee {n}", manager_id="S1")) for n in range(20)]
        apply(engine, logged(joined("S1", profile=a_profile(name)), *people))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
            columns = connection.exec_driver_sql("SELECT pg_relation_filepath('pg_statistic')").scalar_one()
        before = postgres.files_of_tables_with(name.encode())
        assert columns in before
        assert len(before) > 1
        forget(engine, "S1", lambda told: "S1" in told)
        scrub(engine)
        assert postgres.files_of_tables_with(name.encode()) == []
        assert postgres.files_of_tables_with(b"Ann Lee 7") != []

    def test_processes_that_start_together_take_turns_to_make_the_schema(self, postgres: Postgres) -> None:
        url = postgres.new_database()

        def start(_: int) -> None:
            with opened(url) as one:
                create_schema(one)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(start, range(4)))
        with opened(url) as one:
            self.test_the_steps_lead_to_the_tables_that_the_code_expects(one)

    def test_two_processes_that_both_hold_a_partition_count_each_record_once(self, engine: Engine) -> None:
        events = [joined(f"E{n % 20}", n, revision=n) for n in range(200)]
        run = logged(*events)
        slices = [run[start : start + 15] for start in range(0, 200, 10)]

        def project_all(_: int) -> None:
            for part in slices:
                apply_run(engine, Run(part, project, together=4))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(project_all, range(4)))
        tables = dump(engine)
        assert tables["event_counts"] == [(CAREER_EVENTS, 0, "employee.joined", 200, 200)]
        assert tables["progress"] == [(CAREER_EVENTS, 0, 200)]

    @pytest.mark.parametrize("together", [1, 3, 1000])
    def test_a_run_in_parts_counts_an_event_once_and_keeps_the_newest(
        self, engine: Engine, together: int, tmp_path: Path
    ) -> None:
        once = [joined(f"E{n % 5}", n, revision=n) for n in range(12)]
        again = [once[3], once[11], joined("E1", 20, revision=20), once[0]]
        apply_run(engine, Run(logged(*once[:2]), project, together))
        apply_run(engine, Run(logged(*once, *again), project, together))
        tables = dump(engine)
        assert tables["event_counts"] == [(CAREER_EVENTS, 0, "employee.joined", 16, 13)]
        assert tables["progress"] == [(CAREER_EVENTS, 0, 16)]
        with opened(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
            create_schema(whole)
            apply_run(whole, Run(logged(*once, *again), project))
            assert tables == dump(whole)

    def test_a_fault_while_the_server_works_leaves_nothing_and_the_connection_as_it_was(self, engine: Engine) -> None:
        before = dump(engine)

        def faulty(record: Any) -> Any:
            if record.offset == 4:
                raise ZeroDivisionError
            return project(record)

        records = logged(*(joined(f"E{n}") for n in range(6)))
        for _ in range(3):  # as often as may be: a connection that is lost each time would run the pool dry
            with pytest.raises(ZeroDivisionError):
                apply_run(engine, Run(records, faulty, together=2))
        assert dump(engine) == before
        assert engine.pool.status().count("Connections in pool: 1") == 1
        apply_run(engine, Run(records, project, together=2))
        assert len(dump(engine)["profiles"]) == 6

    def test_what_the_server_refuses_while_we_go_on_is_raised_and_leaves_nothing(self, engine: Engine) -> None:
        before = dump(engine)
        records = logged(*(joined(f"E{n}") for n in range(6)))
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE profiles ADD CONSTRAINT not_e1 CHECK (employee_id <> 'E1')")
        for together in (1, 3, 1000):
            with pytest.raises(IntegrityError, match="not_e1"):
                apply_run(engine, Run(records, project, together))
        assert dump(engine) == before
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE profiles DROP CONSTRAINT not_e1")
        apply_run(engine, Run(records, project, together=2))
        assert len(dump(engine)["profiles"]) == 6

    def test_what_is_refused_before_all_is_sent_is_what_is_raised(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TEMPORARY TABLE few (n int CHECK (n > 0))")
            driver: Any = connection.connection.driver_connection
            real, sent = driver.execute, []

            def execute(statement: str) -> Any:
                if sent:
                    select.select([driver.fileno()], [], [], 10)  # until the first is answered
                sent.append(statement)
                return real(statement)

            monkeypatch.setattr(driver, "execute", execute)
            with pytest.raises(IntegrityError, match="few_n_check"):
                UnderWay(connection, ["INSERT INTO few VALUES (-1)", "SELECT 1", "SELECT 2"]).row_counts()
            monkeypatch.undo()
            connection.rollback()
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1

    def test_two_processes_with_different_partitions_do_not_wait_for_each_other_for_ever(self, engine: Engine) -> None:
        cycles = [said(CycleOpened, n, cycle=a_cycle(f"C{n % 7}", title=f"Title {n}")) for n in range(100)]

        def project_all(partition: int) -> None:
            ours = sorted(cycles, key=lambda event: hash((partition, event.id)))
            records = [recorded(event, partition=partition, offset=n) for n, event in enumerate(ours)]
            for start in range(0, 100, 10):
                apply_run(engine, Run(records[start : start + 10], project))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(project_all, range(4)))
        newest = {f"C{k}": max(n for n in range(100) if n % 7 == k) for k in range(7)}
        assert {row[0]: row[4] for row in dump(engine)["cycles"]} == {c: f"Title {n}" for c, n in newest.items()}


class TestAttributesOnPostgres(OnPostgres, AttributesSuite):
    """What people state of themselves, where a company compares by it."""


# -- the service on Kafka -------------------------------------------------------------------------


class Insights:
    """A process of the service."""

    def __init__(self, bootstrap_servers: str, database_url: str, folder: Path) -> None:
        [port] = free_ports(1)
        self.log = folder / f"insights-{port}.log"
        self.api = httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=20)
        self._process = spawn(
            [sys.executable, "-m", "services.insights"],
            log=self.log,
            env=os.environ
            | {
                "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
                "HTTP_PORT": str(port),
                "INSIGHTS_DATABASE_URL": database_url,
                "INSIGHTS_MAX_RUN": "200",
                "INSIGHTS_MEASURE_EVERY_SECONDS": "1",
                "DATA_DIR": str(folder / "faust"),
            },
            cwd=PROJECT,
            parent_death_signal=signal.SIGKILL,
        )

    def until(self, what: str, holds: Callable[[], bool], within: float = 60) -> None:
        def asked() -> bool:
            assert self._process.poll() is None, f"insights ended by itself: {self.log.read_text()[-3000:]}"
            try:
                return holds()
            except httpx.TransportError:
                return False

        assert wait_until(asked, within=within), f"not within {within} s: {what}; {self.log.read_text()[-3000:]}"

    def until_projected(self, ends: Mapping[tuple[str, int], int]) -> None:
        def reached() -> bool:
            answer = self.api.get("/v1/progress")
            found = answer.json().get("partitions", []) if answer.status_code == 200 else []
            offsets = {(of["topic"], of["partition"]): of["next_offset"] for of in found}
            return all(offsets.get(at, 0) >= end for at, end in ends.items())

        self.until("all of the log projected", reached)

    def ready(self) -> bool:
        return self.api.get("/readyz").status_code == 200

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def stop(self, within: float = 30) -> int:
        self._process.terminate()
        return self.exit_code(within)

    def exit_code(self, within: float = 30) -> int:
        return self._process.wait(within)

    def end(self) -> None:
        self.api.close()
        if self._process.poll() is None:
            self.kill()


@pytest.fixture
def insights(kafka: Any, tmp_path: Path) -> Iterator[Callable[[str], Insights]]:
    create_topics(kafka.bootstrap_servers)
    started: list[Insights] = []

    def start(database_url: str) -> Insights:
        started.append(Insights(kafka.bootstrap_servers, database_url, tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database


def write(bootstrap_servers: str, events: Sequence[Contract]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=5)
    try:
        sent = []
        for event in events:
            topic, value = topic_of(event), write_contract(event)
            key = getattr(event, "employee_id", None)
            if topic == CAREER_EVENTS and key is None:
                sent += [producer.send(topic, value, partition=partition) for partition in range(PARTITIONS)]
            else:
                sent.append(producer.send(topic, value, key=(key or "any").encode()))
        for one in sent:
            one.get(30)
    finally:
        producer.close()


def ends_of(bootstrap_servers: str) -> dict[tuple[str, int], int]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    try:
        found = consumer.end_offsets([TopicPartition(name, n) for name in TOPICS for n in range(PARTITIONS)])
        return {(at.topic, at.partition): end for at, end in found.items()}
    finally:
        consumer.close()


@contextlib.contextmanager
def opened(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url, "insights")
    try:
        yield engine
    finally:
        engine.dispose()


def tables_of(database_url: str) -> Tables:
    """All rows, those of the measures as they come out of the others."""
    with opened(database_url) as engine:
        measure(engine, 10)
        return dump(engine)


def rebuilding(bootstrap_servers: str, database_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.insights.rebuild"],
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "INSIGHTS_DATABASE_URL": database_url},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def a_busy_season(mark: str, employees: int) -> list[Contract]:
    """What happens to many employees in two cycles; ids begin with `mark`, for tests share Kafka."""
    first, second = f"{mark}-C1", f"{mark}-C2"
    happened: list[Contract] = [said(CycleOpened, 1, cycle=a_cycle(cycle)) for cycle in (first, second)]
    for n in range(employees):
        who, sponsor = f"{mark}-E{n}", f"{mark}-E{n // 10}"
        happened += [
            joined(who, n % 5, profile=a_profile(f"Person {n}", level=3 + n % 6)),
            joined(who, n % 7, revision=2, profile=a_profile(f"Person {n}", level=4 + n % 6)),
            tied(who, sponsor, n % 3),
            said(AchievementRecorded, 2, employee_id=who, achievement=an_achievement(f"{mark}-A{n}")),
            said(ClockTicked, 12 + n / employees, now=day(12 + n / employees)),
            prompted(PromptOpened, 1, employee=who, sponsor=sponsor, cycle=first),
            prompted(PromptUpdated, 2, employee=who, sponsor=sponsor, cycle=first),
            missing(GapOpened, 1, employee=who, cycle=second),
        ]
        if n % 3 == 0:
            happened.append(
                prompted(PromptFulfilled, 3, employee=who, sponsor=sponsor, cycle=first, endorsement_id=f"{mark}-N{n}")
            )
    return happened


@pytest.mark.kafka
def test_records_in_answers_out_and_a_clean_stop(
    kafka: Any, insights: Callable[[str], Insights], new_database: Callable[[], str]
) -> None:
    mark = uuid.uuid4().hex[:8]
    service = insights(new_database())
    service.until("ready", service.ready)
    opened = prompted(PromptOpened, 1, employee=f"{mark}-E0", sponsor=f"{mark}-S", cycle=f"{mark}-C1")
    write(kafka.bootstrap_servers, [*a_busy_season(mark, 5), opened])
    service.until_projected(ends_of(kafka.bootstrap_servers))

    person = service.api.get(f"/v1/employees/{mark}-E0").json()
    assert person["name"] == "Person 0"
    assert f"{mark}-S" in {prompt["sponsor_id"] for prompt in person["standing_prompts"]}
    prompt = service.api.get(f"/v1/prompts/{opened.prompt_id}").json()
    assert prompt["body"]["evidence"][0]["reasons"][0]["text"] == "it reached several teams"
    cycle = service.api.get(f"/v1/cycles/{mark}-C1").json()
    assert cycle["funnel"] | {"gaps_closed": 0} == {
        "prompts_standing": 4,
        "prompts_fulfilled": 2,
        "prompts_withdrawn": 0,
        "gaps_standing": 0,
        "gaps_closed": 0,
    }
    assert len(service.api.get("/v1/gaps", params={"cycle": f"{mark}-C2", "status": "open"}).json()["items"]) == 5
    assert service.api.get("/").status_code == 200

    def measured() -> bool:
        values = service.api.get("/v1/measures/endorsements").json()["values"]
        return f"{mark}-C1" in {value["cycle_id"] for value in values}

    service.until("measured", measured)
    metrics = service.api.get("/metrics").text
    assert 'insights_rows_upserted_total{table="prompts"}' in metrics
    assert f"{mark}-E" not in metrics
    assert f"{mark}-S" not in metrics
    assert service.stop() == 0
    assert mark not in service.log.read_text()
    assert "Person" not in service.log.read_text()


@pytest.mark.kafka
def test_a_record_that_cannot_be_read_is_kept_as_a_dead_letter(
    kafka: Any, insights: Callable[[str], Insights], tmp_path: Path
) -> None:
    bad = b'{"type": "gap.opened", "id": "' + uuid.uuid4().hex.encode()
    good = missing(GapOpened, 1, employee=uuid.uuid4().hex)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    create_topics(kafka.bootstrap_servers)
    producer.send(GAPS, bad, key=b"somebody").get(30)
    producer.close()
    write(kafka.bootstrap_servers, [good])
    service = insights(f"sqlite:///{tmp_path / 'insights.db'}")
    service.until_projected(ends_of(kafka.bootstrap_servers))
    assert service.api.get(f"/v1/gaps/{good.gap_id}").status_code == 200
    consumer = KafkaConsumer(
        dead_topic(GAPS),
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=30_000,
    )
    letter = next(record for record in consumer if record.value == bad)
    consumer.close()
    assert letter.key == b"somebody"
    assert b"Invalid JSON" in dict(letter.headers)["dead-reason"]


@pytest.mark.kafka
@pytest.mark.fault
def test_killed_at_random_moments_and_started_again_it_holds_what_a_fresh_rebuild_holds(
    kafka: Any, insights: Callable[[str], Insights], new_database: Callable[[], str]
) -> None:
    write(kafka.bootstrap_servers, a_busy_season(uuid.uuid4().hex[:8], 700))
    ends = ends_of(kafka.bootstrap_servers)
    everything = sum(ends.values())

    survivor = new_database()
    chance = random.Random(everything)
    kills = 3 if survivor.startswith("postgresql") else 1
    for share in sorted(chance.uniform(0.1, 0.7) for _ in range(kills)):
        service = insights(survivor)
        service.until("part of the log projected", lambda: projected(service) >= everything * share)  # noqa: B023
        service.kill()
        held = sum(row[2] for row in tables_of(survivor)["progress"])
        assert 0 < held < everything, "it was killed too late to tell anything"

    service = insights(survivor)
    service.until_projected(ends)
    assert service.stop() == 0

    # The group has committed the whole log by now; an empty database sets it back.
    fresh = new_database()
    service = insights(fresh)
    service.until_projected(ends)
    refused = rebuilding(kafka.bootstrap_servers, fresh)
    assert refused.returncode == 1
    assert "stop the other process" in refused.stderr
    assert service.stop() == 0

    rebuilt = new_database()
    with opened(rebuilt) as engine:
        create_schema(engine)
        apply(engine, [recorded(joined("of-another-log"), partition=3, offset=10**9)])
    done = rebuilding(kafka.bootstrap_servers, rebuilt)
    assert done.returncode == 0, done.stderr
    assert f"{everything:,} of {everything:,} records (100%)" in done.stdout

    same_rows(tables_of(survivor), tables_of(rebuilt))
    same_rows(tables_of(fresh), tables_of(rebuilt))
    assert len(tables_of(rebuilt)["prompt_history"]) >= 700

    # And insights goes on from there.
    write(kafka.bootstrap_servers, [joined("afterwards")])
    service = insights(rebuilt)
    service.until("what came afterwards", lambda: service.api.get("/v1/employees/afterwards").status_code == 200)


def projected(service: Insights) -> int:
    answer = service.api.get("/v1/progress")
    found = answer.json()["partitions"] if answer.status_code == 200 else []
    return sum(of["next_offset"] for of in found)


def same_rows(ours: Tables, fresh: Tables) -> None:
    assert ours.keys() == fresh.keys()
    for name, rows in fresh.items():
        assert ours[name] == rows, name


@pytest.mark.kafka
@pytest.mark.fault
def test_a_database_that_goes_away_is_waited_for_and_nothing_is_lost(
    kafka: Any, insights: Callable[[str], Insights]
) -> None:
    mark = uuid.uuid4().hex[:8]
    with a_postgres() as server:
        service = insights(server.new_database())
        service.until("ready", service.ready)
        server.stop()
        write(kafka.bootstrap_servers, a_busy_season(mark, 20))

        def objects() -> bool:
            answer = service.api.get("/readyz")
            return answer.status_code == 503 and "database" in answer.json()["waiting_for"]

        service.until("readiness says that the database is away", objects)
        assert service.api.get("/healthz").status_code == 200
        assert service.api.get("/v1/summary").status_code == 503
        server.start()
        service.until_projected(ends_of(kafka.bootstrap_servers))
        service.until("ready again", service.ready)
        assert service.api.get(f"/v1/employees/{mark}-E19").status_code == 200

        server.stop()
        write(kafka.bootstrap_servers, a_busy_season(f"{mark}-2", 2))
        service.until("readiness says that the database is away", objects)
        assert service.stop(within=15) == 0, "a stop does not wait for the database"


@pytest.mark.kafka
def test_a_database_of_another_log_is_refused_with_what_to_do(
    kafka: Any, insights: Callable[[str], Insights], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    engine = open_database(url, "insights")
    create_schema(engine)
    far_ahead = recorded(joined("E1"), offset=10**9)
    apply_run(engine, Run([far_ahead], project))
    engine.dispose()
    service = insights(url)
    assert service.exit_code() == 1
    assert "Start with an empty database" in service.log.read_text()
