"""Sets up logging: structlog over the standard library, JSON lines or a console form, one stream for all libraries."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

_NOISY = {
    "aiokafka": logging.WARNING,
    "kafka": logging.ERROR,  # it warns of every attempt to reach a broker that is away, some four a second
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Libraries that tell of their inner life at INFO; ours says what an operator needs."""


def configure_logs(service: str, *, form: str, level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream`.

    Args:
        service: put into every line as ``service``.
        form: ``json``, ``console``, or ``auto`` (console at a terminal, else json).
        level: the least grave level that is logged.
        stream: where to; standard error when None.
    """
    out = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )

    def name_service(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"] = service
        return event

    every_line: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info if as_json else structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=every_line,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, floor in _NOISY.items():
        logging.getLogger(name).setLevel(max(floor, logging.getLevelName(level)))
    structlog.configure(
        processors=[*every_line, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
