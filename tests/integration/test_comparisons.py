"""Comparisons by protected attributes, from a source through real Kafka to who may read them, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy.broker import Broker
from deploy.feeding import Feeder
from deploy.lag import LagReader
from deploy.postgres import a_postgres
from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import service
from shared.company.population import Company, employee_id, employees, org_units, relationships
from shared.company.records import FeedRecord, feed_record
from shared.contracts.base import utc
from shared.streaming.reading import partitions_by_topic, read_to_the_end
from shared.streaming.topics import ATTRIBUTES, create_topics, dead_topic
from tests.integration.test_access import notes

pytestmark = pytest.mark.kafka

SERVICES: Final = tuple(
    service(name)
    for name in ("people", "achievements", "cycles", "endorsements", "correlator", "sources", "insights", "gateway")
)
"""All that read feeds or decide, and the two that let attributes in and show them."""
COMPANY: Final = Company(80)
NOW: Final = utc(2026, 11, 3, 9)
VALUES: Final = ("Zimtstern", "Marzipan")
"""Of the attribute; no company, and nobody in it, is called like that."""
SOURCES: Final = {f"urn:example:{source}": source * 16 for source in ("hris", "mentoring", "clock")}
TOKENS: Final = {"team": "t" * 40, "partner": "p" * 40, "sponsor": "s" * 40, "operator": "o" * 40}
READERS: Final = f"""
readers:
  - {{name: team, role: people-team, token_sha256: {sha256(TOKENS["team"].encode()).hexdigest()}}}
  - {{name: partner, role: people-team, units: [D1], token_sha256: {sha256(TOKENS["partner"].encode()).hexdigest()}}}
  - {{name: sponsor, role: sponsor, employee_id: E00001,
      token_sha256: {sha256(TOKENS["sponsor"].encode()).hexdigest()}}}
  - {{name: operator, role: operator, token_sha256: {sha256(TOKENS["operator"].encode()).hexdigest()}}}
"""


@pytest.mark.timeout(300)
def test_an_attribute_reaches_the_people_team_and_no_topic_but_its_own(tmp_path: Path) -> None:
    """A company states attributes by its HRIS; one statement is wrong; another attribute is not compared by."""
    (tmp_path / "access.yaml").write_text(READERS)
    port, controller_port, *ports = free_ports(2 + len(SERVICES))
    with ExitStack() as running:
        broker = Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
        kafka = running.enter_context(broker).bootstrap_servers
        create_topics(kafka)
        postgres = running.enter_context(a_postgres())
        env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "DATA_DIR": str(tmp_path / "faust"),
            "LOG_FORMAT": "json",
            "PROTECTED_ATTRIBUTES": "gender",
            "ACCESS_FILE": str(tmp_path / "access.yaml"),
            "INSIGHTS_DATABASE_URL": postgres.new_database(),
            "INSIGHTS_LEAST_GROUP": "5",
            "INSIGHTS_MEASURE_EVERY_SECONDS": "0.5",
            "INSIGHTS_OFFSETS_EVERY_SECONDS": "0.5",
            "GATEWAY_TOKENS": ",".join(f"{source}={token}" for source, token in SOURCES.items()),
            "CYCLES_CLOCK": "feed",
        }
        stack = Supervisor(
            SERVICES, env=env, ports=dict(zip([s.name for s in SERVICES], ports, strict=True)), log_dir=tmp_path
        )
        running.enter_context(stack)
        lag = running.enter_context(closing(LagReader(kafka)))
        feeder = running.enter_context(closing(Feeder(stack.url("gateway"), SOURCES, kafka)))

        feeder.feed(chain(org_units(COMPANY), employees(COMPANY), relationships(COMPANY), statements()), lambda _: None)
        assert lag.wait_until_quiet(within=60) == {}
        # Only now the log learns what day it is: what is compared is told for a quarter, and not made anew in it.
        feeder.feed([the_time(NOW)], lambda _: None)

        def ask(who: str, path: str = "/v1/comparisons") -> httpx.Response:
            headers = {"authorization": f"Bearer {TOKENS[who]}"}
            return httpx.get(stack.url("insights", path), headers=headers, trust_env=False)

        def told() -> list[dict[str, Any]]:
            [gender] = ask("team").json()["attributes"]
            return [value for item in gender["items"] for value in item["values"]]

        # Measuring takes a tenth of the time at most: on a busy machine, where it takes 3 s, the next is 30 s later.
        assert wait_until(lambda: bool(told()), within=120), stack.log("insights").read_text()[-3000:]
        everybody = [value for value in told() if not value["group_id"]]
        assert [(v["value_id"], v["whole"]) for v in everybody] == [("Marzipan", 40), ("Zimtstern", 40)]
        assert all(0 < v["low"] < v["value"] < v["high"] < 1 for v in everybody)
        assert {v["as_of"] for v in everybody} == {"2026-10-01T00:00:00Z"}
        page = ask("team", "/dashboard/comparisons")
        assert (page.status_code, "Zimtstern" in page.text) == (200, True)

        for who in ("partner", "sponsor", "operator"):
            for path in ("/v1/comparisons", "/dashboard/comparisons"):
                refused = ask(who, path)
                assert (refused.status_code, "Zimtstern" in refused.text) == (403, False), who
        assert httpx.get(stack.url("insights", "/v1/comparisons"), trust_env=False).status_code == 401
        noted = {(read.who, read.sort, read.asked, read.given) for read in notes(kafka)}
        assert ("team", "comparisons", "/v1/comparisons", True) in noted
        assert {(who, given) for who, sort, _, given in noted if sort == "comparisons" and who != "team"} == {
            (who, False) for who in ("partner", "sponsor", "operator")
        }

        assert topics_with(kafka, *VALUES, "Lebkuchen") == {ATTRIBUTES, dead_topic(ATTRIBUTES)}
        assert stack.dead() == {}
        for one in SERVICES:
            said = stack.log(one.name).read_text()
            assert not any(value in said for value in VALUES), one.name


def statements() -> Iterator[FeedRecord]:
    """Yield what each says; then one of nobody, which can't be understood."""
    for index in range(COMPANY.size):
        values = {"gender": VALUES[index % 2], "disability": "Lebkuchen"}
        yield a_statement(index, {"employee_id": employee_id(index), "values": values})
    yield replace(a_statement(0, {"values": {"gender": VALUES[0]}}), key="nobody")


def a_statement(index: int, data: dict[str, Any]) -> FeedRecord:
    return feed_record(
        "attributes",
        event_id=f"stated-{index}-{len(data)}",
        source="hris",
        event_type="attributes.stated",
        subject=employee_id(index) if "employee_id" in data else "nobody",
        time=utc(2026, 1, 1),
        data=data,
    )


def the_time(now: datetime) -> FeedRecord:
    return feed_record(
        "cycles",
        event_id="now",
        source="clock",
        event_type="clock.ticked",
        subject="clock",
        time=now,
        data={"now": now.isoformat()},
    )


def topics_with(kafka: str, *marks: str) -> set[str]:
    """Return the topics in whose records any of these lies, changelogs and Kafka's own among them."""
    found = set()
    for topic, partitions in partitions_by_topic(kafka).items():
        for record in read_to_the_end(kafka, topic, partitions):
            held = b"\n".join((record.key or b"", record.value or b"", *(value for _, value in record.headers)))
            if any(mark.encode() in held for mark in marks):
                found.add(topic)
    return found
