"""Wires the endorsements service: `feeds.endorsements` in, `career-events` out."""

from __future__ import annotations

from services.endorsements.handlers import take
from services.endorsements.settings import EndorsementsSettings
from shared.contracts.feeds import ENDORSEMENTS
from shared.streaming.intake import intake
from shared.streaming.service import StreamService


def build(settings: EndorsementsSettings) -> StreamService:
    """Return the service."""
    service = StreamService("endorsements", settings)
    intake(service, "endorsements", ENDORSEMENTS, take)
    return service
