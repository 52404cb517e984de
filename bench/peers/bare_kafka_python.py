"""The limit of the gateway's Kafka side: kafka-python, acks=all, with so many records under way; prints what it did."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from kafka import KafkaProducer


def main() -> None:
    under_way, seconds = int(os.environ["BENCH_UNDER_WAY"]), float(os.environ["BENCH_SECONDS"])
    events = [line.rstrip(b"\n") for line in sys.stdin.buffer]
    producer = KafkaProducer(
        bootstrap_servers=os.environ["BENCH_BOOTSTRAP_SERVERS"], acks="all", linger_ms=5 if under_way > 100 else 0
    )
    producer.partitions_for(os.environ["BENCH_TOPIC"])
    room = threading.Semaphore(under_way)
    failures: list[BaseException] = []

    def acknowledged(_metadata: object) -> None:
        room.release()

    def failed(error: BaseException) -> None:
        failures.append(error)
        room.release()

    begun, cpu, sent = time.monotonic(), time.process_time(), 0
    while time.monotonic() < begun + seconds and not failures:
        room.acquire()
        event = events[sent % len(events)]
        future = producer.send(os.environ["BENCH_TOPIC"], key=b"%d" % (sent % 1000), value=event)
        future.add_callback(acknowledged).add_errback(failed)
        sent += 1
    for _ in range(under_way):
        room.acquire()
    took, used = time.monotonic() - begun, time.process_time() - cpu
    producer.close()
    if failures:
        raise failures[0]
    # Not getrusage: its figure begins with that of the process which forked this one.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"events": sent, "seconds": took, "cpu_seconds": used, "peak_rss_bytes": peak}))


if __name__ == "__main__":
    main()
