"""Puts together what one message to one sponsor says, whatever the channel, from what is known of the sponsor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.prompter.languages import language
from services.prompter.state import Outgoing, Part, Sponsor
from shared.contracts.ids import EmployeeId
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated, read_prompt_event
from shared.languages import Language
from shared.portal_links import PortalAddress, prompt_link, stop_link

_EMAIL: Final = "email:"
_SLACK: Final = "slack:"


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt in a letter.

    Attributes:
        reminder: its sponsor has been told this version before.
        link: the page on which they answer, for them alone; None where there is no portal, or nothing to answer.
    """

    event: PromptEvent
    reminder: bool
    link: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one sponsor.

    Attributes:
        id: the idempotency key, the same at each attempt and in each channel.
        email: the sponsor's address, None if the company's records have none.
        slack: their member id in Slack, the same.
        stop: where all messages are stopped by one click; None where there is no portal.
        items: in the order in which they are shown.
        language: in which it is written.
    """

    id: str
    sponsor_id: EmployeeId
    email: str | None
    slack: str | None
    stop: str | None
    is_digest: bool
    items: tuple[Item, ...]
    language: Language

    @property
    def asks(self) -> list[PromptOpened | PromptUpdated]:
        """The prompts that it asks about."""
        return [item.event for item in self.items if isinstance(item.event, PromptOpened | PromptUpdated)]


def letter(sponsor: Sponsor, outgoing: Outgoing, portal: PortalAddress | None) -> Letter:
    """Return the letter of the message under way.

    Args:
        sponsor: what is known of whom it goes to.
        outgoing: the message.
        portal: where it links to; None where there is no portal.

    Raises:
        pydantic.ValidationError: what is held of a prompt is no event: a fault of ours.
    """
    return Letter(
        id=outgoing.id,
        sponsor_id=EmployeeId(sponsor.sponsor_id),
        email=_ref(sponsor, _EMAIL),
        slack=_ref(sponsor, _SLACK),
        stop=stop_link(portal.url, portal.key, EmployeeId(sponsor.sponsor_id)) if portal is not None else None,
        is_digest=outgoing.kind == "digest",
        items=tuple(_item(sponsor, part, portal, outgoing.timezone) for part in outgoing.parts),
        language=language(outgoing.language),
    )


def _item(sponsor: Sponsor, part: Part, portal: PortalAddress | None, timezone: str) -> Item:
    event = read_prompt_event(sponsor.prompts[part.prompt_id].event)
    link = None
    if isinstance(event, PromptOpened | PromptUpdated):
        if portal is not None:
            link = prompt_link(portal.url, portal.key, event)
        if timezone:
            event = event.model_copy(update={"sponsor_timezone": timezone})
    return Item(event, part.reminder, link)


def _ref(sponsor: Sponsor, scheme: str) -> str | None:
    return next((ref.removeprefix(scheme) for ref in sponsor.refs if ref.startswith(scheme)), None)
