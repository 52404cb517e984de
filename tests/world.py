"""The rules of intakes, people service and correlator without Kafka: feed events in, what stands out, in any order."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any

from services.achievements.handlers import take as take_achievement
from services.correlator.facts import tell
from services.correlator.policy import Policy
from services.correlator.rules import decide, reconsider
from services.correlator.state import Calendar, EmployeeState
from services.cycles.handlers import taker
from services.endorsements.handlers import take as take_endorsement
from services.people.handlers import ChangeHandler, disown
from services.people.handlers import take as take_people
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, read_career_event
from shared.contracts.cloudevents import FeedEvent, write_feed_event
from shared.contracts.feeds import SHAPES
from shared.contracts.identities import Identity, RefClaimed, read_identity
from shared.contracts.ids import EmployeeId, Ref
from shared.streaming.intake import Intake, disown_in_log
from shared.streaming.names import Names
from shared.streaming.records import Output, Record
from shared.streaming.topics import (
    CAREER_EVENTS,
    IDENTITIES,
    PARTITIONS,
    PEOPLE_CHANGES,
    attributed_topic,
    dead_topic,
    feed_topic,
    parked_topic,
    partition_of,
)
from tests.states import a_state

NORMALISERS = {
    "people": (take_people, disown),
    "achievements": (take_achievement, disown_in_log),
    "endorsements": (take_endorsement, disown_in_log),
    "cycles": (taker("feed"), disown_in_log),
}
WRITTEN = utc(2026, 3, 1)
"""When Kafka took each record: it says nothing of when something was said."""


class World:
    """The services on logs in memory; each of their consumers reads at a pace of its own.

    Args:
        rng: if given, lets consumers run ahead of one another as they like, as processes do, and lets directories lag;
            else each event is dealt with to the end before the next one comes.
        feeds: those that are read.
    """

    def __init__(self, rng: random.Random | None = None, feeds: Sequence[str] = tuple(NORMALISERS)) -> None:
        self.log: list[CareerEvent] = []
        self.identities: list[Identity] = []
        self.changes: list[Record] = []
        self.dead: list[Record] = []
        self.employees: dict[str, EmployeeState] = {}
        self.handler = ChangeHandler(a_state(name="people"), a_state(name="units"), a_state(name="clock"))
        self._calendars = [Calendar() for _ in range(PARTITIONS)]
        self._policy = Policy()
        self._rng = rng
        self._records: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self._consumers: defaultdict[tuple[str, int], list[_Consumer]] = defaultdict(list)
        self.intakes: dict[str, Intake] = {}
        self._gone: set[str] = set()
        self._behind: dict[_Consumer, None] = {}
        for feed in feeds:
            take, take_back = NORMALISERS[feed]
            directory = _Directory(self._records)
            intake = Intake(feed, feed, SHAPES[feed], take, take_back, directory, a_state(), self._record_at, _kept)
            self.intakes[feed] = intake
            self._reads([feed_topic(feed)], _sync(intake.take))
            self._reads([IDENTITIES, parked_topic(feed), attributed_topic(feed)], _sync(intake.release))
            self._reads([IDENTITIES], directory.read)
        self._reads([PEOPLE_CHANGES], self._change)
        self._reads([CAREER_EVENTS], self._correlate)
        self._reads([IDENTITIES], self._identity)
        self._reads([dead_topic(feed_topic(feed)) for feed in feeds], self._bury)

    def feed(self, *events: FeedEvent) -> World:
        """Take in events, each in the feed that has its type, and go on until nothing is left to do."""
        for event in events:
            feed = next(feed for feed, shapes in SHAPES.items() if event.type in shapes)
            self._write([Output(feed_topic(feed), _subject(event).encode(), as_sent(event))])
            while (self._rng is None or self._rng.random() < 0.7) and self._step():
                pass
        while self._step():
            pass
        return self

    def again(self) -> list[Output]:
        """Handle all changes once more, as after a crash before offsets were committed; return what is said."""
        return [output for record in self.changes for output in self.handler(record)]

    def changes_again(self) -> None:
        """Let every change come once more, as after a crash."""
        self._write(self.again())
        while self._step():
            pass

    def forget(self, topic: str) -> None:
        """Let Kafka drop what lies in the topic."""
        self._gone.add(topic)

    def release(self, feed: str, run: Sequence[Record]) -> Sequence[Output]:
        """Give an intake records of its identities, parked events and notes."""
        return _sync(self.intakes[feed].release)(run)

    def whom(self, moments: Iterable[datetime]) -> dict[Ref, list[EmployeeId | None]]:
        """Return whom each name means that is said at each of these moments."""
        return whom(self.identities, moments)

    def standing(self) -> dict[str, tuple[str, str, bytes]]:
        """Return the prompts that stand, and the gaps: whose, how, and a digest of what they say."""
        found = {}
        for employee in self.employees.values():
            for prompt_id, prompt in employee.prompts.items():
                if prompt.status != "withdrawn":
                    found[prompt_id] = (employee.employee_id, prompt.status, prompt.content)
            for gap_id, gap in employee.gaps.items():
                if gap.open:
                    found[gap_id] = (employee.employee_id, "gap", gap.content)
        return found

    # -- what the consumers do --------------------------------------------------------------------

    def _reads(self, topics: Sequence[str], handle: Callable[[Sequence[Record]], Sequence[Output]]) -> None:
        for place in ((topic, partition) for topic in topics for partition in range(PARTITIONS)):
            self._consumers[place].append(_Consumer(self._records[place], handle))

    def _step(self) -> bool:
        """Let one consumer handle some of what it has not read; tell whether there was one."""
        if not self._behind:
            return False
        consumer = next(iter(self._behind)) if self._rng is None else self._rng.choice(list(self._behind))
        behind = len(consumer.records) - consumer.position
        self._write(consumer.step(behind if self._rng is None else self._rng.randint(1, behind)))
        if consumer.position == len(consumer.records):
            del self._behind[consumer]
        return True

    def _write(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            place = output.topic, partition_of(output.key or b"") if output.partition is None else output.partition
            log = self._records[place]
            log.append(Record(*place, len(log), output.key, output.value, output.headers, WRITTEN))
            self._behind.update(dict.fromkeys(self._consumers[place]))

    async def _record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        return None if topic in self._gone else self._records[topic, partition][offset]

    def _change(self, run: Sequence[Record]) -> list[Output]:
        self.changes.extend(run)
        return [output for record in run for output in self.handler(record)]

    def _identity(self, run: Sequence[Record]) -> list[Output]:
        self.identities.extend(read_identity(record.key, record.value or b"") for record in run)
        return []

    def _bury(self, run: Sequence[Record]) -> list[Output]:
        self.dead.extend(run)
        return []

    def _correlate(self, run: Sequence[Record]) -> list[Output]:
        for record in run:
            event = read_career_event(record.value or b"")
            if event.employee_id is None:
                self._calendars[record.partition] = calendar = tell(self._calendars[record.partition], event)
                if record.partition == 0:
                    self.log.append(event)
                for who, employee in self.employees.items():
                    if partition_of(who.encode()) == record.partition:
                        self.employees[who] = reconsider(employee, calendar, event.id, self._policy).employee
            else:
                assert (record.key or b"").decode() == event.employee_id
                self.log.append(event)
                employee = self.employees.get(event.employee_id, EmployeeState(event.employee_id))
                calendar = self._calendars[record.partition]
                self.employees[event.employee_id] = decide(employee, calendar, event, self._policy).employee
        return []


class _Consumer:
    def __init__(self, records: list[Record], handle: Callable[[Sequence[Record]], Sequence[Output]]) -> None:
        self.records, self.position = records, 0
        self._handle = handle

    def step(self, count: int) -> Sequence[Output]:
        run = self.records[self.position : self.position + count]
        self.position += count
        return self._handle(run)


class _Directory:
    """What an intake knows of identities: as far as it has read, or on demand all that there is."""

    def __init__(self, records: dict[tuple[str, int], list[Record]]) -> None:
        self._records, self._names = records, Names()

    def find(self, ref: Ref, at: datetime) -> EmployeeId | None:
        return self._names.find(ref, at)

    async def catch_up(self) -> None:
        for partition in range(PARTITIONS):
            self.read(self._records[IDENTITIES, partition])

    def read(self, run: Sequence[Record]) -> list[Output]:
        for record in run:
            self._names.learn(read_identity(record.key, record.value or b""))
        return []


def whom(identities: Iterable[Identity], moments: Iterable[datetime]) -> dict[Ref, list[EmployeeId | None]]:
    """Return whom each name means that is said at each of these moments."""
    names, refs, moments = Names(), set(), list(moments)
    for said in identities:
        names.learn(said)
        if isinstance(said, RefClaimed):
            refs.add(said.ref)
    return {ref: [names.find(ref, at) for at in moments] for ref in sorted(refs)}


def as_sent(event: FeedEvent) -> bytes:
    """Return the event as its source writes it."""
    return write_feed_event(
        event_id=event.id,
        source=event.source,
        event_type=event.type,
        subject=_subject(event),
        time=event.time,
        data=json.loads(json.dumps(event.data, default=str)),
    )


def _subject(event: FeedEvent) -> str:
    data = event.data
    return event.subject or str(data.get("employee_id") or data.get("employee") or data.get("unit_id") or "all")


async def _kept(_outputs: Sequence[Output]) -> None:
    """Do nothing: what is kept here is never lost."""


def _sync(
    handle: Callable[[Sequence[Record]], Coroutine[Any, Any, Sequence[Output]]],
) -> Callable[[Sequence[Record]], Sequence[Output]]:
    """Return the handler as a function: nothing that it awaits here waits for anything."""

    def handled(run: Sequence[Record]) -> Sequence[Output]:
        try:
            handle(run).send(None)
        except StopIteration as stopped:
            outputs: Sequence[Output] = stopped.value
            return outputs
        raise AssertionError("it waits for something")

    return handled
