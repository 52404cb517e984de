"""Says a prompt in plain text, as its sponsor reads it: who, which opportunity, by when, what speaks for them, and why.

No scores and none of our own words: a sponsor has not read our documents. Eighty columns, so that it can be read in a
mail, a chat or a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.contracts.career import CycleKind
from shared.contracts.outputs import (
    Evidence,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    WithdrawnBecause,
)
from shared.plain_text import plain, sentence

WIDTH: Final = 80

ABOUT: Final[dict[CycleKind, str]] = {
    "promotion": "Promotions are being decided",
    "raise": "Pay rises are being decided",
    "role": "A role inside the company is being filled",
    "stretch": "A stretch assignment is being given out",
}
"""What is being decided, by the kind of its cycle."""
_NO_MORE: Final[dict[WithdrawnBecause, str]] = {
    "cycle_closed": "the decision is closed",
    "cycle_cancelled": "the decision will not take place",
    "out_of_scope": "this person is not among those it is about any more",
    "relationship_ended": "you are not this person's sponsor any more",
    "sponsor_left": "its recipient has left the company",
    "employee_left": "this person has left the company",
    "declined": "you said that you will not speak for this person this time",
}


def render(prompt: PromptOpened | PromptUpdated) -> str:
    """Return the prompt as its sponsor reads it: lines of at most 80 columns, save for links, which are kept whole."""
    body = prompt.body
    name = plain(body.protege.name)
    again = "News: will" if prompt.type == "prompt.updated" else "Will"
    unit = f", {plain(body.protege.unit_id)}" if body.protege.unit_id else ""
    looked_for = ", ".join(plain(competency) for competency in body.opportunity.competencies)
    return "\n".join(
        (
            *_heading(f"{again} you speak for {name}?", "="),
            "",
            *_field("To:", plain(body.sponsor_name)),
            *_field("About:", f"{name} (level {body.protege.level}{unit})"),
            *_field("Opportunity:", plain(body.opportunity.title)),
            *_field("Closes:", local_time(body.opportunity.closes_at, prompt.sponsor_timezone)),
            *(_field("Looked for:", looked_for) if looked_for else ()),
            "",
            *_wrapped(f"{ABOUT[body.opportunity.kind]}, and {name} is among those it is about."),
            "",
            *_heading("Why you are getting this", "-"),
            *_wrapped(sentence(plain(body.why))),
            "",
            *_heading(f"What speaks for {name}", "-"),
            *_evidence(body.evidence, name),
            "",
            *_heading("What now", "-"),
            *_wrapped(
                "Whether you speak, and what you say, is yours to decide. Give your word before it closes, say no, or "
                "ask to be reminded later, wherever your company takes such answers."
            ),
        )
    )


def render_digest(prompts: Sequence[PromptOpened | PromptUpdated]) -> str:
    """Return several prompts to one sponsor as one text: whom it is about and by when, then each prompt whole."""
    first = prompts[0]
    names = [plain(prompt.body.protege.name) for prompt in prompts]
    lines = [
        *_heading(f"Will you speak for {len(names)} people?", "="),
        "",
        *_field("To:", plain(first.body.sponsor_name)),
        "",
    ]
    for number, (name, prompt) in enumerate(zip(names, prompts, strict=True), start=1):
        closes = local_time(prompt.body.opportunity.closes_at, prompt.sponsor_timezone)
        title = plain(prompt.body.opportunity.title)
        lines += _wrapped(f"{name}: {title}. Closes {closes}.", f"{number}. ", "   ")
    return "\n".join([*lines, *("\n\n" + render(prompt) for prompt in prompts)])


def render_end(event: PromptWithdrawn | PromptFulfilled) -> str:
    """Return what a sponsor reads in place of a prompt that is not asked any more."""
    if isinstance(event, PromptFulfilled):
        said = "Thank you: your word has been taken down. There is nothing more to do."
    else:
        said = f"You need not answer this any more: {_NO_MORE[event.reason]}. There is nothing to do."
    return "\n".join(_wrapped(said))


def _heading(text: str, line: str) -> list[str]:
    lines = list(_wrapped(text))
    return [*lines, line * max(map(_columns, lines))]


def _evidence(evidence: tuple[Evidence, ...], name: str) -> Iterator[str]:
    if not evidence:
        yield from _wrapped(
            f"Nothing is on record for {name} in the time this is about. You may well know more than the record does."
        )
    for number, piece in enumerate(evidence, start=1):
        if number > 1:
            yield ""
        spoken = "Earlier endorsement: " if piece.kind == "endorsement" else ""
        yield from _wrapped(f"{spoken}{plain(piece.title)} ({day_in_words(piece.occurred_on)})", f"{number}. ", "   ")
        if outcome := plain(piece.outcome):
            yield from _wrapped(sentence(outcome), "   ")
        if piece.reasons:
            reasons = "; ".join(plain(reason.text).rstrip(".") for reason in piece.reasons)
            yield from _wrapped(f"Chosen because: {sentence(reasons)}", "   ", "   ")
        if link := plain(piece.link):
            yield f"   {link}"


def _field(label: str, text: str) -> list[str]:
    return list(_wrapped(text, f"{label:<14}", " " * 14))


def local_time(at: datetime, timezone: str) -> str:
    """Return an instant in words, in that zone, or in UTC if nobody knows the zone."""
    try:
        zone, named = ZoneInfo(timezone), f"{timezone.replace('_', ' ')} time" if timezone != "UTC" else "UTC"
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a source may name a zone that nobody knows
        zone, named = ZoneInfo("UTC"), "UTC"
    local = at.astimezone(zone)
    return f"{local:%A}, {day_in_words(local.date())}, {local:%H:%M} ({named})"


def day_in_words(day: date) -> str:
    """Return a day as `27 March 2026`."""
    return f"{day.day} {day:%B %Y}"


def _wrapped(text: str, first: str = "", following: str | None = None) -> Iterator[str]:
    """Break `text` into lines of at most WIDTH columns, the first after `first`, the others after `following`."""
    lead, room = first, WIDTH
    rest = first if following is None else following
    line = ""
    for word in text.split():
        pieces = [word] if "://" in word else _cut(word, room - _columns(rest))
        for piece in pieces:
            if line and _columns(lead) + _columns(line) + 1 + _columns(piece) > room:
                yield lead + line
                lead, line = rest, piece
            else:
                line = f"{line} {piece}" if line else piece
    if line:
        yield lead + line


def _cut(word: str, columns: int) -> list[str]:
    """Cut a word that is wider than a line; Chinese and Japanese text may be one such word."""
    if _columns(word) <= columns:
        return [word]
    pieces, piece = [], ""
    for character in word:
        if _columns(piece + character) > columns:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _columns(text: str) -> int:
    """Return how many columns `text` takes in a terminal: East Asian wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
