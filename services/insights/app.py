"""Wires insights: its topics into the projector, the projector and the API onto one database."""

from __future__ import annotations

from services.insights.api import SORTS, make_api
from services.insights.dashboard import Dashboard
from services.insights.handlers import Projector
from services.insights.measures.measuring import Comparing, Measuring
from services.insights.offsets import LogPosition
from services.insights.projection import AttributesKept, topics_of
from services.insights.reading import Reader
from services.insights.settings import InsightsSettings
from shared.database import for_reading, open_database
from shared.processing import read_processing
from shared.service.access import guarded
from shared.streaming.noting import note_reading
from shared.streaming.service import StreamService

NAME = "insights"


class Insights(StreamService):
    """The service; a stop does not wait for a database or a Kafka that is away."""

    def __init__(self, settings: InsightsSettings) -> None:
        engine = open_database(settings.database_url, NAME)
        attributes = settings.protected_attributes
        topics = topics_of(attributes)
        self._position = LogPosition(
            settings.kafka_bootstrap_servers, NAME, engine, settings.offsets_every_seconds, topics
        )
        reader = Reader(for_reading(engine), lambda: self._position.ends, attributes)
        dashboard = Dashboard(reader.for_dashboard, compares=bool(attributes))
        processing = read_processing(settings.processing_file)
        super().__init__(
            NAME,
            settings,
            http=lambda health: guarded(
                make_api(reader, dashboard, health, processing), settings, SORTS, lambda read: note_reading(self, read)
            ),
        )
        kept = AttributesKept(frozenset(attributes), self.keys.is_erased)
        self._projector = Projector(engine, NAME, kept)
        self.health.require("database", self._projector.patience.objection)
        self.health.require("offsets", self._position.patience.objection)
        self.alongside(self._projector)
        self.alongside(self._position)
        comparing = Comparing(engine, settings.least_group, attributes, self._position.is_caught_up)
        self.alongside(
            Measuring(engine, settings.least_group, settings.measure_every_seconds, dashboard.page, comparing)
        )
        self.consume(topics, self._projector.handle, max_run=settings.max_run)

    async def stop(self) -> None:
        """End the run in hand, unless what it waits for is away; it is repeated at the next start."""
        self._projector.patience.give_up()
        self._position.patience.give_up()
        await super().stop()


def build(settings: InsightsSettings) -> Insights:
    """Return the service; connects to nothing."""
    return Insights(settings)
