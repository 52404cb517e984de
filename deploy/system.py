"""Starts the whole system on this machine: all services, and a receiver of the prompts, with keys made up for it."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from deploy.broker import LOCAL, PROJECT
from deploy.feeding import source_of
from deploy.lag import LagReader
from deploy.processes import LOGS, ServiceError, Supervisor
from deploy.spawn import LOOPBACK, signal_group, spawn, wait_until
from deploy.stack import SERVICES, Service, service
from shared.company.scenario import Scenario
from shared.portal_links import PortalAddress
from shared.streaming.topics import PARTITIONS

RECEIVER_PORT: Final = 8199


@dataclass(frozen=True)
class System:
    """A running system.

    Attributes:
        stack: the services.
        receiver: address of the receiver of prompts.
        tokens: the gateway's token of each source.
        portal: the portal's address, and what its links are signed with.
    """

    stack: Supervisor
    receiver: str
    tokens: Mapping[str, str]
    bootstrap_servers: str
    portal: PortalAddress


def start_system(
    running: contextlib.ExitStack,
    bootstrap_servers: str,
    scenario: Scenario,
    *,
    services: Iterable[Service] = SERVICES,
    ports: Mapping[str, int] | None = None,
    env: Mapping[str, str] | None = None,
    receiver_port: int = RECEIVER_PORT,
    data_dir: Path = LOCAL,
    log_dir: Path = LOGS,
    received: Path | None = None,
) -> System:
    """Start everything but Kafka, ready for the scenario's sources; `running` stops it.

    Args:
        running: is given what stops each process.
        bootstrap_servers: the broker.
        scenario: whose sources get tokens; it drives the clock too.
        env: settings of every service, beside those made up here.
        services: which, and how each is run.
        ports: the services' ports, where not those of `deploy.stack`.
        receiver_port: the receiver's port.
        data_dir: folder for the services' files.
        log_dir: folder for the logs.
        received: file in which the receiver keeps what it gets for the next one, as a company's own tool would. An
            erasure does not reach it, for it is none of the system's.

    Raises:
        ServiceError: something did not start.
    """
    tokens = {s: secrets.token_urlsafe(24) for s in sorted({source_of(r) for r in scenario.records()} - {""})}
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    receiver_url = f"http://{LOOPBACK}:{receiver_port}/"
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = [] if received is None else ["--keep", str(received)]
    receiver = spawn(
        [sys.executable, "-m", "deploy.receiver", "--port", str(receiver_port), *kept],
        log=log_dir / "receiver.log",
        env={**os.environ, "PROMPTER_WEBHOOK_SECRET": secret},
        cwd=PROJECT,
        parent_death_signal=signal.SIGKILL,
    )
    running.callback(receiver.wait)
    running.callback(signal_group, receiver.pid, signal.SIGTERM)
    portal_port = (ports or {}).get("portal", service("portal").http_port)
    portal = PortalAddress(f"http://{LOOPBACK}:{portal_port}/", _kept_key(data_dir / "portal.key"))
    stack = Supervisor(
        services,
        env={
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "LOG_FORMAT": "json",
            "DATA_DIR": str(data_dir / "faust"),
            **(env or {}),
        },
        ports=ports,
        service_env={
            "gateway": {"GATEWAY_TOKENS": ",".join(f"{source}={token}" for source, token in tokens.items())},
            "cycles": {"CYCLES_CLOCK": "feed"},
            "prompter": {
                "PROMPTER_POLICY_FILE": str(PROJECT / "deploy" / "policy-at-once.yaml"),
                "PROMPTER_WEBHOOK_URL": receiver_url,
                "PROMPTER_WEBHOOK_SECRET": secret,
                "PROMPTER_PORTAL_URL": portal.url,
                "PROMPTER_PORTAL_KEY": portal.key,
            },
            "portal": {
                "PORTAL_URL": portal.url,
                "PORTAL_KEYS": portal.key,
                "PORTAL_CLOCK": "log",
                "PORTAL_DATABASE": str(data_dir / "portal.db"),
            },
            "insights": {"INSIGHTS_DATABASE_URL": f"sqlite:///{data_dir / 'insights.db'}"},
        },
        log_dir=log_dir,
    )
    running.callback(stack.stop)
    stack.start()
    if not wait_until(lambda: _answers(receiver_url), within=20):
        raise ServiceError(f"the receiver of the prompts did not answer; see {log_dir / 'receiver.log'}")
    return System(stack, receiver_url.rstrip("/"), tokens, bootstrap_servers, portal)


def _kept_key(file: Path) -> str:
    """Return the key of a run before this one, or a new one: the links that were sent then are to work now too."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()


def wait_until_quiet(system: System, lag: LagReader, *, within: float) -> dict[str, dict[str, int]]:
    """Return nothing when nothing is left to do anywhere, or what is left after `within` seconds.

    No record is left, then the prompter has nothing to send now, then what it recorded of that is dealt with too.
    """
    deadline = time.monotonic() + within
    while not (behind := lag.wait_until_quiet(within=max(0.0, deadline - time.monotonic()))):
        if _is_idle(system.stack):
            return lag.wait_until_quiet(within=max(0.0, deadline - time.monotonic()))
        if time.monotonic() > deadline:
            return {"prompter": {"messages to be sent": 1}}
        time.sleep(0.05)
    return behind


def _is_idle(stack: Supervisor) -> bool:
    try:
        text = httpx.get(stack.url("prompter", "/metrics"), trust_env=False).text
    except httpx.TransportError:
        return False
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    held, under_way = (float(told.get(f"prompter_{name}", "nan")) for name in ("partitions", "sponsors_under_way"))
    return held == PARTITIONS and under_way == 0


def _answers(receiver_url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{receiver_url}received", trust_env=False).is_success
    return False
