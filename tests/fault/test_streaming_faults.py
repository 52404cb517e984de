"""What stands on the streaming base outlives kills, workers that come and go, and a Kafka that goes away.

The tiny service of `tests/counting_service.py` counts; a plain fold of the log says what it must have counted. Small in
`make test`, at full size in `make test-faults`; each prints its figures at the end of the run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.broker import Broker
from deploy.processes import ServiceError, Supervisor
from deploy.spawn import free_ports, wait_until
from tests.cluster import a_cluster
from tests.counting import Counting, assert_the_fold_of_the_log, metric
from tests.counting_service import FATAL
from tests.fault.conftest import Figures

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.timeout(300)]

SESSION = 2.0
"""Seconds until a dead worker is missed; a tenth of the time of these tests would pass with waiting otherwise."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with a_broker(tmp_path_factory.mktemp("kafka")) as shared:
        yield shared


def a_broker(folder: Path) -> Broker:
    port, controller_port = free_ports(2)
    return Broker(folder, port=port, controller_port=controller_port, die_with_parent=True)


@contextlib.contextmanager
def feeding(counting: Counting, *, a_second: float) -> Iterator[None]:
    """Feed all the while."""
    stop = threading.Event()
    thread = threading.Thread(target=counting.feed_until, args=(stop,), kwargs={"a_second": a_second, "poison": 0.001})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def counted_so_far(counting: Counting) -> int:
    return sum(counting.committed().values())


