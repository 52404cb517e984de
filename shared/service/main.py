"""Runs a service as a process: settings, logs, HTTP server, the service itself, and a clean stop on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

import structlog
import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from shared.service.logs import configure_logs
from shared.service.settings import EXIT_BAD_SETTINGS, ServiceSettings, describe_settings, environment_name

EXIT_FAILED = 1
STOP_GRACE_SECONDS = 10
"""How long open HTTP requests may take to end when the service stops."""

_KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle. Longer than senders wait after a Retry-After, and than the 60 s after which load
balancers end it: who is ended against from this side, in the moment of sending, has a request without an answer."""

S = TypeVar("S", bound=ServiceSettings)

log = structlog.get_logger(__name__)


class Service(Protocol):
    """A service that can be run: an HTTP application, and work between start and stop."""

    @property
    def http(self) -> ASGIApp:
        """The HTTP application; it is served from before `start` until `stop` begins."""

    async def start(self) -> None:
        """Begin the work; return when it has begun."""

    async def run(self) -> None:
        """Return or raise only when the work can't go on."""

    async def stop(self) -> None:
        """End the work with nothing lost: finish what is in hand, and make it safe."""


def run_service(name: str, about: str, settings: type[S], build: Callable[[S], Service]) -> None:
    """Run the service until SIGTERM or SIGINT, then exit: 0 after a clean stop, 1 when it failed, 2 on bad settings.

    Args:
        name: the service's name, as in `python -m services.<name>`.
        about: what it does, in a sentence, for --help.
        settings: its settings class; --help lists its fields.
        build: makes the service of its settings; does no I/O.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}",
        description=about,
        epilog="settings, from the environment:\n" + describe_settings(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        configured = settings()
    except ValidationError as exc:
        for error in exc.errors():
            field = str(error["loc"][0]) if error["loc"] else ""
            known = environment_name(settings, field) if field in settings.model_fields else field.upper()
            which = f"setting {known}: " if field else ""  # what several settings do together says itself which
            message = error["msg"].removeprefix("Value error, ")
            print(f"{name}: {which}{message} (see --help)", file=sys.stderr)  # noqa: T201 (logs are not up yet)
        sys.exit(EXIT_BAD_SETTINGS)
    configure_logs(name, form=configured.log_format, level=configured.log_level)
    with asyncio.Runner() as runner:
        service = build(configured)  # here, for Faust takes the loop that there is
        _collect_seldom()
        code = runner.run(_live(service, configured))
        if code != 0:
            # Nothing more is to be made safe, and the end of the loop and of its libraries' threads would wait for what
            # may be the very cause: with Kafka away, for Kafka.
            logging.shutdown()
            os._exit(code)


def _collect_seldom() -> None:
    """Let the garbage collector look at what has come into being since, and not after each 700 objects.

    What is here by now, modules and code, stays. A stream service holds hundreds of thousands of values and makes new
    ones without cycles; looking through them all took an eighth of its time (docs/decisions/009).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service stops first to be ready, then in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def _live(service: Service, settings: ServiceSettings) -> int:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, asked_to_stop.set)

    server = _Server(
        uvicorn.Config(
            service.http,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            server_header=False,
            http="httptools",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        )
    )
    serving = asyncio.create_task(_serve(server))
    working = asyncio.create_task(_work(service))
    stop = asyncio.create_task(asked_to_stop.wait())
    try:
        done, _ = await asyncio.wait({serving, working, stop}, return_when=asyncio.FIRST_COMPLETED)
        failed = _failure(task for task in (serving, working) if task in done)
    finally:
        log.info("stopping")
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        stop.cancel()
        try:
            await service.stop()
        except Exception as exc:
            failed = failed or exc
    if failed is not None:
        log.error("the service failed", error=str(failed) or type(failed).__name__, exc_info=failed)
        return EXIT_FAILED
    log.info("stopped")
    return 0


async def _work(service: Service) -> None:
    await service.start()
    log.info("started")
    await service.run()


async def _serve(server: _Server) -> None:
    try:
        await server.serve()
    except SystemExit as exc:  # uvicorn's way of saying that the address can't be had; it has logged why
        where = f"{server.config.host}:{server.config.port}"
        raise RuntimeError(f"can't listen on {where}: is the port taken? Set HTTP_HOST and HTTP_PORT") from exc


def _failure(ended: Iterable[asyncio.Task[None]]) -> BaseException | None:
    for task in ended:
        return task.exception() or RuntimeError("the service ended by itself")
    return None
