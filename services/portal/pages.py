"""Renders the portal's pages: what each shows, from what the store knows, in the reader's language and time zone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import available_timezones

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.portal import answering
from services.portal.answering import standing
from services.portal.draft import draft
from services.portal.sessions import Session
from services.portal.store import Protege, StoredPrompt
from shared.contracts.career import CycleKind
from shared.contracts.choices import PreferencesSet
from shared.contracts.outputs import Evidence
from shared.languages import Language, marked
from shared.plain_text import plain, sentence, web_address
from shared.prompt_text import NO_MORE, REASONS

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
STYLE: Final = (STATIC / "portal.css").read_bytes()
STYLE_NAME: Final = f"portal.{hashlib.sha256(STYLE).hexdigest()[:12]}.css"
"""The style's name has its content in it, so that browsers may keep it for good."""
ENDED_SHOWN: Final = 20
"""Prompts that have ended on the page of all protégés."""
LEAVES: Final = 3
"""Leaves that the form has room for."""

SNOOZES: Final = ("three_days", "week", "before_close")
"""The times for which one can put an answer off, by what the form sends."""
_BEFORE_CLOSE: Final = timedelta(days=2)

KINDS: Final[dict[CycleKind, str]] = {
    "promotion": marked("Promotion"),
    "raise": marked("Pay rise"),
    "role": marked("Role"),
    "stretch": marked("Stretch assignment"),
}
MISTAKES: Final = {
    "not_safe": marked(
        "We can't be sure just now that your answer is safe. Please press the button again; it counts once."
    ),
    "stale": marked("This page was open for long. Please look once more and press the button again."),
    "empty": marked("Please write a few words: an endorsement says something about the person."),
    "too_long": marked("That is more than the 2,000 characters there is room for. Please shorten it."),
    "past": marked("That time is already past. Please choose a later one."),
    "too_late": marked("By then the decision is closed. Please choose an earlier time."),
    "which_day": marked("Please choose when we should come back to you."),
    "zone": marked("We do not know this time zone. Please choose one from the list."),
    "quiet": marked("Quiet hours need a beginning and an end, as 18:00 and 08:00, that are not the same."),
    "per_week": marked("Prompts a week: please write a number from 1 to 50, or leave it empty."),
    "leave": marked("A leave needs its first and its last day, in this order."),
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page, and how.

    Attributes:
        session: None where nobody is signed in.
        timezone: in which times are written; None for that of each prompt.
    """

    language: Language
    now: datetime
    session: Session | None = None
    timezone: str | None = None
    form_token: str = ""


class Pages:
    """Renders pages."""

    def __init__(self, languages: dict[str, Language]) -> None:
        self._languages = languages
        self._environments = {tag: _environment(language) for tag, language in languages.items()}

    def prompt(
        self, reader: Reader, prompt: StoredPrompt, *, mistake: str | None = None, written: str | None = None
    ) -> str:
        """Return the page of one prompt: what is asked, or how it ended.

        Args:
            mistake: what has to be mended in the answer just sent.
            written: what the sponsor had written, instead of the draft.
        """
        how = standing(prompt)
        body = prompt.body
        zone = reader.timezone or prompt.timezone
        settled = answering.settled_by(prompt)
        return self.render(
            "prompt.html",
            reader,
            prompt=prompt,
            body=body,
            how=how,
            zone=zone,
            settled=settled,
            undoable=answering.undoable(prompt, reader.now),
            snoozed_until=answering.snoozed_until(prompt, reader.now) if how == "open" else None,
            snoozes=snooze_times(prompt, reader.now) if how == "open" else {},
            words=written if written is not None else draft(body, reader.language) if body and how == "open" else "",
            longest=answering.LONGEST_WORDS,
            mistake=mistake,
        )

    def proteges(self, reader: Reader, name: str, prompts: Sequence[StoredPrompt], proteges: Sequence[Protege]) -> str:
        """Return the page of all for whom somebody speaks, what is due first."""
        due: list[StoredPrompt] = []
        later: list[StoredPrompt] = []
        ended: list[StoredPrompt] = []
        for prompt in prompts:
            if standing(prompt) != "open" or prompt.body is None:
                ended.append(prompt)
            elif answering.snoozed_until(prompt, reader.now) is not None:
                later.append(prompt)
            else:
                due.append(prompt)
        for some in (due, later):
            some.sort(key=lambda one: (one.body.opportunity.closes_at if one.body else reader.now, one.prompt_id))
        asked = {prompt.employee_id for prompt in (*due, *later)}
        return self.render(
            "proteges.html",
            reader,
            name=name,
            due=due,
            later=later,
            quiet=[protege for protege in proteges if protege.person.employee_id not in asked],
            ended=sorted(
                (prompt for prompt in ended if prompt.body is not None), key=lambda one: one.changed_at, reverse=True
            )[:ENDED_SHOWN],
            standing=standing,
            undoable=answering.undoable,
            snoozed_until=answering.snoozed_until,
        )

    def preferences(
        self,
        reader: Reader,
        chosen: PreferencesSet | None,
        *,
        stopped: bool,
        saved: bool = False,
        mistake: str | None = None,
    ) -> str:
        """Return the page on which a sponsor says when and how often they want to be asked."""
        leave = [(one.first.isoformat(), one.last.isoformat()) for one in chosen.leave] if chosen else []
        return self.render(
            "preferences.html",
            reader,
            chosen=chosen,
            stopped=stopped,
            saved=saved,
            mistake=mistake,
            zones=_zones(),
            languages=self._languages,
            leave=[*leave, *[("", "")] * LEAVES][: max(LEAVES, len(leave))],
        )

    def message(self, reader: Reader, title: str, text: str, *, back: str | None = None) -> str:
        """Return a page that says one thing, both marked texts; `back` is where one can go on."""
        return self.render("message.html", reader, title=title, text=text, back=back)

    def stop(self, reader: Reader, action: str) -> str:
        """Return the page that asks somebody who is not signed in whether all messages are to stop."""
        return self.render("stop.html", reader, action=action)

    def render(self, template: str, reader: Reader, **shown: Any) -> str:
        """Return the page of a template, with what it shows."""
        environment = self._environments[reader.language.tag]
        return environment.get_template(template).render(reader=reader, style=STYLE_NAME, **shown)


def snooze_times(prompt: StoredPrompt, now: datetime) -> dict[str, datetime]:
    """Return until when an answer can be put off, by what the form sends; only what lies before the closing."""
    if prompt.body is None:
        return {}
    closes = prompt.body.opportunity.closes_at
    times = {"three_days": now + timedelta(days=3), "week": now + timedelta(days=7)}
    if closes - _BEFORE_CLOSE > now:
        times["before_close"] = closes - _BEFORE_CLOSE
    return {name: until for name, until in times.items() if until < closes}


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(language.catalogue, newstyle=True)  # type: ignore[attr-defined]
    environment.globals |= {"kinds": KINDS, "mistakes": MISTAKES, "weekdays": _weekdays(language)}
    environment.filters |= {
        "plain": plain,
        "sentence": sentence,
        "name": _name,
        "link": web_address,
        "reasons": partial(_reasons, language),
        "ended": lambda because: _sentence(language.say(NO_MORE[because])) if because is not None else "",
        "clock": lambda at: "" if at is None else f"{at:%H:%M}",
    }
    return environment


def _name(text: str) -> Markup:
    """Return a name such that one in another direction does not turn round what stands beside it."""
    return Markup("<bdi>{}</bdi>").format(escape(plain(text)))


def _reasons(language: Language, piece: Evidence) -> list[str]:
    # The words are the correlator's, in English; what their code says can be said in any language.
    if language.tag == "en":
        return [sentence(plain(reason.text).replace("_", " ")) for reason in piece.reasons]
    return [_sentence(language.say(REASONS[reason.code])) for reason in piece.reasons]


def _sentence(clause: str) -> str:
    return sentence(clause[:1].upper() + clause[1:])


def _weekdays(language: Language) -> dict[int, str]:
    """Return the names of the days by ISO number; Babel counts from Monday as 0."""
    names = language.locale.days["stand-alone"]["abbreviated"]
    return {number + 1: names[number] for number in range(7)}


@cache
def _zones() -> list[str]:
    """Return the time zones that people choose from: places, without the old and the technical names."""
    regions = (
        "Africa/",
        "America/",
        "Antarctica/",
        "Asia/",
        "Atlantic/",
        "Australia/",
        "Europe/",
        "Indian/",
        "Pacific/",
    )
    return ["UTC", *sorted(zone for zone in available_timezones() if zone.startswith(regions))]
