"""Installs what the peers need, once: a virtual environment of their own, and the Kafka Streams program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET  # our own pom.xml, nobody else's input
from importlib.metadata import version
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PROJECT: Final = HERE.parent
LOCAL: Final = PROJECT / ".local" / "bench"
_LOCK: Final = HERE / "requirements.lock"
_VENV: Final = LOCAL / "venv"


class NotInstalled(Exception):
    """A peer's needs can't be had; the message has what the installer said."""


def peers_python() -> Path:
    """Return the Python that has the peers' packages; install them when the lock has changed.

    Raises:
        NotInstalled: the registry can't be reached, or a package does not build.
    """
    python, done = _VENV / "bin" / "python", _VENV / ".installed"
    if not done.exists() or done.stat().st_mtime < _LOCK.stat().st_mtime:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_VENV)])
        install = ["pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes"]
        _run([*uv, *install, "--compile-bytecode", "-r", str(_LOCK)])
        done.touch()
    return python


def kafka_streams_command() -> tuple[str, ...]:
    """Return the command of the Kafka Streams peer; compile it when its sources have changed.

    Raises:
        NotInstalled: there is no JDK 17 or Maven, the registry can't be reached, or it does not compile.
    """
    sources = HERE / "kafka_streams"
    built = LOCAL / "kafka_streams"
    done = built / ".built"
    newest = max(file.stat().st_mtime for file in sources.rglob("*") if file.is_file())
    if not done.exists() or done.stat().st_mtime < newest:
        if shutil.which("javac") is None or shutil.which("mvn") is None:
            raise NotInstalled(
                "the Kafka Streams peer is compiled by JDK 17 and Maven: install them (Debian, Ubuntu: apt-get install "
                "openjdk-17-jdk-headless maven), or leave kafka-streams out of --peers"
            )
        shutil.rmtree(built, ignore_errors=True)  # jars of another version must not stay on the class path
        maven = ["mvn", "-B", "-q", "-f", str(sources / "pom.xml"), f"-DbuildFolder={built}"]
        _run([*maven, "compile", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        done.touch()
    path = f"{built / 'classes'}:{built / 'dependency'}/*"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ("java", quiet, "-cp", path, "sponsorship.bench.Tallies")


def kafka_streams_versions() -> dict[str, str]:
    """Return what its pom.xml pins."""
    pom = ET.parse(HERE / "kafka_streams" / "pom.xml").getroot()
    properties = {node.tag.rpartition("}")[2]: node.text or "" for node in pom.iterfind("{*}properties/*")}
    return {"kafka-streams": properties["kafka.version"], "jackson": properties["jackson.version"]}


def peers_versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages that the peers use."""
    code = "import json, sys, importlib.metadata as m; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    found: dict[str, str] = json.loads(_run([str(peers_python()), "-c", code, *packages]))
    return found


def own_versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages that the project uses."""
    return {package: version(package) for package in packages}


def commit() -> str:
    """Return the commit that is measured, with a + when files differ from it."""
    try:
        return _run(["git", "-C", str(PROJECT), "describe", "--always", "--dirty=+", "--exclude=*"]).strip()
    except NotInstalled:  # an export without git
        return "unknown"


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise NotInstalled(f"{command[0]} is not installed") from exc
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(command[:6])} failed:\n{(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout
