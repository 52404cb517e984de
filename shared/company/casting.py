"""Chooses who in the company plays which part in the demo's story, so that no two parts get in each other's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.company.cycles import OTHER_DIVISION, PROMOTION, PROMOTION_CYCLE, ROLE, ROLE_CYCLE, PlannedCycle
from shared.company.draws import Draws
from shared.company.population import Company, Person, employee_id
from shared.company.truth import PromptKey
from shared.contracts.ids import AchievementId, CycleId, EmployeeId


@dataclass(frozen=True)
class PlantedAchievement:
    """An achievement whose fate as evidence is known, and the prompt it is (or was) evidence for."""

    achievement_id: AchievementId
    title: str
    prompt: PromptKey


@dataclass(frozen=True)
class Cast:
    """Who plays which part; a part is named by what becomes of it.

    A `PromptKey` names the protégé and the sponsor, and the cycle in which it happens.
    """

    endorsed_before_the_cycle: PromptKey
    endorsed_early: tuple[PromptKey, ...]
    endorsed_later: tuple[PromptKey, ...]
    endorsed_last: tuple[PromptKey, ...]
    endorsed_for_the_role: tuple[PromptKey, ...]
    endorsed_in_general: PromptKey
    endorsed_by_their_mentor: PromptKey
    endorsed_then_moved: PromptKey
    endorsed_by_one_who_then_leaves: PromptKey
    endorsed_in_haste: PromptKey
    endorsed_and_taken_back: PromptKey
    declined: PromptKey
    declined_by_one_of_two: PromptKey
    declined_for_the_role: PromptKey
    snoozed: PromptKey
    sponsor_who_leaves: EmployeeId
    hired_late: PromptKey
    moved_out: PromptKey
    moved_in: PromptKey
    promoted_out: PromptKey
    left: PromptKey
    relationship_ended: PromptKey
    mentor_turned_sponsor: PromptKey
    corrected: PlantedAchievement
    retracted: PlantedAchievement
    late_and_strong: PlantedAchievement


def cast_company(company: Company) -> Cast:
    """Return the cast.

    Raises:
        ValueError: the company has too few people for some part.
    """
    casting = _Casting(company)
    one, two = casting.with_sponsors(1), casting.with_sponsors(2)
    promotion, role = _in(PROMOTION_CYCLE), _in(ROLE_CYCLE)

    # Those who leave come first, for all they sponsor are then bound to their part.
    leaver = casting.a_sponsor_to_lose()
    heard_and_gone = casting.key(
        PROMOTION, lambda who: promotion(who) and two(who) and casting.is_lead(who.sponsors[0])
    )
    casting.bind_all_of(heard_and_gone.sponsor_id)
    unseen = casting.key(PROMOTION, lambda who: promotion(who) and one(who) and who.is_tied_to_nobody)
    left = casting.key(PROMOTION, lambda who: promotion(who) and one(who) and who.is_tied_to_nobody)

    both = casting.key(PROMOTION, lambda who: promotion(who) and role(who) and one(who))
    by_one_of_two = casting.key(PROMOTION, lambda who: promotion(who) and two(who))
    moved_in = casting.key(
        PROMOTION, lambda who: one(who) and OTHER_DIVISION in who.unit_path and who.would_be_in_scope(PROMOTION_CYCLE)
    )
    by_mentor = casting.mentor_key(promotion)
    turned_sponsor = casting.mentor_key(promotion)
    promotion_only = casting.keys(6, PROMOTION, lambda who: promotion(who) and not role(who) and one(who))
    promoted_out = casting.key(PROMOTION, lambda who: promotion(who) and one(who) and who.person.level == 5)
    role_only = casting.keys(4, ROLE, lambda who: role(who) and not promotion(who) and one(who))
    plain = casting.keys(15, PROMOTION, lambda who: promotion(who) and (one(who) or two(who)))
    return Cast(
        endorsed_before_the_cycle=plain[0],
        endorsed_early=plain[1:6],
        endorsed_later=plain[6:9],
        endorsed_last=plain[9:11],
        endorsed_for_the_role=role_only[:3],
        endorsed_in_general=both,
        endorsed_by_their_mentor=by_mentor,
        endorsed_then_moved=promotion_only[0],
        endorsed_by_one_who_then_leaves=heard_and_gone,
        endorsed_in_haste=plain[11],
        endorsed_and_taken_back=promotion_only[1],
        declined=promotion_only[2],
        declined_by_one_of_two=by_one_of_two,
        declined_for_the_role=role_only[3],
        snoozed=plain[12],
        sponsor_who_leaves=leaver,
        hired_late=unseen,
        moved_out=promotion_only[3],
        moved_in=moved_in,
        promoted_out=promoted_out,
        left=left,
        relationship_ended=promotion_only[4],
        mentor_turned_sponsor=turned_sponsor,
        corrected=PlantedAchievement(AchievementId("planted-corrected"), "Rebuilt settlement in Saltmarsh", plain[13]),
        retracted=PlantedAchievement(AchievementId("planted-retracted"), "Won the Tidegate tender", plain[14]),
        late_and_strong=PlantedAchievement(
            AchievementId("planted-late"), "Led the rescue of the Ferryman migration", promotion_only[5]
        ),
    )


@dataclass(frozen=True)
class _Candidate:
    person: Person
    unit_path: tuple[str, ...]
    sponsors: tuple[EmployeeId, ...]
    mentors: tuple[EmployeeId, ...]
    is_tied_to_nobody: bool

    def is_in_scope(self, cycle: PlannedCycle) -> bool:
        return not cycle.fact.unit_ids.isdisjoint(self.unit_path) and self.would_be_in_scope(cycle)

    def would_be_in_scope(self, cycle: PlannedCycle) -> bool:
        """Say whether level and time in level fit, wherever they sit."""
        since, opens = self.person.level_since, cycle.fact.opens_at
        months = (opens.year - since.year) * 12 + opens.month - since.month  # `since` is the first of a month
        return self.person.level in cycle.fact.levels and months >= cycle.fact.min_months_in_level


_Wanted = Callable[[_Candidate], bool]


def _in(cycle: PlannedCycle) -> _Wanted:
    return lambda who: who.is_in_scope(cycle)


class _Casting:
    """The people not yet cast, in an order that mixes the company."""

    def __init__(self, company: Company) -> None:
        ties = {index: company.ties(index) for index in range(company.size)}
        tied_to = {tie.other for of_one in ties.values() for tie in of_one}
        draws = Draws(company.seed, 0xCA57)
        order = sorted(range(company.size), key=lambda index: (draws.below(1 << 32), index))
        self._free = [
            _Candidate(
                company.person(index),
                company.unit_path(company.unit_of(index)),
                tuple(employee_id(tie.other) for tie in ties[index] if tie.kind == "sponsor" and not tie.ended_on),
                tuple(employee_id(tie.other) for tie in ties[index] if tie.kind == "mentor"),
                index not in tied_to,
            )
            for index in order
        ]
        self._levels = {who.person.employee_id: who.person.level for who in self._free}

    def with_sponsors(self, count: int) -> _Wanted:
        return lambda who: len(who.sponsors) == count

    def is_lead(self, sponsor: EmployeeId) -> bool:
        """Say whether they lead a team or a department and are above every cycle's levels."""
        return self._levels[sponsor] in (6, 7)

    def key(self, cycle_id: CycleId, wanted: _Wanted) -> PromptKey:
        return self.keys(1, cycle_id, wanted)[0]

    def keys(self, count: int, cycle_id: CycleId, wanted: _Wanted) -> tuple[PromptKey, ...]:
        """Return `count` parts for people who are as wanted, with the first of their sponsors each."""
        found = [who for who in self._free if wanted(who)][:count]
        if len(found) < count:
            raise ValueError(f"the company has {len(found)} people for a part that needs {count}: make it larger")
        self._bind(found)
        return tuple(PromptKey(cycle_id, who.person.employee_id, who.sponsors[0]) for who in found)

    def mentor_key(self, wanted: _Wanted) -> PromptKey:
        """Return a part for somebody without a sponsor and a mentor of theirs with influence."""
        for who in self._free:
            mentors = [mentor for mentor in who.mentors if self._levels[mentor] >= who.person.level + 2]
            if wanted(who) and not who.sponsors and mentors:
                self._bind([who])
                return PromptKey(PROMOTION, who.person.employee_id, mentors[0])
        raise ValueError("nobody without a sponsor has a mentor with influence: make the company larger")

    def a_sponsor_to_lose(self) -> EmployeeId:
        """Return a lead or department head in no cycle's scope on whom two to five people in scope depend alone."""
        depend = Counter(
            who.sponsors[0] for who in self._free if len(who.sponsors) == 1 and who.is_in_scope(PROMOTION_CYCLE)
        )
        for sponsor, count in depend.items():
            if 2 <= count <= 5 and self.is_lead(sponsor):
                self.bind_all_of(sponsor)
                return sponsor
        raise ValueError("nobody sponsors two to five people in scope alone: make the company larger")

    def bind_all_of(self, senior: EmployeeId) -> None:
        """Cast nobody else who is sponsored or mentored by `senior`."""
        self._bind(who for who in self._free if senior in who.sponsors + who.mentors)

    def _bind(self, cast: Iterable[_Candidate]) -> None:
        taken = {who.person.index for who in cast}
        self._free = [who for who in self._free if who.person.index not in taken]
