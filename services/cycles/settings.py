"""The settings of the cycles service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.cycles.normalise import ClockSource
from shared.service.settings import http_port
from shared.streaming.service import StreamSettings


class CyclesSettings(StreamSettings):
    """Where the time of the log comes from, and how often it is told."""

    model_config = SettingsConfigDict(env_prefix="CYCLES_")

    http_port: int = http_port(8103)
    clock: ClockSource = Field(
        "wall",
        description="where the log's time comes from. wall: this machine's clock; feed: clock.ticked events of "
        "feeds.cycles alone, for replays and demos",
    )
    tick_seconds: float = Field(
        60,
        gt=0,
        le=3600,
        description="how often the time is told where the clock is wall, in seconds; a cycle opens and closes, and a "
        "snoozed prompt returns, this late at most",
    )
