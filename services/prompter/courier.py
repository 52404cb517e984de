"""Goes from sponsor to sponsor when their time has come: lets the rules plan, sends, and keeps what became of it.

What is sent is kept before it goes out, and what became of it before anything else of that sponsor is planned. So a
process that is killed goes on with the same message under the same key, and at most what was under way comes twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from time import monotonic
from typing import Final, NamedTuple, Protocol

import structlog
from msgspec.structs import replace

from services.prompter.delivery import Errand, Postman, Receipt
from services.prompter.letter import letter
from services.prompter.metrics import DELIVERIES, DUE_LATER, HELD, NOT_SENT, UNDER_WAY
from services.prompter.policy import Policy
from services.prompter.rules import Plan, Result, Said, after, plan, policy_for, reconsider
from services.prompter.state import Outgoing, Part, Sponsor, decode, encode
from shared.contracts.career import write_contract
from shared.contracts.ids import EmployeeId, EventId, PromptId
from shared.contracts.outputs import ChannelName, DeliveryRecorded
from shared.portal_links import PortalAddress
from shared.streaming.records import Output, Record
from shared.streaming.service import dead_letter
from shared.streaming.topics import DELIVERIES as DELIVERIES_TOPIC
from shared.streaming.topics import PROMPTS

SERVICE: Final = "prompter"
_SLICE: Final = 200
"""So many sponsors are planned before others get the event loop: some 20 ms."""
_TURN_SECONDS: Final = 0.05
"""At least so long from one turn to the next. Each waits for Kafka and for a disk, however little it keeps; without it
there was one for each few messages that ended."""
_LOOKS_UP_SECONDS: Final = 0.5
"""How often it is asked whether partitions have come."""
_REST_SECONDS: Final = 15
"""How long messages under way may take to end when partitions go; an attempt takes less, by its own time-out."""
_DETAIL_CHARACTERS: Final = 2000

log = structlog.get_logger(__name__)


class State(Protocol):
    """What is known of each sponsor, as bytes, by partition and sponsor."""

    def get(self, partition: int, key: str) -> bytes | None:
        """Return the value, or None."""

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Set the value."""

    def items(self, partition: int) -> Iterable[tuple[str, bytes]]:
        """Return the values of a partition, with keys that need not name whose they are."""


class Keeper(Protocol):
    """Makes outputs and changes of the state safe; knows which partitions are ours."""

    def recovered(self, topic: str) -> frozenset[int]:
        """Return the partitions that are ours, with their state whole."""

    async def change(self, make: Callable[[], Sequence[Output]]) -> None:
        """Call `make`, then make its outputs, and then its changes of state, safe."""


class _Who(NamedTuple):
    partition: int
    sponsor_id: str


@dataclass(slots=True)
class _UnderWay:
    errand: Errand
    channel: ChannelName
    task: asyncio.Task[None]


class _Done(NamedTuple):
    who: _Who
    message_id: str
    receipt: Receipt


