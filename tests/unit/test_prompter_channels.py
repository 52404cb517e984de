"""A letter in each channel says the same, in that channel's own form, and is sent once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deploy.spawn import free_ports
from services.prompter.app import channels
from services.prompter.channels.base import Channel, Http
from services.prompter.channels.incoming import IncomingChannel
from services.prompter.channels.mail import EmailChannel, judge_smtp, mail
from services.prompter.channels.slack import SlackBotChannel, slack_message
from services.prompter.channels.teams import LARGEST_BYTES, teams_message
from services.prompter.languages import language
from services.prompter.settings import PrompterSettings
from shared.contracts.outputs import Evidence, Reason
from tests.golden import looks_as_before
from tests.prompt_events import a_body, a_letter, opened, updated, withdrawn
from tests.vendor_models import SlackMessage, TeamsMessage, texts_of

NOW = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)
PORTAL = "https://portal.example.com"
SENDER = Address("Sponsorship", "prompts", "example.com")


def one(**fields: Any) -> Any:
    fields = {"email": "priya@example.com", "portal": PORTAL} | fields
    return a_letter(opened(sponsor_timezone="Europe/Berlin"), **fields)


def three(**fields: Any) -> Any:
    fields = {"email": "priya@example.com", "portal": PORTAL} | fields
    others = [opened(employee=f"E{number}", body=someone(name)) for number, name in ((3, "Bo Lind"), (4, "李 小龍"))]
    return a_letter(opened(), *others, **fields)


def someone(name: str, **changes: Any) -> Any:
    return a_body(protege=a_body().protege.model_copy(update={"name": name}), **changes)


def a_mail(letter: Any) -> EmailMessage:
    """Return a mail as it arrives: written and read again."""
    read = message_from_bytes(mail(letter, SENDER, "priya@example.com", NOW).as_bytes(), policy=SMTP)
    assert isinstance(read, EmailMessage)
    return read


def parts_of(read: EmailMessage) -> tuple[str, str]:
    text, html = read.iter_parts()
    return text.get_content().replace("\r\n", "\n"), html.get_content().replace("\r\n", "\n")


# -- what they say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        ("one", one()),
        ("three", three()),
        ("one.de", one(language=language("de"))),
        ("three.de", three(language=language("de"))),
    ],
)
def test_messages_look_as_they_did_when_somebody_looked_at_them(name: str, letter: Any) -> None:
    slack, teams = slack_message(letter), teams_message(letter)
    text, html = parts_of(a_mail(letter))
    SlackMessage.model_validate(slack)
    TeamsMessage.model_validate(teams)
    assert looks_as_before(f"{name}.slack.json", json.dumps(slack, indent=1, ensure_ascii=False) + "\n")
    assert looks_as_before(f"{name}.teams.json", json.dumps(teams, indent=1, ensure_ascii=False) + "\n")
    assert looks_as_before(f"{name}.mail.txt", text)
    assert looks_as_before(f"{name}.mail.html", html)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda card: card["body"][0].update(size="Huge"),
        lambda card: card["body"][0].update(colour="red"),
        lambda card: card["body"][1]["items"][1]["facts"][0].pop("value"),
        lambda card: card.update(version=1.5),
    ],
)
def test_a_card_that_is_none_is_known_by_microsofts_schema(spoil: Any) -> None:
    message = teams_message(three())
    TeamsMessage.model_validate(message)
    spoil(message["attachments"][0]["content"])
    with pytest.raises(ValidationError, match=r"no card of version 1\.5"):
        TeamsMessage.model_validate(message)


WHAT_MATTERS = (
    "Will you speak for Mina Okafor?",
    "Spring promotions 2026",
    "Friday, 27 March 2026, 18:00 (Europe/Berlin time)",
    "technical leadership, delivery",
    "Checkout answers in half the time",
    "From 900 ms to 430 ms at the busiest hour; 3 % more orders",
    "you saw it yourself",
    "https://example.com/checkout",
    "You are Mina Okafor's sponsor since 4 May 2024",
    f"{PORTAL}/p/E2",
)


@pytest.mark.parametrize("of", ["slack", "teams", "text", "html"])
def test_every_channel_says_whom_what_by_when_why_and_where_to_answer(of: str) -> None:
    said = {
        "slack": lambda: texts_of(slack_message(one())),
        "teams": lambda: texts_of(teams_message(one())),
        "text": lambda: " ".join(parts_of(a_mail(one()))[0].split()),
        "html": lambda: parts_of(a_mail(one()))[1].replace("&#39;", "'"),
    }[of]()
    missing = [what for what in WHAT_MATTERS if what not in said]
    assert missing == []


ENGLISH_OF_OURS = (
    "Will you",
    "About",
    "Opportunity",
    "Closes",
    "Looked for",
    "Why",
    "You ",
    "you ",
    "Chosen",
    "Answer",
)


@pytest.mark.parametrize("event", [opened(), updated(), opened(body=a_body(evidence=()))])
def test_a_german_message_has_no_english_of_ours_in_any_channel(event: Any) -> None:
    letter = a_letter(event, email="priya@example.com", portal=PORTAL, language=language("de"))
    read = a_mail(letter)
    said = [texts_of(slack_message(letter)), texts_of(teams_message(letter)), *parts_of(read), read["Subject"]]
    found = [english for english in (*ENGLISH_OF_OURS, "Stop") for text in said if english in text]
    assert found == []
    assert read["Content-Language"] == "de"
    assert '<html lang="de">' in parts_of(read)[1]


@pytest.mark.parametrize("of", ["slack", "teams", "mail"])
def test_a_german_reminder_says_whom_and_by_when_in_german(of: str) -> None:
    event = opened(sponsor_timezone="Europe/Berlin")
    letter = a_letter(event, reminder=True, email="priya@example.com", language=language("de"))
    said = {
        "slack": lambda: texts_of(slack_message(letter)),
        "teams": lambda: texts_of(teams_message(letter)),
        "mail": lambda: parts_of(a_mail(letter))[1],
    }[of]()
    assert "Erinnerung: Sprechen Sie sich für Mina Okafor aus?" in said
    assert "Freitag, 27. März 2026, 18:00 (Zeitzone Europe/Berlin)" in said
    assert "Sie haben es selbst miterlebt" in said


@pytest.mark.parametrize(("event", "begins"), [(updated(), "News: will you"), (opened(), "Reminder: will you")])
def test_news_and_reminders_say_so_in_the_first_words(event: Any, begins: str) -> None:
    letter = a_letter(event, reminder=isinstance(event, type(opened())), email="priya@example.com")
    assert slack_message(letter)["text"].startswith(begins)
    assert a_mail(letter)["Subject"].startswith(begins)


NASTY = "<!channel> <https://evil.example|click> *bold* [x](https://evil.example) <script>alert(1)</script> &amp;"


def test_what_people_wrote_is_neither_a_link_nor_a_mention_nor_markup() -> None:
    nasty = a_letter(opened(body=someone(NASTY[:200], why=NASTY)), email="priya@example.com")
    slack = texts_of(slack_message(nasty))
    assert "<!channel>" not in "".join(
        text["text"] for block in slack_message(nasty)["blocks"] for text in _mrkdwn_of(block)
    )
    assert "&lt;!channel&gt;" in slack
    assert "&amp;amp;" in slack
    assert "\\[x\\](https://evil.example)" in texts_of(teams_message(nasty))
    html = parts_of(a_mail(nasty))[1]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def _mrkdwn_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
    return [text for text in texts if text and text.get("type") == "mrkdwn"]


def test_only_what_a_browser_may_open_is_a_link() -> None:
    piece = a_body().evidence[0].model_copy(update={"link": "javascript:alert(1)"})
    letter = a_letter(opened(body=a_body(evidence=(piece,))), email="priya@example.com")
    assert "javascript" not in texts_of(slack_message(letter)) + texts_of(teams_message(letter))
    assert "javascript" not in parts_of(a_mail(letter))[1]


def test_without_evidence_and_without_a_portal_the_messages_are_whole() -> None:
    letter = a_letter(opened(body=a_body(evidence=())), email="priya@example.com")
    SlackMessage.model_validate(slack_message(letter))
    TeamsMessage.model_validate(teams_message(letter))
    text, html = parts_of(a_mail(letter))
    assert all("Nothing is on record" in said for said in (texts_of(slack_message(letter)), text, html))
    assert a_mail(letter)["List-Unsubscribe"] is None


def test_what_asks_nothing_is_for_no_channel_that_people_read() -> None:
    with pytest.raises(ValueError, match="asks nothing"):
        slack_message(a_letter(withdrawn()))


long_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=2000)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(long_texts, long_texts, long_texts), min_size=0, max_size=5), st.integers(1, 20), long_texts)
def test_whatever_people_wrote_a_message_keeps_within_its_receivers_limits(
    pieces: list[tuple[str, str, str]], prompts: int, why: str
) -> None:
    evidence = tuple(
        Evidence(
            kind="achievement",
            evidence_id=f"A{number}",
            title=title,
            outcome=outcome,
            occurred_on=NOW.date(),
            link="https://example.com/" + "x" * 2000,
            reasons=(Reason(code="impact", text=reason),) * 4,
        )
        for number, (title, outcome, reason) in enumerate(pieces)
    )
    events = [
        opened(employee=f"E{number}", body=a_body(evidence=evidence, why=why)) for number in range(2, 2 + prompts)
    ]
    letter = a_letter(*events, email="priya@example.com", portal=PORTAL)
    SlackMessage.model_validate(slack_message(letter))
    TeamsMessage.model_validate(teams_message(letter))
    assert len(json.dumps(teams_message(letter), ensure_ascii=False).encode()) <= LARGEST_BYTES


def test_the_models_refuse_what_slack_and_teams_would() -> None:
    bad = slack_message(one())
    bad["blocks"][0]["text"]["text"] = "x" * 151
    with pytest.raises(ValidationError):
        SlackMessage.model_validate(bad)
    card = teams_message(one())
    card["attachments"][0]["content"]["body"][0]["colour"] = "red"
    with pytest.raises(ValidationError):
        TeamsMessage.model_validate(card)


# -- mail -----------------------------------------------------------------------------------------


def test_a_mail_is_text_and_html_stopped_by_one_click_and_answered_by_no_machine() -> None:
    read = a_mail(one())
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    assert read["List-Unsubscribe"] == f"<{PORTAL}/unsubscribe/E1>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Message-ID"] == f"<{opened().id}@example.com>"
    assert (read["From"], read["To"]) == ("Sponsorship <prompts@example.com>", "Priya Raman <priya@example.com>")


def test_names_in_any_script_and_line_breaks_do_no_harm_to_a_head() -> None:
    letter = a_letter(
        opened(body=someone("李 小龍\r\nBcc: all@example.com", sponsor_name="Ада Ловелас")), email="a@b.example"
    )
    read = a_mail(letter)
    assert "李 小龍 Bcc: all@example.com" in read["Subject"]
    assert read["Bcc"] is None
    assert read["To"].addresses[0].display_name == "Ада Ловелас"


@dataclass
class Mailbox:
    """A mail server's handler: takes all, or answers what it is told."""

    answer: str = "250 OK"
    envelopes: list[Any] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.answer.startswith(("5", "452")):
            return self.answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.envelopes.append(envelope)
        return self.answer