@pytest.mark.parametrize("folder", ["kept", "deleted", "torn"])
@pytest.mark.timeout(1200)
def test_nothing_is_lost_or_doubled_by_a_worker_that_is_killed_and_its_tables(
    broker: Broker, tmp_path: Path, folder: str, full: bool, figures: Figures
) -> None:
    chance = random.Random(folder)
    counting = Counting(broker)
    tables = tmp_path / "faust" / counting.group / "tables"
    kills, in_start = (24 if full else 2), 0
    # A record takes half a millisecond, so that kills meet runs and checkpoints, and not a worker that waits.
    with counting.workers(tmp_path, "one", session_seconds=SESSION, record_seconds=0.0005) as workers:
        with feeding(counting, a_second=1500):
            for number in range(kills):
                more = counted_so_far(counting) + chance.randrange(1000)
                assert wait_until(lambda: counted_so_far(counting) >= more, within=60, every=0.02)  # noqa: B023
                workers.kill("one")
                spoil(tables, folder, chance)
                if number % 2:
                    in_start += restart_and_kill(workers, "one")
                    spoil(tables, folder, chance)
                if not workers.is_running("one"):
                    workers.restart("one")
        counting.wait_until_counted(within=120)
    assert in_start, "no kill met a start: they are to come in recovery too"
    figures.tell(f"killed, tables {folder}", counting, kills=kills + kills // 2)


def spoil(tables: Path, what: str, chance: random.Random) -> None:
    """Do to a dead worker's tables what may happen to them."""
    if what == "deleted":
        shutil.rmtree(tables, ignore_errors=True)  # killed in a start, it may have none yet
    elif what == "torn":
        files = [file for file in tables.rglob("*") if is_data(file)]
        for victim in chance.sample(files, min(4, len(files))):
            os.truncate(victim, victim.stat().st_size // 2)


def is_data(path: Path) -> bool:
    return path.is_file() and path.name.startswith(("0", "MANIFEST", "CURRENT")) and path.stat().st_size > 0


def restart_and_kill(workers: Supervisor, name: str) -> bool:
    """Start a worker and kill it when its tables have begun to start; tell whether it had not been ready by then."""
    begun = tables_started(workers, name)

    def kill() -> None:
        wait_until(lambda: tables_started(workers, name) > begun, within=60, every=0.01)
        os.kill(workers.pid(name), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        workers.restart(name)
    except ServiceError:
        return True
    finally:
        killer.join()
    workers.kill(name)  # reaps it
    return False


def tables_started(workers: Supervisor, name: str) -> int:
    return workers.log(name).read_text().count("WriteBackTable: counts]: Starting")


def test_a_second_worker_comes_is_killed_and_comes_again_while_each_stands_by_for_the_other(
    broker: Broker, tmp_path: Path, figures: Figures
) -> None:
    counting = Counting(broker)
    workers = counting.workers(tmp_path, "one", "two", session_seconds=SESSION, standbys=1)
    try:
        workers.restart("one")
        with feeding(counting, a_second=1000):
            assert wait_until(lambda: counted_so_far(counting) > 500, within=60)
            workers.restart("two")
            assert wait_until(lambda: works(workers, "one") and works(workers, "two"), within=60), "no work for both"
            # What both write to the changelog is read by the other; it began empty, so nothing else is recovered here.
            assert wait_until(lambda: copied(workers, "one") > 300, within=60), "nobody stands by"
            workers.kill("two")
            before = counted_so_far(counting)
            assert wait_until(lambda: counted_so_far(counting) > before + 500, within=60)
            workers.restart("two")
            assert wait_until(lambda: works(workers, "two"), within=60)
            assert workers.terminate("one") == 0
        counting.wait_until_counted()
        figures.tell("a second worker", counting, kills=1)
    finally:
        workers.stop()


def copied(workers: Supervisor, name: str) -> float:
    return metric(workers, name, "table_recovered_records_total{")


@pytest.mark.timeout(1200)
def test_three_workers_come_and_go_in_any_order(broker: Broker, tmp_path: Path, full: bool, figures: Figures) -> None:
    chance = random.Random(5)
    counting = Counting(broker)
    names = ["one", "two", "three"]
    workers = counting.workers(tmp_path, *names, session_seconds=SESSION, record_seconds=0.0002)
    kills = 0
    try:
        with feeding(counting, a_second=1500):
            for _ in range(24 if full else 6):
                name = chance.choice(names)
                if not workers.is_running(name):
                    workers.restart(name)
                elif chance.random() < 0.5:
                    workers.kill(name)
                    kills += 1
                else:
                    assert workers.terminate(name) == 0
                if any(map(workers.is_running, names)):
                    more = counted_so_far(counting) + chance.randrange(500)
                    assert wait_until(lambda: counted_so_far(counting) >= more, within=60, every=0.05)  # noqa: B023
            if not workers.is_running("one"):
                workers.restart("one")
        counting.wait_until_counted(within=120)
        figures.tell("three workers", counting, kills=kills)
    finally:
        workers.stop()


@pytest.mark.timeout(1200)
def test_a_worker_that_stood_still_writes_nothing_when_it_wakes(
    broker: Broker, tmp_path: Path, full: bool, figures: Figures
) -> None:
    counting = Counting(broker)
    pauses = 12 if full else 1
    # A run takes up to a second, so that a pause meets a run in hand, whose outputs and changes come after the waking.
    with counting.workers(tmp_path, "one", "two", session_seconds=SESSION, record_seconds=0.002) as workers:
        for number in range(pauses):
            with feeding(counting, a_second=1000):
                assert wait_until(lambda: works(workers, "one") and works(workers, "two"), within=60), (
                    "no work for both"
                )
                before = counted_so_far(counting)
                assert wait_until(lambda: counted_so_far(counting) > before + 1000, within=60)  # noqa: B023
                os.kill(workers.pid("one"), signal.SIGSTOP)
            try:
                counting.wait_until_counted(within=120)  # by the other, all of it
            finally:
                os.kill(workers.pid("one"), signal.SIGCONT)
            assert wait_until(lambda: found_out(workers, "one", pauses=number), within=60)  # noqa: B023
            workers.kill("one")
            workers.kill("two")
            shutil.rmtree(tmp_path / "faust")  # so that all that is known comes from the changelog
            workers.restart("one")
            workers.restart("two")
        counting.feed(1000)
        counting.wait_until_counted()
    figures.tell("stood still", counting, kills=pauses)


def found_out(workers: Supervisor, name: str, *, pauses: int) -> bool:
    """Tell whether a worker has learned that it was taken for dead, after as many pauses of which it had learned."""
    return not workers.is_running(name) or workers.log(name).read_text().count("what was in hand is dropped") > pauses


@pytest.mark.timeout(600)
def test_a_partition_leader_goes_away_and_comes_back(tmp_path: Path, full: bool, figures: Figures) -> None:
    away = (30, 30) if full else (5,)
    with a_cluster(tmp_path / "kafka") as cluster:
        counting = Counting(cluster)
        # Kafka waits for a request of a broker that is gone, and a group for a coordinator: with two workers one waits.
        with counting.workers(tmp_path, "one", "two") as workers:
            with feeding(counting, a_second=1000):
                # Whichever leads, each takes its third of the partitions along.
                for member, seconds in zip(cluster.members, away, strict=False):
                    before = counted_so_far(counting)
                    assert wait_until(lambda: counted_so_far(counting) > before + 2000, within=60)  # noqa: B023
                    member.kill()
                    wait_until(lambda: False, within=seconds)
                    member.start()
            counting.wait_until_counted(within=180)
            assert all(map(workers.is_running, ("one", "two")))
        figures.tell("a leader away", counting, kills=len(away))


def test_a_full_disk_ends_the_worker_and_loses_nothing(broker: Broker, tmp_path: Path, figures: Figures) -> None:
    counting = Counting(broker)
    counting.feed(40_000, keys=40_000, key_bytes=2500)  # more than RocksDB keeps in memory of a partition
    full_disk = counting.workers(tmp_path, "one", session_seconds=SESSION, largest_file=100_000)
    try:
        with contextlib.suppress(ServiceError):  # it may end before it is ready
            full_disk.start()
        assert wait_until(lambda: full_disk.dead() == {"one": 1}, within=60)
        said = full_disk.log("one").read_text()
        assert "File too large" in said
        assert str(tmp_path / "faust") in said
    finally:
        full_disk.stop()
    with counting.workers(tmp_path, "one", session_seconds=SESSION):
        counting.wait_until_counted()
    figures.tell("a full disk", counting, kills=0)


def works(workers: Supervisor, name: str) -> bool:
    return metric(workers, name, "stream_records_total{") > 0


def test_a_worker_goes_on_by_itself_when_kafka_comes_back(tmp_path: Path, figures: Figures) -> None:
    with a_broker(tmp_path / "kafka") as own:
        counting = Counting(own)
        with counting.workers(tmp_path, "one", session_seconds=SESSION) as workers:
            counting.feed(3000, poison=0.001)
            assert wait_until(lambda: counted_so_far(counting) > 0, within=60)
            own.stop()
            pid = workers.pid("one")
            own.start()
            counting.feed(3000)
            counting.wait_until_counted(within=120)
            assert workers.pid("one") == pid
            assert workers.is_running("one")
        figures.tell("Kafka stopped and started", counting, kills=0)


def test_a_stop_commits_what_was_done_so_that_nothing_is_said_twice(broker: Broker, tmp_path: Path) -> None:
    counting = Counting(broker)
    with counting.workers(tmp_path, "one", session_seconds=SESSION, record_seconds=0.0005) as workers:
        counting.feed(4000)
        for enough in (500, 2000):
            assert wait_until(lambda: counted_so_far(counting) > enough, within=60)  # noqa: B023
            assert workers.terminate("one") == 0
            workers.restart("one")
        counting.wait_until_counted()
    assert assert_the_fold_of_the_log(counting).twice() == 0


def test_a_stop_while_kafka_is_away_ends_soon_and_loses_nothing(tmp_path: Path) -> None:
    with a_broker(tmp_path / "kafka") as own:
        counting = Counting(own)
        with counting.workers(tmp_path, "one", session_seconds=SESSION) as workers:
            counting.feed(2000)
            assert wait_until(lambda: counted_so_far(counting) > 0, within=60)
            own.stop()
            assert workers.terminate("one", grace=40) == 1  # it would be killed after that, which is -9
            own.start()
            workers.restart("one")
            counting.wait_until_counted()
        assert_the_fold_of_the_log(counting)


def test_a_handler_that_raises_ends_the_worker_with_nothing_committed_of_its_run(
    broker: Broker, tmp_path: Path
) -> None:
    counting = Counting(broker)
    with counting.workers(tmp_path, "one", session_seconds=SESSION) as workers:
        counting.feed(500)
        counting.wait_until_counted()
        counting.send(FATAL)
        assert wait_until(lambda: workers.dead() == {"one": 1}, within=60)
        assert "this is fatal" in workers.log("one").read_text()
        at, ends = counting.committed(), counting.ends()
    assert sum(ends[tp] - at[tp] for tp in ends) == 1
