"""Topics for the counting service, what it should make of them, and what it did."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, OffsetSpec
from kafka.errors import KafkaError

from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import Service
from shared.streaming.topics import PARTITIONS, dead_topic
from tests.counting_service import POISON, read_count, state_key

_FAR_BEHIND = 20_000
"""Records; some twenty seconds of a worker that takes half a millisecond for each."""


class HasAddress(Protocol):
    """A broker, or several."""

    bootstrap_servers: str


@dataclass(frozen=True, slots=True)
class CountingProcess(Service):
    """One worker of the counting service."""

    @property
    def module(self) -> str:
        """The module to run."""
        return "tests.counting_service"


@dataclass
class Counted:
    """What the log makes of itself, or what a service made of it."""

    state: dict[tuple[int, str], bytes] = field(default_factory=dict)
    """A count by partition and key."""
    said: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """The outputs by the record that caused them."""
    dead: Counter[str] = field(default_factory=Counter)

    def twice(self) -> int:
        """Return how many outputs were written again."""
        return sum(len(values) - 1 for values in self.said.values())


class Counting:
    """Two topics that are counted into a third."""

    def __init__(self, kafka: HasAddress) -> None:
        self.bootstrap_servers = kafka.bootstrap_servers
        self.group = f"counting-{uuid.uuid4().hex[:8]}"
        self.topics = (f"{self.group}.one", f"{self.group}.two")
        self.out = f"{self.group}.out"
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)) as admin:
            dead = [NewTopic(dead_topic(topic), 1, -1) for topic in self.topics]
            admin.create_topics([*(NewTopic(topic, PARTITIONS, -1) for topic in (*self.topics, self.out)), *dead])

    def workers(self, folder: Path, *names: str, standbys: int = 0, **env: Any) -> Supervisor:
        """Return processes of the service, not started; their settings by the end of their names."""
        return Supervisor(
            [CountingProcess(name, 0) for name in names],
            env={
                "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
                "DATA_DIR": str(folder / "faust"),
                "LOG_FORMAT": "json",
                "COUNTING_GROUP": self.group,
                "COUNTING_TOPICS": ",".join(self.topics),
                "COUNTING_OUT": self.out,
                "STANDBYS": str(standbys),
                **{f"COUNTING_{name.upper()}": str(value) for name, value in env.items()},
            },
            ports=dict(zip(names, free_ports(len(names)), strict=True)),
            log_dir=folder / "logs",
        )

    def feed(self, count: int, *, keys: int = 200, key_bytes: int = 0, poison: float = 0.0) -> None:
        """Write records to both topics at once, some of them poison."""
        with closing(self._producer()) as producer:
            for topic, key, value in itertools.islice(self._records(keys, poison, key_bytes), count):
                producer.send(topic, key=key, value=value)
            producer.flush(60)

    def feed_until(self, stop: threading.Event, *, a_second: float, keys: int = 200, poison: float = 0.0) -> None:
        """Write so many a second to both topics, until told to stop; fewer to workers that fall far behind.

        On a slow machine they are down for most of the time, and would have the rest to count for minutes afterwards.
        """
        begun, before = time.monotonic(), self._counted()
        with closing(self._producer()) as producer:
            for number, (topic, key, value) in enumerate(self._records(keys, poison)):
                producer.send(topic, key=key, value=value)
                if number % 50 == 0 and stop.wait(max(0.0, begun + number / a_second - time.monotonic())):
                    break
                while number % 1000 == 0 and before + number - self._counted() > _FAR_BEHIND:
                    if stop.wait(0.2):
                        break
            producer.flush(60)

    def _counted(self) -> int:
        try:
            return sum(self.committed().values())
        except KafkaError:  # the group has no coordinator: there was no group yet, or its broker is away
            return 0

    def _producer(self) -> KafkaProducer:
        return KafkaProducer(bootstrap_servers=self.bootstrap_servers.split(","), acks="all", linger_ms=20)

    def _records(self, keys: int, poison: float, key_bytes: int = 0) -> Iterator[tuple[str, bytes, bytes]]:
        rng = random.Random(7)
        while True:
            key = f"k{rng.randrange(keys)}".ljust(key_bytes, ".").encode()
            yield rng.choice(self.topics), key, POISON if rng.random() < poison else b"1"

    def send(self, value: bytes, *, key: bytes = b"k", topic: int = 0) -> None:
        """Write one record."""
        with closing(KafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all")) as producer:
            producer.send(self.topics[topic], key=key, value=value).get(20)

    def wait_until_counted(self, *, within: float = 60.0) -> None:
        """Return when the offsets of all that has been written are committed; fail when they are not in time."""
        left: dict[TopicPartition, int] = {}

        def done() -> bool:
            left.clear()
            left.update({tp: end - at for tp, at in self.committed().items() if (end := self.ends()[tp]) > at})
            return not left

        assert wait_until(done, within=within, every=0.1), f"not counted after {within:.0f} s: {left}"

    def committed(self) -> dict[TopicPartition, int]:
        """Return the group's committed offsets; 0 where there is none."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)) as admin:
            found = admin.list_group_offsets([self.group]).get(self.group, {})
        return {tp: max(0, found[tp].offset) if tp in found else 0 for tp in self.partitions()}

    def ends(self) -> dict[TopicPartition, int]:
        """Return the offset after the last record of each partition."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)) as admin:
            found = admin.list_partition_offsets(dict.fromkeys(self.partitions(), OffsetSpec.LATEST))
        return {tp: at.offset for tp, at in found.items()}

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are counted."""
        return [TopicPartition(topic, number) for topic in self.topics for number in range(PARTITIONS)]

    def expected(self) -> Counted:
        """Return what the log says: a plain fold of it."""
        fold = Counted()
        for topic in self.topics:
            for record in self.read(topic):
                source = f"{topic}/{record.partition}/{record.offset}"
                if record.value == POISON:
                    fold.dead[source] += 1
                    continue
                at = (record.partition, state_key(topic, record.key))
                count, _ = read_count(fold.state.get(at))
                fold.state[at] = b"%d@%d" % (count + 1, record.offset)
                fold.said[source].append(fold.state[at])
        return fold

    def counted(self) -> Counted:
        """Return what the service has said and what it would find in its changelog."""
        found = Counted()
        for record in self.read(f"{self.group}-counts-changelog"):
            _, slash, key = record.key.decode().partition("/")
            if slash:  # else it says how far a topic was taken in
                found.state[record.partition, key] = record.value
        for record in self.read(self.out):
            found.said[dict(record.headers)["source"].decode()].append(record.value)
        for topic in self.topics:
            for record in self.read(dead_topic(topic)):
                at = dict(record.headers)
                found.dead[f"{topic}/{at['dead-partition'].decode()}/{at['dead-offset'].decode()}"] += 1
        return found

    def read(self, topic: str) -> Iterator[Any]:
        """Yield all records of a topic, as far as its end is now."""
        with closing(KafkaConsumer(bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest")) as consumer:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(tp) < end for tp, end in ends.items()):
                for batch in consumer.poll(timeout_ms=500).values():
                    yield from batch


def assert_the_fold_of_the_log(counting: Counting) -> Counted:
    """Fail unless state and outputs are what the log says, each output once or again the same; return them."""
    expected, found = counting.expected(), counting.counted()
    lost = expected.said.keys() - found.said.keys()
    wrong = {source for source, said in found.said.items() if set(said) != set(expected.said[source])}
    assert (len(lost), len(wrong)) == (0, 0), f"lost {sorted(lost)[:5]}, not as the log says {sorted(wrong)[:5]}"
    assert found.state == expected.state
    assert found.dead.keys() == expected.dead.keys()
    return found


def metric(workers: Supervisor, name: str, line: str) -> float:
    """Return the sum of a worker's metrics that begin so."""
    text = httpx.get(workers.url(name, "/metrics"), trust_env=False).text
    return sum(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line))
