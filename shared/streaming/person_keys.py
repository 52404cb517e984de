"""Keeps a key for each name of a person, in Kafka, wrapped; seals what is written, opens what is read.

`person-keys` is compacted and has two kinds of records. A person's key: under a mark of the name and the key's own id;
its tombstone destroys it, and with it all that was sealed under it. And that a person has been erased: under the mark
alone, for good, so that a source that goes on speaking of them is not listened to. A mark is an HMAC of the name: who
has PERSON_MARKS_KEY can tell of a name whether it is the one, and nobody can tell the name from it.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import chain
from time import monotonic
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from shared.contracts.ids import Ref
from shared.service.settings import PersonKeySettings, read_master_keys
from shared.streaming import sealed_states, sealing
from shared.streaming.connection import security
from shared.streaming.metrics import ERASED_RECORDS, PERSON_KEYS_KNOWN
from shared.streaming.records import Output, Record
from shared.streaming.sealed_states import CHANGELOG_SUFFIX, Shape
from shared.streaming.sealing import KEY_BYTES, KEY_ID_BYTES, Content
from shared.streaming.topics import DEAD_SUFFIX, PERSON_KEYS, partition_of

_MARK_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_PATIENCE_SECONDS: Final = 30.0
_POLL_MS: Final = 10
_UNWRAPPED: Final = 200_000
"""Keys that are held unwrapped at most; unwrapping one takes some 3 µs."""

log = logging.getLogger(__name__)  # which says nothing on stdout where a command reads keys


class KeysAway(ConnectionError):
    """The keys can't be read or written now; the message says why. The same is right when it is tried again."""


class BadKeys(Exception):
    """The keys can't be used; the message says what to do."""


