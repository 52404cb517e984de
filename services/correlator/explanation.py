"""Tells why a prompt or a gap exists, or why not: the rule's conditions one by one, the facts and where in the log they
lie, the terms of each piece's weight.

The verdict is that of the rules themselves (`judge`, `has_gap`), asked again. The conditions beside it are in their
order, and the first that does not hold has to be the verdict's reason: otherwise nothing is explained, but an error
raised, for an explanation that is not true is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from services.correlator.evidence import (
    REPEATED_WEIGHT,
    LeftOutBecause,
    Ranked,
    in_order,
    weigh,
    why_no_achievement,
    why_no_endorsement,
)
from services.correlator.policy import Policy
from services.correlator.replay import Follower, Said, Told
from services.correlator.rules import (
    Asked,
    NotAsked,
    Spoken,
    Verdict,
    has_gap,
    judge,
    spoken_by,
    who_may_be_asked,
)
from services.correlator.standing import (
    ends_at,
    has_left,
    in_scope,
    is_cancelled,
    is_sponsor,
    months_later,
    profile_at,
    standing_endorsements,
)
from services.correlator.state import Answer, AnswerKey, CycleDefinition, CycleFact, EmployeeState, Key, ProfileFrom
from services.correlator.suggestions import Objection, consider
from services.correlator.telling import day, listed, moment, told_in_words
from shared.contracts.base import Contract, EventTime
from shared.contracts.ids import CycleId, EmployeeId, EventId, GapId, PromptId, gap_id, prompt_id
from shared.contracts.outputs import GapClosedBecause, WithdrawnBecause
from shared.contracts.said import GapClosed, PromptWithdrawn, write

Name = Literal[
    "opened",
    "not_cancelled",
    "not_spoken_yet",
    "not_over",
    "with_the_company",
    "in_scope",
    "is_sponsor",
    "sponsor_is_there",
    "not_declined",
    "nobody_speaks",
]
"""A condition of the rules."""

_REASON_OF: Final[Mapping[Name, WithdrawnBecause]] = {
    "opened": "cycle_closed",
    "not_cancelled": "cycle_cancelled",
    "not_over": "cycle_closed",
    "with_the_company": "employee_left",
    "in_scope": "out_of_scope",
    "is_sponsor": "relationship_ended",
    "sponsor_is_there": "sponsor_left",
    "not_declined": "declined",
}
_GAP_REASON_OF: Final[Mapping[Name, GapClosedBecause]] = {
    "not_cancelled": "cycle_cancelled",
    "opened": "cycle_closed",
    "not_over": "cycle_closed",
    "with_the_company": "employee_left",
    "in_scope": "out_of_scope",
    "nobody_speaks": "sponsor_found",
}
_LEFT_OUT: Final[Mapping[LeftOutBecause, str]] = {
    "retracted": "it was taken back",
    "hidden": "they have hidden it themselves",
    "before_window": "it lies before the evidence window",
    "after_window": "it lies after the evidence window",
    "by_the_sponsor": "the sponsor gave it: they need not be told",
    "for_this_cycle": "it was given for this very cycle",
    "after_the_opening": "it was given after the cycle had opened",
}
_OBJECTIONS: Final[Mapping[Objection, str]] = {
    "named_already": "is named already, for a reason that comes first",
    "themselves": "is the employee",
    "manager": "is their manager",
    "not_senior_enough": "is not senior enough",
    "declined": "has declined in this cycle",
    "left": "has left, or is not described yet",
}


class NotKnown(Exception):
    """The log holds nothing about what was asked for; the message says what it does hold, and what to do."""


class Disagreement(Exception):
    """The explanation and the rule do not say the same: a fault of this program, to be reported."""


class Fact(Contract):
    """A statement in the log."""

    event_id: EventId
    type: str
    partition: int
    offset: int
    written_at: EventTime = Field(description="when Kafka took it")
    said_at: EventTime = Field(description="when its source said so")
    source: str
    says: str


class Condition(Contract):
    """One question of a rule, and its answer."""

    name: Name
    holds: bool
    because: str
    facts: tuple[Fact, ...]


class Term(Contract):
    """A factor of a piece's weight."""

    name: Literal["competencies", "endorsement", "impact", "seen", "told", "recency", "repetition"]
    factor: float
    because: str


