"""Decides whom a record names, and seals it under their keys: it can be opened while all of these keys are there.

A record is about one or two people (an employee; a sponsor and their protégé), and is sealed whole under the keys of
these. What it says of others beside them (witnesses, a manager, people who are suggested) is sealed first, piece by
piece, each under its own person's key: when that is gone the piece falls out, and the record stays.
Pure: keys are given, and where they come from is `person_keys`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.contracts.ids import Ref, normalised_ref
from shared.streaming.topics import (
    CAREER_EVENTS,
    DELIVERIES,
    GAPS,
    IDENTITIES,
    PEOPLE_CHANGES,
    PORTAL_AUDIT,
    PROMPTS,
    READS_AUDIT,
    SCIM_RESOURCES,
    SOURCES_CURSORS,
    SOURCES_ROWS,
    SPONSOR_CHOICES,
    feed_topic,
)

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_MAGIC: Final = b"\x00sealed1"
"""No JSON and no msgpack of ours begins so."""
_PIECE: Final = "\x02"
"""What a sealed piece of JSON begins with; JSON writes it as an escape, which no sender has a use for."""
_PIECE_IN_JSON: Final = b'"\\u0002'

KeyOf = Callable[[bytes], bytes | None]
"""Returns the key of an id; None where it has been destroyed."""
KeyIdOf = Callable[[Ref], bytes]
"""Returns the id of a person's key, by one of their names."""


class Broken(ValueError):
    """A sealed record that its keys do not open: it was altered, or sealed under another key of that id."""


# -- whom a record names --------------------------------------------------------------------------

_SAID_HERE: Final = frozenset({CAREER_EVENTS, PEOPLE_CHANGES, PROMPTS, GAPS, DELIVERIES, SPONSOR_CHOICES, PORTAL_AUDIT})
"""Topics whose values are of our own contracts."""
_NOBODYS: Final = (feed_topic("cycles"), READS_AUDIT, SOURCES_CURSORS, SOURCES_ROWS)
"""Topics, with those of their dead letters and parked events, that are about nobody; and the record of who read what,
which has to be there for as long as somebody may ask."""
_ONE_EACH: Final = frozenset({SCIM_RESOURCES})
"""Compacted topics of ours whose keys are ids of our own, by which they are deleted: they are not sealed."""
_IDS: Final = ("employee_id", "sponsor_id", "other_id", "report_id", "contact_id", "log_of", "person_id")
"""Fields of our contracts that hold an employee's id, and without whom the record would say nothing."""
_REFS: Final = frozenset({"employee", "sponsor", "other", "witnesses"})
"""Fields of the feeds' shapes that hold a ref."""
_LISTS: Final = ("introductions", "suggestions")
"""Lists of people beside those whom the record is about."""
_ADDRESS: Final = re.compile(rb"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+")
_LOOSE_ID: Final = re.compile(rb'"(?:%s|manager_id)"\s*:\s*"([^"\\]+)"' % "|".join(_IDS).encode())


def name_of(employee_id: str) -> Ref:
    """Return an employee's id as the ref that it is: that of the primary HRIS."""
    return Ref(employee_id if ":" in employee_id else f"hris:{employee_id}")


def names_in(topic: str, key: bytes | None, value: bytes) -> tuple[Ref, ...]:
    """Return the people without any of whom the record is nothing, sorted; none for what is about nobody.

    Args:
        topic: where it goes; tells our contracts from what sources send.
        key: the record's key, not sealed.
        value: the record's value, not sealed.
    """
    if topic.startswith(_NOBODYS) or topic in _ONE_EACH:
        return ()
    if topic == IDENTITIES:
        said = _object(value)
        if said is None:  # from before there were claims: a ref, and whose it is
            ref = _ref(_text(key))
            return tuple(sorted({name_of(_text(value)), *((ref,) if ref is not None else ())}))
        named = {name_of(str(said[field])) for field in ("employee_id", "into_id") if said.get(field)}
        return tuple(sorted(named | ({Ref(str(said["ref"]))} if said.get("ref") else set())))
    if topic in _SAID_HERE:
        said = _object(value)
        if said is not None:
            return tuple(sorted(set(_of_ours(said))))
    return tuple(sorted(set(_of_sources(key, value))))


def _of_ours(said: Mapping[str, Any]) -> Iterator[Ref]:
    for field in _IDS:
        if isinstance(employee_id := said.get(field), str) and employee_id:
            yield name_of(employee_id)
    tied = said.get("person")
    if isinstance(tied, dict) and isinstance(tied.get("person_id"), str):
        yield name_of(tied["person_id"])


def _of_sources(key: bytes | None, value: bytes) -> Iterator[Ref]:
    said = _object(value)
    found = set(_deep(said, "") if said is not None else _loose(value))
    subject = _ref(_text(key)) if key is not None else None
    # The subject is a name where it looks like one. Where it does not it may be an issue's number, and there would be
    # a key for each; but where nothing else names anybody it is all that there is.
    if subject is not None and (":" in _text(key) or "@" in _text(key) or not found):
        found.add(subject)
    yield from found


