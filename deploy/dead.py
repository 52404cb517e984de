"""Lists dead letters with the reason of each, and puts them back on the topic they came from, byte for byte."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from deploy.broker import DEMO_PORT
from deploy.spawn import LOOPBACK
from deploy.tracker.options import plain
from shared.service.settings import PersonKeySettings
from shared.streaming.connection import security
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Output, Record, as_read

GROUP: Final = "dead-letter-replay"
"""The consumer group whose offsets say what was replayed."""
SUFFIX: Final = ".dead"
BATCH: Final = 200
"""Letters that are acknowledged together, and then remembered: after a kill, so many may be sent again."""

_HEADERS: Final = ("dead-reason", "dead-service", "dead-topic", "dead-partition", "dead-offset")
_METADATA_BYTES: Final = 4096
"""What a broker takes with a committed offset (`offset.metadata.max.bytes`)."""
_WIDTH: Final = 160
"""Of a table that does not go to a terminal."""

_CONSUMER: Final = {
    "group_id": GROUP,
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "bootstrap_timeout_ms": 5_000,
}


class DeadLetterError(Exception):
    """What was asked can't be done; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a service could not deal with, as it lies in its dead letter topic.

    Attributes:
        place: where it lies now.
        offset: where it lies now.
        buried_at: when the service gave it up.
        source_topic: where it came from; empty where the letter does not say.
        source_partition: where it came from; None where the letter does not say.
        source_offset: where it came from; None where the letter does not say.
        headers: those it came with, without the ones that tell of its end.
    """

    place: TopicPartition
    offset: int
    buried_at: datetime
    reason: str
    service: str
    source_topic: str
    source_partition: int | None
    source_offset: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Replayed:
    """Which letters of a partition were replayed: all before `first`, and of those behind it the ones in `others`.

    A filtered replay leaves letters out, so an offset alone can't say it.
    """

    first: int = 0
    others: int = 0
    """Bit n stands for the letter at `first` + n."""

    def __contains__(self, offset: int) -> bool:
        return offset < self.first or bool(self.others >> (offset - self.first) & 1)

    def add(self, offset: int) -> None:
        """Remember the letter at `offset`."""
        if offset >= self.first:
            self.others |= 1 << (offset - self.first)

    def skip_to(self, offset: int) -> None:
        """Forget the letters before `offset`; for where retention or a deletion took them."""
        if offset > self.first:
            self.others >>= offset - self.first
            self.first = offset

    def settle(self) -> None:
        """Move `first` past all that was replayed without a gap."""
        while self.others & 1:
            self.others >>= 1
            self.first += 1

    def as_offset(self) -> OffsetAndMetadata:
        """Return what to commit.

        Raises:
            DeadLetterError: the pattern of letters left out does not fit into what a broker keeps.
        """
        packed = ""
        if self.others:
            bits = self.others.to_bytes((self.others.bit_length() + 7) // 8, "little")
            packed = base64.b64encode(zlib.compress(bits, 9)).decode()
        if len(packed) > _METADATA_BYTES:
            raise DeadLetterError(
                "too many letters were left out between those replayed to remember which: replay the rest first "
                "(without --only-reason, or with that of the letters left out)"
            )
        return OffsetAndMetadata(self.first, packed, -1)

    @classmethod
    def of(cls, committed: OffsetAndMetadata | None) -> Replayed:
        """Return what a committed offset says."""
        if committed is None or committed.offset < 0:
            return cls()
        others = 0
        if committed.metadata:
            others = int.from_bytes(zlib.decompress(base64.b64decode(committed.metadata)), "little")
        return cls(committed.offset, others)


def read_dead_letter(record: Record) -> DeadLetter:
    """Return the letter that a record of a dead letter topic is.

    The five headers that tell of its end are the last of their names: whatever else is there came with the record.
    """
    headers = list(record.headers)
    said: dict[str, bytes] = {}
    for name in _HEADERS:
        at = next((i for i in reversed(range(len(headers))) if headers[i][0] == name), None)
        if at is not None:
            said[name] = headers.pop(at)[1] or b""
    return DeadLetter(
        place=TopicPartition(record.topic, record.partition),
        offset=record.offset,
        buried_at=record.time,
        reason=said.get("dead-reason", b"").decode("utf-8", "replace"),
        service=said.get("dead-service", b"").decode("utf-8", "replace"),
        source_topic=said.get("dead-topic", b"").decode("utf-8", "replace"),
        source_partition=_number(said.get("dead-partition")),
        source_offset=_number(said.get("dead-offset")),
        key=record.key,
        value=record.value,
        headers=tuple(headers),
    )


class DeadLetters:
    """The dead letters of a cluster; sealed ones are opened by PERSON_MARKS_KEY and PERSON_MASTER_KEYS."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers.split(","), **security(), **_CONSUMER)
        self._replayed: dict[TopicPartition, Replayed] = {}
        self._keys = Keyring(PersonKeySettings(), bootstrap_servers)

    def __enter__(self) -> DeadLetters:
        self._keys.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keys.stop()
        self._consumer.close()

    def topics(self) -> list[str]:
        """Return the dead letter topics that exist."""
        return sorted(topic for topic in self._consumer.topics() if topic.endswith(SUFFIX))

    def count(self, topics: Sequence[str]) -> int:
        """Return how many records lie in `topics`, at most."""
        partitions = self._partitions(topics)
        ends, begins = self._consumer.end_offsets(partitions), self._consumer.beginning_offsets(partitions)
        return sum(ends[partition] - begins[partition] for partition in partitions)

    def read(self, topics: Sequence[str]) -> Iterator[DeadLetter]:
        """Yield the letters that lie in `topics` now, partition by partition in order of their offsets.

        A letter that comes meanwhile is not among them: a replayed one that dies again would else go round for ever.
        """
        partitions = self._partitions(topics)
        ends = self._consumer.end_offsets(partitions)
        for partition in partitions:
            self._consumer.assign([partition])
            self._consumer.seek_to_beginning(partition)
            while self._consumer.position(partition) < ends[partition]:
                found = self._consumer.poll(timeout_ms=1000).get(partition, ())
                letters = [as_read(record) for record in found if record.offset < ends[partition]]
                yield from map(read_dead_letter, self._keys.open_all(letters))

    def was_replayed(self, letter: DeadLetter) -> bool:
        """Tell whether `replay` has put the letter back before."""
        return letter.offset in self._memory(letter.place)

    def replay(self, letters: Sequence[DeadLetter]) -> None:
        """Put letters back where they came from, and remember it once Kafka has acknowledged all of them.

        Raises:
            KafkaError: one was not taken. Those before it may have been, and will be sent again.
            DeadLetterError: it could not be remembered, so nothing was sent.
        """
        memories = {letter.place: self._memory(letter.place) for letter in letters}
        for letter in letters:
            memories[letter.place].add(letter.offset)
        for place, begin in self._consumer.beginning_offsets(list(memories)).items():
            memories[place].skip_to(begin)
            memories[place].settle()
        offsets = {place: memory.as_offset() for place, memory in memories.items()}
        self._send(letters)
        self._consumer.commit(offsets)

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap_servers.split(","),
            **security(),
            acks="all",
            linger_ms=5,
            max_request_size=16 * 1024 * 1024,  # what fits is the broker's to say: it has had these records before
        )
        try:
            outputs = [
                Output(one.source_topic, one.key, one.value, self._partition_of(one), one.headers) for one in letters
            ]
            sent = [
                producer.send(output.topic, output.value, output.key, list(output.headers), output.partition)
                for output in self._keys.seal_all(outputs)
            ]
            for future in sent:
                future.get(timeout=60)
        finally:
            producer.close(timeout=10)

    def _partition_of(self, letter: DeadLetter) -> int | None:
        """Return the partition it came from, so that it stays with its like; the key decides where that is gone."""
        there = self._consumer.partitions_for_topic(letter.source_topic) or ()
        return letter.source_partition if letter.source_partition in there else None

    def _memory(self, place: TopicPartition) -> Replayed:
        if place not in self._replayed:
            self._replayed[place] = Replayed.of(self._consumer.committed(place, metadata=True))
        return self._replayed[place]

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when all was done, 1 when something could not be."""
    options = _parser().parse_args(arguments)
    command: Callable[[DeadLetters, argparse.Namespace], int] = options.command
    try:
        with DeadLetters(options.bootstrap_servers) as letters:
            return command(letters, options)
    except BrokenPipeError:  # `| head` has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("dead: stopped; what was acknowledged is remembered", file=sys.stderr)
        return 130
    except (DeadLetterError, KafkaError, OSError) as error:
        print(f"dead: {error or type(error).__name__}", file=sys.stderr)
        return 1


def list_letters(letters: DeadLetters, options: argparse.Namespace) -> int:
    """Print the letters of one topic, or of all."""
    topics = [_dead_topic(options.topic, letters)] if options.topic else letters.topics()
    if options.json:
        for letter in letters.read(topics):
            print(json.dumps(_as_json(letter, replayed=letters.was_replayed(letter)), ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("buried", "from topic", "partition/offset", "service"):
        table.add_column(column, no_wrap=True)
    table.add_column("replayed")
    table.add_column("reason", overflow="fold", ratio=1)
    count = 0
    for letter in letters.read(topics):
        count += 1
        where = f"{_or_unknown(letter.source_partition)}/{_or_unknown(letter.source_offset)}"
        table.add_row(
            f"{letter.buried_at:%Y-%m-%d %H:%M:%S}Z",
            plain(letter.source_topic or f"? ({letter.place.topic})"),
            where,
            plain(letter.service),
            "yes" if letters.was_replayed(letter) else "",
            plain(letter.reason),
        )
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    if count:
        console.print(table)
    console.print(f"{count} dead {'letter' if count == 1 else 'letters'}")
    return 0


def replay_letters(letters: DeadLetters, options: argparse.Namespace) -> int:
    """Put the letters of a topic back that were not yet, all or those with a certain reason."""
    topic = _dead_topic(options.topic, letters)
    console = Console(stderr=True, markup=False, highlight=False)
    sent, before, others, homeless, empty = 0, 0, 0, 0, 0
    waiting: list[DeadLetter] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(topic, total=letters.count([topic]))
        for letter in letters.read([topic]):
            progress.advance(task)
            if letters.was_replayed(letter):
                before += 1
            elif options.only_reason not in letter.reason:
                others += 1
            elif not letter.source_topic:
                homeless += 1
            elif letter.key is None and letter.value is None:
                empty += 1  # no client of Kafka but Java's will write such a record; nor does it say anything
            else:
                waiting.append(letter)
                sent += 1
            if len(waiting) >= BATCH and not options.dry_run:
                letters.replay(waiting)
                waiting = []
        if waiting and not options.dry_run:
            letters.replay(waiting)
    if options.dry_run:
        for letter in waiting:
            print(f"{letter.source_topic} {_or_unknown(letter.source_partition)}: {plain(letter.reason)}")
    print(
        f"{sent} {'would be ' if options.dry_run else ''}put back; "
        f"{before} had been before, {others} have another reason"
    )
    if empty:
        print(f"dead: {empty} with neither key nor value were left: they hold nothing", file=sys.stderr)
    if homeless:
        print(
            f"dead: {homeless} without a dead-topic header were left: where they came from is not known",
            file=sys.stderr,
        )
    return 1 if homeless else 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--bootstrap-servers",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"{LOOPBACK}:{DEMO_PORT}",
        help="where Kafka is; KAFKA_BOOTSTRAP_SERVERS says it too (%(default)s)",
    )
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dead",
        description="Lists dead letters, and puts them back on the topic they came from.",
        epilog="Exit code 0: done; 1: Kafka is away, or a letter could not be put back; 2: wrong use.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", parents=[shared], help="list dead letters with the reason of each")
    listing.add_argument("--topic", help="only this topic's, as feeds.people or feeds.people.dead")
    listing.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    listing.set_defaults(command=list_letters)
    replaying = commands.add_parser(
        "replay",
        parents=[shared],
        help="put dead letters back on the topic they came from",
        description="Puts dead letters back where they came from: key, value and headers as they were, in their "
        "partition, once. What was replayed is remembered by the consumer group "
        f"{GROUP}, so a second replay sends what died since. Run one replay of a topic at a time.",
    )
    replaying.add_argument("topic", metavar="TOPIC", help="whose, as feeds.people or feeds.people.dead")
    replaying.add_argument("--only-reason", default="", metavar="SUBSTR", help="only those whose reason contains this")
    replaying.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    replaying.set_defaults(command=replay_letters)
    return parser


def _dead_topic(name: str, letters: DeadLetters) -> str:
    topic = name if name.endswith(SUFFIX) else name + SUFFIX
    known = letters.topics()
    if topic not in known:
        raise DeadLetterError(f"there is no topic {topic}; there are {', '.join(known) or 'none with dead letters'}")
    return topic


def _as_json(letter: DeadLetter, *, replayed: bool) -> dict[str, Any]:
    return {
        "dead_topic": letter.place.topic,
        "dead_partition": letter.place.partition,
        "dead_offset": letter.offset,
        "buried_at": letter.buried_at.isoformat(),
        "topic": letter.source_topic or None,
        "partition": letter.source_partition,
        "offset": letter.source_offset,
        "service": letter.service,
        "reason": letter.reason,
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "value_bytes": None if letter.value is None else len(letter.value),
        "replayed": replayed,
    }


def _or_unknown(number: int | None) -> str:
    return "?" if number is None else str(number)


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


if __name__ == "__main__":
    sys.exit(main())
