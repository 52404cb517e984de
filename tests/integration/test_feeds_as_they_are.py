"""Feeds as they are, on a running system: each case is told as it happened and in a disorder, and ends in its facts.

All cases run at the same time, each with people, units and a cycle of its own. Then everything is told once more, after
a restart, as a webhook does that retries for days: nothing changes.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaProducer

from deploy.broker import Broker
from deploy.lag import LagReader
from deploy.processes import Supervisor
from deploy.spawn import free_ports
from deploy.stack import service
from deploy.tracker.extracts import load
from services.correlator.facts import learn
from services.correlator.standing import profile_at
from services.correlator.state import EmployeeState, ProfileFrom
from shared.contracts.base import utc
from shared.contracts.career import read_career_event
from shared.contracts.cloudevents import write_feed_event
from shared.contracts.feeds import SHAPES
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated, read_prompt_event
from shared.sources.delivery import Delivery, to_record
from shared.sources.files import read_source
from shared.streaming.reading import read_to_the_end
from shared.streaming.topics import (
    CAREER_EVENTS,
    FEEDS,
    PEOPLE_CHANGES,
    PROMPTS,
    SOURCES_RECEIVED,
    create_topics,
    dead_topic,
    feed_topic,
)

pytestmark = pytest.mark.kafka

NAMES: Final = ("people", "achievements", "cycles", "endorsements", "correlator", "sources")
SOURCES: Final = Path(__file__).parents[2] / "deploy/sources"
NOW: Final = utc(2026, 6, 1)
WITHIN: Final = 120.0


def day(number: int) -> datetime:
    """Return a day of the story; the cycle opens on day 60 and it is day 92 in the end."""
    return utc(2026, 3, 1) + timedelta(days=number)


@dataclass(frozen=True)
class Event:
    """An event of a feed, or what a vendor delivers."""

    type: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    delivery: Delivery | None = None


@dataclass(frozen=True)
class Stands:
    """What stands in the end."""

    employees: Mapping[str, EmployeeState]
    prompts: Mapping[tuple[str, str], PromptEvent]
    """The newest of each, by sponsor and protégé."""

    def profile(self, who: str, at: datetime = NOW) -> ProfileFrom:
        found = profile_at(self.employees[who], at)
        assert found is not None
        return found

    def done(self, who: str) -> set[str]:
        facts = self.employees[who].achievements.values() if who in self.employees else ()
        return {fact.title for fact in facts if not fact.retracted}

    def asked(self, who: str) -> dict[str, set[str]]:
        """Return by whom the employee is to be spoken for, and with what evidence."""
        return {
            sponsor: {piece.title for piece in prompt.body.evidence}
            for (sponsor, protege), prompt in self.prompts.items()
            if protege == who and isinstance(prompt, PromptOpened | PromptUpdated)
        }


class Case:
    """Something that feeds do; `ours` is what its ids begin with."""

    def __init__(self, ours: str) -> None:
        self.ours = ours

    def id(self, name: str) -> str:
        return f"{self.ours}-{name}"

    def mail(self, name: str) -> str:
        return f"{self.ours}-{name}@example.com"

    def hired(self, name: str, at: int = 0, /, **fields: Any) -> Event:
        known = {"name": name.title(), "level": 4, "level_since": "2024-01-01", "unit_id": self.id("team")}
        return Event("employee.hired", day(at), {"employee_id": self.id(name), **known, **fields})

    def changed(self, name: str, at: int, /, **fields: Any) -> Event:
        return Event("employee.changed", day(at), {"employee_id": self.id(name), **fields})

    def sponsored(self, by: str, name: str = "ann", at: int = 1) -> Event:
        who = {"employee": self.id(name) if "@" not in name else name, "other": self.id(by)}
        return Event(
            "relationship.started", day(at), {"relationship_id": self.id(f"{name}-{by}"), "kind": "sponsor", **who}
        )

    def did(self, what: str, who: str, at: int, kind: str = "recorded", **fields: Any) -> Event:
        stated = {
            "achievement_id": self.id(what),
            "employee": who,
            "title": what,
            "occurred_on": day(at).date().isoformat(),
        }
        return Event(f"achievement.{kind}", day(at), stated | fields)

    def background(self) -> list[Event]:
        """Return a sponsor and a cycle."""
        cycle = {"cycle_id": self.id("cycle"), "kind": "promotion", "title": self.ours, "unit_ids": [self.id("team")]}
        times = {"opens_at": day(60).isoformat(), "closes_at": day(300).isoformat()}
        window = {"evidence_from": "2026-01-01", "evidence_to": "2026-12-31"}
        return [
            self.hired("boss", level=9, unit_id=self.id("top"), email=self.mail("boss")),
            Event("cycle.opened", day(0), cycle | times | window),
        ]

    def events(self) -> list[Event]:
        """Return what is sent, as it happened."""
        raise NotImplementedError

    def check(self, stands: Stands) -> None:
        """Assert what the facts call for."""
        raise NotImplementedError


class Duplicates(Case):
    def events(self) -> list[Event]:
        told = [self.hired("ann"), self.sponsored("boss"), self.did("A", self.id("ann"), 5)]
        return [*told, *told, *told]

    def check(self, stands: Stands) -> None:
        assert stands.asked(self.id("ann")) == {self.id("boss"): {"A"}}


class PartialDiffs(Case):
    def events(self) -> list[Event]:
        moved = self.changed("ann", 20, unit_id=self.id("other"), manager_id=self.id("boss"))
        return [
            self.hired("ann", location="Berlin", email=self.mail("ann")),
            self.changed("ann", 10, level=5),
            moved,
            self.changed("ann", 30, location="Rome"),
        ]

    def check(self, stands: Stands) -> None:
        found = [stands.profile(self.id("ann"), day(number)) for number in (5, 15, 25, 35)]
        assert [(p.level, p.unit_path[-1], p.manager_id) for p in found] == [
            (4, self.id("team"), None),
            (5, self.id("team"), None),
            (5, self.id("other"), self.id("boss")),
            (5, self.id("other"), self.id("boss")),
        ]
        assert [p.level_since for p in found[:2]] == [date(2024, 1, 1), day(10).date()]


class Retroactive(Case):
    """On day 20 a promotion of day 5 becomes known, on day 30 that it was to another level."""

    def events(self) -> list[Event]:
        since = day(5).isoformat()
        return [
            self.hired("ann"),
            self.changed("ann", 10, level=6),
            self.changed("ann", 20, level=7, effective_at=since),
            self.changed("ann", 30, level=5, effective_at=since),
        ]

    def check(self, stands: Stands) -> None:
        assert [stands.profile(self.id("ann"), day(number)).level for number in (4, 6, 11)] == [4, 5, 6]


class FutureDated(Case):
    """Nothing is said of the sponsor or of Bea on the day itself."""

    def events(self) -> list[Event]:
        left = {"employee_id": self.id("bea"), "effective_at": day(85).isoformat()}
        return [
            self.hired("ann"),
            self.hired("bea"),
            self.sponsored("boss"),
            self.sponsored("boss", "bea"),
            self.changed("boss", 2, level=11, effective_at=day(80).isoformat()),
            self.changed("ann", 2, level=8, effective_at=day(200).isoformat()),
            Event("employee.left", day(3), left),
        ]

    def check(self, stands: Stands) -> None:
        ann, boss = self.id("ann"), self.id("boss")
        assert stands.employees[ann].people[boss].level == 11
        assert stands.profile(ann).level == 4
        assert (stands.asked(ann), stands.asked(self.id("bea"))) == ({boss: set()}, {})


class CorrectedAndRetracted(Case):
    def events(self) -> list[Event]:
        ann = self.id("ann")
        retracted = {"achievement_id": self.id("B"), "employee": ann, "reason": "counted twice"}
        return [
            self.hired("ann"),
            self.sponsored("boss"),
            self.did("A", ann, 5),
            self.did("A", ann, 9, "corrected", title="A, as it was"),
            self.did("B", ann, 6),
            Event("achievement.retracted", day(8), retracted),
        ]

    def check(self, stands: Stands) -> None:
        assert stands.asked(self.id("ann")) == {self.id("boss"): {"A, as it was"}}


class HiredAgain(Case):
    """Ann leaves, and comes back under a new id with her old address."""

    def events(self) -> list[Event]:
        mail = self.mail("ann")
        return [
            self.hired("old", email=mail),
            self.did("before", mail, 5),
            Event("employee.left", day(10), {"employee_id": self.id("old")}),
            self.did("in between", mail, 12),
            self.hired("ann", 20, email=mail),
            self.did("after", mail, 25),
            self.sponsored("boss", mail, 26),
        ]

    def check(self, stands: Stands) -> None:
        assert stands.done(self.id("old")) == {"before", "in between"}
        assert stands.asked(self.id("ann")) == {self.id("boss"): {"after"}}
        assert stands.asked(self.id("old")) == {}


class HandedOn(Case):
    """An address that was Ann's is Bea's from day 20 on, which becomes known ten days later."""

    def events(self) -> list[Event]:
        mail = self.mail("sales")
        return [
            self.hired("ann", email=mail),
            self.hired("bea"),
            self.sponsored("boss"),
            self.sponsored("boss", "bea"),
            self.did("Ann's", mail, 19),
            self.did("Bea's", mail, 21),
            self.changed("bea", 30, email=mail, effective_at=day(20).isoformat()),
        ]

    def check(self, stands: Stands) -> None:
        assert stands.asked(self.id("ann")) == {self.id("boss"): {"Ann's"}}
        assert stands.asked(self.id("bea")) == {self.id("boss"): {"Bea's"}}


class NewNameAndAddress(Case):
    """The sponsor marries; tools go on with the old address of Ann for a while."""

    def events(self) -> list[Event]:
        return [
            self.hired("ann", email=self.mail("ann")),
            self.sponsored("boss"),
            self.changed("ann", 10, name="Anna", email=self.mail("anna")),
            self.did("by the old", self.mail("ann"), 12),
            self.did("by the new", self.mail("anna"), 11),
            self.changed("boss", 15, name="Boss-Lee", email=self.mail("zz-lee")),
        ]

    def check(self, stands: Stands) -> None:
        ann, boss = self.id("ann"), self.id("boss")
        assert stands.asked(ann) == {boss: {"by the old", "by the new"}}
        prompt = stands.prompts[boss, ann]
        assert isinstance(prompt, PromptOpened | PromptUpdated)
        assert (prompt.body.protege.name, prompt.body.sponsor_name) == ("Anna", "Boss-Lee")
        assert prompt.sponsor_refs == (f"email:{self.mail('zz-lee')}", f"email:{self.mail('boss')}")


class Merged(Case):
    def events(self) -> list[Event]:
        return [
            self.hired("old", email=self.mail("old")),
            self.hired("ann", email=self.mail("ann")),
            self.sponsored("boss", "old"),
            self.did("A", self.id("old"), 5),
            self.did("B", self.mail("ann"), 6),
            Event("employee.merged", day(20), {"employee_id": self.id("old"), "into_id": self.id("ann")}),
            self.did("C", self.mail("old"), 30),
        ]

    def check(self, stands: Stands) -> None:
        assert stands.asked(self.id("ann")) == {self.id("boss"): {"A", "B", "C"}}
        assert stands.asked(self.id("old")) == {}
        assert not stands.profile(self.id("old")).active


class Zones(Case):
    """A first of April that begins in Berlin, and one in Auckland, are first of Aprils."""

    def events(self) -> list[Event]:
        return [
            self.hired("ann"),
            self.hired("bea"),
            self.changed("ann", 20, level=5, effective_at="2026-04-01T00:00:00+02:00"),
            self.changed("bea", 20, level=5, effective_at="2026-04-01T00:00:00+13:00"),
        ]

    def check(self, stands: Stands) -> None:
        for name, begins in (("ann", utc(2026, 3, 31, 22)), ("bea", utc(2026, 3, 31, 11))):
            assert stands.profile(self.id(name), begins).level_since == date(2026, 4, 1)
            assert stands.profile(self.id(name), begins - timedelta(minutes=1)).level == 4


class DatesWithoutTime(Case):
    """A vendor's delivery whose dates have neither time nor zone: they are days of the source's own zone, Berlin."""

    def events(self) -> list[Event]:
        body = {
            "row": {
                "id": self.id("ann"),
                "name": "Ann",
                "level": 4,
                "team": self.id("team"),
                "since": "2026-04-01",
            }
        }
        return [Event("", day(0), delivery=Delivery("berlin", json.dumps(body).encode(), {}, day(0)))]

    def check(self, stands: Stands) -> None:
        begins = utc(2026, 3, 31, 22)
        (profile,) = stands.employees[self.id("ann")].profiles
        assert (profile.effective_at, profile.level_since) == (begins, date(2026, 4, 1))


BERLIN: Final = """
name: berlin
title: A source of the test's own, in Berlin
source: urn:berlin
timezone: Europe/Berlin
bulk: {format: ndjson, key: id}
subject: body.row.id
id: body.row.id
time: "'2026-03-01T00:00:00Z'"
events:
  - feed: people
    type: employee.hired
    data:
      employee_id: body.row.id
      name: body.row.name
      level: body.row.level
      level_since: date(body.row.since)
      unit_id: body.row.team
      effective_at: time(body.row.since)
