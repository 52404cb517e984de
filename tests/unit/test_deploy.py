"""Everything that says which services there are says the same, and what starts them tells the truth about them.

No Docker engine is needed: the compose file, the Dockerfile and the Prometheus and Grafana files are read as data.
"""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from deploy.broker import DEMO_PORT, PROJECT, pinned_version
from deploy.processes import ServiceError, Supervisor
from deploy.spawn import command_of, free_ports, wait_until
from deploy.stack import SERVICES, Service, service
from shared.service.settings import ServiceSettings, environment_name

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
BESIDE_OUR_OWN = {"kafka", "topics", "postgres", "prometheus", "grafana", "dex"}
EVERY_SERVICE = pytest.mark.parametrize("known", SERVICES, ids=lambda known: known.name)


# -- the table, the services, and the files that repeat it


def test_no_two_services_share_a_name_or_a_port() -> None:
    assert len({known.name for known in SERVICES}) == len(SERVICES)
    assert len({known.http_port for known in SERVICES}) == len(SERVICES)


def test_the_table_says_who_is_known_when_asked_for_a_stranger() -> None:
    assert service("gateway").module == "services.gateway"
    with pytest.raises(KeyError, match=r"no service 'oracle'.*gateway"):
        service("oracle")


@EVERY_SERVICE
def test_a_service_listens_by_default_where_the_table_says(known: Service) -> None:
    assert settings_class(known).model_fields["http_port"].default == known.http_port


