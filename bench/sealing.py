"""Measures what sealing costs: CPU of a career event from the contract's model to the record, and back, sealed and not;
and of an employee's state from what the correlator knows to what lies on disk, and back.

`python -m bench.sealing`, not part of `make bench`: in one process and without Kafka, for that is what sealing adds to.
Prints a JSON line.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.correlator.facts import learn
from services.correlator.forgetting import STANDING
from services.correlator.state import EmployeeState, Person, ProfileFrom, Tie, decode_employee, encode_employee
from shared.contracts.career import AchievementRecorded, CareerEvent, read_career_event, write_contract
from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Output, Record, written_at
from shared.streaming.sealed_states import CHANGELOG_SUFFIX
from shared.streaming.topics import CAREER_EVENTS

EVENTS: Final = 2_000
ROUNDS: Final = 15
_TOGETHER: Final = 100
"""So many entries are read from disk together."""
_TITLE: Final = "Checkout answers in half the time, measured over a month of the busiest hours"


class _InMemory(Keyring):
    """Keeps its keys to itself."""

    def _write(self, records: object) -> None: ...

    def catch_up(self) -> None:
        """Know all there is."""


def main() -> None:
    """Measure in turn, and print medians of CPU microseconds an event."""
    events = [read_career_event(_event(number)) for number in range(EVENTS)]
    sealing = _InMemory(
        PersonKeySettings(PERSON_MARKS_KEY="m" * 32, PERSON_MASTER_KEYS=base64.b64encode(os.urandom(32)).decode()),
        "nowhere:9",
    )
    plain = Keyring(PersonKeySettings(PERSON_MARKS_KEY=None, PERSON_MASTER_KEYS=None), "nowhere:9")
    records = {"plain": _written(events, plain), "sealed": _written(events, sealing)}
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, keys in (("plain", plain), ("sealed", sealing)):
            taken.setdefault(f"write_{name}", []).append(_cpu(lambda: _written(events, keys)))  # noqa: B023
            taken.setdefault(f"read_{name}", []).append(_cpu(lambda: _read(records[name], keys)))  # noqa: B023
    states = [_state(number) for number in range(EVENTS)]
    changelog = "correlator-standing" + CHANGELOG_SUFFIX
    entries = [(f"0/employee/{s.employee_id}".encode(), f"employee/{s.employee_id}") for s in states]
    at_rest: list[bytes] = []
    for _ in range(ROUNDS):
        taken.setdefault("state_write_plain", []).append(_cpu(lambda: [encode_employee(state) for state in states]))
        encoded = [encode_employee(state) for state in states]
        taken.setdefault("state_write_sealed", []).append(
            _cpu(lambda: at_rest.__setitem__(slice(None), _sealed(sealing, changelog, entries, states)))
        )
        taken.setdefault("state_read_plain", []).append(_cpu(lambda: [decode_employee(value) for value in encoded]))  # noqa: B023
        taken.setdefault("state_read_sealed", []).append(_cpu(lambda: _opened(sealing, changelog, at_rest)))
    told = {f"{name}_us": round(statistics.median(of) / EVENTS * 1e6, 1) for name, of in taken.items()}
    size = {name: round(sum(len(r.value or b"") for r in of) / EVENTS) for name, of in records.items()}
    size |= {
        "state_plain": round(sum(map(len, encoded)) / EVENTS),
        "state_sealed": round(sum(map(len, at_rest)) / EVENTS),
    }
    print(json.dumps({"bench": "sealing", "events": EVENTS, "rounds": ROUNDS, **told, "bytes": size}))


def _sealed(
    keys: Keyring, changelog: str, entries: Sequence[tuple[bytes, str]], states: Sequence[EmployeeState]
) -> list[bytes]:
    values = zip(entries, map(encode_employee, states), strict=True)
    return keys.seal_entries(changelog, STANDING, [(*entry, value) for entry, value in values])


def _opened(keys: Keyring, changelog: str, values: Sequence[bytes]) -> None:
    for at in range(0, len(values), _TOGETHER):
        for _, value in keys.open_entries(changelog, STANDING, values[at : at + _TOGETHER]):
            decode_employee(value or b"")


def _state(number: int) -> EmployeeState:
    """Return somebody with a manager, a sponsor, a mentor and ten achievements that one person each has seen."""
    employee = EmployeeState(f"E{number:05}")
    tied = [f"E{(number * 7 + by) % EVENTS:05}" for by in (1, 2)]
    for event in (read_career_event(_event(number * 10 + of)) for of in range(10)):
        assert isinstance(event, AchievementRecorded)
        employee = learn(employee, event)
    at = datetime(2026, 1, 14, tzinfo=UTC)
    people = {
        other: Person(
            1, f"Somebody of {other}", 6, "UTC", (f"email:{other}@example.com",), None, ((tied[0], "Ann", 7),)
        )
        for other in tied
    }
    ties = {f"tie-{other}": Tie("sponsor", other, (at, (at, other))) for other in tied}
    profile = ProfileFrom(at, 1, f"Employee {number}", 4, at.date(), ("acme", "eng"), f"E{number // 8:05}", active=True)
    return msgspec.structs.replace(employee, profiles=(profile,), people=people, ties=ties)


def _event(number: int) -> bytes:
    return json.dumps(
        {
            "type": "achievement.recorded",
            "id": f"event-{number}",
            "at": "2026-01-14T09:00:00Z",
            "source": f"urn:example:recognition#{number}",
            "employee_id": f"E{number % 500:05}",
            "achievement": {
                "achievement_id": f"A{number}",
                "title": _TITLE,
                "outcome": "From 900 ms to 430 ms at the busiest hour; 3 % more orders",
                "impact": 2,
                "occurred_on": "2026-01-14",
                "competencies": ["delivery", "technical leadership"],
                "link": f"https://example.com/{number}",
                "witnesses": [f"email:w{number % 300}@example.com"],
            },
        }
    ).encode()


def _written(events: Sequence[CareerEvent], keys: Keyring) -> list[Record]:
    outputs = [Output(CAREER_EVENTS, (e.employee_id or "").encode(), write_contract(e)) for e in events]
    at = written_at(0)
    return [
        Record(o.topic, o.partition or 0, number, o.key, o.value, o.headers, at)
        for number, o in enumerate(keys.seal_all(outputs))
    ]


def _read(records: Sequence[Record], keys: Keyring) -> None:
    for record in keys.open_all(records):
        read_career_event(record.value or b"")


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
