"""Sends letters by e-mail: multipart/alternative, plain text as good as the HTML, stopped by one click (RFC 8058)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import Final

import aiosmtplib
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.prompter.letter import Letter
from services.prompter.what_is_retried import Verdict
from services.prompter.wording import words
from shared.contracts.outputs import ChannelName
from shared.languages import Language, marked
from shared.plain_text import plain
from shared.prompt_text import render, render_digest

_NO_SUCH_PERSON: Final = frozenset({550, 551, 553})


def mail(letter: Letter, sender: Address, to: str, at: datetime) -> EmailMessage:
    """Return the mail. Its Message-ID is made of the letter's id, so that a repeat is known by it.

    Args:
        letter: what it says.
        sender: from whom.
        to: the sponsor's address.
        at: now.

    Raises:
        ValueError: `to` is no address.
    """
    said = words(letter)
    name, _, domain = to.rpartition("@")
    if not name or not domain or any(character.isspace() for character in to):
        raise ValueError(f"{to!r} is no address")
    mail = EmailMessage(policy=SMTP.clone(max_line_length=78))
    mail["Subject"] = said.subject
    mail["From"] = sender
    mail["To"] = Address(display_name=said.sponsor, username=name, domain=domain)
    mail["Date"] = at
    mail["Message-ID"] = f"<{letter.id}@{sender.domain}>"
    # RFC 3834: nobody's out-of-office is to answer it. No `List-Id`: it is one person's message, and no list's.
    mail["Auto-Submitted"] = "auto-generated"
    if letter.stop is not None:
        mail["List-Unsubscribe"] = f"<{letter.stop}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(_text(letter), charset="utf-8")
    html = (
        _templates(letter.language)
        .get_template("mail.html")
        .render(said=said, language=letter.language.tag, stop=letter.stop)
    )
    mail.add_alternative(html, subtype="html", charset="utf-8")
    # Only now: `email` moves earlier Content- fields into the first part.
    mail["Content-Language"] = letter.language.tag
    return mail


def _text(letter: Letter) -> str:
    asks, language = letter.asks, letter.language
    parts = [render_digest(asks, language) if letter.is_digest else render(asks[0], language)]
    links = [item for item in letter.items if item.link is not None]
    for item, prompt in zip(links, asks, strict=False):
        answer = language.say(marked("Answer"))
        if letter.is_digest:
            answer = language.say(marked("Answer for %(name)s"), name=plain(prompt.body.protege.name))
        parts.append(f"{answer}:\n{item.link}")
    if letter.stop is not None:
        stop = language.say(marked("Stop these messages, at once and for every channel:"))
        parts.append(f"-- \n{stop}\n{letter.stop}")
    return "\n\n".join(parts) + "\n"


@cache
def _templates(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("services.prompter.channels"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
    )
    environment.install_gettext_translations(language.catalogue, newstyle=True)  # type: ignore[attr-defined]
    return environment


class EmailChannel:
    """An SMTP server. One connection a mail: they are few, and a server may drop what is idle.

    Args:
        host: the server.
        port: its port.
        sender: from whom.
        security: starttls, tls, or none (on this machine).
        user: for servers that ask who it is.
        password: the same.
        timeout: seconds for the whole of one mail.
        clock: wall clock, aware.
    """

    name: ChannelName = "email"

    def __init__(
        self,
        host: str,
        port: int,
        sender: Address,
        *,
        security: str,
        user: str | None,
        password: str | None,
        timeout: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._host, self._port, self._sender, self._security = host, port, sender, security
        self._user, self._password, self._timeout, self._clock = user, password, timeout, clock

    async def attempt(self, letter: Letter) -> Verdict:
        """Send it once."""
        if letter.email is None:
            return Verdict("refused", "the company's records have no email: ref of the sponsor")
        try:
            message = mail(letter, self._sender, letter.email, self._clock())
        except ValueError as exc:
            return Verdict("refused", f"the sponsor's address can't be written to: {exc}")
        try:
            async with asyncio.timeout(self._timeout):
                await aiosmtplib.send(
                    message,
                    hostname=self._host,
                    port=self._port,
                    use_tls=self._security == "tls",
                    start_tls=self._security == "starttls",
                    username=self._user,
                    password=self._password,
                    timeout=self._timeout,
                )
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as exc:
            return judge_smtp(exc, self._timeout)
        return Verdict("delivered", status=250)

    async def close(self) -> None:
        """Do nothing: there is no connection between mails."""


def judge_smtp(error: Exception, timeout: float) -> Verdict:
    """Return what it means that the server did not take a mail (RFC 5321, section 4.2.1: 4yz for now, 5yz for good)."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        return replace(judge_smtp(error.recipients[0], timeout), of_one_recipient=True)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Verdict(
            "refused", f"the mail server did not let us in: {error.message} (PROMPTER_SMTP_USER?)", error.code
        )
    if isinstance(error, aiosmtplib.SMTPServerDisconnected) or not isinstance(error, aiosmtplib.SMTPException):
        if isinstance(error, TimeoutError):
            return Verdict("unreachable", f"the mail server did not answer within {timeout:g} s", may_have_arrived=True)
        return Verdict("unreachable", f"the connection to the mail server broke: {error}", may_have_arrived=True)
    if isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPConnectTimeoutError):
        return Verdict("unreachable", f"can't connect to the mail server: {error}")
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return Verdict("unreachable", f"the mail server did not answer: {error}", may_have_arrived=True)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        said = f"the mail server answered {error.code} ({' '.join(error.message.split())[:200]!r})"
        if 400 <= error.code < 500:
            return Verdict("busy", said, error.code)
        advice = ": does the sponsor's address exist?" if error.code in _NO_SUCH_PERSON else ""
        return Verdict("refused", said + advice, error.code)
    return Verdict("refused", f"the mail can't be sent: {error}")
