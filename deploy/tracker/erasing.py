"""Erases a person: deletes what can be deleted, destroys the keys of the rest, and looks for what is left.

The order is such that it can be run again after a crash: first it is noted for good that nothing of this person is to
be taken in; then states, read models and files; then what tells who they were (identities, keys), which a second run
needs to find the rest. Services do not run meanwhile: they would write what they have in memory.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError
from rich.console import Console
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from deploy.lag import READS
from deploy.tracker.compacting import compact, configs_of
from deploy.tracker.options import Watched, add_bootstrap_servers, person_keys, watched
from deploy.tracker.searching import Marks, records_naming, refs_of, rows_naming
from services.correlator import forgetting as correlator
from services.correlator.state import decode_employee
from services.insights import forgetting as insights
from services.insights.settings import InsightsSettings
from services.people import forgetting as people
from services.portal.settings import PortalSettings
from services.prompter import forgetting as prompter
from shared.contracts.identities import RefClaimed, read_identity
from shared.contracts.ids import Ref
from shared.database import open_database, trouble
from shared.streaming.connection import security
from shared.streaming.intake import forget_parked, parked_shape
from shared.streaming.person_keys import Keyring, KeysAway
from shared.streaming.reading import NotRead, partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.sealed_states import CHANGELOG_SUFFIX, Shape
from shared.streaming.sealing import is_sealed, name_of
from shared.streaming.service import StreamSettings
from shared.streaming.topics import (
    ATTRIBUTES,
    FEED_PREFIX,
    FEEDS,
    IDENTITIES,
    LARGEST_BATCH,
    PERSON_KEYS,
    SCIM_RESOURCES,
    SOURCES_ROWS,
    feed_topic,
    partition_of,
)

NOTHING_KNOWN: Final = 3
SOMETHING_STAYS: Final = 4
"""Exit code where the person is erased as far as can be, and something can still be read."""
_COMPACTED_WITHIN_SECONDS: Final = 180.0
_FEED_TOPICS: Final = frozenset(map(feed_topic, FEEDS))
_TOGETHER: Final = 1000
"""So many records are opened together."""
_SHAPES: Final[Mapping[str, Shape]] = {
    "correlator-standing": correlator.STANDING,
    "people-people": people.PEOPLE,
    "prompter-sponsors": prompter.SPONSORS,
}
"""Of states, by name; all others are those of intakes."""


class NotErased(Exception):
    """The erasure can't begin, or could not go on; the message says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--ref",
        action="append",
        default=[],
        metavar="SCHEME:VALUE",
        help="another name of theirs, which no source has ever tied to the id (email:ann@old.example)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what is held and where, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    parser.add_argument(
        "--cut-feeds",
        action="store_true",
        help="also delete what lies unsealed in feeds.*, where a source has written past the gateway: everything up to "
        "the last record that names them, OTHER PEOPLE'S TOO; what it meant stays in career-events, but it can't be "
        "read anew from there any more",
    )
    parser.add_argument("--by", default=None, help="who erases, for the record (default: who is logged in)")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("INSIGHTS_DATABASE_URL") or InsightsSettings.model_fields["database_url"].default,
        help="insights' read model; INSIGHTS_DATABASE_URL says it too (%(default)s)",
    )
    parser.add_argument(
        "--portal-database",
        type=Path,
        default=os.environ.get("PORTAL_DATABASE") or PortalSettings.model_fields["database"].default,
        help="the portal's copy, which is deleted and filled anew; PORTAL_DATABASE says it too (%(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("DATA_DIR") or StreamSettings.model_fields["data_dir"].default,
        help="where the services of this machine keep state, which is deleted and read anew; DATA_DIR says it too "
        "(%(default)s)",
    )
    add_bootstrap_servers(parser)
    parser.epilog = (
        "Stop all services first; the gateway may run on. Needs PERSON_MARKS_KEY, and PERSON_MASTER_KEYS where records "
        "are sealed. May be run again, after a crash too. Exit code 0: nothing can be read any more; 1: not done, run "
        f"it again; 2: wrong settings; {NOTHING_KNOWN}: nothing was held; {SOMETHING_STAYS}: erased, and something "
        "stays for a while: it says what, where and until when."
    )


