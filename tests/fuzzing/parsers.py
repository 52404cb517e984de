"""All that reads what others sent, given any bytes: it reads them, or raises what it says it raises, and nothing else.

Each target takes bytes and raises `AssertionError`, or whatever it was that should not have been raised.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from scim2_models import SCIMException
from scim2_server.conditions import Conditions

from services.gateway.bulk import Upload
from services.gateway.events import read_batch, read_binary, read_structured, to_record
from services.gateway.lines import LineCutter
from services.gateway.problems import BadEvents, ForeignSource
from services.gateway.source_secrets import SourceSecrets
from services.scim.protocol import Protocol
from services.scim.schema import ENTERPRISE, PROVIDER, Employee
from services.scim.view import View, page_of
from shared.contracts.base import utc
from shared.contracts.cloudevents import BadCloudEvent, read_feed_event
from shared.sources.declaration import Bulk
from shared.sources.delivery import Delivery
from shared.sources.expressions import Expression, SourceFunctions, Unmappable, read_time
from shared.sources.files import BadDeclaration, read_source, read_sources
from shared.sources.mappers import read
from shared.sources.mapping import key_of, records_wanted, to_output
from shared.sources.rows import NotReadable, Row, read_rows
from shared.sources.signatures import BadSignature
from shared.sources.xml_bodies import is_xml
from shared.streaming.records import Output
from shared.transport.retry_after import seconds_to_wait
from tests.source_payloads import EXAMPLES, FOLDER

SOURCE: Final = "urn:acme:hris"
AT: Final = utc(2026, 3, 2, 9)
LONGEST: Final = 2000
_EVENT: Final = json.dumps(
    {"specversion": "1.0", "id": "1", "source": SOURCE, "type": "t", "subject": "hris:E1", "data": {"a": [1.10]}}
).encode()
_SOURCES: Final = read_sources(FOLDER)
_NAMES: Final = sorted(_SOURCES)
_SIGNED: Final = [name for name in _NAMES if _SOURCES[name].webhook is not None]
_SECRETS: Final = {
    "lattice": "whsec_MDEyMzQ1Njc4OWFiY2RlZg==",
    "successfactors-events": "tracker:9f86d081884c7d65",
    "workday-events": "tracker:9f86d081884c7d65",
}
_FUNCTIONS: Final = SourceFunctions("Europe/Berlin", {"levels": {"Engineer": 4}})
_PROTOCOL: Final = Protocol(PROVIDER)
_USERS: Final = PROVIDER.resource_types[0]
_NO_CONDITIONS: Final = Conditions()


def structured(data: bytes) -> None:
    """What enters as a structured event can be read by whoever reads the feed."""
    with suppress(BadEvents, ForeignSource):
        _is_readable(to_record("people", read_structured(data, SOURCE), 1 << 20))


def binary(data: bytes) -> None:
    """The same of an event in headers: lines of name and value, then an empty line, then the payload."""
    head, _, body = data.partition(b"\n\n")
    headers = [
        (name.strip().lower(), bytes(byte for byte in value.strip() if byte >= 32 and byte != 127))
        for name, colon, value in (line.partition(b":") for line in head.split(b"\n"))
        if colon
    ]
    ours = {"specversion": "1.0", "id": "1", "source": SOURCE, "type": "t", "subject": "s"}
    whole = {f"ce-{name}".encode(): value.encode() for name, value in ours.items()} | dict(headers)
    with suppress(BadEvents, ForeignSource):
        _is_readable(to_record("people", read_binary(whole.items(), body, SOURCE), 1 << 20))


def batch(data: bytes) -> None:
    """The events of a batch are each as they are in it; what text is in one is looked at when that one is read."""
    try:
        found = read_batch(data)
        whole = orjson.loads(data)
    except (BadEvents, orjson.JSONDecodeError):
        return
    assert [orjson.loads(event) for event in found] == whole


def bulk(data: bytes) -> None:
    """Lines are the same wherever an upload is cut, and each is accepted or accounted for."""
    cut, body = 1 + data[0] if data else 1, data[1:]
    pieces = [body[start : start + cut] for start in range(0, len(body), cut)]
    whole, cutter = LineCutter(LONGEST), LineCutter(LONGEST)
    expected = [*whole.feed(body), *whole.finish()]
    assert [line for piece in pieces for line in cutter.feed(piece)] + list(cutter.finish()) == expected
    sink = _Kept()
    upload = Upload("people", SOURCE, sink, LONGEST)

    async def chunks() -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            yield piece

    asyncio.run(upload.take(chunks()))
    assert upload.accepted + upload.rejected == len(expected)
    assert sum(record.topic == "feeds.people" for record in sink.records) == upload.accepted


def signatures(data: bytes) -> None:
    """Nothing is genuine without the secret, whatever its headers say: lines of name and value, then the body."""
    name = _SIGNED[data[0] % len(_SIGNED)] if data else _SIGNED[0]
    head, _, body = data[1:].partition(b"\n\n")
    headers = {
        key.strip().lower(): value.strip()
        for key, _, value in (line.partition(":") for line in head.decode("latin-1").split("\n"))
    }
    webhook = _SOURCES[name].webhook
    assert webhook is not None
    secret = _SECRETS.get(name, "9f86d081884c7d65")
    SourceSecrets.parse(f"{name}={secret}", _SOURCES)
    try:
        webhook.signature.check([secret], headers, body, AT)
    except BadSignature:
        return
    raise AssertionError(f"{name} took a signature that nobody made")


def deliveries(data: bytes) -> None:
    """A delivery becomes events that its feed takes, or a reason, and the same each time."""
    name = _NAMES[data[0] % len(_NAMES)] if data else _NAMES[0]
    declaration = _SOURCES[name]
    delivery = Delivery(name, data[1:], {"content-type": "application/json"}, AT)
    assert key_of(declaration, delivery)
    with suppress(Unmappable):
        records_wanted(declaration, delivery)
    try:
        mapped = read(declaration, delivery)
    except Unmappable:
        return
    assert read(declaration, Delivery(name, data[1:], delivery.headers, AT)) == mapped
    for event in mapped.events:
        _is_readable(to_output(event))


def xml(data: bytes) -> None:
    """XML becomes a document that JSON can say, or a reason."""
    try:
        document = Delivery("x", data if is_xml(data) else b"<" + data, {}, AT).payload
    except Unmappable:
        return
    assert orjson.loads(orjson.dumps(document)) == document


def rows(data: bytes) -> None:
    """Rows of an extract are read or told with their line; what is read can be sent."""
    how, content = (data[0], data[1:]) if data else (0, b"")
    encoding = ("utf-8-sig", "latin-1", "utf-16")[how // 2 % 3]
    bulk_of = Bulk(format=("csv", "ndjson")[how % 2], key="id", encoding=encoding)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with suppress(NotReadable):
            found = list(read_rows(bulk_of, Path(file.name)))
            sent = [row for row in found if isinstance(row, Row)]
            assert len({row.key for row in sent}) == len(sent)
            assert all(json.loads(row.body(AT))["row"] for row in sent)


def declarations(data: bytes) -> None:
    """A source's file can be used, or each fault has the file, the line and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "acme.yaml"
        path.write_bytes(data)
        told = ""
        try:
            read_source(path)
        except BadDeclaration as exc:
            told = str(exc)
        assert all(fault.startswith(str(path)) for fault in told.splitlines()), told


