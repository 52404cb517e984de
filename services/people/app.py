"""Wires the people service: `feeds.people` to `people-changes`, and those to `identities` and `career-events`."""

from __future__ import annotations

from services.people.forgetting import PEOPLE as PEOPLE_STATE
from services.people.handlers import ChangeHandler, disown, take
from services.people.settings import PeopleSettings
from shared.contracts.feeds import PEOPLE
from shared.streaming.intake import intake
from shared.streaming.service import StreamService, each
from shared.streaming.topics import PEOPLE_CHANGES

SERVICE = "people"


def build(settings: PeopleSettings) -> StreamService:
    """Return the service."""
    service = StreamService(SERVICE, settings)
    intake(service, "people", PEOPLE, take, disown)
    # One state, for a person's belongs together with the org tree and the time that it was told from.
    state = service.state("people", PEOPLE_STATE)
    handler = ChangeHandler(state.part("person"), state.part("unit"), state.part("clock"))
    service.consume([PEOPLE_CHANGES], each(handler, SERVICE), state=state)
    return service
