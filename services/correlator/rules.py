"""Decides whether a sponsor is prompted, and whether an employee has a gap. The rule itself is `judge`, below.

What should stand is a function of the facts and the time alone (`judge`, `has_gap`); what is said is the difference to
what was said before (`decide`, `reconsider`). So the order in which facts arrive can't matter for what stands in the
end, and saying nothing is what happens when nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from services.correlator.evidence import Ranked, chosen, shown_of, strength
from services.correlator.facts import learn
from services.correlator.policy import Policy
from services.correlator.standing import (
    ends_at,
    has_left,
    in_scope,
    is_cancelled,
    is_sponsor,
    profile_at,
    standing_endorsements,
    ties_of,
)
from services.correlator.state import (
    Answer,
    AnswerKey,
    Calendar,
    CycleDefinition,
    CycleFact,
    EmployeeState,
    ProfileFrom,
    StandingGap,
    StandingPrompt,
)
from services.correlator.suggestions import suggest
from shared.contracts.career import EmployeeEvent
from shared.contracts.ids import (
    CycleId,
    EmployeeId,
    EventId,
    GapId,
    PromptId,
    Ref,
    UnitId,
    gap_id,
    prompt_id,
    version_event_id,
)
from shared.contracts.outputs import GapClosedBecause, WithdrawnBecause
from shared.contracts.said import (
    GapClosed,
    GapEvent,
    GapOpened,
    GapUpdated,
    Opportunity,
    PromptBody,
    PromptEvent,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    Protege,
    SuggestedSponsor,
    write,
)

Output = PromptEvent | GapEvent
_REACHED_BY: Final = ("email:", "slack:")
"""Schemes of refs by which channels know a sponsor; no other leaves the employee's log."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The sponsor should be asked, for an employee with this profile, until the cycle ends."""

    profile: ProfileFrom
    until: datetime
    timezone: str
    snoozed_until: datetime | None


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """The sponsor has spoken."""

    endorsement_id: str


class NotAsked(msgspec.Struct, frozen=True, gc=False):
    """The sponsor should not be asked, or not any more."""

    reason: WithdrawnBecause


