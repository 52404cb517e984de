"""A burst of webhooks, more than the gateway lets in at a time: none is lost, and memory stays bounded.

Small in `make test`, 50,000 in `make test-faults`; prints its figures at the end of the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from bench.http_load import Connection, Unanswered, post
from bench.lab import peak_rss_bytes
from deploy.processes import Supervisor
from deploy.spawn import free_ports
from deploy.stack import service
from shared.streaming.reading import read_to_the_end
from shared.streaming.topics import SOURCES_RECEIVED, create_topics, feed_topic

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

HRIS: Final = "urn:acme:hris"
TOKEN: Final = "0123456789abcdef"
SECRET: Final = "a-secret-of-bamboohr"
CALLERS: Final = 150
LET_IN: Final = 50
PADDING: Final = "x" * 4000
"""So that whatever kept the webhooks of a long burst would be seen: 50,000 are 200 MB."""
MOST_GROWTH: Final = 48 << 20
"""Bytes that the gateway may take more than it did when it was ready: buffers of connections and of the producer."""


@dataclass
class Burst:
    """Webhooks that are still to be sent, by number, and what became of those that were."""

    port: int
    waiting: list[int]
    answered: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    mostly_answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self) -> None:
        """Send, as a vendor does, one after the other over one connection; what is refused is sent again later."""
        with Connection(self.port) as connection:
            while self.waiting:
                number = self.waiting.pop()
                while not await self._taken(connection, number):
                    pass
                self.answered.append(number)
                if len(self.answered) > 2 * len(self.waiting):
                    self.mostly_answered.set()

    async def _taken(self, connection: Connection, number: int) -> bool:
        try:
            answer = await connection.ask(a_delivery(number) if number % 2 else an_event(number))
        except Unanswered:
            self.unanswered += 1
            await asyncio.sleep(0.1)
            return False
        if answer.status in (200, 202):
            return True
        assert answer.status in (429, 503), answer
        self.refused[json.loads(answer.body)["type"].rpartition(":")[2]] += 1
        # A tenth of what is asked for: who comes too early is refused again.
        await asyncio.sleep(int(answer.headers["retry-after"]) / 10)
        return False


def a_delivery(number: int) -> bytes:
    """Return a webhook as BambooHR signs it."""
    body = json.dumps({"employees": [{"id": f"B{number}", "note": PADDING}]}).encode()
    timestamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()
    headers = {"X-BambooHR-Timestamp": timestamp, "X-BambooHR-Signature": signature}
    return post("/v1/sources/bamboohr", {"Content-Type": "application/json", **headers}, body)


def an_event(number: int) -> bytes:
    attributes = {"specversion": "1.0", "source": HRIS, "type": "employee.left", "subject": f"hris:B{number}"}
    body = json.dumps({**attributes, "id": f"B{number}", "data": {"note": PADDING}}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"}
    return post("/v1/feeds/people", headers, body)


def written(bootstrap_servers: str) -> Counter[int]:
    """Return how often each webhook lies in Kafka."""
    found: Counter[int] = Counter()
    for topic in (SOURCES_RECEIVED, feed_topic("people")):
        for record in read_to_the_end(bootstrap_servers, topic):
            sent = json.loads(record.value or b"{}")
            if PADDING in str(sent):  # ours, and not another test's
                found[int((sent["employees"][0] if "employees" in sent else sent)["id"].removeprefix("B"))] += 1
    return found


async def test_a_burst_past_the_limit_loses_nothing_though_the_gateway_is_killed_in_its_midst(
    kafka: Any, tmp_path: Path, full: bool, request: pytest.FixtureRequest
) -> None:
    count = 50_000 if full else 2_000
    create_topics(kafka.bootstrap_servers)
    [port] = free_ports(1)
    gateway = Supervisor(
        [service("gateway")],
        env={"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "LOG_FORMAT": "json"},
        service_env={
            "gateway": {
                "GATEWAY_TOKENS": f"{HRIS}={TOKEN}",
                "GATEWAY_SOURCE_SECRETS": f"bamboohr={SECRET}",
                "GATEWAY_MAX_REQUESTS": str(LET_IN),
            }
        },
        ports={"gateway": port},
        log_dir=tmp_path,
    )
    with gateway:
        before = peak_rss_bytes(gateway.pid("gateway"))
        burst = Burst(port, list(range(count)))
        begun = time.monotonic()
        callers = [asyncio.create_task(burst.call()) for _ in range(CALLERS)]
        await burst.mostly_answered.wait()
        grown = peak_rss_bytes(gateway.pid("gateway")) - before
        gateway.kill("gateway")
        gateway.restart("gateway")
        await asyncio.gather(*callers)
        took = time.monotonic() - begun
        found = await asyncio.to_thread(written, kafka.bootstrap_servers)
    lost = set(range(count)) - set(found)
    again = found.total() - len(found)
    line = (
        f"a burst: {count:,} webhooks in {took:.0f} s, {burst.refused.total():,} refused with Retry-After, "
        f"{len(lost)} lost, {again} written again of {burst.unanswered} that had no answer, {grown >> 20} MiB more"
    )
    request.node.user_properties.append(("figures", line))
    assert sorted(burst.answered) == list(range(count))
    assert lost == set()
    assert again <= burst.unanswered
    assert burst.refused.keys() == {"busy"}
    assert grown < MOST_GROWTH
