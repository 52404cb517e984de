"""What a source's file declares: who may send, how a delivery is read, and which events of `feeds.*` it becomes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from shared.contracts.base import Contract, Payload
from shared.contracts.feeds import SHAPES, Timezone
from shared.sources.expressions import Expression, Scalar, SourceFunctions, Tables
from shared.sources.signatures import Signature

FEEDS_KNOWN: Final = tuple(SHAPES)


def _compiled(value: Any) -> Any:
    return Expression(value) if isinstance(value, str) else value


Jmes = Annotated[Expression, BeforeValidator(_compiled)]


class _Declared(Contract):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class Ping(_Declared):
    """A test that comes when the webhook is set up. Such a body says nothing, so it needs no signature."""

    kind: Literal["ping"]
    bodies: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="the whole body, byte for byte")


class Challenge(_Declared):
    """A request that wants back a part of itself. It has to be signed like any other."""

    kind: Literal["challenge"]
    when: Jmes
    answer: Jmes = Field(description="what is sent back, as text")


class Origins(_Declared):
    """CloudEvents' abuse protection (HTTP Webhooks for Event Delivery 1.0, section 4): OPTIONS asks if it may send."""

    kind: Literal["cloudevents"]
    origins: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="values of WebHook-Request-Origin")
    per_minute: int = Field(6000, ge=1, description="requests a minute that are allowed")


Handshake = Annotated[Ping | Challenge | Origins, Field(discriminator="kind")]


class Webhook(_Declared):
    """How a vendor's requests to ``POST /v1/sources/<name>`` are told to be theirs."""

    signature: Signature
    handshake: Handshake | None = None


class Bulk(_Declared):
    """How the rows of an extract are read. Each row that is new or has changed is a delivery of its own.

    Its body is ``{"row": {column: text, …}, "as_of": time}``, where `as_of` is when the extract was made.
    """

    format: Literal["csv", "ndjson"]
    key: Annotated[str, Field(min_length=1)] = Field(description="the column that tells rows apart")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = Field("utf-8-sig", description="of the file; utf-8-sig takes UTF-8 with a mark and without")

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError as exc:
            raise ValueError("is no encoding that Python knows, as utf-8-sig, latin-1 or cp1252") from exc
        return value


class Fetch(_Declared):
    """How the record is fetched that a thin notification only names; expressions see it as `fetched`."""

    when: Jmes = Field(description="of which deliveries the record is fetched")
    key: Jmes = Field(description="names the record")
    url: str = Field(description="where it is; {key} stands for the key")
    method: Literal["GET", "POST"] = "GET"
    json_body: Mapping[str, Any] | None = Field(None, description="what is sent along, where the API wants a question")
    auth: Literal["basic", "bearer"] = Field(description="how SOURCES_CREDENTIALS are sent: user:password, or a token")
    concurrency: int = Field(4, ge=1, le=32, description="requests at the same time")

    @field_validator("url")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        address = urlsplit(value)
        if value.count("{key}") != 1 or "{key}" in address.netloc:
            raise ValueError("has {key} once, after the host")
        if address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError("has to be https: credentials are sent along")
        return value


class Rule(_Declared):
    """What an entry of a delivery becomes, where `when` holds. Of several rules that hold each gives an event.

    `subject`, `id` and `time` are the source's, where a rule has none of its own.
    """

    when: Jmes | None = None
    feed: Literal["people", "achievements", "cycles", "endorsements"]
    type: str
    subject: Jmes | None = None
    id: Jmes | None = None
    time: Jmes | None = None
    data: Mapping[str, Any] = Field(description="the payload: an expression for each field; numbers are themselves")

    @model_validator(mode="after")
    def _the_type_is_the_feeds(self) -> Rule:
        if self.type not in SHAPES[self.feed]:
            raise ValueError(f"type: feeds.{self.feed} knows no {self.type!r}; it knows {', '.join(SHAPES[self.feed])}")
        unknown = sorted(set(self.data) - _fields(SHAPES[self.feed][self.type]))
        if unknown:
            known = ", ".join(sorted(_fields(SHAPES[self.feed][self.type])))
            raise ValueError(f"data: {self.type} has no {', '.join(unknown)}; it has {known}")
        return self

    @field_validator("data", mode="before")
    @classmethod
    def _compile(cls, value: Any) -> Any:
        return _template(value, "") if isinstance(value, Mapping) else value


