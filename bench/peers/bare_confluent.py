"""The limit: a loop over confluent-kafka (librdkafka) that decodes and keeps a dict; no state store, no changelog."""

from __future__ import annotations

import json
import os
import signal
import threading

import msgspec
from confluent_kafka import Consumer

from bench.peers.events import Tally, read


def main() -> None:
    tallies: dict[str, Tally] = {}
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 250,
        }
    )
    consumer.subscribe([os.environ["BENCH_TOPIC"]])
    try:
        while not stop.is_set():
            for record in consumer.consume(num_messages=10_000, timeout=0.2):
                if record.error():
                    raise RuntimeError(record.error())
                event = read(record.value())
                tally = tallies.get(event.employee_id)
                if tally is None:
                    tally = tallies[event.employee_id] = Tally(0, 0, [])
                tally.count += 1
                tally.impact += event.achievement.impact
                tally.titles = [*tally.titles[-4:], event.achievement.title]
    finally:
        consumer.close()
    for tally in tallies.values():
        print(json.dumps(msgspec.to_builtins(tally)))


if __name__ == "__main__":
    main()
