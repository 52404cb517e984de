"""What a source's file declares of the vendor's API: who asks, which records are fetched, what is polled and when."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shared.sources.declared import Declared, Jmes

KEY: Final = "{key}"
_HERE: Final = ("127.0.0.1", "localhost")


def _safe(value: str) -> str:
    address = urlsplit(value)
    if address.scheme != "https" and address.hostname not in _HERE:
        raise ValueError("has to be https: credentials are sent along")
    return value


Address = Annotated[str, BeforeValidator(lambda value: _safe(value) if isinstance(value, str) else value)]


class Basic(Declared):
    """HTTP's basic authentication (RFC 7617)."""

    kind: Literal["basic"]

    def refuses(self, credentials: str) -> str | None:
        """Return what is wrong with the credentials, without them; None if nothing is."""
        return None if ":" in credentials else "wants user:password"

    def headers(self, credentials: str) -> Mapping[str, str]:
        """Return what is sent along."""
        return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


class Bearer(Declared):
    """A token that does not expire, or is replaced by hand (RFC 6750)."""

    kind: Literal["bearer"]

    def refuses(self, credentials: str) -> str | None:  # noqa: ARG002 - as the others have it
        """Return what is wrong with the credentials, without them; None if nothing is."""
        return None

    def headers(self, credentials: str) -> Mapping[str, str]:
        """Return what is sent along."""
        return {"Authorization": f"Bearer {credentials}"}


class Headers(Declared):
    """Headers of the vendor's own, with the parts of the credentials: ``Bearer {0}``, ``{1}``."""

    kind: Literal["headers"]
    headers_sent: Annotated[Mapping[str, str], Field(min_length=1, alias="headers")]

    @field_validator("headers_sent")
    @classmethod
    def _can_be_filled(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, form in value.items():
            try:
                form.format(*"ab")
            except (LookupError, ValueError) as exc:
                raise ValueError(f"{name} is filled with {{0}}, and with {{1}} where there are two") from exc
        return value

    def refuses(self, credentials: str) -> str | None:
        """Return what is wrong with the credentials, without them; None if nothing is."""
        two = any("{1}" in form for form in self.headers_sent.values())
        return "wants two parts, with a colon between" if two and ":" not in credentials else None

    def headers(self, credentials: str) -> Mapping[str, str]:
        """Return what is sent along."""
        first, _, second = credentials.partition(":")
        two = any("{1}" in form for form in self.headers_sent.values())
        parts = (first, second) if two else (credentials, "")
        return {name: form.format(*parts) for name, form in self.headers_sent.items()}


class ClientCredentials(Declared):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4): a token that expires, had for client_id:client_secret."""

    kind: Literal["client_credentials"]
    token_url: Address
    scope: str = Field("", description="what the token is asked for, where the vendor wants that said")
    sent_in: Literal["header", "body"] = Field("header", description="where the token's address wants id and secret")

    def refuses(self, credentials: str) -> str | None:
        """Return what is wrong with the credentials, without them; None if nothing is."""
        return None if ":" in credentials else "wants client_id:client_secret"


def _by_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Auth = Annotated[Basic | Bearer | Headers | ClientCredentials, Field(discriminator="kind"), BeforeValidator(_by_kind)]


class Api(Declared):
    """How the vendor's API is asked, for records that are fetched and for what is polled."""

    auth: Auth = Field(description="how SOURCES_CREDENTIALS are sent: basic, bearer, or a kind with more to say")
    headers: Mapping[str, str] = Field({}, description="sent with every request, as a version that the API wants named")
    concurrency: int = Field(4, ge=1, le=32, description="requests at the same time")


