"""Claims a changelog's partition for one worker: whoever had it before is refused by Kafka from then on.

A worker that stands still (a paused machine, a swapped process) for longer than its session is taken for dead, and its
partitions go to another. When it wakes, it is in the midst of something and does not know: what it then writes to a
changelog would stand behind what the new owner has written, and a later recovery would bring old state back. Asking the
group first does not help, for it may be stopped between the question and the write.

Kafka can refuse it by what idempotent producers carry: a producer id and an epoch. Both come from a *transactional id*,
one for each partition of a changelog, and each that asks for it gets the next epoch. A partition takes nothing of an
epoch older than the newest that has written to it. So the claim is a record of its own, written before the changelog's
end is looked up for recovery: what the old owner wrote before it is recovered, what it writes after it is refused. No
transaction is ever begun (docs/decisions/015-no-transactions.md), so a write costs no more than before.

An epoch has 15 bits: after 32,767 claims of a partition Kafka begins a new producer id, and that one claim refuses
nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from os import getpid
from socket import gethostname
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced
from faust.types import AppT

from shared.engine.batches import write_with

CLAIM: Final = b"\x00claim"
"""The key of the record that claims; no key of a table begins with a zero byte."""
_LARGEST_CLAIM: Final = 1 << 16
_AGAIN_SECONDS: Final = 0.5
_RELEASE_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


class Fenced(Exception):
    """Another worker has claimed the partition since; what this one holds of it is out of date."""


class Claim:
    """The right to write to one partition of a changelog, until somebody else claims it."""

    def __init__(self, producer: Any, topic: str, partition: int) -> None:
        self._producer = producer
        self._topic, self._partition = topic, partition

    async def write(self, changes: Mapping[bytes, bytes | None], largest: int) -> int:
        """Write what each key is now, None if it is deleted, and return the last record's offset.

        It takes as long as Kafka is away: what was sent is sent again under its sequence number, and lies there once.

        Args:
            changes: at least one.
            largest: bytes of a batch at most; what fits into one is there whole or not at all.

        Raises:
            Fenced: the partition is somebody else's.
            aiokafka.errors.KafkaError: Kafka refuses; this claim can't be used any more.
        """
        entries = [(key, value, ()) for key, value in changes.items()]
        written = await write_with(self._producer, self._topic, self._partition, entries, largest, together=largest)
        if isinstance(written.error, ProducerFenced):
            raise Fenced(
                f"another worker has taken over {self._topic}/{self._partition} while this one stood still for longer "
                "than its session; what this one had in hand is that one's now"
            ) from written.error
        if written.error is not None:
            raise written.error
        return written.last_offset

    async def release(self) -> None:
        """Close the connections; do not wait long for a Kafka that is away."""
        stopping = asyncio.create_task(self._producer.stop())
        await asyncio.wait({stopping}, timeout=_RELEASE_SECONDS)


async def claim(app: AppT, topic: str, partition: int) -> Claim:
    """Take over a changelog's partition: from when this has returned, nobody who claimed it before can write to it.

    Raises:
        Fenced: another worker has claimed it a moment later.
        aiokafka.errors.KafkaError: Kafka refuses, as when this service may not write under a transactional id.
    """
    name = f"{app.conf.id}-{topic}-{partition}"
    while True:
        producer: Any = app.producer._new_producer(transactional_id=name)  # type: ignore[attr-defined]
        try:
            await producer.start()
        except KafkaConnectionError as exc:
            log.warning("can't claim %s/%s, trying again: %r", topic, partition, exc)
            await producer.stop()
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        # It has its id and epoch. Without a name aiokafka takes it for an idempotent producer outside of transactions.
        producer._txn_manager.transactional_id = None
        claimed = Claim(producer, topic, partition)
        try:
            await claimed.write({CLAIM: f"{gethostname()} {getpid()}".encode()}, _LARGEST_CLAIM)
        except (Fenced, KafkaError):
            await claimed.release()
            raise
        return claimed
