"""The project's command line: `python -m deploy.tracker COMMAND`; each command is a module of this folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Final

from deploy.tracker import explain, keys, person, simulate, snapshot, source

COMMANDS: Final[Mapping[str, ModuleType]] = {
    "explain": explain,
    "keys": keys,
    "person": person,
    "simulate": simulate,
    "snapshot": snapshot,
    "source": source,
}
"""Each module has `add_arguments(parser)` and `run(asked) -> int`; its docstring's first line says what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that was asked for; return its exit code, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="tracker", description="Asks and tends a running sponsorship tracker.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        about = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=about, description=about)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    asked = parser.parse_args(arguments)
    try:
        return int(asked.run(asked))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
