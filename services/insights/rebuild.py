"""Empties the read model and fills it from the whole log: `python -m services.insights.rebuild`, insights stopped.

It may be stopped at any moment, or fail: insights goes on from where the database then is, as it does after a crash.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.insights.app import NAME
from services.insights.applying import Partition, Run, apply_run
from services.insights.offsets import GroupBusy, LogEnds
from services.insights.projection import AttributesKept, Projected, project, topics_of
from services.insights.schema import NewerSchema, create_schema, keep_attributes
from services.insights.settings import InsightsSettings
from services.insights.tables import TOLD, attribute_names, metadata
from shared.database import open_database, trouble
from shared.service.settings import describe_settings
from shared.streaming.connection import security
from shared.streaming.person_keys import BadKeys, Keyring, opened_keyring
from shared.streaming.records import Poison, Record
from shared.streaming.topics import PARTITIONS, OtherPartitions, check_partitions

RUN_RECORDS = 5000
"""Records of one transaction at most."""
_TELL_EVERY_SECONDS = 1.0
_KAFKA_ANSWERS_WITHIN_SECONDS = 30


class Stalled(Exception):
    """Kafka gave no record for a while, and there must be more; the message says where."""


def rebuild(
    engine: Engine,
    bootstrap_servers: str,
    keys: Keyring,
    tell: Callable[[int, int], None],
    attributes: Collection[str] = (),
) -> int:
    """Fill the database anew with what the log holds now; return how many records could not be read.

    Such records have been dead letters since insights read them first, and are not written as such again.

    Args:
        engine: the read model.
        bootstrap_servers: Kafka.
        keys: open what is sealed.
        tell: told how many records are projected, of how many, at least once a second.
        attributes: the protected attributes that are kept.

    Raises:
        GroupBusy: insights is running; nothing was done.
        Stalled: Kafka gave nothing for half a minute.
        kafka.errors.KafkaError: Kafka is away.
        OtherPartitions: a topic has more or fewer partitions than TOPIC_PARTITIONS says.
        sqlalchemy.exc.SQLAlchemyError: the database is away, or did not take it.
    """
    topics = topics_of(attributes)
    check_partitions(bootstrap_servers, topics)
    kept = AttributesKept(frozenset(attributes), keys.is_erased)
    log = LogEnds(bootstrap_servers, NAME, topics)
    create_schema(engine)
    keep_attributes(engine, attributes)
    # First the group, which can't be set back while it has members, then the tables: whoever starts insights in the
    # meantime makes it read from the beginning, and it and we pass over what the other has done.
    log.set_group({(topic, partition): 0 for topic in topics for partition in range(PARTITIONS)})
    ends = log.ends()
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table not in (*TOLD, attribute_names):
                connection.execute(table.delete())
    unreadable = done = 0

    def projected(record: Record) -> Projected | None:
        nonlocal unreadable
        try:
            return project(record, kept)
        except (Poison, ValidationError):
            unreadable += 1  # once: no run is applied again here
            return None

    told = monotonic()
    tell(0, sum(ends.values()))
    for records in _runs(bootstrap_servers, ends):
        apply_run(engine, Run(keys.open_all(records), projected))
        done += len(records)
        if monotonic() - told >= _TELL_EVERY_SECONDS:
            told = monotonic()
            tell(done, sum(ends.values()))
    log.set_group(ends)
    tell(done, sum(ends.values()))
    return unreadable


def _runs(bootstrap_servers: str, ends: Mapping[Partition, int]) -> Iterator[Sequence[Record]]:
    left = {TopicPartition(*at): end for at, end in ends.items() if end > 0}
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers.split(","),
        **security(),
        enable_auto_commit=False,
        max_poll_records=RUN_RECORDS,
    )
    try:
        consumer.assign(list(left))
        consumer.seek_to_beginning(*left)
        heard = monotonic()
        while left:
            batches: Mapping[Any, Sequence[Any]] = consumer.poll(timeout_ms=500)
            run = [_record(found) for at, batch in batches.items() for found in batch if found.offset < left.get(at, 0)]
            if run:
                heard = monotonic()
                yield run
            # By position: a log may end with offsets that no record has (what compaction or a transaction took).
            left = {at: end for at, end in left.items() if consumer.position(at) < end}
            if monotonic() - heard > _KAFKA_ANSWERS_WITHIN_SECONDS:
                where = ", ".join(f"{at.topic}/{at.partition}" for at in left)
                raise Stalled(f"Kafka has given no record of {where} for {_KAFKA_ANSWERS_WITHIN_SECONDS} s: is it up?")
    finally:
        consumer.close()


def _record(found: Any) -> Record:
    time = datetime.fromtimestamp(found.timestamp / 1000, UTC)
    return Record(found.topic, found.partition, found.offset, found.key, found.value, tuple(found.headers), time)


class _Telling:
    """Says on stdout how far it is; on one line that is written over where somebody looks on."""

    def __init__(self) -> None:
        self._begun = monotonic()

    def __call__(self, done: int, of: int) -> None:
        seconds = max(monotonic() - self._begun, 0.001)
        share = done / of if of else 1.0
        left = f", {seconds * (1 - share) / share:,.0f} s left" if 0 < share < 1 else ""
        line = f"{done:,} of {of:,} records ({share:.0%}), {done / seconds:,.0f}/s{left}"
        sys.stdout.write(f"\r\x1b[K{line}" if sys.stdout.isatty() else f"{line}\n")
        sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild; exit 0 when done, 1 when it could not be, 2 on bad settings."""
    argparse.ArgumentParser(
        prog="python -m services.insights.rebuild",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="settings, from the environment:\n" + describe_settings(InsightsSettings),
    ).parse_args(arguments)
    try:
        settings = InsightsSettings()
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors())
        sys.stderr.write(f"rebuild: {said} (see --help)\n")
        return 2
    engine = open_database(settings.database_url, "insights")
    try:
        with opened_keyring(settings, settings.kafka_bootstrap_servers) as keys:
            unreadable = rebuild(
                engine, settings.kafka_bootstrap_servers, keys, _Telling(), settings.protected_attributes
            )
    except (GroupBusy, Stalled, KafkaError, OtherPartitions, BadKeys, NewerSchema, SQLAlchemyError, OSError) as error:
        said = trouble(error) if isinstance(error, SQLAlchemyError) else str(error) or type(error).__name__
        sys.stderr.write(f"\nrebuild: {said}\n")
        return 1
    finally:
        engine.dispose()
    sys.stdout.write(f"\ndone: the read model is what the log says; {unreadable:,} records could not be read\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
