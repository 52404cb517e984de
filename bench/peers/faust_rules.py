"""The whole rules as a user of plain Faust would run them: an agent, two Tables in RocksDB (rocksdict), two topics."""

from __future__ import annotations

import os
from collections.abc import Iterator

from faust.types import StreamT

from bench.peers.deciding import POLICY, visit
from bench.peers.faust_app import faust_app
from services.correlator.facts import tell
from services.correlator.rules import Decision, decide
from services.correlator.state import EmployeeState, calendar_of, decode_employee, encode_calendar, encode_employee
from shared.contracts.career import read_career_event
from shared.contracts.ids import EventId
from shared.contracts.said import is_gap, key_of, write

app = faust_app(
    key_serializer="raw",
    value_serializer="raw",
    producer_linger=0.005,  # not its default of 0: it gains a fifth by it, for each event writes two records
)
_CALENDAR = b"calendar"

careers = app.topic(os.environ["BENCH_TOPIC"], key_type=bytes, value_type=bytes)
prompts = app.topic(os.environ["BENCH_PROMPTS"], key_type=bytes, value_type=bytes)
gaps = app.topic(os.environ["BENCH_GAPS"], key_type=bytes, value_type=bytes)
employees = app.Table("employees", key_type=bytes, value_type=bytes, partitions=4)
calendars = app.Table("calendars", key_type=bytes, value_type=bytes, partitions=4)


@app.agent(careers)
async def correlate(values: StreamT[bytes]) -> None:
    async for value in values:
        event = read_career_event(value)
        calendar = calendar_of(calendars.get(_CALENDAR))
        if event.employee_id is not None:
            known = employees.get(event.employee_id.encode())
            employee = EmployeeState(event.employee_id) if known is None else decode_employee(known)
            await keep(decide(employee, calendar, event, POLICY), employee)
        else:
            after = tell(calendar, event)
            calendars[_CALENDAR] = encode_calendar(after)
            for decision in visit(everybody(), calendar, after, EventId(event.id)):
                await keep(decision, None)


async def keep(decision: Decision, before: EmployeeState | None) -> None:
    if decision.employee != before:
        employees[decision.employee.employee_id.encode()] = encode_employee(decision.employee)
    for said in decision.outputs:
        await (gaps if is_gap(said) else prompts).send(key=key_of(said), value=write(said))


def everybody() -> Iterator[EmployeeState]:
    """Yield the employees of the partition in hand: iteration goes over all of this worker's, look-ups don't."""
    for key in employees.keys():  # noqa: SIM118 (a Table is no dict: to iterate it gives no keys of its store)
        stored = employees.get(key)
        if stored is not None:
            yield decode_employee(stored)


if __name__ == "__main__":
    app.main()
