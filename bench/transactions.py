"""Measures what Kafka's transactions add to a checkpoint: the same outputs and changelog, with and without, in turn.

A checkpoint is what `shared/streaming` writes: outputs to four partitions and changes to four of a changelog, one batch
each, acknowledged; then the source's offsets. With a transaction all three are in it (KIP-98).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console

from bench.figures import Figure, tell
from bench.installing import own_versions
from bench.lab import broker, conduct
from bench.options import add_pairs, at_least_one, numbers
from shared.streaming.topics import LARGEST_BATCH, PARTITIONS, TopicSpec, create_topics

_VALUE: Final = bytes(240)


class Checkpoints:
    """Writes checkpoints; a subclass says in which way."""

    name = "acknowledged, then committed"

    def __init__(self, servers: str, records: int) -> None:
        self.servers, self.records = servers, records
        self.run = uuid.uuid4().hex[:8]
        self.topics = {part: f"transactions-{self.run}-{part}" for part in ("source", "out", "changelog")}
        self.group = f"transactions-{self.run}"
        self.consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=self.group, enable_auto_commit=False)

    def producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self.servers,
            acks="all",
            linger_ms=2,
            max_batch_size=LARGEST_BATCH,
            max_request_size=8 * LARGEST_BATCH,
            **self.options(),
        )

    def options(self) -> dict[str, Any]:
        return {}

    async def write(self, producer: AIOKafkaProducer, offset: int) -> None:
        await self.send(producer)
        await self.consumer.commit(self.offsets(offset))

    async def send(self, producer: AIOKafkaProducer) -> None:
        sent = []
        for topic in (self.topics["out"], self.topics["changelog"]):
            for partition in range(PARTITIONS):
                batch = producer.create_batch()
                for number in range(self.records // PARTITIONS):
                    if batch.append(timestamp=None, key=b"E%07d" % number, value=_VALUE) is None:
                        raise RuntimeError(f"{self.records:,} records need more than one batch a partition: fewer")
                batch.close()
                sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    def offsets(self, offset: int) -> dict[TopicPartition, int]:
        return {TopicPartition(self.topics["source"], partition): offset for partition in range(PARTITIONS)}


class Transactions(Checkpoints):
    """All of a checkpoint in one transaction."""

    name = "one transaction"

    def options(self) -> dict[str, Any]:
        return {"transactional_id": self.run}

    async def write(self, producer: AIOKafkaProducer, offset: int) -> None:
        async with producer.transaction():
            await self.send(producer)
            await producer.send_offsets_to_transaction(self.offsets(offset), self.group)


async def measure(checkpoints: Checkpoints, count: int) -> tuple[float, float]:
    """Return records a second of wall time, and a CPU-second of this process, over so many checkpoints."""
    room = {"max.message.bytes": str(LARGEST_BATCH)}
    create_topics(checkpoints.servers, [TopicSpec(name, config=room) for name in checkpoints.topics.values()])
    consumer = checkpoints.consumer
    consumer.assign([TopicPartition(checkpoints.topics["source"], partition) for partition in range(PARTITIONS)])
    async with checkpoints.producer() as producer:
        await consumer.start()
        try:
            for offset in range(3):  # connections, metadata, the producer's id
                await checkpoints.write(producer, offset)
            begun, cpu = time.perf_counter(), time.process_time()
            for offset in range(count):
                await checkpoints.write(producer, offset)
            records = count * checkpoints.records
            return records / (time.perf_counter() - begun), records / (time.process_time() - cpu)
        finally:
            await consumer.stop()


async def _measured(way: type[Checkpoints], servers: str, records: int, count: int) -> tuple[float, float]:
    return await measure(way(servers, records), count)  # made where there is a loop


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 2 when nothing could be measured."""
    asked = _parser().parse_args(arguments)
    return conduct("bench.transactions", arguments, asked.note, lambda _cores, console: _measure(asked, console))


def _measure(asked: argparse.Namespace, console: Console) -> int:
    with broker() as own:
        for pair in range(1, asked.pairs + 1):
            for records in asked.records:
                for way in (Checkpoints, Transactions):
                    rates = asyncio.run(_measured(way, own.bootstrap_servers, records, asked.checkpoints))
                    size = {"records": records, "checkpoints": asked.checkpoints}
                    versions = own_versions("aiokafka")
                    for name, value in zip(("events_per_second", "events_per_cpu_second"), rates, strict=True):
                        unit = "events/s" if name == "events_per_second" else "events/CPU-s"
                        tell(Figure("transactions", name, round(value, 1), unit, way.name, versions, size, pair))
                    console.print(f"{way.name}, {records:,} records, {pair}/{asked.pairs}: {rates[0]:,.0f} records/s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.transactions",
        description="Measure what a Kafka transaction adds to a checkpoint. One JSON line a figure on stdout; see "
        "bench/README.md. Exit code 2: nothing could be measured.",
    )
    add_pairs(parser)
    parser.add_argument(
        "--records",
        type=numbers,
        default=[100, 20_000],
        metavar="N,N",
        help="outputs of a checkpoint, and as many changes (default: 100,20000)",
    )
    parser.add_argument(
        "--checkpoints", type=at_least_one, default=40, metavar="N", help="of a round (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
