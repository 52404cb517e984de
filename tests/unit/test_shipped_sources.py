"""Each shipped source on payloads of our own in its vendor's published shape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.tracker.intake import verdict_of
from shared.contracts.base import utc
from shared.sources.delivery import Delivery, read_delivery, to_record
from shared.sources.expressions import Unmappable
from shared.sources.files import read_sources
from shared.sources.mappers import read
from shared.sources.mapping import key_of, records_wanted, to_output, with_record
from shared.sources.polling import Round, body_of, read_page
from shared.streaming.records import Record
from tests.source_payloads import EXAMPLES, FOLDER, PAGES, Example, bamboohr, hibob

SOURCES = read_sources(FOLDER)
DOCS = Path(__file__).parents[2] / "docs" / "integrators"
RECEIVED_AT = utc(2026, 3, 2, 9)
EVERY_EXAMPLE = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.source}: {e.what}")


def delivery(example: Example, body: bytes | None = None) -> Delivery:
    bytes_sent = example.body if body is None else body
    return fetched(Delivery(example.source, bytes_sent, example.headers, RECEIVED_AT), example.fetched)


def fetched(thin: Delivery, record: Any) -> Delivery:
    return thin if record is None else with_record(SOURCES[thin.source], thin, record)


@EVERY_EXAMPLE
def test_a_payload_becomes_what_its_page_says(example: Example) -> None:
    mapped = read(SOURCES[example.source], delivery(example))
    said = tuple((e.feed, e.type, e.subject, e.time.isoformat(), e.data) for e in mapped.events)
    assert said == example.becomes
    assert (len(mapped.ignored), mapped.faults) == (example.ignored, ())


@EVERY_EXAMPLE
def test_a_record_is_fetched_where_the_delivery_holds_no_values_and_only_there(example: Example) -> None:
    wanted = records_wanted(SOURCES[example.source], delivery(example))
    assert bool(wanted) == (example.fetched is not None)


@EVERY_EXAMPLE
def test_what_it_becomes_is_taken_by_its_intake(example: Example) -> None:
    for event in read(SOURCES[example.source], delivery(example)).events:
        assert verdict_of(event).refused is None


@EVERY_EXAMPLE
def test_sent_again_as_another_library_writes_it_it_has_the_same_ids(example: Example) -> None:
    bodies = (example.body, example.written_otherwise())
    assert bodies[0] != bodies[1]
    first, second = (read(SOURCES[example.source], delivery(example, body)) for body in bodies)
    assert [e.id for e in first.events] == [e.id for e in second.events]
    assert len({(e.source, e.id) for e in first.events}) == len(first.events)


@EVERY_EXAMPLE
def test_what_lies_in_kafka_is_enough_to_read_it_and_holds_no_secret(example: Example) -> None:
    declaration = SOURCES[example.source]
    secret = {"authorization": "Bearer 9f86d081884c7d65", "x-hub-signature-256": "sha256=00", "cookie": "c"}
    sent = Delivery(example.source, example.body, {**example.headers, **secret}, RECEIVED_AT)
    output = to_record(declaration, sent, key_of(declaration, sent))
    record = Record(output.topic, 0, 0, output.key, output.value, output.headers, RECEIVED_AT)
    kept = read_delivery(record)
    assert kept.body == example.body
    assert not set(secret) & set(kept.headers)
    kept = fetched(kept, example.fetched)
    assert read(declaration, kept) == read(declaration, delivery(example))
    for event in read(declaration, kept).events:
        assert json.loads(to_output(event).value or b"")["data"] == event.data


@pytest.mark.parametrize(("name", "of"), sorted(PAGES))
def test_what_a_vendors_api_lists_becomes_events(name: str, of: str) -> None:
    document, following, found = PAGES[name, of]
    declaration = SOURCES[name]
    (poll,) = [poll for poll in declaration.poll if poll.name == of]
    page = read_page(declaration, poll, Round(began_at=RECEIVED_AT), document)
    assert page.next == following
    for record in page.records:
        body = body_of(declaration, poll, record, RECEIVED_AT)
        thin = Delivery(name, body, {}, RECEIVED_AT)
        assert bool(records_wanted(declaration, thin)) == (found is not None)
        mapped = read(declaration, fetched(thin, found))
        assert [event.feed for event in mapped.events] == ["people"]
        assert (mapped.ignored, mapped.faults) == ((), ())


def test_every_list_that_a_shipped_source_polls_has_a_page() -> None:
    assert set(PAGES) == {(name, poll.name) for name, source in SOURCES.items() for poll in source.poll}


def test_every_shipped_source_has_examples_and_a_page_that_the_overview_links_to() -> None:
    assert {example.source for example in EXAMPLES} == set(SOURCES)
    overview = (DOCS / "README.md").read_text()
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", overview)) == set(SOURCES) == {p.stem for p in DOCS.glob("[a-z]*.md")}
    for name, declaration in SOURCES.items():
        page = (DOCS / f"{name}.md").read_text()
        assert declaration.docs in page, name
        assert (f"/v1/sources/{name}" in page) == (declaration.webhook is not None), name
        assert (f"SOURCES_CREDENTIALS={name}=" in page) == (declaration.api is not None), name
        assert (f"source load {name}" in page) == (declaration.bulk is not None), name


def test_an_event_that_no_rule_knows_is_a_fault_and_says_what_to_do() -> None:
    unknown = delivery(Example("hibob", "unknown", hibob("employee.teleported")))
    assert read(SOURCES["hibob"], unknown).faults == (
        "no rule of events applies to this, nor one of ignore: add one to hibob.yaml, then replay the source",
    )


def test_an_employee_who_cannot_be_read_does_not_hold_up_the_others_of_the_delivery() -> None:
    odd = bamboohr(number="102", fields={})
    odd["timestamp"] = "soon"
    payload = {"employees": [bamboohr(), odd, bamboohr(number="103")]}
    mapped = read(SOURCES["bamboohr"], delivery(Example("bamboohr", "odd", payload)))
    assert [event.subject for event in mapped.events] == ["hris:101", "hris:103"]
    (fault,) = mapped.faults
    assert fault.startswith("entry 1: events.1.time: a time is neither")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": "urn:example:other"}, "source: is not urn:example:events, nor below it"),
        ({"source": "urn:example:eventsource"}, "source: is not urn:example:events, nor below it"),
        ({"type": "unit.vanished"}, "type: 'unit.vanished' is none that a feed understands"),
        ({"subject": None}, "subject: is missing"),
        ({"id": None}, "id"),
        ({"data": {"unit_id": ""}}, "unit.defined as it was mapped is none: unit_id"),
        ({"data": "words"}, "unit.defined as it was mapped is none"),
    ],
)
def test_a_cloudevent_that_may_not_pass_says_why(changes: dict[str, Any], told: str) -> None:
    (example,) = [e for e in EXAMPLES if (e.source, e.what) == ("cloudevents", "structured")]
    event = {name: value for name, value in {**example.payload, **changes}.items() if value is not None}
    with pytest.raises(Unmappable) as refused:
        read(SOURCES["cloudevents"], delivery(example, json.dumps(event).encode()))
    assert told in str(refused.value)
