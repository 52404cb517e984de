"""Builders of prompt events, and of a whole prompt with everything in it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from services.prompter.letter import Item, Letter
from shared.contracts.ids import CycleId, EmployeeId, EventId, PromptId, prompt_id, version_event_id
from shared.contracts.outputs import (
    Evidence,
    Opportunity,
    PromptBody,
    PromptEvent,
    PromptFulfilled,
    PromptOpened,
    PromptUpdated,
    PromptWithdrawn,
    Protege,
    Reason,
)
from shared.languages import IN_ENGLISH, Language

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
CYCLE = CycleId("spring-2026")


def a_body(**changes: Any) -> PromptBody:
    fields: dict[str, Any] = {
        "opportunity": Opportunity(
            cycle_id=CYCLE,
            kind="promotion",
            title="Spring promotions 2026",
            competencies=("technical leadership", "delivery"),
            closes_at=datetime(2026, 3, 27, 17, tzinfo=UTC),
        ),
        "protege": Protege(employee_id=EmployeeId("E2"), name="Mina Okafor", level=5, unit_id=None),
        "sponsor_name": "Priya Raman",
        "why": "You are Mina Okafor's sponsor since 4 May 2024",
        "evidence": (
            Evidence(
                kind="achievement",
                evidence_id="A1",
                title="Checkout answers in half the time",
                outcome="From 900 ms to 430 ms at the busiest hour; 3 % more orders",
                occurred_on=date(2026, 1, 14),
                link="https://example.com/checkout",
                reasons=(
                    Reason(code="competency", text="shows technical leadership, which is looked for"),
                    Reason(code="seen_by_you", text="you saw it yourself"),
                ),
            ),
        ),
    }
    return PromptBody(**(fields | changes))


def _event(sponsor: str, employee: str, version: int, fields: dict[str, Any]) -> dict[str, Any]:
    sponsor_id, employee_id = EmployeeId(sponsor), EmployeeId(employee)
    prompt: PromptId = prompt_id(CYCLE, employee_id, sponsor_id)
    return {
        "id": version_event_id(prompt, version),
        "prompt_id": prompt,
        "version": version,
        "sponsor_id": sponsor_id,
        "cycle_id": CYCLE,
        "employee_id": employee_id,
        "at": NOW,
        "because_of": EventId("because"),
    } | fields


def opened(version: int = 1, *, sponsor: str = "E1", employee: str = "E2", **fields: Any) -> PromptOpened:
    return PromptOpened(**_event(sponsor, employee, version, {"body": a_body()} | fields))


def updated(version: int = 2, *, sponsor: str = "E1", employee: str = "E2", **fields: Any) -> PromptUpdated:
    return PromptUpdated(**_event(sponsor, employee, version, {"body": a_body()} | fields))


def withdrawn(version: int = 2, *, sponsor: str = "E1", employee: str = "E2", **fields: Any) -> PromptWithdrawn:
    return PromptWithdrawn(**_event(sponsor, employee, version, {"reason": "cycle_closed"} | fields))


def fulfilled(version: int = 2, *, sponsor: str = "E1", employee: str = "E2", **fields: Any) -> PromptFulfilled:
    return PromptFulfilled(**_event(sponsor, employee, version, {"endorsement_id": "N1"} | fields))


def a_letter(
    *events: PromptEvent,
    reminder: bool = False,
    email: str | None = None,
    slack: str | None = None,
    portal: str | None = None,
    language: Language = IN_ENGLISH,
) -> Letter:
    """Return the letter of one event, or the digest of several; with links where there is a portal."""
    items = tuple(Item(event, reminder, f"{portal}/p/{event.employee_id}" if portal else None) for event in events)
    stop = f"{portal}/unsubscribe/{events[0].sponsor_id}" if portal else None
    return Letter(events[0].id, events[0].sponsor_id, email, slack, stop, len(events) > 1, items, language)
