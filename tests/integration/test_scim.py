"""Two SCIM providers at once on real Kafka: what one identity system is told by the one holds for the other."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy.broker import Broker, ExternalBroker
from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import service
from shared.streaming.topics import SOURCES_RECEIVED, create_topics
from tests.integration.reading import WITHIN, records_of
from tests.scim import TOKEN, a_user

pytestmark = pytest.mark.kafka

RACES: Final = 12


@pytest.fixture
def two(kafka: Broker | ExternalBroker, tmp_path: Path) -> Iterator[tuple[Supervisor, Supervisor]]:
    create_topics(kafka.bootstrap_servers)
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SCIM_TOKENS": f"entra={TOKEN}", "LOG_FORMAT": "json"}
    first, second = (
        Supervisor([service("scim")], env=env, ports={"scim": port}, log_dir=tmp_path / str(port))
        for port in free_ports(2)
    )
    with first, second:
        yield first, second


def ask(of: Supervisor, method: str, path: str, body: Any = None) -> httpx.Response:
    url = of.url("scim", f"/scim/v2{path}")
    return httpx.request(
        method, url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
    )


def users_named(of: Supervisor, body: dict[str, Any]) -> list[str]:
    found = ask(of, "GET", f'/Users?filter=userName eq "{body["userName"]}"').json()["Resources"]
    return [one["id"] for one in found]


def test_two_processes_that_are_asked_for_one_name_at_once_give_it_once_and_tell_one(
    kafka: Broker | ExternalBroker, two: tuple[Supervisor, Supervisor]
) -> None:
    names = [f"race-{uuid.uuid4().hex[:10]}" for _ in range(RACES)]
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(2) as callers:
        for name in names:
            bodies = [a_user(f"{name}-{n}", name) for n in range(2)]
            answers = list(callers.map(ask, two, ["POST"] * 2, ["/Users"] * 2, bodies))
            given = [answer.status_code for answer in answers]
            statuses.update(given)
            assert sorted(given) in ([201, 409], [201, 503])
            winner = answers[given.index(201)].json()["id"]
            for one in two:  # who did not write it may read it a moment later
                assert wait_until(lambda one=one, body=bodies[0]: users_named(one, body) != [], within=WITHIN)
                assert users_named(one, bodies[0]) == [winner]
    assert statuses[201] == RACES

    def told(records: list[Any]) -> list[str]:
        """Return the names of this test whose users are told of, once for each time."""
        said = [record.key.decode().removeprefix("hris:").rpartition("-")[0] for record in records if record.key]
        return sorted(name for name in said if name in names)

    received = records_of(kafka.bootstrap_servers, SOURCES_RECEIVED, lambda found: len(told(found)) >= RACES, "users")
    assert told(received) == sorted(names)
