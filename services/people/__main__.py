"""`python -m services.people`."""

from services.people.app import build
from services.people.settings import PeopleSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "people",
        "Turns what feeds.people says of employees, org units and relationships into identities and career events.",
        PeopleSettings,
        build,
    )
