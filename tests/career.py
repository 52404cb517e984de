"""Builders of career events, and `Log`: one partition of `career-events`, read by the correlator's rules in memory.

The company of the builders is small: the employee is E1 (level 5, in acme/eng/pay, manager M1), the sponsor S1, the
cycle `spring`, which is open in March 2026 and looks at the year before. Each event that is built is newer than the one
before it, unless `at` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from services.correlator.facts import tell
from services.correlator.policy import Policy
from services.correlator.rules import Decision, Output, concerns_everybody, decide, reconsider
from services.correlator.state import (
    Calendar,
    EmployeeState,
    decode_calendar,
    decode_employee,
    encode_calendar,
    encode_employee,
)
from shared.contracts.base import utc
from shared.contracts.career import (
    Achievement,
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
    CareerEvent,
    ClockTicked,
    Cycle,
    CycleAmended,
    CycleCancelled,
    CycleClosed,
    CycleOpened,
    EmployeeChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeMoved,
    EmployeePromoted,
    EndorsementGiven,
    EndorsementWithdrawn,
    Introduction,
    Profile,
    PromptDeclined,
    PromptDeclineWithdrawn,
    PromptSnoozed,
    RelationshipEnded,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
)
from shared.contracts.ids import EmployeeId, EventId
from shared.contracts.said import (
    Evidence,
    GapOpened,
    GapUpdated,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    SuggestedSponsor,
    write,
)

OPENS, CLOSES = utc(2026, 3, 1), utc(2026, 3, 31)
IN_CYCLE = utc(2026, 3, 10)
"""A time at which the cycle is open."""

_Built = TypeVar("_Built")
_number = count(1)
_BUILT_FROM = utc(2025, 6, 1)


def _build(of: type[_Built], fields: dict[str, Any], given: dict[str, Any]) -> _Built:
    n = next(_number)
    common = {"id": EventId(f"event-{n:06d}"), "at": _BUILT_FROM + timedelta(seconds=n), "source": "test"}
    return of(**common | fields | given)


def _profile(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the profile's fields out of `fields`, and return `fields` with the profile instead."""
    profile = {
        "name": "Mina Okafor",
        "level": 5,
        "level_since": date(2024, 1, 1),
        "unit_path": ("acme", "eng", "pay"),
        "manager_id": "M1",
    }
    rest = dict(fields)
    profile |= {name: rest.pop(name) for name in list(fields) if name in Profile.model_fields}
    return rest | {"profile": Profile(**profile)}


_revision = count(1)


def _stated(of: type[_Built], effective_at: datetime, given: dict[str, Any]) -> _Built:
    fields = {"employee_id": "E1", "effective_at": effective_at, "revision": next(_revision)}
    return _build(of, fields, _profile(given))


def an_employee_joined(**given: Any) -> EmployeeJoined:
    return _stated(EmployeeJoined, utc(2024, 1, 1), given)


def an_employee_moved(**given: Any) -> EmployeeMoved:
    return _stated(EmployeeMoved, IN_CYCLE, given)


def an_employee_promoted(**given: Any) -> EmployeePromoted:
    return _stated(EmployeePromoted, IN_CYCLE, given)


def an_employee_changed(**given: Any) -> EmployeeChanged:
    return _stated(EmployeeChanged, utc(2024, 1, 1), given)


def an_employee_left(**given: Any) -> EmployeeLeft:
    return _stated(EmployeeLeft, IN_CYCLE, {"active": False} | given)


def a_relationship(**given: Any) -> RelationshipStarted:
    """`other_id` becomes the employee's sponsor, or what `kind` says."""
    other = given.get("other_id", "S1")
    kind = given.get("kind", "sponsor")
    fields = {
        "employee_id": "E1",
        "relationship_id": f"{kind}-{other}",
        "kind": kind,
        "other_id": other,
        "started_at": utc(2025, 1, 1),
    }
    return _build(RelationshipStarted, fields, given)


def a_relationship_ended(**given: Any) -> RelationshipEnded:
    other = given.get("other_id", "S1")
    kind = given.get("kind", "sponsor")
    fields = {
        "employee_id": "E1",
        "relationship_id": f"{kind}-{other}",
        "kind": kind,
        "other_id": other,
        "ended_at": IN_CYCLE,
    }
    return _build(RelationshipEnded, fields, given)


def a_tied_person(person_id: str = "S1", **given: Any) -> TiedPersonChanged:
    """Describe somebody tied to the employee, level 8, known as hris:<id>."""
    person: dict[str, Any] = {
        "person_id": person_id,
        "name": f"Person {person_id}",
        "level": 8,
        "unit_path": ("acme",),
        "refs": (f"hris:{person_id}",),
    }
    rest = dict(given)
    person |= {name: rest.pop(name) for name in given if name in TiedPerson.model_fields}
    fields = {"employee_id": "E1", "revision": next(_revision)}
    return _build(TiedPersonChanged, fields, rest | {"person": TiedPerson(**person)})


