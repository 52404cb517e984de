"""The prompter sends what is worth a sponsor's attention, once, and tries again as long as that may help."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from services.prompter.delivery import Interrupted, Postman
from services.prompter.handlers import PromptHandler
from services.prompter.messages import message
from services.prompter.settings import PrompterSettings
from services.prompter.what_is_retried import Verdict, judge_answer, seconds_to_wait, wait_before
from services.prompter.what_is_sent import Deliver, PromptRecord, Repeat, Skip, after, plan, plan_run
from shared.contracts.career import write_contract
from shared.contracts.outputs import DeliveryRecorded, PromptEvent, read_delivery
from shared.streaming.records import Output, Record
from tests.prompt_events import NOW, fulfilled, opened, updated, withdrawn

SECRET = "whsec_" + "c3BvbnNv" * 5  # not a secret: for tests
WALL = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)


def known(version: int, outcome: Any = "delivered", *, shown: bool = True) -> PromptRecord:
    return PromptRecord(version=version, outcome=outcome, shown=shown)


# -- what is sent ---------------------------------------------------------------------------------


def test_a_prompt_that_opens_is_delivered() -> None:
    assert plan(None, opened()) == Deliver()


def test_news_of_a_prompt_is_delivered() -> None:
    assert plan(known(1), updated(2)) == Deliver()


@pytest.mark.parametrize("outcome", ["delivered", "skipped"])
def test_a_version_dealt_with_is_passed_over_without_a_second_record(outcome: str) -> None:
    assert plan(known(2, outcome), updated(2)) == Repeat()


@pytest.mark.parametrize("outcome", ["delivered", "skipped", "failed"])
def test_an_older_version_is_passed_over(outcome: str) -> None:
    assert plan(known(3, outcome), updated(2)) == Repeat()


def test_a_version_that_failed_is_delivered_when_it_comes_out_of_the_dead_letters() -> None:
    assert plan(known(2, "failed"), updated(2)) == Deliver()


@pytest.mark.parametrize("ends", [withdrawn, fulfilled])
def test_the_end_of_a_prompt_is_delivered_to_whom_it_was_shown(ends: Callable[[int], PromptEvent]) -> None:
    assert plan(known(1), ends(2)) == Deliver()


@pytest.mark.parametrize("ends", [withdrawn, fulfilled])
@pytest.mark.parametrize("before", [None, known(1, "skipped", shown=False), known(1, "failed", shown=False)])
def test_the_end_of_a_prompt_that_was_never_shown_is_skipped(
    ends: Callable[[int], PromptEvent], before: PromptRecord | None
) -> None:
    assert isinstance(plan(before, ends(2)), Skip)


def test_the_end_is_delivered_when_the_answer_to_the_prompt_was_lost_for_the_receiver_may_have_it() -> None:
    before = after(None, opened(1), "failed", may_have_arrived=True)
    assert plan(before, withdrawn(2)) == Deliver()


def test_a_prompt_taken_down_is_not_taken_down_again() -> None:
    before = after(known(1), withdrawn(2), "delivered")
    assert isinstance(plan(before, withdrawn(3)), Skip)


def test_a_prompt_that_could_not_be_taken_down_is_still_up() -> None:
    assert after(known(1), withdrawn(2), "failed").shown


def test_a_snoozed_prompt_is_skipped_until_its_time_and_the_reason_says_until_when() -> None:
    decision = plan(known(1), updated(2, snoozed_until=NOW + timedelta(days=2)))
    assert decision == Skip("the sponsor asked not to be reminded before 2026-03-04 09:00 UTC")
    assert plan(known(1), updated(2, snoozed_until=NOW)) == Deliver()


def test_of_versions_that_come_together_only_the_newest_is_delivered() -> None:
    first, second, third = plan_run({}, [opened(1), updated(2), updated(3)])
    assert first == second == Skip("superseded by version 3, which came before this was sent")
    assert third == Deliver()


def test_a_prompt_that_opens_and_ends_in_one_run_never_reaches_its_sponsor() -> None:
    decisions = plan_run({}, [opened(1), withdrawn(2)])
    assert [type(decision) for decision in decisions] == [Skip, Skip]


def test_the_same_version_twice_in_a_run_is_delivered_once() -> None:
    assert plan_run({}, [opened(1), opened(1)]) == [Deliver(), Repeat()]


def test_a_repeat_of_what_was_delivered_is_not_recorded_as_superseded() -> None:
    first = opened(1)
    assert plan_run({first.prompt_id: known(1)}, [first, updated(2)]) == [Repeat(), Deliver()]


def test_prompts_of_others_do_not_supersede() -> None:
    assert plan_run({}, [opened(1), updated(2, employee="E3")]) == [Deliver(), Deliver()]


# -- the message ----------------------------------------------------------------------------------


def test_the_message_says_what_a_receiver_needs_and_the_text_that_the_sponsor_reads() -> None:
    sent = message(opened(sponsor_timezone="Europe/Berlin"))
    body = json.loads(sent.body)
    assert sent.id == opened().id
    assert (body["type"], body["timestamp"]) == ("prompt.opened", "2026-03-02T09:00:00Z")
    assert body["data"]["sponsor_id"] == "E1"
    assert body["data"]["prompt"]["evidence"][0]["reasons"][1]["text"] == "you saw it yourself"
    assert "18:00 (Europe/Berlin time)" in body["data"]["text"]


def test_the_message_of_an_end_says_why_and_carries_no_evidence() -> None:
    data = json.loads(message(withdrawn()).body)["data"]
    assert data["reason"] == "cycle_closed"
    assert "prompt" not in data
    assert "the decision is closed" in data["text"]


def test_the_same_event_gives_the_same_bytes() -> None:
    assert message(updated()).body == message(updated()).body


# -- what is tried again --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_means_delivered(status: int) -> None:
    assert judge_answer(status, None, None, "", WALL).result == "delivered"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_receiver_that_is_busy_is_asked_again(status: int) -> None:
    assert judge_answer(status, None, None, "", WALL).try_again


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_for_good(status: int) -> None:
    assert judge_answer(status, None, None, "", WALL).result == "refused"


def test_gone_says_what_to_do() -> None:
    assert "wants no more messages at this address" in judge_answer(410, None, None, "", WALL).detail


def test_a_redirect_is_not_followed_and_says_where_it_leads() -> None:
    detail = judge_answer(308, None, "https://example.com/new", "", WALL).detail
    assert "https://example.com/new" in detail
    assert "PROMPTER_WEBHOOK_URL" in detail


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
    assert [wait_before(attempt, busy, 1.0) for attempt in range(1, 7)] == [1, 2, 4, 8, 15, 15]
    assert [wait_before(attempt, busy, 0.0) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 7.5, 7.5]
    assert wait_before(100_000, busy, 1.0) == 15


def test_what_the_receiver_asks_for_goes_before_our_own_waits() -> None:
    assert wait_before(5, Verdict("busy", retry_after=3.0), 1.0) == 3.0


# -- settings -------------------------------------------------------------------------------------


def settings(**changes: Any) -> PrompterSettings:
    fields = {"webhook_url": "http://127.0.0.1:1/", "webhook_secret": SECRET}
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


def test_settings_with_which_a_run_could_outlast_its_place_in_the_group_are_refused() -> None:
    assert settings().longest_run_seconds <= 290
    with pytest.raises(ValidationError, match="290 s at most"):
        settings(give_up_after_seconds=200)


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


@asynccontextmanager
async def a_postman(url: str, time: FakeTime | None = None, **changes: Any) -> AsyncIterator[Postman]:
    time = time or FakeTime()
    postman = Postman(settings(webhook_url=url, **changes), elapsed=time.elapsed, sleep=time.sleep, chance=lambda: 1.0)
    await postman.start()
    try:
        yield postman
    finally:
        await postman.stop()


async def test_a_message_is_signed_so_that_the_librarys_own_check_accepts_it() -> None:
    sent = message(opened())
    async with a_webserver() as server, a_postman(server.url) as postman:
        receipt = await postman.deliver(sent, postman.deadline())
    (headers, body) = server.requests[0]
    assert Webhook(SECRET).verify(body, headers) == json.loads(sent.body)
    assert headers["webhook-id"] == opened().id
    assert (receipt.delivered, receipt.attempts, receipt.status) == (True, 1, 200)


async def test_a_busy_receiver_is_asked_again_with_the_same_id_and_a_fresh_signature() -> None:
    time = FakeTime()
    async with a_webserver("500 Oh", "503 Oh", "200 OK") as server, a_postman(server.url, time) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert server.ids == [opened().id] * 3
    assert time.slept == [1.0, 2.0]
    assert (receipt.delivered, receipt.attempts) == (True, 3)
    for headers, body in server.requests:
        Webhook(SECRET).verify(body, headers)


async def test_retry_after_is_honoured() -> None:
    time = FakeTime()
    script = ("429 Slow down\r\nretry-after: 17", "200 OK")
    async with a_webserver(*script) as server, a_postman(server.url, time) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert time.slept == [17.0]
    assert receipt.delivered


async def test_a_refusal_is_not_repeated() -> None:
    async with a_webserver("410 Gone") as server, a_postman(server.url) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert (receipt.delivered, receipt.attempts, receipt.status) == (False, 1, 410)
    assert not receipt.may_have_arrived
    assert "410 Gone" in receipt.detail


async def test_a_redirect_is_not_followed() -> None:
    async with (
        a_webserver() as other,
        a_webserver(f"307 Elsewhere\r\nlocation: {other.url}") as server,
        a_postman(server.url) as postman,
    ):
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert not receipt.delivered
    assert other.requests == []


async def test_a_prompt_is_given_up_after_so_many_attempts() -> None:
    async with a_webserver("500 Oh") as server, a_postman(server.url, max_attempts=3) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert len(server.requests) == 3
    assert receipt.detail == "the receiver answered 500 Internal Server Error ('ok') (given up after 3 attempts)"
    assert receipt.may_have_arrived


async def test_a_prompt_is_given_up_when_its_time_is_over_and_not_after() -> None:
    time = FakeTime()
    async with a_webserver("500 Oh") as server, a_postman(server.url, time, give_up_after_seconds=10) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert time.slept == [1.0, 2.0, 4.0]  # 8 more would be past 10
    assert receipt.attempts == 4


async def test_a_prompt_whose_time_is_over_before_its_turn_gets_one_attempt() -> None:
    async with a_webserver("500 Oh", "200 OK") as server, a_postman(server.url) as postman:
        receipt = await postman.deliver(message(opened()), until=-1.0)
    assert (receipt.delivered, receipt.attempts) == (False, 1)
    assert len(server.requests) == 1


async def test_a_receiver_that_is_not_there_has_not_got_it() -> None:
    async with a_webserver() as server:
        pass
    async with a_postman(server.url, max_attempts=2) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert (receipt.delivered, receipt.attempts, receipt.status) == (False, 2, None)
    assert not receipt.may_have_arrived
    assert "can't connect" in receipt.detail


@pytest.mark.parametrize("answer", ["silence", "drop"])
async def test_a_receiver_whose_answer_is_lost_may_have_got_it(answer: str) -> None:
    async with (
        a_webserver(answer) as server,
        a_postman(server.url, max_attempts=1, attempt_timeout_seconds=0.1) as postman,
    ):
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert receipt.may_have_arrived
    assert not receipt.delivered


async def test_a_lost_answer_is_followed_by_the_same_message() -> None:
    async with a_webserver("drop", "200 OK") as server, a_postman(server.url) as postman:
        receipt = await postman.deliver(message(opened()), postman.deadline())
    assert receipt.delivered
    assert server.ids == [opened().id] * 2
    assert server.requests[0][1] == server.requests[1][1]


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
        receipt = await postman.deliver(message(opened()), postman.deadline())
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
        receipt = await postman.deliver(message(opened()), postman.deadline())
    listening.close()
    assert not receipt.delivered
    assert "did not answer within 0.2 s" in receipt.detail


async def test_no_more_requests_are_open_than_allowed_and_waiting_for_one_is_not_the_receivers_time() -> None:
    async with (
        a_webserver(hold=0.1) as server,
        a_postman(server.url, concurrency=3, attempt_timeout_seconds=0.25) as postman,
    ):
        receipts = await asyncio.gather(
            *(postman.deliver(message(opened(sponsor=f"E{i}")), postman.deadline()) for i in range(12))
        )
    assert server.most_open == 3
    assert {receipt.attempts for receipt in receipts} == {1}


async def test_a_stop_ends_the_wait_for_the_next_attempt_at_once() -> None:
    async with a_webserver("500 Oh") as server:
        postman = Postman(settings(webhook_url=server.url), chance=lambda: 1.0)  # real time: a wait of a second
        delivering = asyncio.create_task(postman.deliver(message(opened()), postman.deadline()))
        await server.has_got(1)
        postman.interrupt()
        with pytest.raises(Interrupted):
            await asyncio.wait_for(delivering, 0.9)
        await postman.stop()


async def test_a_stop_lets_a_request_under_way_end_so_that_its_answer_is_not_lost() -> None:
    async with a_webserver(hold=0.1) as server, a_postman(server.url) as postman:
        delivering = asyncio.create_task(postman.deliver(message(opened()), postman.deadline()))
        await server.has_got(1)
        postman.interrupt()
        assert (await delivering).delivered


# -- the handler: records in, outputs and state out -----------------------------------------------


class Shelf:
    """State and outputs, as they are kept."""

    def __init__(self) -> None:
        self.state: dict[tuple[int, str], bytes] = {}
        self.outputs: list[Output] = []

    def get(self, partition: int, key: str) -> bytes | None:
        return self.state.get((partition, key))

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        assert value is not None
        self.state[partition, key] = value

    async def keep(self, outputs: Sequence[Output]) -> None:
        await asyncio.sleep(0)
        self.outputs.extend(outputs)

    @property
    def deliveries(self) -> list[DeliveryRecorded]:
        return [read_delivery(o.value or b"") for o in self.outputs if o.topic == "deliveries"]

    @property
    def dead(self) -> list[Output]:
        return [o for o in self.outputs if o.topic == "prompts.dead"]


def records(*events: PromptEvent) -> list[Record]:
    return [
        Record("prompts", 1, offset, event.sponsor_id.encode(), write_contract(event), (), NOW)
        for offset, event in enumerate(events)
    ]


def a_handler(shelf: Shelf, postman: Postman) -> PromptHandler:
    return PromptHandler(shelf, postman, shelf.keep, lambda: WALL)


async def test_what_was_delivered_is_recorded_under_its_sponsor_with_the_webhooks_id() -> None:
    shelf = Shelf()
    async with a_webserver() as server, a_postman(server.url) as postman:
        left = await a_handler(shelf, postman)(records(opened()))
    assert left == ()
    assert shelf.outputs[0].key == b"E1"
    (delivery,) = shelf.deliveries
    assert (delivery.id, delivery.outcome, delivery.status_code, delivery.attempts) == (
        opened().id,
        "delivered",
        200,
        1,
    )
    assert delivery.at == WALL


async def test_a_run_handled_again_sends_and_records_nothing_more() -> None:
    shelf = Shelf()
    async with a_webserver() as server, a_postman(server.url) as postman:
        for _ in range(2):
            await a_handler(shelf, postman)(records(opened()))
    assert len(server.requests) == len(shelf.deliveries) == 1


async def test_a_failed_prompt_is_recorded_and_goes_to_the_dead_letters_as_it_came_and_can_be_replayed() -> None:
    shelf = Shelf()
    run = records(opened())
    async with a_webserver("422 No", "200 OK") as server, a_postman(server.url) as postman:
        await a_handler(shelf, postman)(run)
        (dead,) = shelf.dead
        assert (dead.key, dead.value) == (run[0].key, run[0].value)
        assert b"422" in dict(dead.headers)["dead-reason"]
        await a_handler(shelf, postman)(run)  # as the replay of the dead letter would
    assert [delivery.outcome for delivery in shelf.deliveries] == ["failed", "delivered"]
    assert server.ids == [opened().id] * 2


async def test_a_sponsor_gets_messages_in_order_and_a_slow_one_holds_up_no_other() -> None:
    shelf = Shelf()
    events = [opened(employee=f"E{i}") for i in range(10, 14)] + [opened(sponsor="E7")]
    async with a_webserver("500 Oh", "200 OK") as server, a_postman(server.url) as postman:
        await a_handler(shelf, postman)(records(*events))
    mine = [webhook_id for webhook_id in server.ids if webhook_id != events[-1].id]
    assert [webhook_id for i, webhook_id in enumerate(mine) if i == 0 or webhook_id != mine[i - 1]] == [
        event.id for event in events[:-1]
    ]
    assert server.ids.index(events[-1].id) < server.ids.index(events[1].id)


async def test_what_is_no_prompt_event_goes_to_the_dead_letters_and_the_rest_of_its_run_is_delivered() -> None:
    shelf = Shelf()
    poison = replace(records(opened())[0], value=b'{"type": "prompt.opened"}')
    tombstone = replace(poison, value=None)
    async with a_webserver() as server, a_postman(server.url) as postman:
        await a_handler(shelf, postman)([poison, tombstone, *records(opened())])
    assert [o.value for o in shelf.dead] == [b'{"type": "prompt.opened"}', None]
    assert server.ids == [opened().id]


async def test_at_a_stop_what_was_delivered_is_kept_and_the_rest_is_open() -> None:
    shelf = Shelf()
    events = [opened(employee="E3"), opened(employee="E4")]
    async with a_webserver("200 OK", "500 Oh") as server:
        postman = Postman(settings(webhook_url=server.url), chance=lambda: 1.0)
        handling = asyncio.create_task(a_handler(shelf, postman)(records(*events)))
        await server.has_got(2)
        postman.interrupt()
        with pytest.raises(Interrupted):
            await handling
        await postman.stop()
    assert [(delivery.id, delivery.outcome) for delivery in shelf.deliveries] == [(events[0].id, "delivered")]
    assert shelf.dead == []


async def test_what_is_delivered_is_kept_before_the_run_is_over() -> None:
    shelf = Shelf()
    async with a_webserver("200 OK", "silence") as server:
        postman = Postman(settings(webhook_url=server.url))
        handling = asyncio.create_task(a_handler(shelf, postman)(records(opened(), opened(employee="E4"))))
        await server.has_got(2)
        assert [delivery.outcome for delivery in shelf.deliveries] == ["delivered"]
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling
        await postman.stop()


async def test_when_outputs_cannot_be_kept_no_more_is_sent() -> None:
    async def fail(_: Sequence[Output]) -> None:
        raise OSError("Kafka is away")

    events = [opened(), opened(employee="E3"), opened(sponsor="E7")]
    async with a_webserver("200 OK", "500 Oh") as server, a_postman(server.url, concurrency=1) as postman:
        with pytest.raises(OSError, match="Kafka is away"):
            await PromptHandler(Shelf(), postman, fail, lambda: WALL)(records(*events))
    assert len(server.requests) <= 2
