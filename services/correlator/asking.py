"""Answers "why?" from Kafka: reads an employee's partition of the log, and what was said of them, and explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.correlator.explanation import Explanation, NotKnown, Place, explain, known_cycles
from services.correlator.policy import Policy
from services.correlator.replay import Follower
from services.correlator.rules import Output, who_may_be_asked
from shared.contracts import said as as_said
from shared.contracts.outputs import (
    GapClosed,
    GapEvent,
    GapOpened,
    GapUpdated,
    PromptEvent,
    read_gap_event,
    read_prompt_event,
)
from shared.streaming.person_keys import Keyring
from shared.streaming.reading import Progress, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, GAPS, PROMPTS, partition_of

_READ: Final[dict[str, Callable[[bytes], PromptEvent | GapEvent]]] = {PROMPTS: read_prompt_event, GAPS: read_gap_event}


Watch = Callable[[str], Progress]
"""Makes what takes the progress of reading something, from its name."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What an id names."""

    kind: str
    employee_id: str
    cycle_id: str


class Asking:
    """Explains, reading from one cluster by one set of numbers; `keys` open what is sealed there."""

    def __init__(self, bootstrap_servers: str, keys: Keyring, policy: Policy, watch: Watch) -> None:
        self._keys = keys
        self._bootstrap_servers = bootstrap_servers
        self._policy = policy
        self._watch = watch

    def about_employee(self, employee_id: str, cycle_id: str | None) -> list[Explanation]:
        """Return the explanation of one cycle, or of all that are known, those that open first in front.

        Raises:
            NotKnown: there is no such employee or cycle; the message says what to do.
            NotRead: Kafka is away.
        """
        return self._explained(employee_id, cycle_id, stop_at=None)

    def about_thing(self, thing_id: str, version: int | None) -> tuple[Thing, Explanation]:
        """Return what the id of a prompt or gap names, and the explanation: as of now, or as when `version` was said.

        Raises:
            NotKnown: there is no such id or version; the message says what to do.
            NotRead: Kafka is away.
        """
        thing = self._find(thing_id)
        stop_at = (thing_id, version) if version is not None else None
        (explanation,) = self._explained(thing.employee_id, thing.cycle_id, stop_at)
        return thing, explanation

    def _find(self, thing_id: str) -> Thing:
        # What was said holds the id as text; to look for the bytes is quicker than to read all that was ever said.
        mark = f'"{thing_id}"'.encode()
        for topic in (PROMPTS, GAPS):
            for record in read_to_the_end(self._bootstrap_servers, topic, progress=self._watch(topic), keys=self._keys):
                if record.value is None or mark not in record.value:
                    continue
                said = _READ[topic](record.value)
                if _thing_id(said) == thing_id:
                    return Thing("prompt" if topic == PROMPTS else "gap", said.employee_id, said.cycle_id)
        raise NotKnown(
            f"nothing was ever said of a prompt or gap {thing_id!r}: take the id from a message (`prompt_id`) or from "
            f"insights (/v1/prompts, /v1/gaps). To learn why there is none, ask by employee and cycle"
        )

    def _explained(self, employee_id: str, cycle_id: str | None, stop_at: tuple[str, int] | None) -> list[Explanation]:
        seen, position = self._followed(employee_id, stop_at)
        cycles = [cycle_id] if cycle_id is not None else known_cycles(seen)
        if not cycles:
            raise NotKnown("no cycle has been announced: there is nothing to explain before that")
        said = self._what_was_said(seen, cycles)
        called_for = {one.output.id for one in seen.said}
        found = []
        for cycle in cycles:
            extra = [
                place
                for event_id, places in said.by_id.items()
                if event_id not in called_for and stop_at is None and said.cycle[event_id] == cycle
                for place, _ in places
            ]
            found.append(explain(seen, cycle, position, said.by_id, extra))
        return found

    def _followed(self, employee_id: str, stop_at: tuple[str, int] | None) -> tuple[Follower, tuple[int, int]]:
        """Return the employee, followed to the log's end or until a version was said, and how far that was."""
        key = employee_id.encode()
        partition = partition_of(key)
        seen = Follower(employee_id, self._policy)
        next_offset = 0
        for record in read_to_the_end(
            self._bootstrap_servers,
            CAREER_EVENTS,
            [partition],
            wanted=lambda k: k is None or k == key,
            progress=self._watch(f"{CAREER_EVENTS}/{partition}"),
            keys=self._keys,
        ):
            before = len(seen.said)
            seen.take(record)
            next_offset = record.offset + 1
            if any((_thing_id(s.output), s.output.version) == stop_at for s in seen.said[before:]):
                return seen, (partition, next_offset)
        if stop_at is not None:
            thing_id, version = stop_at
            versions = [s.output.version for s in seen.said if _thing_id(s.output) == thing_id]
            there_are = f"1 to {max(versions)}" if versions else "none"
            raise NotKnown(f"the log calls for no version {version} of {thing_id}: there are {there_are}")
        return seen, (partition, next_offset)

    def _what_was_said(self, seen: Follower, cycles: Sequence[str]) -> _Written:
        """Return what the service wrote of the employee in these cycles."""
        written = _Written()
        sponsors = sorted({who for cycle in cycles for who in who_may_be_asked(seen.employee, cycle)})
        keys = {PROMPTS: [who.encode() for who in sponsors], GAPS: [seen.employee.employee_id.encode()]}
        for topic, of in keys.items():
            for partition in sorted({partition_of(key) for key in of}):
                for record in read_to_the_end(
                    self._bootstrap_servers,
                    topic,
                    [partition],
                    wanted=lambda k: k in of,  # noqa: B023 (used up in this turn)
                    progress=self._watch(f"{topic}/{partition}"),
                    keys=self._keys,
                ):
                    written.take(record, seen.employee.employee_id)
        return written


@dataclass(slots=True)
class _Written:
    by_id: dict[str, list[tuple[Place, bytes]]] = field(default_factory=lambda: defaultdict(list))
    cycle: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record, employee_id: str) -> None:
        if record.value is None:
            return
        said = _READ[record.topic](record.value)
        if said.employee_id == employee_id:
            place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
            self.by_id[said.id].append((place, record.value))
            self.cycle[said.id] = said.cycle_id


def _thing_id(event: Output | PromptEvent | GapEvent) -> str:
    if isinstance(
        event, GapOpened | GapUpdated | GapClosed | as_said.GapOpened | as_said.GapUpdated | as_said.GapClosed
    ):
        return event.gap_id
    return event.prompt_id
