"""Starts a PostgreSQL server of our own on this machine, in a temporary folder, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from deploy.spawn import LOOPBACK, free_ports, log_tail, spawn, wait_until


class NoPostgres(Exception):
    """There is none on this machine, or it does not start; the message says what to do."""


@contextlib.contextmanager
def a_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a server for as long as the context lasts; without `durable` it writes nothing through to the disk.

    Raises:
        NoPostgres: it can't be had, or did not start.
    """
    # In a folder of its own: another user, as whom it runs under root, gets into no folder of ours.
    with tempfile.TemporaryDirectory(prefix="insights-postgres-") as folder:
        server = Postgres(Path(folder), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Postgres:
    """A server; it never runs as root, which it refuses."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Make its data in `folder`; `durable`: what it has committed outlives the machine."""
        self._programs = _programs()
        self._durable = durable
        self._folder = folder
        self._data = folder / "data"
        [self._port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT"]
        made = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "tests", "-A", "trust", "-E", "UTF8"]
        # A collation of people, as production has it: where ours did not ask for code points, the tests are to see it.
        collation = ["--locale=C", "--locale-provider=icu", "--icu-locale=en"]
        command = [*self._as_user, *made, "--no-sync", *collation]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)  # noqa: S603 - a fixed command

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            NoPostgres: it did not start.
        """
        options = {
            "fsync": "on" if self._durable else "off",
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": str(self._folder),
        }
        self._process = spawn(
            [
                *self._as_user,
                *[str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)],
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            log=self._folder / "server.log",
            cwd=self._folder,
            parent_death_signal=None if self._as_user else signal.SIGQUIT,
        )
        if not wait_until(self._answers, within=30):
            raise NoPostgres(f"PostgreSQL did not start; the end of its log:\n{log_tail(self._folder / 'server.log')}")

    def stop(self) -> None:
        """Stop it, as when a server goes away: connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast"
            self._process.wait(30)
            self._process = None

    def files_of_tables_with(self, text: bytes) -> list[str]:
        """Return the files of tables, indexes and statistics in which `text` lies; not of the log ahead of them."""
        with self._connect() as connection:
            connection.execute("CHECKPOINT")
        files = (file for file in (self._data / "base").rglob("*") if file.is_file())
        return sorted(str(file.relative_to(self._data)) for file in files if text in file.read_bytes())

    def new_database(self, *, role: str | None = None) -> str:
        """Return the URL of a database that is empty; make the server know `role`, beside the database's owner."""
        name = f"t{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            if role is not None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        return f"postgresql://tests@{LOOPBACK}:{self._port}/{name}"

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=LOOPBACK, port=self._port, user="tests", dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _programs() -> Path:
    """Return the folder of PostgreSQL's server programs; install them first where the machine lets us."""
    programs = _found()
    if programs is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]):
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(command, check=True, capture_output=True, env=quiet)  # noqa: S603 - see above
        programs = _found()
    if programs is None:
        raise NoPostgres(
            "there are no server programs of PostgreSQL (initdb, postgres): install the package postgresql"
        )
    return programs


def _found() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    found = installed[-1] if installed else Path(elsewhere).resolve() if elsewhere else None
    return found.parent if found else None