@asynccontextmanager
async def a_mail_server(mailbox: Mailbox) -> AsyncIterator[int]:
    (port,) = free_ports(1)
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    await asyncio.to_thread(controller.start)
    try:
        yield port
    finally:
        await asyncio.to_thread(controller.stop)


def by_mail(port: int, *, timeout: float = 5) -> EmailChannel:
    return EmailChannel(
        "127.0.0.1", port, SENDER, security="none", user=None, password=None, timeout=timeout, clock=lambda: NOW
    )


async def test_a_mail_goes_through_a_real_server_whole() -> None:
    mailbox = Mailbox()
    async with a_mail_server(mailbox) as port:
        verdict = await by_mail(port).attempt(three())
    assert verdict.result == "delivered"
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("prompts@example.com", ["priya@example.com"])
    read = message_from_bytes(envelope.content, policy=SMTP)
    assert isinstance(read, EmailMessage)
    assert parts_of(read) == parts_of(a_mail(three()))


@pytest.mark.parametrize(
    ("answer", "result", "says"),
    [
        ("451 later", "busy", "451"),
        ("452 mailbox full", "busy", "452"),
        ("550 who?", "refused", "does the sponsor's address exist?"),
        ("554 spam", "refused", "554"),
    ],
)
async def test_what_a_mail_server_answers_is_for_now_or_for_good(answer: str, result: str, says: str) -> None:
    async with a_mail_server(Mailbox(answer)) as port:
        verdict = await by_mail(port).attempt(one())
    assert (verdict.result, verdict.may_have_arrived) == (result, False)
    assert says in verdict.detail
    assert verdict.of_one_recipient is (answer != "451 later")


