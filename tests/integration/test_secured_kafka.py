"""All services on a Kafka that takes only who is encrypted and logged in, and grants only what it was told to grant."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from kafka import KafkaConsumer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from deploy import dead
from deploy.broker import LOOPBACK, Broker, BrokerError, ExternalBroker
from deploy.feeding import Feeder
from deploy.lag import LagReader
from deploy.outcome import Insights
from deploy.spawn import free_ports
from deploy.stack import SERVICES
from deploy.system import start_system, wait_until_quiet
from deploy.topics import main as topics
from deploy.tracker.__main__ import main as tracker
from shared.company.scenario import demo_scenario
from shared.streaming.connection import security
from tests.certificates import an_authority, issued_by

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NAME: Final = "tracker"
PASSWORD: Final = "not-a-secret-but-long-enough"
GRANTED: Final = (
    (ResourceType.TOPIC, "*", (ACLOperation.READ, ACLOperation.WRITE, ACLOperation.CREATE)),
    (ResourceType.TOPIC, "*", (ACLOperation.DESCRIBE_CONFIGS, ACLOperation.ALTER_CONFIGS)),
    (ResourceType.GROUP, "*", (ACLOperation.READ,)),
    (ResourceType.TRANSACTIONAL_ID, "*", (ACLOperation.WRITE,)),
    (ResourceType.CLUSTER, "kafka-cluster", (ACLOperation.DESCRIBE,)),
)
"""What docs/operators.md asks an administrator to grant ("A Kafka that asks who we are")."""


class Secured(Broker):
    """A broker with a door for administrators, in plain text, and one where one is encrypted and logs in."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        port, controller_port, self._secure_port = free_ports(3)
        super().__init__(folder, port=port, controller_port=controller_port, die_with_parent=True)
        self._certificates = certificates

    @property
    def secured_servers(self) -> str:
        return f"{LOOPBACK}:{self._secure_port}"

    def _settings(self) -> dict[str, str | int]:
        plain = super()._settings()
        return {
            **plain,
            "listeners": f"{plain['listeners']},SECURED://{self.secured_servers}",
            "advertised.listeners": f"{plain['advertised.listeners']},SECURED://{self.secured_servers}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secured.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.secured.ssl.keystore.type": "PEM",
            "listener.name.secured.ssl.keystore.location": str(self._certificates / "broker.pem"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who comes by the plain door
        }


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    make_certificates(folder)
    with Secured(folder / "kafka", folder) as running:
        let_in(running.bootstrap_servers)
        yield running


@pytest.fixture
def known(broker: Secured, monkeypatch: pytest.MonkeyPatch) -> Secured:
    """Let this process, and those it starts, know how to come in."""
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": broker.secured_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": NAME,
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SSL_CA_FILE": str(broker.data_dir.parent / "ca.pem"),
    }.items():
        monkeypatch.setenv(name, value)
    return broker


def make_certificates(folder: Path) -> None:
    """Write an authority's certificate, and a broker's key and certificate by it, each as PEM."""
    authority = an_authority()
    ours = issued_by(authority, "broker")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "broker.pem").write_bytes(ours.key_pem() + ours.certificate_pem)


def let_in(bootstrap_servers: str) -> None:
    """Make the user, who may do what is granted, and no more."""
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(NAME, ScramMechanism.SCRAM_SHA_512, PASSWORD.encode(), 4096)]
        )
        admin.create_acls(
            [
                ACL(
                    f"User:{NAME}",
                    "*",
                    operation,
                    ACLPermissionType.ALLOW,
                    ResourcePattern(kind, name, ACLResourcePatternType.LITERAL),
                )
                for kind, name, operations in GRANTED
                for operation in operations
            ]
        )


def test_all_services_and_commands_work_on_a_kafka_that_asks_who_they_are(known: Secured, tmp_path: Path) -> None:
    assert topics([]) == 0
    scenario = demo_scenario()
    receiver_port, *ports = free_ports(1 + len(SERVICES))
    with contextlib.ExitStack() as running:
        system = start_system(
            running,
            known.secured_servers,
            scenario,
            ports={service.name: ports[number] for number, service in enumerate(SERVICES)},
            receiver_port=receiver_port,
            data_dir=tmp_path,
            log_dir=tmp_path / "logs",
        )
        feeder = Feeder(system.stack.url("gateway"), system.tokens, system.bootstrap_servers)
        running.callback(feeder.close)
        lag = running.enter_context(contextlib.closing(LagReader(system.bootstrap_servers)))
        insights = running.enter_context(contextlib.closing(Insights(system.stack.url("insights"))))
        history, opening = scenario.phases[:2]
        people = [
            record for record in history.records if record.feed != "achievements"
        ]  # who has none is asked for too
        for records in (people, opening.records):
            feeder.feed(records, lambda _: None)
            assert wait_until_quiet(system, lag, within=90) == {}
        assert system.stack.dead() == {}
        summary = insights.get("/v1/summary")
        assert summary["deliveries"]["delivered"] > 0, "no prompt came through"
        employee = next(iter(insights.all("/v1/prompts")))["employee_id"]
        assert "prompt" in said_by_tracker("explain", "--employee", employee)
        assert employee in said_by_tracker("person", "export", "--no-read-model", employee)
        assert dead.main(["list", "--json"]) == 0


def said_by_tracker(*arguments: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert tracker(arguments) == 0
    return said.getvalue()


def test_who_has_the_wrong_password_is_told_that_kafka_does_not_let_them_in(
    known: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "wrong")
    with pytest.raises(BrokerError, match="KAFKA_SECURITY_PROTOCOL"):
        ExternalBroker(known.secured_servers).start(within=3)


def test_a_broker_whose_certificate_is_by_nobody_we_know_is_not_spoken_to(
    known: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_SSL_CA_FILE")  # then the system's authorities count, who never heard of this one
    with pytest.raises(KafkaError):
        KafkaConsumer(bootstrap_servers=known.secured_servers, **security(), bootstrap_timeout_ms=3000)
