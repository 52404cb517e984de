"""Decides who is let in, as what, and notes each reading of people's data before it is answered.

Who a request comes from is said by a token (a program's, as a bearer token; a person's browser asks for a name and a
password, and the token is the password), or by a proxy with a login in front, which names the person in a header and
shows by a secret of its own that it is the proxy. What each may see is in one file that an administrator keeps.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, get_args
from uuid import uuid4

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.contracts.audit import ReadAudited
from shared.contracts.ids import EventId
from shared.service.metrics import READS
from shared.service.settings import ServiceSettings
from shared.yaml_files import read_yaml

Role = Literal["people-team", "sponsor", "protege", "operator"]
Sort = Literal["measures", "comparisons", "employees", "prompts", "gaps", "explanations", "system"]
"""What can be read: figures of many people, those by protected attributes, people, what was asked of whom, why, and how
the system does."""

MAY_READ: Final[Mapping[Role, frozenset[Sort]]] = {
    "people-team": frozenset(get_args(Sort)),
    "sponsor": frozenset({"employees", "prompts"}),
    "protege": frozenset({"employees", "gaps"}),
    "operator": frozenset({"system"}),
}
"""Of people, a sponsor sees those whom they speak for, and what they were asked; a protégé themselves, and no prompts,
for what became of one would tell a sponsor's private answer; a people team all, or those of some units; an operator
none."""

OPEN_PATHS: Final = ("/healthz", "/readyz", "/metrics")
"""They name no person, and probes have no token."""
_PROXY_SECRET: Final = "x-proxy-secret"  # noqa: S105 (the header's name)
_PROXY_USER: Final = "x-forwarded-user"
_LONGEST_ASKED: Final = 2000
_PROBLEM: Final = "urn:sponsorship-tracker:problem:"

log = structlog.get_logger(__name__)

Note = Callable[[ReadAudited], Awaitable[None]]
"""Writes a note of a reading; raises `NotNoted` when it can't be."""


class NotNoted(Exception):
    """What was to be read could not be noted, so it is not shown."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reader(_Part):
    """Somebody, or a program, that may read.

    Attributes:
        name: how the audit calls them.
        role: what sorts of data they may read; see `MAY_READ`.
        user: how the proxy with the login names them.
        token_sha256: the digest of their token, in hexadecimal.
        units: of a people team: the org units, with all below them, whose people they may see; none means all.
        employee_id: who they are, of a sponsor and of a protégé.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Role
    user: Annotated[str, Field(min_length=1)] | None = None
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    units: tuple[str, ...] = ()
    employee_id: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Reader:
        if self.user is None and self.token_sha256 is None:
            raise ValueError(
                "needs a user, as the proxy names them, or a token_sha256; else nobody could be this reader"
            )
        if self.role in ("sponsor", "protege") and self.employee_id is None:
            raise ValueError(f"a {self.role} needs an employee_id: they see what concerns this employee")
        if self.role not in ("sponsor", "protege") and self.employee_id is not None:
            raise ValueError(f"employee_id means nothing for {self.role}")
        if self.units and self.role != "people-team":
            raise ValueError("units limit a people-team; the others are limited to themselves, or see nobody")
        return self


class Access(_Part):
    """Who may read, as the file says."""

    readers: tuple[Reader, ...]

    @model_validator(mode="after")
    def _told_apart(self) -> Access:
        for field in ("name", "user", "token_sha256"):
            values = [value for reader in self.readers if (value := getattr(reader, field)) is not None]
            if twice := sorted({str(value) for value in values if values.count(value) > 1}):
                raise ValueError(f"{field} {', '.join(twice)} is more than one reader's")
        return self


def read_access(path: Path) -> Access:
    """Return who may read.

    Raises:
        BadFile: the file can't be read, or is not as it should be.
    """
    return read_yaml(path, Access)


def _checked(path: Path | None) -> Path | None:
    if path is not None:
        read_access(path)
    return path


class AccessSettings(ServiceSettings):
    """Settings of a service that shows people's data."""

    access_file: Annotated[Path | None, AfterValidator(_checked)] = Field(
        None,
        validation_alias="ACCESS_FILE",
        description="file that says who may read people's data; without it whoever reaches the port may",
    )
    access_proxy_secret: str = Field(
        "",
        repr=False,
        validation_alias="ACCESS_PROXY_SECRET",
        description="what a proxy with a login sends as X-Proxy-Secret, beside X-Forwarded-User; empty: there is none",
    )


def guarded(app: ASGIApp, settings: AccessSettings, sorts: Mapping[str, Sort], note: Note) -> ASGIApp:
    """Return the application behind doors as the settings say: behind none where there is no access file.

    Args:
        app: what is guarded.
        settings: of the service.
        sorts: see `Guarded`.
        note: see `Guarded`.
    """
    if settings.access_file is None:
        return app
    return Guarded(app, Doors(read_access(settings.access_file), settings.access_proxy_secret), sorts, note)


