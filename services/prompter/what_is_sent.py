"""Decides which versions of a prompt reach its sponsor: the newest that stands, once, and its end if they saw it.

Pure: what is known of a prompt and an event of it give a decision, and the decision's outcome what is known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.contracts.base import Contract
from shared.contracts.ids import PromptId
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated

Outcome = Literal["delivered", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Deliver:
    """It is sent."""


@dataclass(frozen=True, slots=True)
class Skip:
    """It is not sent, and that is recorded.

    Attributes:
        reason: why, in words for whoever reads the record.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """It is not sent, and nothing is recorded: the record of this version is there, and a second would belie it."""


Decision = Deliver | Skip | Repeat


class PromptRecord(Contract):
    """What is known of a prompt.

    Attributes:
        version: the newest version dealt with.
        outcome: what became of that version. A failed one is sent again if it comes again: out of the dead letters.
        shown: the receiver has the prompt up, or may have: the answer to some attempt was lost.
    """

    version: int
    outcome: Outcome
    shown: bool


def plan(known: PromptRecord | None, event: PromptEvent) -> Decision:
    """Decide about one event of a prompt.

    A snooze is measured by the event's own time, not by a clock, so a replay decides the same.
    """
    if known is not None and not _is_news(known, event):
        return Repeat()
    if isinstance(event, PromptOpened | PromptUpdated):
        if event.snoozed_until is not None and event.snoozed_until > event.at:
            return Skip(f"the sponsor asked not to be reminded before {event.snoozed_until:%Y-%m-%d %H:%M} UTC")
        return Deliver()
    if known is None or not known.shown:
        return Skip("there is nothing to take down: no version of this prompt had reached the receiver")
    return Deliver()


def plan_run(known: Mapping[PromptId, PromptRecord], events: Sequence[PromptEvent]) -> list[Decision]:
    """Decide about events that came together; the decisions are in the order of the events.

    Of several versions of a prompt only the newest is worth the sponsor's attention. So at most one event of a prompt
    is delivered in a run, and what is known before the run is enough to decide about it.
    """
    newest: dict[PromptId, int] = {}
    for event in events:
        newest[event.prompt_id] = max(event.version, newest.get(event.prompt_id, 0))
    decisions: list[Decision] = []
    seen: set[tuple[PromptId, int]] = set()
    for event in events:
        decision = plan(known.get(event.prompt_id), event)
        if (event.prompt_id, event.version) in seen:
            decision = Repeat()
        elif event.version < newest[event.prompt_id] and not isinstance(decision, Repeat):
            decision = Skip(f"superseded by version {newest[event.prompt_id]}, which came before this was sent")
        seen.add((event.prompt_id, event.version))
        decisions.append(decision)
    return decisions


def after(
    known: PromptRecord | None, event: PromptEvent, outcome: Outcome, *, may_have_arrived: bool = False
) -> PromptRecord:
    """Return what is known once `event` has been dealt with.

    Args:
        may_have_arrived: of a failed delivery: the receiver may have taken it although we have no answer that says so.
    """
    shown = known is not None and known.shown
    if isinstance(event, PromptOpened | PromptUpdated):
        shown = shown or outcome == "delivered" or may_have_arrived
    elif outcome == "delivered":
        shown = False
    if known is not None and known.version > event.version:
        return known.model_copy(update={"shown": shown})
    return PromptRecord(version=event.version, outcome=outcome, shown=shown)


def _is_news(known: PromptRecord, event: PromptEvent) -> bool:
    return event.version > known.version or (event.version == known.version and known.outcome == "failed")
