"""A sponsor as the prompter's rules see them: events and time go in, messages and records come out. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.prompter.learning import learn_choice, learn_prompt
from services.prompter.policy import Digest, Policy, QuietHours
from services.prompter.rules import Plan, Result, Said, after, plan
from services.prompter.state import Outgoing, Sponsor, decode, encode
from shared.contracts.career import write_contract
from shared.contracts.choices import Mine, NotMine, PreferencesSet, Resumed, SponsorChoice, Stopped
from shared.contracts.ids import EmployeeId, EventId
from shared.contracts.outputs import PromptEvent

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
"""A working day, in working hours: the time of the events of `tests.prompt_events` too."""


def a_policy(**changes: Any) -> Policy:
    """Return one that lets everything out at once, with these changes."""
    fields: dict[str, Any] = {
        "channels": ("webhook",),
        "quiet_hours": None,
        "working_days": (1, 2, 3, 4, 5, 6, 7),
        "messages_per_week": None,
        "digest": None,
        "news": "at_once",
        "reminders": None,
    }
    return Policy(**(fields | changes))


def at_night() -> QuietHours:
    return QuietHours.model_validate({"from": "18:00", "to": "08:00"})


def a_digest(at_least: int = 2, gather_minutes: int = 0) -> Digest:
    return Digest(at_least=at_least, gather_minutes=gather_minutes)


def stopped(at: datetime = MONDAY, **fields: Any) -> Stopped:
    return Stopped(**_choice(at, fields))


def resumed(at: datetime = MONDAY, **fields: Any) -> Resumed:
    return Resumed(**_choice(at, fields))


def not_mine(employee: str, at: datetime = MONDAY, **fields: Any) -> NotMine:
    return NotMine(**_choice(at, {"employee_id": EmployeeId(employee)} | fields))


def mine(employee: str, at: datetime = MONDAY, **fields: Any) -> Mine:
    return Mine(**_choice(at, {"employee_id": EmployeeId(employee)} | fields))


def prefers(at: datetime = MONDAY, **fields: Any) -> PreferencesSet:
    return PreferencesSet(**_choice(at, fields))


def _choice(at: datetime, fields: dict[str, Any]) -> dict[str, Any]:
    return {"id": EventId(f"choice-{at.isoformat()}"), "sponsor_id": EmployeeId("E1"), "at": at} | fields


@dataclass(frozen=True)
class Message:
    """What reached the sponsor."""

    at: datetime
    outgoing: Outgoing

    @property
    def about(self) -> list[tuple[str, int]]:
        return [(part.prompt_id, part.version) for part in self.outgoing.parts]


def arrives(_: Message) -> Result | None:
    return Result("delivered", "webhook")


@dataclass
class World:
    """One sponsor, whose messages come to what `sends` says: a result, or None while an attempt has no outcome."""

    policy: Policy = field(default_factory=a_policy)
    now: datetime = MONDAY
    sends: Callable[[Message], Result | None] = arrives
    sponsor: Sponsor = field(default_factory=lambda: Sponsor("E1"))
    messages: list[Message] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    look_at: datetime | None = None

    def hears(self, *events: PromptEvent | SponsorChoice) -> World:
        """Take the events in at once, then do what follows."""
        for event in events:
            if isinstance(event, Stopped | Resumed | NotMine | Mine | PreferencesSet):
                self.sponsor = learn_choice(self.sponsor, event)
                continue
            learned = learn_prompt(self.sponsor, event, write_contract(event), 0, self.now)
            if learned is not None:
                self.sponsor, said = learned
                self.said += said
        return self.looks()

    def looks(self) -> World:
        """Plan and send until nothing more is to be sent now."""
        for _ in range(200):
            done: Plan = plan(decode(encode(self.sponsor)), self.policy, self.now)
            self.sponsor, self.look_at = done.sponsor, done.look_at
            self.said += done.said
            if not done.send:
                return self
            outgoing = done.sponsor.outgoing
            assert outgoing is not None
            message = Message(self.now, outgoing)
            self.messages.append(message)
            result = self.sends(message)
            if result is None:
                return self
            self.sponsor = after(self.sponsor, result, self.now)
        raise AssertionError("it never comes to rest")

    def waits(self, **how_long: float) -> World:
        """Let time pass, doing at each moment what is due then."""
        until = self.now + timedelta(**how_long)
        while self.look_at is not None and self.look_at <= until:
            assert self.look_at > self.now, "it would be looked at again and again"
            self.now = self.look_at
            self.looks()
        self.now = until
        return self.looks()

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(said.outcome, said.reason) for said in self.said]

    @property
    def asked(self) -> list[list[tuple[str, int]]]:
        """What each message that asks was about."""
        return [message.about for message in self.messages if message.outgoing.kind != "end"]