class Keyring:
    """The keys of this process. Without PERSON_MARKS_KEY it does nothing; without PERSON_MASTER_KEYS it seals nothing.

    Its methods block, and may be called from any thread.

    Args:
        settings: the marks' key and the master keys.
        bootstrap_servers: Kafka.
    """

    def __init__(self, settings: PersonKeySettings, bootstrap_servers: str) -> None:
        marks, masters = settings.person_marks_key, settings.person_master_keys
        self._marks_key = marks.get_secret_value().encode() if marks is not None else b""
        self._masters = [AESGCM(key) for key in read_master_keys(masters.get_secret_value())] if masters else []
        self._servers = bootstrap_servers.split(",")
        self._mark = lru_cache(maxsize=1 << 16)(self._made_mark)
        self._ids: dict[bytes, bytes] = {}
        """A key's id, by the mark of a name."""
        self._wrapped: dict[bytes, bytes] = {}
        self._keys: dict[bytes, bytes] = {}
        self._destroyed: set[bytes] = set()
        self._erased: dict[bytes, bytes] = {}
        self._moved = threading.Condition()
        self._asked = self._answered = 0
        self._reader: threading.Thread | None = None
        self._fault: Exception | None = None
        self._stopping = threading.Event()
        self._producer: KafkaProducer | None = None
        self._writing = threading.Lock()
        self._starting = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether erased people are known, and refused."""
        return bool(self._marks_key)

    @property
    def seals(self) -> bool:
        """Whether what is written is sealed."""
        return bool(self._masters)

    # -- what is written and read -----------------------------------------------------------------

    def seal_all(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """Return what is to be written, sealed; without what is about somebody who has been erased.

        Raises:
            KeysAway: a new key could not be written.
        """
        if not (self.seals or self._erased):
            return outputs
        kept = [output for before in outputs if (output := self._without_erased(before)) is not None]
        if not self.seals:
            return kept
        named = [() if o.value is None else sealing.names_in(o.topic, o.key, o.value) for o in kept]
        try:
            return [self._sealed(output, names) for output, names in zip(kept, named, strict=True)]
        except LookupError:  # somebody is new, and only who takes it all apart knows who
            others = [set() if o.value is None else sealing.others_in(o.topic, o.value) for o in kept]
            self._have_keys(chain(chain.from_iterable(named), chain.from_iterable(others)))
        return [self._sealed(output, names) for output, names in zip(kept, named, strict=True)]

    def open_all(self, records: Sequence[Record], *, although_erased: bool = False) -> Sequence[Record]:
        """Return the records opened, without those about somebody who has been erased.

        One that was altered on the way comes as it lies.

        Args:
            records: as they lie in Kafka, sealed or not.
            although_erased: return what of an erased person can still be read, for who looks for that.

        Raises:
            KeysAway: it can't be told whether a key is new or destroyed.
            BadKeys: sealed records and no PERSON_MASTER_KEYS.
        """
        if not self.is_on:
            return records
        sealed = [record.value for record in records if record.value is not None and sealing.is_sealed(record.value)]
        if sealed:
            self._know(key_id for value in sealed for key_id in sealing.key_ids_of(value))
        opened = [self._opened(record) for record in records]
        pieces = [key_id for record in opened if record is not None for key_id in _keys_of_pieces(record)]
        if pieces:
            self._know(pieces)
        found = [None if record is None else self._whole(record, although_erased=although_erased) for record in opened]
        for record, as_it_lay in zip(found, records, strict=True):
            if record is None:
                ERASED_RECORDS.labels(as_it_lay.topic, "read").inc()
        return [record for record in found if record is not None]

    def is_erased(self, ref: Ref) -> bool:
        """Tell whether the person whom `ref` names has been erased."""
        return bool(self._erased) and self._mark(ref) in self._erased

    def wire_key(self, key: bytes) -> bytes:
        """Return what stands in place of the key of a sealed record: the same for the same key, and telling nothing."""
        return hmac.digest(self._marks_key, b"key\x00" + key, "sha256")[:_MARK_BYTES].hex().encode()

    def pseudonym(self, ref: Ref) -> str:
        """Return what an erased person is called where something has to stand in place of their name."""
        return f"erased-{self._mark(ref).hex()[:12]}"

    def cleaned(self, topic: str, key: bytes | None, value: bytes) -> bytes | None:
        """Return a topic's value without erased people; None where without them it is nothing."""
        return sealing.cleaned(topic, key, value, self.is_erased, self.pseudonym)

    def _without_erased(self, output: Output) -> Output | None:
        if not self._erased or output.value is None:
            return output
        value = self.cleaned(output.topic, output.key, output.value)
        if value is None:
            ERASED_RECORDS.labels(output.topic, "written").inc()
            return None
        if value is output.value:
            return output
        return Output(output.topic, output.key, value, output.partition, output.headers)

    def _sealed(self, output: Output, names: Sequence[Ref]) -> Output:
        if not names or output.value is None:
            return output
        value = sealing.with_sealed_pieces(output.topic, output.value, self._id_of, self._key_of)
        content = Content(output.key, value, output.headers)
        partition = output.partition
        if partition is None and output.key is not None and not output.topic.endswith(DEAD_SUFFIX):
            partition = partition_of(output.key)  # a key's place is that of its name, sealed or not
        return Output(
            output.topic,
            None if output.key is None else self.wire_key(output.key),
            sealing.seal(output.topic, content, [self._id_of(name) for name in names], self._key_of),
            partition,
        )

    def _opened(self, record: Record) -> Record | None:
        if record.value is None or not sealing.is_sealed(record.value):
            return record
        if not self._masters:
            raise BadKeys(f"{record.topic} holds sealed records: set PERSON_MASTER_KEYS to what sealed them")
        try:
            content = sealing.open_sealed(record.topic, record.value, self._key_of)
        except sealing.Broken as exc:  # stays as it lies, which its reader can't read, and buries
            log.warning("%s/%s at %s: %s", record.topic, record.partition, record.offset, exc)
            return record
        if content is None:
            return None
        headers = tuple(content.headers)
        return Record(record.topic, record.partition, record.offset, content.key, content.value, headers, record.time)

    def _whole(self, record: Record, *, although_erased: bool) -> Record | None:
        if record.value is None:
            return record
        value: bytes | None = self._with_opened_pieces(record, record.value)
        if value is not None and self._erased and not although_erased:
            value = self.cleaned(record.topic, record.key, value)
            if value is None:
                return None
        if value is record.value:
            return record
        headers = () if record.topic.endswith(CHANGELOG_SUFFIX) else record.headers  # there, of the sealing alone
        return Record(record.topic, record.partition, record.offset, record.key, value, headers, record.time)

    def _with_opened_pieces(self, record: Record, value: bytes) -> bytes:
        if record.topic.endswith(CHANGELOG_SUFFIX):
            return sealed_states.with_opened_parts(record.topic, value, record.headers, None, self._key_of)
        try:
            return sealing.with_opened_pieces(record.topic, value, self._key_of)
        except ValueError as exc:  # not of ours: whoever wrote it has a use for the character that pieces begin with
            log.warning("%s/%s at %s: a piece: %s", record.topic, record.partition, record.offset, exc)
            return value

    # -- states -----------------------------------------------------------------------------------

    def seal_entries(self, changelog: str, shape: Shape, entries: Iterable[tuple[bytes, str, bytes]]) -> list[bytes]:
        """Return what lies in a changelog, and on disk, in the place of a state's entries; in their order.

        Args:
            changelog: the topic.
            shape: of the state.
            entries: the key of each as it lies where nothing is sealed, the service's own key in it, and the value.

        Raises:
            KeysAway: a new key could not be written.
        """
        named = [(key, value, shape.people_in(name, value)) for key, name, value in entries]

        def sealed() -> list[bytes]:
            return [
                sealed_states.seal_entry(changelog, key, value, about, shape, self._id_of, self._key_of)
                for key, value, about in named
            ]

        try:
            return sealed()
        except LookupError:  # somebody is new, and only who takes it all apart knows who
            self._have_keys(chain.from_iterable((*about, *shape.others_in(value)) for _, value, about in named))
        return sealed()

    def open_entries(
        self, changelog: str, shape: Shape, values: Sequence[bytes | None]
    ) -> list[tuple[bytes | None, bytes | None]]:
        """Return a state's values as its service knows them, without what is about somebody who has been erased.

        With each comes the key under which the entry would lie if it were not sealed; None where it is not.

        Args:
            changelog: the topic.
            shape: of the state.
            values: as they lie, sealed or not.

        Raises:
            KeysAway: it can't be told whether a key is new or destroyed.
            BadKeys: no master key opens a person's key.
            Broken: a value was altered.
        """
        sealed = {at: value for at, value in enumerate(values) if value is not None and sealing.is_sealed(value)}
        found: list[tuple[bytes | None, bytes | None]] = [(None, value) for value in values]
        if not sealed:
            return found
        self._know(key_id for value in sealed.values() for key_id in sealing.key_ids_of(value))
        contents = {at: sealing.open_sealed(changelog, value, self._key_of) for at, value in sealed.items()}
        self._know(
            key_id
            for content in contents.values()
            if content is not None
            for key_id in sealed_states.part_key_ids(content.headers)
        )
        for at, content in contents.items():
            found[at] = (None, None)
            if content is not None:
                value = sealed_states.with_opened_parts(changelog, content.value, content.headers, shape, self._key_of)
                found[at] = (content.key, value)
        return found

    # -- keys -------------------------------------------------------------------------------------

    def _made_mark(self, ref: Ref) -> bytes:
        return hmac.digest(self._marks_key, ref.encode(), "sha256")[:_MARK_BYTES]

    def _id_of(self, ref: Ref) -> bytes:
        return self._ids[self._mark(ref)]

    def _key_of(self, key_id: bytes) -> bytes | None:
        key = self._keys.get(key_id)
        if key is None and (wrapped := self._wrapped.get(key_id)) is not None:
            key = self._unwrapped(key_id, wrapped)
            if len(self._keys) >= _UNWRAPPED:
                self._keys.clear()
            self._keys[key_id] = key
        return key

    def _wrap(self, key_id: bytes, key: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._masters[0].encrypt(nonce, key, key_id)

    def _unwrapped(self, key_id: bytes, wrapped: bytes) -> bytes:
        for master in self._masters:
            try:
                return master.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], key_id)
            except InvalidTag:
                continue
        raise BadKeys("no key of PERSON_MASTER_KEYS opens a person's key: add the one that it was wrapped by")

    def _have_keys(self, names: Iterable[Ref]) -> None:
        """Make a key for each name that has none, and return when Kafka has it: before anything is sealed under it.

        Two processes that make one at once have two, and both hold.
        """
        wanted = set(names)
        if not any(self._mark(name) not in self._ids for name in wanted):
            return
        with self._writing:
            new = {
                mark + os.urandom(KEY_ID_BYTES): os.urandom(KEY_BYTES)
                for mark in sorted({self._mark(name) for name in wanted})
                if mark not in self._ids
            }
            wrapped = {place: self._wrap(place[_MARK_BYTES:], key) for place, key in new.items()}
            self._write(wrapped)
            with self._moved:
                for place, value in wrapped.items():
                    self._learn(place, value)

    def _write(self, records: dict[bytes, bytes | None] | dict[bytes, bytes]) -> None:
        try:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._servers, **security(), acks="all", enable_idempotence=True, linger_ms=2
                )
            sent = [self._producer.send(PERSON_KEYS, value, key, partition=0) for key, value in records.items()]
            for future in sent:
                future.get(timeout=_PATIENCE_SECONDS)
        except KafkaError as exc:
            if self._producer is not None:
                self._producer.close(timeout=0)
                self._producer = None
            raise KeysAway(f"keys could not be written to {PERSON_KEYS}: {exc}") from exc

    # -- erasing ----------------------------------------------------------------------------------

    def refuse(self, names: Iterable[Ref], at: datetime, by: str) -> None:
        """Note for good that the person of these names has been erased, when and by whom.

        Raises:
            KeysAway: Kafka did not take it.
        """
        told = json.dumps({"erased_at": at.isoformat(), "by": by}).encode()
        new = {mark: told for mark in sorted({self._mark(name) for name in names}) if mark not in self._erased}
        self._write(new)
        self.catch_up()

    def destroy(self, names: Iterable[Ref]) -> int:
        """Destroy all keys of these names; return how many there were.

        Raises:
            KeysAway: Kafka did not take it.
        """
        self.catch_up()
        marks = {self._mark(name) for name in names}
        gone: dict[bytes, bytes | None] = {
            place: None
            for place, value in self._newest().items()
            if len(place) > _MARK_BYTES and place[:_MARK_BYTES] in marks and value is not None
        }
        self._write(gone)
        self.catch_up()
        return len(gone)

    def is_key_of(self, place: bytes, names: Iterable[Ref]) -> bool:
        """Tell whether a key of `person-keys` is that of a key of one of these names, destroyed or not."""
        return len(place) > _MARK_BYTES and place[:_MARK_BYTES] in {self._mark(name) for name in names}

    def erased(self) -> dict[str, str]:
        """Return when each erased name was erased and by whom, as JSON, under its mark in hex."""
        self.catch_up()
        return {mark.hex(): told.decode() for mark, told in self._erased.items()}

    def opaque(self, name: Ref) -> str:
        """Return how a person is named where their name must not be: the mark, in hex."""
        return self._mark(name).hex()

    def rewrap(self) -> int:
        """Wrap all keys by the first master key; return how many were wrapped by another.

        Raises:
            KeysAway: Kafka did not take them.
            BadKeys: one is wrapped by a master key that is not there.
        """
        self.catch_up()
        changed: dict[bytes, bytes] = {}
        for place, wrapped in self._newest().items():
            key_id = place[_MARK_BYTES:]
            if not key_id or wrapped is None:
                continue
            try:
                self._masters[0].decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], key_id)
            except InvalidTag:
                changed[place] = self._wrap(key_id, self._unwrapped(key_id, wrapped))
        self._write(changed)
        self.catch_up()
        return len(changed)

    def _newest(self) -> dict[bytes, bytes | None]:
        """Return what the topic has of each place now: keys are held here without the mark that they lie under."""
        partition = TopicPartition(PERSON_KEYS, 0)
        newest: dict[bytes, bytes | None] = {}
        with closing(_consumer(self._servers)) as consumer:
            consumer.assign([partition])
            end = consumer.end_offsets([partition])[partition]
            consumer.seek_to_beginning(partition)
            while consumer.position(partition) < end:
                for record in consumer.poll(timeout_ms=500).get(partition, ()):
                    newest[record.key or b""] = record.value
        return newest

    # -- following the topic ----------------------------------------------------------------------

    def start(self) -> None:
        """Read all keys that there are, and go on reading.

        Raises:
            KeysAway: they can't be read in time.
        """
        with self._starting:
            if not self.is_on or self._reader is not None:
                return
            self._stopping.clear()
            self._fault = None
            self._reader = threading.Thread(target=self._run, name="person-keys", daemon=True)
            self._reader.start()
            try:
                self.catch_up()
            except KeysAway:
                self.stop()
                raise
            log.info("%s keys read; %s names are those of erased people", len(self._wrapped), len(self._erased))

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join(timeout=10)
            self._reader = None
        if self._producer is not None:
            self._producer.close(timeout=1)
            self._producer = None

    def catch_up(self) -> None:
        """Return when all that had been written to the topic at the time of the call is known here.

        Raises:
            KeysAway: Kafka does not say in time.
        """
        if not self.is_on:
            return
        until = monotonic() + _PATIENCE_SECONDS
        with self._moved:
            self._asked += 1
            mine = self._asked
            while self._answered < mine:
                if self._fault is not None or self._reader is None or monotonic() > until:
                    raise KeysAway(f"the keys in {PERSON_KEYS} can't be read: {self._fault or 'Kafka does not answer'}")
                self._moved.wait(0.5)

    def _know(self, key_ids: Iterable[bytes]) -> None:
        """Learn of each key what it is, or that it has been destroyed."""
        unknown = {key_id for key_id in key_ids if key_id not in self._wrapped and key_id not in self._destroyed}
        if not unknown:
            return
        self.catch_up()  # who writes has the key acknowledged first, so what is not here now is not anywhere
        with self._moved:
            self._destroyed |= {key_id for key_id in unknown if key_id not in self._wrapped}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(_consumer(self._servers)) as consumer:
                    self._follow(consumer)
            except KafkaError as exc:
                log.warning("keys can't be read, trying on: %s", exc or type(exc).__name__)
                self._stopping.wait(1)
            except Exception as exc:
                self._fault = exc
                log.exception("keys can't be read")
                return

    def _follow(self, consumer: Any) -> None:
        partition = TopicPartition(PERSON_KEYS, 0)
        while not consumer.partitions_for_topic(PERSON_KEYS):
            log.warning("waiting for the topic %s; if this goes on: python -m deploy.topics", PERSON_KEYS)
            if self._stopping.wait(0.5):
                return
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        asked, end = 0, 0
        while not self._stopping.is_set():
            if asked == self._answered and self._asked > asked:
                asked = self._asked
                end = consumer.end_offsets([partition])[partition]
            found = consumer.poll(timeout_ms=_POLL_MS if asked == self._answered else 1)
            with self._moved:
                for record in found.get(partition, ()):
                    self._learn(record.key or b"", record.value)
                if asked > self._answered and consumer.position(partition) >= end:
                    self._answered = asked
                if found or asked == self._answered:
                    self._moved.notify_all()
            PERSON_KEYS_KNOWN.set(len(self._wrapped))

    def _learn(self, place: bytes, value: bytes | None) -> None:
        mark, key_id = place[:_MARK_BYTES], place[_MARK_BYTES:]
        if not key_id:
            if value is not None:
                self._erased[mark] = value
        elif value is not None:
            self._wrapped[key_id] = value
            self._ids.setdefault(mark, key_id)
        else:
            self._destroyed.add(key_id)
            self._wrapped.pop(key_id, None)
            self._keys.pop(key_id, None)
            if self._ids.get(mark) == key_id:
                del self._ids[mark]


def _keys_of_pieces(record: Record) -> Iterator[bytes]:
    if record.topic.endswith(CHANGELOG_SUFFIX):
        return sealed_states.part_key_ids(record.headers)
    return sealing.piece_key_ids(record.value or b"")


@contextmanager
def opened_keyring(settings: PersonKeySettings, bootstrap_servers: str) -> Iterator[Keyring]:
    """Read the keys for as long as the block runs.

    Raises:
        KeysAway: they can't be read.
    """
    keys = Keyring(settings, bootstrap_servers)
    keys.start()
    try:
        yield keys
    finally:
        keys.stop()


def _consumer(servers: Sequence[str]) -> Any:
    return KafkaConsumer(
        bootstrap_servers=list(servers),
        **security(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        bootstrap_timeout_ms=5000,
        max_poll_records=10_000,
        metrics_enabled=False,
    )
