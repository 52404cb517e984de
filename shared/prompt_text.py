"""Says a prompt in plain text, in its sponsor's language: who, what opportunity, by when, what speaks for them, why.

No scores and none of our own words: a sponsor has not read our documents. Eighty columns, so that it can be read in a
mail, a chat or a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from shared.contracts.career import CycleKind
from shared.contracts.outputs import (
    Evidence,
    PromptBody,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    ReasonCode,
    WithdrawnBecause,
)
from shared.languages import ENGLISH, IN_ENGLISH, Language, marked, zone_of
from shared.plain_text import plain, sentence

WIDTH: Final = 80

NOTHING_ON_RECORD: Final = marked(
    "Nothing is on record for %(name)s in the time this is about. You may well know more than the record does."
)
WHY_YOU: Final = marked("Why you are getting this")
WHAT_SPEAKS: Final = marked("What speaks for %(name)s")
_ABOUT: Final[dict[CycleKind, str]] = {
    "promotion": marked("Promotions are being decided, and %(name)s is among those it is about."),
    "raise": marked("Pay rises are being decided, and %(name)s is among those it is about."),
    "role": marked("A role inside the company is being filled, and %(name)s is among those it is about."),
    "stretch": marked("A stretch assignment is being given out, and %(name)s is among those it is about."),
}
REASONS: Final[dict[ReasonCode, str]] = {
    "competency": marked("it shows what this decision looks for"),
    "impact": marked("it mattered beyond one desk"),
    "recent": marked("it is recent"),
    "seen_by_you": marked("you saw it yourself"),
    "not_yet_seen": marked("you are not among those named as having seen it"),
    "variety": marked("it adds another side to the picture"),
    "spoken_for": marked("somebody else has already spoken for them"),
    "self_reported": marked("they say so themselves"),
}
"""Why a piece was chosen, as a clause, where the language is not that in which the correlator says it."""
NO_MORE: Final[dict[WithdrawnBecause, str]] = {
    "cycle_closed": marked("the decision is closed"),
    "cycle_cancelled": marked("the decision will not take place"),
    "out_of_scope": marked("this person is not among those it is about any more"),
    "relationship_ended": marked("you are not this person's sponsor any more"),
    "sponsor_left": marked("its recipient has left the company"),
    "employee_left": marked("this person has left the company"),
    "declined": marked("you said that you will not speak for this person this time"),
}
"""Why something is not asked any more, as a clause."""


def render(prompt: PromptOpened | PromptUpdated, language: Language = IN_ENGLISH) -> str:
    """Return the prompt as its sponsor reads it: lines of at most 80 columns, save for links, which are kept whole."""
    body, say = prompt.body, language.say
    name = plain(body.protege.name)
    closes = local_time(body.opportunity.closes_at, prompt.sponsor_timezone, language)
    return "\n".join(
        (
            *_heading(question(prompt, language), "="),
            "",
            *_field(say(marked("To")), plain(body.sponsor_name)),
            *(line for label, text in facts(body, closes, language) for line in _field(label, text)),
            "",
            *_wrapped(what(body, language)),
            "",
            *_heading(say(WHY_YOU), "-"),
            *_wrapped(why(body, language)),
            "",
            *_heading(say(WHAT_SPEAKS, name=name), "-"),
            *_evidence(body.evidence, name, language),
            "",
            *_heading(say(marked("What now")), "-"),
            *_wrapped(
                say(
                    marked(
                        "Whether you speak, and what you say, is yours to decide. Give your word before it closes, "
                        "say no, or ask to be reminded later, wherever your company takes such answers."
                    )
                )
            ),
        )
    )


def render_digest(prompts: Sequence[PromptOpened | PromptUpdated], language: Language = IN_ENGLISH) -> str:
    """Return several prompts to one sponsor as one text: whom it is about and by when, then each prompt whole."""
    first, say = prompts[0], language.say
    names = [plain(prompt.body.protege.name) for prompt in prompts]
    lines = [
        *_heading(question_of_many(len(names), language), "="),
        "",
        *_field(say(marked("To")), plain(first.body.sponsor_name)),
        "",
    ]
    for number, (name, prompt) in enumerate(zip(names, prompts, strict=True), start=1):
        closes = local_time(prompt.body.opportunity.closes_at, prompt.sponsor_timezone, language)
        title = plain(prompt.body.opportunity.title)
        lines += _wrapped(f"{name}: {title}. {say(marked('Closes %(when)s.'), when=closes)}", f"{number}. ", "   ")
    return "\n".join([*lines, *("\n\n" + render(prompt, language) for prompt in prompts)])


def render_end(event: PromptWithdrawn | PromptFulfilled, language: Language = IN_ENGLISH) -> str:
    """Return what a sponsor reads in place of a prompt that is not asked any more."""
    if isinstance(event, PromptFulfilled):
        said = language.say(marked("Thank you: your word has been taken down. There is nothing more to do."))
    else:
        said = language.say(
            marked("You need not answer this any more: %(why)s. There is nothing to do."),
            why=language.say(NO_MORE[event.reason]),
        )
    return "\n".join(_wrapped(said))


def question(prompt: PromptOpened | PromptUpdated, language: Language, *, reminder: bool = False) -> str:
    """Return what is asked, in a line that says first whether it is news or a reminder."""
    text = marked("Will you speak for %(name)s?")
    if reminder:
        text = marked("Reminder: will you speak for %(name)s?")
    elif isinstance(prompt, PromptUpdated):
        text = marked("News: will you speak for %(name)s?")
    return language.say(text, name=plain(prompt.body.protege.name))


def question_of_many(people: int, language: Language) -> str:
    """Return what a digest asks."""
    return language.say(marked("Will you speak for %(count)s people?"), count=people)


def facts(body: PromptBody, closes: str, language: Language) -> tuple[tuple[str, str], ...]:
    """Return who it is about, which opportunity, by when, and what is looked for; each with its label."""
    say = language.say
    looked_for = ", ".join(plain(competency) for competency in body.opportunity.competencies)
    found = (
        (say(marked("About")), about(body, language)),
        (say(marked("Opportunity")), plain(body.opportunity.title)),
        (say(marked("Closes")), closes),
        (say(marked("Looked for")), looked_for),
    )
    return tuple((label, text) for label, text in found if text)


def about(body: PromptBody, language: Language) -> str:
    """Return the protégé's name with their level and unit."""
    name, unit = plain(body.protege.name), body.protege.unit_id
    level = language.say(marked("level %(level)s"), level=body.protege.level)
    return f"{name} ({level}, {plain(unit)})" if unit else f"{name} ({level})"


