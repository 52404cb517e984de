"""This project: the correlator itself, all its rules; only its topic and its consumer group are another's."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from time import monotonic
from typing import Final
from unittest import mock

from services.correlator import app
from services.correlator.settings import CorrelatorSettings
from shared.service.main import run_service
from shared.streaming.service import StreamService

_LOOK_SECONDS: Final = 0.005
_LATE_SECONDS: Final = 0.01


def build(settings: CorrelatorSettings) -> StreamService:
    """Return the correlator, with somebody who looks at its event loop where the benchmark asks for that."""
    service = app.build(settings)
    if "BENCH_STALLS" in os.environ:
        out = Path(os.environ["BENCH_STALLS"]).open("a", buffering=1)  # noqa: SIM115 (for as long as the process lives)

        async def note_stalls() -> None:
            waited = _waited_seconds()
            while True:
                due = monotonic() + _LOOK_SECONDS
                await asyncio.sleep(_LOOK_SECONDS)
                late = monotonic() - due
                waited, before = _waited_seconds(), waited
                if late > _LATE_SECONDS:
                    out.write(json.dumps((due, late, max(0.0, late - (waited - before)))) + "\n")

        async def nothing_in_hand() -> None:
            pass

        service.beside(note_stalls, nothing_in_hand)
    return service


def _waited_seconds() -> float:
    """Return for how long this thread was ready to run while its core was somebody else's: proc(5), `schedstat`."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


if __name__ == "__main__":
    topic, group = os.environ["BENCH_TOPIC"], os.environ["BENCH_GROUP"]
    with mock.patch.multiple(app, CAREER_EVENTS=topic, NAME=group):
        run_service("correlator", "The correlator, on the benchmark's topic.", CorrelatorSettings, build)
