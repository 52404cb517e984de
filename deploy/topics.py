"""Creates the topics that do not exist yet; the list is in `shared/streaming/topics.py`."""

from __future__ import annotations

import argparse
import os
import sys

from kafka.errors import KafkaError

from deploy.broker import DEMO_PORT, BrokerError, ExternalBroker
from deploy.spawn import LOOPBACK
from shared.streaming.topics import ALL_TOPICS, create_topics


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: wait for the broker, create what is missing, say what was created."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.topics", description="Creates the topics that do not exist yet."
    )
    parser.add_argument(
        "--bootstrap-servers",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"{LOOPBACK}:{DEMO_PORT}",
        help="where Kafka is; KAFKA_BOOTSTRAP_SERVERS says it too (%(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        ExternalBroker(options.bootstrap_servers).start()
        created = create_topics(options.bootstrap_servers)
    except (BrokerError, KafkaError) as error:
        print(f"topics: {error}", file=sys.stderr)
        return 1
    for name in created:
        print(f"created {name}")
    print(f"{len(created)} topics created, {len(ALL_TOPICS) - len(created)} were there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