"""
CASES: Final = (
    Duplicates,
    PartialDiffs,
    Retroactive,
    FutureDated,
    CorrectedAndRetracted,
    HiredAgain,
    HandedOn,
    NewNameAndAddress,
    Merged,
    Zones,
    DatesWithoutTime,
)


class Running:
    """A broker, and the services that a feed goes through."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.bootstrap_servers = broker.bootstrap_servers
        self.sources = folder / "sources"
        self.sources.mkdir()
        (self.sources / "berlin.yaml").write_text(BERLIN)
        (self.sources / "workday.yaml").write_text(
            (SOURCES / "workday.yaml").read_text().replace("levels: {}", "levels: {P: 4}")
        )
        self.services = Supervisor(
            [service(name) for name in NAMES],
            env={
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "DATA_DIR": str(folder / "faust"),
                "SOURCES_DIR": str(self.sources),
                "LOG_FORMAT": "json",
            },
            service_env={"cycles": {"CYCLES_CLOCK": "feed"}},
            ports=dict(zip(NAMES, free_ports(len(NAMES)), strict=True)),
            log_dir=folder / "logs",
        )

    def tell(self, events: Sequence[tuple[str, Event]]) -> None:
        """Send events under these ids."""
        with closing(KafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all", linger_ms=5)) as producer:
            for event_id, event in events:
                if event.delivery is not None:
                    declaration = read_source(self.sources / f"{event.delivery.source}.yaml")
                    record = to_record(declaration, event.delivery, event.delivery.source)
                    producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers))
                    continue
                feed = next(feed for feed, shapes in SHAPES.items() if event.type in shapes)
                subject = str(event.data.get("employee_id") or event.data.get("employee") or event.data.get("cycle_id"))
                value = write_feed_event(
                    event_id=event_id,
                    source="urn:test",
                    event_type=event.type,
                    subject=subject,
                    time=event.at,
                    data=event.data,
                )
                producer.send(feed_topic(feed), key=subject.encode(), value=value)
            producer.flush(30)

    def settle(self) -> None:
        """Wait until none of the services has anything left to do."""
        deadline = time.monotonic() + WITHIN
        with closing(LagReader(self.bootstrap_servers)) as lag:
            ends = lag.ends()
            while True:
                behind = {group: topics for group, topics in lag.lags(ends).items() if group in NAMES}
                before, ends = ends, lag.ends()
                if before == ends and not any(sum(topics.values()) for topics in behind.values()):
                    return
                assert time.monotonic() < deadline, behind
                time.sleep(0.05)

    def stands(self) -> tuple[Stands, set[str]]:
        """Return what stands, and the ids of all career events."""
        employees: dict[str, EmployeeState] = {}
        ids = set()
        for record in read_to_the_end(self.bootstrap_servers, CAREER_EVENTS):
            event = read_career_event(record.value or b"")
            ids.add(event.id)
            if event.employee_id is not None:
                known = employees.get(event.employee_id, EmployeeState(event.employee_id))
                employees[event.employee_id] = learn(known, event)
        prompts: dict[tuple[str, str], PromptEvent] = {}
        for record in read_to_the_end(self.bootstrap_servers, PROMPTS):
            said = read_prompt_event(record.value or b"")
            known_as = prompts.get((said.sponsor_id, said.employee_id))
            if known_as is None or known_as.version < said.version:
                prompts[said.sponsor_id, said.employee_id] = said
        return Stands(employees, prompts), ids


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A broker of the test's own: it says what time it is."""
    port, controller_port = free_ports(2)
    with Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True) as broker:
        create_topics(broker.bootstrap_servers)
        found = Running(broker, tmp_path)
        with found.services:
            yield found