class WeighedPiece(Contract):
    """A piece of evidence in its place, shown or not."""

    place: int = Field(ge=1)
    shown: bool
    kind: Literal["achievement", "endorsement"]
    evidence_id: str
    title: str
    weight: float = Field(description="the product of the terms")
    grade: int = Field(description="four grades a doubling of the weight; of one grade the older piece goes first")
    terms: tuple[Term, ...]
    facts: tuple[Fact, ...]


class LeftOut(Contract):
    """What is no evidence in this cycle for this sponsor."""

    kind: Literal["achievement", "endorsement"]
    evidence_id: str
    title: str
    reason: LeftOutBecause
    because: str
    facts: tuple[Fact, ...]


class Place(Contract):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Version(Contract):
    """What was said of a prompt or a gap, and the fact that led to it."""

    version: int
    type: str
    reason: str | None = Field(description="of what was taken back; None otherwise")
    at: EventTime = Field(description="the log's clock then")
    because_of: Fact
    record: Place | None = Field(description="where the service wrote it; None where it has not, or not yet")
    same_bytes: bool = Field(description="whether the service wrote exactly what the log calls for")


class PromptExplained(Contract):
    """Why a sponsor is asked, or why not."""

    prompt_id: PromptId
    sponsor_id: EmployeeId
    sponsor_name: str | None
    verdict: Literal["asked", "spoken", "not_asked"]
    reason: WithdrawnBecause | None
    snoozed_until: EventTime | None
    conditions: tuple[Condition, ...] = Field(description="in the rule's order, up to the one that decided")
    evidence: tuple[WeighedPiece, ...] = Field(description="of one who is asked: all pieces, the best first")
    left_out: tuple[LeftOut, ...]
    versions: tuple[Version, ...] = Field(description="what was said of the prompt; none if there never was one")


class Considered(Contract):
    """Somebody who came into question as a sponsor."""

    person_id: EmployeeId
    name: str
    level: int
    why: str
    suggested: bool
    objection: str | None
    facts: tuple[Fact, ...]


class GapExplained(Contract):
    """Why there is a gap, or why not."""

    gap_id: GapId
    open: bool
    reason: GapClosedBecause | None
    conditions: tuple[Condition, ...]
    considered: tuple[Considered, ...]
    versions: tuple[Version, ...]


class LogPosition(Contract):
    """How far the log was read."""

    partition: int
    next_offset: int
    employee_records: int
    not_understood: tuple[str, ...]


class Settings(Contract):
    """The numbers, and the time zone, that the rules went by."""

    evidence_pieces: int
    half_life_days: int
    suggestions: int
    levels_above: int
    self_reported_weight: float
    timezone: str


class Explanation(Contract):
    """All prompts, and the gap, of one employee in one cycle, with everything that led to them."""

    employee_id: EmployeeId
    employee_name: str
    cycle_id: CycleId
    cycle_title: str
    opens_at: EventTime
    ends_at: EventTime
    now: EventTime = Field(description="the log's clock, as of which all is judged")
    clock: Fact
    cycle_facts: tuple[Fact, ...]
    prompts: tuple[PromptExplained, ...]
    gap: GapExplained
    settings: Settings
    log: LogPosition
    not_called_for: tuple[Place, ...] = Field(
        description="what the service wrote of them in this cycle, and the log, as it was read, does not call for"
    )


Written = Mapping[str, Sequence[tuple[Place, bytes]]]
"""What the service wrote, by the id of the event; several times where a crash made it repeat itself."""


def explain(
    seen: Follower, cycle_id: str, position: tuple[int, int], written: Written, not_called_for: Sequence[Place]
) -> Explanation:
    """Return why the employee's prompts and gap in this cycle are as they are.

    Args:
        seen: the employee, followed through the log as far as it shall be explained.
        cycle_id: which cycle.
        position: the partition that was read, and the offset after the last record of it.
        written: what lies in `prompts` and `gaps`, against which the versions are held.
        not_called_for: what else lies there of this employee and cycle.

    Raises:
        NotKnown: the log holds no such employee or cycle; the message tells what it holds.
        Disagreement: a fault of this program.
    """
    return _Case.of(seen, cycle_id, written).explained(position, not_called_for)


