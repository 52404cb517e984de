"""Measures how long a webhook takes to become a prompt on its topic, and a message at a receiver, at fixed rates.

All is as in production: the gateway, the services between, and the prompter, each a process; signed webhooks of Jira,
each of which changes a prompt. Beside them, in turn, the same bodies through as many topics with nothing but aiokafka
between. Nobody is given a core: it is the whole of the machine that has to do with the whole of the work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from rich.console import Console

from bench.figures import Figure, tell
from bench.installing import LOCAL, PROJECT, commit, own_versions
from bench.issues import HRIS, SECRET, SOURCE, company, numbers_in
from bench.lab import BROKER_JVM_OPTIONS, Cores, PeerFailed, conduct, cpu_seconds, stop
from bench.offering import Offer, Offered
from bench.options import add_common, at_least_one, numbers
from bench.receiving import receive
from deploy.broker import Broker
from deploy.processes import ServiceError, Supervisor
from deploy.spawn import LOOPBACK, free_ports, spawn
from deploy.stack import service
from shared.streaming.reading import NotRead, read_to_the_end
from shared.streaming.topics import (
    CAREER_EVENTS,
    PARTITIONS,
    PROMPTS,
    SOURCES_RECEIVED,
    TopicSpec,
    create_topics,
    feed_topic,
)

TOKEN: Final = "a-token-for-benchmarks"
KEY: Final = "whsec_" + "YmVuY2htYXJr" * 3
SHARES: Final = (("p50_seconds", 0.5), ("p99_seconds", 0.99), ("p999_seconds", 0.999))
_UNITS: Final = {"events_per_second": "events/s", "events_per_cpu_second": "events/CPU-s"}
TOPICS: Final = (SOURCES_RECEIVED, feed_topic("achievements"), CAREER_EVENTS, PROMPTS)
"""What a webhook passes on its way to being a prompt."""
_HOPS: Final = tuple(f"bench-hop-{number}" for number in range(len(TOPICS)))
_TO_PROMPTS: Final = ("people", "cycles", "achievements", "sources", "correlator")
_WARM_UP_RATE: Final = 300
_WARM_UP_SECONDS: Final = 20
"""At least. The broker's JVM has just started, and compiling is two fifths of the CPU that it takes at first."""
_START_SECONDS: Final = 3.0
"""From the start of the process that sends to its first webhook; it makes them all first."""
_PATIENCE_SECONDS: Final = 240.0
_REACHED: Final = 0.98
"""What share of an offered rate has to be taken for it to count as reached; below, latencies are those of a queue."""


@dataclass
class Seen:
    """When each webhook had become a prompt on the topic, and a message at the receiver, by the clock on the wall."""

    on_topic: dict[int, float] = field(default_factory=dict)
    delivered: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """A running pipeline.

    Attributes:
        topics: what a webhook passes; the last is where prompts are.
    X: says what has ended that should not have; nothing if all live.
    """

    servers: str
    topics: Sequence[str]
    port: int
    delivers: bool
    processes: Mapping[str, int]
    failed: Callable[[], str]


