"""Decides from when to when a person has a name, whatever the order in which their source's statements of it came.

A statement gives all names of one kind (an address, an account in one system) that the person has from a moment on. A
name that a later statement leaves out is held until then, and stays a claim: old addresses go on being used.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from services.people.state import Named
from shared.contracts.identities import Held
from shared.contracts.ids import EventId, Ref

KEPT: Final = 32
"""Statements of a person and kind of name that are kept. Beyond it the oldest goes that repeats the one before it (a
source that sends everything every night says nothing new); where none does, the oldest."""

Kinds = Mapping[str, tuple[Named, ...]]
"""What was said of a person's names, by their scheme; each in the order in which it begins to hold."""


def with_names(kinds: Kinds, refs: Iterable[Ref], effective_at: datetime, at: datetime, event_id: EventId) -> Kinds:
    """Return the statements with one more, of all kinds that `refs` are of; the same one again changes nothing."""
    by_kind: defaultdict[str, set[Ref]] = defaultdict(set)
    for ref in refs:
        by_kind[ref.partition(":")[0]].add(ref)
    after = dict(kinds)
    for kind, names in by_kind.items():
        said = list(kinds.get(kind, ()))
        if any(one.event_id == event_id for one in said):
            continue
        insort(said, Named(effective_at, at, event_id, tuple(sorted(names))), key=lambda one: one.key)
        if len(said) > KEPT:
            repeats = (place for place in range(1, len(said)) if said[place].refs == said[place - 1].refs)
            del said[next(repeats, 0)]
        after[kind] = tuple(said)
    return after


def held(kinds: Kinds) -> dict[Ref, tuple[Held, ...]]:
    """Return from when to when the person has each name, by what was said."""
    found: defaultdict[Ref, list[Held]] = defaultdict(list)
    for said in kinds.values():
        has: dict[Ref, Held] = {}
        for one in said:
            for ref in [ref for ref in has if ref not in one.refs]:
                found[ref].append(has.pop(ref).model_copy(update={"until": one.effective_at}))
            for ref in one.refs:
                has.setdefault(ref, Held(since=one.effective_at, said_at=one.at))
        for ref, still in has.items():
            found[ref].append(still)
    return {ref: tuple(times) for ref, times in found.items()}


def newest_first(kinds: Kinds, others: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return all names: those that the person has now, the newest first, then those that they had.

    Args:
        kinds: what was said of their names.
        others: names of which it is not known any more when they were said, or that came with another id of theirs.
    """

    def age(times: tuple[Held, ...]) -> tuple[bool, float]:
        newest = times[-1]
        return (newest.until is not None, -(newest.until or newest.since).timestamp())

    dated = held(kinds)
    return (*sorted(dated, key=lambda ref: (age(dated[ref]), ref)), *sorted(set(others) - set(dated)))
