"""What is told another number of partitions than the topics have says so, and reads and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.broker import PROJECT, Broker, ExternalBroker
from deploy.spawn import LOOPBACK, free_ports, wait_until
from shared.streaming.reading import NotRead, partitions_by_topic, read_to_the_end
from shared.streaming.topics import PARTITIONS, OtherPartitions, TopicSpec, create_topics
from tests.scim import TOKEN

pytestmark = pytest.mark.kafka

WITHIN = 60
OTHER = str(PARTITIONS + 1)
SAID = f"has {PARTITIONS} partitions, and should have {OTHER} as TOPIC_PARTITIONS says"


def test_a_topic_that_is_there_with_other_partitions_is_refused(kafka: Broker | ExternalBroker) -> None:
    name = f"other-{os.getpid()}"
    create_topics(kafka.bootstrap_servers, [TopicSpec(name, partitions=PARTITIONS + 1)])
    with pytest.raises(OtherPartitions, match=f"{name} has {PARTITIONS + 1} partitions, and should have {PARTITIONS} "):
        create_topics(kafka.bootstrap_servers, [TopicSpec(name)])


def test_a_topic_of_others_is_read_whole_however_many_partitions_it_has(kafka: Broker | ExternalBroker) -> None:
    name = f"others-{os.getpid()}"
    create_topics(kafka.bootstrap_servers, [TopicSpec(name, partitions=PARTITIONS + 2)])
    there = partitions_by_topic(kafka.bootstrap_servers)[name]
    assert list(read_to_the_end(kafka.bootstrap_servers, name, there)) == []
    with pytest.raises(NotRead, match="TOPIC_PARTITIONS"):
        list(read_to_the_end(kafka.bootstrap_servers, name))


def test_services_and_commands_with_another_setting_end_and_say_why(
    kafka: Broker | ExternalBroker, tmp_path: Path
) -> None:
    running = {
        of: started(kafka, tmp_path, *of.split())
        for of in (
            *("services.correlator", "services.scim"),  # a stream service, and one that follows a topic
            *("services.insights.rebuild", "deploy.topics", "deploy.lag", "deploy.tracker explain --employee E1"),
        )
    }
    try:
        ended = {of: process.communicate(timeout=WITHIN)[0] for of, process in running.items()}
    finally:
        for process in running.values():  # what goes on though it should not must not outlive the test
            process.kill()
    for of, process in running.items():
        assert process.returncode == 1, ended[of]
        assert SAID in ended[of], ended[of]


def test_the_portal_is_not_ready_and_says_why(kafka: Broker | ExternalBroker, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    portal = started(kafka, tmp_path, "services.portal", HTTP_PORT=str(port))
    try:
        assert wait_until(lambda: SAID in readiness(port), within=WITHIN)
    finally:
        portal.terminate()
        portal.communicate(timeout=WITHIN)


def readiness(port: int) -> str:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/readyz", trust_env=False).text
    except httpx.TransportError:
        return ""


def started(
    kafka: Broker | ExternalBroker, folder: Path, module: str, *arguments: str, **settings: str
) -> subprocess.Popen[str]:
    create_topics(kafka.bootstrap_servers)
    env = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PARTITIONS": OTHER,
        "DATA_DIR": str(folder / "faust"),
        "INSIGHTS_DATABASE_URL": f"sqlite:///{folder}/insights.db",
        "PORTAL_DATABASE": str(folder / "portal.db"),
        "PORTAL_URL": "https://sponsorship.example",
        "PORTAL_KEYS": "a-key-for-links-of-32-characters!",
        "SCIM_TOKENS": f"entra={TOKEN}",
        "LOG_FORMAT": "json",
        "HTTP_PORT": "0",
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=env,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
