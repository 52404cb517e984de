"""The gateway without Kafka: who may send, what may enter, and what a sender is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from services.gateway.app import http_app
from services.gateway.events import read_batch, read_binary, read_structured
from services.gateway.lines import Line, LineCutter
from services.gateway.problems import (
    BadEvents,
    Busy,
    FieldError,
    ForeignSource,
    Problem,
    ProblemDetails,
    Unavailable,
    problem_response,
)
from services.gateway.settings import GatewaySettings
from services.gateway.sink import METRICS
from shared.contracts.base import utc
from shared.contracts.cloudevents import read_feed_event
from shared.contracts.feeds import SHAPES, read_payload
from shared.service.health import Health
from shared.service.tokens import Tokens
from shared.streaming.records import Output
from shared.streaming.sink import NoRoom, Room

HRIS = "urn:acme:hris"
TOKEN = "0123456789abcdef"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
INTEGRATORS = Path(__file__).parents[2] / "docs" / "integrators" / "README.md"


class MemorySink:
    """Takes records as Kafka would, or fails as told."""

    def __init__(self, fails_with: Problem | None = None) -> None:
        self.records: list[Output] = []
        self.fails_with = fails_with

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        if isinstance(self.fails_with, Busy):
            raise self.fails_with
        if self.fails_with is None:
            self.records += records
        return self._acknowledged(self.fails_with)

    async def _acknowledged(self, fault: Problem | None) -> None:
        await asyncio.sleep(0)
        if fault is not None:
            raise fault

    def on(self, topic: str) -> list[Output]:
        return [record for record in self.records if record.topic == topic]


def settings(**changes: Any) -> GatewaySettings:
    return GatewaySettings(**{"tokens": f"{HRIS}={TOKEN},urn:acme:reviews=fedcba9876543210", **changes})


def attributes(**changes: Any) -> dict[str, Any]:
    """A CloudEvent's attributes; None leaves one out."""
    whole = {
        "specversion": "1.0",
        "id": "1",
        "source": HRIS,
        "type": "employee.left",
        "subject": "hris:E00017",
        "time": "2026-03-01T09:30:00Z",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def an_event(data: str | None = '{"employee_id":"E00017"}', **changes: Any) -> bytes:
    text = json.dumps(attributes(**changes), ensure_ascii=False)
    return (text if data is None else text[:-1] + f',"data":{data}}}').encode()


def ce_headers(**changes: Any) -> dict[str, str]:
    return {f"ce-{name}": str(value) for name, value in attributes(**changes).items()}


async def post(
    body: bytes | AsyncGenerator[bytes, None],
    *,
    feed: str = "people",
    content_type: str | None = STRUCTURED,
    token: str | None = TOKEN,
    headers: Mapping[str, str] | None = None,
    sink: MemorySink | None = None,
    method: str = "POST",
    **changes: Any,
) -> httpx.Response:
    app = http_app(settings(**changes), sink or MemorySink(), Health())
    sent = dict(headers or {})
    if content_type is not None:
        sent["Content-Type"] = content_type
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, f"/v1/feeds/{feed}", content=body, headers=sent)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that `answer` tells of, having checked that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    ProblemDetails.model_validate(told)
    assert told["status"] == status
    assert told["detail"]
    assert told["instance"].startswith("urn:uuid:")
    return told


def refusal(body: bytes) -> BadEvents:
    with pytest.raises(BadEvents) as caught:
        read_structured(body, HRIS)
    return caught.value


def pointers(error: Problem) -> list[str]:
    return [part.pointer for part in error.errors]


# -- tokens ---------------------------------------------------------------------------------------


def test_a_token_speaks_for_its_source_and_for_no_other() -> None:
    tokens = Tokens.parse(f"urn:a:b/c={'1' * 16}, urn:d={'2' * 16}")
    assert tokens.sender_of("1" * 16) == "urn:a:b/c"
    assert tokens.sender_of("2" * 16) == "urn:d"
    assert tokens.sender_of("3" * 16) is None
    assert tokens.sender_of("") is None


