"""What the tests share: one real Kafka for those that ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Not the default, so that what has the default written into it fails. A cluster of others' may have topics already.
if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
    os.environ.setdefault("TOPIC_PARTITIONS", "3")

from deploy import spawn
from deploy.broker import Broker, ExternalBroker, choose_broker
from deploy.spawn import free_ports


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | ExternalBroker]:
    """A real broker for the whole session: KAFKA_BOOTSTRAP_SERVERS's, or one of our own on free ports.

    Tests share it, so each makes topics and groups of its own. A test that kills a broker starts its own.
    """
    port, controller_port = free_ports(2)
    with choose_broker(
        tmp_path_factory.mktemp("kafka"), port=port, controller_port=controller_port, die_with_parent=True
    ) as broker:
        yield broker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="fault tests at full size: twenty kills and more each")


# How long an example takes is the machine's business; what must not hang has the timeout of its test.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")


def pytest_configure() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:  # a part of the ports for each, or two could choose the same before either listens
        share = len(spawn.PORTS) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        begin = spawn.PORTS.start + share * int(worker.removeprefix("gw"))
        spawn.PORTS = range(begin, begin + share)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
    # What waits for processes comes first and what only computes fills up the end: else a process of xdist has nothing
    # left to do for minutes while another is in the longest of all. (There are three of them for two cores, as the
    # former wait for two fifths of their time.)
    with_kafka = {item.path for item in items if item.get_closest_marker("kafka") is not None}
    items.sort(key=lambda item: item.path not in with_kafka)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, line in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(line)
