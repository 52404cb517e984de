"""`python -m services.gateway`."""

from __future__ import annotations

from services.gateway.app import build
from services.gateway.settings import GatewaySettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "gateway",
        "Takes CloudEvents over HTTP into the feeds.* topics and answers 202 once Kafka has acknowledged them.",
        GatewaySettings,
        build,
    )