def test_a_source_may_have_two_tokens_while_one_is_replaced() -> None:
    tokens = Tokens.parse(f"urn:a={'1' * 16},urn:a={'2' * 16}")
    assert tokens.sender_of("1" * 16) == tokens.sender_of("2" * 16) == "urn:a"


def test_a_token_may_end_in_an_equals_sign() -> None:
    assert Tokens.parse("urn:a=c2VjcmV0LXRva2VuLTE=").sender_of("c2VjcmV0LXRva2VuLTE=") == "urn:a"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nobody could send"),
        (" , ", "nobody could send"),
        ("urn:a", "entry 1 is not sender=token"),
        (f"urn:a={'1' * 16},=secretsecretsecret", "entry 2 is not sender=token"),
        ("urn:a=short", "shorter than 16"),
        (f"urn:a={'1' * 16},urn:b={'1' * 16}", "also another's"),
    ],
)
def test_unfit_tokens_are_refused_without_showing_them(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Tokens.parse(text)
    for secret in ("1" * 16, "secretsecretsecret", "short,"):
        assert secret not in str(caught.value)


def test_the_service_does_not_start_without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_TOKENS", raising=False)
    with pytest.raises(ValidationError, match="tokens"):
        GatewaySettings()


def test_tokens_are_read_from_the_environment_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKENS", f"{HRIS}={TOKEN}")
    read = GatewaySettings()
    assert read.tokens.get_secret_value() == f"{HRIS}={TOKEN}"
    assert TOKEN not in repr(read)


async def test_no_token_and_an_unknown_token_are_told_apart() -> None:
    missing = await post(an_event(), token=None)
    assert problem(missing, 401)["type"].endswith(":unauthenticated")
    assert missing.headers["www-authenticate"] == 'Bearer realm="sponsorship-tracker"'
    unknown = await post(an_event(), token="0123456789abcdeX")
    assert 'error="invalid_token"' in unknown.headers["www-authenticate"]
    assert "0123456789abcdeX" not in problem(unknown, 401)["detail"]
    other_scheme = await post(an_event(), token=None, headers={"Authorization": f"Basic {TOKEN}"})
    problem(other_scheme, 401)


async def test_an_event_of_another_source_is_refused_naming_both() -> None:
    sink = MemorySink()
    told = problem(await post(an_event(source="urn:acme:payroll"), sink=sink), 403)
    assert "urn:acme:payroll" in told["detail"]
    assert HRIS in told["detail"]
    assert told["errors"][0]["pointer"] == "/source"
    in_binary_mode = await post(b"{}", content_type="application/json", headers=ce_headers(source="urn:x"), sink=sink)
    assert problem(in_binary_mode, 403)["errors"][0]["pointer"] == "header:ce-source"
    assert sink.records == []


# -- structured mode ------------------------------------------------------------------------------


async def test_a_structured_event_enters_byte_for_byte_keyed_by_its_subject() -> None:
    sink = MemorySink()
    payload = '{"n": 1.10, "e": 1E+2, "big": 123456789012345678901234567890, "s": "\\u00e9 é"}'
    body = b" " + an_event(payload, subject="hris:Zoë") + b"\n"
    answer = await post(body, sink=sink)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "rejected": 0, "errors": []}
    [record] = sink.records
    assert (record.topic, record.key, record.value) == ("feeds.people", "hris:Zoë".encode(), body)
    assert record.headers == (("content-type", b"application/cloudevents+json"),)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
