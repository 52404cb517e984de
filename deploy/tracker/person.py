"""Exports all that is held on a person, erases it, or makes the link to their own page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType
from typing import Final

from deploy.tracker import erasing, exporting, own_link

_WHAT: Final[Mapping[str, ModuleType]] = {"export": exporting, "erase": erasing, "link": own_link}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three commands."""
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for name, module in _WHAT.items():
        about = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("employee", metavar="ID", help="the employee's id, as the primary HRIS has it")
        module.add_arguments(command)
        command.set_defaults(what=module.run)


def run(asked: argparse.Namespace) -> int:
    """Do what was asked."""
    return int(asked.what(asked))
