"""Reads topics of a running system for tests; waits for what is to come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from deploy.spawn import wait_until

WITHIN = 30.0


def records_of(bootstrap_servers: str, topic: str, enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
    """Return all records of `topic` as soon as they are enough; fail when they are not in time."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found: list[Any] = []

        def came() -> bool:
            for batch in consumer.poll(timeout_ms=200).values():
                found.extend(batch)
            return enough(found)

        assert wait_until(came, within=WITHIN), f"{what} did not come to {topic}; {len(found)} records did"
        return found
