"""Exports all that is held on a person, or erases it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType
from typing import Final

from deploy.tracker import erasing, exporting

_WHAT: Final[Mapping[str, ModuleType]] = {"export": exporting, "erase": erasing}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two commands."""
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for name, module in _WHAT.items():
        about = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=about, description=about)
        module.add_arguments(command)
        command.set_defaults(what=module.run)


def run(asked: argparse.Namespace) -> int:
    """Do what was asked."""
    return int(asked.what(asked))
