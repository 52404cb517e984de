"""Measures a cycle opening: from the event that opens it for the whole company to the last prompt on its topic.

Every employee has a sponsor and five achievements, and is in scope. The correlator is the whole service, as in
production. Beside it, in turn, its rules alone: the same employees' states read, judged and written in a loop without
Kafka, which is the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as ReadPartition
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console

from bench.dataset import as_many_each, career, employee_id, ends_of, opening, sponsor_id, tick
from bench.figures import Figure, tell
from bench.installing import LOCAL, PROJECT, commit, own_versions
from bench.lab import Cores, PeerFailed, broker, committed, conduct, cpu_seconds, forget_peak, peak_rss_bytes, stop
from bench.options import add_common, numbers
from bench.topics import delete_topics
from deploy.spawn import log_tail, spawn, wait_until
from shared.contracts.base import utc
from shared.contracts.career import write_contract
from shared.contracts.ids import CycleId, prompt_id
from shared.streaming.topics import PARTITIONS, PROMPTS, TopicSpec, create_topics

PIECES: Final = 5
"""Pieces of evidence that speak for each employee."""
UNITS: Final[Mapping[str, str]] = {
    "events_per_second": "prompts/s",
    "events_per_cpu_second": "prompts/CPU-s",
    "first_seconds": "s",
    "last_seconds": "s",
    "stall_seconds": "s",
    "own_stall_seconds": "s",
    "peak_rss_bytes": "bytes",
}
_FIRST_OPENING: Final = utc(2026, 9, 1)
_BETWEEN_OPENINGS: Final = timedelta(days=1500)
"""By then the correlator has forgotten the cycle before, and the state is as it was: see `FORGET_CYCLES_AFTER`."""
_PATIENCE_SECONDS: Final = 1800.0
_PROMPT_ID: Final = re.compile(rb'"prompt_id":"([0-9a-f-]{36})"')


@dataclass(frozen=True, slots=True)
class Opened:
    """What one opening took; None where there is nothing of the kind.

    Attributes:
        first_seconds: from the moment at which the cycle's event was sent to the first prompt.
        last_seconds: the same, to the last.
        stall_seconds: the longest time for which the event loop could do nothing else.
        own_stall_seconds: the same without the time for which others had its core.
    """

    events_per_second: float
    events_per_cpu_second: float
    first_seconds: float | None = None
    last_seconds: float | None = None
    stall_seconds: float | None = None
    own_stall_seconds: float | None = None
    peak_rss_bytes: float | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a peer failed (the others' figures stand), or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.opening", arguments, asked.note, lambda cores, console: _measure(asked, cores, console))


def _measure(asked: argparse.Namespace, cores: Cores, console: Console) -> int:
    failures = 0
    with broker() as own:
        for employees in asked.employees:
            with console.status(f"writing the careers of {employees:,} employees"):
                careers = _write(own.bootstrap_servers, employees)
            with _correlator(own.bootstrap_servers, careers, cores, console) as correlator:
                for pair in range(1, asked.pairs + 1):
                    for name in asked.peers:
                        title = f"{name}, {employees:,} employees, {pair}/{asked.pairs}"
                        try:
                            with console.status(title):
                                opened = _PEERS[name](correlator, careers, cores, pair)
                        except (PeerFailed, KafkaError, OSError) as exc:
                            failures += 1
                            console.print(f"{title}: no figure: {exc}", style="red", markup=False)
                            continue
                        _tell(name, employees, pair, opened)
                        console.print(f"{title}: {opened.events_per_cpu_second:,.0f} prompts/CPU-s")
    return 1 if failures else 0


def _tell(name: str, employees: int, pair: int, opened: Opened) -> None:
    versions = {"commit": commit(), **own_versions("faust-streaming", "aiokafka", "msgspec", "pydantic")}
    size = {"employees": employees, "pieces each": PIECES}
    for figure, unit in UNITS.items():
        value = getattr(opened, figure)
        if value is not None:
            tell(Figure("opening", figure, round(float(value), 4), unit, name, versions, size, pair))


# -- the careers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Careers:
    """A topic of what is known of each employee before the cycle opens, and where it ends in each partition."""

    topic: str
    employees: int
    ends: tuple[int, ...]


def _write(servers: str, employees: int) -> Careers:
    topic = f"openings-{employees}"
    with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        delete_topics(admin, lambda name: name == topic)  # of a run that was killed
    create_topics(servers, [TopicSpec(topic, config={"retention.ms": "-1"})])
    with closing(KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=50, batch_size=256 * 1024)) as producer:
        for number in range(employees):
            key = employee_id(number).encode()
            for event in career(number):
                producer.send(topic, key=key, value=write_contract(event))
        for employee, value in as_many_each(employees, PIECES):
            producer.send(topic, key=employee.encode(), value=value)
        producer.flush()
    return Careers(topic, employees, ends_of(servers, topic))


# -- the service ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Correlator:
    """A correlator that knows all careers, and what it says."""

    servers: str
    careers: Careers
    group: str
    folder: Path
    process: subprocess.Popen[bytes]
    written: int = 0
    """Events of ours in each partition, after the careers."""

    def take_in(self, within: float = _PATIENCE_SECONDS) -> None:
        """Return when it has taken in all that is written so far."""
        wanted = tuple(end + self.written for end in self.careers.ends)
        partitions = [TopicPartition(self.careers.topic, number) for number in range(PARTITIONS)]
        with closing(KafkaAdminClient(bootstrap_servers=self.servers)) as admin:

            def there() -> bool:
                if self.process.poll() is not None:
                    code, log = self.process.returncode, log_tail(self.folder / "log")
                    raise PeerFailed(f"ended with code {code}; the end of its log:\n{log}")
                return committed(admin, self.group, partitions) == wanted

            if not wait_until(there, within=within, every=0.2):
                raise PeerFailed(f"did not take in {self.careers.topic} within {within:.0f} s")

    def tell_all(self, *values: bytes) -> float:
        """Write events to each partition; return the time before that."""
        with closing(KafkaProducer(bootstrap_servers=self.servers, acks="all", linger_ms=0)) as producer:
            producer.partitions_for(self.careers.topic)
            begun = time.time()
            for value in values:
                for partition in range(PARTITIONS):
                    producer.send(self.careers.topic, value=value, partition=partition)
            producer.flush(60)
        self.written += len(values)
        return begun

    def stalls(self, since: float) -> tuple[float, float]:
        """Return the longest stall of its event loop since then (of the system's monotonic clock): all in all, and of
        its own making."""
        told = [json.loads(line) for line in (self.folder / "stalls").read_text().splitlines()]
        _, late, own = zip((0.0, 0.0, 0.0), *(of_one for of_one in told if of_one[0] >= since), strict=True)
        return max(late), max(own)


@contextmanager
def _correlator(servers: str, careers: Careers, cores: Cores, console: Console) -> Iterator[_Correlator]:
    group = f"bench-opening-{os.getpid()}-{careers.employees}"
    folder = LOCAL / "runs" / group
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    create_topics(servers)
    env = {
        **os.environ,
        "BENCH_TOPIC": careers.topic,
        "BENCH_GROUP": group,
        "BENCH_STALLS": str(folder / "stalls"),
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "DATA_DIR": str(folder / "state"),
        "HTTP_PORT": "0",
        "LOG_LEVEL": "WARNING",
    }
    argv = ["taskset", "-c", str(cores.peer), sys.executable, "-m", "bench.peers.rules"]
    process = spawn(argv, log=folder / "log", env=env, cwd=PROJECT, parent_death_signal=signal.SIGKILL)
    correlator = _Correlator(servers, careers, group, folder, process)
    try:
        with console.status(f"the correlator learns of {careers.employees:,} employees"):
            correlator.take_in()
        yield correlator
    finally:
        stop(process)
        shutil.rmtree(folder / "state", ignore_errors=True)
        with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
            # That of the careers, too: the cycles of this run are in it.
            delete_topics(admin, lambda name: group in name or name in (PROMPTS, careers.topic))


def _measure_correlator(correlator: _Correlator, careers: Careers, _cores: Cores, pair: int) -> Opened:
    opens_at = _FIRST_OPENING + pair * _BETWEEN_OPENINGS
    # A tick long after: what was asked before is forgotten, so each round begins alike.
    correlator.tell_all(write_contract(tick(opens_at)))
    correlator.take_in()
    forget_peak(correlator.process.pid)
    asked = asyncio.run(_follow(correlator, f"cycle-{pair}", opens_at))
    wanted = {
        prompt_id(CycleId(f"cycle-{pair}"), employee_id(number), sponsor_id(number))
        for number in range(careers.employees)
    }
    if asked.prompts != wanted:
        raise PeerFailed(f"{len(asked.prompts)} sponsors were asked, and right is {len(wanted)}")
    stall, own_stall = correlator.stalls(asked.since)
    return Opened(
        events_per_second=careers.employees / (asked.last - asked.sent),
        events_per_cpu_second=careers.employees / asked.cpu_seconds,
        first_seconds=asked.first - asked.sent,
        last_seconds=asked.last - asked.sent,
        stall_seconds=stall,
        own_stall_seconds=own_stall,
        peak_rss_bytes=peak_rss_bytes(correlator.process.pid),
    )


@dataclass(frozen=True, slots=True)
class _AskedThen:
    """Times by the wall clock, but `since`, which is by the monotonic one."""

    prompts: set[str]
    since: float
    sent: float
    first: float
    last: float
    cpu_seconds: float


async def _follow(correlator: _Correlator, cycle_id: str, opens_at: datetime) -> _AskedThen:
    """Open the cycle, and return when the correlator has done with it and all that it said is read."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=correlator.servers, enable_auto_commit=False, max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    try:
        partitions = [ReadPartition(PROMPTS, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for tp in partitions:
            await consumer.position(tp)
        pid = correlator.process.pid
        cpu_before, since = cpu_seconds(pid), time.monotonic()
        sent = await asyncio.to_thread(correlator.tell_all, write_contract(opening(cycle_id, opens_at)))
        ending = asyncio.create_task(asyncio.to_thread(correlator.take_in))
        prompts: set[str] = set()
        times: list[int] = []
        while True:
            done = ending.done()
            got = await consumer.getmany(timeout_ms=200)
            for records in got.values():
                times += (records[0].timestamp, records[-1].timestamp)
                for record in records:
                    found = _PROMPT_ID.search(record.value)
                    if found is not None and cycle_id.encode() in record.value:
                        prompts.add(found[1].decode())
            if done and not got:
                break
        await ending
        return _AskedThen(prompts, since, sent, min(times) / 1000, max(times) / 1000, cpu_seconds(pid) - cpu_before)
    finally:
        await consumer.stop()


# -- its rules alone ------------------------------------------------------------------------------


def _measure_rules(_correlator: _Correlator, careers: Careers, cores: Cores, _pair: int) -> Opened:
    command = ["taskset", "-c", str(cores.peer), sys.executable, "-m", "bench.peers.rules_alone"]
    told = subprocess.run(
        [*command, str(min(careers.employees, 20_000)), str(PIECES)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if told.returncode:
        raise PeerFailed(f"ended with code {told.returncode}")
    of_it = json.loads(told.stdout)
    return Opened(of_it["prompts"] / of_it["seconds"], of_it["prompts"] / of_it["cpu_seconds"])


_PEERS: Final[Mapping[str, Callable[[_Correlator, Careers, Cores, int], Opened]]] = {
    "correlator": _measure_correlator,
    "rules-alone": _measure_rules,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.opening",
        description="Measure how long it takes to ask all sponsors of a company when a cycle opens, beside the rules "
        "alone. One JSON line a figure on stdout; see bench/README.md. Exit code 1: a peer failed; 2: nothing could be "
        "measured.",
    )
    add_common(parser, list(_PEERS))
    parser.add_argument(
        "--employees",
        type=numbers,
        default=[200_000],
        metavar="N,N",
        help="sizes to measure (default: 200000; 1000000 needs some 20 minutes more and 20 GB of disk)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
