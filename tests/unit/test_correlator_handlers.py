"""How the correlator's handler deals with runs of records: visits, faults, topics and keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from services.correlator import handlers
from services.correlator.handlers import Correlator
from services.correlator.policy import Policy
from services.correlator.rules import Decision, reconsider
from services.correlator.state import Calendar, EmployeeState
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, write_contract
from shared.contracts.ids import EventId
from shared.contracts.outputs import PromptOpened, PromptUpdated, read_gap_event, read_prompt_event
from shared.streaming import state, turns
from shared.streaming.records import Output, Record
from tests.career import (
    CLOSES,
    IN_CYCLE,
    a_cycle,
    a_relationship,
    a_relationship_ended,
    a_tick,
    a_tied_person,
    an_achievement,
    an_employee_joined,
    days_after,
)
from tests.states import a_state, changed, never_kept


class Service:
    """The handler over state in memory."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.state = a_state(self.stored)
        self.correlator = Correlator(self.state, Policy(), "correlator", never_kept)
        self.offset = 0

    async def take(self, *events: CareerEvent | bytes | None, partition: int = 1) -> Sequence[Output]:
        records = []
        for event in events:
            value = event if isinstance(event, bytes) or event is None else write_contract(event)
            records.append(Record("career-events", partition, self.offset, b"key", value, (), utc(2026, 1, 1)))
            self.offset += 1
        outputs = await self.correlator.handle(records)
        self.state.settle()
        return outputs

    def restart(self) -> None:
        """Start anew on what is stored, found in another order."""
        for key in sorted(self.stored, reverse=True):
            self.stored[key] = self.stored.pop(key)
        self.correlator = Correlator(self.state, Policy(), "correlator", never_kept)


def five_employees() -> list[CareerEvent]:
    return [an_employee_joined(employee_id=f"E{n}") for n in range(5)]


def gaps_of(outputs: Sequence[Output]) -> list[str]:
    return [read_gap_event(o.value or b"").employee_id for o in outputs if o.topic == "gaps"]


async def test_a_prompt_is_keyed_by_its_sponsor_and_a_gap_by_its_employee() -> None:
    outputs = await Service().take(
        an_employee_joined(), a_relationship(), a_tied_person(), a_cycle(), a_tick(), a_relationship_ended()
    )
    assert [(o.topic, o.key, o.partition) for o in outputs] == [
        ("prompts", b"S1", None),
        ("prompts", b"S1", None),
        ("gaps", b"E1", None),
    ]
    assert read_prompt_event(outputs[0].value or b"").type == "prompt.opened"


async def test_the_opening_of_a_cycle_visits_everybody_in_a_fixed_order_also_after_a_restart() -> None:
    service = Service()
    await service.take(*reversed(five_employees()), a_tick())
    service.restart()
    assert gaps_of(await service.take(a_cycle())) == ["E0", "E1", "E2", "E3", "E4"]


async def test_a_cycle_in_one_partition_is_no_news_of_another() -> None:
    service = Service()
    await service.take(an_employee_joined(), a_tick(), partition=1)
    assert await service.take(a_cycle(), partition=2) == []
    assert gaps_of(await service.take(a_cycle(), partition=1)) == ["E1"]


async def test_one_employee_whom_the_rules_fail_on_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    await service.take(*five_employees(), a_tick())
    monkeypatch.setattr(handlers, "reconsider", _failing_for("E2"))
    cycle = a_cycle()
    outputs = await service.take(cycle)
    assert gaps_of(outputs) == ["E0", "E1", "E3", "E4"]
    (dead,) = [o for o in outputs if o.topic == "career-events.dead"]
    assert dead.value == write_contract(cycle)
    assert b"E2 has odd data" in dict(dead.headers)["dead-reason"]
    monkeypatch.undo()
    later = await service.take(a_tick(CLOSES), a_cycle(cycle_id="next", closes_at=days_after(CLOSES, 30)))
    assert "E2" in gaps_of(later)


