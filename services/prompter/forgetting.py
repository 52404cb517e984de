"""Decides what is left of what is known of a sponsor once one of their protégés has been erased."""

from __future__ import annotations

import re
from typing import Any, Final

from services.prompter.state import Sponsor, decode, encode
from shared.streaming.sealed_states import Others, Shape
from shared.streaming.sealing import name_of


def forget(sponsor: Sponsor, erased: str) -> Sponsor:
    """Return the state without an employee who has been erased; the same one where it does not know them.

    A message under way about them is not sent again, and neither are the other prompts of that digest: those follow in
    a message of their own, for each is still to be told.
    """
    before = encode(sponsor)
    after = SPONSORS.without(before, {name_of(erased)}.__contains__)
    return sponsor if after is before else decode(after)


def _show(sponsor: Any, others: Others) -> None:
    others.in_map(sponsor, "prompts", lambda _, held: (held["employee_id"],))
    choices = sponsor.get("choices", {})
    for field in ("not_mine", "mine"):
        others.in_map(choices, field, lambda employee_id, _: (employee_id,))


def _mend(sponsor: Any) -> None:
    outgoing = sponsor.get("outgoing")
    if outgoing is not None and any(part["prompt_id"] not in sponsor.get("prompts", {}) for part in outgoing["parts"]):
        sponsor["outgoing"] = None


SPONSORS: Final = Shape(re.compile("(?P<name>.+)"), _show, _mend)
"""Of the prompter's state: a sponsor's entry is theirs, and each prompt in it its protégé's too."""
