"""Wires the sources service: `sources.received`, what is polled, and companies' topics in, `feeds.*` out."""

from __future__ import annotations

from typing import Final

from services.sources.accounts import Accounts
from services.sources.fetching import Fetcher
from services.sources.following import Follower
from services.sources.handlers import SERVICE, DeliveryHandler
from services.sources.memory import KafkaMemory
from services.sources.polling import Poller
from services.sources.settings import SourcesSettings, read_credentials
from shared.sources.files import read_sources
from shared.streaming.service import StreamService
from shared.streaming.topics import SOURCES_RECEIVED

_FETCHED_TOGETHER: Final = 100


def build(settings: SourcesSettings) -> StreamService:
    """Return the service."""
    service = StreamService(SERVICE, settings)
    sources = read_sources(settings.sources_dir)
    accounts = Accounts(
        sources,
        read_credentials(settings.credentials.get_secret_value(), sources),
        timeout_seconds=settings.fetch_timeout_seconds,
    )
    service.alongside(accounts)
    fetcher = Fetcher(sources, accounts, give_up_seconds=settings.fetch_give_up_after_seconds)
    # Where records are fetched, a run has to end within Kafka's patience, however slowly an API lets itself be asked.
    fetches = any(source.fetch is not None and accounts.get(name) is not None for name, source in sources.items())
    handler = DeliveryHandler(sources, fetcher, takes_attributes=bool(settings.protected_attributes))
    service.consume([SOURCES_RECEIVED], handler, max_run=_FETCHED_TOGETHER if fetches else 500)
    poller = Poller(
        sources,
        accounts,
        KafkaMemory(settings.kafka_bootstrap_servers),
        write=service.write,
        holds=lambda partition: service.holds(SOURCES_RECEIVED, partition),
        give_up_seconds=settings.fetch_give_up_after_seconds,
    )
    service.beside(poller.run)
    service.beside(Follower(sources, settings.kafka_bootstrap_servers, service.write).run)
    return service