async def test_a_fault_at_a_tick_does_not_hold_up_others_who_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    start = utc(2026, 3, 20)
    for n in range(3):
        joined = an_employee_joined(employee_id=f"E{n}", effective_at=start)
        await service.take(joined)
    await service.take(a_cycle(), a_tick())
    monkeypatch.setattr(handlers, "reconsider", _failing_for("E0"))
    assert gaps_of(await service.take(a_tick(start))) == ["E1", "E2"]


async def test_a_tick_looks_only_at_those_for_whom_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    await service.take(*five_employees(), a_cycle(), a_tick())
    await service.take(an_employee_joined(employee_id="E9", effective_at=days_after(IN_CYCLE, 5)))
    visited: list[str] = []

    def noting(employee: EmployeeState, calendar: Calendar, because_of: EventId, policy: Policy) -> Decision:
        visited.append(employee.employee_id)
        return reconsider(employee, calendar, because_of, policy)

    monkeypatch.setattr(handlers, "reconsider", noting)
    await service.take(a_tick(days_after(IN_CYCLE, 4)))
    assert visited == []
    await service.take(a_tick(days_after(IN_CYCLE, 5)), a_tick(days_after(IN_CYCLE, 6)))
    assert visited == ["E9"]


async def test_who_becomes_due_after_others_have_been_looked_up_is_not_missed() -> None:
    service = Service()
    await service.take(a_cycle(), a_tick(), a_tick(days_after(IN_CYCLE, 1)))
    await service.take(an_employee_joined(effective_at=days_after(IN_CYCLE, 5)))
    assert gaps_of(await service.take(a_tick(days_after(IN_CYCLE, 5)))) == ["E1"]


async def test_who_is_due_is_known_again_after_a_restart_and_when_partitions_have_moved() -> None:
    for forget in (Service.restart, lambda service: service.correlator.forget()):
        service = Service()
        await service.take(an_employee_joined(effective_at=days_after(IN_CYCLE, 5)), a_cycle(), a_tick())
        forget(service)
        assert gaps_of(await service.take(a_tick(days_after(IN_CYCLE, 5)))) == ["E1"]


async def test_what_another_process_did_while_it_held_the_partition_is_known() -> None:
    service, other = Service(), Service()
    start = days_after(IN_CYCLE, 5)
    await service.take(an_employee_joined(), a_relationship(), a_tied_person(), a_cycle(), a_tick())
    await service.take(a_tick(days_after(IN_CYCLE, 1)))
    other.stored.update(service.stored)
    other.offset = service.offset
    await other.take(a_relationship_ended(ended_at=start))
    service.stored.update(other.stored)
    service.correlator.forget()
    service.offset = other.offset
    outputs = await service.take(a_tick(start))
    assert [o.topic for o in outputs] == ["prompts", "gaps"]


@pytest.mark.parametrize("poison", [b"", b"{", b'{"type": "employee.joined"}', b'{"type": "no.such"}', b"\xff", None])
async def test_what_is_no_career_event_is_buried_and_the_run_goes_on(poison: bytes | None) -> None:
    outputs = await Service().take(an_employee_joined(), poison, a_cycle(), a_tick())
    assert [o.topic for o in outputs] == ["career-events.dead", "gaps"]
    assert outputs[0].value == poison


async def test_what_does_not_change_an_employee_is_not_written() -> None:
    service = Service()
    event = an_employee_joined()
    await service.take(event, a_cycle(), a_tick())
    await service.correlator.handle(
        [Record("career-events", 1, 99, b"key", write_contract(event), (), utc(2026, 1, 1))]
    )
    assert changed(service.state) == []


async def test_the_calendar_is_the_last_that_a_run_changes_so_that_a_crash_never_leaves_it_ahead() -> None:
    service = Service()
    records = [a_tick(), a_cycle(), *five_employees(), a_tick(CLOSES)]
    await service.correlator.handle(
        [Record("career-events", 1, n, b"key", write_contract(e), (), IN_CYCLE) for n, e in enumerate(records)]
    )
    keys = changed(service.state)
    assert keys[-1] == b"1/calendar"
    assert len(keys) == 6


