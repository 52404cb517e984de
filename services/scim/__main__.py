"""Runs the SCIM provider: `python -m services.scim`."""

from services.scim.app import NAME, build
from services.scim.settings import ScimSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        NAME,
        "Takes users and groups from an identity system by SCIM 2.0, and tells the sources service of each change.",
        ScimSettings,
        build,
    )
