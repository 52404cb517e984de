"""Creates the topics that do not exist yet, and makes Kafka keep records for as long as the record of processing says.

The list is in `shared/streaming/topics.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from deploy.broker import DEMO_PORT, PROJECT, BrokerError, ExternalBroker
from deploy.spawn import LOOPBACK
from shared.processing import read_processing
from shared.streaming.connection import security
from shared.streaming.topics import ALL_TOPICS, OtherPartitions, create_topics
from shared.yaml_files import BadFile

_BROKER_KEEPS_MS: Final = 7 * 24 * 3600 * 1000
"""Kafka's own default; every topic of ours is made with a `retention.ms` of its own, so this is another's."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: wait for the broker, create what is missing, say what was created."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.topics",
        description="Creates the topics that do not exist yet. Exit code 1: Kafka can't be reached or refuses, or "
        "has a topic of other partitions than TOPIC_PARTITIONS says; 2: that setting, or the record of processing, "
        "can't be used.",
    )
    parser.add_argument(
        "--retention",
        nargs="?",
        type=Path,
        const=PROJECT / "deploy" / "processing.yaml",
        metavar="FILE",
        help="set each topic's retention.ms to what this record of processing says (default: deploy/processing.yaml); "
        "what is older is deleted by Kafka, for good",
    )
    parser.add_argument("--dry-run", action="store_true", help="with --retention: only say what would be changed")
    parser.add_argument(
        "--bootstrap-servers",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"{LOOPBACK}:{DEMO_PORT}",
        help="where Kafka is; KAFKA_BOOTSTRAP_SERVERS says it too (%(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.dry_run and options.retention is None:
        parser.error("--dry-run is for --retention")
    try:
        processing = None if options.retention is None else read_processing(options.retention)
    except BadFile as error:
        print(error, file=sys.stderr)
        return 2
    try:
        ExternalBroker(options.bootstrap_servers).start()
        if options.dry_run and processing is not None:
            _tell(retention_changes(options.bootstrap_servers, processing.retention_ms()), "would be kept")
            return 0
        created = create_topics(options.bootstrap_servers)
        changed = {}
        if processing is not None:
            changed = retention_changes(options.bootstrap_servers, processing.retention_ms())
            set_retention(options.bootstrap_servers, changed)
    except (BrokerError, KafkaError, OtherPartitions) as error:
        print(f"topics: {error}", file=sys.stderr)
        return 1
    for name in created:
        print(f"created {name}")
    print(f"{len(created)} topics created, {len(ALL_TOPICS) - len(created)} were there")
    if processing is not None:
        _tell(changed, "are kept")
    return 0


def retention_changes(bootstrap_servers: str, wanted: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Return the topics whose `retention.ms` is not as wanted: as it is, and as it has to be. -1 is for ever.

    Raises:
        kafka.errors.KafkaError: Kafka can't be reached or refuses.
    """
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers, **security())) as admin:
        present = set(admin.list_topics())
        there = {topic: ms for topic, ms in wanted if topic in present}
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in there]
        now = admin.describe_configs(asked) if asked else {}
    return {topic: (at, ms) for topic, ms in there.items() if (at := _retention_in(now, topic)) != ms}


def set_retention(bootstrap_servers: str, changes: Mapping[str, tuple[int, int]]) -> None:
    """Make Kafka keep each topic's records for so long.

    Raises:
        kafka.errors.KafkaError: Kafka can't be reached or refuses.
    """
    if not changes:
        return
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers, **security())) as admin:
        admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": str(ms)})
                for topic, (_, ms) in changes.items()
            ]
        )


def _retention_in(configs: Any, topic: str) -> int:
    """Return a topic's `retention.ms` in what Kafka told, which leaves out what is as the broker says."""
    of_it: Mapping[str, Any] = next((topics[topic] for topics in configs.values() if topic in topics), {})
    return int(of_it["retention.ms"]["value"]) if "retention.ms" in of_it else _BROKER_KEEPS_MS


def _tell(changes: Mapping[str, tuple[int, int]], what: str) -> None:
    for topic, (before, after) in changes.items():
        print(f"{topic}: records {what} {_in_words(after)}; {_in_words(before)} before")
    print(f"records of {len(changes)} topics {what} for another time than before")


def _in_words(ms: int) -> str:
    return "for ever" if ms < 0 else f"for {ms / 86_400_000:g} days"


if __name__ == "__main__":
    sys.exit(main())
