"""The limit of the gateway's Kafka side: confluent-kafka, acks=all, with so many records under way."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer


def main() -> None:
    most, seconds = int(os.environ["BENCH_UNDER_WAY"]), float(os.environ["BENCH_SECONDS"])
    topic = os.environ["BENCH_TOPIC"]
    events = [line.rstrip(b"\n") for line in sys.stdin.buffer]
    producer = Producer(
        {
            "bootstrap.servers": os.environ["BENCH_BOOTSTRAP_SERVERS"],
            "acks": "all",
            "linger.ms": 5 if most > 100 else 0,
        }
    )
    producer.list_topics(topic, timeout=10)
    acknowledged = 0
    failures: list[KafkaError] = []

    def done(error: KafkaError | None, _message: Message) -> None:
        nonlocal acknowledged
        acknowledged += 1
        if error is not None:
            failures.append(error)

    begun, cpu, sent = time.monotonic(), time.process_time(), 0
    while time.monotonic() < begun + seconds and not failures:
        while sent - acknowledged >= most:
            producer.poll(0.1)
        producer.produce(topic, key=b"%d" % (sent % 1000), value=events[sent % len(events)], on_delivery=done)
        sent += 1
        producer.poll(0)
    producer.flush()
    took, used = time.monotonic() - begun, time.process_time() - cpu
    if failures:
        raise RuntimeError(failures[0])
    # Not getrusage: its figure begins with that of the process which forked this one.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"events": sent, "seconds": took, "cpu_seconds": used, "peak_rss_bytes": peak}))


if __name__ == "__main__":
    main()
