"""`python -m services.endorsements`."""

from services.endorsements.app import build
from services.endorsements.settings import EndorsementsSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "endorsements",
        "Turns what sponsors say in feeds.endorsements into events on the employee's log.",
        EndorsementsSettings,
        build,
    )
