"""Measures how many messages a second one prompter delivers to a receiver here, beside HTTP clients in a loop."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from rich.console import Console

from bench.figures import Figure, tell
from bench.installing import LOCAL, PROJECT, commit, own_versions
from bench.lab import Cores, PeerFailed, conduct, cpu_seconds, peak_rss_bytes
from bench.options import add_common, at_least_one
from bench.receiving import receive
from deploy.broker import Broker
from deploy.spawn import LOOPBACK, free_ports, log_tail, spawn
from services.prompter.letter import Item, Letter
from services.prompter.messages import message
from shared.contracts.career import write_contract
from shared.contracts.ids import CycleId, EmployeeId, EventId, prompt_id, version_event_id
from shared.contracts.outputs import (
    Evidence,
    Opportunity,
    PromptBody,
    PromptOpened,
    Protege,
    Reason,
    read_delivery,
)
from shared.languages import IN_ENGLISH
from shared.streaming.topics import DELIVERIES, PROMPTS, create_topics

SECRET: Final = "whsec_" + "YmVuY2htYXJr" * 3
_WITHIN_SECONDS: Final = 300
_UNITS: Final = {
    "events_per_second": "messages/s",
    "events_per_cpu_second": "messages/CPU-s",
    "peak_rss_bytes": "bytes",
}
_NOW: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run has sent, from the first message to the last, and what that took."""

    count: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


@dataclass
class Receiver:
    """Notes of every message when it came and which it is."""

    count: int
    pid: int = 0
    ids: list[bytes] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    peak_rss_bytes: int = 0
    all_there: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, head: bytes, _body: bytes) -> None:
        self.ids.append(head.partition(b"webhook-id:")[2].partition(b"\r\n")[0].strip())
        if len(self.ids) in (1, self.count):
            self.marks.append((time.monotonic(), cpu_seconds(self.pid)))
        if len(self.ids) == self.count:  # of a peer that waits for this answer, and may end when it has it
            self.peak_rss_bytes = peak_rss_bytes(self.pid)
            self.all_there.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a peer failed (the others' figures stand), or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.deliver", arguments, asked.note, lambda cores, console: _measure(asked, cores, console))


def _measure(asked: argparse.Namespace, cores: Cores, console: Console) -> int:
    failures = 0
    for pair in range(1, asked.pairs + 1):
        for name in asked.peers:
            title = f"{name}, {pair}/{asked.pairs}"
            folder = LOCAL / "deliver"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                with console.status(title):
                    sent = asyncio.run(PEERS[name](asked.count, asked.concurrency, cores, folder))
            except (PeerFailed, KafkaError, OSError) as exc:
                failures += 1
                console.print(f"{title}: no figure: {exc}", style="red", markup=False)
                continue
            figures = (sent.count / sent.seconds, sent.count / sent.cpu_seconds, sent.peak_rss_bytes)
            size = {"messages": asked.count, "at once": asked.concurrency}
            for (figure, unit), value in zip(_UNITS.items(), figures, strict=True):
                tell(Figure("deliver", figure, round(value, 3), unit, name, VERSIONS[name](), size, pair))
            console.print(f"{title}: {sent.count / sent.seconds:,.0f} messages/s")
    return 1 if failures else 0


async def _prompter(count: int, at_once: int, cores: Cores, folder: Path) -> Sent:
    port, controller_port, http_port = free_ports(3)
    with Broker(folder / "kafka", port=port, controller_port=controller_port, die_with_parent=True) as broker:
        await asyncio.to_thread(create_topics, broker.bootstrap_servers)
        ids = await asyncio.to_thread(_write, broker.bootstrap_servers, count)
        env = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DATA_DIR": str(folder / "faust"),
            "HTTP_PORT": str(http_port),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
            "PROMPTER_POLICY_FILE": str(PROJECT / "deploy" / "policy-at-once.yaml"),
            "PROMPTER_WEBHOOK_SECRET": SECRET,
            "PROMPTER_CONCURRENCY": str(at_once),
        }

        def start(url: str) -> subprocess.Popen[bytes]:
            command = ["taskset", "-c", str(cores.peer), sys.executable, "-m", "services.prompter"]
            return _started(command, env | {"PROMPTER_WEBHOOK_URL": url}, folder)

        receiver, sent = await _received(count, start, folder)
        if sorted(receiver.ids) != sorted(ids):
            raise PeerFailed(f"{count} messages were asked for, and {len(set(receiver.ids) & set(ids))} of them came")
        recorded = await asyncio.to_thread(_recorded, broker.bootstrap_servers)
        if recorded != {event_id.decode() for event_id in ids}:
            raise PeerFailed(f"{len(recorded)} of {count} messages are recorded as delivered")
        return sent


