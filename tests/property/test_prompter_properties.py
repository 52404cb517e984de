"""In whatever order, however often and in whatever runs versions of prompts arrive, no sponsor is asked twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.prompter.what_is_sent import Deliver, PromptRecord, Repeat, Skip, after, plan_run
from shared.contracts.ids import EventId, PromptId
from shared.contracts.outputs import PromptEvent, PromptOpened, PromptUpdated
from tests.prompt_events import NOW, fulfilled, opened, updated, withdrawn


@st.composite
def histories(draw: st.DrawFn) -> list[PromptEvent]:
    """One prompt's versions, from the first on, as a correlator could decide them."""
    employee = draw(st.sampled_from(["E2", "E3"]))
    kinds = draw(st.lists(st.sampled_from(["shown", "snoozed", "withdrawn", "fulfilled"]), min_size=1, max_size=6))
    events: list[PromptEvent] = []
    for version, kind in enumerate(kinds, start=1):
        if kind == "shown":
            events.append((opened if version == 1 else updated)(version, employee=employee))
        elif kind == "snoozed":
            events.append(updated(version, employee=employee, snoozed_until=NOW + timedelta(days=1)))
        else:
            events.append((withdrawn if kind == "withdrawn" else fulfilled)(version, employee=employee))
    return events


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[PromptEvent]]:
    """Runs of records: a history in any order, parts of it repeated, cut anywhere."""
    history = draw(histories())
    repeated = history + draw(st.lists(st.sampled_from(history), max_size=6))
    return draw(runs_of(draw(st.permutations(repeated))))


@st.composite
def runs_of(draw: st.DrawFn, events: list[PromptEvent]) -> list[list[PromptEvent]]:
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(events) - 1)), max_size=5)))
    return [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True) if a < b]


class Receiver:
    """What a receiver saw and what was recorded, of a prompter whose deliveries all arrive, save those that `fails`."""

    def __init__(self, fails: Mapping[int, bool] | None = None) -> None:
        self.known: dict[PromptId, PromptRecord] = {}
        self.seen: list[PromptEvent] = []
        self.recorded: list[tuple[EventId, str]] = []
        self._fails = dict(fails or {})

    def handle(self, run: list[PromptEvent]) -> None:
        for event, decision in zip(run, plan_run(self.known, run), strict=True):
            match decision:
                case Deliver():
                    failed = self._fails.pop(event.version, False)
                    if not failed:
                        self.seen.append(event)
                    outcome = "failed" if failed else "delivered"
                case Skip():
                    outcome = "skipped"
                case Repeat():
                    continue
            self.recorded.append((event.id, outcome))
            self.known[event.prompt_id] = after(self.known.get(event.prompt_id), event, outcome)  # type: ignore[arg-type]

    @property
    def versions(self) -> list[int]:
        return [event.version for event in self.seen]


@given(arrivals())
def test_no_version_is_delivered_twice_and_none_after_a_newer_one(runs: list[list[PromptEvent]]) -> None:
    receiver = Receiver()
    for run in runs:
        receiver.handle(run)
    assert receiver.versions == sorted(set(receiver.versions))


@given(arrivals())
def test_the_newest_version_is_delivered_if_it_asks_and_is_not_snoozed(runs: list[list[PromptEvent]]) -> None:
    receiver = Receiver()
    for run in runs:
        receiver.handle(run)
    newest = max((event for run in runs for event in run), key=lambda event: event.version)
    if isinstance(newest, PromptOpened | PromptUpdated) and newest.snoozed_until is None:
        assert receiver.seen[-1] == newest


@given(arrivals())
def test_an_end_reaches_only_those_who_were_asked(runs: list[list[PromptEvent]]) -> None:
    receiver = Receiver()
    for run in runs:
        receiver.handle(run)
    up = False
    for event in receiver.seen:
        asks = isinstance(event, PromptOpened | PromptUpdated)
        assert asks or up
        up = asks


@given(arrivals())
def test_no_prompt_stays_up_whose_newest_version_is_an_end(runs: list[list[PromptEvent]]) -> None:
    receiver = Receiver()
    for run in runs:
        receiver.handle(run)
    newest = max((event for run in runs for event in run), key=lambda event: event.version)
    if receiver.seen and not isinstance(newest, PromptOpened | PromptUpdated):
        assert not isinstance(receiver.seen[-1], PromptOpened | PromptUpdated)


@given(arrivals())
def test_everything_delivered_again_changes_nothing(runs: list[list[PromptEvent]]) -> None:
    receiver = Receiver()
    for run in runs:
        receiver.handle(run)
    before = (list(receiver.seen), list(receiver.recorded), dict(receiver.known))
    for run in runs:
        receiver.handle(run)
    assert (receiver.seen, receiver.recorded, receiver.known) == before


@given(histories(), st.data())
def test_in_the_order_of_the_log_each_version_has_one_outcome(history: list[PromptEvent], data: st.DataObject) -> None:
    receiver = Receiver()
    for run in data.draw(runs_of(history)):
        receiver.handle(run)
    assert [event_id for event_id, _ in receiver.recorded] == [event.id for event in history]


@given(histories(), st.data())
def test_a_dead_letter_replayed_is_delivered_unless_something_newer_came(
    history: list[PromptEvent], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from(history))
    receiver = Receiver(fails={lost.version: True})
    for run in data.draw(runs_of(history)):
        receiver.handle(run)
    was_tried = (lost.id, "failed") in receiver.recorded
    receiver.handle([lost])
    assert (lost in receiver.seen) == (was_tried and lost.version == history[-1].version)
    assert receiver.versions == sorted(set(receiver.versions))