def run(asked: argparse.Namespace) -> int:
    """Erase, and say what was done and what is left."""
    try:
        with watched() as watch, person_keys(asked.bootstrap_servers) as keys:
            if not keys.is_on:
                print(
                    "tracker person erase: set PERSON_MARKS_KEY to what the services have (openssl rand -hex 32 makes "
                    "one): without it an erased person would come back with the next event about them",
                    file=sys.stderr,
                )
                return 2
            erasure = Erasure.of(asked, keys, watch)
            return _erased(asked, erasure)
    except (NotErased, NotRead, KeysAway) as exc:
        print(f"tracker person erase: {exc}", file=sys.stderr)
    except KafkaError as exc:
        print(f"tracker person erase: Kafka: {exc or type(exc).__name__}. Run it again", file=sys.stderr)
    except SQLAlchemyError as exc:
        print(f"tracker person erase: the read model: {trouble(exc)}. Run it again", file=sys.stderr)
    except OSError as exc:
        print(f"tracker person erase: {exc}. Run it again", file=sys.stderr)
    return 1


def _erased(asked: argparse.Namespace, erasure: Erasure) -> int:
    if not asked.dry_run:
        erasure.check_that_it_may_begin()
    held = erasure.held()
    if not held and not erasure.traces():
        before = erasure.erased_before()
        print(f"tracker person erase: nothing is held on {asked.employee!r}{before}", file=sys.stderr)
        return NOTHING_KNOWN
    if asked.dry_run:
        _tell(asked, erasure, held, {}, left={})
        return 0
    cuts = erasure.cuts() if asked.cut_feeds else {}
    if not asked.yes and not _confirmed(asked.employee, held):
        raise NotErased("not confirmed: nothing was changed")
    erasure.refuse(asked.by or getpass.getuser())
    done = {
        "states": erasure.states(),
        "rows": erasure.rows(),
        "files": erasure.files(),
        "tombstones": erasure.tombstones(),
        "keys": erasure.keys.destroy(erasure.names),
    }
    if asked.cut_feeds:
        done["records of feeds"] = erasure.cut(cuts)
    late = erasure.compact()
    left = erasure.held()
    _tell(asked, erasure, held, done, left)
    if any(topic in left for topic in _FEED_TOPICS) and not asked.cut_feeds:
        print(
            "tracker person erase: what stays in feeds.* was written there past the gateway, unsealed. It goes by the "
            "topic's retention; --cut-feeds, with each --ref of theirs, deletes it now, with all that lies before it",
            file=sys.stderr,
        )
    for topic in late:
        print(f"tracker person erase: Kafka has not compacted {topic} yet: run it again later", file=sys.stderr)
    return SOMETHING_STAYS if left or late else 0


def _confirmed(employee: str, held: Mapping[str, int]) -> bool:
    if not sys.stdin.isatty():
        raise NotErased("nobody is there to confirm: add --yes")
    print(f"{sum(held.values()):,} records and rows are held on {employee}. This can't be undone.", file=sys.stderr)
    print("Are all services stopped but the gateway? Then write the id again: ", file=sys.stderr, end="", flush=True)
    return sys.stdin.readline().strip() == employee


def _tell(
    asked: argparse.Namespace,
    erasure: Erasure,
    held: Mapping[str, int],
    done: Mapping[str, Any],
    left: Mapping[str, int],
) -> None:
    until = erasure.kept_until(left)
    if asked.json:
        stays = [{"where": where, "found": found, "until": until[where]} for where, found in left.items()]
        told = {"person": erasure.opaque, "held": held, "done": done, "stays": stays}
        print(json.dumps(told))
        return
    out = Console(highlight=False)
    out.print(f"person {erasure.opaque}", markup=False)
    for where, found in held.items():
        out.print(f"  held in {where}: {found:,}", markup=False)
    for what, count in done.items():
        out.print(f"  erased {what}: {count:,}", markup=False)
    for where, found in left.items():
        out.print(f"  STAYS in {where}: {found:,}, {until[where]}", markup=False)


