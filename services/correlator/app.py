"""Wires the correlator: career-events in, prompts and gaps out, state by employee; and why, over HTTP."""

from __future__ import annotations

from services.correlator.api import SORTS, make_api
from services.correlator.forgetting import STANDING
from services.correlator.handlers import Correlator
from services.correlator.settings import CorrelatorSettings
from shared.service.access import guarded
from shared.streaming.noting import note_reading
from shared.streaming.person_keys import Keyring
from shared.streaming.service import StreamService
from shared.streaming.topics import CAREER_EVENTS

NAME = "correlator"


def build(settings: CorrelatorSettings) -> StreamService:
    """Return the service, not started."""
    servers = settings.kafka_bootstrap_servers
    keys = Keyring(settings, servers)
    service = StreamService(
        NAME,
        settings,
        http=lambda health: guarded(
            make_api(servers, keys, settings.policy, health),
            settings,
            SORTS,
            lambda read: note_reading(service, read),
        ),
        keys=keys,
    )
    state = service.state("standing", STANDING)
    correlator = Correlator(state, settings.policy, NAME, service.keep)
    service.consume([CAREER_EVENTS], correlator.handle, state=state, max_run=1000)
    service.when_moved(correlator.forget)
    return service
