"""Measures how fast one worker of the counting service counts a topic that is full before it starts.

Run as `python -m tests.measure_counting` in any checkout; prints one line of JSON. The time is the one between the
first and the last count as the worker has stamped them, so neither its start nor its recovery is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from contextlib import closing
from pathlib import Path

from kafka import KafkaProducer

from deploy.broker import Broker
from deploy.spawn import free_ports
from tests.counting import Counting


def measure(records: int, keys: int) -> dict[str, float]:
    """Return the events a second and the CPU-seconds of one worker on a broker of its own."""
    port, controller_port = free_ports(2)
    with (
        tempfile.TemporaryDirectory() as name,
        Broker(Path(name) / "kafka", port=port, controller_port=controller_port, die_with_parent=True) as broker,
    ):
        counting = Counting(broker)
        rng = random.Random(7)
        with closing(
            KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", linger_ms=50, batch_size=1 << 18)
        ) as producer:
            for _ in range(records):
                producer.send(counting.topics[0], key=b"k%d" % rng.randrange(keys), value=b"1")
            producer.flush(120)
        with counting.workers(Path(name), "one", topics=counting.topics[0]) as workers:
            counting.wait_until_counted(within=600)
            cpu = _cpu_seconds(workers.pid("one"))
        stamps = [record.timestamp for record in counting.read(counting.out)]
    seconds = (max(stamps) - min(stamps)) / 1000
    return {
        "records": len(stamps),
        "seconds": round(seconds, 2),
        "events_a_second": round(len(stamps) / seconds),
        "cpu_seconds": round(cpu, 2),
        "events_a_cpu_second": round(len(stamps) / cpu),
    }


def _cpu_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--keys", type=int, default=20_000)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.records, arguments.keys)))  # noqa: T201 (what it is for)
