"""A receiver of the prompter's webhook, for the demo and the tests: checks each message, keeps it, and shows it.

It does what a company's own receiver has to: it refuses what is not signed with its key, knows a repeat by its
`webhook-id`, shows the newest version of a prompt, and takes down what is not asked any more. It keeps everything in
memory, and in a file if it is given one, and shows it to whoever can reach it: it is not made for real people's data.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import uvicorn
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from shared.transport.webhooks import ID_HEADER, BadSignature, WebhookKey

_BODY_LIMIT_BYTES: Final = 256 * 1024
_PAGE_DEFAULT, _PAGE_LIMIT = 100, 1000
_SPONSORS_A_PAGE: Final = 20


class _Named(BaseModel):
    name: str


class _Title(BaseModel):
    title: str


class _Shown(BaseModel):
    sponsor_name: str
    protege: _Named
    opportunity: _Title


class _Data(BaseModel):
    prompt_id: str
    version: int
    sponsor_id: str
    text: str
    prompt: _Shown | None = None
    link: str | None = None


class _Message(BaseModel):
    """What is read of a message; whatever else it has is kept and served too."""

    type: Literal["prompt.opened", "prompt.updated", "prompt.reminder", "prompt.withdrawn", "prompt.fulfilled"]
    timestamp: datetime
    data: _Data


class _DigestData(BaseModel):
    prompts: list[_Data]


class _Digest(BaseModel):
    """What is read of a message about several prompts."""

    type: Literal["prompt.digest"]
    timestamp: datetime
    data: _DigestData

    def messages(self) -> list[_Message]:
        """Return it as if each prompt had come by itself."""
        return [_Message(type="prompt.updated", timestamp=self.timestamp, data=data) for data in self.data.prompts]


_message: TypeAdapter[_Message | _Digest] = TypeAdapter(_Message | _Digest)


class _Kept(BaseModel):
    webhook_id: str
    received_at: datetime
    message: dict[str, Any]
    repeats: int = 0


@dataclass
class _Prompt:
    """A prompt as its sponsor sees it now, by its newest message."""

    newest: _Message
    shown: _Message | None
    """The newest message that asked; None where all that came was the end."""


@dataclass
class Inbox:
    """What was received, since the start or since a file was begun.

    Args:
        file: what is received is kept in it, a line of JSON each; what an earlier receiver kept there is read first.
    """

    file: Path | None = None
    accepted: dict[str, _Kept] = field(default_factory=dict)
    before: int = 0
    """How many of them an earlier receiver took."""
    repeated: int = 0
    rejected: int = 0
    prompts: dict[str, _Prompt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file is None or not self.file.exists():
            return
        known = self.file.read_bytes()
        if not known.endswith(b"\n"):
            with self.file.open("ab") as file:
                file.write(b"\n")
        for line in known.splitlines():
            try:
                kept = _Kept.model_validate_json(line)
                message = _message.validate_python(kept.message)
            except ValidationError:
                continue  # the last line of one that was killed: its sender had no answer, and sends it again
            self.accepted[kept.webhook_id] = kept
            self._show(message)
        self.before = len(self.accepted)

    def take(self, webhook_id: str, raw: dict[str, Any], message: _Message | _Digest) -> None:
        """Keep a message that has not been received before, or count it as a repeat."""
        if webhook_id in self.accepted:
            self.repeated += 1
            self.accepted[webhook_id].repeats += 1
            return
        kept = _Kept(webhook_id=webhook_id, received_at=datetime.now(UTC), message=raw)
        if self.file is not None:
            with self.file.open("ab") as file:
                file.write(kept.model_dump_json(exclude={"repeats"}).encode() + b"\n")
        self.accepted[webhook_id] = kept
        self._show(message)

    def _show(self, message: _Message | _Digest) -> None:
        for one in message.messages() if isinstance(message, _Digest) else [message]:
            self._show_one(one)

    def _show_one(self, message: _Message) -> None:
        before = self.prompts.get(message.data.prompt_id)
        if before is not None and before.newest.data.version > message.data.version:
            return  # an older version, sent again by hand: what is newer stays up
        asks = message.data.prompt is not None
        self.prompts[message.data.prompt_id] = _Prompt(message, message if asks else before.shown if before else None)


def receiver_app(key: WebhookKey, file: Path | None = None) -> Starlette:
    """Return the HTTP application: POST / takes messages, GET / shows them to people, GET /received to programs.

    Args:
        key: what messages are signed with.
        file: where to keep them for the next receiver; None: nowhere.
    """
    inbox = Inbox(file)

    async def receive(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            inbox.rejected += 1
            return JSONResponse({"error": f"more than {_BODY_LIMIT_BYTES} bytes"}, status_code=413)
        try:
            webhook_id = key.check(request.headers, body)
        except BadSignature as exc:
            inbox.rejected += 1
            return JSONResponse({"error": f"signature: {exc}"}, status_code=401)
        try:
            message = _message.validate_json(body)
        except ValidationError as exc:
            inbox.rejected += 1
            problems = exc.errors(include_url=False, include_input=False, include_context=False)
            return JSONResponse({"error": "not a prompt message", "problems": problems}, status_code=422)
        inbox.take(webhook_id, json.loads(body), message)
        return JSONResponse({"received": request.headers[ID_HEADER]})

    async def received(request: Request) -> Response:
        offset = _number(request, "offset", 0)
        limit = min(_number(request, "limit", _PAGE_DEFAULT), _PAGE_LIMIT)
        kept = list(inbox.accepted.values())
        page = kept[offset : offset + limit]
        return JSONResponse(
            {
                "accepted": len(kept),
                "accepted_before": inbox.before,
                "repeated": inbox.repeated,
                "rejected": inbox.rejected,
                "messages": [
                    {
                        "webhook_id": one.webhook_id,
                        "received_at": one.received_at.isoformat(),
                        "repeats": one.repeats,
                        "message": one.message,
                    }
                    for one in page
                ],
                "next_offset": offset + limit if offset + limit < len(kept) else None,
            }
        )

    async def page(request: Request) -> Response:
        return HTMLResponse(
            "".join(_page(inbox, _number(request, "page", 1), request.query_params.get("sponsor", ""))),
            headers={"content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'"},
        )

    async def style(_: Request) -> Response:
        return Response(_STYLE, media_type="text/css", headers={"cache-control": "max-age=300"})

    return Starlette(
        routes=[
            Route("/", receive, methods=["POST"]),
            Route("/", page),
            Route("/received", received),
            Route("/style.css", style),
        ]
    )


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m deploy.receiver", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8199, help="port to listen on")
    parser.add_argument(
        "--secret-env",
        default="PROMPTER_WEBHOOK_SECRET",
        metavar="NAME",
        help="environment variable that holds the key, whsec_...",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="keep what is received in this file, and show what it has already"
    )
    arguments = parser.parse_args()
    try:
        key = WebhookKey(os.environ.get(arguments.secret_env, ""))
    except ValueError as exc:
        print(f"receiver: {arguments.secret_env}: {exc}", file=sys.stderr)
        sys.exit(2)
    uvicorn.run(
        receiver_app(key, arguments.keep),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


async def _body(request: Request) -> bytes | None:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _BODY_LIMIT_BYTES:
            return None
    return read


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given[:9]) if given.isascii() and given.isdigit() else default


# -- the page -------------------------------------------------------------------------------------

_STATES: Final = {
    "prompt.opened": ("asked", "Asked"),
    "prompt.updated": ("asked", "Asked, with news"),
    "prompt.withdrawn": ("ended", "Withdrawn"),
    "prompt.fulfilled": ("done", "Fulfilled"),
}
_ORDER: Final = {"asked": 0, "done": 1, "ended": 2}
_LINK: Final = re.compile(r"https?://[^\s<>&\"']+(?:&amp;[^\s<>&\"']+)*")


def _page(inbox: Inbox, number: int, wanted: str) -> Iterator[str]:
    by_sponsor: dict[str, list[_Prompt]] = defaultdict(list)
    names: dict[str, str] = {}
    for prompt in inbox.prompts.values():
        sponsor = prompt.newest.data.sponsor_id
        by_sponsor[sponsor].append(prompt)
        if prompt.shown is not None and prompt.shown.data.prompt is not None:
            names[sponsor] = prompt.shown.data.prompt.sponsor_name
    sponsors = sorted(by_sponsor, key=lambda one: (names.get(one, "\uffff").casefold(), one))
    if wanted:
        sponsors = [one for one in sponsors if wanted.casefold() in f"{names.get(one, '')} {one}".casefold()]
    pages = max(1, -(-len(sponsors) // _SPONSORS_A_PAGE))
    number = min(max(number, 1), pages)
    counts: dict[str, int] = defaultdict(int)
    for prompt in inbox.prompts.values():
        counts[_STATES[prompt.newest.type][0]] += 1

    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Prompts, as their sponsors see them</title>'
        '<link rel="stylesheet" href="/style.css"></head><body><header>'
        "<h1>Prompts, as their sponsors see them</h1>"
        "<p>What this receiver was sent. Each message is checked against its signature; one that comes again is "
        'dropped. For programs: <a href="/received">/received</a>.</p><dl>'
    )
    for label, count in (
        ("asked", counts["asked"]),
        ("fulfilled", counts["done"]),
        ("withdrawn", counts["ended"]),
        ("messages taken", len(inbox.accepted)),
        ("repeats dropped", inbox.repeated),
        ("refused", inbox.rejected),
    ):
        yield f"<div><dd>{count:,}</dd><dt>{label}</dt></div>"
    yield (
        '</dl><form method="get"><label>Sponsor <input name="sponsor" type="search" '
        f'placeholder="name or id" value="{html.escape(wanted)}"></label><button>Show</button></form></header><main>'
    )
    if not sponsors:
        said = "No sponsor of that name." if wanted else "Nothing has come yet."
        yield f'<p class="none">{said}</p>'
    for sponsor in sponsors[(number - 1) * _SPONSORS_A_PAGE : number * _SPONSORS_A_PAGE]:
        yield from _section(sponsor, names.get(sponsor, ""), by_sponsor[sponsor])
    yield "</main>"
    if pages > 1:
        yield from _pager(number, pages, wanted)
    yield "</body></html>"


def _section(sponsor: str, name: str, prompts: list[_Prompt]) -> Iterator[str]:
    heading = f"<bdi>{html.escape(name)}</bdi> <small>{html.escape(sponsor)}</small>" if name else html.escape(sponsor)
    yield f"<section><h2>{heading}</h2>"
    prompts = sorted(prompts, key=lambda one: (_ORDER[_STATES[one.newest.type][0]], one.newest.data.prompt_id))
    for prompt in prompts:
        state, label = _STATES[prompt.newest.type]
        shown = prompt.shown.data.prompt if prompt.shown is not None else None
        title = (
            f"<bdi>{html.escape(shown.protege.name)}</bdi>: {html.escape(shown.opportunity.title)}"
            if shown
            else "A prompt"
        )
        yield (
            f'<details class="{state}"{" open" if state == "asked" else ""}><summary><b class="badge">{label}</b> '
            f"<span>{title}</span> <time>version {prompt.newest.data.version}, "
            f"{prompt.newest.timestamp:%Y-%m-%d %H:%M} UTC</time></summary>"
        )
        if state != "asked":
            yield f"<p>{html.escape(' '.join(prompt.newest.data.text.split()))}</p>"
        if prompt.shown is not None:
            if state == "asked" and prompt.shown.data.link:
                yield (
                    f'<p><a class="answer" rel="noopener" href="{html.escape(prompt.shown.data.link)}">Answer'
                    f"<span> for {html.escape(shown.protege.name) if shown else ''}</span></a></p>"
                )
            yield f"<pre>{_with_links(html.escape(prompt.shown.data.text))}</pre>"
        yield "</details>"
    yield "</section>"


def _pager(number: int, pages: int, wanted: str) -> Iterator[str]:
    kept = f"&amp;sponsor={html.escape(wanted)}" if wanted else ""
    yield '<nav aria-label="Pages">'
    if number > 1:
        yield f'<a rel="prev" href="/?page={number - 1}{kept}">Earlier</a>'
    yield f"<span>page {number} of {pages}</span>"
    if number < pages:
        yield f'<a rel="next" href="/?page={number + 1}{kept}">Later</a>'
    yield "</nav>"


def _with_links(escaped: str) -> str:
    return _LINK.sub(lambda found: f'<a rel="noopener noreferrer" href="{found[0]}">{found[0]}</a>', escaped)


_STYLE: Final = """
:root { color-scheme: light dark;
  --page: light-dark(#f6f5f2, #16181c); --card: light-dark(#fff, #1f2227); --ink: light-dark(#1d2126, #e7e8ea);
  --soft: light-dark(#5b636d, #a3abb5); --line: light-dark(#dedcd6, #343941); --link: light-dark(#0b57a4, #8ab8f0);
  --asked: light-dark(#8a4b00, #f0b45c); --done: light-dark(#1c6b3a, #79cf98); --ended: light-dark(#5b636d, #a3abb5); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 56rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
small, header p, .none, time, nav { color: var(--soft); }
small { font-weight: 400; font-size: .85rem; margin-left: .3rem; }
header p { margin: 0 0 1rem; max-width: 40rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 1.8rem; margin: 0 0 1.2rem; }
dl div { display: flex; flex-direction: column; }
dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dt { color: var(--soft); font-size: .85rem; }
form { display: flex; gap: .5rem; align-items: end; flex-wrap: wrap; }
input, button { font: inherit; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card); color: var(--ink); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
details { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--asked);
  border-radius: .5rem; margin: .6rem 0; }
details.done { border-left-color: var(--done); } details.ended { border-left-color: var(--ended); }
summary { padding: .7rem 1rem; cursor: pointer; display: flex; flex-wrap: wrap; gap: .2rem .7rem;
  align-items: baseline; }
summary::before { content: "\\25B8"; color: var(--soft); } details[open] > summary::before { content: "\\25BE"; }
summary::-webkit-details-marker { display: none; }
summary span { font-weight: 600; flex: 1 1 14rem; } time { font-size: .85rem; }
.badge { font-size: .8rem; font-weight: 600; color: var(--asked); }
.done .badge { color: var(--done); } .ended .badge { color: var(--ended); }
details p { margin: 0; padding: 0 1rem .8rem; }
details.done pre, details.ended pre { color: var(--soft); }
.answer { display: inline-block; padding: .45rem 1.4rem; border-radius: .4rem; background: var(--link);
  color: var(--card); font-weight: 600; text-decoration: none; }
.answer span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
pre { margin: 0; padding: .9rem 1rem 1.1rem; border-top: 1px solid var(--line); white-space: pre-wrap;
  overflow-wrap: anywhere; font: .875rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
nav { display: flex; gap: 1.2rem; justify-content: center; margin-top: 2rem; }
"""


if __name__ == "__main__":
    main()
