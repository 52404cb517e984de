"""What holds for every history: order and repetition do not matter, and what stands is what an oracle says.

The oracle below knows nothing of the rules' code. It looks at all raw events anew, as slowly as a person would.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.broker import PROJECT
from services.correlator import handlers
from services.correlator.handlers import Correlator
from services.correlator.policy import Policy
from services.correlator.rules import Output as Said
from shared.contracts.base import utc
from shared.contracts.career import (
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
    Profile,
    PromptDeclined,
    PromptDeclineWithdrawn,
    RelationshipEnded,
    RelationshipStarted,
    TiedPerson,
    TiedPersonChanged,
    write_contract,
)
from shared.contracts.said import (
    GapClosed,
    GapOpened,
    GapUpdated,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    write,
)
from shared.streaming.records import Output, Record
from tests.career import Log, a_company, a_correction, a_hiding, a_retraction, a_showing, an_achievement
from tests.histories import MOMENTS, a_history, an_interleaving
from tests.states import a_state, never_kept

quick = settings(
    max_examples=45,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
rngs = st.randoms(use_true_random=False)


def said(outputs: Iterable[Said]) -> list[bytes]:
    return [write(output) for output in outputs]


# -- order and repetition -------------------------------------------------------------------------


@quick
@given(rngs)
def test_any_interleaving_of_the_sources_ends_with_the_same_prompts_and_gaps(rng: Random) -> None:
    events = a_history(rng)
    assert Log(*an_interleaving(rng, events)).what_stands() == Log(*events).what_stands()


@quick
@given(rngs)
def test_any_order_at_all_ends_with_the_same_prompts_and_gaps(rng: Random) -> None:
    # More than is promised, for a source keeps its order: but whoever mends a feed by hand will not.
    events = a_history(rng)
    assert Log(*rng.sample(events, len(events))).what_stands() == Log(*events).what_stands()


@quick
@given(rngs)
def test_an_event_that_comes_again_later_changes_nothing(rng: Random) -> None:
    events = a_history(rng)
    again = list(events)
    for _ in range(rng.randint(1, 10)):
        first = rng.randrange(len(events))
        at = next(n for n, event in enumerate(again) if event is events[first])
        again.insert(rng.randint(at + 1, len(again)), events[first])
    assert said(Log(*again).outputs) == said(Log(*events).outputs)


# -- replay ---------------------------------------------------------------------------------------


@quick
@given(rngs)
def test_a_replay_says_the_same_bytes_whether_or_not_the_state_went_through_bytes(rng: Random) -> None:
    events = a_history(rng)
    first = said(Log(*events).outputs)
    assert said(Log(*events).outputs) == first
    assert said(Log(*events, through_bytes=True).outputs) == first


@quick
@given(rngs)
def test_the_service_says_what_the_rules_say_in_runs_of_any_length_and_after_any_restart(rng: Random) -> None:
    events = a_history(rng)
    assert through_the_service(rng, events) == said(Log(*events).outputs)


def through_the_service(rng: Random, events: Sequence[CareerEvent]) -> list[bytes]:
    """Feed the events to the real handler, in runs; between runs it may be started anew on what it has stored."""
    stored: dict[bytes, bytes] = {}
    state = a_state(stored)
    correlator = Correlator(state, Policy(), "correlator", never_kept)
    outputs: list[bytes] = []
    records = a_partition_of(events)
    while records:
        length = rng.randint(1, 8)
        run, records = records[:length], records[length:]
        for output in asyncio.run(correlator.handle(run)):
            assert output.topic in ("prompts", "gaps"), output
            assert output.value is not None
            outputs.append(output.value)
        state.settle()
        if rng.random() < 0.3:  # recovery reads the changelog, and so finds the keys in another order
            reordered = list(stored.items())
            rng.shuffle(reordered)
            stored.clear()
            stored.update(reordered)
            correlator = Correlator(state, Policy(), "correlator", never_kept)
    return outputs


@quick
@given(rngs)
def test_after_crashes_between_any_two_acknowledgements_the_same_is_said_with_repetitions_alone(rng: Random) -> None:
    events = a_history(rng)
    base = Crashing(rng)
    with patch.object(handlers, "_KEPT_TOGETHER", rng.choice([1, 2, 2000])):
        base.run(a_partition_of(events))
    assert list(dict.fromkeys(base.outputs)) == said(Log(*events).outputs)


class Crash(Exception):
    """The process is gone."""


class Crashing:
    """The base with a process that crashes: outputs, then for several runs the changelog, then the offsets."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.outputs: list[bytes] = []
        self.changelog: dict[bytes, bytes] = {}
        self.committed = 0

    def run(self, records: Sequence[Record]) -> None:
        while self.committed < len(records):
            self.stored = dict(self.changelog)
            self.state = a_state(self.stored)
            self.at = self.committed
            correlator = Correlator(self.state, Policy(), "correlator", self.keep)
            with contextlib.suppress(Crash):
                while self.at < len(records):
                    run = records[self.at : self.at + self.rng.randint(1, 8)]
                    self.write(asyncio.run(correlator.handle(run)))
                    self.state.settle()
                    self.at += len(run)
                    if self.at == len(records) or self.rng.random() < 0.4:
                        self.save()

    async def keep(self, outputs: Sequence[Output]) -> None:
        self.write(outputs)
        self.state.settle()
        self.save()

    def write(self, outputs: Sequence[Output]) -> None:
        values = [output.value or b"" for output in outputs]
        crashes = self.rng.random() < 0.2
        self.outputs.extend(values[: self.rng.randint(0, len(values))] if crashes else values)
        if crashes:
            raise Crash

    def save(self) -> None:
        self.changelog = dict(self.stored)
        if self.rng.random() < 0.3:
            raise Crash
        self.committed = self.at


