"""Runs a peer on its core and measures it from outside: by what it commits, and by what Linux says of its process.

A peer knows nothing of this. Time and work are counted from its first commit to its last, so neither its start nor the
wait for one more commit is in the rate; commits are asked for every 20 ms, from the broker's core.
"""

from __future__ import annotations

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
from functools import cached_property
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import TopicPartition as AdminPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from rich.console import Console

from bench import rehearsal
from bench.dataset import REMEMBERED, Dataset
from bench.figures import Machine, tell
from bench.installing import LOCAL, PROJECT, NotInstalled
from bench.options import STOPPED, as_typed
from bench.topics import delete_topics
from deploy.broker import Broker, BrokerError, pinned_version
from deploy.spawn import free_ports, log_tail, spawn, wait_until
from shared.streaming.reading import read_to_the_end
from shared.streaming.topics import GAPS, PROMPTS, create_topics

BROKER_JVM_OPTIONS: Final = ("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC")
"""Both compilers, unlike in the demo's broker, which is made to start quickly."""

_GROUP_PREFIX: Final = "bench-"
_OUTPUTS: Final = (PROMPTS, GAPS)
"""What the correlator writes beside its state."""
_POLL_SECONDS: Final = 0.02
_STALL_SECONDS: Final = 600.0
"""Without any commit for so long, a peer has failed. A recovery gives none, and takes minutes in some."""
_QUICK_COMMIT_SECONDS: Final = 0.2
"""Between commits when a start is measured, which is seen by a commit."""
_STOP_SECONDS: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class PeerFailed(Exception):
    """The peer ended, stood still or counted wrongly; the message says which, and no figure of the run counts."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a peer keeps of one employee, as far as it is checked."""

    count: int
    impact: int
    titles: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who can be measured.

    Attributes:
        name: as in the figures.
        command: the program; it learns from BENCH_* in its environment what to read, as whom.
        versions: of what it stands on.
        read: what it keeps of an employee, from a changelog's key and value, None for what is no employee; a peer
            without it has no changelog, and prints one JSON line an employee when it is stopped.
        slow: gets fewer events.
        whole_rules: reads careers, and decides; the others count.
        commit_seconds: between commits, for those that let it be set.
    """

    name: str
    command: tuple[str, ...]
    versions: Mapping[str, str]
    read: Callable[[bytes, bytes], Kept | None] | None = None
    slow: bool = False
    whole_rules: bool = False
    commit_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. None where there is nothing of the kind, or too little to measure it."""

    events_per_second: float | None
    events_per_cpu_second: float
    peak_rss_bytes: int
    state_bytes: float | None
    """Mean over employees of key and value as they lie in the changelog."""
    start_seconds: float | None
    """From the process's start to the commit of the last record of each partition, with nothing to recover."""
    recovery_seconds: float | None
    """The same, when all the state has to come from the changelog."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What was seen at a moment: the committed offset of each partition, when, and the process's CPU time so far."""

    offsets: tuple[int, ...]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    peer: int
    broker: frozenset[int]


def share_cores() -> Cores:
    """Return the last core for peers and the others for the broker, and move this process to the others.

    Raises:
        RuntimeError: there is one core only, or no taskset.
    """
    if shutil.which("taskset") is None:
        raise RuntimeError("taskset is missing: install util-linux (benchmarks need Linux)")
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise RuntimeError("there is one core only: the broker and the peer need one each")
    cores = Cores(available[-1], frozenset(available[:-1]))
    os.sched_setaffinity(0, cores.broker)
    return cores


