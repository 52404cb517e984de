"""What holds for the gateway whatever is sent to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.app import http_app
from services.gateway.bulk import Upload
from services.gateway.events import read_binary, read_structured
from services.gateway.lines import LineCutter
from services.gateway.settings import GatewaySettings
from shared.contracts.base import utc
from shared.contracts.cloudevents import read_feed_event
from shared.service.health import Health
from shared.streaming.records import Output

HRIS = "urn:acme:hris"
TOKEN = "0123456789abcdef"
CONTENT_TYPES = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
    "application/json",
    "text/plain",
)

whole_numbers = st.integers(-(2**70), 2**70)
payloads = st.recursive(
    st.none() | st.booleans() | whole_numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.text(min_size=1, max_size=50).filter(str.strip)


class MemorySink:
    """Acknowledges everything."""

    def __init__(self) -> None:
        self.records: list[Output] = []

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        self.records += records
        return asyncio.sleep(0)


def an_event(subject: str = "hris:E1", data: Any = None) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": HRIS, "type": "t", "subject": subject, "data": data}
    return json.dumps(event, ensure_ascii=False).encode()


EVENT = an_event()
almost_events = st.builds(
    lambda at, by, cut: EVENT[:at] + by + EVENT[at + cut :],
    st.integers(0, len(EVENT)),
    st.binary(max_size=4),
    st.integers(0, 4),
)
bodies = st.binary(max_size=300) | almost_events | st.lists(almost_events, max_size=4).map(b"\n".join)
# What a server hands on as a header's value: no control characters but the tab (RFC 9110, section 5.5).
header_values = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127))


@settings(max_examples=300)
@given(st.sampled_from(CONTENT_TYPES), bodies, st.dictionaries(st.sampled_from(["id", "time", "x", ""]), header_values))
@example("application/json", b"", {"id": b"%ff"})
@example("application/json", b"{}", {"time": b"9999-12-31T24:00:00Z"})
@example("application/cloudevents+json", EVENT[:-1] + b',"time":[]}', {})
@example("application/cloudevents+json", EVENT[:-1] + b',"a":' + b"[" * 1010 + b"]" * 1010 + b"}", {})
@example("application/cloudevents-batch+json", b"[" * 100_000, {})
@example("application/x-ndjson", b"[" * 100_000 + b"\n{}", {})
def test_no_bytes_make_the_gateway_fail_or_hang(content_type: str, body: bytes, extra: dict[str, bytes]) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"Authorization", f"Bearer {TOKEN}".encode()),
        (b"Content-Type", content_type.encode()),
    ]
    if not content_type.startswith("application/cloudevents"):
        ours = {"specversion": b"1.0", "id": b"1", "source": HRIS.encode(), "type": b"t", "subject": b"s"}
        headers += [(b"ce-" + name.encode(), value) for name, value in (ours | extra).items()]

    async def status() -> int:
        app = http_app(GatewaySettings(tokens=f"{HRIS}={TOKEN}"), MemorySink(), Health())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client, asyncio.timeout(5):
            answer = await client.post("/v1/feeds/people", content=body, headers=headers)
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        return answer.status_code

    assert asyncio.run(status()) < 500


@given(names, payloads)
def test_a_payload_and_a_subject_arrive_as_they_were_sent_in_both_modes(subject: str, payload: Any) -> None:
    body = json.dumps(payload, ensure_ascii=False).encode()
    structured = read_structured(an_event(subject, payload), HRIS)
    headers = {"specversion": "1.0", "id": "1", "source": HRIS, "type": "t", "subject": quote(subject, safe="")}
    binary = read_binary([(b"ce-" + name.encode(), value.encode()) for name, value in headers.items()], body, HRIS)
    assert binary.value.endswith(b'"data":' + body + b"}")
    for read in (structured, binary):
        event = read_feed_event(None, read.value, [("content-type", b"application/cloudevents+json")], utc(2026, 1, 1))
        assert (read.subject, event.subject, event.data) == (subject, subject, payload)


@given(st.binary(max_size=200) | st.text("a\r\n", max_size=60).map(str.encode), st.lists(st.integers(0, 200)))
def test_lines_are_the_same_wherever_the_stream_is_cut(body: bytes, cuts: list[int]) -> None:
    whole = LineCutter(20)
    expected = [*whole.feed(body), *whole.finish()]
    cutter = LineCutter(20)
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(bounds)]
    assert [line for piece in pieces for line in cutter.feed(piece)] + list(cutter.finish()) == expected


@given(st.lists(almost_events | st.just(EVENT), min_size=1, max_size=8), st.integers(1, 50))
def test_every_line_of_an_upload_is_accepted_or_accounted_for(lines: list[bytes], chunk: int) -> None:
    body = b"\n".join(lines)
    sink = MemorySink()
    upload = Upload("people", HRIS, sink, 1000)

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    asyncio.run(upload.take(chunks()))
    sent = [line.removesuffix(b"\r") for line in body.split(b"\n") if line.strip()]
    kept = [record.value for record in sink.records]
    lost = {error["line"] for error in upload.errors if not error["dead_letter"]}
    assert upload.accepted + upload.rejected == len(sent) == len(kept) + len(lost)
    assert len([record for record in sink.records if record.topic == "feeds.people"]) == upload.accepted
    assert [line for line in sent if line in kept] == kept
