"""Reads the options that all benchmarks share."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from typing import Final

STOPPED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add --pairs and --note."""
    parser.add_argument("--pairs", type=at_least_one, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--note", default="", help="a remark on the circumstances, which the page repeats")


def add_common(parser: argparse.ArgumentParser, peers: Sequence[str]) -> None:
    """Add --pairs, --note and --peers."""
    add_pairs(parser)
    parser.add_argument(
        "--peers",
        type=_some_of(peers),
        default=list(peers),
        metavar="A,B",
        help=f"whom to measure, in this order (default: {','.join(peers)})",
    )


def as_typed(module: str, arguments: Sequence[str]) -> str:
    """Return the command that runs a benchmark so; without its note, which is told by itself."""
    kept = list(arguments)
    if "--note" in kept:
        del kept[kept.index("--note") : kept.index("--note") + 2]
    return shlex.join(["python", "-m", module, *kept])


def at_least_one(text: str) -> int:
    """Return the number; underscores may part its thousands.

    Raises:
        argparse.ArgumentTypeError: it is none, or below 1.
    """
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def numbers(text: str) -> list[int]:
    """Return the numbers, separated by commas.

    Raises:
        argparse.ArgumentTypeError: one is none, or below 1.
    """
    return [at_least_one(part) for part in text.split(",")]


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return names

    return chosen
