"""Achievements, cycles and endorsements as processes on a real Kafka: each event once, nothing lost, nothing silent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from deploy.broker import Broker
from deploy.dead import main as dead_letters
from deploy.processes import Supervisor
from deploy.spawn import free_ports
from deploy.stack import service
from shared.contracts.career import (
    AchievementRecorded,
    CareerEvent,
    ClockTicked,
    CycleOpened,
    EndorsementGiven,
    read_career_event,
)
from shared.contracts.ids import EventId, feed_event_id
from shared.streaming.topics import (
    CAREER_EVENTS,
    IDENTITIES,
    PARTITIONS,
    create_topics,
    dead_topic,
    feed_topic,
    parked_topic,
)
from tests.intake_events import (
    EVERY_SHAPE,
    SOURCE,
    a_cycle,
    a_highlight,
    a_review,
    a_tick,
    an_achievement,
    an_endorsement,
    as_sent,
    without,
)
from tests.integration.reading import records_of

pytestmark = pytest.mark.kafka

NAMES = ("achievements", "cycles", "endorsements")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own: its cycles and wall clock would tell other tests what time it is."""
    port, controller_port = free_ports(2)
    folder = tmp_path_factory.mktemp("kafka")
    with Broker(folder, port=port, controller_port=controller_port, die_with_parent=True) as own:
        create_topics(own.bootstrap_servers)
        yield own