def a_partition_of(events: Sequence[CareerEvent]) -> list[Record]:
    return [
        Record("career-events", 1, offset, None, write_contract(event), (), utc(2026, 1, 1))
        for offset, event in enumerate(events)
    ]


HISTORIES = 25


def digest_of_histories() -> str:
    """Return what is said in a fixed set of histories, as a digest; also the entry point of the subprocesses."""
    digest = hashlib.sha256()
    for seed in range(HISTORIES):
        for output in said(Log(*a_history(Random(seed)), through_bytes=seed % 2 == 0).outputs):
            digest.update(output)
    return digest.hexdigest()


def test_processes_that_hash_differently_say_the_same_bytes() -> None:
    script = "from tests.property.test_correlator_properties import digest_of_histories as d; print(d())"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4711")
    ]
    digests = {process.communicate(timeout=120)[0].strip() for process in running}
    assert digests == {digest_of_histories()}


# -- what is said, one after another --------------------------------------------------------------


@quick
@given(rngs)
def test_versions_count_by_one_and_each_statement_follows_from_the_one_before(rng: Random) -> None:
    versions: Counter[str] = Counter()
    status: dict[str, str] = {}
    ids: set[str] = set()
    for output in Log(*a_history(rng)).outputs:
        thing = str(output.gap_id if isinstance(output, GapOpened | GapUpdated | GapClosed) else output.prompt_id)
        versions[thing] += 1
        assert output.version == versions[thing]
        assert output.id not in ids
        ids.add(output.id)
        before = status.get(thing, "new")
        match output:
            case PromptOpened() | GapOpened():
                assert before != "open", output
                status[thing] = "open"
            case PromptUpdated() | GapUpdated():
                assert before == "open", output
            case PromptFulfilled():
                status[thing] = "fulfilled"
            case PromptWithdrawn():
                assert before in ("open", "fulfilled"), output
                status[thing] = "withdrawn"
            case GapClosed():
                assert before == "open", output
                status[thing] = "closed"


@quick
@given(rngs)
def test_evidence_is_five_pieces_at_most_each_once_in_the_window_true_and_with_a_reason(rng: Random) -> None:
    log = Log()
    for n, event in enumerate(events := a_history(rng, most=60), start=1):
        oracle = Oracle(events[:n])
        for output in log.feed(event):
            if not isinstance(output, PromptOpened | PromptUpdated):
                continue
            cycle = oracle.cycle(output.cycle_id)
            assert cycle is not None
            shown = output.body.evidence
            assert len({(piece.kind, piece.evidence_id) for piece in shown}) == len(shown)
            true = oracle.evidence(output.employee_id, output.sponsor_id, cycle)
            assert len(shown) == min(5, len(true))
            for piece in shown:
                assert piece.reasons
                assert true[piece.kind, piece.evidence_id] == (piece.occurred_on, piece.title)
                assert cycle.evidence_from <= piece.occurred_on <= cycle.evidence_to


