"""Tells how far the services are behind: records in the topics that each reads, less those whose effects are safe."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from shared.streaming.connection import security
from shared.streaming.topics import (
    ATTRIBUTES,
    CAREER_EVENTS,
    DELIVERIES,
    FEEDS,
    GAPS,
    IDENTITIES,
    PARTITIONS,
    PEOPLE_CHANGES,
    PORTAL_AUDIT,
    PROMPTS,
    SOURCES_RECEIVED,
    SPONSOR_CHOICES,
    OtherPartitions,
    attributed_topic,
    check_partitions,
    feed_topic,
    parked_topic,
)

READS: Final[Mapping[str, tuple[str, ...]]] = {
    **{feed: (feed_topic(feed), parked_topic(feed), attributed_topic(feed), IDENTITIES) for feed in FEEDS},
    "people": (feed_topic("people"), parked_topic("people"), attributed_topic("people"), IDENTITIES, PEOPLE_CHANGES),
    "correlator": (CAREER_EVENTS,),
    "sources": (SOURCES_RECEIVED,),
    "prompter": (PROMPTS, SPONSOR_CHOICES),
    "insights": (CAREER_EVENTS, PROMPTS, GAPS, DELIVERIES, PORTAL_AUDIT, ATTRIBUTES),
}
"""What each consumer group (named as its service) reads."""


_TOPICS: Final = sorted({topic for reads in READS.values() for topic in reads})


class LagReader:
    """Asks Kafka for consumer lag; holds one admin connection."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, **security())
        self._partitions = [TopicPartition(topic, number) for topic in _TOPICS for number in range(PARTITIONS)]

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def ends(self) -> dict[TopicPartition, int]:
        """Return the offset after the last record of every partition that somebody reads."""
        found = self._admin.list_partition_offsets(dict.fromkeys(self._partitions, OffsetSpec.LATEST))
        return {partition: at.offset for partition, at in found.items()}

    def lags(self, ends: Mapping[TopicPartition, int]) -> dict[str, dict[str, int]]:
        """Return the lag behind `ends` in records, by group and topic."""
        committed = self._admin.list_group_offsets(list(READS))
        lags: dict[str, dict[str, int]] = {}
        for group, reads in READS.items():
            lags[group] = dict.fromkeys(reads, 0)
            for partition, end in ends.items():
                if partition.topic in reads:
                    offset = committed.get(group, {}).get(partition)
                    done = max(0, offset.offset) if offset is not None else 0
                    lags[group][partition.topic] += max(0, end - done)
        return lags

    def wait_until_quiet(self, *, within: float) -> dict[str, dict[str, int]]:
        """Return nothing when no record is left to be dealt with, or the lags that are left after `within` seconds.

        It is quiet when no group lags behind the ends as they were at one moment, and the ends are the same later:
        a group commits a record only after what it wrote because of it, so nothing can have been on its way. The
        prompter alone writes to `deliveries` later, by its own clock (`deploy.system.wait_until_quiet`).
        """
        deadline = time.monotonic() + within
        ends = self.ends()
        while True:
            lags = self.lags(ends)
            before, ends = ends, self.ends()
            if ends == before and not _any(lags):
                return {}
            if time.monotonic() > deadline:
                return self.lags(ends)
            time.sleep(0.05)


def _any(lags: Mapping[str, Mapping[str, int]]) -> bool:
    return any(lag for topics in lags.values() for lag in topics.values())


def main(arguments: list[str] | None = None) -> int:
    """Print the lags; exit 0, or 1 where Kafka does not tell them."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.lag",
        description=f"{__doc__} Exit code 1: Kafka can't be asked, or its topics are others.",
    )
    parser.add_argument(
        "--bootstrap-servers",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:19092"),
        help="brokers (default: KAFKA_BOOTSTRAP_SERVERS, else the demo's)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: {group: {topic: records}}")
    asked = parser.parse_args(arguments)
    try:
        check_partitions(asked.bootstrap_servers, _TOPICS)
        with closing(LagReader(asked.bootstrap_servers)) as reader:
            lags = reader.lags(reader.ends())
    except (KafkaError, OtherPartitions) as error:
        print(f"lag: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps(lags))
        return 0
    table = Table("service", "topic", "lag (records)")
    for group, topics in lags.items():
        for topic, lag in topics.items():
            table.add_row(group, topic, str(lag))
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
