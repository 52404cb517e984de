"""Settings every service has, read from the environment; each service adds its own class on top."""

from __future__ import annotations

import base64
import ssl
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, FilePath, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.contracts.feeds import AttributeName

EXIT_BAD_SETTINGS: Final = 2
"""How a process ends that can't use its settings."""

_SHORTEST_KEY: Final = 32
_MASTER_KEY_BYTES: Final = 32


def http_port(default: int) -> Any:
    """Return the field `http_port` with a service's own default; 0 takes any free port."""
    return Field(default, validation_alias="HTTP_PORT", ge=0, le=65535, description="port of the service's HTTP server")


class PersonKeySettings(BaseSettings):
    """How people are forgotten: the same for every service, for the gateway and for the commands."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    person_marks_key: SecretStr | None = Field(
        None,
        validation_alias="PERSON_MARKS_KEY",
        description=f"key of the marks by which an erased person is known again, {_SHORTEST_KEY} characters or more; "
        "it must never change. Without it nobody can be erased",
    )
    person_master_keys: SecretStr | None = Field(
        None,
        validation_alias="PERSON_MASTER_KEYS",
        description="seals personal data in Kafka: 32 random bytes in base64, which wrap each person's key; "
        "several, separated by commas, while one is replaced by the first. Needs PERSON_MARKS_KEY",
    )

    @field_validator("person_marks_key", "person_master_keys", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None  # as a compose file hands on what is not set

    @model_validator(mode="after")
    def _keys_are_fit(self) -> PersonKeySettings:
        marks, masters = self.person_marks_key, self.person_master_keys
        if marks is not None and len(marks.get_secret_value()) < _SHORTEST_KEY:
            raise ValueError(f"PERSON_MARKS_KEY: is shorter than {_SHORTEST_KEY} characters; openssl rand -hex 32")
        if masters is not None:
            if marks is None:
                raise ValueError("PERSON_MASTER_KEYS: needs PERSON_MARKS_KEY too")
            read_master_keys(masters.get_secret_value())
        return self


def read_master_keys(text: str) -> list[bytes]:
    """Return the master keys of a setting.

    Raises:
        ValueError: one is not 32 bytes in base64; the message counts them and shows none.
    """
    keys = []
    for number, part in enumerate((part.strip() for part in text.split(",")), start=1):
        try:
            key = base64.b64decode(part, validate=True)
        except ValueError:
            key = b""
        if len(key) != _MASTER_KEY_BYTES:
            raise ValueError(f"PERSON_MASTER_KEYS: key {number} is not 32 bytes in base64; openssl rand -base64 32")
        keys.append(key)
    return keys


class KafkaSecuritySettings(BaseSettings):
    """How Kafka is reached where it asks who we are: the same for every service and every command.

    The names of protocols and mechanisms are Kafka's own (https://kafka.apache.org/documentation/#security).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        validation_alias="KAFKA_SECURITY_PROTOCOL",
        description="how brokers are spoken to: SSL encrypts, SASL logs in by name and password",
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512",
        validation_alias="KAFKA_SASL_MECHANISM",
        description="how the login goes; PLAIN hands over the password itself, so only with SASL_SSL",
    )
    kafka_sasl_username: str | None = Field(
        None, validation_alias="KAFKA_SASL_USERNAME", description="whom to log in as; SASL_* protocols need it"
    )
    kafka_sasl_password: SecretStr | None = Field(
        None, validation_alias="KAFKA_SASL_PASSWORD", description="the password; SASL_* protocols need it"
    )
    kafka_ssl_ca_file: FilePath | None = Field(
        None,
        validation_alias="KAFKA_SSL_CA_FILE",
        description="PEM file of the authorities that brokers' certificates must come from; without it the system's",
    )
    kafka_ssl_certificate_file: FilePath | None = Field(
        None,
        validation_alias="KAFKA_SSL_CERTIFICATE_FILE",
        description="PEM file of our own certificate, where brokers want one",
    )
    kafka_ssl_key_file: FilePath | None = Field(
        None, validation_alias="KAFKA_SSL_KEY_FILE", description="PEM file of that certificate's key"
    )
    kafka_ssl_key_password: SecretStr | None = Field(
        None, validation_alias="KAFKA_SSL_KEY_PASSWORD", description="the key's password, if it has one"
    )

    @field_validator(
        "kafka_security_protocol",
        "kafka_sasl_mechanism",
        "kafka_sasl_username",
        "kafka_sasl_password",
        "kafka_ssl_ca_file",
        "kafka_ssl_certificate_file",
        "kafka_ssl_key_file",
        "kafka_ssl_key_password",
        mode="before",
    )
    @classmethod
    def _empty_is_the_default(cls, value: object, info: ValidationInfo) -> object:
        return value or cls.model_fields[str(info.field_name)].default  # as a compose file hands on what is not set

    @model_validator(mode="after")
    def _what_belongs_together_is_there(self) -> Self:
        if self.logs_in and (self.kafka_sasl_username is None or self.kafka_sasl_password is None):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL: {self.kafka_security_protocol} needs KAFKA_SASL_USERNAME and "
                "KAFKA_SASL_PASSWORD"
            )
        if self.kafka_security_protocol == "SASL_PLAINTEXT" and self.kafka_sasl_mechanism == "PLAIN":
            raise ValueError(
                "KAFKA_SASL_MECHANISM: PLAIN over SASL_PLAINTEXT would send the password as it is; take SASL_SSL, or "
                "SCRAM-SHA-512"
            )
        if (self.kafka_ssl_certificate_file is None) != (self.kafka_ssl_key_file is None):
            raise ValueError("KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE go together")
        if not self.kafka_security_protocol.endswith("SSL") and (
            self.kafka_ssl_ca_file is not None or self.kafka_ssl_certificate_file is not None
        ):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL: {self.kafka_security_protocol} does not encrypt, though KAFKA_SSL_* files "
                "are set; take SSL or SASL_SSL"
            )
        self.tls()
        return self

    @property
    def logs_in(self) -> bool:
        """Whether brokers are told who we are by name and password."""
        return self.kafka_security_protocol.startswith("SASL_")

    def tls(self) -> ssl.SSLContext | None:
        """Return how connections are encrypted, of the files as they are now; None where they are not.

        Raises:
            ValueError: a file is no certificate or key; the message names its setting.
        """
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.kafka_ssl_ca_file)
        except OSError as exc:
            raise ValueError(f"KAFKA_SSL_CA_FILE: {self.kafka_ssl_ca_file} holds no PEM certificates: {exc}") from exc
        if self.kafka_ssl_certificate_file is not None:
            password = self.kafka_ssl_key_password
            # Where there is none, OpenSSL would ask for it at the terminal.
            secret = password.get_secret_value() if password is not None else ""
            try:
                context.load_cert_chain(self.kafka_ssl_certificate_file, self.kafka_ssl_key_file, secret)
            except OSError as exc:
                raise ValueError(
                    f"KAFKA_SSL_CERTIFICATE_FILE, KAFKA_SSL_KEY_FILE: {self.kafka_ssl_certificate_file} and "
                    f"{self.kafka_ssl_key_file} are no certificate and its key in PEM, or KAFKA_SSL_KEY_PASSWORD is "
                    f"not the key's: {exc}"
                ) from exc
        return context


