"""The correlator as a process, on a real Kafka: what it says is what the rules say, also when it is killed in between.

Each test has a broker of its own: the clock of a partition is everybody's, and other tests move it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.broker import Broker
from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import service
from services.correlator.state import encode_employee
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, write_contract
from shared.contracts.said import write as write_said
from shared.streaming.topics import CAREER_EVENTS, GAPS, PARTITIONS, PROMPTS, create_topics, dead_topic
from tests.career import (
    CLOSES,
    IN_CYCLE,
    OPENS,
    Log,
    a_cancellation,
    a_correction,
    a_cycle,
    a_refusal,
    a_relationship,
    a_relationship_ended,
    a_retraction,
    a_snooze,
    a_tick,
    a_tied_person,
    an_achievement,
    an_amendment,
    an_employee_joined,
    an_employee_left,
    an_employee_promoted,
    an_endorsement,
    an_introduction,
    days_after,
)

pytestmark = pytest.mark.kafka

WITHIN = 90.0
Sent = list[tuple[int, CareerEvent]]
"""Events with the partition that they go to."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    port, controller_port = free_ports(2)
    with Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True) as running:
        create_topics(running.bootstrap_servers)
        yield running


def a_correlator(broker: Broker, folder: Path) -> Supervisor:
    return Supervisor(
        [service("correlator")],
        env={
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DATA_DIR": str(folder / "faust"),
            "LOG_FORMAT": "json",
        },
        ports={"correlator": free_ports(1)[0]},
        log_dir=folder / "logs",
    )


# -- what is sent ---------------------------------------------------------------------------------


def to_everybody(*events: CareerEvent) -> Sent:
    return [(partition, event) for event in events for partition in range(PARTITIONS)]


def to_their_log(*events: CareerEvent) -> Sent:
    return [(crc32(str(event.employee_id).encode()) % PARTITIONS, event) for event in events]


def a_spring(rng: Random, employees: int) -> Sent:
    """A spring of a company: some 15 events an employee, two cycles, a tick each day, the employees' events between."""
    days: dict[int, list[CareerEvent]] = defaultdict(list)
    for n in range(employees):
        for day, event in _of_an_employee(rng, f"E{n:04d}", rng.randrange(40)):
            days[day].append(event)
    sent: Sent = to_everybody(a_tick(utc(2026, 2, 15)))
    for day in range(60):
        sent += to_their_log(*days[day])
        if day == 10:
            sent += to_everybody(a_cycle(), a_cycle(cycle_id="role", kind="role", opens_at=utc(2026, 3, 8), levels=()))
        if day == 30:
            sent += to_everybody(an_amendment(title="Spring, amended", closes_at=days_after(CLOSES, 5)))
        if day == 45:
            sent += to_everybody(a_cancellation(cycle_id="role"))
        sent += to_everybody(a_tick(days_after(utc(2026, 2, 15), day)))
    return sent


def _of_an_employee(rng: Random, who: str, day: int) -> Iterator[tuple[int, CareerEvent]]:
    """Yield each event of theirs with the day on which it becomes known."""
    sponsor = f"S{rng.randrange(40)}"
    common: dict[str, Any] = {"employee_id": who}
    yield 0, an_employee_joined(**common, name=f"Name {who}", level=rng.choice((4, 5, 5, 6)))
    if rng.random() < 0.7:
        yield day, a_relationship(**common, relationship_id=f"sponsor-{who}", other_id=sponsor)
        yield day, a_tied_person(sponsor, **common, timezone=rng.choice(("UTC", "Asia/Tokyo")))
    yield 1, a_relationship(**common, relationship_id=f"mentor-{who}", kind="mentor", other_id="T1")
    yield 1, a_tied_person("T1", **common, introductions=(an_introduction("X1"),))
    for n in range(6):
        yield (
            rng.randrange(50),
            an_achievement(
                f"{who}-A{n}",
                **common,
                impact=rng.randrange(4),
                competencies=rng.sample(("delivery", "leadership", "juggling"), 2),
                occurred_on=date(2025, 4, 1) + timedelta(days=rng.randrange(330)),
                witnesses=(f"hris:{sponsor}",),
            ),
        )
    yield rng.randrange(50), a_correction(f"{who}-A0", **common, title="Corrected", impact=3)
    yield rng.randrange(50), a_retraction(f"{who}-A1", **common)
    answer = common | {"sponsor_id": sponsor}
    anything: list[Callable[[], CareerEvent]] = [
        lambda: an_endorsement(f"{who}-N1", **answer, given_at=utc(2026, 3, 1 + rng.randrange(20))),
        lambda: a_refusal(**answer),
        lambda: a_snooze(**answer, until=utc(2026, 3, 10 + rng.randrange(10))),
        lambda: a_relationship_ended(
            **common, relationship_id=f"sponsor-{who}", other_id=sponsor, ended_at=utc(2026, 3, 1 + rng.randrange(28))
        ),
        lambda: a_tied_person(sponsor, **common, left_at=utc(2026, 3, 20)),
        lambda: an_employee_promoted(**common, name=f"Name {who}", level=5),
        lambda: an_employee_left(**common, name=f"Name {who}", effective_at=utc(2026, 3, 25)),
    ]
    for event in rng.sample(anything, 2):
        yield rng.randrange(50), event()


