"""Says what a letter says, in pieces and in its language: what mail, Slack and Teams lay out each in their own way."""

from __future__ import annotations

from dataclasses import dataclass

from services.prompter.letter import Item, Letter
from shared.contracts.outputs import Evidence, PromptOpened, PromptUpdated
from shared.languages import Language, marked
from shared.plain_text import plain, sentence
from shared.prompt_text import (
    NOTHING_ON_RECORD,
    WHAT_SPEAKS,
    WHY_YOU,
    about,
    chosen_because,
    facts,
    local_time,
    question,
    question_of_many,
    title_of,
    what,
    why,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of evidence. `link` is to its source, empty where there is none that a browser may open."""

    title: str
    day: str
    outcome: str
    reasons: str
    link: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt in words.

    Attributes:
        closes: that it closes, and when in the sponsor's time zone: a sentence.
        facts: what there is to know at a glance, each with its label, in the order in which it is shown.
        what_speaks: what stands above the evidence.
        nothing: what stands there where there is no evidence.
        why_you: what stands before `why`.
        answer: what stands on the button.
        link: the page on which they answer; None where there is no portal.
    """

    question: str
    name: str
    about: str
    opportunity: str
    closes: str
    facts: tuple[tuple[str, str], ...]
    what: str
    what_speaks: str
    nothing: str
    why_you: str
    why: str
    pieces: tuple[Piece, ...]
    answer: str
    link: str | None


@dataclass(frozen=True, slots=True)
class Words:
    """A letter in words. `subject` is one line: what is asked, of whom, and in which opportunity if it is only one."""

    subject: str
    sponsor: str
    asked: tuple[Asked, ...]
    yours_to_decide: str


def words(letter: Letter) -> Words:
    """Return the words of a letter that asks.

    Raises:
        ValueError: it asks nothing; only channels that can take a prompt down are given such letters.
    """
    language = letter.language
    asked = tuple(
        _asked(item, item.event, language)
        for item in letter.items
        if isinstance(item.event, PromptOpened | PromptUpdated)
    )
    if not asked:
        raise ValueError(f"letter {letter.id} asks nothing")
    if len(asked) > 1:
        subject = question_of_many(len(asked), language)
    else:
        subject = f"{asked[0].question} {asked[0].opportunity}"
    yours = language.say(marked("Whether you speak, and what you say, is yours to decide."))
    return Words(subject, plain(letter.asks[0].body.sponsor_name), asked, yours)


def _asked(item: Item, prompt: PromptOpened | PromptUpdated, language: Language) -> Asked:
    body, say = prompt.body, language.say
    name = plain(body.protege.name)
    closes = local_time(body.opportunity.closes_at, prompt.sponsor_timezone, language)
    return Asked(
        question=question(prompt, language, reminder=item.reminder),
        name=name,
        about=about(body, language),
        opportunity=plain(body.opportunity.title),
        closes=say(marked("Closes %(when)s."), when=closes),
        facts=facts(body, closes, language),
        what=what(body, language),
        what_speaks=say(WHAT_SPEAKS, name=name),
        nothing=say(NOTHING_ON_RECORD, name=name),
        why_you=say(WHY_YOU),
        why=why(body, language),
        pieces=tuple(_piece(piece, language) for piece in body.evidence),
        answer=say(marked("Answer for %(name)s"), name=name),
        link=item.link,
    )


def _piece(piece: Evidence, language: Language) -> Piece:
    link = plain(piece.link)
    return Piece(
        title=title_of(piece, language),
        day=language.day(piece.occurred_on),
        outcome=sentence(plain(piece.outcome)),
        reasons=chosen_because(piece, language),
        link=link if link.startswith(("https://", "http://")) and " " not in link else "",
    )