@dataclass(frozen=True, slots=True)
class Doors:
    """Lets readers in.

    Attributes:
        access: who may read.
        proxy_secret: of the proxy with the login; empty for none.
    """

    access: Access
    proxy_secret: str

    def who(self, headers: Mapping[str, str]) -> Reader | None:
        """Return whose request it is, None if nobody's whom we know. Header names in lower case."""
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        token = rest.strip() if scheme.lower() == "bearer" else _password(rest) if scheme.lower() == "basic" else ""
        if token:
            return self._by_token(sha256(token.encode()).hexdigest())
        user, secret = headers.get(_PROXY_USER, ""), headers.get(_PROXY_SECRET, "")
        if user and self.proxy_secret and hmac.compare_digest(secret.encode(), self.proxy_secret.encode()):
            return next((reader for reader in self.access.readers if reader.user == user), None)
        return None

    def _by_token(self, digest: str) -> Reader | None:
        found = None
        for reader in self.access.readers:  # all of them, whichever it is: the time tells nothing
            if reader.token_sha256 is not None and hmac.compare_digest(reader.token_sha256, digest):
                found = reader
        return found


def may_read(reader: Reader, sort: Sort) -> bool:
    """Tell whether a reader may read this sort of data, be it some of it."""
    if reader.units and sort in ("explanations", "comparisons"):
        # An explanation goes by an id alone, before anybody knows of which unit it is; and whoever looks after few
        # people knows most of them, which is half of what it takes to work out the others.
        return False
    return sort in MAY_READ[reader.role]


class Guarded:
    """Lets only readers through to an application, to what they may read, and notes it first.

    The reader is in the request's scope as `reader`.

    Args:
        app: what is guarded.
        doors: lets readers in.
        sorts: by the beginning of a path, the sort of data behind it; the longest that fits counts. A path that is not
            among them is shown to nobody.
        note: writes the audit. What can't be noted is not shown.
    """

    def __init__(self, app: ASGIApp, doors: Doors, sorts: Mapping[str, Sort], note: Note) -> None:
        self._app = app
        self._doors = doors
        self._sorts = sorted(sorts.items(), key=lambda item: -len(item[0]))
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        refused = await self._refused(scope)
        await (refused or self._app)(scope, receive, send)

    async def _refused(self, scope: Scope) -> ASGIApp | None:
        reader = self._doors.who(_by_name(Headers(scope=scope)))
        path: str = scope["path"]
        sort = next((sort for begins, sort in self._sorts if _is_below(path, begins)), None)
        allowed = reader is not None and sort is not None and may_read(reader, sort)
        READS.labels(reader.role if reader is not None else "nobody", "given" if allowed else "refused").inc()
        if reader is not None:  # else nothing is shown, and anybody could fill the topic
            try:
                await self._note(_noted(reader, sort, scope, allowed=allowed))
            except NotNoted as exc:
                log.warning("a reading could not be noted, and was refused", error=str(exc))
                detail = "readings of people's data are noted, and Kafka does not take the note: try again"
                return _problem(503, "not-noted", "It can't be noted now", detail, {"Retry-After": "5"})
        if reader is None:
            detail = "send a bearer token, or a name and the token as its password; see docs/operators.md"
            asked = {"WWW-Authenticate": 'Basic realm="sponsorship tracker", charset="UTF-8"'}
            return _problem(401, "who-are-you", "Nobody we know", detail, asked)
        if not allowed:
            return _problem(403, "not-yours", "Not for you", f"{reader.name} is {reader.role}, which may not read this")
        scope["reader"] = reader
        return None


def _is_below(path: str, begins: str) -> bool:
    return path == begins or (begins != "/" and path.startswith(begins.rstrip("/") + "/"))


def _noted(reader: Reader, sort: Sort | None, scope: Scope, *, allowed: bool) -> ReadAudited:
    query = scope.get("query_string", b"").decode("latin-1")
    return ReadAudited(
        id=EventId(str(uuid4())),
        at=datetime.now(UTC),
        who=reader.name,
        role=reader.role,
        sort=sort,
        asked=(scope["path"] + ("?" + query if query else ""))[:_LONGEST_ASKED],
        given=allowed,
    )


def _by_name(headers: Headers) -> Mapping[str, str]:
    # Of a header that is there twice the first counts to some and the last to others: here it counts as none.
    names: Sequence[str] = headers.keys()
    return {name: headers[name] for name in names if len(headers.getlist(name)) == 1}


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _problem(status: int, name: str, title: str, detail: str, headers: Mapping[str, str] | None = None) -> ASGIApp:
    return JSONResponse(
        {"type": _PROBLEM + name, "title": title, "status": status, "detail": detail},
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )
