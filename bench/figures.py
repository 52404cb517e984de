"""What a run has measured: one JSON line a figure, and the median and spread of several."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one run.

    Attributes:
        bench: which benchmark: correlate, rules, gateway, deliver, latency.
        name: what was measured, in words of the field: `events_per_second`.
        unit: of `value`.
        peer: who was measured.
        versions: of what the peer stands on.
        size: how much work it was: `events`, `employees`.
        pair: the round of the interleaving in which it was measured, from 1.
    """

    bench: str
    name: str
    value: float
    unit: str
    peer: str
    versions: Mapping[str, str]
    size: Mapping[str, int]
    pair: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how the figures of a file were taken: its own line, before them."""

    cores: int
    memory_gib: float
    processor: str
    versions: Mapping[str, str]
    command: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float
    count: int


@dataclass(slots=True)
class Results:
    """A file of JSON lines, read."""

    machines: list[Machine] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def tell(line: Figure | Machine, out: TextIO = sys.stdout) -> None:
    """Write one JSON line at once: a run that is stopped keeps what it had measured."""
    kind = "machine" if isinstance(line, Machine) else "figure"
    out.write(json.dumps({"kind": kind, **asdict(line)}) + "\n")
    out.flush()


def read_results(lines: Iterable[str]) -> Results:
    """Return what was told.

    Raises:
        ValueError: a line is none of ours; the message has its number.
    """
    results = Results()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told: dict[str, Any] = json.loads(line)
            kind = told.pop("kind")
            if kind == "machine":
                results.machines.append(Machine(**told))
            else:
                results.figures.append({"figure": Figure}[kind](**told))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"line {number} is no figure of a benchmark: {exc!r}") from exc
    return results


def spread(values: Iterable[float]) -> Spread:
    """Return the median, the least and the most of at least one value."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1], len(found))
