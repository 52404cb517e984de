"""The people service as a process on a real Kafka: awkward orders, parking, and a kill -9 in the midst."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.broker import Broker, ExternalBroker
from deploy.processes import Supervisor
from deploy.spawn import free_ports, wait_until
from deploy.stack import service
from shared.contracts.career import (
    CareerEvent,
    EmployeeJoined,
    RelationshipStarted,
    TiedPersonChanged,
    read_career_event,
    write_contract,
)
from shared.contracts.cloudevents import FeedEvent, write_feed_event
from shared.contracts.identities import read_identity
from shared.contracts.ids import EmployeeId, Ref
from shared.streaming.topics import (
    CAREER_EVENTS,
    IDENTITIES,
    PARTITIONS,
    create_topics,
    dead_topic,
    feed_topic,
    parked_topic,
)
from tests.unit.test_people import a_feed_event, changed, day, defined, hired, profiles, snapshots, stands, tied
from tests.world import World, whom

pytestmark = pytest.mark.kafka

WITHIN = 120.0
Kafka = Broker | ExternalBroker


def a_service(kafka: Kafka, folder: Path) -> Supervisor:
    create_topics(kafka.bootstrap_servers)
    return Supervisor(
        [service("people")],
        env={
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "DATA_DIR": str(folder / "faust"),
            "LOG_FORMAT": "json",
        },
        ports={"people": free_ports(1)[0]},
        log_dir=folder / "logs",
    )


@pytest.fixture(scope="module")
def people(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    with a_service(kafka, tmp_path_factory.mktemp("people")) as running:
        yield running


@pytest.fixture
def ours() -> str:
    """What every id of the test begins with: tests share the topics."""
    return uuid.uuid4().hex[:8]


def feed(kafka: Kafka, *events: FeedEvent) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=5)) as producer:
        for event in events:
            producer.send(feed_topic("people"), key=subject_of(event).encode(), value=as_sent(event))
        producer.flush(20)


def subject_of(event: FeedEvent) -> str:
    return str(event.data.get("employee_id") or event.data.get("employee") or event.data["unit_id"])


def as_sent(event: FeedEvent) -> bytes:
    return write_feed_event(
        event_id=event.id,
        source=event.source,
        event_type=event.type,
        subject=subject_of(event),
        time=event.time,
        data=event.data,
    )


def read(kafka: Kafka, topic: str, until: Callable[[list[Any]], bool], what: str) -> list[Any]:
    """Return all records of `topic` as soon as they are enough; fail when they are not in time."""
    with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found: list[Any] = []

        def enough() -> bool:
            for batch in consumer.poll(timeout_ms=200).values():
                found.extend(batch)
            return until(found)

        assert wait_until(enough, within=WITHIN), f"{what} did not come to {topic}; {len(found)} records did"
        return found


def log_of(
    kafka: Kafka, ours: str, until: Callable[[list[CareerEvent]], bool], what: str
) -> list[tuple[int, CareerEvent]]:
    """Return our part of the log by (partition, event) as soon as it is enough."""
    records = read(kafka, CAREER_EVENTS, lambda found: until([event for _, event in _ours(found, ours)]), what)
    return _ours(records, ours)


def _ours(records: Iterable[Any], ours: str) -> list[tuple[int, CareerEvent]]:
    return [(r.partition, read_career_event(r.value)) for r in records if (r.key or b"").startswith(ours.encode())]


def names(kafka: Kafka, ours: str, count: int, at: datetime) -> dict[Ref, EmployeeId | None]:
    """Return who is meant by each of our refs, said at `at`, once there are `count` of them."""

    def known(records: Iterable[Any]) -> dict[Ref, EmployeeId | None]:
        said = [read_identity(r.key, r.value) for r in records]
        mine = [one for one in said if one.employee_id.startswith(ours)]
        return {ref: meant for ref, (meant,) in whom(mine, [at]).items()}

    return known(read(kafka, IDENTITIES, lambda found: len(known(found)) >= count, f"{count} names"))


def metric(people: Supervisor, line: str) -> float:
    text = httpx.get(people.url("people", "/metrics"), trust_env=False).text
    return sum(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line))


def test_people_units_and_ties_in_an_awkward_order_become_names_and_a_log(
    kafka: Kafka, people: Supervisor, ours: str
) -> None:
    ann, bea, team, dept = (EmployeeId(f"{ours}-{name}") for name in ("ann", "bea", "team", "dept"))
    mail = f"{ours}@example.com"
    by_mail = tied(ann, mail.upper(), "sponsor")
    # Both are parked, the second one twice: for ann, then for bea.
    feed(kafka, by_mail)
    waiting = read(
        kafka, parked_topic("people"), lambda found: as_sent(by_mail) in [r.value for r in found], "the parked tie"
    )
    assert [r.key for r in waiting if r.value == as_sent(by_mail)] == [f"hris:{ann}".encode()]

    feed(kafka, hired(ann, unit_id=team))
    read(
        kafka,
        parked_topic("people"),
        lambda found: f"email:{mail}".encode() in [r.key for r in found if r.value == as_sent(by_mail)],
        "the tie that waits for the sponsor",
    )
    feed(kafka, hired(bea, unit_id=dept, email=mail, level=8, timezone="Asia/Tokyo"))
    log_of(kafka, ours, lambda log: any(snapshots(log)), "a snapshot")
    feed(kafka, defined(team, dept, at=1), defined(dept, f"{ours}-company", at=2), changed(bea, at=3, level=9))

    def settled(log: list[CareerEvent]) -> bool:
        paths = {one.employee_id: one.profile.unit_path for one in profiles_of(log, ann)}
        return len(paths.get(ann, ())) == 3 and any(one.person.level == 9 for one in snapshots(log))

    placed = log_of(kafka, ours, settled, "the whole path of ann and the promotion of bea")
    log = [event for _, event in placed if event.employee_id == ann]

    assert names(kafka, ours, 3, day(9)) == {f"hris:{ann}": ann, f"hris:{bea}": bea, f"email:{mail}": bea}
    assert len({partition for partition, event in placed if event.employee_id == ann}) == 1
    assert profiles(log)[day(0)].profile.unit_path == (f"{ours}-company", dept, team)
    (started,) = [event for event in log if isinstance(event, RelationshipStarted)]
    assert (started.kind, started.other_id) == ("sponsor", bea)
    assert isinstance(log[0], EmployeeJoined)
    newest = max(snapshots(log), key=lambda one: one.revision).person
    assert (newest.person_id, newest.level, newest.timezone) == (bea, 9, "Asia/Tokyo")
    assert newest.unit_path == (f"{ours}-company", dept)
    assert newest.refs == (f"email:{mail}", f"hris:{bea}")
    assert metric(people, 'people_changes_total{type="unit.stated"}') >= 2 * PARTITIONS
    assert metric(people, "people_employees") >= 2


def profiles_of(log: Iterable[CareerEvent], who: EmployeeId) -> list[Any]:
    return list(profiles(event for event in log if event.employee_id == who).values())


@pytest.mark.usefixtures("people")
def test_what_has_no_sense_is_kept_with_the_reason_and_holds_up_nobody(kafka: Kafka, ours: str) -> None:
    ann = EmployeeId(f"{ours}-ann")
    bad = hired(ann, email="nowhere")
    feed(kafka, bad, hired(ann, at=1))
    letters = read(
        kafka,
        dead_topic(feed_topic("people")),
        lambda found: as_sent(bad) in [r.value for r in found],
        "the dead letter",
    )
    (letter,) = [r for r in letters if r.value == as_sent(bad)]
    assert dict(letter.headers)["dead-reason"].decode().startswith("email: is no email address")
    assert log_of(kafka, ours, lambda log: len(log) == 1, "the hire behind it")


@pytest.mark.usefixtures("people")
def test_the_same_events_twice_say_nothing_more(kafka: Kafka, ours: str) -> None:
    ann, bea = EmployeeId(f"{ours}-ann"), EmployeeId(f"{ours}-bea")
    events = [hired(ann), hired(bea), tied(ann, bea, "worked_with")]
    feed(kafka, *events)
    # One each, and one more each when they have learned whom they could introduce: one another.
    log_of(kafka, ours, lambda log: len(snapshots(log)) == 4, "their snapshots")
    feed(kafka, *events, changed(ann, at=9, level=9))
    log = log_of(kafka, ours, lambda log: len(snapshots(log)) == 6, "the news of ann")
    assert len({event.id for _, event in log}) == len(log)


def a_company(ours: str, size: int) -> list[FeedEvent]:
    """Return a year of a company's feed, in a disorder that is always the same."""
    rng = random.Random(7)
    staff = [EmployeeId(f"{ours}-{number:03}") for number in range(size)]
    units = [f"{ours}-u{number}" for number in range(size // 8)]
    feed = [defined(unit, units[(number - 1) // 3] if number else None) for number, unit in enumerate(units)]
    for number, who in enumerate(staff):
        manager = {"manager_id": staff[(number - 1) // 6]} if number else {}
        unit = units[number % len(units)]
        feed.append(hired(who, level=9 - min(7, number.bit_length()), unit_id=unit, email=f"{who}@x.org", **manager))
        others = [other for other in rng.sample(staff, 3) if other != who]
        for kind, other in zip(("sponsor", "mentor", "worked_with"), others, strict=False):
            feed.append(tied(who, f"{other}@x.org", kind, at=rng.randrange(200)))
        for at in rng.sample(range(300), rng.randrange(4)):
            news = rng.choice([{"level": rng.randrange(2, 9)}, {"unit_id": rng.choice(units)}, {"name": f"N{at}"}])
            effective = day(at + rng.choice([-90, 0, 0, 60])).isoformat()
            feed.append(changed(who, at=at, effective_at=effective, **news))
        if rng.random() < 0.1:
            feed.append(a_feed_event("employee.left", {"employee_id": who}, at=310, event_id=f"left-{who}"))
    rng.shuffle(feed)
    return [*feed, *rng.sample(feed, len(feed) // 10)]


@pytest.mark.usefixtures("people")  # a second worker, which is not killed: partitions come to it and go again
@pytest.mark.fault
@pytest.mark.timeout(400)
def test_a_process_killed_in_the_midst_goes_on_to_the_same_end(kafka: Kafka, tmp_path: Path, ours: str) -> None:
    events = a_company(ours, 160)
    world = World().feed(*events)
    moments = [day(0) + timedelta(days=number) for number in range(-100, 380, 10)]
    expected = stands(world.identities, world.log, moments)

    with a_service(kafka, tmp_path) as people:
        third = len(events) // 3
        feed(kafka, *events[:third])
        for enough, more in ((third // 4, events[third : 2 * third]), (third, events[2 * third :])):
            log_of(kafka, ours, lambda log, enough=enough: len(log) >= enough, f"{enough} events")  # type: ignore[misc]
            feed(kafka, *more)
            people.kill("people")
            people.restart("people")

        def stands_as_expected(log: list[CareerEvent]) -> bool:
            # Cheap before dear: the whole comparison only when as much is there as there has to be.
            return {event.id for event in log if isinstance(event, RelationshipStarted)} >= relationships and (
                stands(world.identities, log, moments) == expected
            )

        relationships = {event.id for event in world.log if isinstance(event, RelationshipStarted)}
        log = [event for _, event in log_of(kafka, ours, stands_as_expected, "the end")]

    meant = {ref: who for ref, (who,) in whom(world.identities, [day(0)]).items()}
    assert names(kafka, ours, len(meant), day(0)) == meant
    said: dict[str, bytes] = {}
    for event in log:
        assert said.setdefault(event.id, write_contract(event)) == write_contract(event), "an id of two statements"
    assert any(isinstance(event, TiedPersonChanged) and event.person.introductions for event in log)
