"""`python -m services.sources`."""

from services.sources.app import build
from services.sources.settings import SourcesSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "sources",
        "Turns what sources' webhooks sent into events of feeds.*, as each source's file says.",
        SourcesSettings,
        build,
    )
