"""The correlator's rules in a loop: states read, judged for a cycle that opens, and written, as bytes; no Kafka.

Prints one JSON line: how many prompts, in how many seconds, and CPU-seconds.
"""

from __future__ import annotations

import gc
import json
import sys
import time

import msgspec

from bench.dataset import as_many_each, career, employee_id, opening, tick
from services.correlator.facts import learn, tell
from services.correlator.handlers import output_of
from services.correlator.policy import Policy
from services.correlator.rules import reconsider
from services.correlator.state import Calendar, EmployeeState, decode_employee, encode_employee
from shared.contracts.base import utc
from shared.contracts.career import read_career_event


def main(employees: int, pieces: int) -> None:
    """Measure so many employees."""
    known = {employee_id(number): EmployeeState(employee_id(number)) for number in range(employees)}
    for number in range(employees):
        for event in career(number):
            if event.employee_id is not None:
                known[event.employee_id] = learn(known[event.employee_id], event)
    for _, value in as_many_each(employees, pieces):
        done = read_career_event(value)
        if done.employee_id is not None:
            known[done.employee_id] = learn(known[done.employee_id], done)
    opened = opening("cycle", utc(2026, 9, 1))
    calendar = tell(tell(Calendar(), tick(utc(2026, 9, 1))), opened)
    stored = [encode_employee(employee) for employee in known.values()]
    del known
    gc.freeze()
    policy, prompts = Policy(), 0
    begun, cpu = time.monotonic(), time.process_time()
    for value in stored:
        decision = reconsider(decode_employee(value), calendar, opened.id, policy)
        encode_employee(msgspec.structs.replace(decision.employee, changed_by=1))
        prompts += len([output_of(said) for said in decision.outputs])
    took = {"seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({"prompts": prompts, **took}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
