"""Gives competencies one form, so that an achievement's match a cycle's, however their sources spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_BETWEEN_WORDS = re.compile(r"[\s_\-\u2010-\u2015]+")


def normalised_competencies(spelt: Iterable[str]) -> tuple[str, ...]:
    """Return the competencies in their one form, each once, in the order of first mention; empty ones fall away."""
    return tuple(dict.fromkeys(form for text in spelt if (form := _normalised(text))))


def _normalised(text: str) -> str:
    """Return `text` in lower case without its #, its words apart by one space: ``#Customer_Focus`` → customer focus.

    A capital inside a word is no border between words: DevOps is one word, and nothing tells CustomerFocus from it.
    """
    plain = unicodedata.normalize("NFKC", text).replace("#", " ")
    # Folding may undo the normal form (U+0345 and its like), hence once more; so the form of a form is itself.
    folded = unicodedata.normalize("NFKC", plain.casefold())
    return _BETWEEN_WORDS.sub(" ", folded).strip()