def test_a_required_attribute_that_is_missing_is_named(name: str) -> None:
    # The library would make up an id, and a made-up id would be another one each time the event is read.
    assert pointers(refusal(an_event(**{name: None}))) == [f"/{name}"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert set(pointers(refusal(b"{}"))) == {"/specversion", "/id", "/source", "/type", "/subject"}


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        (b"", "", "JSON"),
        (b"{", "", "JSON"),
        (b"[]", "", "object"),
        (b"17", "", "object"),
        (b'"specversion time"', "", "object"),
        (an_event("NaN"), "", "JSON"),
        (an_event('"\\ud800"'), "", "JSON"),
        (an_event('"\xff"').decode().encode("latin-1"), "", "JSON"),
        (an_event("[" * 1010 + "]" * 1010), "", "deep"),
        (an_event("[" * 5000 + "]" * 5000), "", "JSON"),
        (an_event("9" * 5000), "", "JSON"),
        (an_event(specversion="0.3"), "/specversion", "1.0"),
        (an_event(id=7), "/id", "str"),
        (an_event(source=""), "/source", "empty"),
        (an_event(subject=" "), "/subject", "blanks"),
        (an_event(subject="x" * 1001), "/subject", "1000"),
        (an_event(time="yesterday"), "/time", "RFC 3339"),
        (an_event(time=1772357400), "/time", "RFC 3339"),
        (an_event(time="2026-03-01T09:30:00"), "/time", "timezone"),
        (an_event(time="0001-01-01T00:00:00+14:00"), "/time", "RFC 3339"),
        (an_event(time="9999-12-31T24:00:00Z"), "/time", "RFC 3339"),
        (an_event(None, data_base64="a"), "/data_base64", "base64"),
        (an_event(**{"Not-An-Attribute": "x"}), "/Not-An-Attribute", "lowercase"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_where_it_is(body: bytes, pointer: str, says: str) -> None:
    error = refusal(body)
    assert pointers(error)[0] == pointer
    assert says in error.errors[0].detail
    assert says in error.detail


def test_the_source_is_checked_before_anything_else() -> None:
    # Else a bad event of another source would be kept as a dead letter, and could enter from there.
    with pytest.raises(ForeignSource):
        read_structured(b'{"source": "urn:acme:payroll"}', HRIS)


def test_an_event_without_a_payload_or_time_may_enter() -> None:
    body = an_event(None, time=None)
    assert read_structured(body, HRIS).value == body


# -- binary mode ----------------------------------------------------------------------------------


def binary(headers: Iterable[tuple[str, str | bytes]], body: bytes = b"{}") -> dict[str, Any]:
    raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    read: dict[str, Any] = json.loads(read_binary(raw, body, HRIS).value)
    return read


async def test_a_binary_event_becomes_a_structured_one_with_its_payload_byte_for_byte() -> None:
    sink = MemorySink()
    payload = '{"n": 1.10,\n "big": 123456789012345678901234567890, "s": "é"}'.encode()
    headers = ce_headers(subject="hris:Zo%C3%AB", time="2026-03-01T09:30:00.123456789Z", traceparent="00-1-2-01")
    answer = await post(payload, content_type="application/json", headers=headers, sink=sink)
    assert answer.status_code == 202, answer.text
    [record] = sink.records
    assert record.key == "hris:Zoë".encode()
    assert record.value is not None
    assert b'"data":' + payload + b"}" in record.value
    read = json.loads(record.value)
    assert read["time"] == "2026-03-01T09:30:00.123456789Z"
    assert read["datacontenttype"] == "application/json"
    assert read["traceparent"] == "00-1-2-01"
    event = read_feed_event(record.key, record.value, record.headers, utc(2026, 1, 1))
    assert (event.subject, event.data["big"]) == ("hris:Zoë", 123456789012345678901234567890)


def test_a_header_is_unquoted_first_and_then_percent_decoded_once() -> None:
    # CloudEvents HTTP binding 1.0.2, section 3.1.3.2
    quoted = binary(ce_headers(id='"a \\"b\\" %20c"').items())
    assert quoted["id"] == 'a "b"  c'
    assert binary(ce_headers(id="100%2525").items())["id"] == "100%25"


def test_a_payload_that_is_not_json_keeps_its_bytes() -> None:
    headers = [*ce_headers().items(), ("content-type", "text/plain")]
    assert binary(headers, "Zoë".encode())["data"] == "Zoë"
    assert binary(headers, b"\xff\x00")["data_base64"] == "/wA="
    assert "data" not in binary(headers, b"")


def test_an_absent_time_is_not_made_up() -> None:
    assert "time" not in binary(ce_headers(time=None).items())


@pytest.mark.parametrize(
    ("headers", "body", "pointer"),
    [
        (ce_headers(subject=None), b"{}", "header:ce-subject"),
        (ce_headers(id=None), b"{}", "header:ce-id"),
        (ce_headers(time="noon"), b"{}", "header:ce-time"),
        (ce_headers(id="%ff"), b"{}", "header:ce-id"),
        (ce_headers(datacontenttype="application/json"), b"{}", "header:ce-datacontenttype"),
        (ce_headers(data="x"), b"{}", "header:ce-data"),
        (ce_headers(), b"{not json", ""),
    ],
)
def test_what_is_wrong_in_binary_mode_is_said_by_header(headers: dict[str, str], body: bytes, pointer: str) -> None:
    with pytest.raises(BadEvents) as caught:
        binary(headers.items(), body)
    assert pointers(caught.value) == [pointer]


def test_a_header_that_is_there_twice_or_is_not_ascii_is_refused() -> None:
    for extra in (("ce-id", "2"), ("ce-extra", "Zoë".encode())):
        with pytest.raises(BadEvents) as caught:
            binary([*ce_headers().items(), extra])
        assert pointers(caught.value) == [f"header:{extra[0]}"]


# -- batches --------------------------------------------------------------------------------------


async def test_a_batch_enters_whole_and_each_event_keeps_its_bytes() -> None:
    sink = MemorySink()
    events = [an_event('{"n": 1.10}', id="1"), an_event('{"n":  2e2}', id="2", subject="hris:E2")]
    answer = await post(b" [ " + b" ,\n".join(events) + b"]", content_type=BATCH, sink=sink)
    assert answer.json()["accepted"] == 2
    assert [record.value for record in sink.records] == events
    assert [record.key for record in sink.records] == [b"hris:E00017", b"hris:E2"]


async def test_a_batch_with_one_bad_event_does_not_enter_and_each_error_names_its_index() -> None:
    sink = MemorySink()
    body = b"[" + b",".join([an_event(), an_event(subject=None, type=None), b"3", an_event()]) + b"]"
    told = problem(await post(body, content_type=BATCH, sink=sink), 422)
    assert [error["pointer"] for error in told["errors"]] == ["/1/type", "/1/subject", "/2"]
    assert sink.records == []


async def test_a_batch_of_another_source_is_forbidden_and_one_with_a_large_event_too_large() -> None:
    foreign = await post(b"[" + an_event(source="urn:x") + b"]", content_type=BATCH)
    assert problem(foreign, 403)["errors"][0]["pointer"] == "/0/source"
    large = await post(b"[" + an_event(f'"{"x" * 600}"') + b"]", content_type=BATCH, max_event_bytes=512)
    assert problem(large, 413)["errors"][0]["pointer"] == "/0"


async def test_an_empty_batch_is_accepted() -> None:
    assert (await post(b"[]", content_type=BATCH)).json()["accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"[{]", b"[1,]", b"[" * 5000])
def test_what_is_no_array_is_no_batch(body: bytes) -> None:
    with pytest.raises(BadEvents):
        read_batch(body)


# -- NDJSON ---------------------------------------------------------------------------------------


async def test_a_bad_line_does_not_stop_the_others_and_is_kept_as_a_dead_letter() -> None:
    sink = MemorySink()
    good = [an_event(id=str(n)) for n in range(3)]
    bad = b'{"half": '
    answer = await post(b"\r\n".join([good[0], bad, b"", good[1], good[2]]), content_type=NDJSON, sink=sink)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (3, 1)
    assert [(error["line"], error["dead_letter"]) for error in told["errors"]] == [(2, True)]
    assert [record.value for record in sink.on("feeds.people")] == good
    [dead] = sink.on("feeds.people.dead")
    assert dead.value == bad
    headers = dict(dead.headers)
    assert headers["dead-service"] == b"gateway"
    assert headers["dead-source"] == HRIS.encode()
    assert b"JSON" in headers["dead-reason"]


async def test_a_line_of_another_source_or_too_long_is_reported_and_not_kept() -> None:
    sink = MemorySink()
    lines = [an_event(), an_event(source="urn:x"), b'{"source":"urn:x"}', b"x" * 1000, an_event(id="2")]
    answer = await post(b"\n".join(lines), content_type=NDJSON, sink=sink, max_event_bytes=512)
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (2, 3)
    assert [(error["line"], error["dead_letter"]) for error in told["errors"]] == [(2, False), (3, False), (4, False)]
    assert sink.on("feeds.people.dead") == []


async def test_an_upload_of_which_nothing_enters_is_a_problem_with_its_lines() -> None:
    sink = MemorySink()
    told = problem(await post(b"a\nb\n", content_type=NDJSON, sink=sink), 422)
    assert (told["accepted"], told["rejected"]) == (0, 2)
    assert [error["line"] for error in told["errors"]] == [1, 2]
    assert len(sink.on("feeds.people.dead")) == 2
    problem(await post(b"\n\n", content_type=NDJSON), 422)


async def test_the_first_hundred_errors_are_told() -> None:
    body = an_event() + b"\n" + b"bad\n" * 150
    told = (await post(body, content_type=NDJSON)).json()
    assert told["rejected"] == 150
    assert [error["line"] for error in told["errors"]] == list(range(2, 102))


async def test_an_upload_is_read_only_as_fast_as_kafka_takes_it() -> None:
    class SlowSink(MemorySink):
        """Acknowledges nothing until it is told to."""

        def __init__(self) -> None:
            super().__init__()
            self.go = asyncio.Event()

        async def _acknowledged(self, fault: Problem | None) -> None:
            await self.go.wait()

    sent = 0
    chunk = b"\n".join(an_event(id=str(n)) for n in range(100)) + b"\n"

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield chunk

    sink = SlowSink()
    upload = asyncio.create_task(post(chunks(), content_type=NDJSON, sink=sink))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert sent < 10
    sink.go.set()
    assert (await upload).json()["accepted"] == 10_000


@pytest.mark.parametrize("fault", [Busy("full"), Unavailable("away")])
async def test_an_upload_that_kafka_does_not_take_tells_how_far_it_came(fault: Problem) -> None:
    class FailingLater(MemorySink):
        async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
            if len(self.records) >= 500:
                self.fails_with = fault
            return await super().send(records)

    body = b"\n".join(an_event(id=str(n)) for n in range(1200))
    answer = await post(body, content_type=NDJSON, sink=FailingLater())
    assert problem(answer, 503)["accepted"] == 500
    assert 1 <= int(answer.headers["retry-after"]) <= 5


# -- lines ----------------------------------------------------------------------------------------


def cut(chunks: Sequence[bytes], longest: int = 10) -> list[Line]:
    cutter = LineCutter(longest)
    return [line for chunk in chunks for line in cutter.feed(chunk)] + list(cutter.finish())


def test_lines_are_the_same_wherever_the_stream_is_cut() -> None:
    assert cut([b"ab\n\ncd\r\nef"]) == [Line(1, b"ab"), Line(3, b"cd"), Line(4, b"ef")]
    assert cut([b"a", b"b\n", b"\ncd\r", b"\ne", b"f"]) == [Line(1, b"ab"), Line(3, b"cd"), Line(4, b"ef")]


def test_a_line_may_be_as_long_as_allowed_and_no_longer() -> None:
    assert cut([b"0123456789\r\n0123456789"]) == [Line(1, b"0123456789"), Line(2, b"0123456789")]
    assert cut([b"0123456789a\nb"]) == [Line(1, None), Line(2, b"b")]
    assert cut([b"01234", b"56789", b"abc", b"def\nb"]) == [Line(1, None), Line(2, b"b")]


# -- limits and other refusals --------------------------------------------------------------------


async def test_a_body_larger_than_allowed_is_refused_announced_or_not() -> None:
    large = an_event(f'"{"x" * 2000}"')

    async def unannounced() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(large), 100):
            yield large[start : start + 100]

    for body in (large, unannounced()):
        problem(await post(body, max_body_bytes=1024), 413)


async def test_an_event_larger_than_kafka_may_take_is_refused() -> None:
    assert "512" in problem(await post(an_event(f'"{"x" * 600}"'), max_event_bytes=512), 413)["detail"]


async def test_a_sender_that_falls_silent_is_given_up() -> None:
    async def silent() -> AsyncGenerator[bytes, None]:
        yield b'{"specversion"'
        await asyncio.sleep(60)

    problem(await post(silent(), read_timeout_seconds=0.05), 408)
    problem(await post(silent(), content_type=NDJSON, read_timeout_seconds=0.05), 408)


async def test_more_requests_than_allowed_at_a_time_are_told_to_come_back() -> None:
    app = http_app(settings(max_requests=1), MemorySink(), Health())
    reading = asyncio.Event()

    async def slow() -> AsyncGenerator[bytes, None]:
        reading.set()
        yield b"["
        await asyncio.sleep(0.2)
        yield b"]"

    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": BATCH}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        first = asyncio.create_task(client.post("/v1/feeds/people", content=slow(), headers=headers))
        await reading.wait()
        answer = await client.post("/v1/feeds/people", content=b"[]", headers=headers)
        assert problem(answer, 503)["type"].endswith(":busy")
        assert answer.headers["retry-after"]
        assert (await first).status_code == 202
        assert (await client.post("/v1/feeds/people", content=b"[]", headers=headers)).status_code == 202


@pytest.mark.parametrize("fault", [Busy("full"), Unavailable("away")])
async def test_what_kafka_does_not_take_is_answered_with_503_and_when_to_come_back(fault: Problem) -> None:
    for content_type, body in ((STRUCTURED, an_event()), (BATCH, b"[" + an_event() + b"]"), (NDJSON, an_event())):
        answer = await post(body, content_type=content_type, sink=MemorySink(fault))
        assert problem(answer, 503)["type"].endswith(fault.name)
        assert 1 <= int(answer.headers["retry-after"]) <= 5


def test_those_who_are_refused_together_are_not_told_to_come_back_together() -> None:
    assert len({Busy("full").headers["Retry-After"] for _ in range(200)}) == 5
    assert {Unavailable("away").headers["Retry-After"] for _ in range(200)} == {"5"}


async def test_an_unknown_feed_is_not_found_and_the_feeds_are_named() -> None:
    assert "achievements" in problem(await post(an_event(), feed="salaries"), 404)["detail"]


async def test_protected_attributes_are_let_in_only_where_a_company_names_some() -> None:
    event = an_event('{"employee_id":"E00017","values":{"gender":"x"}}', type="attributes.stated")
    assert "attributes" not in problem(await post(event, feed="attributes"), 404)["detail"].partition("there are")[2]
    sink = MemorySink()
    answer = await post(event, feed="attributes", sink=sink, protected_attributes="gender")
    assert (answer.status_code, len(sink.on("feeds.attributes"))) == (202, 1)


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        (None, {}),
        ("application/json", {}),
        ("application/cloudevents+xml", ce_headers()),
        (f"{STRUCTURED}; charset=latin-1", {}),
        (STRUCTURED, {"Content-Encoding": "gzip"}),
    ],
)
async def test_a_content_type_that_is_not_understood_is_refused(
    content_type: str | None, headers: dict[str, str]
) -> None:
    problem(await post(an_event(), content_type=content_type, headers=headers), 415)


async def test_the_content_type_is_read_whatever_its_case_and_parameters() -> None:
    assert (await post(an_event(), content_type="Application/CloudEvents+JSON; charset=UTF-8")).status_code == 202


async def test_other_methods_and_paths_are_problems_too() -> None:
    answer = await post(b"", method="GET")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    problem(await post(b"", feed="people/nothing"), 404)


async def test_a_fault_of_ours_is_a_problem_without_its_inside() -> None:
    class Broken(MemorySink):
        async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
            raise RuntimeError("secret inside")

    told = problem(await post(an_event(), sink=Broken()), 500)
    assert "secret inside" not in json.dumps(told)


def test_a_problem_names_its_parts() -> None:
    answer = problem_response(BadEvents("bad", [FieldError("/id", "is missing")], {"rejected": 1}))
    told = json.loads(bytes(answer.body))
    assert told["errors"] == [{"pointer": "/id", "detail": "is missing"}]
    assert told["rejected"] == 1


# -- room -----------------------------------------------------------------------------------------


async def test_what_is_in_flight_is_bounded_and_patience_waits_for_room() -> None:
    room = Room(records=2, size=1000, metrics=METRICS)
    await room.enter(5, 10, 0)  # more than its bounds, and alone
    with pytest.raises(NoRoom):
        await room.enter(1, 1, 0)
    with pytest.raises(NoRoom):
        await room.enter(1, 1, 0.01)
    waiting = asyncio.create_task(room.enter(1, 1, 5))
    await asyncio.sleep(0)
    room.leave(5, 10)
    await waiting
    await room.enter(1, 2000, 0)
    assert not room.is_open


# -- the OpenAPI document -------------------------------------------------------------------------


async def openapi() -> dict[str, Any]:
    app = http_app(settings(), MemorySink(), Health())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        document: dict[str, Any] = (await client.get("/openapi.json")).json()
        assert (await client.get("/docs")).status_code == 404
        return document


async def test_the_openapi_document_tells_of_all_forms_answers_and_of_the_token() -> None:
    document = await openapi()
    operation = document["paths"]["/v1/feeds/{feed}"]["post"]
    assert {STRUCTURED, BATCH, NDJSON, "application/json"} <= set(operation["requestBody"]["content"])
    assert set(operation["responses"]) == {
        "202", "401", "403", "404", "405", "408", "413", "415", "422", "500", "503",
    }  # fmt: skip
    for status, answer in operation["responses"].items():
        if status != "202":
            assert list(answer["content"]) == ["application/problem+json"]
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert operation["security"] == [{"HTTPBearer": []}]
    feed = next(parameter for parameter in operation["parameters"] if parameter["name"] == "feed")
    assert feed["schema"]["enum"] == ["people", "achievements", "cycles", "endorsements"]
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]


async def test_the_openapi_documents_event_schema_agrees_with_what_is_accepted() -> None:
    content = (await openapi())["paths"]["/v1/feeds/{feed}"]["post"]["requestBody"]["content"]
    schema = Draft202012Validator(content[STRUCTURED]["schema"])
    example = content[STRUCTURED]["schema"]["example"]
    schema.validate(example)
    schema.validate(json.loads(an_event()))
    assert read_structured(json.dumps(example).encode(), example["source"])
    assert not schema.is_valid(json.loads(an_event(subject=None)))
    read_payload(SHAPES["achievements"], example["type"], example["data"])


# -- the page for integrators ---------------------------------------------------------------------


def documented() -> list[tuple[str, str, Any]]:
    """The rows of the page's tables of payload types: feed, type, example."""
    rows = []
    feed = ""
    for line in INTEGRATORS.read_text().splitlines():
        if heading := re.fullmatch(r"### `feeds\.(\w+)`.*", line):
            feed = heading.group(1)
        elif row := re.fullmatch(r"\| `([a-z_.]+)` \| .+ \| `(\{.*\})` \|", line):
            rows.append((feed, row.group(1), json.loads(row.group(2))))
    return rows


def test_the_page_for_integrators_has_every_type_of_every_feed_once() -> None:
    in_code = [(feed, name) for feed, shapes in SHAPES.items() for name in shapes]
    assert sorted((feed, name) for feed, name, _ in documented()) == sorted(in_code)


@pytest.mark.parametrize(("feed", "event_type", "example"), documented() if INTEGRATORS.exists() else [])
def test_an_example_of_the_page_is_of_its_types_shape(feed: str, event_type: str, example: Any) -> None:
    shape = SHAPES[feed][event_type]
    read_payload(SHAPES[feed], event_type, example)
    # The shapes let unknown fields pass; in an example one would be a slip.
    assert unknown_fields(shape, example) == []


def unknown_fields(shape: type[BaseModel], example: Mapping[str, Any]) -> list[str]:
    names: set[str] = set()
    for name, info in shape.model_fields.items():
        alias = info.validation_alias
        names |= {str(choice) for choice in getattr(alias, "choices", [alias or name])}
    unknown = [name for name in example if name not in names]
    for name, info in shape.model_fields.items():
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and name in example:
                values = example[name] if isinstance(example[name], list) else [example[name]]
                unknown += [found for value in values for found in unknown_fields(inner, value)]
    return unknown
