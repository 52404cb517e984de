"""Posts letters to Microsoft Teams as Adaptive Cards, by the webhook of a workflow (Power Automate).

https://adaptivecards.io/explorer has the elements; Teams shows version 1.5, and takes 28 KB a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from services.prompter.channels.fitting import cut
from services.prompter.letter import Letter
from services.prompter.wording import Asked, Piece, Words, words

LARGEST_BYTES: Final = 27 * 1024
"""Of a message; a workflow refuses more than 28 KB."""

_TEXT: Final = 600
"""Characters of one text: a card is to be read at a glance, and the page has the rest."""


def teams_message(letter: Letter) -> dict[str, Any]:
    """Return the message; of a digest that is too large, the last prompts are told in brief."""
    said = words(letter)
    for whole in range(len(said.asked), -1, -1):
        message = _message(letter, said, whole)
        if len(json.dumps(message, ensure_ascii=False).encode()) <= LARGEST_BYTES:
            break
    return message


def _message(letter: Letter, said: Words, whole: int) -> dict[str, Any]:
    body: list[dict[str, Any]] = []
    if letter.is_digest:
        body.append(_heading(said.subject, "Large"))
    for number, asked in enumerate(said.asked):
        body.append(
            {
                "type": "Container",
                "separator": number > 0,
                "spacing": "Large" if number else "Default",
                "items": list(_whole(asked) if number < whole else _in_brief(asked)),
            }
        )
    body.append(_text(said.yours_to_decide, isSubtle=True, size="Small"))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": cut(said.subject, _TEXT),
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    # What a workflow needs to find the sponsor and to know a repeat; Teams itself passes it over.
    about = {"messageId": letter.id, "sponsorId": letter.sponsor_id, "sponsorEmail": letter.email}
    return {"type": "message", "attachments": [attachment], **about}


def _whole(asked: Asked) -> Iterator[dict[str, Any]]:
    yield _heading(asked.question, "Large")
    yield {
        "type": "FactSet",
        "facts": [{"title": label, "value": cut(_plain(text), _TEXT)} for label, text in asked.facts],
    }
    yield _text(_plain(asked.what))
    yield _heading(asked.what_speaks, "Medium")
    for piece in asked.pieces:
        yield {"type": "Container", "spacing": "Medium", "items": list(_evidence(piece))}
    if not asked.pieces:
        yield _text(_plain(asked.nothing))
    yield _text(f"**{asked.why_you}:** {_plain(asked.why)}", isSubtle=True, spacing="Medium")
    yield from _button(asked)


def _in_brief(asked: Asked) -> Iterator[dict[str, Any]]:
    yield _text(f"**{_plain(asked.about)}**: {_plain(asked.opportunity)}. {_plain(asked.closes)}")
    yield from _button(asked)


def _evidence(piece: Piece) -> Iterator[dict[str, Any]]:
    title = _plain(cut(piece.title, 200))
    linked = f"[{title}]({_address(piece.link)})" if piece.link else title
    yield {"type": "TextBlock", "text": f"**{linked}** ({piece.day})", "wrap": True}
    if piece.outcome:
        yield _text(_plain(piece.outcome), spacing="None")
    if piece.reasons:
        yield _text(_plain(piece.reasons), spacing="None", isSubtle=True)


def _button(asked: Asked) -> Iterator[dict[str, Any]]:
    if asked.link is not None:
        action = {
            "type": "Action.OpenUrl",
            "title": cut(asked.answer, 80),
            "url": asked.link,
            "style": "positive",
        }
        yield {"type": "ActionSet", "spacing": "Medium", "actions": [action]}


def _heading(text: str, size: str) -> dict[str, Any]:
    return {
        "type": "TextBlock",
        "text": cut(_plain(text), 200),
        "wrap": True,
        "size": size,
        "weight": "Bolder",
        "style": "heading",
    }


def _text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": cut(text, _TEXT), "wrap": True, **more}


def _plain(text: str) -> str:
    """Return `text` with nothing in it that a card takes for Markdown, of which it knows a part."""
    return re.sub(r"([\\`*_\[\]~])", r"\\\1", text)


def _address(link: str) -> str:
    return link.replace("(", "%28").replace(")", "%29")
