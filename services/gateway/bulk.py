"""Moves an NDJSON upload to Kafka while it comes in: one CloudEvent a line, each line for itself, memory bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from services.gateway.events import read_structured, to_dead_letter, to_record
from services.gateway.lines import Line, LineCutter
from services.gateway.metrics import EVENTS
from services.gateway.problems import BadEvents, FieldError, ForeignSource, Problem, SenderSilent, TooLarge
from services.gateway.sink import Sink
from shared.streaming.records import Output

ERRORS_TOLD = 100
RECORDS_A_RUN = 500
"""Records handed to Kafka together."""
RUNS_UNACKNOWLEDGED = 4
"""How many runs of one upload may wait for Kafka before its next bytes are read."""


@dataclass(slots=True)
class _Run:
    """Lines that go to Kafka together."""

    records: list[Output]
    size: int = 0
    accepted: int = 0
    rejected: int = 0


class Upload:
    """One upload: feed it the body, in order, then `finish`.

    A line that is no valid event does not stop those after it; it goes byte for byte to the feed's dead letter topic.
    Not kept are lines longer than allowed, and lines that name another source than the token's: a dead letter can be
    put back into the feed by an operator, and that must be no way round the tokens.
    """

    def __init__(self, feed: str, source: str, sink: Sink, longest: int) -> None:
        self.accepted = 0
        self.rejected = 0
        self.errors: list[dict[str, Any]] = []
        self._feed = feed
        self._source = source
        self._sink = sink
        self._longest = longest
        self._lines = LineCutter(longest)
        self._run = _Run([])
        self._under_way: deque[tuple[_Run, Awaitable[None]]] = deque()

    async def take(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Take the whole body; return when Kafka has acknowledged all that came of it.

        Raises:
            Problem: the body broke off, or Kafka did not take it; its members say how far the upload had come.
        """
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    for line in self._lines.feed(chunk):
                        await self._take(line)
                    await self._send()
            for line in self._lines.finish():
                await self._take(line)
            await self._send()
            while self._under_way:
                await self._acknowledged()
        except Problem as problem:
            await self._gather()
            problem.members |= {"accepted": self.accepted, "rejected": self.rejected}
            if isinstance(problem, SenderSilent):
                problem.detail += "; what had come was taken in, and may be sent again"
            raise

    def nothing_entered(self) -> Problem:
        """Return the problem of an upload of which no line was accepted."""
        return BadEvents(
            "no line was accepted" if self.rejected else "the body holds no event",
            members={"accepted": 0, "rejected": self.rejected, "errors": self.errors},
        )

    async def _take(self, line: Line) -> None:
        record = self._read(line)
        if record is not None:
            self._run.records.append(record)
            self._run.size += len(record.value or b"")
        if len(self._run.records) >= RECORDS_A_RUN or self._run.size >= self._longest:
            await self._send()

    def _read(self, line: Line) -> Output | None:
        """Return the record that keeps the line: the event, or a dead letter; None when it may not be kept."""
        try:
            record = self._event(line)
        except (BadEvents, ForeignSource, TooLarge) as problem:
            self._run.rejected += 1
            dead = line.content if isinstance(problem, BadEvents) else None
            self._tell(line.number, problem, dead_letter=dead is not None)
            return None if dead is None else to_dead_letter(self._feed, dead, problem.detail, self._source)
        self._run.accepted += 1
        return record

    def _event(self, line: Line) -> Output:
        if line.content is None:
            raise TooLarge(f"the line has more than {self._longest} bytes")
        return to_record(self._feed, read_structured(line.content, self._source), self._longest)

    def _tell(self, number: int, problem: Problem, *, dead_letter: bool) -> None:
        for error in problem.errors or (FieldError("", problem.detail),):
            if len(self.errors) < ERRORS_TOLD:
                told = {"line": number, "pointer": error.pointer, "detail": error.detail, "dead_letter": dead_letter}
                self.errors.append(told)

    async def _send(self) -> None:
        run, self._run = self._run, _Run([])
        if run.records:
            try:
                self._under_way.append((run, await self._sink.send(run.records, patient=True)))
            except Problem:
                EVENTS.labels(self._feed, "unavailable").inc(run.accepted)
                raise
        else:
            self._count(run)
        while len(self._under_way) > RUNS_UNACKNOWLEDGED:
            await self._acknowledged()

    async def _acknowledged(self) -> None:
        run, safe = self._under_way.popleft()
        try:
            await safe
        except Problem:
            EVENTS.labels(self._feed, "unavailable").inc(run.accepted)
            raise
        self._count(run)

    async def _gather(self) -> None:
        """Learn what became of the runs that were still under way when one failed."""
        while self._under_way:
            try:
                await self._acknowledged()
            except Problem:  # the first failure is the one that is told
                continue

    def _count(self, run: _Run) -> None:
        self.accepted += run.accepted
        self.rejected += run.rejected
        EVENTS.labels(self._feed, "accepted").inc(run.accepted)
        EVENTS.labels(self._feed, "rejected").inc(run.rejected)
