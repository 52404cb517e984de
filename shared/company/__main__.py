"""Writes a made-up company to stdout as CloudEvents, one a line: what the gateway's bulk upload takes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final

from shared.company.population import (
    ACHIEVEMENTS_A_YEAR,
    Company,
    achievements,
    attributes,
    employees,
    endorsements,
    org_units,
    relationships,
)
from shared.company.records import FeedRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the company that `arguments` call for; end quietly when the reader has had enough."""
    asked = _parser().parse_args(arguments)
    company = Company(asked.employees, asked.seed)
    chosen = _PARTS if asked.feed == "all" else {asked.feed: {**_PARTS, **_ON_DEMAND}[asked.feed]}
    parts = dict(chosen)
    if "achievements" in parts:
        parts["achievements"] = partial(achievements, a_year=asked.achievements)
    try:
        for part in parts.values():
            for record in part(company):
                sys.stdout.buffer.write(record.value + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # `| head` is a good use of this; Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _people(company: Company) -> Iterator[FeedRecord]:
    return chain(org_units(company), employees(company), relationships(company))


_PARTS: Final[Mapping[str, Callable[[Company], Iterator[FeedRecord]]]] = {
    "people": _people,
    "achievements": achievements,
    "endorsements": endorsements,
}
_ON_DEMAND: Final[Mapping[str, Callable[[Company], Iterator[FeedRecord]]]] = {"attributes": attributes}
"""What not all companies let in."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.company",
        description="Write a made-up company to stdout as CloudEvents (structured JSON), one a line. "
        "The same numbers give the same bytes, and any size streams in constant memory.",
    )
    parser.add_argument("--employees", type=_at_least_one, default=240, metavar="N", help="how many (default: 240)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="another seed, another company (default: 1)")
    parser.add_argument(
        "--feed",
        choices=(*_PARTS, *_ON_DEMAND, "all"),
        default="all",
        help="which events (default: all but attributes: made-up values, for who compares by protected attributes)",
    )
    parser.add_argument(
        "--achievements",
        type=_at_least_one,
        default=ACHIEVEMENTS_A_YEAR,
        metavar="A",
        help="achievements an employee in the year (default: %(default)s)",
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
