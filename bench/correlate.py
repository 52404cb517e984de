"""Measures the correlator's kind of work: achievements in, state by employee kept, in turn with each peer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.dataset import Dataset, prepare
from bench.figures import Figure, tell
from bench.installing import (
    LOCAL,
    commit,
    kafka_streams_command,
    kafka_streams_versions,
    own_versions,
    peers_python,
    peers_versions,
)
from bench.lab import Cores, Kept, Lab, Measured, Peer, PeerFailed, broker, conduct
from bench.options import add_common, at_least_one, numbers
from bench.peers import tracker
from services.correlator.facts import BOUNDS
from services.correlator.state import decode_employee
from shared.streaming.reading import NotRead

UNITS: Final[Mapping[str, str]] = {
    "events_per_second": "events/s",
    "events_per_cpu_second": "events/CPU-s",
    "peak_rss_bytes": "bytes",
    "state_bytes": "bytes/employee",
    "start_seconds": "s",
    "recovery_seconds": "s",
}

_FAUST_WORKER: Final = ("worker", "--without-web", "--loglevel=warn")
_FAUST_COMMIT_SECONDS: Final = 2.8
"""Its default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 1 when a peer failed (the others' figures stand), or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.correlate", arguments, asked.note, lambda cores, console: _all(asked, cores, console))


def _all(asked: argparse.Namespace, cores: Cores, console: Console) -> int:
    peers = [PEERS[name]() for name in asked.peers]
    _check_sizes(asked, peers)
    with broker() as own:
        return _measure(asked, peers, Lab(own.bootstrap_servers, cores), own.bootstrap_servers, console)


def _measure(
    asked: argparse.Namespace, peers: Sequence[Peer], lab: Lab, bootstrap_servers: str, console: Console
) -> int:
    peers, failures = rehearsed(peers, lab, console)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for employees in asked.employees:
            datasets = {peer.name: _dataset(asked, peer, employees, bootstrap_servers, progress) for peer in peers}
            for pair in range(1, asked.pairs + 1):
                for peer in peers:
                    dataset = datasets[peer.name]
                    title = f"{peer.name}, {employees:,} employees, {pair}/{asked.pairs}"
                    task = progress.add_task(title, total=dataset.events)
                    try:
                        measured = lab.measure(peer, dataset, progress=_moving(progress, task))
                    except (PeerFailed, KafkaError, OSError, ValueError) as exc:
                        failures.append(title)
                        console.print(f"{title}: no figure: {exc}", style="red", markup=False)
                    else:
                        _tell(peer, dataset, pair, measured)
                        console.print(f"{title}: {measured.events_per_cpu_second:,.0f} events/CPU-s")
                    progress.remove_task(task)
    if failures:
        console.print(f"{len(failures)} runs have no figure: {'; '.join(failures)}", style="red", markup=False)
    return 1 if failures else 0


def rehearsed(peers: Sequence[Peer], lab: Lab, console: Console) -> tuple[list[Peer], list[str]]:
    """Return those who may be measured, and who may not, because they say something else than the rules say."""
    ready, failures = [], []
    for peer in peers:
        try:
            if peer.whole_rules:
                lab.rehearse(peer)
                console.print(f"{peer.name}: says in the rehearsal what the rules say", markup=False)
        except (PeerFailed, KafkaError, NotRead, OSError, ValueError) as exc:
            failures.append(f"{peer.name}, rehearsal")
            console.print(f"{peer.name}: not measured: {exc}", style="red", markup=False)
        else:
            ready.append(peer)
    return ready, failures


def _moving(progress: Progress, task: object) -> Callable[[int], None]:
    return lambda events: progress.update(task, completed=events)  # type: ignore[arg-type]  # rich's TaskID is an int


def _dataset(
    asked: argparse.Namespace, peer: Peer, employees: int, bootstrap_servers: str, progress: Progress
) -> Dataset:
    events = _events(asked, peer)
    task = progress.add_task(f"writing {events:,} achievements", total=events)
    try:
        return prepare(
            bootstrap_servers,
            events,
            employees,
            preamble=peer.whole_rules,
            kept_in=LOCAL / "kafka" / "datasets",
            progress=_moving(progress, task),
        )
    finally:
        progress.remove_task(task)


def _events(asked: argparse.Namespace, peer: Peer) -> int:
    events: int = asked.rules_events if peer.whole_rules else asked.slow_events if peer.slow else asked.events
    return events


def _tell(peer: Peer, dataset: Dataset, pair: int, measured: Measured) -> None:
    size = {"events": dataset.events, "employees": dataset.employees}
    bench = "rules" if peer.whole_rules else "correlate"
    for name, unit in UNITS.items():
        value = getattr(measured, name)
        if value is not None:
            tell(Figure(bench, name, round(float(value), 3), unit, peer.name, peer.versions, size, pair))


# -- the peers ------------------------------------------------------------------------------------


def _python(module: str) -> tuple[str, ...]:
    return (str(peers_python()), "-m", f"bench.peers.{module}")


def _tracker() -> Peer:
    return Peer("tracker", (sys.executable, "-m", "bench.peers.tracker"), _own(), _read_tracker)


def _rules() -> Peer:
    command = (sys.executable, "-m", "bench.peers.rules")
    return Peer("correlator", command, _own(), _read_rules, whole_rules=True)


def _bare_rules() -> Peer:
    command = (sys.executable, "-m", "bench.peers.bare_rules")
    return Peer("bare aiokafka, same rules", command, _own(), whole_rules=True)


def _quix_rules() -> Peer:
    versions = peers_versions("quixstreams", "confluent-kafka", "rocksdict", "msgspec", "pydantic")
    return Peer("Quix Streams, same rules", _python("quix_rules"), versions, read_peers_rules, whole_rules=True)


def _faust_rules() -> Peer:
    # In the project's environment: the same Faust as in the peers', and the pydantic that the correlator reads by.
    command = (sys.executable, "-m", "bench.peers.faust_rules", *_FAUST_WORKER)
    versions = own_versions("faust-streaming", "aiokafka", "rocksdict", "msgspec", "pydantic")
    return Peer(
        "plain Faust, same rules",
        command,
        versions,
        read_peers_rules,
        whole_rules=True,
        commit_seconds=_FAUST_COMMIT_SECONDS,
    )


def _own() -> dict[str, str]:
    return {"commit": commit(), **own_versions("faust-streaming", "aiokafka", "msgspec", "pydantic")}


def _bare_aiokafka() -> Peer:
    return Peer("bare aiokafka", _python("bare_aiokafka"), peers_versions("aiokafka", "msgspec"))


def _bare_confluent() -> Peer:
    return Peer("bare confluent-kafka", _python("bare_confluent"), peers_versions("confluent-kafka", "msgspec"))


def _quix() -> Peer:
    return Peer(
        "Quix Streams", _python("quix"), peers_versions("quixstreams", "confluent-kafka", "rocksdict"), _read_json
    )


def _kafka_streams() -> Peer:
    return Peer("Kafka Streams", kafka_streams_command(), kafka_streams_versions(), _read_json)


def _faust() -> Peer:
    command = (*_python("faust_plain"), *_FAUST_WORKER)
    versions = peers_versions("faust-streaming", "aiokafka", "rocksdict")
    return Peer("plain Faust", command, versions, _read_json, slow=True, commit_seconds=_FAUST_COMMIT_SECONDS)


def _read_tracker(key: bytes, value: bytes) -> Kept | None:
    if b"/" not in key:
        return None  # how far a topic was taken in
    tally = tracker.decode(value)
    return Kept(tally.count, tally.impact, len(tally.titles))


def _read_rules(key: bytes, value: bytes) -> Kept | None:
    return _known(value) if b"employee/" in key else None  # the calendar is kept there too


def read_peers_rules(key: bytes, value: bytes) -> Kept | None:
    """Return what Quix Streams or Faust keeps of an employee by the rules; None for the calendar and for lists."""
    return None if b"calendar" in key or b"listed" in key else _known(value)


def _known(value: bytes) -> Kept:
    known = decode_employee(value).achievements.values()
    return Kept(len(known), sum(fact.impact for fact in known), sum(bool(fact.title) for fact in known))


def _read_json(_key: bytes, value: bytes) -> Kept:
    told = json.loads(value)
    return Kept(told["count"], told["impact"], len(told["titles"]))


PEERS: Final[Mapping[str, Callable[[], Peer]]] = {
    "tracker": _tracker,
    "bare-aiokafka": _bare_aiokafka,
    "bare-confluent": _bare_confluent,
    "quix": _quix,
    "kafka-streams": _kafka_streams,
    "faust": _faust,
    "rules": _rules,
    "quix-rules": _quix_rules,
    "faust-rules": _faust_rules,
    "bare-rules": _bare_rules,
}


# -- the command line -----------------------------------------------------------------------------


def _check_sizes(asked: argparse.Namespace, peers: Sequence[Peer]) -> None:
    for employees in asked.employees:
        # An even spread gives the busiest of many employees about twice the mean, plus a dozen.
        if any(peer.whole_rules for peer in peers) and 2 * asked.rules_events / employees + 12 > BOUNDS["achievements"]:
            raise RuntimeError(
                f"{asked.rules_events:,} achievements over {employees:,} employees are more than the correlator keeps "
                "of one, so its state could not be checked: fewer --rules-events, or more --employees"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.correlate",
        description="Measure a tally by employee in turn with each peer, and the correlator's whole rules. One JSON "
        "line a figure on stdout; see bench/README.md. Exit code 1: a peer failed; 2: nothing could be measured.",
    )
    add_common(parser, list(PEERS))
    parser.add_argument(
        "--events", type=at_least_one, default=1_000_000, metavar="N", help="achievements (default: 1000000)"
    )
    parser.add_argument(
        "--employees",
        type=numbers,
        default=[20_000, 200_000],
        metavar="N,N",
        help="sizes to measure (default: 20000,200000; 1000000 takes an hour more)",
    )
    parser.add_argument(
        "--rules-events",
        type=at_least_one,
        default=200_000,
        metavar="N",
        help="achievements for the whole rules (default: %(default)s)",
    )
    parser.add_argument(
        "--slow-events",
        type=at_least_one,
        default=100_000,
        metavar="N",
        help="achievements for plain Faust (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
