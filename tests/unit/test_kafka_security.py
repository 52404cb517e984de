"""How Kafka is spoken to: what clients are given, and what a setting that is wrong says of itself."""

from __future__ import annotations

import ast
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import AuthProtocol, SASLMechanism

from deploy.broker import PROJECT, BrokerError, choose_broker
from shared.service.settings import KafkaSecuritySettings
from shared.streaming.connection import BadSecurity, faust_credentials, security
from tests.certificates import an_authority, issued_by

LOGIN = {"KAFKA_SASL_USERNAME": "tracker", "KAFKA_SASL_PASSWORD": "secret"}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in KafkaSecuritySettings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)


def let(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))


def test_without_settings_it_is_plain_text() -> None:
    assert security() == {"security_protocol": "PLAINTEXT"}
    assert faust_credentials() is None


def test_what_a_compose_file_hands_on_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, **{field.upper(): "" for field in KafkaSecuritySettings.model_fields})
    assert security() == {"security_protocol": "PLAINTEXT"}


def test_a_login_over_tls_is_given_to_all_three_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SASL_MECHANISM="SCRAM-SHA-256", **LOGIN)
    said = security()
    context = said.pop("ssl_context")
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert said == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "tracker",
        "sasl_plain_password": "secret",
    }
    credentials = faust_credentials()
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.protocol, credentials.mechanism) == (AuthProtocol.SASL_SSL, SASLMechanism.SCRAM_SHA_256)
    assert (credentials.username, credentials.password) == ("tracker", "secret")


def test_a_login_without_tls_keeps_the_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA_SASL_MECHANISM="PLAIN", **LOGIN)
    with pytest.raises(BadSecurity, match="KAFKA_SASL_MECHANISM: PLAIN over SASL_PLAINTEXT"):
        security()
    let(monkeypatch, KAFKA_SASL_MECHANISM="")
    assert security()["sasl_mechanism"] == "SCRAM-SHA-512"
    credentials = faust_credentials()
    assert isinstance(credentials, SASLCredentials)
    assert credentials.protocol == AuthProtocol.SASL_PLAINTEXT


def test_our_own_certificate_is_shown_to_brokers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = an_authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    ours = issued_by(authority, "tracker")
    (tmp_path / "ours.pem").write_bytes(ours.certificate_pem)
    (tmp_path / "ours.key").write_bytes(ours.key_pem(b"of the key"))
    let(
        monkeypatch,
        KAFKA_SECURITY_PROTOCOL="SSL",
        KAFKA_SSL_CA_FILE=tmp_path / "ca.pem",
        KAFKA_SSL_CERTIFICATE_FILE=tmp_path / "ours.pem",
        KAFKA_SSL_KEY_FILE=tmp_path / "ours.key",
        KAFKA_SSL_KEY_PASSWORD="of the key",
    )
    context = security()["ssl_context"]
    assert [dict(pair[0] for pair in known["subject"]) for known in context.get_ca_certs()] == [
        {"commonName": authority.name}
    ]
    assert isinstance(faust_credentials(), SSLCredentials)
    let(monkeypatch, KAFKA_SSL_KEY_PASSWORD="another")
    with pytest.raises(BadSecurity, match="KAFKA_SSL_KEY_PASSWORD is not the key's"):
        security()
    monkeypatch.delenv("KAFKA_SSL_KEY_PASSWORD")  # nobody is asked for it at the terminal
    with pytest.raises(BadSecurity, match="KAFKA_SSL_KEY_PASSWORD is not the key's"):
        security()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT'"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "nowhere.pem"}, "KAFKA_SSL_CA_FILE: Path does not"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": __file__},
            "KAFKA_SSL_CA_FILE: .* no PEM certificates",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_FILE": __file__}, "CERTIFICATE_FILE and .* go together"),
        ({"KAFKA_SSL_CA_FILE": __file__}, "PLAINTEXT does not encrypt, though KAFKA_SSL_"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, **settings)
    with pytest.raises(BadSecurity, match=complaint) as caught:
        security()
    assert str(caught.value).startswith("KAFKA_"), "a command shows it as it is"


def test_the_password_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, KAFKA_SECURITY_PROTOCOL="TLS", KAFKA_SASL_USERNAME="tracker", KAFKA_SASL_PASSWORD="hunter2")
    with pytest.raises(BadSecurity) as caught:
        security()
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(KafkaSecuritySettings(KAFKA_SECURITY_PROTOCOL="PLAINTEXT"))


def test_a_local_kafka_is_not_started_for_clients_that_could_not_speak_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    let(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL", **LOGIN)
    with pytest.raises(BrokerError, match="local Kafka speaks plain text only"):
        choose_broker()


def test_no_client_is_made_that_does_not_ask_how_kafka_is_spoken_to() -> None:
    made = {
        f"{path.relative_to(PROJECT)}:{call.lineno}": {
            ast.unparse(given.value) for given in call.keywords if not given.arg
        }
        for folder in ("services", "shared", "deploy")
        for path in (PROJECT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and is_client(ast.unparse(call.func))
    }
    assert len(made) > 20, "they are called otherwise now"
    plain = {where for where, said in made.items() if not said & {"security()", "how"}}
    assert plain == set()


def is_client(name: str) -> bool:
    return re.fullmatch(r"(AIO)?Kafka(Consumer|Producer|AdminClient)|self\._consumer", name) is not None
