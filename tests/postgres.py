"""A real PostgreSQL that the tests start themselves."""

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
import pytest

from deploy.spawn import LOOPBACK, free_ports, spawn, wait_until


def postgres_programs() -> Path:
    """The folder of PostgreSQL's server programs; installed first where the machine lets us."""

    def find() -> Path | None:
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        elsewhere = shutil.which("initdb")
        found = installed[-1] if installed else Path(elsewhere).resolve() if elsewhere else None
        return found.parent if found else None

    programs = find()
    if programs is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(
                command, check=True, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            )
        programs = find()
    if programs is None:
        pytest.fail("these tests need PostgreSQL's server programs (initdb, postgres): install the package postgresql")
    return programs


class Postgres:
    """A PostgreSQL server of our own, in a temporary folder; never run as root, which it refuses."""

    def __init__(self, folder: Path) -> None:
        self._programs = postgres_programs()
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
        subprocess.run([*self._as_user, *made, "--no-sync", *collation], check=True, capture_output=True, cwd=folder)

    def start(self) -> None:
        options = {"fsync": "off", "listen_addresses": LOOPBACK, "unix_socket_directories": str(self._folder)}
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
        assert wait_until(self._answers, within=30), "PostgreSQL did not start"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": connections are cut, as when a server goes away
            self._process.wait(30)
            self._process = None

    def new_database(self, *, role: str | None = None) -> str:
        """The URL of a database that is empty; beside its owner the server knows this role."""
        name = f"t{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]  # no parameter can be a name
            if role is not None:
                connection.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[call-overload]
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


@contextlib.contextmanager
def a_postgres() -> Iterator[Postgres]:
    # Not under pytest's folders: they are the runner's own, and the server runs as another user.
    with tempfile.TemporaryDirectory(prefix="insights-postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
