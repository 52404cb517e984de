"""Says how clients connect to Kafka: in plain text, or encrypted and logged in, as the environment's settings say.

Each client is told by whoever makes it where its brokers are. How they are spoken to is one thing for the whole
process, for the services as for the commands, and is asked for at the moment when a client is made: a certificate that
has been renewed is taken with the next one.
"""

from __future__ import annotations

from typing import Any

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT
from kafka.errors import KafkaError
from pydantic import ValidationError

from shared.service.settings import KafkaSecuritySettings


class BadSecurity(KafkaError):  # type: ignore[misc]
    """The settings do not say how Kafka is to be spoken to; the message names which, and what to do."""

    def __str__(self) -> str:
        return str(self.args[0])  # without the class's name, which kafka-python would put before it


def security() -> dict[str, Any]:
    """Return the arguments by which clients of kafka-python and of aiokafka, which name them alike, are secured.

    Raises:
        BadSecurity: a setting is wrong. A service has looked at them at its start, and does not get here.
    """
    try:
        settings = KafkaSecuritySettings()
        context = settings.tls()
    except ValidationError as exc:
        # What several settings do together says itself which they are, and is at no place.
        said = (": ".join([*map(str, of["loc"]), of["msg"].removeprefix("Value error, ")]) for of in exc.errors())
        raise BadSecurity("; ".join(said)) from exc
    except ValueError as exc:
        raise BadSecurity(str(exc)) from exc
    secured: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if context is not None:
        secured["ssl_context"] = context
    if settings.logs_in and settings.kafka_sasl_password is not None:
        secured["sasl_mechanism"] = settings.kafka_sasl_mechanism
        secured["sasl_plain_username"] = settings.kafka_sasl_username
        secured["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return secured


def faust_credentials() -> CredentialsT | None:
    """Return the same as Faust takes it; None for plain text.

    Raises:
        BadSecurity: see `security`.
    """
    secured = security()
    context = secured.get("ssl_context")
    if "sasl_mechanism" in secured:
        return SASLCredentials(
            username=secured["sasl_plain_username"],
            password=secured["sasl_plain_password"],
            mechanism=secured["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None
