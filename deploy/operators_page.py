"""Writes the tables of docs/operators.md that the code knows best: every setting and every metric of every service."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

from deploy.broker import PROJECT
from deploy.stack import SERVICES, Service
from shared.service.settings import ServiceSettings, environment_name
from shared.streaming.service import StreamSettings

PAGE: Final = PROJECT / "docs" / "operators.md"
_GUARDED: Final = "correlator and insights"
_STREAMS: Final = "all but gateway, portal and scim"
STREAM_METRICS: Final = ("shared.streaming.metrics", "shared.engine.metrics")
"""The modules of the metrics that every service has which reads from Kafka."""


class PageError(Exception):
    """The page can't be written; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A metric as Prometheus sees it."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


def written(page: str) -> str:
    """Return `page` with its generated parts as the code has them now.

    Raises:
        PageError: the markers of a part are missing, or there more than once.
    """
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: written by `python -m deploy.operators_page` -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            raise PageError(f"the page has to have the lines {begin!r} and {end!r} once, in this order")
        table = make()
        page = pattern.sub(lambda _: f"{begin}\n\n{table}\n\n{end}", page)  # noqa: B023 (called at once)
    return page


def settings_of(service: Service) -> type[ServiceSettings]:
    """Return the settings class of a service."""
    module = importlib.import_module(f"{service.module}.settings")
    (found,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, ServiceSettings) and thing.__module__ == module.__name__
    )
    return found


def stream_metrics() -> list[Exported]:
    """Return what every service exports that reads from Kafka."""
    return [metric for module in STREAM_METRICS for metric in _exported(importlib.import_module(module))]


def guarded_metrics() -> list[Exported]:
    """Return the metrics of the services that show people's data."""
    return _exported(importlib.import_module("shared.service.metrics"))


def metrics_of(service: Service) -> list[Exported]:
    """Return what a service exports of its own."""
    return _exported(importlib.import_module(f"{service.module}.metrics"))


def names_of(metric: Exported) -> set[str]:
    """Return the names of the series that a metric is made of."""
    if metric.type == "histogram":
        return {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return {metric.name}


def _settings() -> str:
    shared, stream = set(ServiceSettings.model_fields), set(StreamSettings.model_fields)
    rows = [("every service", ServiceSettings, field) for field in ServiceSettings.model_fields if field != "http_port"]
    rows += [(_STREAMS, StreamSettings, field) for field in StreamSettings.model_fields if field not in shared]
    for service in SERVICES:
        settings = settings_of(service)
        rows += [(service.name, settings, field) for field in settings.model_fields if field not in stream]
        rows.append((service.name, settings, "http_port"))
    return _table(
        ("service", "variable", "default", "may be", "meaning"),
        (
            (
                who,
                f"`{environment_name(settings, field)}`",
                _default(settings.model_fields[field]),
                _bounds(settings.model_fields[field]),
                settings.model_fields[field].description or "",
            )
            for who, settings, field in rows
        ),
    )


def _metrics() -> str:
    rows = [(_STREAMS, metric) for metric in stream_metrics()]
    rows += [(_GUARDED, metric) for metric in guarded_metrics()]
    rows += [(service.name, metric) for service in SERVICES for metric in metrics_of(service)]
    return _table(
        ("service", "metric", "type", "labels", "meaning"),
        ((who, f"`{m.name}`", m.type, ", ".join(f"`{n}`" for n in m.labels), m.meaning) for who, m in rows),
    )


PARTS: Final[Mapping[str, Callable[[], str]]] = {"settings": _settings, "metrics": _metrics}


def _default(info: FieldInfo) -> str:
    return "**required**" if info.is_required() else f"`{info.get_default(call_default_factory=True)}`"


def _bounds(info: FieldInfo) -> str:
    if get_origin(info.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(info.annotation))
    words: dict[type, str] = {Ge: "from {.ge}", Gt: "above {.gt}", Le: "to {.le}"}
    return " ".join(words[type(bound)].format(bound) for bound in info.metadata if type(bound) in words)


def _exported(module: ModuleType) -> list[Exported]:
    return [_as_exported(thing) for thing in vars(module).values() if isinstance(thing, MetricWrapperBase)]


def _as_exported(metric: MetricWrapperBase) -> Exported:
    # A Histogram describes itself without the labels of its parts, and no public call tells the labels.
    (said,) = metric.describe()
    kind = "histogram" if isinstance(metric, Histogram) else said.type
    name = f"{said.name}_total" if kind == "counter" else said.name
    return Exported(name, kind, tuple(metric._labelnames), said.documentation)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines: list[Any] = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return `text` such that Markdown neither ends the cell with it nor takes it for HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def main(arguments: list[str] | None = None) -> int:
    """Write the page; exit 0, or 1 where its markers are not as they have to be."""
    parser = argparse.ArgumentParser(prog="python -m deploy.operators_page", description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE, help="where it is (docs/operators.md)")
    path: Path = parser.parse_args(arguments).page
    try:
        path.write_text(written(path.read_text()))
    except PageError as error:
        print(f"operators_page: {path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
