"""The prompter sends what is worth a sponsor's attention, once, and tries again as long as that may help."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from services.prompter.app import channels
from services.prompter.breaker import FAILURES, Breaker
from services.prompter.channels.base import proxy_for
from services.prompter.delivery import Errand, Postman, Receipt
from services.prompter.languages import language
from services.prompter.letter import Letter
from services.prompter.messages import message
from services.prompter.settings import PrompterSettings
from services.prompter.what_is_retried import Verdict, judge_answer, seconds_to_wait, wait_before
from shared.contracts.outputs import PromptEvent
from tests.prompt_events import a_letter, opened, updated, withdrawn

SECRET = "whsec_" + "c3BvbnNv" * 5  # not a secret: for tests
WALL = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)
AT_ONCE = Path(__file__).parents[2] / "deploy" / "policy-at-once.yaml"


def judged(status: int, retry_after: str | None = None, location: str | None = None, said: str = "") -> Verdict:
    return judge_answer(status, retry_after, location, said, WALL, url_setting="THE_URL", key_setting="THE_KEY")


# -- the message ----------------------------------------------------------------------------------


def test_the_message_says_what_a_receiver_needs_and_the_text_that_the_sponsor_reads() -> None:
    sent = message(a_letter(opened(sponsor_timezone="Europe/Berlin")))
    body = json.loads(sent.body)
    assert sent.id == opened().id
    assert (body["type"], body["timestamp"]) == ("prompt.opened", "2026-03-02T09:00:00Z")
    assert body["data"]["sponsor_id"] == "E1"
    assert body["data"]["prompt"]["evidence"][0]["reasons"][1]["text"] == "you saw it yourself"
    assert "18:00 (Europe/Berlin time)" in body["data"]["text"]


def test_the_message_of_an_end_says_why_and_carries_no_evidence() -> None:
    data = json.loads(message(a_letter(withdrawn())).body)["data"]
    assert data["reason"] == "cycle_closed"
    assert "prompt" not in data
    assert "the decision is closed" in data["text"]


def test_a_reminder_is_named_as_such_and_shows_the_same() -> None:
    body = json.loads(message(a_letter(opened(), reminder=True)).body)
    assert body["type"] == "prompt.reminder"
    assert body["data"]["version"] == 1


def test_a_digest_names_everybody_first_and_holds_each_prompt_whole() -> None:
    body = json.loads(message(a_letter(opened(), opened(employee="E3"))).body)
    assert (body["type"], body["data"]["sponsor_id"]) == ("prompt.digest", "E1")
    assert [shown["employee_id"] for shown in body["data"]["prompts"]] == ["E2", "E3"]
    text = body["data"]["text"]
    assert text.startswith("Will you speak for 2 people?")
    assert "1. Mina Okafor: Spring promotions 2026. Closes Friday, 27 March 2026" in text
    assert text.count("Why you are getting this") == 2


def test_the_text_for_the_receiver_is_in_the_letters_language() -> None:
    german = language("de")
    shown = json.loads(message(a_letter(opened(), language=german)).body)["data"]
    ended = json.loads(message(a_letter(withdrawn(), language=german)).body)["data"]
    several = json.loads(message(a_letter(opened(), opened(employee="E3"), language=german)).body)["data"]
    assert shown["text"].startswith("Sprechen Sie sich für Mina Okafor aus?")
    assert "die Entscheidung ist gefallen" in " ".join(ended["text"].split())
    assert several["text"].startswith("Sprechen Sie sich für 2 Menschen aus?")


def test_the_same_event_gives_the_same_bytes() -> None:
    assert message(a_letter(updated())).body == message(a_letter(updated())).body


# -- what is tried again --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_means_delivered(status: int) -> None:
    assert judged(status).result == "delivered"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_receiver_that_is_busy_is_asked_again(status: int) -> None:
    assert judged(status).try_again


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_for_good(status: int) -> None:
    assert judged(status).result == "refused"


def test_gone_says_what_to_do() -> None:
    assert "wants no more messages at this address" in judged(410).detail


def test_a_redirect_is_not_followed_and_says_where_it_leads() -> None:
    detail = judged(308, location="https://example.com/new").detail
    assert "https://example.com/new" in detail
    assert "THE_URL" in detail


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("9" * 5000, 60.0),
        ("Mon, 02 Mar 2026 09:00:42 GMT", 12.0),
        ("Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
        ("Mon, 02 Mar 2037 08:00:00 GMT", 60.0),
        ("soon", None),
        ("Mon, 02 Mar 99999999999 09:00:42 GMT", None),
        ("-3", None),
        ("1.5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_up_to_a_cap(header: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(header, WALL) == seconds


def test_waits_grow_up_to_a_limit_and_half_of_each_is_chance() -> None:
    busy = Verdict("busy")
    assert [wait_before(attempt, busy, 1.0) for attempt in range(1, 7)] == [1, 2, 4, 8, 16, 32]
    assert [wait_before(attempt, busy, 0.0) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 8, 16]
    assert wait_before(100_000, busy, 1.0) == 300


def test_what_the_receiver_asks_for_goes_before_our_own_waits() -> None:
    assert wait_before(5, Verdict("busy", retry_after=3.0), 1.0) == 3.0


# -- settings -------------------------------------------------------------------------------------


def settings(**changes: Any) -> PrompterSettings:
    fields = {"webhook_url": "http://127.0.0.1:1/", "webhook_secret": SECRET, "policy_file": AT_ONCE}
    return PrompterSettings(**(fields | changes))


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        ("c3BvbnNv" * 5, "must begin with whsec_"),
        ("whsec_not base64!", "must be base64"),
        ("whsec_c2hvcnQ=", "the key has 5 bytes, 24 to 64"),
    ],
)
def test_a_bad_key_is_named_without_being_shown(secret: str, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(webhook_secret=secret)
    said = caught.value.errors()[0]["msg"]
    assert complaint in said
    assert secret.removeprefix("whsec_") not in str(caught.value)


def test_the_key_is_not_in_the_settings_as_they_are_printed() -> None:
    assert SECRET not in repr(settings())


def test_a_channel_of_the_policy_that_is_not_set_up_is_named_with_what_it_lacks() -> None:
    with pytest.raises(ValidationError, match="names the channel webhook, which needs PROMPTER_WEBHOOK_SECRET"):
        settings(webhook_secret=None)


def test_a_bad_policy_stops_the_start_with_line_and_key(tmp_path: Path) -> None:
    bad = tmp_path / "policy.yaml"
    bad.write_text(AT_ONCE.read_text().replace("news: at_once", "news: never"))
    line = bad.read_text().splitlines().index("news: never") + 1
    with pytest.raises(ValidationError, match=rf"policy\.yaml:{line}: news: Input should be 'at_once'"):
        settings(policy_file=bad)


# -- delivery, to a real server on this machine ---------------------------------------------------


@dataclass
class Webserver:
    """Answers as its script says, one line an HTTP request; the last line goes on."""

    url: str = ""
    script: list[str] = field(default_factory=lambda: ["200 OK"])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    hold: float = 0.0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def has_got(self, requests: int) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = [line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:]]
                headers = {name.lower(): value for name, value in fields}
                body = await reader.readexactly(int(headers["content-length"]))
                async with self._news:
                    self.requests.append((headers, body))
                    self._news.notify_all()
                self.open_now += 1
                self.most_open = max(self.most_open, self.open_now)
                await asyncio.sleep(self.hold)
                self.open_now -= 1
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if answer == "drop":
                    break
                if answer == "silence":
                    await asyncio.sleep(60)
                status, _, more = answer.partition("\r\n")
                more = f"{more}\r\n" if more else ""
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 2\r\n{more}\r\nok".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


@asynccontextmanager
async def a_webserver(*script: str, hold: float = 0.0) -> AsyncIterator[Webserver]:
    server = Webserver(script=list(script) or ["200 OK"], hold=hold)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    try:
        yield server
    finally:
        listening.close()


class FakeTime:
    """A clock that goes on when somebody sleeps by it; nobody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def elapsed(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def made(time: FakeTime | None, **changes: Any) -> Postman:
    chosen = settings(**changes)
    clocks: dict[str, Any] = {} if time is None else {"elapsed": time.elapsed, "sleep": time.sleep}
    return Postman(
        channels(chosen),
        concurrency=chosen.concurrency,
        max_attempts=chosen.max_attempts,
        patience=chosen.give_up_after_seconds,
        chance=lambda: 1.0,
        **clocks,
    )


@asynccontextmanager
async def a_postman(url: str, time: FakeTime | None = None, **changes: Any) -> AsyncIterator[Postman]:
    postman = made(time or FakeTime(), webhook_url=url, **changes)
    await postman.start()
    try:
        yield postman
    finally:
        await postman.stop()


async def deliver(postman: Postman, event: PromptEvent, errand: Errand | None = None) -> Receipt:
    return await postman.deliver(a_letter(event), ["webhook"], errand or Errand(lambda: True))


async def test_a_message_is_signed_so_that_the_librarys_own_check_accepts_it() -> None:
    sent = message(a_letter(opened()))
    async with a_webserver() as server, a_postman(server.url) as postman:
        receipt = await deliver(postman, opened())
    (headers, body) = server.requests[0]
    assert Webhook(SECRET).verify(body, headers) == json.loads(sent.body)
    assert headers["webhook-id"] == opened().id
    assert (receipt.outcome, receipt.attempts, receipt.status) == ("delivered", 1, 200)


async def test_a_busy_receiver_is_asked_again_with_the_same_id_and_a_fresh_signature() -> None:
    time = FakeTime()
    async with a_webserver("500 Oh", "503 Oh", "200 OK") as server, a_postman(server.url, time) as postman:
        receipt = await deliver(postman, opened())
    assert server.ids == [opened().id] * 3
    assert time.slept == [1.0, 2.0]
    assert (receipt.outcome, receipt.attempts) == ("delivered", 3)
    for headers, body in server.requests:
        Webhook(SECRET).verify(body, headers)


async def test_retry_after_is_honoured() -> None:
    time = FakeTime()
    script = ("429 Slow down\r\nretry-after: 17", "200 OK")
    async with a_webserver(*script) as server, a_postman(server.url, time) as postman:
        receipt = await deliver(postman, opened())
    assert time.slept == [17.0]
    assert receipt.outcome == "delivered"


async def test_a_refusal_is_not_repeated() -> None:
    async with a_webserver("410 Gone") as server, a_postman(server.url) as postman:
        receipt = await deliver(postman, opened())
    assert (receipt.outcome, receipt.attempts, receipt.status) == ("failed", 1, 410)
    assert not receipt.may_have_arrived
    assert "410 Gone" in receipt.detail


async def test_a_redirect_is_not_followed() -> None:
    async with (
        a_webserver() as other,
        a_webserver(f"307 Elsewhere\r\nlocation: {other.url}") as server,
        a_postman(server.url) as postman,
    ):
        receipt = await deliver(postman, opened())
    assert receipt.outcome == "failed"
    assert other.requests == []


async def test_a_prompt_is_given_up_after_so_many_attempts() -> None:
    async with a_webserver("500 Oh") as server, a_postman(server.url, max_attempts=3) as postman:
        receipt = await deliver(postman, opened())
    assert len(server.requests) == 3
    assert receipt.detail == "the receiver answered 500 Internal Server Error ('ok') (given up after 3 attempts)"
    assert receipt.may_have_arrived


async def test_a_prompt_is_given_up_when_its_time_is_over_and_not_after() -> None:
    time = FakeTime()
    async with a_webserver("500 Oh") as server, a_postman(server.url, time, give_up_after_seconds=10) as postman:
        receipt = await deliver(postman, opened())
    assert time.slept == [1.0, 2.0, 4.0]  # 8 more would be past 10
    assert receipt.attempts == 4


async def test_a_receiver_that_is_not_there_has_not_got_it() -> None:
    async with a_webserver() as server:
        pass
    async with a_postman(server.url, max_attempts=2) as postman:
        receipt = await deliver(postman, opened())
    assert (receipt.outcome, receipt.attempts, receipt.status) == ("failed", 2, None)
    assert not receipt.may_have_arrived
    assert "can't connect" in receipt.detail


@pytest.mark.parametrize("answer", ["silence", "drop"])
async def test_a_receiver_whose_answer_is_lost_may_have_got_it(answer: str) -> None:
    async with (
        a_webserver(answer) as server,
        a_postman(server.url, max_attempts=1, attempt_timeout_seconds=0.1) as postman,
    ):
        receipt = await deliver(postman, opened())
    assert receipt.may_have_arrived
    assert receipt.outcome == "failed"


async def test_a_lost_answer_is_followed_by_the_same_message() -> None:
    async with a_webserver("drop", "200 OK") as server, a_postman(server.url) as postman:
        receipt = await deliver(postman, opened())
    assert receipt.outcome == "delivered"
    assert server.ids == [opened().id] * 2
    assert server.requests[0][1] == server.requests[1][1]


@pytest.mark.parametrize("answers", [b"", b"no HTTP at all\r\n\r\n"])
async def test_what_is_said_of_a_lost_answer_has_no_address_in_it_for_that_may_be_a_key(answers: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers)
        writer.close()

    listening = await asyncio.start_server(broken, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hooks/T0P-S3CRET"
    async with a_postman(url, max_attempts=1) as postman:
        receipt = await deliver(postman, opened())
    listening.close()
    assert receipt.may_have_arrived
    assert receipt.detail.startswith("the connection broke before the answer came: ")
    assert "S3CRET" not in receipt.detail


async def test_the_way_goes_by_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy_for.cache_clear()
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    async with a_webserver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with a_postman("http://receiver.example/hook") as postman:
            receipt = await deliver(postman, opened())
    proxy_for.cache_clear()
    assert receipt.outcome == "delivered"
    (headers, _) = proxy.requests[0]
    assert headers["host"] == "receiver.example"


async def test_an_answer_of_endless_length_is_not_read_to_its_end() -> None:
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
                written += 1024
        except ConnectionError:
            writer.close()

    listening = await asyncio.start_server(pour, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with a_postman(url) as postman, asyncio.timeout(5):
        receipt = await deliver(postman, opened())
    listening.close()
    assert receipt.status == 422
    assert len(receipt.detail) < 400
    assert written < 16_000_000, "no more than what the sockets' buffers hold"


async def test_a_receiver_that_dribbles_its_answer_has_no_more_time_than_one_that_is_silent() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    listening = await asyncio.start_server(dribble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with a_postman(url, max_attempts=1, attempt_timeout_seconds=0.2) as postman, asyncio.timeout(5):
        receipt = await deliver(postman, opened())
    listening.close()
    assert receipt.outcome == "failed"
    assert "did not answer within 0.2 s" in receipt.detail


async def test_no_more_requests_are_open_than_allowed_and_waiting_for_one_is_not_the_receivers_time() -> None:
    async with (
        a_webserver(hold=0.1) as server,
        a_postman(server.url, concurrency=3, attempt_timeout_seconds=0.25) as postman,
    ):
        receipts = await asyncio.gather(*(deliver(postman, opened(sponsor=f"E{i}")) for i in range(12)))
    assert server.most_open == 3
    assert {receipt.attempts for receipt in receipts} == {1}


@pytest.mark.parametrize("why", ["a stop", "news"])
async def test_a_stop_and_news_of_the_sponsor_end_the_wait_for_the_next_attempt_at_once(why: str) -> None:
    async with a_webserver("500 Oh") as server:
        postman = made(None, webhook_url=server.url)  # real time: a wait of a second
        wanted = [True]
        errand = Errand(lambda: wanted[0])
        delivering = asyncio.create_task(deliver(postman, opened(), errand))
        await server.has_got(1)
        if why == "a stop":
            postman.rest()
        else:
            wanted[0] = False
            errand.news.set()
        receipt = await asyncio.wait_for(delivering, 0.9)
        assert (receipt.outcome, receipt.attempts, receipt.may_have_arrived) == ("open", 1, True)
        await postman.stop()


async def test_news_that_leaves_the_message_as_it_is_does_not_hasten_the_next_attempt() -> None:
    time = FakeTime()
    errand = Errand(lambda: True)
    errand.news.set()
    async with a_webserver("500 Oh", "200 OK") as server, a_postman(server.url, time) as postman:
        await deliver(postman, opened(), errand)
    assert time.seconds == 1.0


async def test_what_is_not_wanted_any_more_is_not_begun() -> None:
    async with a_webserver() as server, a_postman(server.url) as postman:
        receipt = await deliver(postman, opened(), Errand(lambda: False))
    assert (receipt.outcome, server.requests) == ("open", [])


async def test_a_stop_lets_a_request_under_way_end_so_that_its_answer_is_not_lost() -> None:
    async with a_webserver(hold=0.1) as server, a_postman(server.url) as postman:
        delivering = asyncio.create_task(deliver(postman, opened()))
        await server.has_got(1)
        postman.rest()
        assert (await delivering).outcome == "delivered"


# -- an endpoint that is away ---------------------------------------------------------------------


BUSY, REFUSED, TAKEN = Verdict("busy"), Verdict("refused"), Verdict("delivered")


def test_the_circuit_opens_after_failures_in_a_row_and_one_attempt_then_decides() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.seconds_to_wait(0.0) == 0
        breaker.note(BUSY, 0.0)
    assert (breaker.is_open, breaker.seconds_to_wait(4.0)) == (True, 6.0)
    assert breaker.seconds_to_wait(10.0) == 0
    assert breaker.seconds_to_wait(10.0) > 0, "only one tries"
    breaker.note(BUSY, 10.0)
    assert breaker.seconds_to_wait(10.0) == 20, "twice as long"
    assert breaker.seconds_to_wait(30.0) == 0
    breaker.note(TAKEN, 30.0)
    assert (breaker.is_open, breaker.seconds_to_wait(30.0)) == (False, 0.0)


def test_failures_between_which_somebody_was_there_do_not_open_the_circuit() -> None:
    breaker = Breaker()
    for verdict in [BUSY] * (FAILURES - 1) + [REFUSED] + [BUSY] * (FAILURES - 1):
        breaker.note(verdict, 0.0)
    assert not breaker.is_open


def test_a_receiver_that_asks_for_time_is_left_alone_for_all_messages() -> None:
    breaker = Breaker()
    breaker.note(Verdict("busy", retry_after=30.0), 0.0)
    assert breaker.seconds_to_wait(1.0) == 29.0


async def test_a_receiver_that_is_away_is_asked_by_few_of_many_and_all_arrive_when_it_is_back() -> None:
    time = FakeTime()
    script = ["503 Away"] * (FAILURES + 3) + ["200 OK"]
    async with a_webserver(*script) as server, a_postman(server.url, time, concurrency=1) as postman:
        receipts = await asyncio.gather(*(deliver(postman, opened(sponsor=f"E{i}")) for i in range(20)))
    assert {receipt.outcome for receipt in receipts} == {"delivered"}
    assert len(server.requests) == FAILURES + 3 + 20


# -- one channel after the other ------------------------------------------------------------------


@dataclass
class Scripted:
    """A channel that comes to what its script says; the last goes on."""

    name: Any
    script: list[Verdict]
    seen: list[str] = field(default_factory=list)

    async def attempt(self, letter: Letter) -> Verdict:
        self.seen.append(letter.id)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def close(self) -> None:
        pass


async def by_two(first: Verdict, *, max_attempts: int = 2) -> tuple[Receipt, Scripted, Scripted]:
    time = FakeTime()
    webhook, email = Scripted("webhook", [first]), Scripted("email", [TAKEN])
    postman = Postman(
        {"webhook": webhook, "email": email},
        concurrency=1,
        max_attempts=max_attempts,
        patience=60,
        elapsed=time.elapsed,
        sleep=time.sleep,
    )
    receipt = await postman.deliver(a_letter(opened()), ["webhook", "email"], Errand(lambda: True))
    return receipt, webhook, email


async def test_what_one_channel_refuses_for_good_goes_by_the_next_under_the_same_id() -> None:
    receipt, webhook, email = await by_two(Verdict("refused", "no such address"))
    assert (receipt.outcome, receipt.by, receipt.attempts) == ("delivered", "email", 2)
    assert webhook.seen == email.seen == [opened().id]


async def test_what_one_channel_was_too_busy_for_all_the_time_goes_by_the_next() -> None:
    receipt, webhook, _ = await by_two(Verdict("busy", "come back later"))
    assert (receipt.by, len(webhook.seen)) == ("email", 2)


async def test_what_may_have_arrived_by_one_channel_goes_by_no_other() -> None:
    receipt, _, email = await by_two(Verdict("busy", "500", may_have_arrived=True))
    assert (receipt.outcome, receipt.by, email.seen) == ("failed", "webhook", [])


async def test_what_no_channel_takes_says_of_each_why() -> None:
    webhook, email = Scripted("webhook", [Verdict("refused", "410")]), Scripted("email", [Verdict("refused", "550")])
    postman = Postman({"webhook": webhook, "email": email}, concurrency=1, max_attempts=1, patience=60)
    receipt = await postman.deliver(a_letter(opened()), ["webhook", "email"], Errand(lambda: True))
    assert receipt.detail == "webhook: 410; email: 550"
