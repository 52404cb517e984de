"""Runs Apache Kafka as one local process: fetches it, formats its storage, starts, stops and kills it.

The version is pinned in `deploy/kafka/pom.xml`. When KAFKA_BOOTSTRAP_SERVERS is set, `choose_broker` uses that
broker and starts none.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import xml.etree.ElementTree as ET  # our own pom.xml, nobody else's input
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.spawn import LOOPBACK, command_of, log_tail, port_is_free, spawn, wait_until
from shared.streaming.connection import security

PROJECT = Path(__file__).resolve().parent.parent
LOCAL = PROJECT / ".local"
POM = PROJECT / "deploy" / "kafka" / "pom.xml"
LOGGING = PROJECT / "deploy" / "kafka" / "log4j2.properties"

DEMO_PORT = 19092
DEMO_CONTROLLER_PORT = 19093
DEMO_DATA = LOCAL / "kafka" / "demo"

# For two cores and a short life: one collector thread, and no second compiler to compete with ten services
# that start at the same moment (measured: up in 1.5 s instead of 1.8 s, 230 MB resident instead of 290 MB).
JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

Say = Callable[[str], None]


class BrokerError(Exception):
    """The broker cannot do what was asked; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """What is known of a broker from outside."""

    running: bool
    answers: bool
    bootstrap_servers: str
    pid: int | None
    data_dir: str | None
    version: str | None


