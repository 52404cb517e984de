"""Says what a letter says, in pieces: what mail, Slack and Teams lay out each in their own way."""

from __future__ import annotations

from dataclasses import dataclass

from services.prompter.letter import Item, Letter
from shared.contracts.outputs import Evidence, PromptOpened, PromptUpdated
from shared.plain_text import plain, sentence
from shared.prompt_text import ABOUT, day_in_words, local_time

NOTHING_ON_RECORD = "Nothing is on record in the time this is about. You may well know more than the record does."
YOURS_TO_DECIDE = "Whether you speak, and what you say, is yours to decide."


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
        closes: the deadline, in the sponsor's time zone.
        link: the page on which they answer; None where there is no portal.
    """

    question: str
    name: str
    about: str
    opportunity: str
    closes: str
    looked_for: str
    what: str
    why: str
    pieces: tuple[Piece, ...]
    link: str | None


@dataclass(frozen=True, slots=True)
class Words:
    """A letter in words. `subject` is one line: what is asked, of whom, and by when if it is only one."""

    subject: str
    sponsor: str
    asked: tuple[Asked, ...]


def words(letter: Letter) -> Words:
    """Return the words of a letter that asks.

    Raises:
        ValueError: it asks nothing; only channels that can take a prompt down are given such letters.
    """
    asked = tuple(
        _asked(item, item.event) for item in letter.items if isinstance(item.event, PromptOpened | PromptUpdated)
    )
    if not asked:
        raise ValueError(f"letter {letter.id} asks nothing")
    if len(asked) > 1:
        subject = f"Will you speak for {len(asked)} people?"
    else:
        subject = f"{asked[0].question} {asked[0].opportunity}"
    return Words(subject, plain(letter.asks[0].body.sponsor_name), asked)


def _asked(item: Item, prompt: PromptOpened | PromptUpdated) -> Asked:
    body = prompt.body
    name = plain(body.protege.name)
    begin = "Reminder: will" if item.reminder else "News: will" if isinstance(prompt, PromptUpdated) else "Will"
    unit = f", {plain(body.protege.unit_id)}" if body.protege.unit_id else ""
    return Asked(
        question=f"{begin} you speak for {name}?",
        name=name,
        about=f"{name} (level {body.protege.level}{unit})",
        opportunity=plain(body.opportunity.title),
        closes=local_time(body.opportunity.closes_at, prompt.sponsor_timezone),
        looked_for=", ".join(plain(competency) for competency in body.opportunity.competencies),
        what=f"{ABOUT[body.opportunity.kind]}, and {name} is among those it is about.",
        why=sentence(plain(body.why)),
        pieces=tuple(map(_piece, body.evidence)),
        link=item.link,
    )


def _piece(piece: Evidence) -> Piece:
    spoken = "Earlier endorsement: " if piece.kind == "endorsement" else ""
    link = plain(piece.link)
    return Piece(
        title=spoken + plain(piece.title),
        day=day_in_words(piece.occurred_on),
        outcome=sentence(plain(piece.outcome)),
        reasons=sentence("; ".join(plain(reason.text).rstrip(".") for reason in piece.reasons)),
        link=link if link.startswith(("https://", "http://")) and " " not in link else "",
    )