def write(broker: Broker, sent: Sent) -> None:
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", linger_ms=5)) as producer:
        for partition, event in sent:
            key = event.employee_id.encode() if event.employee_id is not None else None
            producer.send(CAREER_EVENTS, key=key, value=write_contract(event), partition=partition)
        producer.flush(30)


# -- what is said ---------------------------------------------------------------------------------


def folded(sent: Sent) -> list[Log]:
    """Return what the rules make of it, partition by partition, in this process."""
    logs = [Log(through_bytes=False) for _ in range(PARTITIONS)]
    for partition, event in sent:
        logs[partition].feed(event)
    return logs


def expected(sent: Sent) -> dict[str, bytes]:
    """Return what has to be said, by id."""
    return {output.id: write_said(output) for log in folded(sent) for output in log.outputs}


def read(broker: Broker, *topics: str) -> list[Any]:
    """Return all that is in the topics now, in the order of each partition."""
    with closing(KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(t, n) for t in topics for n in sorted(consumer.partitions_for_topic(t) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=500).values():
                found.extend(batch)
        return found


@contextmanager
def outputs_counted(broker: Broker) -> Iterator[Callable[[], int]]:
    """Give a function that says quickly how much has been said, repetitions included."""
    with closing(KafkaConsumer(bootstrap_servers=broker.bootstrap_servers)) as consumer:
        partitions = [TopicPartition(topic, n) for topic in (PROMPTS, GAPS) for n in range(PARTITIONS)]
        yield lambda: sum(consumer.end_offsets(partitions).values())


def said_by_id(broker: Broker) -> dict[str, list[bytes]]:
    """Return all that was said, by id, with repetitions."""
    said: dict[str, list[bytes]] = defaultdict(list)
    for record in read(broker, PROMPTS, GAPS):
        said[_id_of(record.value)].append(record.value)
    return said


def _id_of(value: bytes) -> str:
    return value.partition(b'"id":"')[2].partition(b'"')[0].decode()


def all_said(broker: Broker, ids: Sequence[str]) -> bool:
    return set(ids) <= said_by_id(broker).keys()


def assert_versions_in_order(broker: Broker, of_prompts: Sequence[bytes]) -> None:
    """Each prompt's and gap's versions come one by one, but for repetitions."""
    first_seen = list(dict.fromkeys(record.value for record in read(broker, PROMPTS, GAPS)))
    assert sorted(first_seen) == sorted(of_prompts)
    last: dict[bytes, int] = defaultdict(int)
    for value in first_seen:
        thing = value.partition(b'_id":"')[2].partition(b'"')[0]
        version = int(value.partition(b'"version":')[2].partition(b",")[0])
        assert version == last[thing] + 1
        last[thing] = version


# -- tests ----------------------------------------------------------------------------------------


def test_prompts_and_gaps_are_those_of_the_rules_also_after_a_stop_and_a_start(broker: Broker, tmp_path: Path) -> None:
    sent = a_spring(Random(1), employees=60)
    half = len(sent) // 2
    with a_correlator(broker, tmp_path) as correlator:
        write(broker, sent[:half])
        first = expected(sent[:half])
        assert wait_until(lambda: all_said(broker, list(first)), within=WITHIN, every=0.5)
        assert correlator.terminate("correlator") == 0
        write(broker, sent[half:])
        correlator.restart("correlator")
        wanted = expected(sent)
        assert wait_until(lambda: all_said(broker, list(wanted)), within=WITHIN, every=0.5)
        assert correlator.terminate("correlator") == 0
    assert {"prompt.opened", "prompt.updated", "prompt.withdrawn", "prompt.fulfilled"} <= types_of(wanted)
    assert {"gap.opened", "gap.closed"} <= types_of(wanted)
    assert said_by_id(broker) == {output_id: [value] for output_id, value in wanted.items()}
    assert read(broker, dead_topic(CAREER_EVENTS)) == []


def types_of(wanted: dict[str, bytes]) -> set[str]:
    return {value.partition(b'"type":"')[2].partition(b'"')[0].decode() for value in wanted.values()}


def test_a_prompt_goes_to_its_sponsors_partition_and_a_gap_to_its_employees(broker: Broker, tmp_path: Path) -> None:
    sent = to_everybody(a_tick(OPENS), a_cycle())
    sent += to_their_log(an_employee_joined(), a_relationship(), a_tied_person(), an_employee_joined(employee_id="E2"))
    with a_correlator(broker, tmp_path):
        write(broker, sent)
        assert wait_until(lambda: all_said(broker, list(expected(sent))), within=WITHIN, every=0.5)
    records = read(broker, PROMPTS, GAPS)
    assert {(record.topic, record.key) for record in records} == {(PROMPTS, b"S1"), (GAPS, b"E1"), (GAPS, b"E2")}


def test_killed_three_times_it_loses_no_version_and_repeats_only_the_same_bytes(broker: Broker, tmp_path: Path) -> None:
    sent = a_spring(Random(2), employees=200)
    assert len(sent) > 3000
    wanted = expected(sent)
    with a_correlator(broker, tmp_path) as correlator, outputs_counted(broker) as count:
        write(broker, sent)
        for share in (0.01, 0.3, 0.7):  # in the midst of what a run says: between outputs and changelog
            assert wait_until(lambda: count() >= share * len(wanted), within=WITHIN, every=0.001)  # noqa: B023
            correlator.kill("correlator")
            correlator.restart("correlator")
        assert wait_until(lambda: all_said(broker, list(wanted)), within=WITHIN, every=0.5)
        assert correlator.terminate("correlator") == 0
    for output_id, values in said_by_id(broker).items():
        assert set(values) == {wanted[output_id]}
    assert_versions_in_order(broker, list(wanted.values()))


def test_an_employee_with_more_to_say_than_a_record_holds_unasked_is_kept_over_a_kill(
    broker: Broker, tmp_path: Path
) -> None:
    long = "学" * 2000
    full = [an_achievement(f"A{n:03d}", title=long[:200], outcome=long) for n in range(200)]
    full += [an_endorsement(f"N{n:03d}", sponsor_id="S9", cycle_id=None, statement=long) for n in range(100)]
    sent = to_everybody(a_tick(OPENS), a_cycle())
    sent += to_their_log(an_employee_joined(), a_relationship(), a_tied_person(), *full)
    assert (
        max(len(encode_employee(employee)) for log in folded(sent) for employee in log.employees.values()) > 1_900_000
    )
    with a_correlator(broker, tmp_path) as correlator:
        write(broker, sent)
        assert wait_until(lambda: all_said(broker, list(expected(sent))), within=WITHIN, every=0.5)
        correlator.kill("correlator")
        correlator.restart("correlator")
        sent += to_their_log(an_achievement("A-best", impact=3), a_refusal())
        write(broker, sent[-2:])
        assert wait_until(lambda: all_said(broker, list(expected(sent))), within=WITHIN, every=0.5)


def test_a_poison_record_is_buried_byte_for_byte_and_the_log_goes_on(broker: Broker, tmp_path: Path) -> None:
    poison = b'{"type": "employee.joined", "id": "x"}'
    with a_correlator(broker, tmp_path):
        write(broker, to_everybody(a_tick(IN_CYCLE), a_cycle()))
        with closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")) as producer:
            for partition in range(PARTITIONS):
                producer.send(CAREER_EVENTS, key=b"E1", value=poison, partition=partition)
            producer.flush(10)
        sent = to_their_log(an_employee_joined())
        write(broker, sent)
        wanted = expected([*to_everybody(a_tick(IN_CYCLE), a_cycle()), *sent])
        assert wait_until(lambda: len(said_by_id(broker)) == len(wanted) == 1, within=WITHIN, every=0.5)
        assert wait_until(lambda: len(read(broker, dead_topic(CAREER_EVENTS))) == PARTITIONS, within=WITHIN, every=0.5)
    for record in read(broker, dead_topic(CAREER_EVENTS)):
        assert (record.key, record.value) == (b"E1", poison)
        assert b"effective_at" in dict(record.headers)["dead-reason"]