@dataclass
class Erasure:
    """One person's erasure.

    Attributes:
        names: all refs that ever named them, that of their id among them.
        marks: how to find them in bytes.
    """

    asked: argparse.Namespace
    keys: Keyring
    watch: Watched
    names: frozenset[Ref]
    marks: Marks
    topics: dict[str, list[int]] = field(default_factory=dict)
    _newest_of: dict[str, datetime] = field(default_factory=dict, repr=False)
    """When the newest record that was found last was written, by topic."""

    @classmethod
    def of(cls, asked: argparse.Namespace, keys: Keyring, watch: Watched) -> Erasure:
        """Find out by which names the person is known."""
        refs = [*refs_of(asked.bootstrap_servers, asked.employee, keys, watch), *asked.ref]
        names = frozenset({name_of(asked.employee), *map(Ref, refs)})
        topics = {name: of for name, of in partitions_by_topic(asked.bootstrap_servers).items() if name[:2] != "__"}
        return cls(asked, keys, watch, names, Marks(asked.employee, refs), topics)

    @cached_property
    def _wire_keys(self) -> frozenset[bytes]:
        return frozenset(self.keys.wire_key(name.encode()) for name in self.names)

    @property
    def opaque(self) -> str:
        """How the person is named in what is kept of the erasure."""
        return self.keys.opaque(name_of(self.asked.employee))

    # -- looking ----------------------------------------------------------------------------------

    def held(self) -> dict[str, int]:
        """Return where something of theirs can be read, and how much."""
        found: Counter[str] = Counter()
        self._newest_of.clear()
        for record, _ in records_naming(self.marks, self.asked.bootstrap_servers, self.keys, self.watch):
            found[record.topic] += 1
            self._newest_of[record.topic] = max(record.time, self._newest_of.get(record.topic, record.time))
        if self._has_read_model():
            for table, _ in rows_naming(self.marks, self.asked.database_url):
                found[f"table {table}"] += 1
        return dict(sorted(found.items()))

    def traces(self) -> list[str]:
        """Return the compacted topics in which bytes of theirs lie, readable or not."""
        return [topic for topic in self._compacted() if not self._is_clean(topic)]

    def erased_before(self) -> str:
        """Return when they were erased and by whom, in words to end a sentence by; nothing where they were not."""
        told = self.keys.erased().get(self.opaque)
        if told is None:
            return ""
        said = json.loads(told)
        return (
            f" any more: erased at {said['erased_at']} by {said['by']}. What bears another name of theirs alone is "
            "looked for by --ref, for nothing ties it to them now"
        )

    def cuts(self) -> dict[TopicPartition, int]:
        """Return where the feeds' topics would have to begin to hold nothing of theirs that is not sealed.

        Raises:
            NotErased: a service has not read so far yet, and would lose what lies before.
        """
        found: dict[TopicPartition, int] = {}
        for topic in _FEED_TOPICS & self.topics.keys():
            for record in self._as_they_lie(topic):
                texts = (record.key, record.value, *(value for _, value in record.headers))
                if any(map(self.marks.name, texts)):
                    found[TopicPartition(topic, record.partition)] = record.offset + 1
        with self._admin() as admin:
            read = admin.list_group_offsets(list(FEEDS))
        for place, begin in found.items():
            feed = place.topic.removeprefix(FEED_PREFIX)
            done = read.get(feed, {}).get(place)
            if done is None or done.offset < begin:
                read_to = done.offset if done is not None else 0
                raise NotErased(
                    f"the service {feed} has read {place.topic}/{place.partition} to {read_to} only, and all before "
                    f"{begin} would be deleted: start the services, let them catch up, then try again"
                )
        return found

    def cut(self, places: Mapping[TopicPartition, int]) -> int:
        """Delete all records before these offsets; return how many there were, other people's among them."""
        if not places:
            return 0
        with self._admin() as admin:
            begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            admin.delete_records(dict(places))
        return sum(max(0, begin - begins[place].offset) for place, begin in places.items())

    def kept_until(self, places: Mapping[str, int]) -> dict[str, str]:
        """Return until when what was found last stays, in words."""
        topics = [place for place in places if place in self.topics]
        told: dict[str, str] = {place: "until the row is deleted" for place in places if place not in topics}
        with self._admin() as admin:
            configs = configs_of(admin, topics) if topics else {}
        for topic, config in configs.items():
            kept = config.get("retention.ms")
            if "compact" in config.get("cleanup.policy", ""):
                told[topic] = "until Kafka compacts the topic: run it again"
            elif kept == "-1":
                told[topic] = "for ever: give the topic a retention.ms, or delete it"
            else:
                told[topic] = "as long as brokers keep records (log.retention.*)"
                if kept is not None:
                    age = timedelta(milliseconds=int(kept))
                    gone = self._newest_of[topic] + age
                    told[topic] = f"until {gone:%Y-%m-%d}, when the newest is {age / timedelta(days=1):g} days old"
        return told

    def _compacted(self) -> list[str]:
        with self._admin() as admin:
            configs = configs_of(admin, list(self.topics))
        return [topic for topic, config in configs.items() if "compact" in config.get("cleanup.policy", "")]

    def _is_clean(self, topic: str) -> bool:
        return not any(self._is_trace(record) for record in self._as_they_lie(topic))

    def _is_trace(self, record: Record) -> bool:
        if record.topic == PERSON_KEYS:
            return self.keys.is_key_of(record.key or b"", self.names)
        if record.key is not None and any(mark in record.key for mark in self._wire_keys):
            return True
        return self.marks.name(record.key) or self.marks.name(record.value)

    def _as_they_lie(self, topic: str) -> Iterator[Record]:
        servers = self.asked.bootstrap_servers
        return read_to_the_end(servers, topic, self.topics[topic], progress=self.watch(topic))

    def _opened(self, topic: str) -> Iterator[tuple[Record, Record]]:
        """Yield each record that can be read as it lies and opened."""
        reading = self._as_they_lie(topic)
        while records := list(islice(reading, _TOGETHER)):
            lies = {(record.partition, record.offset): record for record in records}
            for opened in self.keys.open_all(records, although_erased=True):
                yield lies[opened.partition, opened.offset], opened

    def _has_read_model(self) -> bool:
        url = make_url(self.asked.database_url)
        return url.get_backend_name() != "sqlite" or os.path.exists(url.database or "")  # noqa: PTH110 (may be empty)

    # -- erasing ----------------------------------------------------------------------------------

    def check_that_it_may_begin(self) -> None:
        """Find what speaks against it.

        Raises:
            NotErased: services run, or the person has not left.
        """
        with self._admin() as admin:
            groups = admin.list_groups()
        running = sorted(
            group["group_id"]
            for group in groups
            if group["group_id"] in READS and group["group_state"] not in ("Empty", "Dead")
        )
        if running:
            raise NotErased(
                f"{', '.join(running)}: stop these first, for they would write what they remember (a process that was "
                "killed is missed after some seconds). The gateway may run on"
            )
        key = f"{partition_of(self.asked.employee.encode())}/employee/{self.asked.employee}".encode()
        standing = self._newest("correlator-standing-changelog", lambda record: record.key == key)
        for _, record in standing:
            profiles = decode_employee(record.value).profiles if record.value is not None else ()
            if profiles and profiles[-1].active:
                raise NotErased(
                    f"{self.asked.employee} still works here, by what the HRIS says: let it send employee.left first, "
                    "so that prompts are withdrawn from whoever has them, then stop the services and erase"
                )

    def refuse(self, by: str) -> None:
        """Note that nothing of them is to be taken in from now on."""
        self.keys.refuse(self.names, datetime.now(UTC), by)

    def states(self) -> int:
        """Take them out of what services remember; return how many states have changed."""
        changes = 0
        with closing(self._producer()) as producer:
            for topic in self.topics:
                if not topic.endswith(CHANGELOG_SUFFIX):
                    continue
                sent = []
                # What is left is worked out of each, for not in all bytes of a state a name stands as a word.
                for lies, record in self._newest(topic, self._knows_them):
                    left = self._left_of(record)
                    if left is not None and is_sealed(lies.value):
                        key = record.key or b""
                        (left,) = self.keys.seal_entries(topic, self._shape(topic), [(key, _own(key), left)])
                    sent.append(producer.send(topic, left, lies.key, partition=lies.partition))
                for future in sent:
                    future.get(timeout=60)
                changes += len(sent)
        return changes

    def _knows_them(self, record: Record) -> bool:
        return record.value is not None and self._left_of(record) != record.value

    def _left_of(self, record: Record) -> bytes | None:
        return self.left(record.topic, _own(record.key or b""), record.value or b"")

    def _newest(self, topic: str, wanted: Callable[[Record], bool]) -> list[tuple[Record, Record]]:
        """Return the newest record of each key as it lies and opened, of those that are wanted."""
        newest: dict[bytes, tuple[Record, Record]] = {}
        if topic in self.topics:
            for lies, opened in self._opened(topic):
                if lies.key is None:
                    continue
                if wanted(opened):
                    newest[lies.key] = lies, opened
                else:
                    newest.pop(lies.key, None)
        return list(newest.values())

    def _shape(self, topic: str) -> Shape:
        """Return the shape of the states of a changelog that has sealed ones."""
        name = topic.removesuffix(CHANGELOG_SUFFIX)
        return _SHAPES[name] if name in _SHAPES else parked_shape(name.removesuffix("-parked"))

    def left(self, topic: str, key: str, value: bytes) -> bytes | None:
        """Return what is left of a state; None where it is theirs."""
        name = topic.removesuffix(CHANGELOG_SUFFIX)
        feed = name.removesuffix("-parked")
        if name in _SHAPES:
            whose = _SHAPES[name].whose(key)
            if whose is None:
                return value
            return None if whose in self.names else _SHAPES[name].without(value, self.names.__contains__)
        if feed != name and feed in FEEDS:
            return forget_parked(feed, key, value, self.keys.cleaned, self.keys.is_erased)
        return value

    def rows(self) -> int:
        """Delete them from insights' read model; return how many rows have changed."""
        if not self._has_read_model():
            return 0
        engine = open_database(self.asked.database_url, "tracker")
        try:
            changed = insights.forget(engine, self.asked.employee, lambda text: self.marks.name(text.encode()))
            insights.scrub(engine)
        finally:
            engine.dispose()
        return sum(changed.values())

    def files(self) -> int:
        """Delete what the services of this machine make anew at their next start; return how many files there were."""
        gone = 0
        database: Path = self.asked.portal_database
        for file in (database, *(database.with_name(database.name + more) for more in ("-wal", "-shm"))):
            if file.exists():
                file.unlink()
                gone += 1
        for tables in self.asked.data_dir.glob("*/tables"):
            gone += sum(1 for file in tables.rglob("*") if file.is_file())
            shutil.rmtree(tables)
        return gone

    def tombstones(self) -> int:
        """Delete who their names mean, and what compacted topics say of them; return how many keys that were."""
        keys = {
            (IDENTITIES, key, partition) for partition, of in self._identities() for key in (of, self.keys.wire_key(of))
        }
        for topic, of_theirs in ((SOURCES_ROWS, b""), (ATTRIBUTES, b""), (SCIM_RESOURCES, b"User/")):
            found = [lies for lies, _ in self._newest(topic, self._is_trace)]
            keys |= {(topic, r.key, r.partition) for r in found if r.key is not None and r.key.startswith(of_theirs)}
        with closing(self._producer()) as producer:
            sent = [producer.send(topic, None, key, partition=partition) for topic, key, partition in sorted(keys)]
            for future in sent:
                future.get(timeout=60)
        return len(sent)

    def _identities(self) -> Iterator[tuple[int, bytes]]:
        """Yield the keys, and their partitions, of what says whom names mean, of those that are theirs."""
        for record in read_to_the_end(self.asked.bootstrap_servers, IDENTITIES, keys=self.keys, although_erased=True):
            if record.key is None or record.value is None:
                continue
            said = read_identity(record.key, record.value)
            names = {name_of(said.employee_id), *((said.ref,) if isinstance(said, RefClaimed) else ())}
            if not names.isdisjoint(self.names):
                yield record.partition, record.key

    def compact(self) -> list[str]:
        """Have Kafka throw away what has been deleted; return the topics where that was not in time."""
        partitions = {topic: self.topics[topic] for topic in self._compacted()}
        progress = self.watch("until Kafka has compacted")
        there_were = len(partitions)
        return compact(
            self.asked.bootstrap_servers,
            partitions,
            self._is_clean,
            within=_COMPACTED_WITHIN_SECONDS,
            tell=lambda left: progress(there_were - left, there_were),
        )

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        servers = self.asked.bootstrap_servers.split(",")
        with closing(KafkaAdminClient(bootstrap_servers=servers, **security())) as admin:
            yield admin

    def _producer(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self.asked.bootstrap_servers.split(","),
            **security(),
            acks="all",
            max_request_size=LARGEST_BATCH,
        )


def _own(key: bytes) -> str:
    """Return the key that a service has for an entry, by that which its changelog has."""
    return key.decode(errors="replace").partition("/")[2]
