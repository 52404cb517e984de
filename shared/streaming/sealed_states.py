"""Decides how an entry of a state lies on disk and in its changelog where it is sealed: under which keys, in parts.

An entry is sealed whole under the keys of those without whom it is nothing, as a record is. What it holds of others is
sealed before, part by part, each under the keys of those whom the part is about: when one is gone the part falls out,
and what is left is what is left of the state when that person is forgotten. One walk over a state serves both.
Pure: keys are given. In memory entries are as their service knows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.msgpack import Ext

from shared.contracts.ids import Ref
from shared.streaming.records import Headers
from shared.streaming.sealing import KEY_ID_BYTES, Content, KeyIdOf, KeyOf, decrypted, encrypted, name_of, seal

CHANGELOG_SUFFIX: Final = "-changelog"
SEALED_KEY: Final = "\x02"
"""What the key of a sealed entry begins with, behind its partition; so those and plain ones lie apart."""
_PARTS: Final = "parts"
"""Header of a sealed entry: the ids of the keys that its parts need, one behind the other."""
_PART, _MAP, _LIST, _FIELD = 1, 2, 3, 4
"""Codes of what stands, as an extension of msgpack, in the place of a sealed part, and of what holds one or more."""
_GONE: Final[Any] = object()

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode

Replaced = Callable[[list[Ref], Any], Any]
"""Returns what stands in the place of a part that is about these people: the part, `_GONE`, or an `Ext`."""
NameOf = Callable[..., Iterable[str]]
"""Returns whom a part is about, by ids or refs; nobody where it is about nobody."""


class Others:
    """Shows the parts of a state that are about others than the one whose it is, and puts something in their place.

    A part is an element of a list, an entry of a map, or a field.
    """

    def __init__(self, replaced: Replaced) -> None:
        self._replaced = replaced
        self.changed = False

    def in_list(self, holder: Any, field: Any, who: NameOf) -> None:
        """Show each element of the list that `holder` has in `field`; `who` is given the element."""
        parts = _in(holder, field)
        if not parts:
            return
        after = [self._instead(who(part), part) for part in parts]
        if any(type(part) is Ext for part in after):
            holder[field] = Ext(_LIST, _encode(after))
        else:
            holder[field] = [part for part in after if part is not _GONE]

    def in_map(self, holder: Any, field: Any, who: NameOf) -> None:
        """Show each entry of the map that `holder` has in `field`; `who` is given its key and its value."""
        parts = _in(holder, field)
        if not parts:
            return
        after = [self._instead(who(key, value), [key, value]) for key, value in parts.items()]
        if any(type(part) is Ext for part in after):
            holder[field] = Ext(_MAP, _encode(after))
        else:
            holder[field] = dict(part for part in after if part is not _GONE)

    def in_field(self, holder: Any, field: Any, who: NameOf, instead: Any = None) -> None:
        """Show the value that `holder` has in `field`; where it falls out, `instead` stands there."""
        part = _in(holder, field)
        if not part:
            return
        after = self._instead(who(part), part)
        if type(after) is Ext:
            holder[field] = Ext(_FIELD, _encode([after, instead]))
        else:
            holder[field] = instead if after is _GONE else after

    def _instead(self, who: Iterable[str], part: Any) -> Any:
        names = [name_of(one) for one in who if one]
        if not names:
            return part
        after = self._replaced(names, part)
        if after is not part:
            self.changed = True
        return after


def _in(holder: Any, field: Any) -> Any:
    return holder.get(field) if isinstance(holder, dict) else holder[field]


def _nothing_to_show(_state: Any, _others: Others) -> None: ...


def _nothing_to_mend(_state: Any) -> None: ...


def _nobody_else(_key: str, _value: bytes) -> Iterable[Ref]:
    return ()


@dataclass(frozen=True)
class Shape:
    """Whom the entries of a service's state are about.

    Attributes:
        key: finds the name in the key of an entry that is about somebody, as the group `name`.
        show: shows the parts of an entry that are about others (msgpack's plain values, in the fields of the state).
        mend: what else has to change in an entry that has lost a part.
        names: the people without whom an entry is nothing, beside the one whom its key names.
    """

    key: re.Pattern[str]
    show: Callable[[Any, Others], None] = _nothing_to_show
    mend: Callable[[Any], None] = _nothing_to_mend
    names: Callable[[str, bytes], Iterable[Ref]] = _nobody_else

    def whose(self, key: str) -> Ref | None:
        """Return the name in a key; None where the entry is about nobody."""
        found = self.key.fullmatch(key)
        return None if found is None else name_of(found["name"])

    def sealed_key(self, key: str, mark: Callable[[bytes], bytes]) -> str:
        """Return the key under which an entry lies sealed; the same key where it is about nobody."""
        found = self.key.fullmatch(key)
        if found is None:
            return key
        begin, end = found.span("name")
        return f"{SEALED_KEY}{key[:begin]}{mark(name_of(found['name']).encode()).decode()}{key[end:]}"

    def without(self, value: bytes, is_gone: Callable[[Ref], bool]) -> bytes:
        """Return an entry without its parts about some others; the same bytes where it has none.

        What is sealed and opened when their keys are gone is the same.
        """
        state = _decode(value)
        others = Others(lambda names, part: _GONE if any(map(is_gone, names)) else part)
        self.show(state, others)
        if not others.changed:
            return value
        self.mend(state)
        return _encode(state)

    def people_in(self, key: str, value: bytes) -> set[Ref]:
        """Return the people without whom an entry is nothing; nobody where it is about nobody."""
        owner = self.whose(key)
        return set() if owner is None else {owner, *self.names(key, value)}

    def others_in(self, value: bytes) -> set[Ref]:
        """Return the people whom parts of an entry are about; the one whose it is may be among them."""
        found: set[Ref] = set()

        def noted(names: list[Ref], part: Any) -> Any:
            found.update(names)
            return part

        if self.show is not _nothing_to_show:
            self.show(_decode(value), Others(noted))
        return found


def seal_entry(
    topic: str, key: bytes, value: bytes, about: set[Ref], shape: Shape, key_id_of: KeyIdOf, key_of: KeyOf
) -> bytes:
    """Return what lies on disk, and in the changelog `topic`, in the place of an entry.

    Args:
        topic: the changelog.
        key: of the entry, plain, with its partition: who reads the changelog gets it back with the value.
        value: of the entry.
        about: the people without whom it is nothing.
        shape: of its state.
        key_id_of: returns the id of a key.
        key_of: returns a key.

    Raises:
        LookupError: a key is not there.
    """
    headers: Headers = ()
    if shape.show is not _nothing_to_show:
        place = topic.encode()
        needed: dict[bytes, None] = {}

        def sealed(names: list[Ref], part: Any) -> Any:
            others = [name for name in names if name not in about]
            if not others:
                return part
            ids = [key_id_of(name) for name in others]
            needed.update(dict.fromkeys(ids))
            return Ext(_PART, encrypted(ids, key_of, _encode(part), place))

        state = _decode(value)
        others = Others(sealed)
        shape.show(state, others)
        if others.changed:
            value, headers = _encode(state), ((_PARTS, b"".join(needed)),)
    return seal(topic, Content(key, value, headers), [key_id_of(name) for name in sorted(about)], key_of)


def part_key_ids(headers: Headers) -> Iterator[bytes]:
    """Yield the ids of the keys that the parts of an opened entry need."""
    for name, ids in headers:
        if name == _PARTS:
            yield from (ids[at : at + KEY_ID_BYTES] for at in range(0, len(ids), KEY_ID_BYTES))


def with_opened_parts(topic: str, value: bytes, headers: Headers, shape: Shape | None, key_of: KeyOf) -> bytes:
    """Return an opened entry's value with its parts opened; those whose keys are gone fall out.

    Args:
        topic: the changelog.
        value: of the entry.
        headers: that were sealed with it.
        shape: of its state, to mend what has lost a part; None for who only looks.
        key_of: returns a key, None for one that was destroyed.
    """
    if not headers:
        return value
    place = topic.encode()
    lost = False

    def opened(code: int, data: memoryview) -> Any:
        nonlocal lost
        if code == _PART:
            part = decrypted(bytes(data), key_of, place)
            if part is None:
                lost = True
                return _GONE
            return decode(part)
        held = decode(data)
        if code == _LIST:
            return [part for part in held if part is not _GONE]
        if code == _MAP:
            return {_hashable(part[0]): part[1] for part in held if part is not _GONE}
        part, instead = held
        return instead if part is _GONE else part

    decode = msgspec.msgpack.Decoder(ext_hook=opened).decode
    state = decode(value)
    if lost and shape is not None:
        shape.mend(state)
    return _encode(state)


def _hashable(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