async def test_an_employee_whose_state_outlived_a_crash_is_not_judged_by_a_calendar_that_did_not() -> None:
    service = Service()
    await service.take(an_employee_joined())
    run = [
        Record("career-events", 1, 10 + n, b"key", write_contract(event), (), IN_CYCLE)
        for n, event in enumerate([a_cycle(), a_tick(), an_achievement(), a_tick(CLOSES), an_achievement("A2")])
    ]
    first = await service.correlator.handle(run)
    assert len(first) == 2
    assert changed(service.state) == [b"1/employee/E1", b"1/calendar"]
    employee = service.stored[b"1/employee/E1"]
    service = Service()
    service.stored[b"1/employee/E1"] = employee
    assert await service.correlator.handle(run) == []


async def test_others_get_the_event_loop_between_the_events_of_a_run_once_its_turn_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service()
    for turn_seconds, least, most in ((0.0, 20, 40), (3600.0, 0, 5)):
        monkeypatch.setattr(turns, "TURN_SECONDS", turn_seconds)
        async with others_turns() as had:
            await service.take(*(an_achievement(f"A{n}") for n in range(20)))
        assert least <= had[0] <= most


async def test_others_get_the_event_loop_between_the_employees_of_a_visit_also_where_it_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service()
    await service.take(*(an_employee_joined(employee_id=f"E{n}") for n in range(20)), a_tick())
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    opening = Record("career-events", 1, service.offset, None, write_contract(a_cycle()), (), IN_CYCLE)
    for said in (20, 0):
        async with others_turns() as had:
            assert len(await service.correlator.handle([opening])) == said
        assert had[0] >= 20
        service.state.settle()
        del service.stored[b"1/calendar"]  # which a crash can leave behind the employees


async def test_others_get_the_event_loop_while_it_is_worked_out_who_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    await service.take(*(an_employee_joined(employee_id=f"E{n}") for n in range(20)), a_tick())
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    async with others_turns() as had:
        await service.take(a_tick(days_after(IN_CYCLE, 1)))
    assert had[0] >= 20


@asynccontextmanager
async def others_turns() -> AsyncIterator[list[int]]:
    """Count how often somebody else gets the event loop."""
    had = [0]

    async def count() -> None:
        while True:
            had[0] += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    yield had
    counting.cancel()


def _failing_for(employee_id: str) -> Callable[[EmployeeState, Calendar, EventId, Policy], Decision]:
    def fail(employee: EmployeeState, calendar: Calendar, because_of: EventId, policy: Policy) -> Decision:
        if employee.employee_id == employee_id:
            raise RuntimeError(f"{employee_id} has odd data")
        return reconsider(employee, calendar, because_of, policy)

    return fail


async def test_an_employee_too_large_for_a_record_is_the_dead_letter_of_what_made_them_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service()
    await service.take(an_employee_joined(), a_cycle(), a_relationship(), a_tied_person(), a_tick(IN_CYCLE))
    monkeypatch.setattr(state, "_LARGEST_VALUE", 4000)
    outputs = await service.take(
        an_achievement("small"), an_achievement("large", outcome="x" * 2000, link="l" * 2000), an_achievement("after")
    )
    (buried,) = [output for output in outputs if output.topic == "career-events.dead"]
    assert b"large" in (buried.value or b"")
    assert "there is room for 4,000" in dict(buried.headers)["dead-reason"].decode()
    said = [read_prompt_event(output.value) for output in outputs if output.topic == "prompts" and output.value]
    (last,) = [event for event in said[-1:] if isinstance(event, PromptOpened | PromptUpdated)]
    assert {piece.evidence_id for piece in last.body.evidence} == {"small", "after"}
