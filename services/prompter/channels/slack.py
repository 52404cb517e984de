"""Posts letters to Slack as Block Kit: by a bot to the sponsor's own conversation, or by an incoming webhook.

https://docs.slack.dev/reference/block-kit has the limits that are kept here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import ValidationError

from services.prompter.channels.base import Http
from services.prompter.channels.fitting import cut
from services.prompter.letter import Letter
from services.prompter.what_is_retried import Result, Verdict
from services.prompter.wording import Asked, Piece, words
from shared.contracts.base import Payload
from shared.contracts.outputs import ChannelName
from shared.plain_text import sentence

_HEADER, _SECTION, _FIELD, _CONTEXT, _URL = 150, 3000, 2000, 2000, 3000
"""Characters of a header's, a section's, a field's and a context's text, and of a button's address."""
_BLOCKS: Final = 50
_WHOLE: Final = 4
"""So many prompts are shown whole; of a digest's others only who and by when: a message has 50 blocks."""
_FOR_NOW: Final = frozenset({"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable"})
_WHAT_TO_DO: Final = {
    "invalid_auth": "is PROMPTER_SLACK_BOT_TOKEN right?",
    "not_authed": "is PROMPTER_SLACK_BOT_TOKEN right?",
    "token_revoked": "the app was removed: install it again, and set PROMPTER_SLACK_BOT_TOKEN",
    "missing_scope": "the app needs the scopes chat:write and users:read.email",
    "users_not_found": "nobody in this workspace has the sponsor's address",
    "channel_not_found": "the bot can't reach this member: is the id of this workspace?",
}


def slack_message(letter: Letter) -> dict[str, Any]:
    """Return the message: blocks, and the text for notifications and screen readers."""
    said = words(letter)
    blocks: list[dict[str, Any]] = []
    if letter.is_digest:
        blocks.append(_header(said.subject))
    for number, asked in enumerate(said.asked):
        found = list(_prompt(asked) if number < _WHOLE else _in_brief(asked))
        if number and number <= _WHOLE:
            found.insert(0, {"type": "divider"})
        if len(blocks) + len(found) > _BLOCKS - 1:
            break
        blocks += found
    blocks.append(_context(said.yours_to_decide))
    return {"text": cut(f"{sentence(said.subject)} {said.asked[0].closes}", _SECTION), "blocks": blocks}


def _prompt(asked: Asked) -> Iterator[dict[str, Any]]:
    yield _header(asked.question)
    yield {
        "type": "section",
        "fields": [_mrkdwn(f"*{label}*\n{_escaped(text)}", _FIELD) for label, text in asked.facts],
    }
    yield _section(_escaped(asked.what))
    yield _section(f"*{_escaped(asked.what_speaks)}*")
    for piece in asked.pieces:
        yield _section(_evidence(piece))
    if not asked.pieces:
        yield _section(_escaped(asked.nothing))
    yield from _button(asked)
    yield _context(f"*{asked.why_you}:* {_escaped(asked.why)}")


def _in_brief(asked: Asked) -> Iterator[dict[str, Any]]:
    yield _section(f"*{_escaped(asked.about)}*: {_escaped(asked.opportunity)}. {_escaped(asked.closes)}")
    yield from _button(asked)


def _evidence(piece: Piece) -> str:
    title = f"<{_escaped(piece.link)}|{_escaped(piece.title)}>" if piece.link else _escaped(piece.title)
    lines = [f"• *{title}* ({piece.day})"]
    if piece.outcome:
        lines.append(_escaped(piece.outcome))
    if piece.reasons:
        lines.append(f"_{_escaped(piece.reasons)}_")
    text = "\n".join(lines)
    # Cut within a link it would be no link any more: then without it.
    return (
        text if len(text) <= _SECTION else _evidence(Piece(piece.title[:400], piece.day, piece.outcome[:1000], "", ""))
    )