Verdict = Asked | Spoken | NotAsked


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What is known after an event, and what has to be said because of it."""

    employee: EmployeeState
    outputs: tuple[Output, ...]


def decide(employee: EmployeeState, calendar: Calendar, event: EmployeeEvent, policy: Policy) -> Decision:
    """Return what follows from an event in an employee's log. Pure: no clock, no random, no I/O.

    Args:
        employee: what is known of them so far.
        calendar: the cycles and the time, as their partition knows them.
        event: what has become known.
        policy: the numbers behind the rules.
    """
    return reconsider(learn(employee, event), calendar, event.id, policy)


def reconsider(employee: EmployeeState, calendar: Calendar, because_of: EventId, policy: Policy) -> Decision:
    """Return what follows from what is known already: for when the calendar has changed, or the time has come.

    Args:
        employee: what is known of them.
        calendar: the cycles and the time.
        because_of: the id of the event that led here.
        policy: the numbers behind the rules.
    """
    now = calendar.now
    if now is None or not employee.profiles:
        return Decision(employee, ())
    prompts: dict[str, StandingPrompt] = {}
    gaps: dict[str, StandingGap] = {}
    outputs: list[Output] = []
    # Looked up and not computed: a hash a prompt costs as much as the judgement.
    prompt_ids = {(prompt.cycle_id, prompt.sponsor_id): PromptId(pid) for pid, prompt in employee.prompts.items()}
    gap_ids = {gap.cycle_id: GapId(gid) for gid, gap in employee.gaps.items()}
    for cycle_id, cycle in sorted(calendar.cycles.items()):
        if cycle.definition is None:
            continue
        said = _Said(employee.employee_id, cycle_id, now, because_of)
        spoken_for = False
        for sponsor_id in who_may_be_asked(employee, cycle_id):
            verdict = judge(employee, cycle_id, cycle, cycle.definition, sponsor_id, now)
            spoken_for = spoken_for or not isinstance(verdict, NotAsked)
            says: _Prompt | Spoken | NotAsked
            if isinstance(verdict, Asked):
                pieces = chosen(employee, cycle.definition, cycle_id, sponsor_id, policy)
                body = _body(employee, verdict, cycle_id, cycle.definition, sponsor_id, now, pieces)
                timezone = verdict.timezone if verdict.timezone != "UTC" else policy.timezone
                says = _Prompt(body, timezone, verdict.snoozed_until, pieces)
            else:
                says = verdict
            _say_prompt(employee, prompt_ids.get((cycle_id, sponsor_id)), sponsor_id, says, said, prompts, outputs)
        found = has_gap(employee, cycle_id, cycle, cycle.definition, now, policy, spoken_for=spoken_for)
        _say_gap(employee, gap_ids.get(cycle_id), found, said, gaps, outputs)
    changed = msgspec.structs.replace(employee, prompts=prompts, gaps=gaps, due_at=_due_at(employee, calendar, now))
    return Decision(changed, tuple(outputs))


def concerns_everybody(before: Calendar, after: Calendar) -> bool:
    """Tell whether the change of the calendar may change something for any employee: if not, only for those due."""
    if before.now is None or before.cycles != after.cycles:
        return True
    return any(
        before.now < moment <= (after.now or before.now)
        for cycle in after.cycles.values()
        if cycle.definition is not None
        for moment in (cycle.definition.opens_at, ends_at(cycle, cycle.definition))
    )


def judge(
    employee: EmployeeState,
    cycle_id: str,
    cycle: CycleFact,
    definition: CycleDefinition,
    sponsor_id: str,
    now: datetime,
) -> Verdict:
    """Decide whether this sponsor is prompted for this employee in this cycle. This is the rule.

    All is judged as of `now`, or of the cycle's end once that has passed: what happens after a cycle does not change
    how it ended. Speaking counts for good, if it was for somebody in scope and by their sponsor when they spoke.
    """
    if now < definition.opens_at:
        return NotAsked("cycle_closed")
    if is_cancelled(cycle, definition):
        return NotAsked("cycle_cancelled")
    end = ends_at(cycle, definition)
    if (endorsement_id := spoken_by(employee, cycle_id, definition, end, sponsor_id)) is not None:
        return Spoken(endorsement_id)
    if now >= end:
        return NotAsked("cycle_closed")
    profile = profile_at(employee, now)
    if profile is None or not profile.active:
        return NotAsked("employee_left")
    if not in_scope(profile, definition):
        return NotAsked("out_of_scope")
    if not is_sponsor(employee, sponsor_id, now):
        return NotAsked("relationship_ended")
    if has_left(employee, sponsor_id, now):
        return NotAsked("sponsor_left")
    answer = employee.answers.get(AnswerKey(cycle_id, sponsor_id), Answer())
    if answer.is_declined:
        return NotAsked("declined")
    snoozed_until = answer.snoozed[1] if answer.snoozed is not None and answer.snoozed[1] > now else None
    return Asked(profile, end, employee.people[sponsor_id].timezone, snoozed_until)


def has_gap(
    employee: EmployeeState,
    cycle_id: str,
    cycle: CycleFact,
    definition: CycleDefinition,
    now: datetime,
    policy: Policy,
    *,
    spoken_for: bool,
) -> tuple[SuggestedSponsor, ...] | GapClosedBecause:
    """Decide whether nobody speaks for this employee in this cycle: the suggestions where that is so, else why not.

    Args:
        spoken_for: whether a sponsor of theirs is asked, or has spoken. An endorsement for this very cycle by
            somebody who is not their sponsor counts as well: they are spoken for, if by a volunteer.
    """
    if is_cancelled(cycle, definition):
        return "cycle_cancelled"
    end = ends_at(cycle, definition)
    if now < definition.opens_at or now >= end:
        return "cycle_closed"
    profile = profile_at(employee, now)
    if profile is None or not profile.active:
        return "employee_left"
    if not in_scope(profile, definition):
        return "out_of_scope"
    if spoken_for or any(
        for_cycle == cycle_id and given_at <= now for given_at, _, _, for_cycle, _ in standing_endorsements(employee)
    ):
        return "sponsor_found"
    return suggest(employee, profile, definition, cycle_id, now, policy)


def spoken_by(
    employee: EmployeeState, cycle_id: str, cycle: CycleDefinition, end: datetime, sponsor_id: str
) -> str | None:
    """Return the endorsement by which this sponsor has spoken: for this cycle, or a general one while it is open."""
    for given_at, endorsement_id, fact, for_cycle, _ in standing_endorsements(employee):
        if fact.sponsor_id != sponsor_id or given_at > end:
            continue
        if for_cycle != cycle_id and not (for_cycle is None and given_at >= cycle.opens_at):
            continue
        judged_at = max(given_at, cycle.opens_at)
        profile = profile_at(employee, judged_at)
        if profile is not None and in_scope(profile, cycle) and is_sponsor(employee, sponsor_id, judged_at):
            return endorsement_id
    return None


def who_may_be_asked(employee: EmployeeState, cycle_id: str) -> list[str]:
    """Return who is or was a sponsor of theirs, or was asked in this cycle; in a fixed order."""
    sponsors = {tie.other_id for tie in employee.ties.values() if tie.kind == "sponsor"}
    asked = {prompt.sponsor_id for prompt in employee.prompts.values() if prompt.cycle_id == cycle_id}
    return sorted(sponsors | asked)


def _body(
    employee: EmployeeState,
    asked: Asked,
    cycle_id: str,
    cycle: CycleDefinition,
    sponsor_id: str,
    now: datetime,
    pieces: Sequence[Ranked],
) -> PromptBody:
    profile = asked.profile
    ties = [tie.started for tie in ties_of(employee, "sponsor", sponsor_id, now) if tie.started is not None]
    since = min(started for started, _ in ties)
    return PromptBody(
        opportunity=Opportunity(
            cycle_id=CycleId(cycle_id),
            kind=cycle.kind,
            title=cycle.title,
            competencies=cycle.competencies,
            closes_at=asked.until,
        ),
        protege=Protege(
            employee_id=EmployeeId(employee.employee_id),
            name=profile.name,
            level=profile.level,
            unit_id=UnitId(profile.unit_path[-1]) if profile.unit_path else None,
        ),
        sponsor_name=employee.people[sponsor_id].name,
        why=(
            f"You have been {profile.name}'s sponsor since {_month(since.year, since.month)}, and they are among those"
            f" whom “{cycle.title}” is for."
        ),
        evidence=shown_of(employee, cycle, pieces),
    )


@lru_cache(maxsize=2000)  # strftime takes as long as all else that is said in the sentence
def _month(year: int, month: int) -> str:
    return f"{date(year, month, 1):%B %Y}"


# -- saying what has changed ----------------------------------------------------------------------


class _Prompt(msgspec.Struct, frozen=True, gc=False):
    """What an asked sponsor is shown."""

    body: PromptBody
    timezone: str
    snoozed_until: datetime | None
    pieces: Sequence[Ranked]
    """Those of the body, with what they weigh."""


class _Said(msgspec.Struct, frozen=True, gc=False):
    """What all outputs of one cycle and cause have in common."""

    employee_id: str
    cycle_id: str
    at: datetime
    because_of: EventId


def _say_prompt(
    employee: EmployeeState,
    pid: PromptId | None,
    sponsor_id: str,
    says: _Prompt | Spoken | NotAsked,
    said: _Said,
    prompts: dict[str, StandingPrompt],
    outputs: list[Output],
) -> None:
    if pid is None and isinstance(says, NotAsked):
        return  # nothing was asked that could be taken back
    pid = pid or prompt_id(CycleId(said.cycle_id), EmployeeId(said.employee_id), EmployeeId(sponsor_id))
    before = employee.prompts.get(pid)
    status, content = _content(says)
    if before is not None and (before.status, before.content) == (status, content):
        prompts[pid] = before
        return
    version = before.version + 1 if before is not None else 1
    prompts[pid] = StandingPrompt(said.cycle_id, sponsor_id, version, status, content)
    common: dict[str, Any] = {
        "id": version_event_id(pid, version),
        "prompt_id": pid,
        "version": version,
        "sponsor_id": EmployeeId(sponsor_id),
        "cycle_id": CycleId(said.cycle_id),
        "employee_id": EmployeeId(said.employee_id),
        "at": said.at,
        "because_of": said.because_of,
    }
    match says:
        case _Prompt(body, timezone, snoozed_until, pieces):
            sponsor = employee.people[sponsor_id]
            common |= {
                "sponsor_timezone": timezone,
                "sponsor_locale": sponsor.locale,
                "sponsor_refs": tuple([Ref(ref) for ref in sponsor.refs if ref.startswith(_REACHED_BY)]),
                "snoozed_until": snoozed_until,
            }
            if before is not None and before.status == "open":
                outputs.append(PromptUpdated(**common, body=body))
            else:
                outputs.append(PromptOpened(**common, evidence_strength=strength(pieces), body=body))
        case Spoken(endorsement_id):
            outputs.append(PromptFulfilled(**common, endorsement_id=endorsement_id))
        case NotAsked(reason):
            outputs.append(PromptWithdrawn(**common, reason=reason))


def _content(says: _Prompt | Spoken | NotAsked) -> tuple[Literal["open", "fulfilled", "withdrawn"], bytes]:
    """Return the status and what tells one content from another; why something is not asked is told once."""
    match says:
        case _Prompt(body, timezone, snoozed_until, _):  # a new address or language is no news
            return "open", _digest(body, timezone, str(snoozed_until))
        case Spoken(endorsement_id):
            return "fulfilled", endorsement_id.encode()
        case NotAsked():
            return "withdrawn", b""


def _say_gap(
    employee: EmployeeState,
    gid: GapId | None,
    found: tuple[SuggestedSponsor, ...] | GapClosedBecause,
    said: _Said,
    gaps: dict[str, StandingGap],
    outputs: list[Output],
) -> None:
    is_open = isinstance(found, tuple)
    if gid is None and not is_open:
        return
    gid = gid or gap_id(CycleId(said.cycle_id), EmployeeId(said.employee_id))
    before = employee.gaps.get(gid)
    content = _digest(*found) if isinstance(found, tuple) else b""
    if before is not None and (before.open, before.content) == (is_open, content):
        gaps[gid] = before
        return
    version = before.version + 1 if before is not None else 1
    gaps[gid] = StandingGap(said.cycle_id, version, is_open, content)
    common: dict[str, Any] = {
        "id": version_event_id(gid, version),
        "gap_id": gid,
        "version": version,
        "cycle_id": CycleId(said.cycle_id),
        "employee_id": EmployeeId(said.employee_id),
        "at": said.at,
        "because_of": said.because_of,
    }
    if isinstance(found, tuple):
        of = GapUpdated if before is not None and before.open else GapOpened
        outputs.append(of(**common, suggestions=found))
    else:
        outputs.append(GapClosed(**common, reason=found))


def _digest(*parts: PromptBody | SuggestedSponsor | str) -> bytes:
    whole = b"".join([part.encode() if isinstance(part, str) else write(part) for part in parts])
    return blake2b(whole, digest_size=16).digest()


def _due_at(employee: EmployeeState, calendar: Calendar, now: datetime) -> datetime | None:
    """Return when time alone changes something for them next; the cycles' own times are the calendar's business."""
    return min([t for t in _times(employee, calendar) if t > now], default=None)


def _times(employee: EmployeeState, calendar: Calendar) -> Iterator[datetime]:
    for profile in employee.profiles:
        yield profile.effective_at
    for tie in employee.ties.values():
        for statement in (tie.started, tie.ended):
            if statement is not None:
                yield statement[0]
    for person in employee.people.values():
        if person.left_at is not None:
            yield person.left_at
    for endorsement in employee.endorsements.values():
        if endorsement.given is not None:
            yield endorsement.given[1]
    for key, answer in employee.answers.items():
        if answer.snoozed is not None and key.cycle_id in calendar.cycles:
            yield answer.snoozed[1]
