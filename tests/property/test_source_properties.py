"""What holds for every delivery of every shipped source, whatever is in it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sources.accounts import Accounts
from services.sources.fetching import Fetcher
from services.sources.handlers import DeliveryHandler
from shared.contracts.base import utc
from shared.sources.delivery import Delivery
from shared.sources.expressions import Unmappable
from shared.sources.files import read_sources
from shared.sources.mappers import read
from shared.sources.mapping import key_of, with_record
from shared.sources.signatures import BadSignature
from shared.streaming.records import Record
from tests.source_payloads import EXAMPLES, FOLDER, bamboohr

SOURCES = read_sources(FOLDER)
AT = utc(2026, 3, 2, 9)
HANDLER = DeliveryHandler(SOURCES, Fetcher(SOURCES, Accounts(SOURCES, {}, timeout_seconds=1), give_up_seconds=0))

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[path[0]] = with_value(copied[path[0]], path[1:], value)
    return copied


@st.composite
def spoilt_deliveries(draw: st.DrawFn) -> Delivery:
    """Vendors' payloads with anything in place of any part of them."""
    example = draw(st.sampled_from(EXAMPLES))
    if isinstance(example.payload, bytes):
        body = spoilt_bytes(draw, example.payload)
    else:
        payload = example.payload
        for _ in range(draw(st.integers(1, 3))):
            payload = with_value(payload, draw(st.sampled_from(places(payload))), draw(values))
        body = orjson.dumps(payload)
    delivery = Delivery(example.source, body, example.headers, AT)
    try:
        return with_record(SOURCES[example.source], delivery, draw(st.none() | values))
    except Unmappable:
        return delivery


def spoilt_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """XML with text, elements or anything in place of what an element holds, or with a piece cut out."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    texts = [found.span(1) for found in re.finditer(rb">([^<]+)<", body)]
    start, end = draw(st.sampled_from([(start, end), *texts]))
    instead = draw(st.sampled_from([b"", b"<a/>", b'<a b="1">x</a><a/>', "é".encode()]) | st.binary(max_size=9))
    return body[:start] + instead + body[end:]


@given(spoilt_deliveries())
@settings(max_examples=80, deadline=None)
def test_whatever_comes_becomes_events_that_a_feed_takes_or_a_reason_and_the_same_each_time(delivery: Delivery) -> None:
    declaration = SOURCES[delivery.source]
    assert key_of(declaration, delivery)
    try:
        mapped = read(declaration, delivery)
    except Unmappable:
        return
    again = read(declaration, replace(delivery))
    assert again == mapped
    assert len({(event.source, event.id) for event in mapped.events}) == len(mapped.events)


@given(
    st.binary(max_size=80), st.sampled_from(sorted(SOURCES)), st.dictionaries(st.text(max_size=9), st.text(max_size=9))
)
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_read_or_refused_with_a_reason(body: bytes, source: str, headers: dict[str, str]) -> None:
    record = Record("sources.received", 0, 0, b"k", body, (("source", source.encode()),), AT)
    for output in asyncio.run(HANDLER([record])):
        assert output.topic == "sources.received.dead" or output.topic.startswith("feeds.")
    webhook = SOURCES[source].webhook
    if webhook is None:
        return
    with pytest.raises(BadSignature):
        webhook.signature.check(["9f86d081884c7d65"], headers, body, AT)


entries = st.lists(
    st.builds(
        lambda number, action, fields: bamboohr(number=str(number), action=action, fields=fields),
        st.integers(1, 5),
        st.sampled_from(["Created", "Updated", "Deleted"]),
        st.dictionaries(
            st.sampled_from(["department", "firstName", "lastName"]), st.text("ab", min_size=1, max_size=2)
        ),
    ),
    max_size=8,
)


@given(entries, st.lists(st.integers(0, 8), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_however_changes_are_batched_repeated_and_mixed_the_events_are_the_same(
    changes: list[Any], cuts: list[int], chance: Any
) -> None:
    def ids(batches: list[list[Any]]) -> set[str]:
        found: set[str] = set()
        for batch in batches:
            delivery = Delivery("bamboohr", orjson.dumps({"employees": batch}), {}, AT)
            found |= {event.id for event in read(SOURCES["bamboohr"], delivery).events}
        return found

    mixed = [*changes, *changes]
    chance.shuffle(mixed)
    bounds = sorted({0, len(mixed), *(min(cut, len(mixed)) for cut in cuts)})
    batches = [mixed[begin:end] for begin, end in pairwise(bounds)]
    assert ids(batches) == ids([changes])
