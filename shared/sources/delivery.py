"""A delivery: what a source sent, with the headers that its reading needs, as it lies in `sources.received`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import orjson

from shared.sources.declaration import Declaration
from shared.sources.expressions import Unmappable
from shared.sources.xml_bodies import is_xml, read_xml
from shared.streaming.records import SOURCE_HEADER, Output, Record
from shared.streaming.topics import SOURCES_RECEIVED

_HTTP: Final = "http-"
DEEPEST: Final = 64
"""How deep arrays and objects of a payload may lie in each other; vendors' go to about ten."""
_TOO_DEEP: Final = f"the body is nested deeper than the {DEEPEST} levels that are allowed"


class TooDeeplyNested(Unmappable):
    """A payload whose arrays and objects lie deeper in each other than `DEEPEST`."""


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Why a record was not had; in words for whoever reads the dead letter, without its key."""

    reason: str


@dataclass(frozen=True)
class Delivery:
    """A delivery.

    Attributes:
        source: the source's name.
        body: as it came.
        headers: those that the source's declaration reads, names in lower case.
        received_at: when it was written to Kafka; for what says no time of its own.
        records: those that it names, by their keys, where the source's declaration has them fetched; `Unfetched` for
            those that were not had.
    """

    source: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    received_at: datetime
    records: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def payload(self) -> Any:
        """Return the document that the body is, as JSON or as XML.

        Raises:
            Unmappable: it is neither, or lies too deep in itself.
        """
        document = read_xml(self.body) if is_xml(self.body) else self._json()
        if too_deep(document):
            raise TooDeeplyNested(_TOO_DEEP)
        return document

    def _json(self) -> Any:
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as exc:
            if "depth limit" in str(exc):
                raise TooDeeplyNested(_TOO_DEEP) from exc
            kind = self.headers.get("content-type", "")[:100] or "no content type"
            raise Unmappable(f"the body is neither JSON nor XML ({kind}): {exc}; let the vendor send JSON") from exc


def too_deep(document: Any) -> bool:
    """Tell whether arrays and objects lie deeper in each other than `DEEPEST`."""
    level = [document] if isinstance(document, list | dict) else []
    for _ in range(DEEPEST):
        if not level:
            return False
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, list | dict)
        ]
    return bool(level)


def to_record(declaration: Declaration, delivery: Delivery, key: str) -> Output:
    """Return the record that keeps a delivery: the body as it came; neither signature nor token."""
    kept = declaration.headers_read
    headers = tuple(
        (_HTTP + name, value.encode("utf-8", "replace"))
        for name, value in sorted(delivery.headers.items())
        if name in kept or any(one.endswith("*") and name.startswith(one[:-1]) for one in kept)
    )
    return Output(
        SOURCES_RECEIVED, key.encode(), delivery.body, headers=((SOURCE_HEADER, delivery.source.encode()), *headers)
    )


def read_delivery(record: Record) -> Delivery:
    """Return the delivery that a record keeps.

    Raises:
        Unmappable: it keeps none.
    """
    headers = dict(record.headers)
    if SOURCE_HEADER not in headers or record.value is None:
        raise Unmappable(f"the record has no {SOURCE_HEADER} header, or no value: it is no delivery of the gateway's")
    return Delivery(
        source=headers[SOURCE_HEADER].decode("utf-8", "replace"),
        body=record.value,
        headers={
            name.removeprefix(_HTTP): value.decode("utf-8", "replace")
            for name, value in record.headers
            if name.startswith(_HTTP)
        },
        received_at=record.time,
    )
