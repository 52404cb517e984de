"""`python -m services.cycles`."""

from services.cycles.app import build
from services.cycles.settings import CyclesSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "cycles",
        "Tells every partition of the log about the cycles in feeds.cycles, and what time it is.",
        CyclesSettings,
        build,
    )
