"""Wires insights: its topics into the projector, the projector and the API onto one database."""

from __future__ import annotations

from services.insights.api import SORTS, make_api
from services.insights.dashboard import Dashboard
from services.insights.handlers import Projector
from services.insights.measures.measuring import Measuring
from services.insights.offsets import LogPosition
from services.insights.projection import TOPICS
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
        self._projector = Projector(engine, NAME)
        self._position = LogPosition(
            settings.kafka_bootstrap_servers, NAME, engine, every_seconds=settings.offsets_every_seconds
        )
        reader = Reader(for_reading(engine), lambda: self._position.ends)
        dashboard = Dashboard(reader.for_dashboard)
        processing = read_processing(settings.processing_file)
        super().__init__(
            NAME,
            settings,
            http=lambda health: guarded(
                make_api(reader, dashboard, health, processing), settings, SORTS, lambda read: note_reading(self, read)
            ),
        )
        self.health.require("database", self._projector.patience.objection)
        self.health.require("offsets", self._position.patience.objection)
        self.alongside(self._projector)
        self.alongside(self._position)
        self.alongside(Measuring(engine, settings.least_group, settings.measure_every_seconds, dashboard.page))
        self.consume(TOPICS, self._projector.handle, max_run=settings.max_run)

    async def stop(self) -> None:
        """End the run in hand, unless what it waits for is away; it is repeated at the next start."""
        self._projector.patience.give_up()
        self._position.patience.give_up()
        await super().stop()


def build(settings: InsightsSettings) -> Insights:
    """Return the service; connects to nothing."""
    return Insights(settings)
