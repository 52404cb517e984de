"""Runs services as processes of this machine: starts them, waits until they are ready, stops or kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from deploy.broker import LOCAL, PROJECT
from deploy.spawn import LOOPBACK, log_tail, port_is_free, signal_group, spawn, wait_until
from deploy.stack import SERVICES, Service

LOGS = LOCAL / "logs"


class ServiceError(Exception):
    """A service could not be started or did not become ready; the message names it and shows its log's end."""


class Supervisor:
    """A set of services, each a process in a group of its own, that start together and leave nothing behind.

    Processes die with the starter, even when that is killed; Linux counts the thread that called `start` as the
    starter, so call it from the main thread. Nothing is restarted unasked: a service that dies should be seen.
    """

    def __init__(
        self,
        services: Iterable[Service] = SERVICES,
        *,
        env: Mapping[str, str],
        ports: Mapping[str, int] | None = None,
        service_env: Mapping[str, Mapping[str, str]] | None = None,
        log_dir: Path = LOGS,
    ) -> None:
        """Take what to run and with which environment.

        `env` goes to every service, `service_env[name]` to one, over the table's own; `ports[name]` replaces the
        table's port. Of this process's environment services inherit everything else.
        """
        self._services = {service.name: service for service in services}
        self._env = dict(env)
        self._ports = dict(ports or {})
        self._service_env = {name: dict(extra) for name, extra in (service_env or {}).items()}
        self._log_dir = log_dir
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in (*self._ports, *self._service_env):
            self._known(name)

    def start(self, *, within: float = 60.0) -> None:
        """Start all in the table's order and return once each is ready; on failure stop all and raise."""
        try:
            for name in self._services:
                self.log(name).unlink(missing_ok=True)  # an error must show this run's end, not an earlier one's
                self._launch(name)
            self._wait_until_ready(self._services, within)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace: float = 30.0) -> None:
        """Stop all with SIGTERM, last started first, and kill what is left of any group after `grace`."""
        self._end(list(reversed(self._processes)), grace)

    def terminate(self, name: str, *, grace: float = 30.0) -> int | None:
        """Stop one with SIGTERM as a deployment would, and return its exit code (None when it did not run)."""
        process = self._processes.get(self._known(name).name)
        self._end([name], grace)
        return None if process is None else process.returncode

    def terminate_all(self, names: Iterable[str], *, grace: float = 30.0) -> None:
        """Stop several at once, as `terminate` does one."""
        self._end([self._known(name).name for name in names], grace)

    def kill(self, name: str) -> None:
        """Kill one with SIGKILL, as a machine that goes away would."""
        process = self._processes.pop(self._known(name).name, None)
        if process is not None:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self, name: str, *, within: float = 60.0) -> None:
        """Start one again that was killed, stopped or died, and return once it is ready."""
        self.restart_all([name], within=within)

    def restart_all(self, names: Iterable[str], *, within: float = 60.0) -> None:
        """Start several again at once, as `restart` does one, and return once all are ready."""
        starting = list(names)
        for name in starting:
            if self.is_running(name):
                raise ServiceError(f"{name} still runs: kill or terminate it first")
        for name in starting:
            self._launch(name)
        self._wait_until_ready(starting, within)

    def is_running(self, name: str) -> bool:
        """Return whether its process lives."""
        process = self._processes.get(self._known(name).name)
        return process is not None and process.poll() is None

    def dead(self) -> dict[str, int]:
        """Return the services that ended though nobody asked them to, with their exit codes."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def pid(self, name: str) -> int:
        """Return the process id of a service that was started."""
        self._known(name)
        if name not in self._processes:
            raise ServiceError(f"{name} was not started")
        return self._processes[name].pid

    def url(self, name: str, path: str = "") -> str:
        """Return the address of a service's HTTP interface."""
        return f"http://{LOOPBACK}:{self._port(self._known(name))}{path}"

    def log(self, name: str) -> Path:
        """Return the file that a service's output goes to."""
        return self._log_dir / f"{self._known(name).name}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, name: str) -> None:
        service = self._services[name]
        environment = self._environment(service)
        missing = [variable for variable in service.requires if not environment.get(variable)]
        if missing:
            raise ServiceError(f"{name} needs {' and '.join(missing)} in its environment")
        if not port_is_free(self._port(service)):
            raise ServiceError(
                f"{name}'s port {self._port(service)} is taken by another process: stop that process "
                f"(`ss -ltnp 'sport = :{self._port(service)}'` names it) or give {name} another port"
            )
        self._processes[name] = spawn(
            [sys.executable, "-m", service.module],
            log=self.log(name),
            env=environment,
            cwd=PROJECT,
            parent_death_signal=signal.SIGKILL,
        )

    def _environment(self, service: Service) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **service.env,
            **self._env,
            **self._service_env.get(service.name, {}),
            "HTTP_HOST": LOOPBACK,
            "HTTP_PORT": str(self._port(service)),
        }

    def _wait_until_ready(self, names: Iterable[str], within: float) -> None:
        waiting, reasons = list(names), dict.fromkeys(names, "nothing listened")
        deadline = time.monotonic() + within
        # No proxy from the environment: these addresses are this machine's own.
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while waiting:
                for name in waiting:
                    code = self._processes[name].poll()
                    if code is not None:
                        raise self._failure(name, f"stopped with exit code {code} before it was ready")
                    reasons[name] = _why_not_ready(client, self.url(name, "/readyz"))
                waiting = [name for name in waiting if reasons[name]]
                if waiting and time.monotonic() >= deadline:
                    name = waiting[0]
                    others = f" (nor were {', '.join(waiting[1:])})" if waiting[1:] else ""
                    raise self._failure(name, f"was not ready within {within:.0f} s{others}; /readyz: {reasons[name]}")
                time.sleep(0.1 if waiting else 0.0)

    def _end(self, names: list[str], grace: float) -> None:
        ending = [(name, self._processes[name]) for name in names if name in self._processes]
        for _, process in ending:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        deadline = time.monotonic() + grace
        for name, process in ending:
            wait_until(lambda: process.poll() is not None, within=deadline - time.monotonic())  # noqa: B023
            signal_group(process.pid, signal.SIGKILL)  # also what a service may have started itself
            process.wait()
            del self._processes[name]

    def _failure(self, name: str, what: str) -> ServiceError:
        log = self.log(name)
        return ServiceError(f"{name} {what}. The end of {log}:\n{log_tail(log)}")

    def _port(self, service: Service) -> int:
        return self._ports.get(service.name, service.http_port)

    def _known(self, name: str) -> Service:
        if name not in self._services:
            raise KeyError(f"{name!r} is not among {', '.join(self._services)}")
        return self._services[name]


def _why_not_ready(client: httpx.Client, address: str) -> str:
    """Return what /readyz holds against a service, or nothing when it is ready."""
    try:
        answer = client.get(address)
    except httpx.TransportError as error:
        return f"no answer ({error})"
    return "" if answer.is_success else f"{answer.status_code} {answer.text[:500]}"