def this_machine(command: str, note: str) -> Machine:
    """Return what is to be known of the machine: no names."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    java = subprocess.run(["java", "--version"], capture_output=True, text=True, check=False)
    versions = {
        "Python": ".".join(map(str, sys.version_info[:3])),
        "Java": (java.stdout.split() or ["", "unknown"])[1],
        "Kafka (broker)": pinned_version(),
        "Linux": os.uname().release.partition("-")[0],
    }
    return Machine(os.cpu_count() or 0, round(memory, 1), model, versions, command, note)


def conduct(module: str, arguments: Sequence[str] | None, note: str, measure: Callable[[Cores, Console], int]) -> int:
    """Share the cores, tell the machine, and return what `measure` returns: the exit code of a benchmark.

    Args:
        module: the benchmark, as it is run.
        arguments: those it was given; None for the command line's.
        note: a remark on the circumstances.
        measure: does the work; failures of single peers are its own affair.

    Returns:
        0 or 1 as `measure` says; 2 when nothing could be measured, with the reason on stderr; 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    try:
        cores = share_cores()
        command = as_typed(module, sys.argv[1:] if arguments is None else arguments)
        if said := os.environ.get("TOPIC_PARTITIONS"):
            command = f"TOPIC_PARTITIONS={said} {command}"
        tell(this_machine(command, note))
        return measure(cores, console)
    except (RuntimeError, NotInstalled, BrokerError) as exc:
        console.print(f"{module}: {exc}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        return STOPPED


@contextmanager
def broker() -> Iterator[Broker]:
    """Give the benchmarks' own Kafka, with the datasets that earlier runs have left in it."""
    port, controller_port = free_ports(2)
    folder = LOCAL / "kafka"
    own = Broker(
        folder, port=port, controller_port=controller_port, die_with_parent=True, jvm_options=BROKER_JVM_OPTIONS
    )
    if own.pid is not None:
        raise RuntimeError(f"another benchmark runs (its Kafka is process {own.pid}): wait for its end")
    with own:
        yield own


class Lab:
    """Measures peers on one broker."""

    def __init__(self, bootstrap_servers: str, cores: Cores) -> None:
        self._servers = bootstrap_servers
        self._cores = cores
        self._runs = 0
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
            # Left by a benchmark that was stopped.
            delete_topics(admin, lambda name: _GROUP_PREFIX in name or name in _OUTPUTS)

    def measure(
        self, peer: Peer, dataset: Dataset, *, progress: Callable[[int], None] = lambda _events: None
    ) -> Measured:
        """Let the peer read the whole dataset, check what it has made of it, let it recover; return its figures.

        Raises:
            PeerFailed: it did not get there, or what it kept is not what the dataset says.
        """
        with self._run(peer, dataset) as run:
            return run.measure(progress)

    def rehearse(self, peer: Peer) -> None:
        """Let the peer read a small log of all that rules know; return when it has said what is right.

        Raises:
            PeerFailed: it has said something else, or did not get there.
            NotRead: what it has said can't be read.
        """
        with self._run(peer, self._rehearsal.dataset) as run:
            run.rehearse(self._rehearsal.said)

    @cached_property
    def _rehearsal(self) -> rehearsal.Rehearsal:
        return rehearsal.prepare(self._servers, f"{_GROUP_PREFIX}rehearsal-{os.getpid()}")

    @contextmanager
    def _run(self, peer: Peer, dataset: Dataset) -> Iterator[_Run]:
        self._runs += 1
        group = f"{_GROUP_PREFIX}{re.sub('[^a-zA-Z-]+', '-', peer.name)}-{os.getpid()}-{self._runs}"
        folder = LOCAL / "runs" / group
        with closing(KafkaAdminClient(bootstrap_servers=self._servers)) as admin:
            run = _Run(admin, self._servers, self._cores, peer, dataset, group, folder)
            try:
                yield run
            finally:
                run.clean_up()
        shutil.rmtree(folder)


@dataclass(slots=True)
class _Run:
    admin: KafkaAdminClient
    servers: str
    cores: Cores
    peer: Peer
    dataset: Dataset
    group: str
    folder: Path

    def measure(self, progress: Callable[[int], None]) -> Measured:
        create_topics(self.servers)
        process, _ = self._start(self.group, self.peer.commit_seconds)
        try:
            seen = self._follow(process, self.group, progress)
            peak = peak_rss_bytes(process.pid)
        finally:
            stop(process)
        per_second, per_cpu_second = rates(seen, self.dataset.starts)
        if per_cpu_second is None:
            raise PeerFailed("three quarters of the work lay before its first commit: use more events")
        state_bytes = start = recovery = None
        if self.peer.read is None:
            check(_printed(self._log), self.dataset, whole_rules=self.peer.whole_rules)
        else:
            state_bytes = self._check_changelog(self.peer.read)
            recovery = self._restart(self.group)
            start = self._restart(f"{self.group}-anew")
        return Measured(per_second, per_cpu_second, peak, state_bytes, start, recovery)

    def rehearse(self, right: rehearsal.Said) -> None:
        create_topics(self.servers)
        process, _ = self._start(self.group, _QUICK_COMMIT_SECONDS)
        try:
            self._follow(process, self.group)
        finally:
            stop(process)
        records = [record for topic in _OUTPUTS for record in read_to_the_end(self.servers, topic)]
        said = frozenset((record.topic, record.key, record.value) for record in records)
        if said != right:
            raise PeerFailed(
                f"of the {len(right):,} records that the rules say in the rehearsal it wrote {len(said & right):,}, "
                f"and {len(said - right):,} others"
            )

    def clean_up(self) -> None:
        """Leave nothing of the run but its log."""
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        delete_topics(self.admin, lambda name: self.group in name or name in _OUTPUTS)
        self.admin.delete_groups([self.group, f"{self.group}-anew"])

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _start(self, group: str, commit_seconds: float) -> tuple[subprocess.Popen[bytes], float]:
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        env = {
            **os.environ,
            "BENCH_BOOTSTRAP_SERVERS": self.servers,
            "BENCH_TOPIC": self.dataset.topic,
            "BENCH_GROUP": group,
            "BENCH_COMMIT_SECONDS": str(commit_seconds),
            "BENCH_STATE_DIR": str(state),
            "BENCH_PROMPTS": PROMPTS,
            "BENCH_GAPS": GAPS,
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "DATA_DIR": str(state),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
        }
        argv = ["taskset", "-c", str(self.cores.peer), *self.peer.command]
        process = spawn(argv, log=self._log, env=env, cwd=PROJECT, parent_death_signal=signal.SIGKILL)
        return process, time.monotonic()

    def _follow(
        self, process: subprocess.Popen[bytes], group: str, progress: Callable[[int], None] = lambda _events: None
    ) -> list[Commit]:
        """Return each commit that was seen, to the one that covers the whole dataset."""
        seen: list[Commit] = []
        moved = time.monotonic()
        while not seen or seen[-1].offsets != self.dataset.ends:
            at, now = committed(self.admin, group, self._partitions), time.monotonic()
            if process.poll() is not None:
                raise PeerFailed(f"ended with code {process.returncode}; the end of its log:\n{log_tail(self._log)}")
            if at is not None and (not seen or at != seen[-1].offsets):
                moved = now
                seen.append(Commit(at, now, cpu_seconds(process.pid)))
                progress(max(0, sum(at) - sum(self.dataset.starts)))
            elif now > moved + _STALL_SECONDS:
                raise PeerFailed(
                    f"committed nothing for {_STALL_SECONDS:.0f} s, at {at} of {self.dataset.ends}; "
                    f"the end of its log:\n{log_tail(self._log)}"
                )
            time.sleep(_POLL_SECONDS)
        return seen

    @property
    def _partitions(self) -> list[AdminPartition]:
        return [AdminPartition(self.dataset.topic, number) for number in range(len(self.dataset.ends))]

    def _check_changelog(self, read: Callable[[bytes, bytes], Kept | None]) -> float:
        kept: list[Kept] = []
        size = 0
        for topic in (name for name in self.admin.list_topics() if self.group in name and "changelog" in name):
            for key, value in asyncio.run(_latest(self.servers, topic)):
                known = read(key, value)
                if known is not None:
                    kept.append(known)
                    size += len(key) + len(value)
        check(kept, self.dataset, whole_rules=self.peer.whole_rules)
        return size / len(kept)

    def _restart(self, group: str) -> float:
        """Return the seconds from a start without local state to the commit of the last record of each partition, which
        the group is made to read (again): so it is seen from outside that the peer works."""
        self._wait_until_left(group)
        last = [OffsetAndMetadata(end - 1, "", -1) for end in self.dataset.ends]
        answers = self.admin.alter_group_offsets(group, dict(zip(self._partitions, last, strict=True)))
        refused = [str(error) for error in answers.values() if getattr(error, "errno", 0)]
        if refused:
            raise PeerFailed(f"its offsets could not be set back: {refused[0]}")
        process, spawned = self._start(group, _QUICK_COMMIT_SECONDS)
        try:
            seen = self._follow(process, group)
        finally:
            stop(process)
        self._wait_until_left(group)
        return seen[-1].seconds - spawned

    def _wait_until_left(self, group: str) -> None:
        def left() -> bool:
            return self.admin.describe_groups([group])[group]["group_state"] in ("Empty", "Dead")

        if not wait_until(left, within=_STALL_SECONDS, every=0.2):
            raise PeerFailed(f"did not leave its group within {_STALL_SECONDS:.0f} s after its end")


def committed(admin: KafkaAdminClient, group: str, partitions: Sequence[AdminPartition]) -> tuple[int, ...] | None:
    """Return the committed offset of each partition, 0 where there is none; None when there is none at all."""
    try:
        found = admin.list_group_offsets([group]).get(group, {})
    except KafkaError:  # the group is not there yet, or its coordinator is not
        return None
    at = tuple(max(0, found[tp].offset) if tp in found else 0 for tp in partitions)
    return at if any(at) else None


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; kill it when it does not."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def check(kept: Sequence[Kept], dataset: Dataset, *, whole_rules: bool) -> None:
    """Return when what a peer keeps of its employees is what the dataset says.

    Args:
        kept: of each employee.
        dataset: what was read.
        whole_rules: every employee is known, and all their titles are kept; else those with achievements, and five.

    Raises:
        PeerFailed: it is not.
    """
    said = (len(kept), sum(k.count for k in kept), sum(k.impact for k in kept))
    right = (dataset.employees if whole_rules else dataset.concerned, dataset.events, dataset.impact)
    if said != right:
        raise PeerFailed(f"kept (employees, achievements, impact) {said}, and right is {right}")
    wrong = sum(k.titles != (k.count if whole_rules else min(k.count, REMEMBERED)) for k in kept)
    if wrong:
        raise PeerFailed(f"{wrong} employees have not the right number of titles")


def rates(seen: Sequence[Commit], starts: Sequence[int]) -> tuple[float | None, float | None]:
    """Return events a second and events a CPU-second, from the first commit past `starts`.

    The last commit, which covers all, comes up to an interval after the last event. So events a second are counted to
    the commit before it; CPU is not used by waiting, and its count goes to the end. None where less than a quarter of
    the events lies in between: that would measure a moment.
    """
    counted = [commit for commit in seen if all(at >= start for at, start in zip(commit.offsets, starts, strict=True))]
    events = sum(seen[-1].offsets) - sum(starts)

    def rate(since: Commit, until: Commit, took: float) -> float | None:
        done = sum(until.offsets) - sum(since.offsets)
        return done / took if done >= events / 4 and took > 0 else None

    first, last = counted[0], counted[-1]
    before_last = counted[-2] if len(counted) > 1 else first
    return (
        rate(first, before_last, before_last.seconds - first.seconds),
        rate(first, last, last.cpu_seconds - first.cpu_seconds),
    )


async def _latest(bootstrap_servers: str, topic: str) -> list[tuple[bytes, bytes]]:
    """Return the newest value of each key of each partition of a changelog."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        while not consumer.partitions_for_topic(topic):
            await consumer._client.force_metadata_update()
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[tuple[int, bytes], bytes] = {}
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    if record.value is None:
                        found.pop((tp.partition, record.key), None)
                    else:
                        found[tp.partition, record.key] = record.value
    finally:
        await consumer.stop()
    return [(key, value) for (_, key), value in found.items()]


def _printed(log: Path) -> list[Kept]:

    kept = []
    for line in log.read_text().splitlines():
        if line.startswith('{"count"'):
            told = json.loads(line)
            kept.append(Kept(told["count"], told["impact"], len(told["titles"])))
    return kept


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def forget_peak(pid: int) -> None:
    """Let `peak_rss_bytes` begin anew: proc(5), `/proc/pid/clear_refs`."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_rss_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident so far, or since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise PeerFailed(f"Linux says nothing of the memory of process {pid}")
