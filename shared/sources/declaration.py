"""What a source's file declares: who may send, how a delivery is read, and which events of `feeds.*` it becomes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from shared.contracts.base import Payload
from shared.contracts.feeds import SHAPES, Timezone
from shared.sources.apis import Api, Fetch, Poll
from shared.sources.declared import Declared, Jmes
from shared.sources.expressions import Expression, Scalar, SourceFunctions, Tables
from shared.sources.signatures import Signature
from shared.streaming.topics import ALL_TOPICS

_OUR_TOPICS: Final = frozenset(spec.name for spec in ALL_TOPICS)


class Ping(Declared):
    """A test that comes when the webhook is set up. Such a body says nothing, so it needs no signature."""

    kind: Literal["ping"]
    bodies: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="the whole body, byte for byte")


class Challenge(Declared):
    """A request that wants back a part of itself. It has to be signed like any other."""

    kind: Literal["challenge"]
    when: Jmes
    answer: Jmes = Field(description="what is sent back, as text")


class Origins(Declared):
    """CloudEvents' abuse protection (HTTP Webhooks for Event Delivery 1.0, section 4): OPTIONS asks if it may send."""

    kind: Literal["cloudevents"]
    origins: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="values of WebHook-Request-Origin")
    per_minute: int = Field(6000, ge=1, description="requests a minute that are allowed")


Handshake = Annotated[Ping | Challenge | Origins, Field(discriminator="kind")]


class Receipt(Declared):
    """What a delivery is answered with once Kafka has it, where its sender wants more than status 200."""

    content_type: Annotated[str, Field(pattern=r"^[\x20-\x7e]{3,200}$")]
    body: str = Field(description="as it is; {now} stands for the time, as RFC 3339")


class Webhook(Declared):
    """How a vendor's requests to ``POST /v1/sources/<name>`` are told to be theirs, and what they are answered."""

    signature: Signature
    handshake: Handshake | None = None
    receipt: Receipt | None = None


class Bulk(Declared):
    """How the rows of an extract are read. Each row that is new or has changed is a delivery of its own.

    Its body is ``{"row": {column: text, …}, "as_of": time}``, where `as_of` is when the extract was made.
    """

    format: Literal["csv", "ndjson", "parquet"]
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


class Topic(Declared):
    """A topic of the company's that is there already. Each record is a delivery: its value is the body.

    Expressions see the record's headers, and ``kafka-key``, ``kafka-position`` (topic/partition/offset) and
    ``kafka-timestamp``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    group: Annotated[str, Field(min_length=1)] = Field(description="the consumer group that it is read in")
    start: Literal["earliest", "latest"] = Field("earliest", description="where a group begins that is new")

    @field_validator("name")
    @classmethod
    def _is_not_ours(cls, value: str) -> str:
        if value in _OUR_TOPICS:
            raise ValueError("is a topic of this system's own, which has a reader")
        return value


class Rule(Declared):
    """What an entry of a delivery becomes, where `when` holds. Of several rules that hold each gives an event.

    `subject`, `id` and `time` are the source's, where a rule has none of its own.
    """

    when: Jmes | None = None
    feed: Literal["people", "achievements", "cycles", "endorsements", "attributes"]
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


class Ignored(Declared):
    """Deliveries that are known, and of which nothing is made."""

    when: Jmes
    why: Annotated[str, Field(min_length=1)]


class Declaration(Declared):
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
        None, description="instead of any other way in: the scim service, which makes the deliveries itself"
    )
    api: Api | None = Field(None, description="how the vendor's API is asked, for fetch and poll")
    fetch: Fetch | None = None
    poll: tuple[Poll, ...] = ()
    kafka: Topic | None = None
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
        ways = [self.webhook, self.bulk, self.poll or None, self.kafka, self.provider]
        if all(way is None for way in ways):
            raise ValueError(
                "webhook: is missing: a source has a webhook, bulk, poll or kafka, or several of them, or a provider"
            )
        if self.provider is not None and sum(way is not None for way in ways) > 1:
            raise ValueError("provider: goes with no other way in: the service makes the deliveries")
        if self.kafka is not None and self.mapper is None and self.id is None:
            raise ValueError(
                "id: is missing: a record that says again what an earlier one said would be taken for its repetition; "
                'if nothing in it names what happened, headers."kafka-position" names the record'
            )
        if (self.api is None) != (self.fetch is None and not self.poll):
            raise ValueError("api: goes with fetch and poll, and they with it")
        if len({one.name for one in self.poll}) != len(self.poll):
            raise ValueError("poll: two have the same name")
        if self.fetch is not None and self.mapper is not None:
            raise ValueError("fetch: goes with events, and not with a mapper")
        if bool(self.events) == bool(self.mapper):
            raise ValueError("events: either events, or a mapper")
        if self.events and any(rule.subject is None and self.subject is None for rule in self.events):
            raise ValueError("subject: is missing: events about one subject keep their order, so each has one")
        return self

    @cached_property
    def functions(self) -> SourceFunctions:
        """Return what its expressions may call."""
        return SourceFunctions(self.timezone, self.tables)

    @cached_property
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
