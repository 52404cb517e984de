"""Runs insights: `python -m services.insights`."""

from services.insights.app import NAME, build
from services.insights.settings import InsightsSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        NAME,
        "Projects career events, prompts, gaps and deliveries into a SQL read model and serves it as a JSON API.",
        InsightsSettings,
        build,
    )
