"""Wires the sources service: `sources.received` in, `feeds.*` out."""

from __future__ import annotations

from services.sources.fetching import Fetcher
from services.sources.handlers import SERVICE, DeliveryHandler
from services.sources.settings import SourcesSettings, read_credentials
from shared.sources.files import read_sources
from shared.streaming.service import StreamService
from shared.streaming.topics import SOURCES_RECEIVED


def build(settings: SourcesSettings) -> StreamService:
    """Return the service."""
    service = StreamService(SERVICE, settings)
    sources = read_sources(settings.sources_dir)
    fetcher = Fetcher(
        sources,
        read_credentials(settings.credentials.get_secret_value(), sources),
        timeout_seconds=settings.fetch_timeout_seconds,
        give_up_seconds=settings.fetch_give_up_after_seconds,
    )
    service.alongside(fetcher)
    service.consume([SOURCES_RECEIVED], DeliveryHandler(sources, fetcher))
    return service
