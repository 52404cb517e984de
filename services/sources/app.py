"""Wires the sources service: `sources.received` in, `feeds.*` out."""

from __future__ import annotations

from services.sources.handlers import SERVICE, DeliveryHandler
from services.sources.settings import SourcesSettings
from shared.sources.files import read_sources
from shared.streaming.service import StreamService, each
from shared.streaming.topics import SOURCES_RECEIVED


def build(settings: SourcesSettings) -> StreamService:
    """Return the service."""
    service = StreamService(SERVICE, settings)
    handler = DeliveryHandler(read_sources(settings.sources_dir))
    service.consume([SOURCES_RECEIVED], each(handler, SERVICE))
    return service
