"""This project: the correlator itself, all its rules; only its topic and its consumer group are another's."""

from __future__ import annotations

import os
from unittest import mock

from services.correlator import app
from services.correlator.settings import CorrelatorSettings
from shared.service.main import run_service

if __name__ == "__main__":
    topic, group = os.environ["BENCH_TOPIC"], os.environ["BENCH_GROUP"]
    with mock.patch.multiple(app, CAREER_EVENTS=topic, NAME=group):
        run_service("correlator", "The correlator, on the benchmark's topic.", CorrelatorSettings, app.build)