Start = Callable[[Broker, Path, int, Seen], AbstractAsyncContextManager[Pipeline]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a peer failed (the others' figures stand), or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.latency", arguments, asked.note, lambda cores, console: _measure(asked, cores, console))


def _measure(asked: argparse.Namespace, cores: Cores, console: Console) -> int:
    os.sched_setaffinity(0, cores.broker | {cores.peer})
    failures = 0
    for pair in range(1, asked.pairs + 1):
        for name in asked.peers:
            try:
                failures += asyncio.run(_measure_peer(name, asked, pair, console))
            except (PeerFailed, ServiceError, KafkaError, NotRead, OSError) as exc:
                failures += 1
                console.print(f"{name}, {pair}/{asked.pairs}: no figure: {exc}", style="red", markup=False)
    return 1 if failures else 0


async def _measure_peer(name: str, asked: argparse.Namespace, pair: int, console: Console) -> int:
    """Start a pipeline, measure it at each rate, and stop it; return how many rates have no figure."""
    folder = LOCAL / "latency"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port, controller_port = free_ports(2)
    with Broker(
        folder / "kafka",
        port=port,
        controller_port=controller_port,
        die_with_parent=True,
        jvm_options=BROKER_JVM_OPTIONS,
    ) as broker:
        await asyncio.to_thread(create_topics, broker.bootstrap_servers)
        seen = Seen()
        async with PEERS[name](broker, folder, asked.people, seen) as pipeline, _watching(pipeline, seen):
            count = max(asked.people, _WARM_UP_RATE * _WARM_UP_SECONDS)  # ends when all are known
            warm_up = Offer(0, count, _WARM_UP_RATE, 0, asked.people)
            await _through(pipeline, warm_up, seen)
            first, without = warm_up.count, 0
            for rate in asked.rates:
                title = f"{name}, {rate:,} events/s, {pair}/{asked.pairs}"
                what = Offer(first, rate * asked.seconds, rate, 0, asked.people)
                first += what.count
                watched = {**pipeline.processes, "Kafka": broker.pid or 0}
                before = {of: cpu_seconds(pid) for of, pid in watched.items()}
                try:
                    with console.status(title):
                        what, offered = await _through(pipeline, what, seen)
                except PeerFailed as exc:
                    without += 1
                    console.print(f"{title}: no figure: {exc}", style="red", markup=False)
                    continue
                for goal, times in (("topic", seen.on_topic), ("receiver", seen.delivered)):
                    if goal == "topic" or pipeline.delivers:
                        took = latencies(what, times)
                        shares = {figure: share(took, below) for figure, below in SHARES}
                        _tell(name, goal, what, shares, pair)
                        shown = ", ".join(f"{value * 1000:,.0f}" for value in shares.values())
                        console.print(f"{title}, to the {goal}: p50, p99, p99.9: {shown} ms")
                used = {of: cpu_seconds(pid) - before[of] for of, pid in watched.items()}
                own = sum(used[of] for of in pipeline.processes)
                rates = {"events_per_second": offered.per_second, "events_per_cpu_second": what.count / own}
                _tell(name, "topic", what, rates, pair)
                if not is_reached(what, offered):
                    told = f"taken {offered.per_second:,.0f} a second: the rate was not reached, and latencies grow on"
                    console.print(f"{title}: {told}", style="red", markup=False)
                late = f"sent {offered.latest_seconds * 1000:,.0f} ms late at worst, {offered.refused:,} refused"
                cost = ", ".join(
                    f"{of} {seconds / what.count * 1000:.2f}"
                    for of, seconds in {**used, "sender": offered.cpu_seconds}.items()
                )
                console.print(f"{title}: {late}; {await _stages(pipeline, what)}; CPU ms each: {cost}")
    return without


async def _through(pipeline: Pipeline, what: Offer, seen: Seen) -> tuple[Offer, Offered]:
    """Offer it, and return when all of it is through."""
    what = Offer(
        what.first,
        what.count,
        what.rate,
        time.time() + _START_SECONDS + what.count / 20_000,
        what.people,
        pipeline.port,
        "" if pipeline.port else pipeline.topics[0],
    )
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.offering",
        what.argument(),
        env={**os.environ, "BENCH_BOOTSTRAP_SERVERS": pipeline.servers},
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            told, _ = await sender.communicate()
            if sender.returncode != 0:
                raise PeerFailed(f"the process that sends ended with code {sender.returncode}")
            goals = [seen.on_topic, *([seen.delivered] if pipeline.delivers else [])]
            while any(missing(what, times) for times in goals):
                if failed := pipeline.failed():
                    raise PeerFailed(failed)
                await asyncio.sleep(0.05)
    except TimeoutError:
        left = missing(what, seen.on_topic), missing(what, seen.delivered)
        raise PeerFailed(
            f"after {_PATIENCE_SECONDS:.0f} s {left} of {what.people} prompts are not up to date"
        ) from None
    finally:
        if sender.returncode is None:
            sender.kill()
    return what, Offered(**json.loads(told))


def is_reached(what: Offer, offered: Offered) -> bool:
    """Tell whether webhooks were taken as fast as they were offered."""
    return offered.per_second >= _REACHED * what.rate


def missing(what: Offer, times: Mapping[int, float]) -> int:
    """Return of how many people the last webhook is not through."""
    return sum(
        number not in times
        for number in range(what.first + what.count - min(what.count, what.people), what.first + what.count)
    )


def latencies(what: Offer, times: Mapping[int, float]) -> list[float]:
    """Return how long each webhook took from when it was due, in seconds, the shortest first.

    A webhook is through when its prompt is there, or a later one of the same person: then its news is told, or out of
    date. Those that were never told themselves count like this.
    """
    found = []
    through: dict[int, float] = {}
    for number in range(what.first + what.count - 1, what.first - 1, -1):
        person = number % what.people
        through[person] = min(times.get(number, math.inf), through.get(person, math.inf))
        found.append(through[person] - what.due(number))
    return sorted(found)


def share(values: Sequence[float], below: float) -> float:
    """Return the value that this share of the values, which are sorted, do not exceed (the nearest rank)."""
    return values[max(0, math.ceil(below * len(values)) - 1)]


def _tell(name: str, goal: str, what: Offer, figures: Mapping[str, float], pair: int) -> None:
    size = {
        "events/s offered": what.rate,
        "seconds": what.count // what.rate,
        "people": what.people,
        "partitions": PARTITIONS,
    }
    for figure, value in figures.items():
        unit = _UNITS.get(figure, "s")
        tell(Figure(f"latency, to the {goal}", figure, round(value, 5), unit, name, _versions(name), size, pair))


async def _stages(pipeline: Pipeline, what: Offer) -> str:
    """Return where the time goes: the medians of each record's time in a topic, from when its webhook was due."""
    told = []
    for topic in pipeline.topics:
        took = await asyncio.to_thread(_times_in, pipeline.servers, topic, what)
        told.append(f"{topic} {share(took, 0.5) * 1000:,.0f}/{share(took, 0.99) * 1000:,.0f}" if took else topic)
    return "p50/p99 ms to " + ", ".join(told)


def _times_in(servers: str, topic: str, what: Offer) -> list[float]:
    wanted = range(what.first, what.first + what.count)
    return sorted(
        record.time.timestamp() - what.due(number)
        for record in read_to_the_end(servers, topic)
        for number in numbers_in(record.value or b"")
        if number in wanted
    )


@asynccontextmanager
async def _watching(pipeline: Pipeline, seen: Seen) -> AsyncIterator[None]:
    """Note when what comes to the last topic is there for a consumer."""
    consumer = AIOKafkaConsumer(bootstrap_servers=pipeline.servers, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(pipeline.topics[-1], number) for number in range(PARTITIONS)])
    await consumer.seek_to_beginning()

    async def watch() -> None:
        while True:
            got = await consumer.getmany(timeout_ms=1000)
            now = time.time()
            for records in got.values():
                for record in records:
                    _note(seen.on_topic, record.value or b"", now)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await consumer.stop()


def _note(times: dict[int, float], value: bytes, now: float) -> None:
    for number in numbers_in(value):
        times.setdefault(number, now)


# -- the peers ------------------------------------------------------------------------------------


def _pipeline(*, delivers: bool) -> Start:
    @asynccontextmanager
    async def start(broker: Broker, folder: Path, people: int, seen: Seen) -> AsyncIterator[Pipeline]:
        receiver = await receive(lambda _head, body: _note(seen.delivered, body, time.time()))
        names = (*_TO_PROMPTS, *(["prompter"] if delivers else []), "gateway")
        services = Supervisor(
            [service(name) for name in names],
            env={
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "DATA_DIR": str(folder / "faust"),
                "LOG_FORMAT": "json",
                "LOG_LEVEL": "WARNING",
            },
            service_env={
                "gateway": {
                    "GATEWAY_TOKENS": f"{HRIS}={TOKEN}",
                    "GATEWAY_SOURCE_SECRETS": f"{SOURCE}={SECRET}",
                },
                **(
                    {
                        "prompter": {
                            "PROMPTER_POLICY_FILE": str(PROJECT / "deploy" / "policy-at-once.yaml"),
                            "PROMPTER_WEBHOOK_URL": f"http://{LOOPBACK}:{receiver.sockets[0].getsockname()[1]}/",
                            "PROMPTER_WEBHOOK_SECRET": KEY,
                        }
                    }
                    if delivers
                    else {}
                ),
            },
            ports=dict(zip(names, free_ports(len(names)), strict=True)),
            log_dir=folder / "logs",
        )

        def failed() -> str:
            return ", ".join(f"{name} ended with code {code}" for name, code in services.dead().items())

        try:
            services.start()  # from this thread: services die with the one that started them
            await _hire(services.url("gateway"), people)
            port = httpx.URL(services.url("gateway")).port
            assert port is not None
            pids = {name: services.pid(name) for name in names}
            yield Pipeline(broker.bootstrap_servers, TOPICS, port, delivers, pids, failed)
        finally:
            await asyncio.to_thread(services.stop)
            receiver.close()

    return start


async def _hire(gateway: str, people: int) -> None:
    """Let the people and the cycle come in; the webhooks about them wait for them, if need be."""
    records = list(company(people, datetime.now(UTC)))
    async with httpx.AsyncClient(base_url=gateway, trust_env=False, timeout=120) as client:
        for feed in ("people", "cycles"):
            answer = await client.post(
                f"/v1/feeds/{feed}",
                content=b"\n".join(record.value for record in records if record.feed == feed),
                headers={"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {TOKEN}"},
            )
            if answer.status_code != 202 or answer.json()["rejected"]:
                raise PeerFailed(f"the gateway took not all of the people: {answer.status_code} {answer.text[:500]}")


@asynccontextmanager
async def _bare_kafka(broker: Broker, folder: Path, people: int, seen: Seen) -> AsyncIterator[Pipeline]:  # noqa: ARG001
    await asyncio.to_thread(create_topics, broker.bootstrap_servers, [TopicSpec(topic) for topic in _HOPS])
    with contextlib.ExitStack() as running:
        hops = []
        for topic, to in pairwise(_HOPS):
            hop = spawn(
                [sys.executable, "-m", "bench.peers.bare_hop"],
                log=folder / f"{topic}.log",
                env={
                    **os.environ,
                    "BENCH_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                    "BENCH_TOPIC": topic,
                    "BENCH_TO": to,
                },
                cwd=PROJECT,
                parent_death_signal=signal.SIGKILL,
            )
            running.callback(stop, hop)
            hops.append(hop)

        def failed() -> str:
            return ", ".join(f"a hop ended with code {hop.returncode}" for hop in hops if hop.poll() is not None)

        pids = {topic: hop.pid for topic, hop in zip(_HOPS, hops, strict=False)}
        yield Pipeline(broker.bootstrap_servers, _HOPS, 0, delivers=False, processes=pids, failed=failed)


def _versions(name: str) -> Mapping[str, str]:
    if name == "bare-hops":
        return own_versions("aiokafka")
    return {"commit": commit(), **own_versions("fastapi", "uvicorn", "kafka-python", "faust-streaming", "aiokafka")}


PEERS: Final[Mapping[str, Start]] = {
    "pipeline": _pipeline(delivers=False),
    "pipeline-delivering": _pipeline(delivers=True),
    "bare-hops": _bare_kafka,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency",
        description="Measure how long webhooks take to become prompts on their topic, and messages at a receiver, at "
        "fixed rates, beside bare Kafka. One JSON line a figure on stdout; see bench/README.md. Exit code 1: a peer "
        "failed; 2: nothing could be measured.",
    )
    add_common(parser, list(PEERS))
    parser.add_argument(
        "--rates",
        type=numbers,
        default=[100, 1000, 5000],
        metavar="N,N",
        help="webhooks a second (default: 100,1000,5000)",
    )
    parser.add_argument(
        "--seconds", type=at_least_one, default=20, metavar="N", help="for which each is offered (default: %(default)s)"
    )
    parser.add_argument(
        "--people", type=at_least_one, default=1000, metavar="N", help="whom they are about (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
