"""Renders the pages of a person's own evidence: what is on record, the form for it, who was told what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.portal import own
from services.portal.pages import MISTAKES, Pages, Reader
from services.portal.store import KnownPerson, StoredAchievement, Telling
from services.portal.told import ToldInCycle
from shared.contracts.ids import Ref
from shared.languages import marked
from shared.plain_text import plain

PAGE: Final = 25
"""Achievements on a page: with the longest texts it is below 100 KB."""
_CYCLES: Final = 20
"""Decisions on the page of who was told what, the newest."""

REACHES: Final = {
    0: marked("I would rather not say"),
    1: marked("My team"),
    2: marked("Several teams"),
    3: marked("The whole company, or its customers"),
}
"""How far an outcome reached, by impact."""
_MISTAKES: Final[dict[str, str]] = {
    "no_title": marked("Please say in a few words what you did."),
    "long_title": marked("The first line has room for 200 characters. Please shorten it; there is more room below."),
    "long_outcome": marked("That is more than the 2,000 characters there is room for. Please shorten it."),
    "no_day": marked("Please give the day, as in 2026-03-31."),
    "future_day": marked("That day is still ahead. Please add it when it is done."),
    "competencies": marked("Please name ten skills at most, each in a few words, separated by commas."),
    "link": marked("This is not an address that can be opened. Please write it as https://…, or leave it empty."),
    "stale": MISTAKES["stale"],
    "not_safe": MISTAKES["not_safe"],
}
_FIELD_OF: Final = {
    "no_title": "title",
    "long_title": "title",
    "long_outcome": "outcome",
    "no_day": "occurred_on",
    "future_day": "occurred_on",
    "competencies": "competencies",
    "link": "link",
}
_DONE: Final = {
    "added": marked("It is on record. Sponsors can be shown it where it fits, and will see that you say so yourself."),
    "corrected": marked("It is on record in your words. Prompts that show it change with it."),
    "hidden": marked("It is hidden. It goes from every prompt, and comes into none, whatever its source says later."),
    "shown": marked("It can be shown to your sponsors again."),
    "waiting": marked("It is safe with us, and will show here in a moment."),
}


class OwnPages:
    """Renders the pages.

    Args:
        pages: what renders templates.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def evidence(
        self,
        reader: Reader,
        person: KnownPerson,
        record: Sequence[StoredAchievement],
        *,
        number: int,
        of: int,
        witnesses: Mapping[Ref, str],
        shown_to: Mapping[str, Sequence[str]],
        done: str,
    ) -> str:
        """Return the page of what is on record about somebody.

        Args:
            person: who reads it, and whom it is about.
            record: what is on this page of it.
            number: which page this is, from 1.
            of: how many there are.
            witnesses: the names of those who saw something, as far as they are known.
            shown_to: the names of sponsors who could see a piece.
            done: what the person did just now, if anything.
        """
        return self._pages.render(
            "own.html",
            reader,
            person=person,
            record=record,
            number=number,
            of=of,
            seen_by={
                one.achievement_id: sorted({witnesses[ref] for ref in one.witnesses if ref in witnesses})
                for one in record
            },
            shown_to=shown_to,
            tool=_tool,
            done=_DONE.get(done),
        )

    def told(self, reader: Reader, person: KnownPerson, cycles: Sequence[ToldInCycle]) -> str:
        """Return the page of who was told what."""
        return self._pages.render("own_told.html", reader, person=person, cycles=cycles[:_CYCLES])

    def form(
        self,
        reader: Reader,
        achievement: StoredAchievement | None,
        tellings: Sequence[Telling],
        *,
        written: Mapping[str, Sequence[str]] | None,
        mistake: str | None,
    ) -> str:
        """Return the form for an achievement.

        Args:
            achievement: the one to be corrected; None for a new one.
            tellings: what sponsors were asked about this person: says what decisions look for.
            written: what the person had written, where something has to be mended.
            mistake: what that is.
        """
        looked_for = {
            plain(competency).replace("_", " "): None
            for telling in sorted(tellings, key=lambda one: one.at, reverse=True)
            if telling.body.opportunity.closes_at > reader.now
            for competency in telling.body.opportunity.competencies
        }
        return self._pages.render(
            "own_form.html",
            reader,
            achievement=achievement,
            values=_values(achievement, written),
            reaches=REACHES,
            looked_for=list(looked_for)[: own.MOST_COMPETENCIES],
            today=reader.now.date(),
            longest_title=own.LONGEST_TITLE,
            longest_outcome=own.LONGEST_OUTCOME,
            mistake=_MISTAKES[mistake] if mistake else None,
            mistaken=_FIELD_OF.get(mistake or ""),
        )


def _values(achievement: StoredAchievement | None, written: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Return what stands in the fields of the form."""
    names = ("title", "outcome", "occurred_on", "impact", "competencies", "link")
    if written is not None:
        return {name: next(iter(written.get(name, ())), "") for name in names}
    if achievement is None:
        return dict.fromkeys(names, "")
    return {
        "title": plain(achievement.title),
        "outcome": achievement.outcome,
        "occurred_on": achievement.occurred_on.isoformat(),
        "impact": str(achievement.impact),
        "competencies": ", ".join(achievement.competencies),
        "link": achievement.link,
    }


def _tool(achievement: StoredAchievement) -> str:
    """Return a source's name as people would say it: the last word of what it calls itself."""
    return achievement.source.rstrip("/").replace("/", ":").rpartition(":")[2]