async def _bare(program: str, count: int, at_once: int, cores: Cores, folder: Path) -> Sent:
    event = _prompt(0)
    body = message(
        Letter(event.id, event.sponsor_id, None, None, None, False, (Item(event, False, None),), IN_ENGLISH)
    ).body
    env = {"BENCH_COUNT": str(count), "BENCH_CONCURRENCY": str(at_once), "BENCH_BODY": body.decode()}

    def start(url: str) -> subprocess.Popen[bytes]:
        command = ["taskset", "-c", str(cores.peer), sys.executable, "-m", program]
        return _started(command, env | {"BENCH_URL": url}, folder)

    _, sent = await _received(count, start, folder)
    return sent


async def _received(count: int, start: Callable[[str], subprocess.Popen[bytes]], folder: Path) -> tuple[Receiver, Sent]:
    receiver = Receiver(count)
    listening = await receive(receiver.take)
    process = start(f"http://{LOOPBACK}:{listening.sockets[0].getsockname()[1]}/")
    receiver.pid = process.pid
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            while not receiver.all_there.is_set():
                if process.poll() not in (None, 0):
                    raise PeerFailed(f"ended with code {process.returncode}:\n{log_tail(folder / 'log')}")
                await asyncio.sleep(0.05)
        (begun, cpu_before), (ended, cpu_after) = receiver.marks[0], receiver.marks[-1]
        await asyncio.sleep(1)  # for a message too many, and for the last records
        return receiver, Sent(count, ended - begun, max(cpu_after - cpu_before, 0.01), receiver.peak_rss_bytes)
    except TimeoutError as exc:
        raise PeerFailed(f"{len(receiver.ids)} of {count} messages came in {_WITHIN_SECONDS} s") from exc
    finally:
        listening.close()
        process.terminate()
        await asyncio.to_thread(process.wait)


def _started(command: Sequence[str], env: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    return spawn(
        list(command), log=folder / "log", env={**os.environ, **env}, cwd=PROJECT, parent_death_signal=signal.SIGKILL
    )


def _write(bootstrap_servers: str, count: int) -> list[bytes]:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=20)
    ids = []
    for number in range(count):
        event = _prompt(number)
        producer.send(PROMPTS, key=event.sponsor_id.encode(), value=write_contract(event))
        ids.append(event.id.encode())
    producer.flush(60)
    producer.close()
    return ids


def _recorded(bootstrap_servers: str) -> set[str]:
    consumer = KafkaConsumer(
        DELIVERIES, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=3000
    )
    try:
        found = [read_delivery(record.value) for record in consumer]
    finally:
        consumer.close()
    return {str(delivery.id) for delivery in found if delivery.outcome == "delivered"}


def _prompt(number: int) -> PromptOpened:
    """Return a prompt as the correlator makes them: to a sponsor of its own, with five pieces of evidence."""
    sponsor, employee, cycle = EmployeeId(f"S{number:06}"), EmployeeId(f"E{number:06}"), CycleId("bench")
    evidence = tuple(
        Evidence(
            kind="achievement",
            evidence_id=f"A{number}-{piece}",
            title="Checkout answers in half the time",
            outcome="From 900 ms to 430 ms at the busiest hour; 3 % more orders",
            occurred_on=_NOW.date(),
            link="https://example.com/checkout",
            reasons=(Reason(code="impact", text="changed something for several teams"),),
        )
        for piece in range(5)
    )
    opportunity = Opportunity(
        cycle_id=cycle, kind="promotion", title="Spring promotions", competencies=("delivery",), closes_at=_NOW
    )
    body = PromptBody(
        opportunity=opportunity,
        protege=Protege(employee_id=employee, name="Mina Okafor", level=5, unit_id=None),
        sponsor_name="Priya Raman",
        why="You are Mina Okafor's sponsor",
        evidence=evidence,
    )
    prompt = prompt_id(cycle, employee, sponsor)
    return PromptOpened(
        id=version_event_id(prompt, 1),
        prompt_id=prompt,
        version=1,
        sponsor_id=sponsor,
        cycle_id=cycle,
        employee_id=employee,
        at=_NOW,
        because_of=EventId("bench"),
        body=body,
    )


PEERS: Final[Mapping[str, Callable[[int, int, Cores, Path], Coroutine[None, None, Sent]]]] = {
    "prompter": _prompter,
    "bare-aiohttp": partial(_bare, "bench.peers.bare_aiohttp"),
    "bare-httpx": partial(_bare, "bench.peers.bare_httpx"),
}
VERSIONS: Final[Mapping[str, Callable[[], Mapping[str, str]]]] = {
    "prompter": lambda: {"commit": commit(), **own_versions("aiohttp", "faust-streaming")},
    "bare-aiohttp": lambda: own_versions("aiohttp"),
    "bare-httpx": lambda: own_versions("httpx"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.deliver",
        description="Measure messages a second that one prompter delivers to a local receiver, each kept before it is "
        "sent and recorded after, beside HTTP clients in a loop. One JSON line a figure on stdout; see "
        "bench/README.md. Exit code 1: a peer failed; 2: nothing could be measured.",
    )
    add_common(parser, list(PEERS))
    parser.add_argument("--count", type=at_least_one, default=5000, metavar="N", help="messages (default: %(default)s)")
    parser.add_argument(
        "--concurrency", type=at_least_one, default=32, metavar="N", help="attempts at once (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