def an_introduction(person_id: str, level: int = 8) -> Introduction:
    return Introduction(person_id=EmployeeId(person_id), name=f"Person {person_id}", level=level)


def _achieved(of: type[_Built], given: dict[str, Any]) -> _Built:
    done: dict[str, Any] = {
        "achievement_id": "A1",
        "title": "Checkout in half the time",
        "outcome": "From 900 ms to 430 ms",
        "impact": 1,
        "occurred_on": date(2026, 1, 15),
        "competencies": ("delivery",),
    }
    rest = dict(given)
    done |= {name: rest.pop(name) for name in given if name in Achievement.model_fields}
    return _build(of, {"employee_id": "E1", "achievement": Achievement(**done)}, rest)


def an_achievement(achievement_id: str = "A1", **given: Any) -> AchievementRecorded:
    return _achieved(AchievementRecorded, given | {"achievement_id": achievement_id})


def a_correction(achievement_id: str = "A1", **given: Any) -> AchievementCorrected:
    return _achieved(AchievementCorrected, given | {"achievement_id": achievement_id})


def a_retraction(achievement_id: str = "A1", **given: Any) -> AchievementRetracted:
    return _build(AchievementRetracted, {"employee_id": "E1", "achievement_id": achievement_id}, given)


def a_hiding(achievement_id: str = "A1", **given: Any) -> AchievementHidden:
    """The employee does not want it used."""
    return _build(AchievementHidden, {"employee_id": "E1", "achievement_id": achievement_id}, given)


def a_showing(achievement_id: str = "A1", **given: Any) -> AchievementShown:
    """The employee lets it be used again."""
    return _build(AchievementShown, {"employee_id": "E1", "achievement_id": achievement_id}, given)


def an_endorsement(endorsement_id: str = "N1", **given: Any) -> EndorsementGiven:
    """S1 speaks for the employee in the cycle `spring`; in general with `cycle_id=None`."""
    fields = {
        "employee_id": "E1",
        "endorsement_id": endorsement_id,
        "sponsor_id": "S1",
        "cycle_id": "spring",
        "given_at": IN_CYCLE,
        "statement": "Ready for more.",
    }
    return _build(EndorsementGiven, fields, given)


def an_endorsement_withdrawn(endorsement_id: str = "N1", **given: Any) -> EndorsementWithdrawn:
    fields = {"employee_id": "E1", "endorsement_id": endorsement_id, "sponsor_id": "S1"}
    return _build(EndorsementWithdrawn, fields, given)


def a_refusal(**given: Any) -> PromptDeclined:
    return _build(PromptDeclined, {"employee_id": "E1", "cycle_id": "spring", "sponsor_id": "S1"}, given)


def a_refusal_taken_back(**given: Any) -> PromptDeclineWithdrawn:
    return _build(PromptDeclineWithdrawn, {"employee_id": "E1", "cycle_id": "spring", "sponsor_id": "S1"}, given)


def a_snooze(**given: Any) -> PromptSnoozed:
    fields = {"employee_id": "E1", "cycle_id": "spring", "sponsor_id": "S1", "until": utc(2026, 3, 20)}
    return _build(PromptSnoozed, fields, given)


def _stated_cycle(of: type[_Built], given: dict[str, Any]) -> _Built:
    cycle: dict[str, Any] = {
        "cycle_id": "spring",
        "kind": "promotion",
        "title": "Spring promotions",
        "unit_ids": ("eng",),
        "levels": (5,),
        "competencies": ("delivery", "leadership"),
        "evidence_from": date(2025, 3, 1),
        "evidence_to": date(2026, 2, 28),
        "opens_at": OPENS,
        "closes_at": CLOSES,
    }
    rest = dict(given)
    cycle |= {name: rest.pop(name) for name in given if name in Cycle.model_fields}
    return _build(of, {}, rest | {"cycle": Cycle(**cycle)})


def a_cycle(**given: Any) -> CycleOpened:
    return _stated_cycle(CycleOpened, given)


def an_amendment(**given: Any) -> CycleAmended:
    """The whole cycle again, changed."""
    return _stated_cycle(CycleAmended, given)


def a_closing(**given: Any) -> CycleClosed:
    return _build(CycleClosed, {"cycle_id": "spring", "closed_at": IN_CYCLE}, given)


def a_cancellation(**given: Any) -> CycleCancelled:
    return _build(CycleCancelled, {"cycle_id": "spring"}, given)


def a_tick(now: datetime = IN_CYCLE, **given: Any) -> ClockTicked:
    return _build(ClockTicked, {"now": now}, given)


def days_after(moment: datetime, days: int) -> datetime:
    return moment + timedelta(days=days)