class Ignored(_Declared):
    """Deliveries that are known, and of which nothing is made."""

    when: Jmes
    why: Annotated[str, Field(min_length=1)]


class Declaration(_Declared):
    """A source."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,49}$")] = Field(description="as the file is named")
    title: Annotated[str, Field(min_length=1)]
    docs: str = Field("", description="where the vendor tells of it")
    source: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="CloudEvents source of its events")
    timezone: Timezone = Field("UTC", description="of times without a zone")
    silent_after_hours: Annotated[float, Field(gt=0)] | None = Field(
        None, description="a source that has not delivered for so long is one to look at"
    )
    webhook: Webhook | None = None
    bulk: Bulk | None = None
    provider: Literal["scim"] | None = Field(
        None, description="instead of webhook and bulk: the scim service, which makes the deliveries itself"
    )
    fetch: Fetch | None = None
    tables: Tables = Field({}, description="what lookup() looks up")
    each: Jmes | None = Field(None, description="the list of entries in a delivery, where it may have several")
    subject: Jmes | None = Field(None, description="whom it is about, as a ref: hris:E00017, email:ann@example.com")
    id: Jmes | None = Field(None, description="names what happened, however often it is sent; a digest when absent")
    time: Jmes | None = Field(None, description="when it was so; when absent, when it came")
    events: tuple[Rule, ...] = ()
    ignore: tuple[Ignored, ...] = ()
    mapper: str | None = Field(None, description="instead of events: a Python class, by the name of its entry point")
    headers: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}\*?$")], ...] = Field(
        (), description="headers that the mapper reads; ce-* means all that begin with ce-"
    )

    @model_validator(mode="after")
    def _is_read_in_one_way(self) -> Declaration:
        if self.provider is None and self.webhook is None and self.bulk is None:
            raise ValueError("webhook: is missing: a source has a webhook, or bulk, or both, or a provider")
        if self.provider is not None and (self.webhook is not None or self.bulk is not None):
            raise ValueError("provider: goes with neither webhook nor bulk: the service makes its deliveries")
        if self.fetch is not None and (self.each is not None or self.mapper is not None):
            raise ValueError("fetch: goes with neither each nor mapper")
        if bool(self.events) == bool(self.mapper):
            raise ValueError("events: either events, or a mapper")
        if self.events and any(rule.subject is None and self.subject is None for rule in self.events):
            raise ValueError("subject: is missing: events about one subject keep their order, so each has one")
        return self

    @property
    def functions(self) -> SourceFunctions:
        """Return what its expressions may call."""
        return SourceFunctions(self.timezone, self.tables)

    def headers_read(self) -> frozenset[str]:
        """Return the headers, in lower case, that have to be kept with a delivery for it to be read later."""
        found = {"content-type", *(name.lower() for name in self.headers)}
        for expression in self._expressions():
            found |= expression.headers()
        return frozenset(found)

    def _expressions(self) -> Iterator[Expression]:
        yield from filter(None, (self.each, self.subject, self.id, self.time))
        if self.fetch is not None:
            yield from (self.fetch.when, self.fetch.key)
        for ignored in self.ignore:
            yield ignored.when
        for rule in self.events:
            yield from filter(None, (rule.when, rule.subject, rule.id, rule.time))
            yield from _leaves(rule.data)


def _template(value: Any, where: str) -> Any:
    """Return a payload's template with its expressions compiled."""
    if isinstance(value, Mapping):
        return {str(key): _template(inner, f"{where}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, str):
        try:
            return Expression(value)
        except ValueError as exc:
            raise ValueError(f"{where}: {exc}") from exc
    if isinstance(value, Scalar):
        return value
    raise ValueError(f"{where}: is neither an expression, nor a number, nor a mapping of those")


def _leaves(template: Any) -> Iterator[Expression]:
    if isinstance(template, Expression):
        yield template
    elif isinstance(template, Mapping):
        for inner in template.values():
            yield from _leaves(inner)


def _fields(shape: type[Payload]) -> set[str]:
    """Return the names that a shape's fields may be sent under."""
    found = set(shape.model_fields)
    for info in shape.model_fields.values():
        choices = getattr(info.validation_alias, "choices", ())
        found.update(choice for choice in choices if isinstance(choice, str))
    return found