def known_cycles(seen: Follower) -> list[str]:
    """Return the cycles that are defined, those that open first in front."""
    defined = [(c.definition.opens_at, cycle_id) for cycle_id, c in seen.calendar.cycles.items() if c.definition]
    return [cycle_id for _, cycle_id in sorted(defined)]


@dataclass(frozen=True)
class _Case:
    """One employee in one cycle, at one moment, and the questions that the rules ask about it."""

    seen: Follower
    cycle_id: str
    cycle: CycleFact
    definition: CycleDefinition
    now: datetime
    clock: Told
    written: Written

    @classmethod
    def of(cls, seen: Follower, cycle_id: str, written: Written) -> _Case:
        who = seen.employee.employee_id
        if seen.records == 0:
            raise NotKnown(
                f"the log holds nothing about {who!r}: name the employee by the id of the primary HRIS. If you did, "
                f"their events may wait for the people feed to name them (topics feeds.*.parked), or be dead letters "
                f"(python -m deploy.dead list)"
            )
        if not seen.employee.profiles:
            raise NotKnown(
                f"the log holds {seen.records} records about {who!r}, but no profile, and nothing is decided about "
                f"somebody whom the people feed has not described: send their employee.hired event"
            )
        cycle = seen.calendar.cycles.get(cycle_id)
        if cycle is None or cycle.definition is None:
            known = known_cycles(seen)
            told = f"known are {', '.join(known)}" if known else "none has been announced"
            raise NotKnown(f"no cycle {cycle_id!r}: {told}; one is forgotten two years after its end")
        if seen.calendar.now is None or seen.places.clock is None:
            raise NotKnown(
                "the log has no time yet, and nothing is decided before the first clock event: is cycles up?"
            )
        return cls(seen, cycle_id, cycle, cycle.definition, seen.calendar.now, seen.places.clock, written)

    @property
    def employee(self) -> EmployeeState:
        return self.seen.employee

    @property
    def policy(self) -> Policy:
        return self.seen.policy

    @property
    def end(self) -> datetime:
        return ends_at(self.cycle, self.definition)

    def explained(self, position: tuple[int, int], not_called_for: Sequence[Place]) -> Explanation:
        prompts = tuple(self._prompt(sponsor_id) for sponsor_id in who_may_be_asked(self.employee, self.cycle_id))
        latest = profile_at(self.employee, self.now) or self.employee.profiles[-1]
        partition, next_offset = position
        return Explanation(
            employee_id=EmployeeId(self.employee.employee_id),
            employee_name=latest.name,
            cycle_id=CycleId(self.cycle_id),
            cycle_title=self.definition.title,
            opens_at=self.definition.opens_at,
            ends_at=self.end,
            now=self.now,
            clock=_fact(self.clock),
            cycle_facts=self._cycle_facts(),
            prompts=prompts,
            gap=self._gap(prompts),
            settings=Settings(**vars(self.policy)),
            log=LogPosition(
                partition=partition,
                next_offset=next_offset,
                employee_records=self.seen.records,
                not_understood=tuple(
                    f"{bad.partition}/{bad.offset}, {moment(bad.written_at)}: {bad.error}"
                    for bad in self.seen.not_understood
                ),
            ),
            not_called_for=tuple(not_called_for),
        )

    # -- a prompt ---------------------------------------------------------------------------------

    def _prompt(self, sponsor_id: str) -> PromptExplained:
        verdict = judge(self.employee, self.cycle_id, self.cycle, self.definition, sponsor_id, self.now)
        conditions = _until_decided(self._prompt_conditions(sponsor_id))
        _agreed(verdict, conditions)
        pid = prompt_id(CycleId(self.cycle_id), EmployeeId(self.employee.employee_id), EmployeeId(sponsor_id))
        person = self.employee.people.get(sponsor_id)
        asked = verdict if isinstance(verdict, Asked) else None
        return PromptExplained(
            prompt_id=pid,
            sponsor_id=EmployeeId(sponsor_id),
            sponsor_name=person.name if person is not None else None,
            verdict="asked" if asked else "spoken" if isinstance(verdict, Spoken) else "not_asked",
            reason=verdict.reason if isinstance(verdict, NotAsked) else None,
            snoozed_until=asked.snoozed_until if asked else None,
            conditions=conditions,
            evidence=tuple(self._evidence(sponsor_id)) if asked else (),
            left_out=tuple(self._left_out(sponsor_id)) if asked else (),
            versions=self._versions(lambda said: getattr(said.output, "prompt_id", None) == pid),
        )

    def _prompt_conditions(self, sponsor_id: str) -> Iterator[Condition]:
        """Yield what `rules.judge` asks, in its order."""
        yield self._opened()
        yield self._not_cancelled()
        yield self._not_spoken_yet(sponsor_id)
        yield self._not_over()
        yield self._with_the_company()
        yield self._in_scope()
        yield self._is_sponsor(sponsor_id)
        yield self._sponsor_is_there(sponsor_id)
        yield self._not_declined(sponsor_id)

    def _opened(self) -> Condition:
        holds = self.now >= self.definition.opens_at
        because = f"the cycle opens {moment(self.definition.opens_at)}, and the log's clock says {moment(self.now)}"
        return Condition(
            name="opened", holds=holds, because=because, facts=self._facts([self.definition.stamp], self.clock)
        )

    def _not_cancelled(self) -> Condition:
        cancelled = is_cancelled(self.cycle, self.definition)
        because = "the cycle was cancelled" if cancelled else "nobody has cancelled the cycle"
        if self.cycle.cancelled is not None and not cancelled:
            because = "the cycle was cancelled, and taken up again by a later amendment"
        facts = self._facts([self.cycle.cancelled])
        return Condition(name="not_cancelled", holds=not cancelled, because=because, facts=facts)

    def _not_spoken_yet(self, sponsor_id: str) -> Condition:
        by = self._name(sponsor_id)
        word = spoken_by(self.employee, self.cycle_id, self.definition, self.end, sponsor_id)
        if word is not None:
            given = self.employee.endorsements[word].given
            because = f"{by} has spoken for them, by the endorsement {word}"
            return Condition(
                name="not_spoken_yet", holds=False, because=because, facts=self._facts([given[0] if given else None])
            )
        others = [said for said in self.employee.endorsements.values() if said.sponsor_id == sponsor_id]
        stamps = [stamp for said in others for stamp in (said.given and said.given[0], said.withdrawn)]
        because = f"{by} has not spoken for them in this cycle"
        if others:
            because += (
                ": what they said was taken back, or was not for this cycle and given before it, or given when they "
                "were not the sponsor or the employee not in scope"
            )
        return Condition(name="not_spoken_yet", holds=True, because=because, facts=self._facts(stamps))

    def _not_over(self) -> Condition:
        closed = self.cycle.closed[0] if self.cycle.closed is not None else None
        verb = "ended" if self.now >= self.end else "ends"
        because = f"the cycle {verb} {moment(self.end)}, and the log's clock says {moment(self.now)}"
        facts = self._facts([self.definition.stamp, closed], self.clock)
        return Condition(name="not_over", holds=self.now < self.end, because=because, facts=facts)

    def _with_the_company(self) -> Condition:
        profile = profile_at(self.employee, self.now)
        if profile is None:
            because = "no profile of the employee holds yet"
        else:
            because = f"the employee {'is with the company' if profile.active else 'has left'}"
        holds = profile is not None and profile.active
        return Condition(name="with_the_company", holds=holds, because=because, facts=self._profile_facts(profile))

    def _in_scope(self) -> Condition:
        profile = profile_at(self.employee, self.now)
        holds = profile is not None and in_scope(profile, self.definition)
        because = "; ".join(_scope_in_words(profile, self.definition)) if profile is not None else ""
        facts = (*self._profile_facts(profile), *self._facts([self.definition.stamp]))
        return Condition(name="in_scope", holds=holds, because=because, facts=facts)

    def _is_sponsor(self, sponsor_id: str) -> Condition:
        holds = is_sponsor(self.employee, sponsor_id, self.now)
        because = f"{self._name(sponsor_id)} {'is' if holds else 'is not'} their sponsor now"
        return Condition(
            name="is_sponsor", holds=holds, because=because, facts=self._tie_facts(sponsor_id, only_sponsors=True)
        )

    def _sponsor_is_there(self, sponsor_id: str) -> Condition:
        left = has_left(self.employee, sponsor_id, self.now)
        if sponsor_id not in self.employee.people:
            because = f"{sponsor_id} has not been described to this employee's log yet"
        else:
            because = f"{self._name(sponsor_id)} {'has left' if left else 'is with the company'}"
        return Condition(name="sponsor_is_there", holds=not left, because=because, facts=self._person_facts(sponsor_id))

    def _not_declined(self, sponsor_id: str) -> Condition:
        answer = self.employee.answers.get(AnswerKey(self.cycle_id, sponsor_id), Answer())
        declined = answer.is_declined
        because = f"{self._name(sponsor_id)} has {'' if declined else 'not '}declined in this cycle"
        if answer.declined is not None and not declined:
            because = f"{self._name(sponsor_id)} has declined in this cycle, and taken that back"
        if answer.snoozed is not None and not declined:
            because += f", and put the answer off until {moment(answer.snoozed[1])}"
        facts = self._facts([answer.declined, answer.decline_withdrawn, answer.snoozed and answer.snoozed[0]])
        return Condition(name="not_declined", holds=not declined, because=because, facts=facts)

    def _evidence(self, sponsor_id: str) -> Iterator[WeighedPiece]:
        pieces = weigh(self.employee, self.definition, self.cycle_id, sponsor_id, self.policy)
        for place, ranked in enumerate(in_order(pieces), start=1):
            terms = tuple(self._terms(ranked))
            weight = 1.0
            for term in terms:
                weight *= term.factor
            yield WeighedPiece(
                place=place,
                shown=place <= self.policy.evidence_pieces,
                kind=ranked.piece.kind,
                evidence_id=ranked.piece.evidence_id,
                title=self._title(ranked.piece.kind, ranked.piece.evidence_id),
                weight=weight,
                grade=ranked.grade,
                terms=terms,
                facts=self._piece_facts(ranked.piece.kind, ranked.piece.evidence_id),
            )

    def _terms(self, ranked: Ranked) -> Iterator[Term]:
        piece = ranked.piece
        if piece.kind == "endorsement":
            yield Term(name="endorsement", factor=piece.fit, because="somebody else has spoken for them")
        else:
            shows = (
                f"it shows {listed(piece.matched)}" if piece.matched else "it shows nothing that the cycle looks for"
            )
            impact = self.employee.achievements[piece.evidence_id].impact
            saw = "is among" if piece.seen > 1 else "is not among"
            yield Term(name="competencies", factor=piece.fit, because=shows)
            yield Term(name="impact", factor=piece.reach, because=f"impact {impact} of 3")
            yield Term(name="seen", factor=piece.seen, because=f"the sponsor {saw} its witnesses")
            if piece.told < 1:
                yield Term(name="told", factor=piece.told, because="they say so themselves")
        days = (self.definition.evidence_to - piece.occurred_on).days
        half_life = self.policy.half_life_days
        yield Term(
            name="recency",
            factor=0.5**piece.half_lives,
            because=f"{day(piece.occurred_on)}, {days} days before the evidence window ends; half each {half_life}",
        )
        if ranked.repeated:
            same = piece.shows.replace("_", " ") or "nothing named"
            yield Term(
                name="repetition",
                factor=REPEATED_WEIGHT**ranked.repeated,
                because=f"{ranked.repeated} placed before it show the same: {same}",
            )

    def _left_out(self, sponsor_id: str) -> Iterator[LeftOut]:
        for achievement_id in self.employee.achievements:
            if (reason := why_no_achievement(self.employee, achievement_id, self.definition)) is not None:
                yield self._left_out_piece("achievement", achievement_id, reason)
        for given_at, endorsement_id, fact, for_cycle, _ in standing_endorsements(self.employee):
            no = why_no_endorsement(given_at, fact, for_cycle, self.definition, self.cycle_id, sponsor_id)
            if no is not None:
                yield self._left_out_piece("endorsement", endorsement_id, no)

    def _left_out_piece(
        self, kind: Literal["achievement", "endorsement"], evidence_id: str, reason: LeftOutBecause
    ) -> LeftOut:
        return LeftOut(
            kind=kind,
            evidence_id=evidence_id,
            title=self._title(kind, evidence_id),
            reason=reason,
            because=_LEFT_OUT[reason],
            facts=self._piece_facts(kind, evidence_id),
        )

    # -- a gap ------------------------------------------------------------------------------------

    def _gap(self, prompts: tuple[PromptExplained, ...]) -> GapExplained:
        spoken_for = any(prompt.verdict != "not_asked" for prompt in prompts)
        found = has_gap(
            self.employee, self.cycle_id, self.cycle, self.definition, self.now, self.policy, spoken_for=spoken_for
        )
        conditions = _until_decided(self._gap_conditions(prompts))
        failing = next((condition for condition in conditions if not condition.holds), None)
        reason = None if isinstance(found, tuple) else found
        if (_GAP_REASON_OF.get(failing.name) if failing else None) != reason:
            raise Disagreement(f"the rule says of the gap {reason!r}, its conditions {failing!r}")
        gid = gap_id(CycleId(self.cycle_id), EmployeeId(self.employee.employee_id))
        return GapExplained(
            gap_id=gid,
            open=reason is None,
            reason=reason,
            conditions=conditions,
            considered=tuple(self._considered()) if reason is None else (),
            versions=self._versions(lambda said: getattr(said.output, "gap_id", None) == gid),
        )

    def _gap_conditions(self, prompts: tuple[PromptExplained, ...]) -> Iterator[Condition]:
        """Yield what `rules.has_gap` asks, in its order."""
        yield self._not_cancelled()
        yield self._opened()
        yield self._not_over()
        yield self._with_the_company()
        yield self._in_scope()
        yield self._nobody_speaks(prompts)

    def _nobody_speaks(self, prompts: tuple[PromptExplained, ...]) -> Condition:
        speaking = [p for p in prompts if p.verdict != "not_asked"]
        volunteers = [
            fact
            for given_at, _, fact, for_cycle, _ in standing_endorsements(self.employee)
            if for_cycle == self.cycle_id and given_at <= self.now
        ]
        words = [
            f"{self._name(p.sponsor_id)} {'has spoken' if p.verdict == 'spoken' else 'is asked'}" for p in speaking
        ]
        if not words:
            words = [f"{self._name(fact.sponsor_id)} has spoken for them, unasked" for fact in volunteers]
        because = listed(words) if words else "no sponsor of theirs is asked or has spoken, and nobody else has"
        facts = self._facts([fact.given[0] for fact in volunteers if fact.given is not None])
        return Condition(name="nobody_speaks", holds=not words, because=because, facts=facts)

    def _considered(self) -> Iterator[Considered]:
        profile = profile_at(self.employee, self.now)
        if profile is None:
            return
        suggested = 0
        for person, objection in consider(
            self.employee, profile, self.definition, self.cycle_id, self.now, self.policy
        ):
            fits = objection is None and suggested < self.policy.suggestions
            suggested += fits
            against = _OBJECTIONS[objection] if objection is not None else None
            if objection == "not_senior_enough":
                against = f"is at level {person.level}, not {profile.level + self.policy.levels_above} or above"
            elif objection is None and not fits:
                against = f"{self.policy.suggestions} who come first are suggested"
            yield Considered(
                person_id=person.person_id,
                name=person.name,
                level=person.level,
                why=person.why,
                suggested=fits,
                objection=against,
                facts=(*self._tie_facts(person.person_id), *self._person_facts(person.person_id)),
            )

    # -- facts ------------------------------------------------------------------------------------

    def _facts(self, stamps: Iterable[Key | None], *more: Told) -> tuple[Fact, ...]:
        """Return the statements that have these stamps."""
        told = [self.seen.places.events.get(stamp[1]) for stamp in stamps if stamp is not None]
        return tuple(_fact(t) for t in (*told, *more) if t is not None)

    def _cycle_facts(self) -> tuple[Fact, ...]:
        closed = self.cycle.closed[0] if self.cycle.closed is not None else None
        return self._facts([self.definition.stamp, closed, self.cycle.cancelled])

    def _profile_facts(self, profile: ProfileFrom | None) -> tuple[Fact, ...]:
        told = profile and self.seen.places.profiles.get((profile.effective_at, profile.revision))
        return (_fact(told),) if told else ()

    def _person_facts(self, person_id: str) -> tuple[Fact, ...]:
        person = self.employee.people.get(person_id)
        told = person and self.seen.places.people.get((person_id, person.revision))
        return (_fact(told),) if told else ()

    def _tie_facts(self, other_id: str, *, only_sponsors: bool = False) -> tuple[Fact, ...]:
        return self._facts(
            statement[1]
            for _, tie in sorted(self.employee.ties.items())
            if tie.other_id == other_id and (tie.kind == "sponsor" or not only_sponsors)
            for statement in (tie.started, tie.ended)
            if statement is not None
        )

    def _piece_facts(self, kind: Literal["achievement", "endorsement"], evidence_id: str) -> tuple[Fact, ...]:
        if kind == "achievement":
            word = self.employee.owners_words.get(evidence_id)
            return self._facts([self.employee.achievements[evidence_id].stamp, word.stamp if word else None])
        given = self.employee.endorsements[evidence_id].given
        return self._facts([given[0] if given is not None else None])

    def _title(self, kind: Literal["achievement", "endorsement"], evidence_id: str) -> str:
        if kind == "endorsement":
            return f"Endorsed by {self._name(self.employee.endorsements[evidence_id].sponsor_id)}"
        return self.employee.achievements[evidence_id].title

    def _name(self, person_id: str) -> str:
        person = self.employee.people.get(person_id)
        return f"{person.name} ({person_id})" if person is not None else person_id

    def _versions(self, of: Callable[[Said], bool]) -> tuple[Version, ...]:
        return tuple(self._version(said) for said in self.seen.said if of(said))

    def _version(self, said: Said) -> Version:
        output = said.output
        written = self.written.get(output.id, ())
        return Version(
            version=output.version,
            type=output.type,
            reason=output.reason if isinstance(output, PromptWithdrawn | GapClosed) else None,
            at=output.at,
            because_of=_fact(said.because_of),
            record=written[0][0] if written else None,
            same_bytes=bool(written) and all(value == write(output) for _, value in written),
        )


