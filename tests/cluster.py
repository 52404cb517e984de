"""Three brokers on the loopback address, for what one broker can't show: leaders that go away and come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.broker import LOOPBACK, Broker
from deploy.spawn import free_ports, wait_until

_ID = "c3BvbnNvcnNoaXAtdGVzdA"
"""Of the cluster; a UUID in base64, which its brokers have to agree on."""


class Member(Broker):
    """One of the brokers; each is a controller too, so any one may be away."""

    def __init__(self, folder: Path, node: int, ports: Sequence[tuple[int, int]]) -> None:
        port, controller_port = ports[node - 1]
        super().__init__(folder / str(node), port=port, controller_port=controller_port, die_with_parent=True)
        self._node = node
        self._voters = ",".join(f"{n}@{LOOPBACK}:{controller}" for n, (_, controller) in enumerate(ports, start=1))

    def _settings(self) -> dict[str, str | int]:
        return {
            **super()._settings(),
            "node.id": self._node,
            "controller.quorum.voters": self._voters,
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
        }

    def _cluster_id(self) -> str:
        return _ID


class Cluster:
    """The brokers, running."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.bootstrap_servers = ",".join(member.bootstrap_servers for member in members)


def brokers_of(bootstrap_servers: str) -> int:
    """Return how many brokers are in the cluster now; 0 while it does not answer."""
    try:
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers.split(","))) as admin:
            return len(admin.describe_cluster()["brokers"])
    except KafkaError:
        return 0


@contextmanager
def a_cluster(folder: Path, brokers: int = 3) -> Iterator[Cluster]:
    """Start brokers, all at once, for none answers before most are there."""
    found = free_ports(2 * brokers)
    ports = list(zip(found[:brokers], found[brokers:], strict=True))
    members = [Member(folder, node, ports) for node in range(1, brokers + 1)]
    # The threads stay: a broker dies with the thread that has started it (PR_SET_PDEATHSIG).
    with ThreadPoolExecutor(brokers) as pool:
        try:
            list(pool.map(Member.start, members))
            cluster = Cluster(members)
            assert wait_until(lambda: brokers_of(cluster.bootstrap_servers) == brokers, within=60), "not all joined"
            yield cluster
        finally:
            for member in members:
                member.kill()