class Broker:
    """One Kafka process (broker and controller in one) on the loopback address, with its data in one folder.

    Whoever starts it may stop it, and so may another process that names the same folder. It survives `kill()`
    (SIGKILL) with its data: `start()` again on the same folder.
    """

    def __init__(
        self,
        data_dir: Path = DEMO_DATA,
        *,
        port: int = DEMO_PORT,
        controller_port: int = DEMO_CONTROLLER_PORT,
        die_with_parent: bool = False,
        jvm_options: Sequence[str] = JVM_OPTIONS,
        say: Say = lambda _line: None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.controller_port = controller_port
        self.die_with_parent = die_with_parent
        self.jvm_options = jvm_options
        self.log = self.data_dir / "broker.log"
        self._say = say
        self._config = self.data_dir / "server.properties"
        self._pid_file = self.data_dir / "broker.pid"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address that clients use."""
        return f"{LOOPBACK}:{self.port}"

    def start(self, *, within: float = 60.0) -> None:
        """Start the broker and return once it answers; at once when it already runs on this folder and port."""
        with _one_at_a_time(self.data_dir / "start.lock"):
            if self._already_runs():
                if not wait_until(lambda: answers(self.bootstrap_servers), within=within):
                    raise BrokerError(f"Kafka runs (pid {self.pid}) but does not answer; see {self.log}")
                return
            for name, port in (("port", self.port), ("controller port", self.controller_port)):
                if not port_is_free(port):
                    raise BrokerError(
                        f"Kafka's {name} {port} is taken by another process: stop that process "
                        f"(`ss -ltnp 'sport = :{port}'` names it) or choose another port"
                    )
            jars = fetch_jars(say=self._say)
            self._write_config()
            if not (self.data_dir / "log" / "meta.properties").exists():
                self._format(jars)
            self._say(f"starting Kafka {pinned_version()} on {self.bootstrap_servers}")
            self._process = spawn(
                [_java(), *self.jvm_options, *_java_class_path(jars), "kafka.Kafka", str(self._config)],
                log=self.log,
                # SIGTERM, not SIGKILL: it leaves clean logs, and a broker with nobody to wait for goes in a second.
                parent_death_signal=signal.SIGTERM if self.die_with_parent else None,
            )
            self._pid_file.write_text(f"{self._process.pid}\n")
            self._wait_until_it_answers(self._process, within)

    def stop(self, *, grace: float = 30.0) -> None:
        """Stop the broker with SIGTERM and wait for its end, with SIGKILL after `grace`; no-op when it is down."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not wait_until(lambda: self.pid is None, within=grace):
                self._say(f"Kafka did not stop within {grace:.0f} s: killing it")
                self.kill()
        self._forget()

    def kill(self) -> None:
        """Kill the broker with SIGKILL, as a power cut would; its data stay for the next `start()`."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if not wait_until(lambda: self.pid is None, within=10.0):
                raise BrokerError(f"Kafka (pid {pid}) outlived SIGKILL")
        self._forget()

    @property
    def pid(self) -> int | None:
        """The process id of the broker that runs on this folder, whoever started it; None when none does.

        A pid file left by a crash does not count: the process that has that id now must be our broker.
        """
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        # `poll` reaps it, otherwise it would stay as a zombie. Before that it may have no command any more, and its
        # other threads still hold its ports.
        if self._process is not None and self._process.poll() is None and self._process.pid == pid:
            return pid
        command = command_of(pid)
        return pid if command is not None and str(self._config) in command else None

    def status(self) -> BrokerStatus:
        """Say whether it runs and whether it answers."""
        pid = self.pid
        return BrokerStatus(
            running=pid is not None,
            answers=pid is not None and answers(self.bootstrap_servers),
            bootstrap_servers=self.bootstrap_servers,
            pid=pid,
            data_dir=str(self.data_dir),
            version=pinned_version(),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _already_runs(self) -> bool:
        pid = self.pid
        if pid is None:
            return False
        if f"listeners=PLAINTEXT://{self.bootstrap_servers}," not in self._config.read_text():
            raise BrokerError(f"Kafka already runs on {self.data_dir} (pid {pid}) but with another port: stop it first")
        return True

    def _forget(self) -> None:
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _write_config(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}" for key, value in self._settings().items()]
        self._config.write_text("\n".join(lines) + "\n")

    def _settings(self) -> dict[str, str | int]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{LOOPBACK}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data_dir / "log"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            # Who asks to be missed sooner than after 6 s, as tests do that kill, is to be let in.
            "group.min.session.timeout.ms": 1000,
            # After a kill -9 the controller refuses the new process until the old one's session is over: with
            # the default of 9 s a restart takes 12 s, with this 5.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            # Sized for one machine with few clients.
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
            # An erasure waits for the cleaner, which by default looks for work every 15 s.
            "log.cleaner.backoff.ms": 1000,
        }

    def _cluster_id(self) -> str:
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    def _format(self, jars: Path) -> None:
        # An id may begin with a dash, which only in this form is not taken for another option.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id()}", "-c", str(self._config)]
        done = subprocess.run(  # noqa: S603 - nothing here comes from outside
            [_java(), *JVM_OPTIONS, *_java_class_path(jars), *tool],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerError(f"Kafka could not format {self.data_dir}: {(done.stderr or done.stdout).strip()}")

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes], within: float) -> None:
        ready = wait_until(lambda: process.poll() is not None or answers(self.bootstrap_servers), within=within)
        if process.poll() is not None:
            self._forget()
            raise BrokerError(
                f"Kafka stopped with exit code {process.returncode} before it answered. "
                f"The end of {self.log}:\n{log_tail(self.log)}"
            )
        if not ready:
            self.kill()
            raise BrokerError(
                f"Kafka did not answer within {within:.0f} s. The end of {self.log}:\n{log_tail(self.log)}"
            )


class ExternalBroker:
    """A broker that somebody else runs: it is waited for and used, never started, stopped or killed."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self, *, within: float = 60.0) -> None:
        """Return once it answers."""
        if not wait_until(lambda: answers(self.bootstrap_servers, **security()), within=within, every=0.5):
            raise BrokerError(
                f"no Kafka answers at {self.bootstrap_servers}: start it (`make broker` starts a local one), "
                "or correct KAFKA_BOOTSTRAP_SERVERS, or how it is spoken to (KAFKA_SECURITY_PROTOCOL and its like)"
            )

    def stop(self) -> None:
        """Leave it as it is."""

    def status(self) -> BrokerStatus:
        """Say whether it answers."""
        up = answers(self.bootstrap_servers, **security())
        return BrokerStatus(
            running=up,
            answers=up,
            bootstrap_servers=self.bootstrap_servers,
            pid=None,
            data_dir=None,
            version=None,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def choose_broker(
    data_dir: Path = DEMO_DATA,
    *,
    port: int = DEMO_PORT,
    controller_port: int = DEMO_CONTROLLER_PORT,
    die_with_parent: bool = False,
    say: Say = lambda _line: None,
) -> Broker | ExternalBroker:
    """Return the broker that KAFKA_BOOTSTRAP_SERVERS names, or else a local one."""
    external = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "").strip()
    if external:
        return ExternalBroker(external)
    if os.environ.get("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT") not in ("", "PLAINTEXT"):
        raise BrokerError(
            "KAFKA_SECURITY_PROTOCOL is set, and the local Kafka speaks plain text only: unset it, or say by "
            "KAFKA_BOOTSTRAP_SERVERS which Kafka is meant"
        )
    return Broker(data_dir, port=port, controller_port=controller_port, die_with_parent=die_with_parent, say=say)


def answers(bootstrap_servers: str, **how: Any) -> bool:
    """Return whether a broker there takes requests and has joined its cluster.

    Args:
        bootstrap_servers: where it is.
        how: it is spoken to, where that is not plain text: `security()` of `shared.streaming.connection`.
    """
    if not any(_listens(address) for address in bootstrap_servers.split(",")):
        return False
    with _quiet_kafka_client():
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=bootstrap_servers.split(","),
                **how,
                request_timeout_ms=3000,
                bootstrap_timeout_ms=3000,
            )
        except (KafkaError, OSError):
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except (KafkaError, OSError):
            return False
        finally:
            admin.close()