class Log:
    """One partition of `career-events`, read by the rules as `services.correlator.handlers` does it.

    Args:
        policy: the numbers behind the rules.
        through_bytes: keep the state encoded, as the service does, and read it for each event.
    """

    def __init__(self, *events: CareerEvent, policy: Policy | None = None, through_bytes: bool = False) -> None:
        self.policy = policy or Policy()
        self.through_bytes = through_bytes
        self.calendar = Calendar()
        self.employees: dict[str, EmployeeState] = {}
        self.outputs: list[Output] = []
        self.feed(*events)

    def feed(self, *events: CareerEvent) -> list[Output]:
        """Take the events in, and return what is said because of them."""
        before = len(self.outputs)
        for event in events:
            self._take(event)
            if self.through_bytes:
                self.calendar = decode_calendar(encode_calendar(self.calendar))
                self.employees = {k: decode_employee(encode_employee(e)) for k, e in self.employees.items()}
        return self.outputs[before:]

    def prompt(self, sponsor: str = "S1", employee: str = "E1", cycle: str = "spring") -> Output | None:
        """Return the last that was said of a prompt."""
        return self._last(cycle_id=cycle, employee_id=employee, sponsor_id=sponsor)

    def gap(self, employee: str = "E1", cycle: str = "spring") -> Output | None:
        """Return the last that was said of a gap."""
        return self._last(cycle_id=cycle, employee_id=employee, sponsor_id=None)

    def stands(self, sponsor: str = "S1", employee: str = "E1", cycle: str = "spring") -> bool:
        """Tell whether the sponsor is asked now."""
        return isinstance(self.prompt(sponsor, employee, cycle), PromptOpened | PromptUpdated)

    def evidence(self, sponsor: str = "S1", employee: str = "E1", cycle: str = "spring") -> list[Evidence]:
        """Return the evidence of a prompt that stands."""
        prompt = self.prompt(sponsor, employee, cycle)
        assert isinstance(prompt, PromptOpened | PromptUpdated), prompt
        return list(prompt.body.evidence)

    def shown(self, sponsor: str = "S1", employee: str = "E1", cycle: str = "spring") -> list[str]:
        """Return the ids of the evidence of a prompt that stands."""
        return [piece.evidence_id for piece in self.evidence(sponsor, employee, cycle)]

    def suggested(self, employee: str = "E1", cycle: str = "spring") -> list[SuggestedSponsor]:
        """Return the suggestions of a gap that stands."""
        gap = self.gap(employee, cycle)
        assert isinstance(gap, GapOpened | GapUpdated), gap
        return list(gap.suggestions)

    def what_stands(self) -> dict[tuple[str, ...], bytes]:
        """Return what stands, by cycle, employee and sponsor: what is asked, what fulfilled it, who is suggested."""
        standing: dict[tuple[str, ...], bytes] = {}
        for said in self.outputs:
            key = (str(said.cycle_id), str(said.employee_id), str(getattr(said, "sponsor_id", "")))
            match said:
                case PromptOpened() | PromptUpdated():
                    standing[key] = write((said.body, said.sponsor_timezone, said.snoozed_until))
                case PromptFulfilled():
                    standing[key] = said.endorsement_id.encode()
                case GapOpened() | GapUpdated():
                    standing[key] = write(said.suggestions)
                case _:
                    standing.pop(key, None)
        return standing

    def _last(self, **wanted: str | None) -> Output | None:
        for said in reversed(self.outputs):
            if all(getattr(said, name, None) == value for name, value in wanted.items()):
                return said
        return None

    def _take(self, event: CareerEvent) -> None:
        if event.employee_id is not None:
            employee = self.employees.get(event.employee_id) or EmployeeState(event.employee_id)
            self._note(decide(employee, self.calendar, event, self.policy))
            return
        before, self.calendar = self.calendar, tell(self.calendar, event)
        if concerns_everybody(before, self.calendar):
            visited = sorted(self.employees)
        elif self.calendar.now != before.now and self.calendar.now is not None:
            now = self.calendar.now
            visited = sorted(k for k, e in self.employees.items() if e.due_at is not None and e.due_at <= now)
        else:
            visited = []
        for employee_id in visited:
            self._note(reconsider(self.employees[employee_id], self.calendar, event.id, self.policy))

    def _note(self, decision: Decision) -> None:
        self.employees[decision.employee.employee_id] = decision.employee
        self.outputs.extend(decision.outputs)


def a_company(*more: CareerEvent, at: datetime = IN_CYCLE, policy: Policy | None = None) -> Log:
    """A log with an employee, their sponsor, an achievement, the open cycle, and `more`, as it is at `at`.

    What is in it by itself is older than `more`, which was built before it.
    """
    said = days_after(_BUILT_FROM, -1)
    return Log(
        an_employee_joined(at=said, revision=0),
        a_relationship(at=said),
        a_tied_person(at=said, revision=0),
        an_achievement(at=said),
        a_cycle(at=said),
        a_tick(utc(2026, 2, 1)),
        *more,
        a_tick(at),
        policy=policy,
    )


def kinds(outputs: Iterable[Output]) -> list[str]:
    """Return the types of what was said, in order."""
    return [said.type for said in outputs]
