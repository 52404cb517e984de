"""Builds the webhook message of a letter, as the receiver gets it.

The same letter always gives the same bytes, so that what is sent again is what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.prompter.letter import Item, Letter
from shared.contracts.base import Contract, EventTime
from shared.contracts.ids import CycleId, EmployeeId, PromptId
from shared.contracts.outputs import (
    PromptBody,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    WithdrawnBecause,
)
from shared.languages import Language
from shared.prompt_text import render, render_digest, render_end


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook message.

    Attributes:
        id: the webhook-id, so the receiver knows a repeat by it: the prompt event's own, where it tells of one.
    """

    id: str
    body: bytes


class _Data(Contract):
    prompt_id: PromptId
    version: int
    sponsor_id: EmployeeId
    employee_id: EmployeeId
    cycle_id: CycleId
    text: str


class ShownData(_Data):
    """`data` of a prompt to show, in place of any earlier version: the text to be read, and what it was made of."""

    sponsor_timezone: str
    prompt: PromptBody
    link: str | None
    """The page on which the sponsor answers; for them alone. None where there is no portal."""


class WithdrawnData(_Data):
    """`data` of a prompt to take down, for it is not asked any more."""

    reason: WithdrawnBecause


class FulfilledData(_Data):
    """`data` of a prompt to take down, for the sponsor has spoken."""

    endorsement_id: str


class WebhookBody(Contract):
    """The body, in the form that Standard Webhooks recommend ("Payload structure")."""

    type: Literal["prompt.opened", "prompt.updated", "prompt.reminder", "prompt.withdrawn", "prompt.fulfilled"]
    timestamp: EventTime
    data: ShownData | WithdrawnData | FulfilledData


class DigestData(Contract):
    """`data` of several prompts to show, in this order, each in place of any earlier version of it."""

    sponsor_id: EmployeeId
    text: str
    prompts: tuple[ShownData, ...]


class DigestBody(Contract):
    """The body of a digest."""

    type: Literal["prompt.digest"] = "prompt.digest"
    timestamp: EventTime
    data: DigestData


def message(letter: Letter) -> Message:
    """Return the message that tells the receiver what the letter says."""
    if letter.is_digest:
        newest = max(item.event.at for item in letter.items)
        digest = DigestBody(timestamp=newest, data=_digest(letter))
        return Message(letter.id, digest.model_dump_json().encode())
    (item,) = letter.items
    kind = "prompt.reminder" if item.reminder else item.event.type
    body = WebhookBody(type=kind, timestamp=item.event.at, data=_data(item, letter.language))
    return Message(letter.id, body.model_dump_json().encode())


def _digest(letter: Letter) -> DigestData:
    shown = tuple(data for item in letter.items if isinstance(data := _data(item, letter.language), ShownData))
    return DigestData(sponsor_id=letter.sponsor_id, text=render_digest(letter.asks, letter.language), prompts=shown)


def _data(item: Item, language: Language) -> ShownData | WithdrawnData | FulfilledData:
    event = item.event
    about = {name: getattr(event, name) for name in ("prompt_id", "version", "sponsor_id", "employee_id", "cycle_id")}
    match event:
        case PromptOpened() | PromptUpdated():
            return ShownData(
                **about,
                text=render(event, language),
                sponsor_timezone=event.sponsor_timezone,
                prompt=event.body,
                link=item.link,
            )
        case PromptWithdrawn():
            return WithdrawnData(**about, text=render_end(event, language), reason=event.reason)
        case PromptFulfilled():
            return FulfilledData(**about, text=render_end(event, language), endorsement_id=event.endorsement_id)
