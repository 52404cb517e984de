"""Measures how many events a second the gateway accepts, acknowledged by Kafka, in turn with what limits it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import httpx
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError
from rich.console import Console

from bench.figures import Figure, tell
from bench.http_load import Connection, Unanswered, post
from bench.installing import PROJECT, commit, own_versions, peers_python, peers_versions
from bench.lab import Cores, PeerFailed, broker, conduct, cpu_seconds, peak_rss_bytes
from bench.options import add_common, at_least_one
from bench.topics import delete_topics
from deploy.spawn import LOOPBACK, free_ports, log_tail, spawn, wait_until
from shared.company.population import Company, achievements
from shared.streaming.topics import PARTITIONS, create_topics, feed_topic

FEED: Final = "achievements"
TOPIC: Final = feed_topic(FEED)
TOKEN: Final = "a-token-for-benchmarks"
_WARM_UP_SECONDS: Final = 1.0
_UNITS: Final = {"events_per_second": "events/s", "events_per_cpu_second": "events/CPU-s", "peak_rss_bytes": "bytes"}


@dataclass(frozen=True, slots=True)
class Way:
    """How events are sent.

    Attributes:
        name: as in the figures.
        clients: connections, each with one request at a time.
        content_type: of a request.
        events: in a request.
    """

    name: str
    clients: int
    content_type: str
    events: int

    @property
    def under_way(self) -> int:
        """Events that may wait for their acknowledgement."""
        return self.clients * self.events


WAYS: Final = (
    Way("one by one", 32, "application/cloudevents+json", 1),
    Way("batches", 8, "application/cloudevents-batch+json", 250),
    Way("NDJSON", 2, "application/x-ndjson", 5000),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run has sent and what that took."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: float


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who takes events.

    Attributes:
        command: the program: a server that learns its port from HTTP_PORT, or a producer that reads events from stdin.
        writes: whether what it accepts lies in Kafka afterwards.
    """

    name: str
    command: tuple[str, ...]
    versions: Mapping[str, str]
    serves: bool
    writes: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a peer failed (the others' figures stand), or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.gateway", arguments, asked.note, lambda cores, console: _all(asked, cores, console))


def _all(asked: argparse.Namespace, cores: Cores, console: Console) -> int:
    peers = [PEERS[name]() for name in asked.peers]
    with broker() as own:
        return _measure(asked, peers, own.bootstrap_servers, cores, console)


def _measure(
    asked: argparse.Namespace, peers: Sequence[Peer], bootstrap_servers: str, cores: Cores, console: Console
) -> int:
    source, events = _events()
    failures = 0
    for way in WAYS:
        for pair in range(1, asked.pairs + 1):
            for peer in peers:
                title = f"{peer.name}, {way.name}, {pair}/{asked.pairs}"
                with console.status(title), tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
                    run = _Run(peer, way, bootstrap_servers, cores, Path(folder), source, events, asked.seconds)
                    try:
                        sent = run.measure()
                    except (PeerFailed, KafkaError, OSError, ValueError) as exc:
                        failures += 1
                        console.print(f"{title}: no figure: {exc}", style="red", markup=False)
                        continue
                _tell(peer, way, pair, sent)
                console.print(f"{title}: {sent.events / sent.seconds:,.0f} events/s")
    return 1 if failures else 0


def _tell(peer: Peer, way: Way, pair: int, sent: Sent) -> None:
    figures = (sent.events / sent.seconds, sent.events / sent.cpu_seconds, sent.peak_rss_bytes)
    size = {"clients": way.clients, "events a request": way.events}
    for (name, unit), value in zip(_UNITS.items(), figures, strict=True):
        tell(Figure(f"gateway, {way.name}", name, round(value, 3), unit, peer.name, peer.versions, size, pair))


def _events() -> tuple[str, list[bytes]]:
    """Return one source of the made-up company, and achievements as it sends them."""
    records = [json.loads(record.value) for record in islice(achievements(Company(500, 1)), 5000)]
    source: str = records[0]["source"]
    return source, [json.dumps(record).encode() for record in records if record["source"] == source]


@dataclass(slots=True)
class _Run:
    peer: Peer
    way: Way
    servers: str
    cores: Cores
    folder: Path
    source: str
    events: Sequence[bytes]
    seconds: float

    def measure(self) -> Sent:
        create_topics(self.servers)
        before = self._written()
        try:
            sent, accepted = self._serve() if self.peer.serves else self._produce()
            written = self._written() - before
            if self.peer.writes and written != accepted:
                raise PeerFailed(f"said that {accepted} events are safe, and Kafka has {written}")
            return sent
        finally:
            with closing(KafkaAdminClient(bootstrap_servers=self.servers)) as admin:
                delete_topics(admin, lambda name: name == TOPIC)

    def _produce(self) -> tuple[Sent, int]:
        env = {"BENCH_UNDER_WAY": str(self.way.under_way), "BENCH_SECONDS": str(self.seconds), "BENCH_TOPIC": TOPIC}
        done = subprocess.run(
            self._pinned(),
            input=b"\n".join(self.events),
            capture_output=True,
            env={**os.environ, **env, "BENCH_BOOTSTRAP_SERVERS": self.servers},
            cwd=PROJECT,
            check=False,
        )
        if done.returncode != 0:
            raise PeerFailed(f"ended with code {done.returncode}: {done.stderr.decode()[-2000:]}")
        sent = Sent(**json.loads(done.stdout))
        return sent, sent.events

    def _serve(self) -> tuple[Sent, int]:
        with self._server() as (process, port):
            requests = _requests(self.way, self.events)
            warmed = asyncio.run(_load(self.way, port, requests, _WARM_UP_SECONDS))
            begun, cpu = time.monotonic(), cpu_seconds(process.pid)
            accepted = asyncio.run(_load(self.way, port, requests, self.seconds))
            took, used = time.monotonic() - begun, cpu_seconds(process.pid) - cpu
            return Sent(accepted, took, used, peak_rss_bytes(process.pid)), warmed + accepted

    @contextmanager
    def _server(self) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        (port,) = free_ports(1)
        log = self.folder / "log"
        env = {
            **os.environ,
            "HTTP_PORT": str(port),
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "GATEWAY_TOKENS": f"{self.source}={TOKEN}",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
        }
        process = spawn(self._pinned(), log=log, env=env, cwd=PROJECT, parent_death_signal=signal.SIGKILL)
        try:
            if not wait_until(lambda: process.poll() is not None or _is_ready(port), within=30):
                raise PeerFailed(f"was not ready after 30 s; the end of its log:\n{log_tail(log)}")
            if process.poll() is not None:
                raise PeerFailed(f"ended with code {process.returncode}; the end of its log:\n{log_tail(log)}")
            yield process, port
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _pinned(self) -> list[str]:
        return ["taskset", "-c", str(self.cores.peer), *self.peer.command]

    def _written(self) -> int:
        wanted = {TopicPartition(TOPIC, number): OffsetSpec.LATEST for number in range(PARTITIONS)}
        with closing(KafkaAdminClient(bootstrap_servers=self.servers)) as admin:
            return sum(at.offset for at in admin.list_partition_offsets(wanted).values())


# -- the load -------------------------------------------------------------------------------------


def _requests(way: Way, events: Sequence[bytes]) -> Iterator[bytes]:
    """Return endless requests, some few hundred different ones, made before the clock runs."""
    stream = cycle(events)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": way.content_type}
    made = []
    for _ in range(max(4, min(500, 20_000 // way.events))):
        some = list(islice(stream, way.events))
        if way.content_type == "application/cloudevents-batch+json":
            body = b"[" + b",".join(some) + b"]"
        else:
            body = b"\n".join(some)
        made.append(post(f"/v1/feeds/{FEED}", headers, body))
    return cycle(made)


async def _load(way: Way, port: int, requests: Iterator[bytes], seconds: float) -> int:
    """Send for so long, each client its next request when it has the answer to the last; return events accepted."""
    until = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_client(way, port, requests, until) for _ in range(way.clients))))


async def _client(way: Way, port: int, requests: Iterator[bytes], until: float) -> int:
    accepted = 0
    with Connection(port) as connection:
        while time.monotonic() < until:
            try:
                answer = await connection.ask(next(requests))
            except Unanswered as exc:
                raise PeerFailed(str(exc)) from exc
            if answer.status != HTTPStatus.ACCEPTED:
                raise PeerFailed(f"answered {answer.status}: {answer.body[:500]!r}")
            count: int = json.loads(answer.body)["accepted"]
            if count != way.events:
                raise PeerFailed(f"accepted {count} of {way.events}: {answer.body[:500]!r}")
            accepted += count
    return accepted


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/readyz", trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


# -- the peers ------------------------------------------------------------------------------------


def _gateway() -> Peer:
    versions = {"commit": commit(), **own_versions("fastapi", "uvicorn", "kafka-python")}
    return Peer("gateway", (sys.executable, "-m", "services.gateway"), versions, serves=True)


def _bare_server() -> Peer:
    versions = own_versions("fastapi", "uvicorn")
    command = (sys.executable, "-m", "bench.peers.bare_server")
    return Peer("bare FastAPI, no Kafka", command, versions, serves=True, writes=False)


def _bare_kafka_python() -> Peer:
    command = (sys.executable, "-m", "bench.peers.bare_kafka_python")
    return Peer("bare kafka-python, no HTTP", command, own_versions("kafka-python", "crc32c"), serves=False)


def _bare_confluent() -> Peer:
    command = (str(peers_python()), "-m", "bench.peers.bare_confluent_producer")
    return Peer("bare confluent-kafka, no HTTP", command, peers_versions("confluent-kafka"), serves=False)


PEERS: Final[Mapping[str, Callable[[], Peer]]] = {
    "gateway": _gateway,
    "bare-server": _bare_server,
    "bare-kafka-python": _bare_kafka_python,
    "bare-confluent": _bare_confluent,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway",
        description="Measure events a second accepted with acks=all: one by one, in batches, as NDJSON. One JSON line "
        "a figure on stdout; see bench/README.md. Exit code 1: a peer failed; 2: nothing could be measured.",
    )
    add_common(parser, list(PEERS))
    parser.add_argument(
        "--seconds", type=at_least_one, default=10, metavar="N", help="of load in a run (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
