"""Takes prompt events as they come, delivers those that are worth it, and records what became of each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from pydantic import ValidationError

from services.prompter.delivery import Interrupted, Postman, Receipt
from services.prompter.messages import Message, message
from services.prompter.metrics import ALREADY_DEALT_WITH, DELIVERIES
from services.prompter.what_is_sent import Decision, Deliver, Outcome, PromptRecord, Repeat, Skip, after, plan_run
from shared.contracts.career import write_contract
from shared.contracts.ids import EmployeeId
from shared.contracts.outputs import DeliveryRecorded, PromptEvent, read_prompt_event
from shared.portal_links import PortalAddress
from shared.streaming.records import Output, Record
from shared.streaming.service import dead_letter, reason_of
from shared.streaming.topics import DELIVERIES as DELIVERIES_TOPIC

SERVICE = "prompter"
_DETAIL_CHARACTERS = 2000

log = structlog.get_logger(__name__)


class State(Protocol):
    """What is known of each prompt, as bytes, by partition and prompt id."""

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, or None."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value."""


@dataclass(frozen=True, slots=True)
class _Taken:
    record: Record
    event: PromptEvent


@dataclass(frozen=True, slots=True)
class _Settled:
    taken: _Taken
    outcome: Outcome
    receipt: Receipt


class PromptHandler:
    """Handles runs of records of `prompts`.

    What is settled is kept at once and not at the end of the run: a run may take minutes, and whatever was delivered
    in it and not yet kept would be sent a second time after a crash.

    Args:
        state: what is known of each prompt.
        postman: delivers messages.
        keep: makes outputs, then the changes of `state`, safe in Kafka.
        clock: wall clock, aware.
        portal: where messages link to; None where there is no portal.
    """

    def __init__(
        self,
        state: State,
        postman: Postman,
        keep: Callable[[Sequence[Output]], Awaitable[None]],
        clock: Callable[[], datetime],
        portal: PortalAddress | None = None,
    ) -> None:
        self._portal = portal
        self._state, self._postman, self._keep, self._clock = state, postman, keep, clock
        self._keeping = asyncio.Lock()
        self._unkept: list[_Settled] = []

    async def __call__(self, run: Sequence[Record]) -> Sequence[Output]:
        """Return when all that `run` asks for has become of it; nothing is left to write then.

        Raises:
            Interrupted: the service stops. What was settled is kept; the rest will come again.
        """
        until = self._postman.deadline()
        taken, dead = _read(run)
        lanes: dict[EmployeeId, list[tuple[_Taken, Message]]] = defaultdict(list)
        settled: list[_Settled] = []
        for item, decision in self._plan(taken):
            match decision:
                case Deliver():
                    try:
                        lanes[item.event.sponsor_id].append((item, message(item.event, self._portal)))
                    except Exception as exc:
                        log.exception("a message could not be built", prompt=item.event.prompt_id)
                        fault = f"fault in the prompter: the message could not be built: {type(exc).__name__}: {exc}"
                        settled.append(_Settled(item, "failed", _not_sent(fault)))
                case Skip(reason):
                    settled.append(_Settled(item, "skipped", _not_sent(reason)))
                case Repeat():
                    ALREADY_DEALT_WITH.inc()
        await self._record(settled, dead)
        await self._all_of([self._deliver_in_order(lane, until) for lane in lanes.values()])
        return ()

    def _plan(self, taken: Sequence[_Taken]) -> Iterable[tuple[_Taken, Decision]]:
        by_partition: dict[int, list[_Taken]] = defaultdict(list)
        for item in taken:
            by_partition[item.record.partition].append(item)
        for partition, items in by_partition.items():
            known = {
                item.event.prompt_id: record
                for item in items
                if (record := self._known(partition, item.event)) is not None
            }
            yield from zip(items, plan_run(known, [item.event for item in items]), strict=True)

    async def _all_of(self, lanes: Sequence[Awaitable[None]]) -> None:
        """Let all lanes end; then raise what went wrong, and being interrupted only if nothing else did."""
        ended = await asyncio.gather(*lanes, return_exceptions=True)
        wrong = [result for result in ended if isinstance(result, BaseException)]
        for error in sorted(wrong, key=lambda error: isinstance(error, Interrupted)):
            raise error

    async def _deliver_in_order(self, lane: Sequence[tuple[_Taken, Message]], until: float) -> None:
        try:
            await self._deliver_each(lane, until)
        except Exception:
            self._postman.interrupt()  # what can't be kept must not go on being sent
            raise

    async def _deliver_each(self, lane: Sequence[tuple[_Taken, Message]], until: float) -> None:
        for item, sent in lane:
            receipt = await self._postman.deliver(sent, until)
            settled = _Settled(item, "delivered" if receipt.delivered else "failed", receipt)
            self._unkept.append(settled)
            async with self._keeping:  # whoever comes first keeps for all who wait behind
                batch, self._unkept = self._unkept, []
                if batch:
                    await self._record(batch)

    async def _record(self, batch: Sequence[_Settled], others: Sequence[Output] = ()) -> None:
        outputs = list(others)
        for settled in batch:
            record, event, receipt = settled.taken.record, settled.taken.event, settled.receipt
            known = after(
                self._known(record.partition, event),
                event,
                settled.outcome,
                may_have_arrived=receipt.may_have_arrived,
            )
            self._state.put(record.partition, event.prompt_id, write_contract(known))
            outputs.append(self._delivery(settled))
            if settled.outcome == "failed":
                outputs.append(dead_letter(record, receipt.detail, SERVICE))
        if outputs:
            await self._keep(outputs)
        for settled in batch:
            DELIVERIES.labels(settled.outcome).inc()

    def _delivery(self, settled: _Settled) -> Output:
        event, receipt = settled.taken.event, settled.receipt
        delivery = DeliveryRecorded(
            id=event.id,
            prompt_id=event.prompt_id,
            version=event.version,
            sponsor_id=event.sponsor_id,
            channel="webhook",
            outcome=settled.outcome,
            detail=receipt.detail[:_DETAIL_CHARACTERS],
            status_code=receipt.status,
            attempts=receipt.attempts,
            at=self._clock(),
        )
        return Output(DELIVERIES_TOPIC, event.sponsor_id.encode(), write_contract(delivery))

    def _known(self, partition: int, event: PromptEvent) -> PromptRecord | None:
        kept = self._state.get(partition, event.prompt_id)
        return None if kept is None else PromptRecord.model_validate_json(kept)


def _read(run: Sequence[Record]) -> tuple[list[_Taken], list[Output]]:
    taken, dead = [], []
    for record in run:
        try:
            taken.append(_Taken(record, read_prompt_event(record.value or b"")))
        except ValidationError as exc:
            dead.append(dead_letter(record, f"not a prompt event: {reason_of(exc)}", SERVICE))
    return taken, dead


def _not_sent(why: str) -> Receipt:
    return Receipt(delivered=False, detail=why, status=None, attempts=0, may_have_arrived=False)
