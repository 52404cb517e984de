"""Who looked at what, and did what: on the portal (`portal-audit`, keyed by the person who was signed in), and who read
people's data elsewhere (`reads-audit`, keyed by the reader)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract, EventTime
from shared.contracts.ids import EmployeeId, EventId, PromptId

AuditedView = Literal[
    "link_opened",
    "link_refused",
    "signed_in",
    "sign_in_refused",
    "prompt_viewed",
    "proteges_viewed",
    "preferences_viewed",
    "own_link_opened",
    "own_evidence_viewed",
    "own_told_viewed",
    "own_form_viewed",
]
AuditedAction = Literal[
    "endorsed",
    "declined",
    "snoozed",
    "not_mine",
    "taken_back",
    "stopped",
    "resumed",
    "preferences_set",
    "achievement_added",
    "achievement_corrected",
    "achievement_hidden",
    "achievement_shown",
    "signed_out",
]


class PortalAudited(Contract):
    """Something was seen or done. What was written, an endorsement's words say, is not repeated here."""

    type: Literal["portal.audited"] = "portal.audited"
    id: EventId = Field(description="new for each view; of an action, made of the event that it led to")
    at: EventTime = Field(description="wall clock of the portal")
    what: AuditedView | AuditedAction
    person_id: EmployeeId | None = Field(description="who was signed in; None where nobody was let in")
    session: str = Field(
        "", description="names the browser's session: a link that was passed on is opened in a session of its own"
    )
    prompt_id: PromptId | None = None
    employee_id: EmployeeId | None = Field(None, description="whom it was about: the protégé")
    event_id: EventId | None = Field(None, description="the event that the action led to")
    detail: str = Field("", description="why nobody was let in")


class ReadAudited(Contract):
    """Somebody asked insights or the correlator for people's data, and was given it or not."""

    type: Literal["read.audited"] = "read.audited"
    id: EventId
    at: EventTime = Field(description="wall clock of the service")
    who: str = Field(description="the reader's name in the access file")
    role: str
    sort: str | None = Field(description="the sort of data; None for a path that there is not")
    asked: str = Field(description="path and query; the ids in it say whom it was about")
    given: bool


def read_audited(value: bytes) -> PortalAudited:
    """Return what a record of `portal-audit` holds.

    Raises:
        pydantic.ValidationError: the bytes are no such thing.
    """
    return PortalAudited.model_validate_json(value)
