"""The one table of the services that exist, with their ports and the names of their settings.

The demo, the tests, docker-compose.yml and Prometheus all follow it; tests/unit/test_deploy.py compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Service:
    """A service: one process, `python -m services.<name>`."""

    name: str
    http_port: int
    requires: tuple[str, ...] = ()
    """Variables without a default: whoever starts the service must supply them, as they are secrets and addresses."""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Variables with the value they have here, where that is not the service's own default."""

    @property
    def module(self) -> str:
        """The module to run."""
        return f"services.{self.name}"


SERVICES: tuple[Service, ...] = (
    Service("people", 8101),
    Service("achievements", 8102),
    Service("cycles", 8103, env={"CYCLES_CLOCK": "wall"}),
    Service("endorsements", 8104),
    Service("correlator", 8105),
    Service("sources", 8107),
    Service("scim", 8110),
    Service("prompter", 8106),  # which channels it needs settings for is said by its policy's file
    Service("portal", 8108, requires=("PORTAL_URL", "PORTAL_KEYS")),
    Service("insights", 8090),
    # Last to start and first to stop: nothing comes in that nobody is there to take.
    Service("gateway", 8080, requires=("GATEWAY_TOKENS",)),
)


def service(name: str) -> Service:
    """Return the service of this name."""
    for known in SERVICES:
        if known.name == name:
            return known
    raise KeyError(f"no service {name!r}; there are {', '.join(known.name for known in SERVICES)}")
