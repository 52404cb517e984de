"""Tells one autumn of the made-up company as feed records, and knows which prompts and gaps it must leave.

A promotion cycle and a role cycle overlap; people are hired late, move, rise and leave; sponsors speak, decline,
put off, leave; sources repeat, correct and garble what they say. Every plant writes its record and notes the fact
that the record means; `shared.company.truth` makes the expected outcome of the facts alone.

Each phase must have been worked off before the next is fed: within a phase any order of arrival gives the same end
(a test shuffles the facts), but a prompt is withdrawn only where it has stood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from shared.company.casting import Cast, PlantedAchievement, cast_company
from shared.company.cycles import (
    OTHER_DIVISION,
    PROMOTED_DIVISIONS,
    PROMOTION,
    PROMOTION_CYCLE,
    PROMOTION_CYCLE_AMENDED,
    ROLE,
    ROLE_CYCLE,
)
from shared.company.garbled import garbled_records
from shared.company.population import (
    Company,
    achievements,
    employee_id,
    endorsements,
    org_units,
    past_endorsement,
)
from shared.company.records import Feed, FeedRecord
from shared.company.story import Phase, Story
from shared.company.truth import EndorsedFact, Expected
from shared.contracts.base import utc
from shared.contracts.ids import AchievementId

__all__ = [
    "DEMO_SEED",
    "DEMO_SIZE",
    "PROMOTION",
    "ROLE",
    "Cast",
    "Phase",
    "PlantedAchievement",
    "Scenario",
    "demo_scenario",
]

DEMO_SIZE: Final = 240
DEMO_SEED: Final = 2026


@dataclass(frozen=True)
class Scenario:
    """The company, its autumn in phases, and what must have come of it.

    Attributes:
        retracted: achievements that must be no prompt's evidence at the end.
    """

    company: Company
    cast: Cast
    phases: tuple[Phase, ...]
    retracted: frozenset[AchievementId]

    @property
    def expected(self) -> Expected:
        """Return how everything must stand at the end."""
        return self.phases[-1].expected

    @property
    def expected_dead_letters(self) -> Mapping[Feed, int]:
        """Return how many records end as dead letters, by feed."""
        total: Counter[Feed] = Counter()
        for phase in self.phases:
            total.update(phase.dead_letters)
        return total

    def records(self) -> Iterator[FeedRecord]:
        """Yield everything that is fed, in order."""
        for phase in self.phases:
            yield from phase.records


def demo_scenario(size: int = DEMO_SIZE, seed: int = DEMO_SEED) -> Scenario:
    """Return the demo's story.

    Raises:
        ValueError: the company is too small for all parts to be cast; `DEMO_SIZE` is not.
    """
    company = Company(size, seed)
    cast = cast_company(company)
    story = Story(company)
    _history(story, cast)
    _promotion_opens(story)
    _under_way(story, cast)
    _role_opens(story)
    _both_open(story, cast)
    _role_closes(story, cast)
    phases = tuple(story.phases)
    retracted = {
        AchievementId(record.id.removesuffix("-retracted"))
        for phase in phases
        for record in phase.records
        if record.type == "achievement.retracted"
    }
    return Scenario(company, cast, phases, frozenset(retracted))


def _history(story: Story, cast: Cast) -> None:
    company = story.company
    story.add(org_units(company))
    for index in range(company.size):
        if employee_id(index) != cast.hired_late.employee_id:
            story.hires(index)
    for index in range(company.size):
        story.ties(index)
    first_told = replace(cast.corrected, title="Rebuilt settlement for the whole company")
    story.records(first_told, _PLANTED_ON, said_at=utc(2026, 8, 20, 10))
    story.records(cast.retracted, _PLANTED_ON, said_at=utc(2026, 8, 20, 11))
    story.add(achievements(company))
    story.knows_endorsements(endorsements(company), _past_endorsements(company))
    story.endorses(cast.endorsed_before_the_cycle, utc(2026, 8, 28, 10))
    story.delays_and_repeats(late_percent=3, twice_percent=2)
    story.garbles(garbled_records())
    story.ticks(utc(2026, 9, 1, 18))
    story.end_phase(
        "history",
        f"{company.size} people, their org chart, their sponsors and mentors, and a year of achievements come in, some "
        "twice, some late, some garbled; one sponsor already speaks for a cycle that nobody has announced yet.",
    )


def _promotion_opens(story: Story) -> None:
    story.ticks(utc(2026, 9, 2, 9))
    story.announces(PROMOTION_CYCLE, utc(2026, 9, 2, 10))
    story.goes_on(utc(2026, 9, 3), 40)
    story.ticks(utc(2026, 9, 7, 9))
    story.end_phase(
        "promotion opens",
        "The autumn promotion cycle is announced for two divisions, levels 2 to 5, and opens on 7 September: every "
        "sponsor of somebody in scope is asked to speak for them, and whoever has no sponsor shows up as a gap.",
    )


def _under_way(story: Story, cast: Cast) -> None:
    story.ticks(utc(2026, 9, 14, 8))
    for number, key in enumerate(cast.endorsed_early):
        story.endorses(key, utc(2026, 9, 8, 9) + timedelta(hours=21 * number))
    story.endorses(cast.endorsed_then_moved, utc(2026, 9, 10, 11))
    story.endorses(cast.endorsed_by_one_who_then_leaves, utc(2026, 9, 10, 15))
    story.endorses(cast.endorsed_and_taken_back, utc(2026, 9, 11, 9))
    story.endorses(cast.endorsed_in_haste, utc(2026, 9, 14, 9))
    story.takes_back(cast.endorsed_in_haste, utc(2026, 9, 15, 9))
    story.endorses(cast.endorsed_by_their_mentor, utc(2026, 9, 15, 9))
    story.declines(cast.declined, utc(2026, 9, 15, 10))
    story.declines(cast.declined_by_one_of_two, utc(2026, 9, 15, 11))
    story.snoozes(cast.snoozed, utc(2026, 9, 15, 12), until=utc(2026, 10, 19, 7))
    story.leaves(cast.sponsor_who_leaves, utc(2026, 9, 16))
    story.corrects(cast.corrected, _PLANTED_ON, said_at=utc(2026, 9, 14, 13))
    story.retracts(cast.retracted, _PLANTED_ON, said_at=utc(2026, 9, 14, 14))
    story.records(cast.late_and_strong, date(2026, 8, 17), said_at=utc(2026, 9, 15, 15))
    story.hires(_number(cast.hired_late.employee_id), known_late=True)
    story.moves(cast.moved_out.employee_id, OTHER_DIVISION, utc(2026, 9, 16))
    story.rises(cast.promoted_out.employee_id, date(2026, 9, 16))
    story.leaves(cast.left.employee_id, utc(2026, 9, 16))
    story.becomes_sponsor(cast.mentor_turned_sponsor, utc(2026, 9, 16, 9))
    story.goes_on(utc(2026, 9, 8), 80)
    story.delays_and_repeats(late_percent=0, twice_percent=10)
    story.ticks(utc(2026, 9, 18, 8))
    story.end_phase(
        "under way",
        "Sponsors endorse, decline and put off; one leaves the company in mid-cycle; evidence is corrected, retracted, "
        "or comes late; somebody unknown so far is hired; others move, rise and go; a mentor becomes a sponsor.",
    )


def _role_opens(story: Story) -> None:
    story.ticks(utc(2026, 9, 21, 8))
    story.announces(ROLE_CYCLE, utc(2026, 9, 21, 9))
    story.goes_on(utc(2026, 9, 18), 40)
    story.ticks(utc(2026, 9, 23, 8))
    story.end_phase(
        "role opens",
        "While promotions are under way, service lead roles are offered to the third division and to one department "
        "that is in both cycles: a second round of prompts and gaps.",
    )


def _both_open(story: Story, cast: Cast) -> None:
    story.ticks(utc(2026, 9, 24, 8))
    for number, key in enumerate(cast.endorsed_later):
        story.endorses(key, utc(2026, 9, 24, 9) + timedelta(hours=21 * number))
    for key in cast.endorsed_for_the_role:
        story.endorses(key, utc(2026, 9, 25, 9))
    story.endorses_in_general(cast.endorsed_in_general, utc(2026, 9, 28, 9))
    story.takes_back(cast.endorsed_and_taken_back, utc(2026, 9, 28, 10))
    story.declines(cast.declined_for_the_role, utc(2026, 9, 28, 11))
    story.leaves(cast.endorsed_by_one_who_then_leaves.sponsor_id, utc(2026, 9, 29))
    story.ends_relationship(cast.relationship_ended, utc(2026, 9, 29, 9))
    story.moves(cast.endorsed_then_moved.employee_id, OTHER_DIVISION, utc(2026, 9, 29))
    story.moves(cast.moved_in.employee_id, PROMOTED_DIVISIONS[0], utc(2026, 9, 29))
    story.announces(PROMOTION_CYCLE_AMENDED, utc(2026, 9, 30, 9))
    story.goes_on(utc(2026, 9, 22), 60)
    story.delays_and_repeats(late_percent=0, twice_percent=10)
    story.ticks(utc(2026, 10, 2, 8))
    story.end_phase(
        "both open",
        "One sponsor speaks in general and is heard in both cycles; others speak, step back or leave; one protégé "
        "moves into scope; and the promotion cycle gets three more weeks.",
    )


def _role_closes(story: Story, cast: Cast) -> None:
    story.ticks(utc(2026, 10, 5, 8))
    for number, key in enumerate(cast.endorsed_last):
        story.endorses(key, utc(2026, 10, 5, 9) + timedelta(hours=21 * number))
    story.closes(ROLE, utc(2026, 10, 7, 16))
    story.goes_on(utc(2026, 10, 5), 40)  # after the evidence window: none of it is evidence
    story.ticks(utc(2026, 10, 12, 8))
    story.end_phase(
        "role closes",
        "The lead roles are filled early, so what was not answered for them is asked no more; promotions, past the "
        "end first announced, are still open.",
    )


_PLANTED_ON: Final = date(2026, 8, 19)


def _past_endorsements(company: Company) -> Iterator[EndorsedFact]:
    for index in range(company.size):
        past = past_endorsement(company, index)
        if past:
            yield EndorsedFact(past.endorsement_id, employee_id(index), employee_id(past.sponsor), None, past.given_at)


def _number(employee: str) -> int:
    return int(employee.removeprefix("E")) - 1
