"""Runs the portal: `python -m services.portal`."""

from services.portal.app import NAME, build
from services.portal.settings import PortalSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        NAME,
        "Serves the page behind a prompt's link, where a sponsor reads what is asked and answers it.",
        PortalSettings,
        build,
    )
