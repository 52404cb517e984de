"""What stands on the streaming base outlives kills, workers that come and go, and a Kafka that goes away.

The tiny service of `tests/counting_service.py` counts; a plain fold of the log says what it must have counted.
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

from deploy.processes import ServiceError, Supervisor
from deploy.spawn import free_ports, wait_until
from tests.counting import Counting, Quick, assert_the_fold_of_the_log, metric
from tests.counting_service import FATAL

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.timeout(300)]

SESSION = 2.0
"""Seconds until a dead worker is missed; a tenth of the time of these tests would pass with waiting otherwise."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with a_broker(tmp_path_factory.mktemp("kafka")) as shared:
        yield shared


def a_broker(folder: Path) -> Quick:
    port, controller_port = free_ports(2)
    return Quick(folder, port=port, controller_port=controller_port, die_with_parent=True)


@contextlib.contextmanager
def feeding(counting: Counting, count: int, *, a_second: float) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=counting.feed, args=(count,), kwargs={"a_second": a_second, "poison": 0.001})
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def counted_so_far(counting: Counting) -> int:
    return sum(counting.committed().values())


def test_nothing_is_lost_or_doubled_by_a_worker_that_is_killed_five_times(broker: Quick, tmp_path: Path) -> None:
    chance = random.Random(3)
    counting = Counting(broker)
    killed_in_start = 0
    # A record takes half a millisecond, or all would be counted before the last kill.
    with counting.workers(tmp_path, "one", session_seconds=SESSION, record_seconds=0.0005) as workers:
        with feeding(counting, 20_000, a_second=1500):
            for number in range(5):
                more = counted_so_far(counting) + chance.randrange(1000)
                assert wait_until(lambda: counted_so_far(counting) >= more, within=60, every=0.02)  # noqa: B023
                workers.kill("one")
                if number % 2:
                    killed_in_start += restart_and_kill(workers, "one", after=chance.uniform(0.5, 3.0))
                if not workers.is_running("one"):
                    workers.restart("one")
        counting.wait_until_counted()
    assert killed_in_start, "no kill met a start: they are to come in recovery too"
    assert_the_fold_of_the_log(counting)


@pytest.mark.parametrize("folder", ["kept", "deleted", "torn"])
def test_a_killed_worker_goes_on_with_its_table_folder(broker: Quick, tmp_path: Path, folder: str) -> None:
    chance = random.Random(folder)
    counting = Counting(broker)
    tables = tmp_path / "faust" / counting.group / "tables"
    with counting.workers(tmp_path, "one", session_seconds=SESSION, record_seconds=0.0005) as workers:
        with feeding(counting, 12_000, a_second=1500):
            for _ in range(4):
                more = counted_so_far(counting) + chance.randrange(1000)
                assert wait_until(lambda: counted_so_far(counting) >= more, within=60, every=0.02)  # noqa: B023
                workers.kill("one")
                if folder == "deleted":
                    shutil.rmtree(tables)
                elif folder == "torn":
                    for victim in chance.sample(
                        files := [f for f in tables.rglob("*") if is_data(f)], min(4, len(files))
                    ):
                        os.truncate(victim, victim.stat().st_size // 2)
                workers.restart("one")
        counting.wait_until_counted()
    assert_the_fold_of_the_log(counting)


def is_data(path: Path) -> bool:
    return path.is_file() and path.name.startswith(("0", "MANIFEST", "CURRENT")) and path.stat().st_size > 0


def restart_and_kill(workers: Supervisor, name: str, *, after: float) -> bool:
    """Start a worker and kill it so many seconds later; tell whether it had not been ready by then."""
    timer = threading.Timer(after, lambda: os.kill(workers.pid(name), signal.SIGKILL))
    timer.start()
    try:
        workers.restart(name)
    except ServiceError:
        return True
    finally:
        timer.join()
    workers.kill(name)  # reaps it
    return False


def test_a_second_worker_comes_is_killed_and_comes_again(broker: Quick, tmp_path: Path) -> None:
    counting = Counting(broker)
    workers = counting.workers(tmp_path, "one", "two", session_seconds=SESSION)
    try:
        workers.restart("one")
        with feeding(counting, 15_000, a_second=1000):
            assert wait_until(lambda: counted_so_far(counting) > 500, within=60)
            workers.restart("two")
            assert wait_until(lambda: works(workers, "one") and works(workers, "two"), within=60), "no work for both"
            workers.kill("two")
            before = counted_so_far(counting)
            assert wait_until(lambda: counted_so_far(counting) > before + 500, within=60)
            workers.restart("two")
            assert wait_until(lambda: works(workers, "two"), within=60)
            assert workers.terminate("one") == 0
        counting.wait_until_counted()
        assert_the_fold_of_the_log(counting)
    finally:
        workers.stop()


def works(workers: Supervisor, name: str) -> bool:
    return metric(workers, name, "stream_records_total{") > 0


def test_a_worker_goes_on_by_itself_when_kafka_comes_back(tmp_path: Path) -> None:
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
        assert_the_fold_of_the_log(counting)


def test_a_stop_commits_what_was_done_so_that_nothing_is_said_twice(broker: Quick, tmp_path: Path) -> None:
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


def test_a_handler_that_raises_ends_the_worker_with_nothing_committed_of_its_run(broker: Quick, tmp_path: Path) -> None:
    counting = Counting(broker)
    with counting.workers(tmp_path, "one", session_seconds=SESSION) as workers:
        counting.feed(500)
        counting.wait_until_counted()
        counting.send(FATAL)
        assert wait_until(lambda: workers.dead() == {"one": 1}, within=60)
        assert "this is fatal" in workers.log("one").read_text()
        at, ends = counting.committed(), counting.ends()
    assert sum(ends[tp] - at[tp] for tp in ends) == 1
