"""The whole rules as a user of aiokafka would run them: a loop with the correlator's pure rules and a dict.

There is no state store and no changelog, and what is repeated after a crash is said again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import defaultdict

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers.deciding import POLICY, visit
from services.correlator.facts import tell
from services.correlator.handlers import output_of
from services.correlator.rules import Decision, decide
from services.correlator.state import Calendar, EmployeeState
from shared.contracts.career import CareerEvent, read_career_event
from shared.contracts.ids import EventId


class Partition:
    """The cycles, the time and the employees of one partition."""

    def __init__(self) -> None:
        self.calendar = Calendar()
        self.employees: dict[str, EmployeeState] = {}

    def take(self, event: CareerEvent) -> list[Decision]:
        """Return what follows from the event for each whom it concerns."""
        if event.employee_id is not None:
            employee = self.employees.get(event.employee_id) or EmployeeState(event.employee_id)
            decisions = [decide(employee, self.calendar, event, POLICY)]
        else:
            before, self.calendar = self.calendar, tell(self.calendar, event)
            decisions = list(visit(self.employees.values(), before, self.calendar, EventId(event.id)))
        for decision in decisions:
            self.employees[decision.employee.employee_id] = decision.employee
        return decisions


async def main() -> None:
    partitions: dict[int, Partition] = defaultdict(Partition)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    servers = os.environ["BENCH_BOOTSTRAP_SERVERS"]
    consumer = AIOKafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=servers,
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=5, max_batch_size=256 * 1024)
    await consumer.start()
    await producer.start()
    try:
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=200, max_records=4000)
            said = [
                output_of(output)
                for records in fetched.values()
                for record in records
                for decision in partitions[record.partition].take(read_career_event(record.value))
                for output in decision.outputs
            ]
            await asyncio.gather(*[await producer.send(o.topic, o.value, o.key) for o in said])
            if fetched:
                await consumer.commit()
    finally:
        await producer.stop()
        await consumer.stop()
    for partition in partitions.values():
        for employee in partition.employees.values():
            known = employee.achievements.values()
            titles = [fact.title for fact in known if fact.title]
            print(json.dumps({"count": len(known), "impact": sum(f.impact for f in known), "titles": titles}))


if __name__ == "__main__":
    asyncio.run(main())