async def test_a_mail_server_that_is_not_there_has_got_nothing() -> None:
    verdict = await by_mail(free_ports(1)[0]).attempt(one())
    assert (verdict.result, verdict.may_have_arrived) == ("unreachable", False)


async def test_a_mail_server_that_says_nothing_may_have_got_it() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    verdict = await by_mail(listening.sockets[0].getsockname()[1], timeout=0.1).attempt(one())
    listening.close()
    assert verdict.result == "unreachable"
    assert judge_smtp(aiosmtplib.SMTPServerDisconnected("gone"), 1).may_have_arrived


@pytest.mark.parametrize("address", [None, "nobody", "a b@example.com", "a@exa mple.com\r\nBcc: x"])
async def test_who_has_no_address_gets_no_mail_and_it_is_said(address: str | None) -> None:
    verdict = await by_mail(1).attempt(one(email=address))
    assert verdict.result == "refused"
    assert "address" in verdict.detail or "email" in verdict.detail


# -- Slack and Teams over HTTP --------------------------------------------------------------------


@dataclass
class Answering:
    """An HTTP server that answers by path, and keeps what it got."""

    by_path: dict[str, tuple[int, str]]
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                path = first.split()[1]
                self.got.append((path, headers, await reader.readexactly(int(headers["content-length"]))))
                status, body = self.by_path[path]
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking(
    by_path: dict[str, tuple[int, str]], make: Callable[[str, Http], Channel]
) -> AsyncIterator[tuple[Channel, Answering]]:
    answering = Answering(by_path)
    listening = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    http = Http(5, lambda: NOW, url_setting="THE_URL", key_setting="THE_KEY")
    channel = make(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", http)
    try:
        yield channel, answering
    finally:
        await channel.close()
        listening.close()


def a_bot(url: str, http: Http) -> Channel:
    return SlackBotChannel("xoxb-token", http, f"{url}/api")


POSTED = {"/api/chat.postMessage": (200, '{"ok":true,"ts":"1"}')}
FOUND = {"/api/users.lookupByEmail": (200, '{"ok":true,"user":{"id":"U7"}}')}


async def test_a_bot_finds_the_sponsor_by_their_address_once_and_writes_to_them() -> None:
    async with talking(POSTED | FOUND, a_bot) as (channel, slack):
        assert [(await channel.attempt(one())).result for _ in range(2)] == ["delivered"] * 2
    assert [path for path, _, _ in slack.got] == ["/api/users.lookupByEmail", *["/api/chat.postMessage"] * 2]
    assert slack.got[0][2] == b"email=priya%40example.com"
    _, headers, body = slack.got[1]
    sent = json.loads(body)
    assert headers["authorization"] == "Bearer xoxb-token"
    assert (sent["channel"], sent["metadata"]["event_payload"]) == ("U7", {"message_id": opened().id})
    assert sent["blocks"] == slack_message(one())["blocks"]


async def test_who_has_a_slack_ref_is_not_looked_up() -> None:
    async with talking(POSTED, a_bot) as (channel, slack):
        await channel.attempt(one(slack="U9"))
    assert json.loads(slack.got[0][2])["channel"] == "U9"


@pytest.mark.parametrize(
    ("said", "result", "says"),
    [
        ('{"ok":false,"error":"ratelimited"}', "busy", "ratelimited"),
        ('{"ok":false,"error":"internal_error"}', "busy", "internal_error"),
        ('{"ok":false,"error":"invalid_auth"}', "refused", "is PROMPTER_SLACK_BOT_TOKEN right?"),
        ('{"ok":false,"error":"channel_not_found"}', "refused", "this member"),
        ('{"ok":true,"message":"' + "x" * 9000 + '"}', "delivered", ""),
        ("<html>", "busy", "could not be read"),
    ],
)
async def test_slacks_answer_counts_and_not_its_status(said: str, result: str, says: str) -> None:
    async with talking({"/api/chat.postMessage": (200, said)}, a_bot) as (channel, _):
        verdict = await channel.attempt(one(slack="U9"))
    assert verdict.result == result
    assert says in verdict.detail


@pytest.mark.parametrize("answer", [(200, '{"ok":false,"error":"users_not_found"}'), (500, "oh"), (200, "<html>")])
async def test_a_look_up_that_fails_has_told_nobody(answer: tuple[int, str]) -> None:
    async with talking({"/api/users.lookupByEmail": answer}, a_bot) as (channel, _):
        verdict = await channel.attempt(one())
    assert verdict.result in ("refused", "busy")
    assert not verdict.may_have_arrived


async def test_whom_slack_can_not_know_goes_by_another_way() -> None:
    async with talking({}, a_bot) as (channel, slack):
        assert (await channel.attempt(one(email=None))).result == "refused"
    assert slack.got == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda url, http: IncomingChannel("slack", f"{url}/hook", slack_message, http), slack_message),
        (lambda url, http: IncomingChannel("teams", f"{url}/hook", teams_message, http), teams_message),
    ],
)
@pytest.mark.parametrize(
    ("status", "result"), [(200, "delivered"), (202, "delivered"), (404, "refused"), (502, "busy")]
)
async def test_a_webhook_gets_the_message_and_its_status_counts(
    make: Any, message: Any, status: int, result: str
) -> None:
    async with talking({"/hook": (status, "said")}, make) as (channel, receiver):
        verdict = await channel.attempt(one())
    assert verdict.result == result
    assert json.loads(receiver.got[0][2]) == message(one())
    if result == "refused":
        assert "is THE_URL right?" in verdict.detail


# -- which are set up -----------------------------------------------------------------------------


async def test_the_settings_say_which_channels_there_are(tmp_path: Any) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "channels: [slack, teams, email]\nquiet_hours: off\nworking_days: [monday]\nmessages_per_week: off\n"
        "digest: off\nnews: at_once\nreminders: off\n"
    )
    fields = {
        "policy_file": policy,
        "slack_bot_token": "xoxb-1",
        "teams_webhook_url": "https://flow.example.com/x",
        "smtp_host": "mail.example.com",
        "mail_from": "Sponsorship <prompts@example.com>",
    }
    found = channels(PrompterSettings(**fields))
    assert set(found) == {"slack", "teams", "email"}
    for channel in found.values():
        await channel.close()
    with pytest.raises(
        ValidationError, match=r"channel slack, which needs PROMPTER_SLACK_BOT_TOKEN or PROMPTER_SLACK_WEB"
    ):
        PrompterSettings(**fields | {"slack_bot_token": None})
    with pytest.raises(ValidationError, match="must be an address"):
        PrompterSettings(**fields | {"mail_from": "nobody"})
