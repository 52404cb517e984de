"""Dead letters are listed with the reason of each, and put back once, byte for byte, where they came from."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from msgspec.structs import replace

from deploy import dead
from deploy.broker import PROJECT, Broker, ExternalBroker
from deploy.spawn import LOOPBACK, free_ports
from shared.streaming.records import Output, Record
from shared.streaming.service import dead_letter
from tests.intake_events import NOW

pytestmark = pytest.mark.kafka

PARTITIONS = 3


class Desk:
    """A topic of the test's own, its dead letters, and the command that an operator has for them."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = f"t-{uuid.uuid4().hex[:10]}"
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
            admin.create_topics([NewTopic(self.topic, PARTITIONS, 1), NewTopic(f"{self.topic}.dead", 1, 1)])

    def a_record(self, value: bytes | None = b"{", **changes: Any) -> Record:
        return replace(Record(self.topic, 1, 7, b"somebody", value, (), NOW), **changes)

    def bury(self, record: Record, reason: str = "title: Field required") -> None:
        self.write(dead_letter(record, reason, "achievements"))

    def write(self, *outputs: Output) -> None:
        with closing(KafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all")) as producer:
            for o in outputs:
                producer.send(o.topic, key=o.key, value=o.value, headers=list(o.headers), partition=o.partition)
            producer.flush(20)

    def put_back(self) -> list[Any]:
        """Return all that lies in the topic now, in order of arrival in each partition."""
        with closing(KafkaConsumer(bootstrap_servers=self.bootstrap_servers)) as consumer:
            partitions = [TopicPartition(self.topic, p) for p in range(PARTITIONS)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Any] = []
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                for records in consumer.poll(timeout_ms=500).values():
                    found.extend(records)
            return found

    def run(self, *arguments: str) -> int:
        return dead.main([*arguments, "--bootstrap-servers", self.bootstrap_servers])

    def listed(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert self.run("list", "--topic", self.topic, "--json") == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def desk(kafka: Broker | ExternalBroker) -> Desk:
    return Desk(kafka.bootstrap_servers)


def values(records: Sequence[Any]) -> list[bytes | None]:
    return [record.value for record in records]


# -- replay ---------------------------------------------------------------------------------------


def test_a_letter_is_put_back_byte_for_byte_in_the_partition_it_came_from(desk: Desk) -> None:
    headers = (("trace", b"\x00\xff"), ("trace", b"again"), ("ce_id", b""))
    for partition in range(PARTITIONS):
        desk.bury(desk.a_record(b"\x00\xff not text %d" % partition, key=b"\xfe", headers=headers, partition=partition))

    assert desk.run("replay", f"{desk.topic}.dead") == 0

    records = desk.put_back()
    assert {record.partition: record.value for record in records} == {
        partition: b"\x00\xff not text %d" % partition for partition in range(PARTITIONS)
    }
    assert {(record.key, tuple(record.headers)) for record in records} == {(b"\xfe", headers)}


@pytest.mark.parametrize(("key", "value"), [(None, b"{"), (b"somebody", None), (b"", b"")])
def test_a_record_without_a_key_or_a_value_is_put_back_without(
    desk: Desk, key: bytes | None, value: bytes | None
) -> None:
    desk.bury(desk.a_record(value, key=key, partition=2))
    assert desk.run("replay", desk.topic) == 0
    (record,) = desk.put_back()
    assert (record.key, record.value, record.partition, list(record.headers)) == (key, value, 2, [])


async def test_a_record_with_neither_key_nor_value_holds_nothing_to_put_back_and_stops_no_other(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = dead_letter(desk.a_record(None, key=None), "the record has no value", "achievements")
    async with AIOKafkaProducer(bootstrap_servers=desk.bootstrap_servers) as producer:
        batch = producer.create_batch()  # the one way for a Python client to write such a record
        batch.append(key=None, value=None, timestamp=None, headers=list(nothing.headers))
        await (await producer.send_batch(batch, nothing.topic, partition=0))
    desk.bury(desk.a_record(b"something"))
    assert desk.run("replay", desk.topic) == 0
    assert values(desk.put_back()) == [b"something"]
    assert "1 with neither key nor value" in capsys.readouterr().err


def test_a_header_of_the_records_own_stays_though_it_is_named_like_ours(desk: Desk) -> None:
    desk.bury(desk.a_record(headers=(("dead-reason", b"its own"),)))
    desk.run("replay", desk.topic)
    assert [tuple(record.headers) for record in desk.put_back()] == [(("dead-reason", b"its own"),)]


def test_a_second_replay_sends_only_what_died_since(desk: Desk) -> None:
    desk.bury(desk.a_record(b"first"))
    assert desk.run("replay", desk.topic) == 0
    assert desk.run("replay", desk.topic) == 0
    assert values(desk.put_back()) == [b"first"]
    desk.bury(desk.a_record(b"second"))
    assert desk.run("replay", desk.topic) == 0
    assert values(desk.put_back()) == [b"first", b"second"]


def test_only_letters_with_the_reason_are_sent_and_the_others_are_not_forgotten(desk: Desk) -> None:
    for n in range(6):
        desk.bury(desk.a_record(b"%d" % n), "title: too long" if n % 2 else "employee: names nobody")
    assert desk.run("replay", desk.topic, "--only-reason", "title") == 0
    assert values(desk.put_back()) == [b"1", b"3", b"5"]
    assert desk.run("replay", desk.topic, "--only-reason", "title") == 0
    assert values(desk.put_back()) == [b"1", b"3", b"5"]
    assert desk.run("replay", desk.topic) == 0
    assert values(desk.put_back()) == [b"1", b"3", b"5", b"0", b"2", b"4"]
    assert desk.run("replay", desk.topic) == 0
    assert len(desk.put_back()) == 6


def test_once_all_are_replayed_the_group_has_no_lag(desk: Desk) -> None:
    for n in range(3):
        desk.bury(desk.a_record(b"%d" % n))
    assert desk.run("replay", desk.topic) == 0
    with closing(KafkaConsumer(bootstrap_servers=desk.bootstrap_servers, group_id=dead.GROUP)) as consumer:
        assert consumer.committed(TopicPartition(f"{desk.topic}.dead", 0)) == 3


def test_a_letter_that_comes_during_a_replay_is_left_for_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_before = KafkaConsumer.end_offsets

    def then_another_dies(consumer: KafkaConsumer, partitions: Any) -> Any:
        ends = ends_before(consumer, partitions)
        desk.bury(desk.a_record(b"late"))
        return ends

    desk.bury(desk.a_record(b"early"))
    with dead.DeadLetters(desk.bootstrap_servers) as letters, monkeypatch.context() as patched:
        patched.setattr(KafkaConsumer, "end_offsets", then_another_dies)
        assert [letter.value for letter in letters.read([f"{desk.topic}.dead"])] == [b"early"]


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.bury(desk.a_record(), "title: Field required")
    assert desk.run("replay", desk.topic, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert f"{desk.topic} 1: title: Field required" in printed
    assert "1 would be put back" in printed
    assert desk.put_back() == []
    assert desk.run("replay", desk.topic) == 0
    assert len(desk.put_back()) == 1


def test_more_letters_than_a_batch_are_all_put_back_in_order(desk: Desk) -> None:
    count = 2 * dead.BATCH + 1
    desk.write(*(dead_letter(desk.a_record(b"%d" % n), "why", "achievements") for n in range(count)))
    assert desk.run("replay", desk.topic) == 0
    assert values(desk.put_back()) == [b"%d" % n for n in range(count)]
    assert desk.run("replay", desk.topic) == 0
    assert len(desk.put_back()) == count


def test_a_letter_that_does_not_say_where_it_came_from_is_left_and_told_of(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.write(Output(f"{desk.topic}.dead", b"k", b"lost"))
    desk.bury(desk.a_record(b"found"))
    assert desk.run("replay", desk.topic) == 1
    assert values(desk.put_back()) == [b"found"]
    assert "1 without a dead-topic header" in capsys.readouterr().err


def test_a_partition_that_is_gone_leaves_the_place_to_the_key(desk: Desk) -> None:
    desk.bury(desk.a_record(partition=PARTITIONS + 5))
    assert desk.run("replay", desk.topic) == 0
    assert len(desk.put_back()) == 1


# -- list -----------------------------------------------------------------------------------------


def test_a_letter_is_listed_with_its_reason_and_where_it_came_from(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.bury(desk.a_record(b"{\xff", key=b"E1"), "title: Field required")
    (letter,) = desk.listed(capsys)
    assert letter.pop("buried_at")
    assert letter == {
        "dead_topic": f"{desk.topic}.dead",
        "dead_partition": 0,
        "dead_offset": 0,
        "topic": desk.topic,
        "partition": 1,
        "offset": 7,
        "service": "achievements",
        "reason": "title: Field required",
        "key": "E1",
        "value_bytes": 2,
        "replayed": False,
    }


def test_the_list_tells_which_were_replayed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.bury(desk.a_record(), "one")
    desk.bury(desk.a_record(), "two")
    desk.run("replay", desk.topic, "--only-reason", "two")
    assert [(letter["reason"], letter["replayed"]) for letter in desk.listed(capsys)] == [("one", False), ("two", True)]


def test_the_list_for_people_holds_the_whole_reason_and_nothing_that_commands_a_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.bury(desk.a_record(), "type: '\x1b[2J[red]x' " + "is none that is understood " * 10 + "THE END")
    assert desk.run("list", "--topic", desk.topic) == 0
    printed = capsys.readouterr().out
    assert "THE END" in " ".join(printed.split())
    assert "[red]x" in printed
    assert "\x1b[2J" not in printed
    assert "1 dead letter\n" in printed


def test_without_a_topic_the_letters_of_all_are_listed(
    desk: Desk, kafka: Broker | ExternalBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Desk(kafka.bootstrap_servers)
    for each in (desk, other):
        each.bury(each.a_record())
    capsys.readouterr()
    assert desk.run("list", "--json") == 0
    topics = {json.loads(line)["topic"] for line in capsys.readouterr().out.splitlines()}
    assert {desk.topic, other.topic} <= topics


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("list", "--topic", "no-such-topic"), ("replay", "no-such-topic")])
def test_a_topic_that_does_not_exist_is_named(
    desk: Desk, command: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run(*command) == 1
    assert "there is no topic no-such-topic.dead; there are " in capsys.readouterr().err


def test_kafka_away_is_said_in_a_line() -> None:
    ended = run_process("list", "--bootstrap-servers", f"{LOOPBACK}:{free_ports(1)[0]}")
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("dead: ")]
    assert "Traceback" not in ended.stderr
    assert "Kafka" in line


@pytest.mark.parametrize("arguments", [(), ("replay",), ("bury", "x")])
def test_wrong_use_is_told_from_failure(arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dead.main(arguments)
    assert ended.value.code == 2


def test_the_help_names_both_commands() -> None:
    ended = run_process("--help")
    assert ended.returncode == 0
    assert "list" in ended.stdout
    assert "replay" in ended.stdout


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.dead", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )


# -- what is remembered ---------------------------------------------------------------------------


def test_what_was_replayed_survives_being_committed() -> None:
    memory = dead.Replayed(100)
    for offset in (100, 101, 105, 4000):
        memory.add(offset)
    memory.settle()
    again = dead.Replayed.of(memory.as_offset())
    assert again.first == 102
    assert [offset for offset in (99, 101, 102, 105, 106, 4000, 4001) if offset in again] == [99, 101, 105, 4000]


def test_letters_that_retention_took_are_forgotten() -> None:
    memory = dead.Replayed()
    memory.add(12)
    memory.skip_to(10)
    assert [offset for offset in range(9, 14) if offset in memory] == [9, 12]
    memory.add(10)
    memory.add(11)
    memory.settle()
    assert (memory.first, memory.others) == (13, 0)


def test_a_memory_that_no_broker_would_keep_is_refused_before_anything_is_sent() -> None:
    memory = dead.Replayed()
    for offset in range(0, 60_000):
        if hash(str(uuid.uuid5(uuid.NAMESPACE_URL, str(offset)))) % 2:
            memory.add(offset)
    with pytest.raises(dead.DeadLetterError, match="replay the rest first"):
        memory.as_offset()