class TopicSettings(BaseSettings):
    """How the topics are cut: the same for every service and every command of a system, for as long as it lives."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    topic_partitions: int = Field(
        4,
        validation_alias="TOPIC_PARTITIONS",
        ge=1,
        le=100,
        description="partitions of each topic, so that many workers of a service can share its work; the same "
        "everywhere, and never changed once topics have been created",
    )

    @field_validator("topic_partitions", mode="before")
    @classmethod
    def _no_number_is_the_default(cls, value: object) -> object:
        return value or cls.model_fields["topic_partitions"].default  # as a compose file hands on what is not set


class ServiceSettings(PersonKeySettings, KafkaSecuritySettings, TopicSettings):
    """The settings all services share. Their names in the environment have no prefix; a service's own have its name."""

    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:19092",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="brokers to connect to, host:port, separated by commas",
    )
    http_host: str = Field(
        "127.0.0.1",
        validation_alias="HTTP_HOST",
        description="address the service's HTTP server listens on",
    )
    http_port: int = http_port(0)
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        validation_alias="LOG_FORMAT",
        description="auto: for people at a terminal, JSON lines elsewhere",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL", description="the least grave level that is logged"
    )


class AttributeSettings(ServiceSettings):
    """Whether protected attributes are taken in: the same for all who let them in, and for insights, which compares."""

    protected_attributes: Annotated[tuple[AttributeName, ...], NoDecode] = Field(
        (),
        validation_alias="PROTECTED_ATTRIBUTES",
        description="protected attributes that a company compares by, separated by commas, as gender,disability; "
        "empty: none is let in, kept or shown",
    )

    @field_validator("protected_attributes", mode="before")
    @classmethod
    def _separate(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def environment_name(settings: type[BaseSettings], field: str) -> str:
    """Return the environment variable that sets `field`."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, str):
        return alias
    return (settings.model_config.get("env_prefix", "") + field).upper()


def describe_settings(settings: type[BaseSettings]) -> str:
    """Return one paragraph a setting: its environment variable, what it means, its default; for --help and the docs."""
    lines = []
    for field, info in settings.model_fields.items():
        default = "required" if info.is_required() else f"default: {info.get_default(call_default_factory=True)!r}"
        lines.append(f"  {environment_name(settings, field)}\n      {info.description} ({default})")
    return "\n".join(lines)
