"""Runs a service that Kafka misses two seconds after it was killed, and not ten: `python -m tests.impatient`.

For tests that kill a service and have something to say of what comes after; else they wait most of their time for the
group to see that somebody is dead, which is a setting and proves nothing.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from deploy.broker import Broker, ExternalBroker
from deploy.stack import SERVICES, Service
from shared.streaming.service import StreamService

SESSION = 2.0
"""Seconds. Heartbeats come from a thread of their own, five in that time."""
_NAME = "IMPATIENT_SERVICE"


@dataclass(frozen=True, slots=True)
class Impatient(Service):
    """A service as it is, but for its session."""

    @property
    def module(self) -> str:
        """This one, which runs the service's."""
        return "tests.impatient"


def impatient(kafka: Broker | ExternalBroker, services: Iterable[Service] = SERVICES) -> list[Service]:
    """Return the services so, on a Kafka of our own: another may not let in who wants to be missed so soon."""
    if isinstance(kafka, ExternalBroker):
        return list(services)
    return [Impatient(s.name, s.http_port, s.requires, {**s.env, _NAME: s.name}) for s in services]


def missed_after(service: StreamService, seconds: float) -> None:
    """Let Kafka miss the service so long after its last heartbeat; to be called before it starts."""
    service.app.conf.broker_session_timeout = seconds
    service.app.conf.broker_heartbeat_interval = seconds / 5


def _run(name: str) -> None:
    begin = StreamService.__init__

    def begin_so(self: StreamService, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        missed_after(self, SESSION)

    with mock.patch.object(StreamService, "__init__", begin_so):
        runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run(os.environ[_NAME])
