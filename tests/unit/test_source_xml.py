"""XML bodies: what document expressions see, and what is refused before it can do harm."""

from __future__ import annotations

import pytest

from shared.contracts.base import utc
from shared.sources.delivery import Delivery
from shared.sources.expressions import Expression, SourceFunctions, Unmappable
from shared.sources.xml_bodies import is_xml, read_xml


def found(expression: str, body: bytes) -> object:
    document = Delivery("acme", body, {}, utc(2026, 3, 2)).payload
    return Expression(expression).evaluate({"body": document}, SourceFunctions(), "x")


def test_elements_have_their_local_names_attributes_an_at_and_text_beside_them_is_hash_text() -> None:
    text = b"\xc3\xa9&#233;<![CDATA[<]]>"
    body = b'<n:a xmlns:n="urn:n" n:kind="k"><n:b kind="ID">7</n:b><c> seven </c><d/><e>' + text + b"</e></n:a>"
    expected = {"a": {"@kind": "k", "b": {"@kind": "ID", "#text": "7"}, "c": "seven", "d": None, "e": "éé<"}}
    assert read_xml(body) == expected


def test_prefixes_and_where_namespaces_are_declared_do_not_matter() -> None:
    ways = (b"<x:a xmlns:x='u'><x:b/></x:a>", b"<a xmlns='u'><b/></a>", b"<x:a xmlns:x='u'><y:b xmlns:y='u'/></x:a>")
    assert {repr(read_xml(way)) for way in ways} == {repr({"a": {"b": None}})}


@pytest.mark.parametrize(("elements", "expected"), [(b"", []), (b"<b>1</b>", ["1"]), (b"<b>1</b><b>2</b>", ["1", "2"])])
def test_to_array_finds_as_many_as_there_are(elements: bytes, expected: list[str]) -> None:
    assert found("to_array(body.a.b)[]", b"<a>" + elements + b"</a>") == expected


@pytest.mark.parametrize(
    "body", [b"<a/>", b" \n<a/>", b"\xef\xbb\xbf<a/>", "<a/>".encode("utf-16"), b"<", b"\xff\xfe"], ids=repr
)
def test_what_begins_like_xml_is_read_as_xml(body: bytes) -> None:
    assert is_xml(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'"<a/>"', b"null", b"no json", b"a=<b>"], ids=repr)
def test_what_does_not_is_read_as_json(body: bytes) -> None:
    assert not is_xml(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "has a document type"),
        (b'<!DOCTYPE a SYSTEM "http://example.com/a.dtd"><a/>', "has a document type"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "has a document type"),
        (b'<!DOCTYPE a [<!ATTLIST b c CDATA "long">]><a><b/></a>', "has a document type"),
        (b"<a>&b;</a>", "undefined entity"),
        (b"<a>", "no element found"),
        (b"<a></b>", "mismatched tag"),
        (b"<n:a/>", "unbound prefix"),
        (b"<a/><b/>", "junk after document element"),
        (b'<?xml version="1.0" encoding="nix"?><a/>', "unknown encoding"),
        (b'<?xml version="1.0" encoding="big5"?><a/>', "multi-byte encodings"),
        (b"<a>" * 65 + b"</a>" * 65, "nested deeper than the 64 levels"),
        (b"<a>" * 100_000 + b"</a>" * 100_000, "nested deeper than the 64 levels"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_cannot_be_read_safely_says_why(body: bytes, told: str) -> None:
    with pytest.raises(Unmappable, match=told):
        _ = Delivery("acme", body, {}, utc(2026, 3, 2)).payload
