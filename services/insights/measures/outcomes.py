"""What became of people: promoted or not, with a sponsor and without; mentors who became sponsors; unseen work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from services.insights.measures.coverage import in_scope_at_opening
from services.insights.measures.facts import CycleFacts, Facts
from services.insights.measures.intervals import newcombe, wilson
from services.insights.measures.measure import Measure, Value, share

PROMOTED: Final = Measure(
    name="promoted",
    title="Promoted, with a sponsor and without",
    unit="share",
    definition="Of the employees in scope of a promotion cycle when it opened, those who have a higher level than "
    "then, by 180 days after its end (or now, if that is earlier). Next to each other: those who had an active "
    "sponsor when it opened, and those who had none; each with its 95 % interval (Wilson).",
    pitfalls=(
        "IT IS NOT CAUSE. People whom others see a future for get sponsors; they might have been promoted anyway. "
        "What it shows is that the two go together, or don't.",
        "Sponsor or not is looked at when the cycle opens, so that nobody is counted as sponsored because they lived "
        "to get a sponsor later.",
        "Whoever left before is counted as not promoted.",
        "Levels differ between the two groups: promotions are commoner in some, and sponsors too.",
        "Shortly after a cycle the HRIS may not have its promotions yet: it rises for half a year.",
    ),
)
PROMOTION_DIFFERENCE: Final = Measure(
    name="promotion_difference",
    title="Difference in promotions",
    unit="share",
    definition="The share promoted of those with a sponsor less that of those without, in the same scope, with its "
    "95 % interval (Newcombe 1998, method 10). Where the interval holds 0, chance alone may explain it.",
    pitfalls=("IT IS NOT CAUSE: see `promoted`.", "Of twenty comparisons without any difference, one shows one."),
)
MENTOR_TO_SPONSOR: Final = Measure(
    name="mentor_to_sponsor",
    title="Mentors who became sponsors",
    unit="share",
    definition="Pairs of employee and mentor in which the mentor later became the employee's sponsor, of all such "
    "pairs that ever were; half of those within the time in `mentor_to_sponsor_seconds`.",
    pitfalls=(
        "Mentors are not there to become sponsors; it is a way to a sponsor, not a mark for mentors.",
        "New mentors have had less time: where many begin it falls.",
    ),
)
MENTOR_TO_SPONSOR_TIME: Final = Measure(
    name="mentor_to_sponsor_seconds",
    title="From mentor to sponsor, half of them",
    unit="seconds",
    definition="Time from the start of the mentoring to the start of the sponsorship: the median over those pairs.",
    pitfalls=("Only of those who made the step.",),
)
UNSEEN: Final = Measure(
    name="achievements_unseen",
    title="Achievements nobody saw",
    unit="share",
    definition="Achievements of the last 365 days whose source names no witness, of all of them (retracted ones left "
    "out).",
    pitfalls=(
        "Many tools name no witnesses: it tells of tools as much as of people. Compare a source with itself.",
        "What people add themselves names none, and what they have hidden from sponsors is counted all the same.",
        "That somebody is named as a witness does not say that they remember.",
    ),
)

ADVOCACY: Final = "advocacy"
WITH: Final = "with a sponsor"
WITHOUT: Final = "without a sponsor"
FOLLOWED: Final = timedelta(days=180)


def promoted(facts: Facts, k: int) -> list[Value]:
    """Return the share promoted with a sponsor and without, and the difference, of each promotion cycle that has ended.

    Both are hidden when one has fewer than k people, for together they are the scope.
    """
    values: list[Value] = []
    for cycle in facts.cycles:
        if cycle.kind == "promotion" and cycle.status == "closed":
            values += _promoted(facts, cycle, k)
    return values


@dataclass(frozen=True, slots=True)
class Advocated:
    """Somebody in scope of a cycle when it opened: with a sponsor then or without, and promoted or not."""

    employee_id: str
    group: str
    promoted: bool


def advocated(facts: Facts, cycle: CycleFacts, until: datetime) -> Iterator[Advocated]:
    """Yield everybody in scope of a cycle when it opened, with whether they have risen by `until`."""
    sponsored = facts.sponsored_at(cycle.opens_at)
    for employee_id in in_scope_at_opening(facts, cycle):
        person = facts.people[employee_id]
        before, after = person.at(cycle.opens_at), person.at(until)
        rose = bool(before and after and after.active and after.level > before.level)
        yield Advocated(employee_id, WITH if employee_id in sponsored else WITHOUT, rose)


def _promoted(facts: Facts, cycle: CycleFacts, k: int) -> list[Value]:
    part, whole = {WITH: 0, WITHOUT: 0}, {WITH: 0, WITHOUT: 0}
    for one in advocated(facts, cycle, min(facts.now, cycle.ends_at + FOLLOWED)):
        whole[one.group] += 1
        part[one.group] += one.promoted
    id_ = cycle.cycle_id
    if min(whole.values()) < k:
        return [
            *(Value(PROMOTED.name, id_, ADVOCACY, group, place=n, hidden=True) for n, group in enumerate(whole)),
            Value(PROMOTION_DIFFERENCE.name, id_, hidden=True),
        ]
    low, high = newcombe(part[WITH], whole[WITH], part[WITHOUT], whole[WITHOUT])
    difference = part[WITH] / whole[WITH] - part[WITHOUT] / whole[WITHOUT]
    return [
        *(
            Value(
                PROMOTED.name,
                id_,
                ADVOCACY,
                group,
                place=n,
                part=part[group],
                whole=whole[group],
                value=share(part[group], whole[group]),
                low=wilson(part[group], whole[group])[0],
                high=wilson(part[group], whole[group])[1],
            )
            for n, group in enumerate(whole)
        ),
        Value(PROMOTION_DIFFERENCE.name, id_, whole=sum(whole.values()), value=difference, low=low, high=high),
    ]


def mentor_to_sponsor(facts: Facts) -> list[Value]:
    """Return how many mentors became sponsors, and how long that took."""
    mentored: dict[tuple[str, str], datetime] = {}
    for tie in facts.mentors:
        if tie.begins <= facts.now:
            pair = (tie.employee_id, tie.other_id)
            mentored[pair] = min(tie.begins, mentored.get(pair, tie.begins))
    times: dict[tuple[str, str], float] = {}
    for tie in facts.sponsors:
        began = mentored.get((tie.employee_id, tie.other_id))
        if began is not None and began < tie.begins <= facts.now:
            times[(tie.employee_id, tie.other_id)] = (tie.begins - began).total_seconds()
    n, of = len(times), len(mentored)
    return [
        Value(MENTOR_TO_SPONSOR.name, part=n, whole=of, value=share(n, of)),
        Value(MENTOR_TO_SPONSOR_TIME.name, whole=n, value=median(times.values()) if times else None),
    ]


def achievements_unseen(facts: Facts) -> list[Value]:
    """Return the share of the year's achievements that nobody is named to have seen."""
    done, unseen = facts.achievements
    return [Value(UNSEEN.name, part=unseen, whole=done, value=share(unseen, done))]