def _deep(said: Any, field: str) -> Iterator[Ref]:
    if isinstance(said, dict):
        for name, value in said.items():
            yield from _deep(value, name)
    elif isinstance(said, list):
        for value in said:
            yield from _deep(value, field)
    elif isinstance(said, str) and said:
        if field in _IDS or field == "manager_id":
            yield name_of(said)
        elif (field in _REFS or _ADDRESS.fullmatch(said.encode())) and (ref := _ref(said)) is not None:
            yield ref


def _loose(value: bytes) -> Iterator[Ref]:
    """Yield the names in what is no JSON, as far as they can be told."""
    for address in _ADDRESS.findall(value):
        if (ref := _ref(_text(address))) is not None:
            yield ref
    for employee_id in _LOOSE_ID.findall(value):
        yield name_of(_text(employee_id))


def _ref(text: str) -> Ref | None:
    try:
        return normalised_ref(text)
    except ValueError:
        return None


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        said = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return said if isinstance(said, dict) else None


# -- pieces ---------------------------------------------------------------------------------------

_GONE: Final = object()


def others_in(topic: str, value: bytes) -> set[Ref]:
    """Return the people whom the record names beside those whom it is about, in places where a piece can be sealed."""
    others: set[Ref] = set()

    def noted(name: Ref, piece: Any) -> Any:
        others.add(name)
        return piece

    _each_piece(topic, value, noted)
    return others


def with_sealed_pieces(topic: str, value: bytes, key_id_of: KeyIdOf, key_of: KeyOf) -> bytes:
    """Return the value with what it says of others sealed under their keys; the same bytes where it says nothing.

    Raises:
        LookupError: a key is not there.
    """

    def sealed(name: Ref, piece: Any) -> Any:
        whole = encrypted((key_id_of(name),), key_of, msgspec.json.encode(piece), topic.encode())
        return _PIECE + base64.urlsafe_b64encode(whole).decode()

    return _each_piece(topic, value, sealed)


def without_pieces(topic: str, value: bytes, is_gone: Callable[[Ref], bool]) -> bytes:
    """Return the value without what it says of some others; the same bytes where it says nothing."""
    return _each_piece(topic, value, lambda name, piece: _GONE if is_gone(name) else piece)


def with_opened_pieces(topic: str, value: bytes, key_of: KeyOf) -> bytes:
    """Return the value with its pieces opened; those whose key was destroyed fall out of lists, or become null."""
    if _PIECE_IN_JSON not in value:
        return value

    def opened(_: Ref, piece: Any) -> Any:
        if not (isinstance(piece, str) and piece.startswith(_PIECE)):
            return piece
        content = decrypted(base64.urlsafe_b64decode(piece[1:]), key_of, topic.encode())
        return _GONE if content is None else msgspec.json.decode(content)

    return _each_piece(topic, value, opened)


def piece_key_ids(value: bytes) -> Iterator[bytes]:
    """Yield the ids of the keys that the pieces of an opened value need."""
    for piece in _SEALED_PIECE.findall(value):
        with contextlib.suppress(ValueError):  # not of ours
            yield base64.urlsafe_b64decode(piece)[1 : 1 + KEY_ID_BYTES]


def _each_piece(topic: str, value: bytes, replaced: Callable[[Ref, Any], Any]) -> bytes:
    """Return the value with each piece replaced, in one walk; the same bytes where all stay as they are."""
    if topic not in _SAID_HERE or not any(mark in value for mark in _HAS_OTHERS):
        return value
    said = _object(value)
    if said is None:
        return value
    about = set(_of_ours(said))
    changed = False

    def piece(name: Ref, part: Any) -> Any:
        nonlocal changed
        after = part if name in about else replaced(name, part)
        changed = changed or after is not part
        return after

    def pieces(parts: list[Any], name: Callable[[Any], Ref]) -> list[Any]:
        return [after for part in parts if (after := piece(name(part), part)) is not _GONE]

    for holder in _holders(said):
        manager = holder.get("manager_id")
        if isinstance(manager, str) and manager:
            after = piece(name_of(manager), manager)
            holder["manager_id"] = None if after is _GONE else after
        if isinstance(witnesses := holder.get("witnesses"), list):
            holder["witnesses"] = pieces(witnesses, lambda who: _ref(who) or Ref(who))
        for field in _LISTS:
            if isinstance(people := holder.get(field), list):
                holder[field] = pieces(
                    people, lambda who: Ref("") if isinstance(who, str) else name_of(who["person_id"])
                )
    return msgspec.json.encode(said) if changed else value


_HAS_OTHERS: Final = (b'"manager_id":"', b'"witnesses":["', b'"introductions":[', b'"suggestions":[')
_SEALED_PIECE: Final = re.compile(rb'"\\u0002([\w=-]+)"')