def expressions(data: bytes) -> None:
    """An expression compiles or is refused, and evaluates or says that it does not fit."""
    text, _, document = data.decode("utf-8", "replace").partition("\n")
    try:
        compiled = Expression(text[:300])
        body = json.loads(document or "null")
    except ValueError:
        return
    except RecursionError:  # of json, which nobody reads deliveries with
        return
    with suppress(Unmappable):
        compiled.evaluate({"body": body, "item": body, "headers": {}}, _FUNCTIONS, "x")


def times(data: bytes) -> None:
    """A time is read in UTC, or refused; a wait lies within its bounds."""
    text = data.decode("latin-1")
    with suppress(Unmappable):
        assert read_time(text).utcoffset() is not None
    wait = seconds_to_wait(text, datetime.now(AT.tzinfo))
    assert wait is None or 0 <= wait <= 60


def scim_users(data: bytes) -> None:
    """A user is read or refused, and what was read can be answered and read again."""
    with PROVIDER, _refusals():
        user = _PROTOCOL.read_creation(_USERS, data, None)
        content = user.model_dump()
        assert Employee.model_validate(content).model_dump() == content


def scim_patches(data: bytes) -> None:
    """A PATCH is applied or refused, and what came of it can be kept."""
    with PROVIDER, _refusals():
        patch = _PROTOCOL.read_patch(_USERS, data, None)
        changed = _PROTOCOL.apply_patch(_a_user(), patch, _NO_CONDITIONS)
        if changed is not None:
            content = changed.model_dump()
            assert Employee.model_validate(content).model_dump() == content


def scim_searches(data: bytes) -> None:
    """A search is refused, or finds."""
    text = data.decode("utf-8", "replace")
    asked, _, sort_by = text.partition("\n")
    query = {"filter": asked, **({"sortBy": sort_by} if sort_by else {})}
    with PROVIDER, _refusals():
        search, _ = _PROTOCOL.read_search([_USERS], query)
        candidates = _VIEW.candidates("User", search)
        page_of((one for one in candidates if search.filter is None or search.filter.match(one)), search)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        structured,
        binary,
        batch,
        bulk,
        signatures,
        deliveries,
        xml,
        rows,
        declarations,
        expressions,
        times,
        scim_users,
        scim_patches,
        scim_searches,
    )
}


