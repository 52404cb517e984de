"""What stands on the streaming base outlives kills, workers that come and go, and a Kafka that goes away.

The tiny service of `tests/counting_service.py` counts; a plain fold of the log says what it must have counted.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.processes import ServiceError, Supervisor
from deploy.spawn import free_ports
from tests.counting import Counting, Quick, assert_the_fold_of_the_log, metric

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.timeout(300)]

SESSION = 2.0
"""Seconds until a dead worker is missed; a tenth of the time of these tests would pass with waiting otherwise."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    port, controller_port = free_ports(2)
    folder = tmp_path_factory.mktemp("kafka")
    with Quick(folder, port=port, controller_port=controller_port, die_with_parent=True) as own:
        yield own


@contextlib.contextmanager
def feeding(counting: Counting, count: int, *, a_second: float) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=counting.feed, args=(count,), kwargs={"a_second": a_second, "poison": 0.001})
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def test_nothing_is_lost_or_doubled_by_a_worker_that_is_killed_five_times(broker: Quick, tmp_path: Path) -> None:
    chance = random.Random()
    counting = Counting(broker)
    kills = 0
    with (
        counting.workers(tmp_path, "one", session_seconds=SESSION) as workers,
        feeding(counting, 20_000, a_second=1000),
    ):
        while kills < 5:
            time.sleep(chance.uniform(0.0, 2.0))
            workers.kill("one")
            kills += 1
            try:
                with_timer = chance.random() < 0.4 and kills < 5
                if with_timer:
                    timer = threading.Timer(
                        chance.uniform(0.5, 6.0), lambda: os.kill(workers.pid("one"), signal.SIGKILL)
                    )
                    timer.start()
                    kills += 1
                workers.restart("one")
                if with_timer:
                    timer.join()
            except ServiceError as e:
                print("killed in start", str(e)[:80])
            if not workers.is_running("one"):
                workers.restart("one")
        counting.wait_until_counted()
        found = assert_the_fold_of_the_log(counting)
        print("kills", kills, "said", len(found.said), "again", found.twice(), "dead", len(found.dead))
