"""Writes the draft of an endorsement from the evidence, in plain sentences, for the sponsor to make their own.

It claims nothing that the evidence does not say: that the sponsor saw a piece only where the record has them as a
witness.
"""

from __future__ import annotations

from typing import Final

from services.portal.answering import LONGEST_WORDS
from shared.contracts.outputs import Evidence, PromptBody
from shared.languages import Language, marked
from shared.plain_text import plain, sentence

PIECES: Final = 3
"""Pieces of evidence in a draft: who reads it reads no list."""

_OPENING = marked("I would like to speak for %(name)s in “%(opportunity)s”.")
_FIRST = marked("What stands out to me is “%(title)s” (%(month)s).")
_NEXT = marked("Then there is “%(title)s” (%(month)s).")
_SEEN = marked("I saw this myself.")
_CLOSING = marked("I am glad to answer questions about this.")


def draft(body: PromptBody, language: Language) -> str:
    """Return the draft: an opening, a paragraph for each of the strongest achievements, a close."""
    values = {"name": plain(body.protege.name), "opportunity": plain(body.opportunity.title)}
    opening, closing = language.say(_OPENING, **values), language.say(_CLOSING)
    achievements = [piece for piece in body.evidence if piece.kind == "achievement"][:PIECES]
    paragraphs = [
        _paragraph(piece, _FIRST if number == 0 else _NEXT, language) for number, piece in enumerate(achievements)
    ]
    while len(text := "\n\n".join((opening, *paragraphs, closing))) > LONGEST_WORDS and paragraphs:
        paragraphs.pop()
    return text


def _paragraph(piece: Evidence, pattern: str, language: Language) -> str:
    said = [language.say(pattern, title=plain(piece.title), month=language.month(piece.occurred_on))]
    if outcome := plain(piece.outcome):
        said.append(sentence(outcome))
    if any(reason.code == "seen_by_you" for reason in piece.reasons):
        said.append(language.say(_SEEN))
    return " ".join(said)