@pytest.mark.timeout(400)
def test_feeds_as_they_are_end_in_their_facts_whatever_the_order(running: Running, tmp_path: Path) -> None:
    rng = random.Random(2026)
    cases: list[Case] = []
    told: list[tuple[str, Event]] = []
    for kind in CASES:
        for variant in ("as-it-was", "in-disorder"):
            case = kind(f"{kind.__name__.lower()}-{variant}")
            cases.append(case)
            happened = [*case.background(), *case.events()]
            numbered = [(f"{case.ours}/{happened.index(event)}", event) for event in happened]
            told += rng.sample(numbered, len(numbered)) if variant == "in-disorder" else numbered
    clock = ("clock", Event("clock.ticked", NOW, {"cycle_id": "clock", "now": NOW.isoformat()}))
    extract, rows = tmp_path / "workers.csv", {f"W{number}": f"Worker {number}" for number in range(200)}

    running.tell([*told[: len(told) // 2], clock, *told[len(told) // 2 :]])
    first_night = _load(running, extract, rows, utc(2026, 3, 1))
    running.settle()
    stands, ids = running.stands()
    for case in cases:
        case.check(stands)
    assert stands.profile("W7").name == "Worker 7"
    assert first_night == (200, 200)
    assert not _dead(running)

    # A webhook that retries for days, to services that do not remember: everything again, in another order.
    for name in ("achievements", "sources", "people"):
        running.services.terminate(name)
    for name in ("achievements", "sources", "people"):
        running.services.restart(name)
    assert _load(running, extract, rows, utc(2026, 3, 2)) == (200, 0)
    assert _load(running, extract, {**rows, "W7": "Renamed"}, utc(2026, 3, 3)) == (200, 1)
    running.tell(rng.sample(told, len(told)))
    running.settle()
    again, ids_again = running.stands()
    for case in cases:
        case.check(again)
    assert again.prompts == stands.prompts
    assert again.profile("W7").name == "Renamed"
    assert len(ids_again - ids) == 1, "of all that was told again, only the worker who was renamed is news"
    assert not _dead(running)


def _load(running: Running, path: Path, workers: Mapping[str, str], as_of: datetime) -> tuple[int, int]:
    """Load a nightly extract; return how many rows it has, and how many were sent."""
    columns = "Employee ID,Worker,Supervisory Organization ID,Job Profile,Time in Job Profile Start Date"
    rows = [f"{who},{name},U1,P,2024-01-01" for who, name in workers.items()]
    path.write_text("\n".join([columns, *rows]) + "\n")
    loaded = load(read_source(running.sources / "workday.yaml"), path, as_of, running.bootstrap_servers)
    assert loaded.faults == []
    return loaded.rows, loaded.sent


def _dead(running: Running) -> list[Any]:
    read = [*(feed_topic(feed) for feed in FEEDS), SOURCES_RECEIVED, PEOPLE_CHANGES, CAREER_EVENTS]
    return [
        dict(record.headers)
        for topic in read
        for record in read_to_the_end(running.bootstrap_servers, dead_topic(topic), [0])
    ]
