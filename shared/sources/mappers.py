"""Reads a delivery as its source says: by rules, or by a Python class where expressions can't do it.

An installed package offers such a class by an entry point of the group `sponsorship_tracker.sources`, under the name
that `mapper` has in the source's file. The class takes the declaration, and is given deliveries that were verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Final, Protocol

from shared.sources.cloudevents import CloudEventsMapper
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery
from shared.sources.mapping import Mapped, map_delivery

GROUP: Final = "sponsorship_tracker.sources"


def read(declaration: Declaration, delivery: Delivery) -> Mapped:
    """Return what `delivery` becomes.

    Raises:
        Unmappable: nothing can be made of it.
    """
    if declaration.mapper is None:
        return map_delivery(declaration, delivery)
    return mapper_of(declaration).map_delivery(delivery)


class Mapper(Protocol):
    """Reads the deliveries of a source."""

    def map_delivery(self, delivery: Delivery) -> Mapped:
        """Return what it becomes, the same each time; raise `Unmappable` to have it buried with the reason."""


class MapperType(Protocol):
    """A mapper's class."""

    def __call__(self, declaration: Declaration) -> Mapper:
        """Make the mapper of a source."""


_OURS: Final[Mapping[str, MapperType]] = {"cloudevents": CloudEventsMapper}


@cache
def _class_of(name: str) -> MapperType:
    if name in _OURS:
        return _OURS[name]
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        known = sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})
        raise LookupError(f"there is no entry point {name!r} of {GROUP}; there are {', '.join(known)}")
    try:
        loaded: MapperType = found[0].load()
    except (ImportError, AttributeError) as exc:
        raise LookupError(f"the entry point {name!r} ({found[0].value}) can't be loaded: {exc}") from exc
    return loaded


def mapper_of(declaration: Declaration) -> Mapper:
    """Return the mapper that `declaration` names.

    Raises:
        LookupError: there is none of that name, or it can't be loaded.
    """
    assert declaration.mapper is not None  # noqa: S101 - asked only where there is one
    return _class_of(declaration.mapper)(declaration)