@quick
@given(rngs)
def test_a_gap_suggests_three_at_most_senior_and_willing_and_never_the_manager(rng: Random) -> None:
    log = Log()
    for n, event in enumerate(events := a_history(rng, most=60), start=1):
        oracle = Oracle(events[:n])
        for output in log.feed(event):
            if not isinstance(output, GapOpened | GapUpdated):
                continue
            assert oracle.now is not None
            profile = oracle.profile(output.employee_id, oracle.now)
            assert profile is not None
            suggested = [s.person_id for s in output.suggestions]
            assert len(set(suggested)) == len(suggested) <= 3
            assert not {profile.manager_id, output.employee_id} & set(suggested)
            for suggestion in output.suggestions:
                assert suggestion.level >= profile.level + 2
                assert not oracle.declined(output.employee_id, output.cycle_id, suggestion.person_id)
                person = oracle.person(output.employee_id, suggestion.person_id)
                assert person is None or person.left_at is None or person.left_at > oracle.now


# -- what its owner has hidden --------------------------------------------------------------------


@quick
@given(rngs)
def test_what_its_owner_hid_last_is_in_no_prompt_whatever_is_said_of_it_and_in_whatever_order(rng: Random) -> None:
    said_of_it: list[CareerEvent] = [
        rng.choice((an_achievement, a_correction, a_retraction))("A9", at=rng.choice(MOMENTS))
        for _ in range(rng.randint(1, 5))
    ]
    words: list[CareerEvent] = [
        rng.choice((a_hiding, a_showing))("A9", at=rng.choice(MOMENTS[:9])) for _ in range(rng.randrange(4))
    ]
    words.append(a_hiding("A9", at=MOMENTS[9]))
    events = said_of_it + words
    rng.shuffle(events)
    log = a_company(*events)
    assert log.shown() == ["A1"]
    log.feed(a_showing("A9", at=MOMENTS[10]))
    newest = max(said_of_it, key=lambda e: (e.at, e.id))
    assert set(log.shown()) == ({"A1"} if isinstance(newest, AchievementRetracted) else {"A1", "A9"})


# -- what stands, by an oracle --------------------------------------------------------------------


@quick
@given(rngs)
def test_at_every_step_exactly_those_prompts_and_gaps_stand_that_the_oracle_says(rng: Random) -> None:
    log = Log()
    for n, event in enumerate(events := a_history(rng), start=1):
        log.feed(event)
        assert standing_of(log) == Oracle(events[:n]).standing()


@dataclass
class Standing:
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    fulfilled: dict[tuple[str, str, str], str] = field(default_factory=dict)
    gaps: set[tuple[str, str]] = field(default_factory=set)


def standing_of(log: Log) -> Standing:
    found = Standing()
    last = {
        (o.cycle_id, o.employee_id, "" if isinstance(o, GapOpened | GapUpdated | GapClosed) else o.sponsor_id): o
        for o in log.outputs
    }
    for (cycle, employee, sponsor), output in last.items():
        match output:
            case PromptOpened() | PromptUpdated():
                found.asked.add((cycle, employee, sponsor))
            case PromptFulfilled():
                found.fulfilled[cycle, employee, sponsor] = output.endorsement_id
            case GapOpened() | GapUpdated():
                found.gaps.add((cycle, employee))
            case _:
                pass
    return found


E = TypeVar("E", bound=CareerEvent)


