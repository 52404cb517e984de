"""Finds the language that a person reads, and what is said in it: catalogues, compiled at a service's start."""

from __future__ import annotations

import gettext
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, get_timezone_location
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SHARED: Final = Path(__file__).parent
"""The folder with the catalogues of what several services say."""
ENGLISH: Final = "en"
"""The language in which the texts are in the code."""


def marked(text: str) -> str:
    """Return `text` as it is; marks it for the catalogues where it is translated elsewhere."""
    return text


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A language that pages and messages are written in.

    Attributes:
        tag: as in `<html lang>`.
        name: as its speakers call it.
        catalogue: what is said in it.
    """

    tag: str
    name: str
    locale: Locale
    catalogue: gettext.NullTranslations

    def say(self, text: str, **values: object) -> str:
        """Return a marked text in this language, with `%(names)s` filled in."""
        said = self.catalogue.gettext(text)
        return said % values if values else said

    def day(self, day: date) -> str:
        """Return a day, written out."""
        return format_date(day, "long", locale=self.locale)

    def month(self, day: date) -> str:
        """Return the month that `day` lies in."""
        return format_date(day, "MMMM yyyy", locale=self.locale)

    def moment(self, at: datetime, timezone: str) -> str:
        """Return a time with its weekday, in a time zone, which it names."""
        zone = zone_of(timezone)
        where = "UTC" if zone.key == "UTC" else get_timezone_location(zone, locale=self.locale, return_city=True)
        return f"{self.local(at, zone)} ({where})"

    def local(self, at: datetime, zone: ZoneInfo) -> str:
        """Return a time with its weekday, as clocks in that zone show it."""
        return format_datetime(at, self._pattern(), tzinfo=zone, locale=self.locale)

    def until(self, at: datetime, now: datetime) -> str:
        """Return how long it is until then, in words: days, or hours below two of them."""
        left = max(at - now, timedelta(0))
        if left < timedelta(days=2):
            hours = -(-left // timedelta(hours=1))
            return self.catalogue.ngettext("in an hour", "in %(count)s hours", hours) % {"count": hours}
        return self.catalogue.ngettext("in a day", "in %(count)s days", left.days) % {"count": left.days}

    def _pattern(self) -> str:
        return "EEEE, d. MMMM yyyy, HH:mm" if self.tag == "de" else "EEEE, d MMMM yyyy, HH:mm"


@cache
def read_languages(service: Path) -> dict[str, Language]:
    """Return all languages of a service, by tag: English, and each that has a catalogue.

    Args:
        service: its folder; a catalogue is `locale/<tag>/LC_MESSAGES/<the folder's name>.po` in it. What is not in it
            is looked for in that of `shared`.
    """
    shared = _catalogues(SHARED)
    found: dict[str, gettext.NullTranslations] = {ENGLISH: gettext.NullTranslations()}
    for tag, own in _catalogues(service).items():
        if tag in shared:
            own.add_fallback(shared[tag])
        found[tag] = own
    return {tag: _language(tag, translations) for tag, translations in found.items()}


def _catalogues(folder: Path) -> dict[str, gettext.GNUTranslations]:
    found = {}
    for catalogue in sorted(folder.glob(f"locale/*/LC_MESSAGES/{folder.name}.po")):
        with catalogue.open("rb") as file:
            messages = read_po(file, catalogue.parts[-3])
        compiled = BytesIO()
        write_mo(compiled, messages)
        compiled.seek(0)
        found[catalogue.parts[-3]] = gettext.GNUTranslations(compiled)
    return found


def choose(languages: dict[str, Language], wanted: str | None, accepted: str) -> Language:
    """Return the language to write in.

    Args:
        languages: those that there are.
        wanted: the tag that the reader chose, if any.
        accepted: the browser's `Accept-Language`.
    """
    asked = [tag for part in accepted.split(",") if (tag := part.split(";")[0].strip()) and tag != "*"][:10]
    tags = ([wanted] if wanted else []) + asked
    found = negotiate_locale([tag.replace("-", "_") for tag in tags], list(languages))
    return languages[found or ENGLISH]


def _language(tag: str, catalogue: gettext.NullTranslations) -> Language:
    named = Locale.parse(tag, sep="-")
    # Days before months, as the rest of the system writes them.
    locale = Locale("en", "GB") if tag == ENGLISH else named
    return Language(tag, (named.get_display_name(named) or tag).capitalize(), locale, catalogue)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; UTC where nobody knows it, as a source may have named it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


IN_ENGLISH: Final = _language(ENGLISH, gettext.NullTranslations())
"""The language that needs no catalogue."""
