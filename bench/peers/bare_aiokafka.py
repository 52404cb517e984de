"""The limit: a loop over aiokafka that decodes and keeps a dict; no state store, no changelog."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import msgspec
from aiokafka import AIOKafkaConsumer

from bench.peers.events import Tally, read


async def main() -> None:
    tallies: dict[str, Tally] = {}
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    consumer = AIOKafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_BOOTSTRAP_SERVERS"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        auto_commit_interval_ms=250,
    )
    await consumer.start()
    try:
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=200, max_records=10_000)).values():
                for record in records:
                    event = read(record.value)
                    tally = tallies.get(event.employee_id)
                    if tally is None:
                        tally = tallies[event.employee_id] = Tally(0, 0, [])
                    tally.count += 1
                    tally.impact += event.achievement.impact
                    tally.titles = [*tally.titles[-4:], event.achievement.title]
    finally:
        await consumer.stop()
    for tally in tallies.values():
        print(json.dumps(msgspec.to_builtins(tally)))


if __name__ == "__main__":
    asyncio.run(main())