def _until_decided(conditions: Iterator[Condition]) -> tuple[Condition, ...]:
    """Return the conditions up to the first that does not hold: the rule asks no further."""
    asked = []
    for condition in conditions:
        asked.append(condition)
        if not condition.holds:
            break
    return tuple(asked)


def _agreed(verdict: Verdict, conditions: tuple[Condition, ...]) -> None:
    failing = next((condition for condition in conditions if not condition.holds), None)
    match verdict:
        case Asked():
            agreed = failing is None
        case Spoken():
            agreed = failing is not None and failing.name == "not_spoken_yet"
        case NotAsked(reason):
            agreed = failing is not None and _REASON_OF.get(failing.name) == reason
    if not agreed:
        raise Disagreement(f"the rule says {verdict!r}, its conditions {failing!r}")


def _scope_in_words(profile: ProfileFrom, cycle: CycleDefinition) -> Iterator[str]:
    """Yield how each part of the scope is met, or is not."""
    if cycle.unit_ids:
        theirs = [unit for unit in cycle.unit_ids if unit in profile.unit_path]
        where = "/".join(profile.unit_path) or "no unit"
        yield f"{where} is in {listed(theirs)}" if theirs else f"{where} is in none of {listed(cycle.unit_ids)}"
    else:
        yield "every unit is in scope"
    if cycle.levels:
        within = "is among" if profile.level in cycle.levels else "is not among"
        yield f"level {profile.level} {within} {listed([str(level) for level in cycle.levels])}"
    else:
        yield f"level {profile.level} is in scope, as every level is"
    if cycle.min_months_in_level:
        reached = months_later(profile.level_since, cycle.min_months_in_level)
        yield (
            f"at that level since {day(profile.level_since)}: {cycle.min_months_in_level} months are reached on "
            f"{day(reached)}, and the cycle opens {day(cycle.opens_at.date())}"
        )


def _fact(told: Told) -> Fact:
    return Fact(
        event_id=told.event.id,
        type=told.event.type,
        partition=told.partition,
        offset=told.offset,
        written_at=told.written_at,
        said_at=told.event.at,
        source=told.event.source,
        says=told_in_words(told.event),
    )
