"""Builds the webhook message of a prompt event, as the receiver gets it.

The same event always gives the same bytes, so that what is sent again is what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.contracts.base import Contract, EventTime
from shared.contracts.ids import CycleId, EmployeeId, EventId, PromptId
from shared.contracts.outputs import (
    PromptBody,
    PromptEvent,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    WithdrawnBecause,
)
from shared.portal_links import PortalAddress, prompt_link
from shared.prompt_text import render, render_end


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook message.

    Attributes:
        id: the webhook-id: the prompt event's own, so the receiver knows a repeat by it.
    """

    id: EventId
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

    type: Literal["prompt.opened", "prompt.updated", "prompt.withdrawn", "prompt.fulfilled"]
    timestamp: EventTime
    data: ShownData | WithdrawnData | FulfilledData


def message(event: PromptEvent, portal: PortalAddress | None = None) -> Message:
    """Return the message that tells the receiver of `event`, with the link to `portal` where there is one."""
    body = WebhookBody(type=event.type, timestamp=event.at, data=_data(event, portal))
    return Message(event.id, body.model_dump_json().encode())


def _data(event: PromptEvent, portal: PortalAddress | None) -> ShownData | WithdrawnData | FulfilledData:
    about = {name: getattr(event, name) for name in ("prompt_id", "version", "sponsor_id", "employee_id", "cycle_id")}
    match event:
        case PromptOpened() | PromptUpdated():
            return ShownData(
                **about,
                text=render(event),
                sponsor_timezone=event.sponsor_timezone,
                prompt=event.body,
                link=None if portal is None else prompt_link(portal.url, portal.key, event),
            )
        case PromptWithdrawn():
            return WithdrawnData(**about, text=render_end(event), reason=event.reason)
        case PromptFulfilled():
            return FulfilledData(**about, text=render_end(event), endorsement_id=event.endorsement_id)