def seeds(name: str) -> Sequence[bytes]:
    """Return inputs that a target begins from: what is sent when all is well."""
    return _SEEDS.get(name, (b"",))


def _a_user() -> Any:
    return Employee.model_validate(
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "id": "2819c223",
            "meta": {"resourceType": "User", "version": 'W/"1"', "created": "2026-03-01T08:00:00Z"},
            "userName": "ann@example.com",
            "active": True,
            "emails": [{"type": "work", "value": "ann@example.com", "primary": True}],
            ENTERPRISE: {"employeeNumber": "E1", "manager": {"value": "bo"}},
        }
    )


_VIEW: Final = View()
_VIEW.put("User", "2819c223", _a_user())
_PATCHES: Final = (
    {"op": "Replace", "path": "active", "value": "False"},
    {"op": "replace", "value": {"active": False, f"{ENTERPRISE}:department": "Cards"}},
    {"op": "Add", "path": 'emails[type eq "work"].value', "value": "ann@example.org"},
    {"op": "Remove", "path": f"{ENTERPRISE}:manager"},
    {"op": "add", "path": "emails", "value": [{"type": "home", "value": "lee@example.org"}]},
    {"op": "remove", "path": 'emails[type eq "home" or primary eq true]'},
)
_FILTERS: Final = (
    'userName eq "ann@example.com"',
    'emails[type eq "work" and value co "@"].value sw "a"\nuserName',
    f'{ENTERPRISE}:employeeNumber pr and not (meta.created gt "2020-01-01T00:00:00Z")\nname.familyName',
)
_HEADERS: Final = b"\n".join(
    (b"x-hub-signature-256: sha256=00", b"bob-signature: AAAA", b"authorization: Bearer x", b"webhook-id: 1")
)
_SEEDS: Final[Mapping[str, Sequence[bytes]]] = {
    "structured": (_EVENT, b"[" * 2000, _EVENT[:-1] + b',"time":"9999-12-31T24:00:00Z"}'),
    "binary": (
        b'ce-id: 1\nce-time: 2026-03-01T09:30:00Z\ncontent-type: application/json\n\n{"a": 1}',
        b"ce-id:%ff\n\n",
    ),
    "batch": (b"[" + _EVENT + b"," + _EVENT + b"]", b"[]"),
    "bulk": (b"\x10" + _EVENT + b"\n\r\n" + _EVENT[:40], b"\x00\n\n{}"),
    "signatures": tuple(bytes([at]) + _HEADERS + b"\n\n{}" for at in range(len(_SIGNED))),
    "deliveries": tuple(bytes([_NAMES.index(one.source)]) + one.body for one in EXAMPLES),
    "xml": (
        *(one.body for one in EXAMPLES if is_xml(one.body)),
        b'<!DOCTYPE a [<!ENTITY b "c"><!ATTLIST a d CDATA "e">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="latin-1"?><a><![CDATA[<]]><?b c?><!-- d -->&#233;</a>',
        "<a b='1'/>".encode("utf-16"),
    ),
    "rows": (b"\x00id,name\n1,Ann\n2,Bo\n", b'\x01{"id": 1, "name": "Ann"}\n{"id": 1}\n', b"\x05\xff\xfe{\x00}\x00"),
    "declarations": tuple((FOLDER / f"{name}.yaml").read_bytes() for name in ("bonusly", "scim", "workday")),
    "expressions": (
        b'join(\':\', [body.a, text(body.b)])\n{"a": "x", "b": 1}',
        b"lookup('levels', value(body[?c].d | [0]))\n[]",
        b'time(body) || date(body)\n"2026-03-01"',
    ),
    "times": (b"2026-03-01T09:30:00+02:00", b"1772442000000", b"Wed, 21 Oct 2026 07:28:00 GMT", b"-1e309"),
    "scim_users": (_a_user().model_dump_json().encode(),),
    "scim_patches": tuple(
        json.dumps({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [one]}).encode()
        for one in _PATCHES
    ),
    "scim_searches": tuple(one.encode() for one in _FILTERS),
}


class _Kept:
    """Takes everything."""

    def __init__(self) -> None:
        self.records: list[Output] = []

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        self.records += records
        return asyncio.sleep(0)


@contextmanager
def _refusals() -> Iterator[None]:
    """Let pass what is answered with a SCIM error, which tells something and is no 5xx."""
    try:
        yield
    except SCIMException as exc:
        error = exc.to_error()
        assert (error.status or 500) < 500, error
        assert error.detail


def _is_readable(output: Output) -> None:
    assert len(output.key or b"") <= 4 * 1000
    try:
        read_feed_event(output.key, output.value or b"", output.headers, AT)
    except BadCloudEvent as exc:
        raise AssertionError(f"what entered can't be read: {exc}") from exc
