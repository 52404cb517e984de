"""The whole rules as a user of Quix Streams would run them: a stateful apply, RocksDB with a changelog, two topics.

Quix hands a function the state of its record's key and of no other. Cycles and the clock have records without a key,
and concern every employee of their partition: for those the same store is asked for the state of other keys, as the
library does it itself, and a list of the partition's employees is kept in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from quixstreams import State, message_context
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.models import Deserializer, SerializationContext, Serializer

from bench.peers.deciding import POLICY, visit
from bench.peers.quix import application
from services.correlator.facts import tell
from services.correlator.rules import Decision, Output, decide
from services.correlator.state import (
    Calendar,
    EmployeeState,
    calendar_of,
    decode_employee,
    encode_calendar,
    encode_employee,
)
from shared.contracts.career import CareerEvent, read_career_event
from shared.contracts.ids import EventId
from shared.contracts.said import is_gap, key_of, write

_STATE = "employee"
_CALENDAR = "calendar"
_LISTED = "listed"
"""Under no key: how many employees the partition has, and, by number, who they are."""


class Careers(Deserializer):
    def __call__(self, value: bytes, ctx: SerializationContext) -> CareerEvent:  # noqa: ARG002 (Quix names it)
        return read_career_event(value)


class Said(Serializer):
    def __call__(self, value: Output, ctx: SerializationContext) -> bytes:  # noqa: ARG002 (as above)
        return write(value)


class Rules:
    def __init__(self, events: StreamingDataFrame) -> None:
        self._events = events

    def decide(self, event: CareerEvent, state: State) -> list[Output]:
        everybodys = self._state_of(None)
        calendar = calendar_of(everybodys.get_bytes(_CALENDAR))
        if event.employee_id is None:
            return self._for_everybody(event, calendar, everybodys)
        before = state.get_bytes(_STATE)
        if before is None:
            employee = EmployeeState(event.employee_id)
            number = everybodys.get(_LISTED, 0)
            everybodys.set(f"{_LISTED}/{number}", event.employee_id)
            everybodys.set(_LISTED, number + 1)
        else:
            employee = decode_employee(before)
        return self._keep(decide(employee, calendar, event, POLICY), employee, state)

    def _for_everybody(self, event: Any, before: Calendar, everybodys: State) -> list[Output]:
        after = tell(before, event)
        everybodys.set_bytes(_CALENDAR, encode_calendar(after))
        outputs: list[Output] = []
        for decision in visit(self._everybody(everybodys), before, after, EventId(event.id)):
            outputs += self._keep(decision, None, self._state_of(decision.employee.employee_id.encode()))
        return outputs

    def _everybody(self, everybodys: State) -> Iterator[EmployeeState]:
        for number in range(everybodys.get(_LISTED, 0)):
            key = everybodys.get(f"{_LISTED}/{number}").encode()
            yield decode_employee(self._state_of(key).get_bytes(_STATE))

    def _keep(self, decision: Decision, before: EmployeeState | None, state: State) -> list[Output]:
        if decision.employee != before:
            state.set_bytes(_STATE, encode_employee(decision.employee))
        return list(decision.outputs)

    def _state_of(self, key: bytes | None) -> State:
        transaction = self._events.processing_context.checkpoint.get_store_transaction(
            stream_id=self._events.stream_id, partition=message_context().partition
        )
        return transaction.as_state(prefix=key)


def main() -> None:
    app = application()
    events = app.dataframe(app.topic(os.environ["BENCH_TOPIC"], value_deserializer=Careers()))
    prompts = app.topic(os.environ["BENCH_PROMPTS"], value_serializer=Said(), key_serializer="bytes")
    gaps = app.topic(os.environ["BENCH_GAPS"], value_serializer=Said(), key_serializer="bytes")
    said = events.apply(Rules(events).decide, stateful=True, expand=True)
    said.to_topic(lambda value, _key, _timestamp, _headers: gaps if is_gap(value) else prompts, key=key_of)
    app.run()


if __name__ == "__main__":
    main()
