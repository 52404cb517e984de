"""What vendors take: Adaptive Cards by Microsoft's published schema, Slack's Block Kit as its documentation has it.

Slack publishes none. Its models are written from https://docs.slack.dev/reference/block-kit, as far as we send them:
whatever we send that is not said there is an error here.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from jsonschema import Draft6Validator
from jsonschema.exceptions import best_match
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


# -- Slack ----------------------------------------------------------------------------------------


class PlainText(_Strict):
    type: Literal["plain_text"]
    text: Annotated[str, Field(min_length=1, max_length=3000)]
    emoji: bool


class Mrkdwn(_Strict):
    type: Literal["mrkdwn"]
    text: Annotated[str, Field(min_length=1, max_length=3000)]
    verbatim: bool


class HeaderText(PlainText):
    text: Annotated[str, Field(min_length=1, max_length=150)]


class Header(_Strict):
    type: Literal["header"]
    text: HeaderText


class FieldText(Mrkdwn):
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class Fields(_Strict):
    type: Literal["section"]
    fields: Annotated[list[FieldText], Field(min_length=1, max_length=10)]


class Section(_Strict):
    type: Literal["section"]
    text: Mrkdwn


class ButtonText(PlainText):
    text: Annotated[str, Field(min_length=1, max_length=75)]


class Button(_Strict):
    type: Literal["button"]
    text: ButtonText
    url: Annotated[HttpUrl, Field(max_length=3000)]
    style: Literal["primary", "danger"]


class Actions(_Strict):
    type: Literal["actions"]
    elements: Annotated[list[Button], Field(min_length=1, max_length=25)]


class Context(_Strict):
    type: Literal["context"]
    elements: Annotated[list[Mrkdwn], Field(min_length=1, max_length=10)]


class Divider(_Strict):
    type: Literal["divider"]


class SlackMessage(_Strict):
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    blocks: Annotated[list[Header | Fields | Section | Actions | Context | Divider], Field(min_length=1, max_length=50)]


# -- Adaptive Cards -------------------------------------------------------------------------------


def _is_a_card(card: dict[str, Any]) -> dict[str, Any]:
    # `msteams` is Teams' own and in no schema:
    # https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
    assert card.get("msteams") == {"width": "Full"}
    as_published = {name: value for name, value in card.items() if name != "msteams"}
    for error in _cards().iter_errors(as_published):
        raise ValueError(f"no card of version 1.5: {best_match([error])}")
    return card


@cache
def _cards() -> Draft6Validator:
    return Draft6Validator(json.loads((files("adaptive_cards") / "schemas" / "schema-1.5.json").read_text()))


class CardAttachment(_Strict):
    contentType: Literal["application/vnd.microsoft.card.adaptive"]  # noqa: N815 (theirs)
    contentUrl: None  # noqa: N815 (theirs)
    content: Annotated[dict[str, Any], AfterValidator(_is_a_card)]


class TeamsMessage(BaseModel):
    model_config = ConfigDict(extra="allow")  # a workflow gets what it is given

    type: Literal["message"]
    attachments: Annotated[list[CardAttachment], Field(min_length=1, max_length=1)]


def texts_of(card: Any) -> str:
    """Return all texts of a message, one a line."""
    if isinstance(card, dict):
        return "\n".join(texts_of(value) for value in card.values())
    if isinstance(card, list):
        return "\n".join(map(texts_of, card))
    return str(card)