@EVERY_SERVICE
def test_the_table_supplies_what_a_service_cannot_start_without(known: Service) -> None:
    settings = settings_class(known)
    required = {
        environment_name(settings, field) for field, info in settings.model_fields.items() if info.is_required()
    }
    assert required == set(known.requires)


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.compose-spec", "docker-compose.yml"), ("vendor.github-workflows", ".github/workflows/ci.yml")],
)
def test_a_file_is_valid_by_the_schema_that_its_readers_publish(schema: str, file: str) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(PROJECT / file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_runs_every_service_and_nothing_unknown() -> None:
    assert set(CONTAINERS) == {known.name for known in SERVICES} | BESIDE_OUR_OWN


@EVERY_SERVICE
def test_compose_starts_a_service_as_the_demo_does(known: Service) -> None:
    container = CONTAINERS[known.name]
    environment = container["environment"]
    assert container["command"] == ["python", "-m", known.module]
    assert environment["HTTP_PORT"] == str(known.http_port)
    assert environment["HTTP_HOST"] == "0.0.0.0"
    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
    assert environment.items() >= known.env.items()
    assert set(environment) >= set(known.requires)


@EVERY_SERVICE
def test_compose_sets_nothing_that_a_service_does_not_read(known: Service) -> None:
    settings = settings_class(known)
    read = {environment_name(settings, field) for field in settings.model_fields}
    assert set(CONTAINERS[known.name]["environment"]) <= read
    assert set(known.env) <= read


@EVERY_SERVICE
def test_a_service_starts_when_its_topics_are_there(known: Service) -> None:
    topics = CONTAINERS["topics"]
    assert topics["command"] == ["python", "-m", "deploy.topics"]
    assert topics["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert CONTAINERS[known.name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_prometheus_scrapes_every_service() -> None:
    config = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (group,) = job["static_configs"]
    assert group["targets"] == [f"{known.name}:{known.http_port}" for known in SERVICES]


def test_compose_runs_the_kafka_that_the_tests_ran() -> None:
    assert CONTAINERS["kafka"]["image"] == f"apache/kafka:{pinned_version()}"


def test_the_test_identity_provider_is_asked_for_and_knows_the_portal_as_the_example_has_it() -> None:
    dex = yaml.safe_load((PROJECT / "deploy/dex.yaml").read_text())
    container, example = CONTAINERS["dex"], (PROJECT / "deploy/.env.example").read_text()
    (client,) = dex["staticClients"]
    issuer = urlsplit(dex["issuer"])
    assert container["profiles"] == ["oidc"]
    assert container["networks"]["inside"]["aliases"] == [issuer.hostname]
    assert container["ports"] == [f"127.0.0.1:{issuer.port}:{issuer.port}"]
    assert dex["web"]["http"] == f"0.0.0.0:{issuer.port}"
    assert {client["secretEnv"], dex["staticPasswords"][0]["hashFromEnv"]} == set(container["environment"])
    assert client["redirectURIs"] == [f"http://localhost:{service('portal').http_port}/signed-in"]
    assert dex["issuer"] in example
    assert client["id"] in example


# -- the compose file on its own


def test_every_image_is_pinned() -> None:
    for name, container in CONTAINERS.items():
        assert re.fullmatch(r".+:(v?\d+\.\d+.*|local)", container["image"]), name


def test_only_this_machine_can_reach_a_published_port() -> None:
    published = {name: container["ports"] for name, container in CONTAINERS.items() if "ports" in container}
    assert set(published) == {"kafka", "gateway", "portal", "scim", "insights", "prometheus", "grafana", "dex"}
    for name, ports in published.items():
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), f"{name}: {port}"
    assert published["kafka"] == [f"127.0.0.1:{DEMO_PORT}:{DEMO_PORT}"]
    for name in ("gateway", "portal", "scim", "insights"):
        port = service(name).http_port
        assert published[name] == [f"127.0.0.1:{port}:{port}"]


def test_no_secret_has_a_default() -> None:
    for name, container in CONTAINERS.items():
        for variable, value in container.get("environment", {}).items():
            if re.search(r"TOKENS|KEY|SECRET|PASSWORD|DATABASE_URL", variable):
                # Demanded, or empty when not given: neither is a secret that everybody knows.
                assert re.search(r"\$\{\w+(:\?[^}]+|:-)\}", value), f"{name}: {variable}"


def test_the_example_lists_what_compose_demands_and_gives_nothing_away() -> None:
    demanded = set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yml").read_text()))
    lines = (PROJECT / "deploy/.env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example) == demanded
    assert not any(example.values())


def test_what_a_container_refers_to_exists() -> None:
    for name, container in CONTAINERS.items():
        assert set(container["networks"]) <= set(COMPOSE["networks"]), name
        assert set(container.get("depends_on", ())) <= set(CONTAINERS), name
        for volume in container.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (PROJECT / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"


def test_who_is_waited_for_has_a_health_check() -> None:
    for container in CONTAINERS.values():
        depends_on = container.get("depends_on", {})
        if isinstance(depends_on, dict):
            for other, how in depends_on.items():
                if how["condition"] == "service_healthy":
                    assert "test" in CONTAINERS[other]["healthcheck"], other


# -- image and dashboards


def test_the_image_installs_by_hash_and_does_not_run_as_root() -> None:
    dockerfile = (PROJECT / "deploy/Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", dockerfile, re.M)
    last_stage = dockerfile.rsplit("\nFROM ", 1)[1]
    assert stages == ["python:3.11-slim", "python:3.11-slim"]
    assert "--no-deps --require-hashes -r requirements.lock" in dockerfile
    assert re.search(r"^USER tracker$", last_stage, re.M)
    assert re.search(r"^HEALTHCHECK ", last_stage, re.M)


def test_the_image_copies_only_what_the_builder_is_given() -> None:
    dockerfile = (PROJECT / "deploy/Dockerfile").read_text()
    given = (PROJECT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.M):
        assert any(line.startswith(f"!{source.rstrip('/')}") for line in given), source


# -- processes


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the project, with small services of the tests' own."""
    package = tmp_path / "services"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(GOOD)
    (package / "broken.py").write_text("import sys; print('the reason why'); sys.exit(3)")
    (package / "deaf.py").write_text(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GOOD_SERVER}")
    (package / "unready.py").write_text(GOOD.replace("send_response(200)", "send_response(503)"))
    monkeypatch.setattr("deploy.processes.PROJECT", tmp_path)
    return tmp_path


GOOD_SERVER = """
import http.server, os
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("WORD", "still joining").encode())
http.server.HTTPServer((os.environ["HTTP_HOST"], int(os.environ["HTTP_PORT"])), Ready).serve_forever()
"""
GOOD = f"""
import signal, sys
def end(*_):
    print("ended cleanly", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
{GOOD_SERVER}"""


@pytest.fixture
def supervise(project: Path) -> Iterator[Any]:
    made: list[Supervisor] = []

    def make(*names: str, **more: Any) -> Supervisor:
        services = [Service(name, port) for name, port in zip(names, free_ports(len(names)), strict=True)]
        made.append(Supervisor(services, env={}, log_dir=project / "logs", **more))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop(grace=0.5)


def test_services_are_up_after_start_and_gone_after_stop(supervise: Any) -> None:
    supervisor: Supervisor = supervise("good")
    supervisor.start()
    pid = supervisor.pid("good")
    assert supervisor.is_running("good")

    supervisor.stop()

    assert command_of(pid) is None
    assert "ended cleanly" in supervisor.log("good").read_text()


def test_a_service_that_dies_is_named_with_its_exit_code_and_log_and_takes_the_rest_along(supervise: Any) -> None:
    supervisor: Supervisor = supervise("good", "broken")
    with pytest.raises(ServiceError, match=r"(?s)broken stopped with exit code 3.*the reason why"):
        supervisor.start()
    assert not supervisor.is_running("good")


def test_a_service_that_is_not_ready_in_time_is_named_with_what_it_says(supervise: Any) -> None:
    supervisor: Supervisor = supervise("unready")
    with pytest.raises(ServiceError, match=r"unready was not ready within 1 s; /readyz: 503 still joining"):
        supervisor.start(within=1.0)


def test_a_service_that_ignores_sigterm_is_killed_after_the_grace(supervise: Any) -> None:
    supervisor: Supervisor = supervise("deaf")
    supervisor.start()
    pid = supervisor.pid("deaf")

    before = time.monotonic()
    supervisor.stop(grace=0.5)

    assert command_of(pid) is None
    assert time.monotonic() - before < 5


def test_a_killed_service_is_reported_and_can_be_started_again(supervise: Any) -> None:
    supervisor: Supervisor = supervise("good")
    supervisor.start()
    supervisor.kill("good")
    assert not supervisor.is_running("good")

    supervisor.restart("good")
    assert supervisor.is_running("good")

    subprocess.run(["kill", "-9", str(supervisor.pid("good"))], check=True)
    assert wait_until(lambda: supervisor.dead() == {"good": -signal.SIGKILL}, within=5)


def test_a_service_gets_its_own_environment_over_the_common_one(project: Path) -> None:
    (port,) = free_ports(1)
    with Supervisor(
        [Service("good", 1, env={"WORD": "table"})],
        env={"WORD": "common"},
        service_env={"good": {"WORD": "own"}},
        ports={"good": port},
        log_dir=project / "logs",
    ) as supervisor:
        assert httpx.get(supervisor.url("good", "/readyz")).text == "own"
        assert supervisor.url("good") == f"http://127.0.0.1:{port}"


def test_a_missing_secret_is_named_before_anything_starts(project: Path) -> None:
    needy = Service("good", free_ports(1)[0], requires=("GOOD_KEY",))
    with pytest.raises(ServiceError, match="good needs GOOD_KEY"):
        Supervisor([needy], env={}, log_dir=project / "logs").start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_no_service_outlives_a_killed_starter(project: Path) -> None:
    (port,) = free_ports(1)
    code = (
        "import pathlib, time; import deploy.processes as p; from deploy.stack import Service;"
        f"p.PROJECT = pathlib.Path({str(project)!r});"
        f"s = p.Supervisor([Service('good', {port})], env={{}}, log_dir=p.PROJECT / 'logs');"
        "s.start(); print(s.pid('good'), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as starter:
        try:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            assert command_of(pid) is not None
        finally:
            starter.kill()
    assert wait_until(lambda: command_of(pid) is None, within=5)


# -- helpers


def settings_class(known: Service) -> type[ServiceSettings]:
    """Return the one settings class of a service."""
    module = importlib.import_module(f"{known.module}.settings")
    (found,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, ServiceSettings) and thing.__module__ == module.__name__
    )
    return found
