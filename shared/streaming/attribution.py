"""Remembers whom each event of a feed was taken to be about, and finds those that turn out to be about somebody else.

An event names people by refs, and what a ref meant when the event was said can become known later: an address that had
been handed on by then, two ids that are one person. Each event that was taken has an entry, beside the identities of
the first ref that it uses; one process sees both. Beside its other refs lies a link to that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from shared.contracts.ids import EmployeeId, EventId, Ref
from shared.streaming.state import State

Meant = tuple[tuple[Ref, EmployeeId], ...]
"""The refs that an event uses, in the order in which it was asked for them, and whom they mean."""


class Attribution(msgspec.Struct, frozen=True):
    """An event of a feed, and whom its refs were last taken to mean.

    Attributes:
        time: when its source said it.
        partition: of the feed, where it lies.
        offset: there.
        number: how often it has turned out to be about others.
        before: whom they were taken to mean until then, as long as that has not been taken back there and said here.
    """

    event_id: EventId
    time: datetime
    partition: int
    offset: int
    meant: Meant
    number: int = 0
    before: Meant | None = None

    @property
    def home(self) -> Ref:
        """The ref beside which its entry lies."""
        return self.meant[0][0]


class _Name(msgspec.Struct, frozen=True):
    """A ref and whom it means, in fields by which erasing finds people in a record (`shared.streaming.sealing`)."""

    employee: Ref
    employee_id: EmployeeId


class _Written(msgspec.Struct, frozen=True, omit_defaults=True):
    event_id: EventId
    time: datetime
    partition: int
    offset: int
    meant: list[_Name]
    number: int = 0
    before: list[_Name] | None = None


SEPARATOR: Final = "\x1f"
"""Stands in a key between a ref and an event's id."""
ENTRY: Final = "e"
"""What keys of entries begin with, before a slash."""
LINK: Final = "l"
"""And those of links."""
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Written).decode


def write_attribution(said: Attribution) -> bytes:
    """Return the attribution as bytes."""
    meant = [_Name(*one) for one in said.meant]
    before = None if said.before is None else [_Name(*one) for one in said.before]
    return _encode(_Written(said.event_id, said.time, said.partition, said.offset, meant, said.number, before))


def read_attribution(value: bytes) -> Attribution:
    """Return what `write_attribution` wrote."""
    said = _decode(value)
    meant = tuple((one.employee, one.employee_id) for one in said.meant)
    before = None if said.before is None else tuple((one.employee, one.employee_id) for one in said.before)
    return Attribution(said.event_id, said.time, said.partition, said.offset, meant, said.number, before)


def refs_in(said: Attribution) -> set[Ref]:
    """Return all names in an attribution, of those whom they mean too."""
    meant = (*said.meant, *(said.before or ()))
    return {ref for ref, _ in meant} | {Ref(f"hris:{employee_id}") for _, employee_id in meant}


class Attributions:
    """The entries and links of an intake, in its state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def entry(self, partition: int, home: Ref, event_id: EventId) -> Attribution | None:
        """Return the entry of an event; None where it has none."""
        stored = self._state.get(partition, _entry_key(home, event_id))
        return None if stored is None else read_attribution(stored)

    def keep(self, partition: int, entry: Attribution) -> None:
        """Keep the entry, in the place of what it was before."""
        self._state.put(partition, _entry_key(entry.home, entry.event_id), write_attribution(entry))

    def link(self, partition: int, ref: Ref, entry: Attribution) -> None:
        """Note that an event whose entry is elsewhere uses `ref`."""
        self._state.put(partition, f"{LINK}/{ref}{SEPARATOR}{entry.event_id}", write_attribution(entry))

    def has_lost(self, partition: int, home: Ref) -> bool:
        """Tell whether any event that names `home` first has ever turned out to be about others."""
        return self._state.get(partition, f"m/{home}") is not None

    def note_loss(self, partition: int, home: Ref) -> None:
        """Note that one has."""
        self._state.put(partition, f"m/{home}", b"1")

    def by(self, partition: int, ref: Ref) -> list[Attribution]:
        """Return the entries of the events that name `ref` first."""
        return list(self._read(partition, f"{ENTRY}/{ref}{SEPARATOR}"))

    def linked(self, partition: int, ref: Ref) -> Iterator[Attribution]:
        """Yield the events that use `ref` and have their entry elsewhere, as they were when the link was made."""
        return self._read(partition, f"{LINK}/{ref}{SEPARATOR}")

    def all(self, partition: int) -> Iterator[Attribution]:
        """Yield all entries of a partition."""
        return self._read(partition, f"{ENTRY}/")

    def _read(self, partition: int, beginning: str) -> Iterator[Attribution]:
        for _, stored in self._state.items(partition, beginning):
            yield read_attribution(stored)


def _entry_key(home: Ref, event_id: EventId) -> str:
    return f"{ENTRY}/{home}{SEPARATOR}{event_id}"