def pinned_version() -> str:
    """Return the Kafka version that the pom names."""
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    version = ET.parse(POM).findtext("m:properties/m:kafka.version", namespaces=namespace)  # noqa: S314
    if not version:
        raise BrokerError(f"{POM} names no kafka.version")
    return version


def fetch_jars(*, say: Say = lambda _line: None) -> Path:
    """Return the folder with Kafka's jars, fetched by Maven when this pom's are not there yet."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    jars = LOCAL / "kafka" / f"jars-{pinned_version()}-{digest}"
    if jars.exists():
        return jars
    with _one_at_a_time(LOCAL / "kafka" / "jars.lock"):
        if jars.exists():
            return jars
        maven = shutil.which("mvn")
        if maven is None:
            raise BrokerError(
                "Maven is missing, and Kafka is fetched with it: install it "
                "(Debian, Ubuntu: `apt-get install maven`; macOS: `brew install maven`)"
            )
        _java()  # Maven's own message about a missing Java does not say which to install
        say(f"fetching Kafka {pinned_version()} with Maven")
        # Whole or not at all: an interrupted fetch must not look like a finished one.
        with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as half:
            target = Path(half) / "jars"
            done = subprocess.run(  # noqa: S603 - nothing here comes from outside
                [
                    *(maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"),
                    *("-DincludeScope=runtime", f"-DoutputDirectory={target}"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BrokerError(f"Maven could not fetch Kafka:\n{(done.stdout + done.stderr).strip()}")
            target.rename(jars)
    return jars


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise BrokerError(
            "Java is missing, and Kafka needs 17 or newer: install it "
            "(Debian, Ubuntu: `apt-get install openjdk-17-jre-headless`; macOS: `brew install openjdk@17`)"
        )
    return java


def _java_class_path(jars: Path) -> list[str]:
    return [f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{jars}/*"]


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def _quiet_kafka_client() -> Iterator[None]:
    """Keep the client's complaints about a broker that is still starting from the person who waits for it."""
    log = logging.getLogger("kafka")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code of `status` is 0 only when the broker answers."""
    options = _parser().parse_args(arguments)
    broker = choose_broker(
        options.data_dir, port=options.port, controller_port=options.controller_port, say=_say_on_stderr
    )
    try:
        if options.command == "start":
            started = time.monotonic()
            broker.start()
            print(f"Kafka answers on {broker.bootstrap_servers} ({time.monotonic() - started:.1f} s)")
        elif options.command == "stop":
            broker.stop()
        else:
            return _show(broker.status(), as_json=options.json)
    except BrokerError as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1
    return 0


def _show(status: BrokerStatus, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(asdict(status)))
    elif status.answers:
        print(f"Kafka answers on {status.bootstrap_servers}" + (f" (pid {status.pid})" if status.pid else ""))
    elif status.running:
        print(f"Kafka runs (pid {status.pid}) but does not answer on {status.bootstrap_servers}")
    else:
        print("Kafka is down")
    return 0 if status.answers else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.broker",
        description="Runs the pinned Apache Kafka as one local process.",
        epilog="When KAFKA_BOOTSTRAP_SERVERS is set, that broker is used and none is started or stopped.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{start,stop,status}")
    for name, purpose in (
        ("start", "fetch it when absent, format its storage, start it and wait until it answers"),
        ("stop", "stop it and wait for its end"),
        ("status", "say whether it runs and answers (exit code 0 or 1)"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data-dir", type=Path, default=DEMO_DATA, help="where its data lie (%(default)s)")
        command.add_argument("--port", type=int, default=DEMO_PORT, help="port for clients (%(default)s)")
        command.add_argument(
            "--controller-port", type=int, default=DEMO_CONTROLLER_PORT, help="its own port (%(default)s)"
        )
        if name == "status":
            command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
