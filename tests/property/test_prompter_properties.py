"""Whatever happens to a sponsor: never too often, never at night, never after a stop, and nothing in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.prompter.policy import Policy, Reminders
from services.prompter.rules import WEEK, Result, is_not_mine, is_stopped, policy_for
from services.prompter.working_time import closed_at
from shared.contracts.choices import SponsorChoice
from shared.contracts.ids import EmployeeId, prompt_id, version_event_id
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated
from tests.prompt_events import CYCLE, NOW, fulfilled, opened, updated, withdrawn
from tests.prompter_world import (
    Message,
    World,
    a_digest,
    a_policy,
    at_night,
    mine,
    not_mine,
    prefers,
    resumed,
    stopped,
)

EMPLOYEES = ("E2", "E3", "E4")

policies = st.builds(
    a_policy,
    quiet_hours=st.sampled_from([None, at_night()]),
    working_days=st.sampled_from([(1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5), (3,)]),
    messages_per_week=st.sampled_from([None, 1, 2, 3]),
    digest=st.sampled_from([None, a_digest(), a_digest(at_least=3, gather_minutes=30)]),
    news=st.sampled_from(["at_once", "with_reminder"]),
    reminders=st.sampled_from([None, Reminders(days_before_close=(14, 7, 2), urgent_days=8)]),
)
results = st.sampled_from(
    [Result("delivered", "webhook")] * 4
    + [
        Result("delivered", "email"),
        Result("failed", "webhook"),
        Result("failed", "webhook", may_have_arrived=True),
        None,
    ]
)
preferences = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.sampled_from(["Asia/Kolkata", "America/New_York", "Pacific/Apia"]),
        "working_days": st.sampled_from([(1, 2), (6, 7), (1, 2, 3, 4, 5, 6, 7)]),
        "prompts_per_week": st.integers(1, 3),
    },
)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[float, list[PromptEvent | SponsorChoice]]]:
    """What happens, and how many hours after the last: versions of prompts in order, choices, repetitions."""
    versions = dict.fromkeys(EMPLOYEES, 0)
    story: list[tuple[float, list[PromptEvent | SponsorChoice]]] = []
    hours = 0.0
    for _ in range(draw(st.integers(1, 10))):
        pause = draw(st.sampled_from([0.0, 0.1, 3.0, 11.0, 40.0, 100.0]))
        hours += pause
        together: list[PromptEvent | SponsorChoice] = []
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)):
            employee = draw(st.sampled_from(EMPLOYEES))
            at = NOW + timedelta(hours=hours, seconds=10 * len(story) + len(together))
            match kind:
                case "stop":
                    together.append(stopped(at))
                case "resume":
                    together.append(resumed(at))
                case "not mine":
                    together.append(not_mine(employee, at))
                case "mine after all":
                    together.append(mine(employee, at))
                case "prefer":
                    together.append(prefers(at, **draw(preferences)))
                case _:
                    versions[employee] += 1
                    together.append(_event(kind, versions[employee], employee))
        story.append((pause, together))
    return story


KINDS = (
    *["ask"] * 5,
    "snooze",
    "withdraw",
    "fulfil",
    "stop",
    "resume",
    "not mine",
    "mine after all",
    "prefer",
)


def _event(kind: str, version: int, employee: str) -> PromptEvent:
    if kind == "withdraw":
        return withdrawn(version, employee=employee)
    if kind == "fulfil":
        return fulfilled(version, employee=employee)
    fields: dict[str, Any] = {"snoozed_until": NOW + timedelta(days=1)} if kind == "snooze" else {}
    return (opened if version == 1 else updated)(version, employee=employee, **fields)


@dataclass
class Watched(World):
    """A world that looks at each message the moment it is sent."""

    arrived: list[datetime] = field(default_factory=list)

    def check(self, message: Message) -> None:
        policy = policy_for(self.sponsor, self.policy)
        assert not is_stopped(self.sponsor), "a message after a stop"
        if message.outgoing.kind == "end":
            return
        assert closed_at(message.at, policy) is None, "a message at a time at which there is to be none"
        lately = [at for at in self.arrived if at > message.at - WEEK]
        most = policy.messages_per_week
        assert most is None or len(lately) < most, "more than the week allows"
        prompts = [self.sponsor.prompts[part.prompt_id] for part in message.outgoing.parts]
        assert not any(is_not_mine(self.sponsor, held.employee_id) for held in prompts)
        assert all(held.asks and held.snoozed_until is None for held in prompts)


def told(
    policy: Policy, story: list[tuple[float, list[PromptEvent | SponsorChoice]]], outcomes: Iterator[Any]
) -> Watched:
    def sends(message: Message) -> Result | None:
        world.check(message)
        result: Result | None = next(outcomes, Result("delivered", "webhook"))
        counts = result is not None and (result.outcome == "delivered" or result.may_have_arrived)
        if counts and message.outgoing.kind != "end":
            world.arrived.append(message.at)
        return result

    world = Watched(policy, now=NOW, sends=sends)
    for pause, together in story:
        world.waits(hours=pause).hears(*together)
    return world.waits(days=60)


@settings(max_examples=150)
@given(policies, stories(), st.lists(results, max_size=12))
def test_no_message_comes_too_often_at_a_bad_time_after_a_stop_or_about_what_is_not_wanted(
    policy: Policy, story: Any, outcomes: list[Any]
) -> None:
    told(policy, story, iter(outcomes))  # looks at each message


@settings(max_examples=150)
@given(policies, stories(), st.lists(results, max_size=12))
def test_every_prompt_that_stands_is_delivered_or_has_a_recorded_reason(
    policy: Policy, story: Any, outcomes: list[Any]
) -> None:
    world = told(policy, story, iter(outcomes))
    recorded = {said.record_id for said in world.said}
    for employee in EMPLOYEES:
        pid = prompt_id(CYCLE, EmployeeId(employee), EmployeeId("E1"))
        newest = max(
            (e.version for _, events in story for e in events if getattr(e, "prompt_id", "") == pid), default=0
        )
        for version in range(1, newest + 1):
            sent = any((pid, version) in message.about for message in world.messages)
            assert sent or version_event_id(pid, version) in recorded, f"nothing is known of {employee}, {version}"
        if newest:
            held = world.sponsor.prompts[pid]
            assert held.version == newest
            under_way = world.sponsor.outgoing.parts if world.sponsor.outgoing is not None else ()
            tried = any((part.prompt_id, part.version) == (pid, newest) for part in under_way)
            assert held.outcome is not None or held.noted or tried, "it is neither done with nor waiting for anything"


@settings(max_examples=100)
@given(policies, stories(), st.lists(results.filter(lambda result: result is not None), max_size=12))
def test_everything_told_again_changes_nothing(policy: Policy, story: Any, outcomes: list[Any]) -> None:
    world = told(policy, story, iter(outcomes))
    failed = {held.version for held in world.sponsor.prompts.values() if held.outcome == "failed"}
    before = (len(world.messages), len(world.said), world.sponsor)
    for _, together in story:
        world.hears(*(event for event in together if getattr(event, "version", 0) not in failed))
    assert (len(world.messages), len(world.said), world.sponsor) == before


@settings(max_examples=100)
@given(stories(), st.data())
def test_in_whatever_order_and_how_often_it_is_told_the_same_stands_in_the_end(story: Any, data: st.DataObject) -> None:
    events = [event for _, together in story for event in together]
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=4))
    in_order = Watched(a_policy()).hears(*events)
    shuffled = Watched(a_policy())
    for event in data.draw(st.permutations(repeated)):
        shuffled.hears(event)
    assert _standing(shuffled.waits(days=60)) == _standing(in_order.waits(days=60))
    assert shuffled.sponsor.choices == in_order.sponsor.choices


def _standing(world: World) -> dict[str, tuple[int, bool, str | None]]:
    """Return of each prompt that the sponsor wants: its newest version, whether that is up, and what became of it.

    What they do not want they may have got before they said so, or not.
    """
    if is_stopped(world.sponsor):
        return {}
    return {
        pid: (held.version, held.asks and held.shown_version == held.version, held.outcome if held.asks else None)
        for pid, held in world.sponsor.prompts.items()
        if not is_not_mine(world.sponsor, held.employee_id)
    }


@settings(max_examples=50)
@given(stories())
def test_versions_of_a_prompt_are_told_in_order_and_each_once(story: Any) -> None:
    world = told(a_policy(), story, iter(()))
    for employee in EMPLOYEES:
        pid = prompt_id(CYCLE, EmployeeId(employee), EmployeeId("E1"))
        versions = [version for message in world.messages for about, version in message.about if about == pid]
        assert versions == sorted(set(versions))


def test_the_builders_make_what_asks_and_what_does_not() -> None:
    assert isinstance(_event("ask", 1, "E2"), PromptOpened)
    assert isinstance(_event("snooze", 2, "E2"), PromptUpdated)