def _holders(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield said
    for field in ("profile", "achievement", "person"):
        if isinstance(part := said.get(field), dict):
            yield part


# -- erased people --------------------------------------------------------------------------------

ERASED_SCHEME: Final = "erased"
"""Of the ref that stands in place of an erased person's."""


def cleaned(
    topic: str, key: bytes | None, value: bytes, is_erased: Callable[[Ref], bool], pseudonym: Callable[[Ref], str]
) -> bytes | None:
    """Return the value without erased people; None where without them it is nothing.

    In what sources send a pseudonym takes their place: who goes on sending an erased manager with an employee's record
    must not lose us the record. A record whose subject is erased is nothing.
    """
    if topic in _SAID_HERE or topic == IDENTITIES:
        if any(is_erased(name) for name in names_in(topic, key, value)):
            return None
        return without_pieces(topic, value, is_erased)
    if topic.startswith(_NOBODYS):
        return value
    subject = _ref(_text(key)) if key is not None else None
    if subject is not None and is_erased(subject):
        return None
    said = _object(value)
    if topic in _ONE_EACH:
        return None if any(is_erased(name) for name in _deep(said, "")) else value
    if said is None:
        return None if any(is_erased(name) for name in _loose(value)) else value
    if not any(is_erased(name) for name in _deep(said, "")):
        return value
    return msgspec.json.encode(_without(said, "", is_erased, pseudonym))


def _without(said: Any, field: str, is_erased: Callable[[Ref], bool], pseudonym: Callable[[Ref], str]) -> Any:
    if isinstance(said, dict):
        return {name: _without(value, name, is_erased, pseudonym) for name, value in said.items()}
    if isinstance(said, list):
        return [_without(value, field, is_erased, pseudonym) for value in said]
    name = next(_deep(said, field), None)
    if name is None or not is_erased(name):
        return said
    if field in _REFS:
        return f"{ERASED_SCHEME}:{pseudonym(name)}"
    return f"{pseudonym(name)}@erased.invalid" if "@" in said else pseudonym(name)


# -- whole records --------------------------------------------------------------------------------


class Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is sealed of a record: all but where it lies."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Content).decode


def is_sealed(value: bytes | None) -> bool:
    """Tell whether a record's value is a sealed one."""
    return value is not None and value.startswith(_MAGIC)


def seal(topic: str, content: Content, key_ids: Sequence[bytes], key_of: KeyOf) -> bytes:
    """Return the value of the sealed record.

    Raises:
        LookupError: a key is not there.
    """
    return _MAGIC + encrypted(key_ids, key_of, _encode(content), topic.encode())


def open_sealed(topic: str, value: bytes, key_of: KeyOf) -> Content | None:
    """Return what was sealed; None where a key that it needs has been destroyed.

    Raises:
        Broken: it is not what was sealed.
    """
    content = decrypted(value[len(_MAGIC) :], key_of, topic.encode())
    return None if content is None else _decode(content)


def key_ids_of(value: bytes) -> Iterator[bytes]:
    """Yield the ids of the keys that a sealed value needs."""
    begin = len(_MAGIC)
    count = value[begin] if len(value) > begin else 0
    for number in range(count):
        at = begin + 1 + number * KEY_ID_BYTES
        yield value[at : at + KEY_ID_BYTES]


def encrypted(key_ids: Sequence[bytes], key_of: KeyOf, content: bytes, place: bytes) -> bytes:
    """Return what can be opened, in this place, while all of these keys are there.

    Raises:
        LookupError: a key is not there.
    """
    head = bytes((len(key_ids),)) + b"".join(key_ids)
    nonce = os.urandom(_NONCE_BYTES)
    key = key_of(key_ids[0]) if len(key_ids) == 1 else _joint(map(key_of, key_ids))
    if key is None:
        raise LookupError("a key that the record needs is not there")
    return head + nonce + _cipher(key).encrypt(nonce, content, head + place)


def decrypted(whole: bytes, key_of: KeyOf, place: bytes) -> bytes | None:
    """Return what `encrypted` was given; None where a key that it needs has been destroyed.

    Raises:
        Broken: it is not what was sealed.
    """
    end = 1 + whole[0] * KEY_ID_BYTES if whole else 0
    head, nonce, content = whole[:end], whole[end : end + _NONCE_BYTES], whole[end + _NONCE_BYTES :]
    if len(nonce) < _NONCE_BYTES or end < 2:
        raise Broken("a sealed record that is cut short")
    if whole[0] == 1:
        key = key_of(head[1:])
    else:
        key = _joint(key_of(head[at : at + KEY_ID_BYTES]) for at in range(1, end, KEY_ID_BYTES))
    if key is None:
        return None
    try:
        return _cipher(key).decrypt(nonce, content, head + place)
    except InvalidTag:
        raise Broken("a sealed record that its keys do not open: it was altered on the way") from None


@lru_cache(maxsize=1 << 16)  # making one takes longer than to seal a short piece by it
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


def _joint(keys: Iterable[bytes | None]) -> bytes | None:
    """Return the key that needs all of several; None where one is not there."""
    joint = sha256()
    for key in keys:
        if key is None:
            return None
        joint.update(key)
    return joint.digest()