class Courier:
    """Sends what is to be sent to the sponsors of our partitions.

    Args:
        state: what is known of each sponsor.
        keeper: makes things safe.
        postman: delivers.
        policy: the company's.
        clock: the clock on the wall, aware. Everything that waits, waits by it.
        at_once: how many messages are begun for one channel before some of them have ended, or wait to be tried again.
        portal: where messages link to; None where there is no portal.
    """

    def __init__(
        self,
        state: State,
        keeper: Keeper,
        postman: Postman,
        policy: Policy,
        clock: Callable[[], datetime],
        *,
        at_once: int,
        portal: PortalAddress | None = None,
    ) -> None:
        self._state, self._keeper, self._postman, self._policy, self._clock = state, keeper, postman, policy, clock
        self._at_once, self._portal = at_once, portal
        self._ours: frozenset[int] = frozenset()
        self._now: dict[_Who, None] = {}
        self._later: list[tuple[datetime, _Who]] = []
        self._look_at: dict[_Who, datetime] = {}
        self._under_way: dict[_Who, _UnderWay] = {}
        self._by_channel: Counter[ChannelName] = Counter()
        self._in_line: dict[ChannelName, deque[_Who]] = defaultdict(deque)
        self._done: list[_Done] = []
        self._rests = False
        self._in_turn = 0
        self._found: set[_Who] = set()
        """Whose message under way was found, and not begun here: it may have arrived already."""
        self._news = asyncio.Event()
        self._ends = False
        self._ended = asyncio.Event()
        self._ended.set()
        UNDER_WAY.set_function(self._busy)
        HELD.set_function(lambda: len(self._ours))
        DUE_LATER.set_function(lambda: len(self._look_at))

    def touch(self, partition: int, sponsor_id: str) -> None:
        """Take note that something has become known about a sponsor: what is under way is asked again, or planned."""
        who = _Who(partition, sponsor_id)
        if who in self._under_way:
            self._under_way[who].errand.news.set()
        else:
            self._now[who] = None
            self._news.set()

    async def run(self) -> None:
        """Go on until `end`.

        Raises:
            Exception: what happened could not be kept; nothing more is sent then.
        """
        self._ended.clear()
        try:
            await self._go_round()
        finally:
            self._postman.rest()  # what can't be kept must not go on being sent
            self._ended.set()

    async def _go_round(self) -> None:
        while not (self._ends and not self._under_way):
            self._news.clear()
            self._look_for_partitions()
            self._wake_who_is_due()
            self._let_in()
            if self._done or (self._now and self._may_begin()):
                begun = monotonic()
                await self._turn()
                await asyncio.sleep(max(0.0, begun + _TURN_SECONDS - monotonic()))
                continue
            try:
                async with asyncio.timeout(self._seconds_to_next()):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def rest(self) -> None:
        """Return when nothing is under way, and what became of it is kept; the partitions that were ours are let go."""
        self._rests = True
        self._postman.rest()
        self._news.set()
        tasks = [one.task for one in self._under_way.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_REST_SECONDS)
        await self._turn()  # whose changes come after those of the turn in hand, if there is one
        self._ours = frozenset()
        self._forget()

    async def end(self) -> None:
        """Return when nothing is under way any more, all is kept, and `run` has returned."""
        self._ends = True
        await self.rest()
        await self._ended.wait()

    # -- one turn ---------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Take in what has become of messages, plan for those whose time has come, keep all of it, then send."""
        done, self._done = self._done, []
        due = []
        if self._may_begin():
            due = list(self._now)[:_SLICE]
            for who in due:
                del self._now[who]
        begun: list[tuple[_Who, Sponsor]] = []
        counts: list[Said | DeliveryRecorded] = []

        def make() -> Sequence[Output]:
            outputs: list[Output] = []
            for one in done:
                outputs += self._take_in(one, counts)
            for who in due:
                outputs += self._plan(who, begun, counts)
            return outputs

        self._in_turn += len(done) + len(due)
        try:
            await self._keeper.change(make)
        finally:
            self._in_turn -= len(done) + len(due)
        for counted in counts:
            DELIVERIES.labels(counted.outcome).inc()
            if counted.reason is not None:
                NOT_SENT.labels(counted.reason).inc()
        for who, sponsor in begun:
            self._send(who, sponsor)

    def _take_in(self, done: _Done, counts: list[Said | DeliveryRecorded]) -> list[Output]:
        who, message_id, receipt = done
        # Not before: until its result is taken in, nothing else of this sponsor may be planned, nor this again.
        self._by_channel[self._under_way.pop(who).channel] -= 1
        sponsor = self._known(who)
        outgoing = sponsor.outgoing
        if who.partition not in self._ours or outgoing is None or outgoing.id != message_id:
            return []  # the partition has gone meanwhile, and whoever has it goes on from what was kept
        self._now[who] = None
        if receipt.outcome == "open":
            arrived = outgoing.may_have_arrived or receipt.may_have_arrived
            self._keep(who, replace(sponsor, outgoing=replace(outgoing, may_have_arrived=arrived)))
            return []
        outputs = []
        for part in outgoing.parts:
            delivery = self._delivery(sponsor, outgoing, part, receipt)
            counts.append(delivery)
            outputs.append(_recorded(delivery))
            held = sponsor.prompts[part.prompt_id]
            if receipt.outcome == "failed" and not part.reminder and held.version == part.version:
                key, time = who.sponsor_id.encode(), held.since
                record = Record(PROMPTS, who.partition, held.offset, key, held.event, (), time)
                outputs.append(dead_letter(record, receipt.detail, SERVICE))
        result = Result(receipt.outcome, receipt.by, receipt.may_have_arrived)
        self._keep(who, after(sponsor, result, self._clock()))
        return outputs

    def _plan(
        self, who: _Who, begun: list[tuple[_Who, Sponsor]], counts: list[Said | DeliveryRecorded]
    ) -> list[Output]:
        if who in self._under_way:
            self._under_way[who].errand.news.set()
            return []
        if who.partition not in self._ours or self._state.get(*who) is None:
            return []
        sponsor = self._known(who)
        if sponsor.outgoing is not None and who in self._found:
            sponsor = replace(sponsor, outgoing=replace(sponsor.outgoing, may_have_arrived=True))
        self._found.discard(who)
        planned: Plan = plan(sponsor, self._policy, self._clock())
        if planned.send:
            channel = self._way(planned.sponsor)[0]
            if self._by_channel[channel] >= self._at_once:
                self._in_line[channel].append(who)
                return []
            self._by_channel[channel] += 1
            begun.append((who, planned.sponsor))
        if planned.sponsor != sponsor:
            self._keep(who, planned.sponsor)
        self._look_again(who, planned.look_at)
        counts.extend(planned.said)
        channel = self._way(planned.sponsor)[0]
        return [_recorded(self._not_sent(who, said, channel)) for said in planned.said]

    def _send(self, who: _Who, sponsor: Sponsor) -> None:
        way = self._way(sponsor)
        errand = Errand(lambda: self._is_wanted(who, sponsor.outgoing), lambda: self._aside(way[0]))
        task = asyncio.create_task(self._deliver(who, sponsor, way, errand))
        self._under_way[who] = _UnderWay(errand, way[0], task)

    async def _deliver(self, who: _Who, sponsor: Sponsor, way: Sequence[ChannelName], errand: Errand) -> None:
        outgoing = sponsor.outgoing
        assert outgoing is not None  # noqa: S101 (only such are sent)
        try:
            receipt = await self._postman.deliver(letter(sponsor, outgoing, self._portal), way, errand)
        except Exception as exc:
            log.exception("a message could not be built", message=outgoing.id)
            fault = f"fault in the prompter: the message could not be built: {type(exc).__name__}: {exc}"
            receipt = Receipt("failed", way[0], fault, None, 0, may_have_arrived=False)
        self._done.append(_Done(who, outgoing.id, receipt))
        self._news.set()

    @contextmanager
    def _aside(self, channel: ChannelName) -> Iterator[None]:
        """Let another message begin while one waits to be tried again: some that fail must not hold up all others."""
        self._by_channel[channel] -= 1
        self._news.set()
        try:
            yield
        finally:
            self._by_channel[channel] += 1

    def _is_wanted(self, who: _Who, outgoing: Outgoing | None) -> bool:
        if who.partition not in self._ours:
            return False
        sponsor = self._known(who)
        remaining, _, held_until = reconsider(sponsor, policy_for(sponsor, self._policy), self._clock())
        return held_until is None and remaining.outgoing == outgoing

    def _way(self, sponsor: Sponsor) -> list[ChannelName]:
        """Return the channels in the order in which they are tried; the company's own are all set up."""
        outgoing, known = sponsor.outgoing, self._postman.channels
        if outgoing is not None and outgoing.kind == "end":
            by = sponsor.prompts[outgoing.parts[0].prompt_id].shown_by
            return [by] if by in known else [self._policy.channels[0]]
        return [name for name in policy_for(sponsor, self._policy).channels if name in known]

    # -- when -------------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        return bool(self._ours) and not self._rests

    def _look_for_partitions(self) -> None:
        """Look at all sponsors of partitions that have come: nothing but the state says when their time comes."""
        ours = self._keeper.recovered(PROMPTS)
        if not ours or ours == self._ours or self._ends:
            return
        for partition in ours - self._ours:
            for _, kept in self._state.items(partition):
                who = _Who(partition, decode(kept).sponsor_id)
                self._now[who] = None
                self._found.add(who)
        self._ours = ours
        self._rests = False
        self._postman.go_on()

    def _forget(self) -> None:
        self._now.clear()
        self._later.clear()
        self._look_at.clear()
        self._in_line.clear()
        self._found.clear()

    def _let_in(self) -> None:
        """Look at those in line for a channel again, as many as may begin."""
        for channel, line in self._in_line.items():
            for _ in range(min(len(line), max(0, self._at_once - self._by_channel[channel]))):
                self._now[line.popleft()] = None

    def _look_again(self, who: _Who, at: datetime | None) -> None:
        if at is None:
            self._look_at.pop(who, None)
        elif self._look_at.get(who) != at:
            self._look_at[who] = at
            heappush(self._later, (at, who))

    def _wake_who_is_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            at, who = heappop(self._later)
            if self._look_at.get(who) == at:
                del self._look_at[who]
                self._now[who] = None

    def _seconds_to_next(self) -> float:
        if not self._later:
            return _LOOKS_UP_SECONDS
        return min(_LOOKS_UP_SECONDS, max(0.0, (self._later[0][0] - self._clock()).total_seconds()))

    def _busy(self) -> float:
        waiting = len(self._now) + sum(map(len, self._in_line.values()))
        return waiting + len(self._under_way) + self._in_turn

    # -- records ----------------------------------------------------------------------------------

    def _known(self, who: _Who) -> Sponsor:
        kept = self._state.get(*who)
        return decode(kept) if kept is not None else Sponsor(who.sponsor_id)

    def _keep(self, who: _Who, sponsor: Sponsor) -> None:
        self._state.put(who.partition, who.sponsor_id, encode(sponsor))

    def _delivery(self, sponsor: Sponsor, outgoing: Outgoing, part: Part, receipt: Receipt) -> DeliveryRecorded:
        return DeliveryRecorded(
            id=EventId(part.record_id),
            prompt_id=PromptId(part.prompt_id),
            version=part.version,
            sponsor_id=EmployeeId(sponsor.sponsor_id),
            channel=receipt.by,
            outcome="delivered" if receipt.outcome == "delivered" else "failed",
            detail=receipt.detail[:_DETAIL_CHARACTERS],
            message_id=EventId(outgoing.id),
            status_code=receipt.status,
            attempts=receipt.attempts,
            at=self._clock(),
        )

    def _not_sent(self, who: _Who, said: Said, channel: ChannelName) -> DeliveryRecorded:
        return not_sent(who.sponsor_id, said, channel, self._clock())


def not_sent(sponsor_id: str, said: Said, channel: ChannelName, at: datetime) -> DeliveryRecorded:
    """Return the record of what the policy did not let out, or not yet."""
    return DeliveryRecorded(
        id=EventId(said.record_id),
        prompt_id=PromptId(said.prompt_id),
        version=said.version,
        sponsor_id=EmployeeId(sponsor_id),
        channel=channel,
        outcome=said.outcome,
        reason=said.reason,
        detail=said.words,
        until=said.until,
        attempts=0,
        at=at,
    )


def _recorded(delivery: DeliveryRecorded) -> Output:
    return Output(DELIVERIES_TOPIC, delivery.sponsor_id.encode(), write_contract(delivery))
