"""Starts, signals and recognises child processes, so that none outlives what started it.

Also hands out ports that tests can bind: see `free_ports` for why the kernel's own choice will not do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a child of a threaded parent must not import or load anything.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    parent_death_signal: signal.Signals | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` as the leader of its own session and process group, its output appended to `log`.

    Its own session keeps a terminal's Ctrl-C from it: who started it decides the order of the stop. With
    `parent_death_signal` Linux sends it that signal when the starter dies by whatever cause. Mind that Linux
    counts the thread that called this as the parent, so call it from one that lives as long as the child should.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - callers pass fixed commands
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_tie_to_parent(parent_death_signal),  # noqa: PLW1509 - see _LIBC above
        )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to every process of the group that `pid` leads; silent when none is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def command_of(pid: int) -> str | None:
    """Return the command line of a live process, or None when there is none (a zombie counts as none)."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            command = (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return None
    else:  # macOS
        ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]
        answer = subprocess.run(ps, capture_output=True, text=True, check=False)  # noqa: S603
        command = answer.stdout
    return command.strip() or None


def wait_until(condition: Callable[[], bool], *, within: float, every: float = 0.05) -> bool:
    """Ask `condition` until it holds or `within` seconds have passed; return whether it held."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


PORTS = range(20_000, 32_000)
"""From which `free_ports` chooses; what runs beside others may take a part of it, so as not to get a port at which they
are about to listen."""


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As servers do: a connection that lingers in TIME_WAIT is no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on.

    Not those the kernel gives for port 0: they come from the ephemeral range, and there a client that retries
    `connect` while its server is down can be given the server's own port as its source, connect to itself, and
    keep the server from coming back. Fault tests would meet that within seconds.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)  # noqa: S311 - no secret hangs on it
        if port not in ports and port_is_free(port):
            ports.append(port)
    return ports


def log_tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _tie_to_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if number is None or _LIBC is None:
        return None
    libc, parent, wanted = _LIBC, os.getpid(), int(number)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, wanted)
        if os.getppid() != parent:  # it died before prctl took effect: nobody is left to send the signal
            os.kill(os.getpid(), wanted)

    return tie