@pytest.fixture(scope="module")
def services(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """The three services, with a clock that ticks each second."""
    with the_services(broker, tmp_path_factory.mktemp("services"), CYCLES_TICK_SECONDS="1") as running:
        yield running


def the_services(broker: Broker, folder: Path, names: Sequence[str] = NAMES, **env: str) -> Supervisor:
    return Supervisor(
        [service(name) for name in names],
        env={
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DATA_DIR": str(folder / "faust"),
            "LOG_FORMAT": "json",
        },
        service_env=dict.fromkeys(names, env),
        ports=dict(zip(names, free_ports(len(names)), strict=True)),
        log_dir=folder / "logs",
    )


class Person:
    """Somebody of the test's own, for tests share the topics."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex[:10]
        self.employee_id = f"E-{self.name}"
        self.email = f"{self.name}@example.com"

    @property
    def refs(self) -> tuple[str, ...]:
        return (f"hris:{self.employee_id}", f"email:{self.email}", f"jira:{self.name}")


class Topics:
    """Reads and writes topics; waits for what is to come."""

    def __init__(self, broker: Broker) -> None:
        self.bootstrap_servers = broker.bootstrap_servers
        self.producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", linger_ms=5)

    def close(self) -> None:
        self.producer.close()

    def send(self, feed: str, *values: bytes, key: str = "", headers: Sequence[tuple[str, bytes]] = ()) -> None:
        for value in values:
            self.producer.send(feed_topic(feed), key=key.encode(), value=value, headers=list(headers))
        self.producer.flush(20)

    def introduce(self, *people: Person, refs: slice = slice(None)) -> None:
        """Write who they are, as the people service does."""
        for person in people:
            for ref in person.refs[refs]:
                self.producer.send(IDENTITIES, key=ref.encode(), value=person.employee_id.encode())
        self.producer.flush(20)

    def records(self, topic: str, enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
        """Return all records of `topic` as soon as they are enough; fail when they are not in time."""
        return records_of(self.bootstrap_servers, topic, enough, what)

    def log_with(self, *ids: EventId) -> list[tuple[int, CareerEvent]]:
        """Return the log by (partition, event) once all of these events are in it."""
        seen: list[tuple[int, CareerEvent]] = []

        def enough(records: list[Any]) -> bool:
            seen.extend((r.partition, read_career_event(r.value)) for r in records[len(seen) :])
            return {event.id for _, event in seen}.issuperset(ids)

        self.records(CAREER_EVENTS, enough, f"{len(ids)} career events")
        return seen

    def dead_with(self, feed: str, values: Sequence[bytes]) -> dict[bytes, list[Any]]:
        """Return the dead letters of a feed that hold these values, once each is there."""
        topic = dead_topic(feed_topic(feed))
        records = self.records(topic, lambda found: {r.value for r in found}.issuperset(values), "dead letters")
        return {value: [r for r in records if r.value == value] for value in values}


@pytest.fixture
def topics(broker: Broker) -> Iterator[Topics]:
    with closing(Topics(broker)) as topics:
        yield topics


def as_events(events: Iterable[tuple[int, CareerEvent]], event_id: EventId) -> list[CareerEvent]:
    return [event for _, event in events if event.id == event_id]


def of(person: Person, sponsor: Person, event_type: str) -> dict[str, Any]:
    """Return the fields that make a payload of this type one about `person`."""
    match event_type:
        case "recognition.given":
            return {"receiver": {"email": person.email}, "giver": {"email": sponsor.email}}
        case "review.completed":
            return {"reviewee": {"email": person.email}, "reviewer": {"email": sponsor.email}}
        case "issue.resolved":
            return {"assignee": person.name}
        case _ if event_type.startswith(("endorsement.", "prompt.")):
            return {"employee": person.employee_id, "sponsor": sponsor.email}
        case _ if event_type.startswith("achievement."):
            return {"employee": person.employee_id}
        case _:
            return {}


@pytest.mark.usefixtures("services")
def test_an_event_of_every_shape_reaches_the_log(topics: Topics) -> None:
    person, sponsor = Person(), Person()
    topics.introduce(person, sponsor)
    expected: dict[EventId, str] = {}
    for feed, shapes in EVERY_SHAPE.items():
        for event_type, payload in shapes.items():
            if event_type == "clock.ticked":
                continue  # not where the wall has the clock: see below
            event_id = uuid.uuid4().hex
            data = payload(**of(person, sponsor, event_type))
            topics.send(feed, as_sent(event_type, data, event_id=event_id), key=person.employee_id)
            part = "highlight-0" if event_type == "review.completed" else ""
            recorded = event_type in ("recognition.given", "review.completed", "issue.resolved")
            expected[feed_event_id(SOURCE, event_id, part)] = "achievement.recorded" if recorded else event_type

    log = topics.log_with(*expected)

    assert {event.id: event.type for _, event in log if event.id in expected} == expected
    homes = {partition for partition, event in log if event.employee_id == person.employee_id}
    assert len(homes) == 1
    for event_id, event_type in expected.items():
        copies = len(as_events(log, event_id))
        assert copies == (PARTITIONS if event_type.startswith("cycle.") else 1), event_type


@pytest.mark.usefixtures("services")
def test_an_event_in_binary_mode_reaches_the_log_too(topics: Topics) -> None:
    person = Person()
    topics.introduce(person)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", person.name.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", b"achievement.recorded"),
        ("content-type", b"application/json"),
    ]
    data = json.dumps(an_achievement(employee=person.employee_id)).encode()
    topics.send("achievements", data, key=person.employee_id, headers=headers)
    (event,) = as_events(topics.log_with(at := feed_event_id(SOURCE, person.name)), at)
    assert event.type == "achievement.recorded"


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("feed", "event_type"),
    [("achievements", "recognition.given"), ("cycles", "cycle.opened"), ("endorsements", "endorsement.given")],
)
def test_an_event_sent_twice_is_one_in_the_log(topics: Topics, feed: str, event_type: str) -> None:
    person, sponsor = Person(), Person()
    topics.introduce(person, sponsor)
    data = EVERY_SHAPE[feed][event_type](**of(person, sponsor, event_type))
    twice, last = uuid.uuid4().hex, uuid.uuid4().hex
    sent = as_sent(event_type, data, event_id=twice)
    topics.send(feed, sent, sent, as_sent(event_type, data, event_id=last), key=person.employee_id)

    log = topics.log_with(feed_event_id(SOURCE, last))  # the same key, so all before it was handled before

    copies = PARTITIONS if feed == "cycles" else 1
    assert len(as_events(log, feed_event_id(SOURCE, twice))) == copies


@pytest.mark.usefixtures("services")
def test_an_event_about_somebody_unknown_waits_for_them(topics: Topics) -> None:
    person = Person()
    sent = as_sent("achievement.recorded", an_achievement(employee=person.email), event_id=person.name)
    topics.send("achievements", sent, key=person.email)
    waiting = topics.records(
        parked_topic("achievements"), lambda records: sent in [r.value for r in records], "the parked event"
    )
    assert [r.key for r in waiting if r.value == sent] == [f"email:{person.email}".encode()]

    topics.introduce(person)

    (event,) = as_events(topics.log_with(at := feed_event_id(SOURCE, person.name)), at)
    assert event.employee_id == person.employee_id


@pytest.mark.usefixtures("services")
def test_an_endorsement_waits_for_employee_and_sponsor_in_turn(topics: Topics) -> None:
    person, sponsor = Person(), Person()
    sent = as_sent(
        "endorsement.given", an_endorsement(**of(person, sponsor, "endorsement.given")), event_id=person.name
    )
    topics.send("endorsements", sent, key=person.employee_id)

    def parked_for(refs: Sequence[str]) -> Callable[[list[Any]], bool]:
        return lambda records: {r.key.decode() for r in records if r.value == sent}.issuperset(refs)

    topic = parked_topic("endorsements")
    topics.records(topic, parked_for([person.refs[0]]), "the event that waits for the employee")
    topics.introduce(person)
    topics.records(topic, parked_for([person.refs[0], sponsor.refs[1]]), "the event that waits for the sponsor")
    topics.introduce(sponsor)

    (event,) = as_events(topics.log_with(at := feed_event_id(SOURCE, person.name)), at)
    assert isinstance(event, EndorsementGiven)
    assert (event.employee_id, event.sponsor_id) == (person.employee_id, sponsor.employee_id)


BAD = [
    ("achievements", b'{"specversion": "1.0", "id": "torn', "not a CloudEvent 1.0"),
    ("achievements", as_sent("achievement.rumoured", an_achievement()), "type: 'achievement.rumoured'"),
    ("achievements", as_sent("achievement.recorded", without(an_achievement(), "title")), "title: Field required"),
    (
        "achievements",
        as_sent("review.completed", a_review(highlights=[a_highlight(rating=9)])),
        "highlights.0.rating: ",
    ),
    ("cycles", b"\x00\xff not even text", "not a CloudEvent 1.0"),
    ("cycles", as_sent("cycle.opened", a_cycle(closes_at="2026-03-01T08:00:00Z")), "closes_at: "),
    ("endorsements", as_sent("endorsement.given", without(an_endorsement(), "sponsor")), "sponsor: Field required"),
]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("feed", "value", "reason"), BAD, ids=[reason.strip(": ") for *_, reason in BAD])
def test_what_cant_be_understood_is_kept_as_it_came_with_the_reason(
    topics: Topics, feed: str, value: bytes, reason: str
) -> None:
    topics.send(feed, value, key="somebody", headers=[("trace", b"\x01\xff")])

    (letter,) = topics.dead_with(feed, [value])[value]

    headers = dict(letter.headers)
    assert (letter.key, headers["trace"]) == (b"somebody", b"\x01\xff")
    assert headers["dead-reason"].decode().startswith(reason)
    assert (headers["dead-service"].decode(), headers["dead-topic"].decode()) == (feed, feed_topic(feed))


@pytest.mark.usefixtures("services")
def test_good_events_behind_a_bad_one_are_not_held_up(topics: Topics) -> None:
    person = Person()
    topics.introduce(person)
    good = as_sent("achievement.recorded", an_achievement(employee=person.employee_id), event_id=person.name)
    topics.send("achievements", b"no event " + person.name.encode(), good, key=person.employee_id)
    assert topics.log_with(feed_event_id(SOURCE, person.name))


@pytest.mark.usefixtures("services")
def test_the_time_reaches_every_partition_again_and_again(topics: Topics) -> None:
    def times(records: list[Any]) -> list[set[datetime]]:
        told: list[set[datetime]] = [set() for _ in range(PARTITIONS)]
        for record in records:
            event = read_career_event(record.value)
            if isinstance(event, ClockTicked):
                told[record.partition].add(event.now)
        return told

    def three_each(records: list[Any]) -> bool:
        return len(set.intersection(*times(records))) >= 3

    topics.records(CAREER_EVENTS, three_each, "three times in each partition")


def test_the_time_follows_the_announcement_of_a_cycle_at_once(
    broker: Broker, topics: Topics, services: Supervisor, tmp_path: Path
) -> None:
    services.terminate("cycles")
    try:
        with the_services(broker, tmp_path, ["cycles"], CYCLES_TICK_SECONDS="3600"):
            cycle = uuid.uuid4().hex
            topics.send("cycles", as_sent("cycle.opened", a_cycle(cycle_id=cycle), event_id=cycle), key=cycle)

            def told_after(records: list[Any]) -> bool:
                waits = set(range(PARTITIONS))
                announced = set()
                for record in sorted(records, key=lambda r: (r.partition, r.offset)):
                    event = read_career_event(record.value)
                    if isinstance(event, CycleOpened) and event.cycle.cycle_id == cycle:
                        announced.add(record.partition)
                    elif isinstance(event, ClockTicked) and record.partition in announced:
                        waits.discard(record.partition)
                return not waits

            topics.records(CAREER_EVENTS, told_after, "the time behind the cycle, in each partition,")
    finally:
        services.restart("cycles")


def test_a_tick_of_the_feed_is_buried_until_the_setting_lets_it_in_and_it_is_replayed(
    broker: Broker, topics: Topics, services: Supervisor, tmp_path: Path
) -> None:
    now = datetime.fromisoformat("2031-05-05T05:05:05+00:00")
    sent = as_sent("clock.ticked", a_tick(now=now.isoformat()))
    topics.send("cycles", sent, key="clock")
    (letter,) = topics.dead_with("cycles", [sent])[sent]
    assert "set CYCLES_CLOCK=feed" in dict(letter.headers)["dead-reason"].decode()
    services.terminate("cycles")
    try:
        with the_services(broker, tmp_path, ["cycles"], CYCLES_CLOCK="feed"):
            replay = ["replay", "feeds.cycles", "--only-reason", "CYCLES_CLOCK", "--bootstrap-servers"]
            assert dead_letters([*replay, broker.bootstrap_servers]) == 0

            def told(records: list[Any]) -> bool:
                events = [(r.partition, read_career_event(r.value)) for r in records]
                return {p for p, e in events if isinstance(e, ClockTicked) and e.now == now} == set(range(PARTITIONS))

            topics.records(CAREER_EVENTS, told, "the replayed tick, in each partition,")
    finally:
        services.restart("cycles")


@pytest.mark.fault
def test_a_stop_in_the_midst_of_a_burst_loses_nothing(topics: Topics, services: Supervisor) -> None:
    people = [Person() for _ in range(20)]
    topics.introduce(*people, refs=slice(1))
    burst = {f"{person.name}-{n}": person.employee_id for n in range(200) for person in people}
    ids = {feed_event_id(SOURCE, name) for name in burst}
    sent = [
        (
            employee,
            as_sent("achievement.recorded", an_achievement(achievement_id=name, employee=employee), event_id=name),
        )
        for name, employee in burst.items()
    ]

    def has_begun(records: list[Any]) -> bool:
        return any(read_career_event(record.value).id in ids for record in records)

    def send(part: list[tuple[str, bytes]]) -> None:
        for employee, value in part:
            topics.producer.send(feed_topic("achievements"), key=employee.encode(), value=value)

    half = len(sent) // 2
    send(sent[:half])
    topics.records(CAREER_EVENTS, has_begun, "the first of the burst")
    send(sent[half:])
    assert services.terminate("achievements") == 0
    topics.producer.flush(20)
    handled_before = {event.id for _, event in topics.log_with()} & ids
    services.restart("achievements")

    log = topics.log_with(*ids)

    assert len(handled_before) < len(ids), "the burst was over before the stop: nothing was tested"
    recorded = [event for _, event in log if event.id in ids]
    found = {event.achievement.achievement_id for event in recorded if isinstance(event, AchievementRecorded)}
    assert found == set(burst)
    assert len(recorded) == len(ids), "a clean stop commits what it handled, so nothing is handled twice"
