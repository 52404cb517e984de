"""Decides what is left of what is known of a sponsor once one of their protégés has been erased."""

from __future__ import annotations

from msgspec.structs import replace

from services.prompter.state import Sponsor


def forget(sponsor: Sponsor, erased: str) -> Sponsor:
    """Return the state without an employee who has been erased; the same one where it does not know them.

    A message under way about them is not sent again, and neither are the other prompts of that digest: those follow in
    a message of their own, for each is still to be told.
    """
    prompts = {key: held for key, held in sponsor.prompts.items() if held.employee_id != erased}
    outgoing = sponsor.outgoing
    if outgoing is not None and any(part.prompt_id not in prompts for part in outgoing.parts):
        outgoing = None
    choices = sponsor.choices
    not_mine, mine = (
        {who: when for who, when in said.items() if who != erased} for said in (choices.not_mine, choices.mine)
    )
    return replace(sponsor, prompts=prompts, outgoing=outgoing, choices=replace(choices, not_mine=not_mine, mine=mine))
