"""Decides which offset may be committed: from the order in which messages were delivered, not from their offsets."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

Partition = TypeVar("Partition", bound=Hashable)


class Delivery(Protocol):
    """What was delivered to agents: a record, or a run of them."""

    offset: int
    """The offset of its only, or last, record."""
    acked: bool
    """Whether all agents that it was delivered to have finished it."""


class Deliveries(Generic[Partition]):
    """What was delivered of each partition and may not be committed yet, in order.

    Faust counts instead: a partition may be committed up to the first number that is missing among the acked offsets,
    where gaps have been told apart from what is unfinished. Here gaps don't matter, for nobody asks which offset comes
    next, and a run needs no other arithmetic than a record.
    """

    def __init__(self) -> None:
        self._unfinished: dict[Partition, deque[Delivery]] = defaultdict(deque)

    def add(self, partition: Partition, delivery: Delivery) -> None:
        """Take note of what is now delivered; its offsets lie behind all that were delivered of the partition before.

        It holds up the commit until it is acked, even if it gets lost on its way to the agents.
        """
        self._unfinished[partition].append(delivery)

    def committable(self, partition: Partition) -> int | None:
        """Return the offset after the longest finished prefix, and forget that prefix; None where nothing is new."""
        unfinished = self._unfinished.get(partition)
        last = None
        while unfinished and unfinished[0].acked:
            last = unfinished.popleft()
        return None if last is None else last.offset + 1

    def pending(self) -> Iterable[Partition]:
        """Return the partitions of which something is delivered and not yet committable."""
        return [partition for partition, unfinished in self._unfinished.items() if unfinished]

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what was delivered of these partitions: it will be read again, here or by another worker.

        What is acked after that counts for nothing, so it can't be taken for the same records delivered anew.
        """
        for partition in partitions:
            self._unfinished.pop(partition, None)
