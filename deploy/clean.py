"""Stops a demo that runs in this checkout, and its broker, and deletes what they left in `.local`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.broker import LOCAL, PROJECT, Broker, BrokerError
from deploy.spawn import command_of, wait_until


def main() -> int:
    """Stop and delete; the services end with the demo that started them."""
    for pid in _demos():
        print(f"stopping the demo (pid {pid})")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: command_of(pid) is None, within=60.0):  # noqa: B023
            print(f"clean: the demo (pid {pid}) does not stop, so nothing was deleted", file=sys.stderr)
            return 1
    try:
        Broker().stop()
    except BrokerError as error:
        print(f"clean: {error}", file=sys.stderr)
        return 1
    if LOCAL.exists():
        shutil.rmtree(LOCAL)
    return 0


def _demos() -> Iterator[int]:
    """Return the demos of this checkout; where there is no /proc, none is found and Ctrl-C is the way."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if arguments[1:3] == [b"-m", b"deploy.demo"] and (folder / "cwd").resolve() == PROJECT:
                yield int(folder.name)


if __name__ == "__main__":
    sys.exit(main())
