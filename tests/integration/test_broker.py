"""The local Kafka keeps what it acknowledged, and says clearly why it can't start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaTimeoutError

from deploy.broker import PROJECT, Broker, BrokerError, ExternalBroker, answers
from deploy.spawn import LOOPBACK, command_of, free_ports, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, not started yet."""
    port, controller_port = free_ports(2)
    own = Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
    yield own
    own.stop()


@pytest.mark.fault
def test_an_acknowledged_record_is_still_there_after_kill_9_and_a_restart(broker: Broker) -> None:
    broker.start()
    create_topic(broker.bootstrap_servers, "kept")
    write(broker.bootstrap_servers, "kept", b"a promise")

    broker.kill()
    assert not answers(broker.bootstrap_servers)
    broker.start()

    assert read(broker.bootstrap_servers, "kept") == [b"a promise"]


def test_a_topic_is_not_made_by_a_slip_of_the_pen(kafka: Broker | ExternalBroker) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_block_ms=1000)
    with pytest.raises(KafkaTimeoutError):
        producer.send("no-such-topic", b"x").get(timeout=5)
    producer.close(timeout=0)

    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    assert "no-such-topic" not in admin.list_topics()
    admin.close()


def test_another_process_can_ask_for_its_status_and_stop_it(broker: Broker) -> None:
    broker.start()
    twin = Broker(broker.data_dir, port=broker.port, controller_port=broker.controller_port)

    assert twin.status().answers
    twin.start()  # it runs already
    assert twin.pid == broker.pid
    twin.stop()

    assert broker.pid is None
    assert not broker.status().running


def test_a_stale_pid_file_is_no_obstacle(broker: Broker) -> None:
    broker.data_dir.mkdir(parents=True)
    (broker.data_dir / "broker.pid").write_text(f"{os.getpid()}\n")  # a live process, but not Kafka

    assert broker.pid is None
    broker.start()

    assert broker.pid not in (None, os.getpid())


def test_a_taken_port_is_named(broker: Broker) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, broker.port))
        other.listen()
        with pytest.raises(BrokerError, match=f"port {broker.port} is taken"):
            broker.start()


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_broker_does_not_outlive_a_killed_parent(broker: Broker) -> None:
    code = (
        "import pathlib, sys, time; from deploy.broker import Broker;"
        f"b = Broker(pathlib.Path({str(broker.data_dir)!r}), port={broker.port},"
        f" controller_port={broker.controller_port}, die_with_parent=True);"
        "b.start(); print(b.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert command_of(pid) is not None
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()

    assert wait_until(lambda: command_of(pid) is None, within=15)


def create_topic(bootstrap_servers: str, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    admin.create_topics([NewTopic(name, 1, 1)])
    admin.close()


def write(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    producer.send(topic, value).get(timeout=20)
    producer.close()


def read(bootstrap_servers: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    records = consumer.poll(timeout_ms=20_000)
    consumer.close()
    return [record.value for record in records.get(partition, [])]