def what(body: PromptBody, language: Language) -> str:
    """Return what is being decided, by the kind of its cycle."""
    return language.say(_ABOUT[body.opportunity.kind], name=plain(body.protege.name))


def why(body: PromptBody, language: Language) -> str:
    """Return why the sponsor is asked. The correlator's words are English; in another language it is said shorter."""
    if language.tag == ENGLISH:
        return sentence(plain(body.why))
    text = marked("Your company's records say that you are the sponsor of %(name)s.")
    return language.say(text, name=plain(body.protege.name))


def chosen_because(piece: Evidence, language: Language) -> str:
    """Return why a piece of evidence was chosen; empty where nothing is said of it."""
    if language.tag == ENGLISH:
        reasons = [plain(reason.text).rstrip(".") for reason in piece.reasons]
    else:
        reasons = [language.say(REASONS[code]) for code in dict.fromkeys(reason.code for reason in piece.reasons)]
    said = sentence("; ".join(reasons))
    return language.say(marked("Chosen because: %(reasons)s"), reasons=said) if said else ""


def title_of(piece: Evidence, language: Language) -> str:
    """Return a piece's title, which says so where it is an endorsement."""
    title = plain(piece.title)
    return language.say(marked("Earlier endorsement: %(title)s"), title=title) if piece.kind == "endorsement" else title


def _heading(text: str, line: str) -> list[str]:
    lines = list(_wrapped(text))
    return [*lines, line * max(map(_columns, lines))]


def _evidence(evidence: tuple[Evidence, ...], name: str, language: Language) -> Iterator[str]:
    if not evidence:
        yield from _wrapped(language.say(NOTHING_ON_RECORD, name=name))
    for number, piece in enumerate(evidence, start=1):
        if number > 1:
            yield ""
        day = language.day(piece.occurred_on)
        yield from _wrapped(f"{title_of(piece, language)} ({day})", f"{number}. ", "   ")
        if outcome := plain(piece.outcome):
            yield from _wrapped(sentence(outcome), "   ")
        if reasons := chosen_because(piece, language):
            yield from _wrapped(reasons, "   ", "   ")
        if link := plain(piece.link):
            yield f"   {link}"


def _field(label: str, text: str) -> list[str]:
    return list(_wrapped(text, f"{label + ':':<14}", " " * 14))


def local_time(at: datetime, timezone: str, language: Language) -> str:
    """Return an instant in words, in that zone, or in UTC if nobody knows the zone."""
    zone = zone_of(timezone)
    named = "UTC"
    if zone.key != "UTC":
        named = language.say(marked("%(zone)s time"), zone=zone.key.replace("_", " "))
    return f"{language.local(at, zone)} ({named})"


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