class Fetch(Declared):
    """How the record is fetched that a thin notification only names; expressions see it as `fetched`."""

    when: Jmes = Field(description="of which deliveries the record is fetched")
    key: Jmes = Field(description="names the record")
    url: Address | Mapping[str, Address] = Field(
        description="where it is; {key} stands for the key. Where it takes several requests, an address for each by a "
        "name, under which `fetched` has what it gave"
    )
    method: Literal["GET", "POST"] = "GET"
    json_body: Mapping[str, Any] | None = Field(None, description="what is sent along, where the API wants a question")

    @model_validator(mode="after")
    def _names_the_record(self) -> Fetch:
        for url in [self.url] if isinstance(self.url, str) else self.url.values():
            if KEY in urlsplit(url).netloc or url.count(KEY) + _count(self.json_body) != 1:
                raise ValueError("url: has {key} once, after the host, or json_body has it")
        return self


class LinkPaging(Declared):
    """Each answer's Link header names the next page (RFC 8288, ``rel=next``)."""

    kind: Literal["link"]


class UrlPaging(Declared):
    """Each answer holds the next page's address."""

    kind: Literal["url"]
    next: Jmes = Field(description="finds it in the answer, seen as `body`; nothing at the end")


class CursorPaging(Declared):
    """Each answer holds a cursor, which is sent for the next page."""

    kind: Literal["cursor"]
    parameter: str = Field(description="of the query, in which it is sent")
    next: Jmes = Field(description="finds it in the answer, seen as `body`; nothing at the end")


class OffsetPaging(Declared):
    """A page is asked for by how many records come before it. It ends with the total, or with an empty page."""

    kind: Literal["offset"]
    parameter: str = "offset"
    total: Jmes | None = Field(None, description="finds in the answer how many records there are")


class PageNumbers(Declared):
    """A page is asked for by its number. It ends with the last number, or with an empty page."""

    kind: Literal["page"]
    parameter: str = "page"
    first: int = Field(1, ge=0)
    last: Jmes | None = Field(None, description="finds in the answer which number is the last page's")


Paging = Annotated[LinkPaging | UrlPaging | CursorPaging | OffsetPaging | PageNumbers, Field(discriminator="kind")]


class Since(Declared):
    """A parameter by which the API gives only what was changed since a time."""

    parameter: str
    overlap_minutes: float = Field(
        10, ge=0, description="how much further back is asked: for how late may a change show up in the vendor's index?"
    )
    format: Literal["time", "date", "seconds", "milliseconds"] = "time"


class Poll(Declared):
    """A list that is asked for by a schedule. Each of its records is a delivery of its own."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,49}$")] = Field(description="tells a source's lists apart")
    url: Address = Field(description="with what is always asked for, as ?limit=100")
    every_minutes: float | None = Field(None, gt=0, le=7 * 1440, description="how long after the last round ended")
    daily_at: time | None = Field(None, description="in the source's time zone")
    records: Jmes = Field(description="the list, in the answer, seen as `body`")
    paging: Paging | None = Field(None, description="how the next page is asked for; one page holds all when absent")
    since: Since | None = None
    changes_only: Jmes | None = Field(
        None,
        description="where the API knows no `since`: names a record, seen as `item`. One that is as it was at the "
        "last round is not told; of the others the delivery is {row: the record, as_of: when the round began}",
    )
    delivery: Jmes | None = Field(
        None,
        description="the body of the delivery that a record (seen as `item`) is; the record as it came when absent",
    )

    @model_validator(mode="after")
    def _costs_little(self) -> Poll:
        if (self.every_minutes is None) == (self.daily_at is None):
            raise ValueError("every_minutes: either every_minutes, or daily_at")
        if (self.since is None) == (self.changes_only is None):
            raise ValueError(
                "since: either since, or changes_only where the API knows no since: all would be told at each round"
            )
        if self.delivery is not None and self.changes_only is not None:
            raise ValueError("delivery: goes with since only: with changes_only it is {row, as_of}")
        return self


def _count(template: Any) -> int:
    """Return how often a template holds the key."""
    if isinstance(template, str):
        return template.count(KEY)
    if isinstance(template, Mapping):
        return sum(map(_count, template.values()))
    return sum(map(_count, template)) if isinstance(template, list | tuple) else 0
