"""Runs the correlator: `python -m services.correlator`."""

from __future__ import annotations

from services.correlator.app import NAME, build
from services.correlator.settings import CorrelatorSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        NAME,
        "Decides from career events which sponsor is prompted for whom, with which evidence, and where nobody speaks.",
        CorrelatorSettings,
        build,
    )