class Oracle:
    """Says what is true of raw events, by looking through all of them for each question."""

    def __init__(self, events: Sequence[CareerEvent]) -> None:
        self.events = events
        self.now = max((e.now for e in events if isinstance(e, ClockTicked)), default=None)

    def standing(self) -> Standing:
        found = Standing()
        if self.now is None:
            return found
        cycles = {e.cycle.cycle_id for e in self.events if isinstance(e, CycleOpened | CycleAmended)}
        employees = {e.employee_id for e in self.events if e.employee_id is not None}
        others = {e.other_id for e in self.events if isinstance(e, RelationshipStarted | RelationshipEnded)}
        for cycle_id in cycles:
            for employee in employees:
                self._judge(cycle_id, employee, others, self.now, found)
        return found

    def _judge(self, cycle_id: str, employee: str, others: Iterable[str], now: datetime, found: Standing) -> None:
        cycle = self.cycle(cycle_id)
        assert cycle is not None
        if now < cycle.opens_at or self.is_cancelled(cycle_id):
            return
        spoken_for = False
        for sponsor in others:
            word = self.word(cycle_id, employee, sponsor)
            if word is not None:
                found.fulfilled[cycle_id, employee, sponsor] = word
                spoken_for = True
        profile = self.profile(employee, now)
        if now >= self.end(cycle_id) or profile is None or not self.in_scope(profile, cycle):
            return
        for sponsor in others:
            person = self.person(employee, sponsor)
            if (
                (cycle_id, employee, sponsor) not in found.fulfilled
                and self.is_tied(employee, sponsor, "sponsor", now)
                and person is not None
                and (person.left_at is None or person.left_at > now)
                and not self.declined(employee, cycle_id, sponsor)
            ):
                found.asked.add((cycle_id, employee, sponsor))
                spoken_for = True
        volunteered = any(
            e.cycle_id == cycle_id and e.given_at <= now for e in self.endorsements() if e.employee_id == employee
        )
        if not spoken_for and not volunteered:
            found.gaps.add((cycle_id, employee))

    def cycle(self, cycle_id: str) -> Cycle | None:
        newest = self._definition(cycle_id)
        return newest.cycle if newest is not None else None

    def is_cancelled(self, cycle_id: str) -> bool:
        definition = self._definition(cycle_id)
        assert definition is not None
        return any(
            isinstance(e, CycleCancelled) and e.cycle_id == cycle_id and e.stamp > definition.stamp for e in self.events
        )

    def end(self, cycle_id: str) -> datetime:
        definition = self._definition(cycle_id)
        assert definition is not None
        closings = [e for e in self.events if isinstance(e, CycleClosed) and e.cycle_id == cycle_id]
        counting = [e for e in closings if e.stamp > definition.stamp]
        if not counting:
            return definition.cycle.closes_at
        return min(definition.cycle.closes_at, _newest(counting).closed_at)

    def _definition(self, cycle_id: str) -> CycleOpened | CycleAmended | None:
        stated = [e for e in self.events if isinstance(e, CycleOpened | CycleAmended)]
        about = [e for e in stated if e.cycle.cycle_id == cycle_id]
        return _newest(about) if about else None

    def in_scope(self, profile: Profile, cycle: Cycle) -> bool:
        if not profile.active:
            return False
        if cycle.unit_ids and not set(cycle.unit_ids) & set(profile.unit_path):
            return False
        if cycle.levels and profile.level not in cycle.levels:
            return False
        opening = cycle.opens_at.date()
        months = (opening.year - profile.level_since.year) * 12 + opening.month - profile.level_since.month
        if opening.day < profile.level_since.day:
            months -= 1
        return months >= cycle.min_months_in_level

    def profile(self, employee: str, t: datetime) -> Profile | None:
        of_profile = EmployeeJoined | EmployeeMoved | EmployeePromoted | EmployeeChanged | EmployeeLeft
        begun = [
            e for e in self.events if isinstance(e, of_profile) and e.employee_id == employee and e.effective_at <= t
        ]
        return max(begun, key=lambda e: (e.effective_at, e.revision)).profile if begun else None

    def is_tied(self, employee: str, other: str, kind: str, t: datetime) -> bool:
        mine = [
            e
            for e in self.events
            if isinstance(e, RelationshipStarted | RelationshipEnded) and e.employee_id == employee
        ]
        for relationship in {e.relationship_id for e in mine}:
            about = [e for e in mine if e.relationship_id == relationship]
            starts = [e for e in about if isinstance(e, RelationshipStarted)]
            ends = [e for e in about if isinstance(e, RelationshipEnded)]
            newest = _newest(about)
            if not starts or (newest.kind, newest.other_id) != (kind, other):
                continue
            start = _newest(starts).started_at
            over = bool(ends) and start <= _newest(ends).ended_at <= t
            if start <= t and not over:
                return True
        return False

    def person(self, employee: str, person_id: str) -> TiedPerson | None:
        described = [
            e
            for e in self.events
            if isinstance(e, TiedPersonChanged) and e.employee_id == employee and e.person.person_id == person_id
        ]
        return max(described, key=lambda e: e.revision).person if described else None

    def declined(self, employee: str, cycle_id: str, sponsor: str) -> bool:
        said = [
            e
            for e in self.events
            if isinstance(e, PromptDeclined | PromptDeclineWithdrawn)
            and (e.employee_id, e.cycle_id, e.sponsor_id) == (employee, cycle_id, sponsor)
        ]
        return bool(said) and isinstance(_newest(said), PromptDeclined)

    def endorsements(self) -> list[EndorsementGiven]:
        """Return what was said last of each endorsement that was not taken back since, the first given first."""
        standing = []
        given = [e for e in self.events if isinstance(e, EndorsementGiven)]
        for about in {(e.employee_id, e.endorsement_id) for e in given}:
            newest = _newest([e for e in given if (e.employee_id, e.endorsement_id) == about])
            taken_back = any(
                isinstance(e, EndorsementWithdrawn)
                and (e.employee_id, e.endorsement_id) == about
                and e.stamp > newest.stamp
                for e in self.events
            )
            if not taken_back:
                standing.append(newest)
        return sorted(standing, key=lambda e: (e.given_at, e.endorsement_id))

    def word(self, cycle_id: str, employee: str, sponsor: str) -> str | None:
        """Return the endorsement by which the sponsor has spoken for the employee in the cycle."""
        cycle = self.cycle(cycle_id)
        assert cycle is not None
        for e in self.endorsements():
            if (e.employee_id, e.sponsor_id) != (employee, sponsor) or e.given_at > self.end(cycle_id):
                continue
            if e.cycle_id != cycle_id and (e.cycle_id is not None or e.given_at < cycle.opens_at):
                continue
            then = max(e.given_at, cycle.opens_at)
            profile = self.profile(employee, then)
            if profile and self.in_scope(profile, cycle) and self.is_tied(employee, sponsor, "sponsor", then):
                return e.endorsement_id
        return None

    def evidence(self, employee: str, sponsor: str, cycle: Cycle) -> dict[tuple[str, str], tuple[object, str]]:
        """Return day and title of all that may be shown."""
        true: dict[tuple[str, str], tuple[object, str]] = {}
        stated = [
            e
            for e in self.events
            if isinstance(e, AchievementRecorded | AchievementCorrected | AchievementRetracted)
            and e.employee_id == employee
        ]
        for achievement_id in {_achievement_of(e) for e in stated}:
            newest = _newest([e for e in stated if _achievement_of(e) == achievement_id])
            words = [
                e
                for e in self.events
                if isinstance(e, AchievementHidden | AchievementShown)
                and (e.employee_id, e.achievement_id) == (employee, achievement_id)
            ]
            if isinstance(newest, AchievementRetracted) or (words and isinstance(_newest(words), AchievementHidden)):
                continue
            done = newest.achievement
            if cycle.evidence_from <= done.occurred_on <= cycle.evidence_to:
                true["achievement", achievement_id] = (done.occurred_on, done.title)
        for e in self.endorsements():
            day = e.given_at.date()
            if (
                e.employee_id == employee
                and e.sponsor_id != sponsor
                and e.cycle_id != cycle.cycle_id
                and e.given_at < cycle.opens_at
                and cycle.evidence_from <= day <= cycle.evidence_to
            ):
                by = self.person(employee, e.sponsor_id)
                true["endorsement", e.endorsement_id] = (day, f"Endorsed by {by.name if by else 'another sponsor'}")
        return true


def _achievement_of(event: AchievementRecorded | AchievementCorrected | AchievementRetracted) -> str:
    return event.achievement_id if isinstance(event, AchievementRetracted) else event.achievement.achievement_id


def _newest(events: Sequence[E]) -> E:
    return max(events, key=lambda e: e.stamp)
