"""Slack's Block Kit and Microsoft's Adaptive Cards, as their documentation has them, as far as we send them.

No package at hand carries the vendors' schemas. Written from https://docs.slack.dev/reference/block-kit and
https://adaptivecards.io/explorer: whatever we send that is not said there is an error here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

Text = Annotated[str, Field(min_length=1)]


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

Spacing = Literal["None", "Small", "Default", "Medium", "Large", "ExtraLarge", "Padding"]


class TextBlock(_Strict):
    type: Literal["TextBlock"]
    text: Text
    wrap: Literal[True]
    size: Literal["Default", "Small", "Medium", "Large", "ExtraLarge"] = "Default"
    weight: Literal["Default", "Lighter", "Bolder"] = "Default"
    style: Literal["default", "heading"] = "default"
    isSubtle: bool = False  # noqa: N815 (theirs)
    spacing: Spacing = "Default"


class Fact(_Strict):
    title: Text
    value: Text


class FactSet(_Strict):
    type: Literal["FactSet"]
    facts: Annotated[list[Fact], Field(min_length=1)]


class OpenUrl(_Strict):
    type: Literal["Action.OpenUrl"]
    title: Text
    url: HttpUrl
    style: Literal["default", "positive", "destructive"]


class ActionSet(_Strict):
    type: Literal["ActionSet"]
    spacing: Spacing = "Default"
    actions: Annotated[list[OpenUrl], Field(min_length=1, max_length=6)]


class Container(_Strict):
    type: Literal["Container"]
    items: Annotated[list[TextBlock | FactSet | ActionSet | Container], Field(min_length=1)]
    spacing: Spacing = "Default"
    separator: bool = False


class Width(_Strict):
    width: Literal["Full"]


class AdaptiveCard(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_: Annotated[Literal["http://adaptivecards.io/schemas/adaptive-card.json"], Field(alias="$schema")]
    type: Literal["AdaptiveCard"]
    version: Literal["1.5"]
    fallbackText: Text  # noqa: N815 (theirs)
    msteams: Width
    body: Annotated[list[TextBlock | FactSet | ActionSet | Container], Field(min_length=1)]


class CardAttachment(_Strict):
    contentType: Literal["application/vnd.microsoft.card.adaptive"]  # noqa: N815 (theirs)
    contentUrl: None  # noqa: N815 (theirs)
    content: AdaptiveCard


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
