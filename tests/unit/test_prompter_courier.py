"""The courier sends what the rules let out, keeps what becomes of it, and goes on where another has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from services.prompter.courier import Courier
from services.prompter.delivery import Postman
from services.prompter.handlers import PromptHandler
from services.prompter.letter import Letter
from services.prompter.policy import Policy
from services.prompter.state import decode, encode
from services.prompter.what_is_retried import Verdict
from shared.contracts.career import write_contract
from shared.contracts.choices import SponsorChoice
from shared.contracts.outputs import DeliveryRecorded, PromptEvent, read_delivery
from shared.streaming.records import Output, Record
from shared.streaming.service import each
from tests.prompt_events import opened, updated, withdrawn
from tests.prompter_world import MONDAY, a_digest, a_policy, at_night, prefers, stopped

TAKEN, REFUSED = Verdict("delivered", status=200), Verdict("refused", "the receiver answered 422", 422)


@dataclass
class Kafka:
    """What is safe: state and outputs; what is changed within `change` counts only once that has ended."""

    state: dict[tuple[int, str], bytes] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    partitions: frozenset[int] = frozenset({1})
    unsettled: dict[tuple[int, str], bytes] = field(default_factory=dict)
    breaks: Exception | None = None
    slow: asyncio.Event | None = None
    waiting: int = 0

    def get(self, partition: int, key: str) -> bytes | None:
        return (self.state | self.unsettled).get((partition, key))

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        assert value is not None
        self.unsettled[partition, key] = value

    def items(self, partition: int) -> list[tuple[str, bytes]]:
        return [(key, value) for (of, key), value in self.state.items() if of == partition]

    def recovered(self, topic: str) -> frozenset[int]:
        assert topic == "prompts"
        return self.partitions

    async def change(self, make: Callable[[], Sequence[Output]]) -> None:
        self.waiting += 1
        if self.slow is not None:
            await self.slow.wait()
        self.waiting -= 1
        outputs = make()
        await asyncio.sleep(0)
        if self.breaks is not None:
            raise self.breaks
        self.outputs.extend(outputs)
        self.state |= self.unsettled
        self.unsettled.clear()

    @property
    def deliveries(self) -> list[DeliveryRecorded]:
        return [read_delivery(o.value or b"") for o in self.outputs if o.topic == "deliveries"]

    @property
    def dead(self) -> list[Output]:
        return [o for o in self.outputs if o.topic.endswith(".dead")]


@dataclass
class Receiver:
    """A channel that answers what its script says, the last for ever, or `answers`; each only when `lets` is set."""

    name: Any = "webhook"
    script: list[Verdict] = field(default_factory=lambda: [TAKEN])
    answers: Callable[[Letter], Verdict] | None = None
    seen: list[Letter] = field(default_factory=list)
    lets: asyncio.Event = field(default_factory=asyncio.Event)
    at_most: int = 0
    now: int = 0

    async def attempt(self, letter: Letter) -> Verdict:
        self.seen.append(letter)
        self.now += 1
        self.at_most = max(self.at_most, self.now)
        await self.lets.wait()
        await asyncio.sleep(0.001)
        self.now -= 1
        if self.answers is not None:
            return self.answers(letter)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [letter.id for letter in self.seen]


class Clock:
    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Process:
    """One prompter, on a Kafka that outlives it."""

    kafka: Kafka
    receiver: Receiver
    clock: Clock
    courier: Courier
    handle: Callable[[Sequence[Record]], Any]
    running: asyncio.Task[None]

    async def hears(self, *events: PromptEvent | SponsorChoice) -> None:
        records = []
        for offset, event in enumerate(events):
            topic = "sponsor-choices" if event.type.startswith("choice.") else "prompts"
            records.append(Record(topic, 1, offset, event.sponsor_id.encode(), write_contract(event), (), MONDAY))
        await self.takes(*records)

    async def takes(self, *records: Record) -> None:
        outputs = await self.handle(records)
        await self.kafka.change(lambda: outputs)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                assert not self.running.done(), self.running
                await asyncio.sleep(0.001)

    async def until_idle(self) -> None:
        await self.until(lambda: self.courier._busy() == 0)


def begun(
    kafka: Kafka, receivers: Sequence[Receiver], clock: Clock, policy: Policy, concurrency: int, **patience: Any
) -> Process:
    fields: dict[str, Any] = {"max_attempts": 3, "patience": 60.0} | patience
    postman = Postman(
        {receiver.name: receiver for receiver in receivers}, concurrency=concurrency, chance=lambda: 0.0, **fields
    )
    courier = Courier(kafka, kafka, postman, policy, clock, at_once=4 * concurrency)
    handler = PromptHandler(kafka, courier, "webhook", clock)
    running = asyncio.create_task(courier.run())
    return Process(kafka, receivers[0], clock, courier, each(handler, "prompter"), running)


@asynccontextmanager
async def a_process(
    kafka: Kafka | None = None,
    receiver: Receiver | None = None,
    clock: Clock | None = None,
    *,
    policy: Policy | None = None,
    answers: bool = True,
    concurrency: int = 8,
    other: Receiver | None = None,
    **patience: Any,
) -> AsyncIterator[Process]:
    receiver = receiver or Receiver()
    if answers:
        receiver.lets.set()
    receivers = [receiver] if other is None else [receiver, other]
    process = begun(kafka or Kafka(), receivers, clock or Clock(), policy or a_policy(), concurrency, **patience)
    await asyncio.sleep(0)
    try:
        yield process
    finally:
        process.running.cancel()  # as kill -9 would: nothing is kept any more
        for under_way in process.courier._under_way.values():
            under_way.task.cancel()
        process.kafka.unsettled.clear()


async def test_what_was_delivered_is_recorded_under_its_sponsor_with_the_messages_id() -> None:
    async with a_process() as process:
        await process.hears(opened())
        await process.until_idle()
    (delivery,) = process.kafka.deliveries
    assert process.kafka.outputs[0].key == b"E1"
    assert (delivery.id, delivery.message_id, delivery.outcome) == (opened().id, opened().id, "delivered")
    assert (delivery.status_code, delivery.attempts, delivery.channel, delivery.at) == (200, 1, "webhook", MONDAY)


async def test_records_handled_again_send_and_record_nothing_more() -> None:
    async with a_process() as process:
        for _ in range(3):
            await process.hears(opened())
            await process.until_idle()
    assert len(process.receiver.ids) == len(process.kafka.deliveries) == 1


async def test_a_failed_prompt_goes_to_the_dead_letters_as_it_came_and_can_be_replayed() -> None:
    async with a_process(receiver=Receiver(script=[REFUSED, TAKEN])) as process:
        await process.hears(opened())
        await process.until_idle()
        (dead,) = process.kafka.dead
        assert (dead.topic, dead.key, dead.value) == ("prompts.dead", b"E1", write_contract(opened()))
        assert b"422" in dict(dead.headers)["dead-reason"]
        await process.hears(opened())  # as the replay of the dead letter would
        await process.until_idle()
    assert [delivery.outcome for delivery in process.kafka.deliveries] == ["failed", "delivered"]
    assert process.receiver.ids == [opened().id] * 2


async def test_what_can_not_be_read_goes_to_the_dead_letters_and_the_rest_is_delivered() -> None:
    poison = Record("prompts", 1, 0, b"E1", b'{"type": "prompt.opened"}', (), MONDAY)
    lost = Record("sponsor-choices", 1, 0, b"E9", write_contract(stopped()), (), MONDAY)
    async with a_process() as process:
        await process.takes(
            poison, structs.replace(poison, value=None), structs.replace(poison, topic="sponsor-choices"), lost
        )
        await process.hears(opened())
        await process.until_idle()
    reasons = [dict(dead.headers)["dead-reason"].decode() for dead in process.kafka.dead]
    assert [reason.split(":")[0] for reason in reasons] == [
        "not a prompt event",
        "not a prompt event",
        "not a sponsor's choice",
        "a choice has to be keyed by its sponsor_id",
    ]
    assert process.receiver.ids == [opened().id]


async def test_a_message_is_kept_before_it_is_sent_and_goes_on_under_its_id_when_the_process_is_killed() -> None:
    kafka = Kafka()
    two = [opened(employee="E3"), opened(employee="E4")]
    digests = a_policy(digest=a_digest())
    async with a_process(kafka, answers=False, policy=digests) as killed:
        await killed.hears(*two)
        await killed.until(lambda: len(killed.receiver.ids) == 1)
    assert kafka.deliveries == []
    async with a_process(kafka, policy=digests) as process:
        await process.until(lambda: len(kafka.deliveries) == 2)
        await process.until_idle()
    assert process.receiver.ids == killed.receiver.ids
    assert {delivery.message_id for delivery in kafka.deliveries} == set(killed.receiver.ids)
    assert {delivery.id for delivery in kafka.deliveries} == {event.id for event in two}


async def test_what_was_under_way_at_a_kill_and_was_overtaken_meanwhile_is_taken_down_for_it_may_have_arrived() -> None:
    kafka = Kafka()
    async with a_process(kafka, answers=False) as killed:
        await killed.hears(opened())
        await killed.until(lambda: len(killed.receiver.ids) == 1)
        await killed.hears(withdrawn())
    async with a_process(kafka) as process:
        await process.until(lambda: bool(process.receiver.ids))
        await process.until_idle()
    assert process.receiver.ids == [withdrawn().id]
    skipped, delivered = kafka.deliveries
    assert (skipped.version, skipped.reason, "it may have been received" in skipped.detail) == (1, "superseded", True)
    assert (delivered.version, delivered.outcome) == (2, "delivered")


async def test_what_waits_for_the_morning_is_sent_then_by_whoever_is_there() -> None:
    kafka, clock = Kafka(), Clock()
    clock.now = MONDAY.replace(hour=20)
    nights = a_policy(quiet_hours=at_night())
    async with a_process(kafka, clock=clock, policy=nights) as process:
        await process.hears(opened())
        await process.until_idle()
        (delayed,) = kafka.deliveries
        assert (delayed.outcome, delayed.reason) == ("delayed", "quiet_hours")
        assert delayed.until == MONDAY.replace(hour=8) + timedelta(days=1)
    async with a_process(kafka, clock=clock, policy=nights) as process:
        await process.until_idle()
        assert process.receiver.ids == []
        clock.now = delayed.until
        await process.until(lambda: len(process.receiver.ids) == 1)
        await process.until_idle()
    assert [delivery.outcome for delivery in kafka.deliveries] == ["delayed", "delivered"]


async def test_a_stop_ends_at_once_what_is_being_tried_again() -> None:
    busy = Receiver(script=[Verdict("busy", "503", 503)])
    async with a_process(receiver=busy, max_attempts=100) as process:
        await process.hears(opened())
        await process.until(lambda: len(process.receiver.ids) == 1)
        await process.hears(stopped())
        await asyncio.wait_for(process.until_idle(), 0.4)  # the next attempt would be in half a second
    assert [(d.outcome, d.reason) for d in process.kafka.deliveries] == [("suppressed", "stopped")]
    assert len(process.receiver.ids) == 1


async def test_one_sponsors_messages_go_one_after_the_other_and_hold_up_nobody_else() -> None:
    async with a_process(answers=False) as process:
        await process.hears(opened(), opened(employee="E3"), opened(sponsor="E7"))
        await process.until(lambda: len(process.receiver.ids) == 2)
        assert {letter.sponsor_id for letter in process.receiver.seen} == {"E1", "E7"}
        process.receiver.lets.set()
        await process.until_idle()
    assert len(process.receiver.ids) == 3


async def test_sponsors_who_can_not_be_reached_for_now_hold_up_no_others_of_their_endpoint() -> None:
    full = Verdict("busy", "the mail server answered 452", 452, of_one_recipient=True)
    away = {f"E{number}" for number in range(40)}
    receiver = Receiver(answers=lambda letter: full if letter.sponsor_id in away else TAKEN)
    async with a_process(receiver=receiver, concurrency=2, max_attempts=1000, patience=7200) as process:
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(60)))
        others = {f"E{number}" for number in range(40, 60)}
        await process.until(lambda: others <= {d.sponsor_id for d in process.kafka.deliveries})
        assert not away & {d.sponsor_id for d in process.kafka.deliveries}
    assert process.receiver.at_most == 2


async def test_who_has_many_prompts_shares_an_endpoint_with_those_who_have_one() -> None:
    async with a_process(concurrency=1) as process:
        await process.hears(*(opened(employee=f"P{number}") for number in range(40)))
        await process.until(lambda: len(process.receiver.seen) >= 2)
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(10, 20)))
        await process.until_idle()
    whose = [letter.sponsor_id for letter in process.receiver.seen]
    assert len(whose) == 50
    last_of_the_others = max(place for place, who in enumerate(whose) if who != "E1")
    assert whose[:last_of_the_others].count("E1") <= 8, "all others had theirs before most of the many"


async def test_a_slow_receiver_holds_up_no_other_channel() -> None:
    slow, quick = Receiver("slack"), Receiver("email")
    quick.lets.set()
    policy = a_policy(channels=("email", "slack"))
    async with a_process(receiver=quick, other=slow, policy=policy, concurrency=1) as process:
        await process.hears(*(prefers(sponsor_id=f"S{number}", channel="slack") for number in range(20)))
        await process.hears(*(opened(sponsor=f"{who}{number}") for number in range(20) for who in ("S", "E")))
        await process.until(lambda: len(process.kafka.deliveries) == 20)
    assert {delivery.channel for delivery in process.kafka.deliveries} == {"email"}
    assert len(slow.seen) == 1


async def test_many_sponsors_are_all_told_though_few_messages_are_begun_at_a_time() -> None:
    async with a_process(concurrency=2) as process:
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(100)))
        await process.until_idle()
    assert len(set(process.receiver.ids)) == len(process.receiver.ids) == 100
    assert process.receiver.at_most == 2


async def test_no_more_messages_are_begun_than_a_channel_can_soon_send() -> None:
    async with a_process(answers=False, concurrency=2) as process:
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(100)))
        await process.until(lambda: len(process.courier._under_way) == 8)
        await process.until(lambda: sum(map(len, process.courier._in_line.values())) == 92)


async def test_who_waits_in_line_gets_a_turn_though_another_in_line_wants_nothing_any_more() -> None:
    async with a_process(answers=False, concurrency=1) as process:
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(10)))
        await process.until(lambda: len(process.receiver.ids) == 1)
        await process.hears(
            *(stopped(sponsor_id=f"E{number}") for number in range(4, 9)), withdrawn(sponsor="E5"), withdrawn()
        )
        process.receiver.lets.set()
        await process.until_idle()
    told = {letter.sponsor_id for letter in process.receiver.seen}
    assert {"E0", "E2", "E3", "E9"} <= told
    assert not told & {f"E{number}" for number in range(4, 9)}


async def test_partitions_that_go_take_nothing_with_them_that_is_not_kept() -> None:
    kafka = Kafka()
    async with a_process(kafka, answers=False) as process:
        await process.hears(opened(), opened(sponsor="E7"))
        await process.until(lambda: len(process.receiver.ids) == 2)
        kafka.partitions = frozenset()
        resting = asyncio.create_task(process.courier.rest())
        await asyncio.sleep(0)
        assert not resting.done()
        process.receiver.lets.set()
        await resting
        assert [delivery.outcome for delivery in kafka.deliveries] == ["delivered"] * 2
        await process.hears(opened(sponsor="E8"))
        assert len(process.receiver.ids) == 2, "they are another's now"
        kafka.partitions = frozenset({1})
        await process.until(lambda: len(process.receiver.ids) == 3)


async def test_a_stop_of_the_process_keeps_what_is_under_way_and_ends() -> None:
    async with a_process(answers=False) as process:
        await process.hears(opened(), opened(sponsor="E7"))
        await process.until(lambda: len(process.receiver.ids) == 2)
        ending = asyncio.create_task(process.courier.end())
        process.receiver.lets.set()
        await asyncio.wait_for(ending, 1)
        await asyncio.wait_for(process.running, 1)
    assert len(process.kafka.deliveries) == 2


async def test_when_outputs_can_not_be_kept_the_service_fails_and_nothing_more_is_sent() -> None:
    kafka = Kafka()
    async with a_process(kafka) as process:
        await process.hears(*(opened(sponsor=f"E{number}") for number in range(3)))
        kafka.breaks = OSError("Kafka is away")
        with pytest.raises(OSError, match="Kafka is away"):
            await process.running
        assert process.receiver.ids == []


async def test_a_message_that_can_not_be_built_is_recorded_as_a_fault_and_holds_up_nobody() -> None:
    async with a_process() as process:
        await process.hears(opened())
        await process.until_idle()
        known = decode(process.kafka.state[1, "E1"])
        spoilt = {
            prompt_id: structs.replace(held, event=b"{}", version=2, outcome=None)
            for prompt_id, held in known.prompts.items()
        }
        process.kafka.state[1, "E1"] = encode(structs.replace(known, prompts=spoilt))
        process.courier.touch(1, "E1")
        await process.until(lambda: len(process.kafka.deliveries) == 2)
        await process.hears(updated(sponsor="E7"))
        await process.until_idle()
    assert "fault in the prompter: the message could not be built" in process.kafka.deliveries[1].detail
    assert len(process.receiver.ids) == 2


async def test_partitions_do_not_go_before_what_is_just_being_kept_is_kept() -> None:
    kafka = Kafka()
    async with a_process(kafka, answers=False) as process:
        await process.hears(opened())
        await process.until(lambda: len(process.receiver.ids) == 1)
        kafka.slow = asyncio.Event()
        process.receiver.lets.set()
        await process.until(lambda: kafka.waiting > 0)
        resting = asyncio.create_task(process.courier.rest())
        await asyncio.sleep(0.01)
        assert not resting.done()
        kafka.slow.set()
        await resting
        assert [delivery.outcome for delivery in kafka.deliveries] == ["delivered"]


async def test_a_message_whose_result_is_not_kept_yet_is_not_sent_again_whoever_asks_to_look() -> None:
    kafka = Kafka()
    async with a_process(kafka, answers=False) as process:
        await process.hears(opened(), opened(sponsor="E7"))
        await process.until(lambda: len(process.receiver.ids) == 2)
        kafka.slow = asyncio.Event()
        process.courier._now[(1, "E1")] = None  # type: ignore[index]  # as one who had been in line
        process.courier.touch(1, "E8")
        await process.until(lambda: kafka.waiting > 0)
        process.receiver.lets.set()
        await process.until(lambda: process.receiver.now == 0)
        kafka.slow.set()
        await process.until_idle()
    assert len(process.receiver.ids) == 2