def _button(asked: Asked) -> Iterator[dict[str, Any]]:
    if asked.link is not None and len(asked.link) <= _URL:
        text = {"type": "plain_text", "text": cut(asked.answer, 75), "emoji": False}
        button = {"type": "button", "text": text, "url": asked.link, "style": "primary"}
        yield {"type": "actions", "elements": [button]}


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": cut(text, _HEADER), "emoji": False}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text, _SECTION)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text, _CONTEXT)]}


def _mrkdwn(text: str, most: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": cut(text, most), "verbatim": True}


def _escaped(text: str) -> str:
    """Return `text` with nothing in it that Slack takes for a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Answer(Payload):
    ok: bool
    error: str = ""


class _Member(Payload):
    id: str


class _Found(Payload):
    ok: bool
    error: str = ""
    user: _Member | None = None


class SlackBotChannel:
    """A bot of Slack. It writes to the sponsor themselves, whom it finds by their member id, or by their address.

    Slack documents no key of idempotency (its maintainers advise against `client_msg_id`, java-slack-sdk #852). The
    letter's id is in the message's metadata, so that a repeat after a lost answer can be told by it.
    """

    name: ChannelName = "slack"

    def __init__(self, token: str, http: Http, api: str = "https://slack.com/api") -> None:
        self._token, self._http, self._api = token, http, api.rstrip("/")
        self._members: dict[str, str] = {}

    async def attempt(self, letter: Letter) -> Verdict:
        """Find the sponsor, and post to them, once."""
        member = letter.slack or self._members.get(letter.email or "")
        if member is None:
            if letter.email is None:
                return Verdict(
                    "refused", "the company's records have neither a slack: nor an email: ref of the sponsor"
                )
            found = await self._look_up(letter.email)
            if isinstance(found, Verdict):
                return found
            member = self._members[letter.email] = found
        metadata = {"event_type": "sponsorship_prompt", "event_payload": {"message_id": letter.id}}
        message = slack_message(letter) | {"channel": member, "unfurl_links": False, "metadata": metadata}
        body = json.dumps(message, ensure_ascii=False).encode()
        verdict, said = await self._http.post(
            f"{self._api}/chat.postMessage", body, self._headers("application/json; charset=utf-8")
        )
        return verdict if verdict.result != "delivered" else _judged(said)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _look_up(self, email: str) -> str | Verdict:
        # Of all methods this one reads no JSON.
        form = urlencode({"email": email}).encode()
        verdict, said = await self._http.post(
            f"{self._api}/users.lookupByEmail", form, self._headers("application/x-www-form-urlencoded")
        )
        if verdict.result != "delivered":
            return verdict if not verdict.may_have_arrived else _not_sent(verdict)
        try:
            found = _Found.model_validate_json(said)
        except ValidationError:
            return _not_sent(_unreadable(said))
        return found.user.id if found.ok and found.user is not None else _not_sent(_of_error(found.error))

    def _headers(self, content_type: str) -> dict[str, str]:
        return {"content-type": content_type, "authorization": f"Bearer {self._token}"}


def _judged(said: bytes) -> Verdict:
    """Return what an answer of the Web API means: its status is 200 whatever happened."""
    try:
        answer = _Answer.model_validate_json(said)
    except ValidationError:
        return _unreadable(said)
    if answer.ok:
        return Verdict("delivered", status=200)
    return _of_error(answer.error)


def _of_error(error: str) -> Verdict:
    advice = f": {_WHAT_TO_DO[error]}" if error in _WHAT_TO_DO else ""
    result: Result = "busy" if error in _FOR_NOW else "refused"
    return Verdict(result, f"Slack answered {error!r}{advice}", 200)


def _unreadable(said: bytes) -> Verdict:
    # An answer may be longer than what is read of it, as of a message that was posted: it begins with its verdict.
    if said.replace(b" ", b"").startswith(b'{"ok":true'):
        return Verdict("delivered", status=200)
    return Verdict("busy", "Slack's answer could not be read", 200, may_have_arrived=True)


def _not_sent(verdict: Verdict) -> Verdict:
    """Return the same of a request that only asked who the sponsor is: nothing can have arrived."""
    return Verdict(verdict.result, verdict.detail, verdict.status, verdict.retry_after)
