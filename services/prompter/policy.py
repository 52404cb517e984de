"""What a company and a sponsor want of prompts: the company's file, and the sponsor's own choices above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.prompter.languages import known_language, language_of
from shared.contracts.choices import Leave, PreferencesSet, Weekday
from shared.contracts.outputs import ChannelName
from shared.yaml_files import read_yaml

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class QuietHours(_Part):
    """Hours in which nothing is sent, in the sponsor's time zone; `from` may be later than `to`: over night."""

    from_: time = Field(alias="from")
    to: time

    @model_validator(mode="after")
    def _some_hours(self) -> QuietHours:
        if self.from_ == self.to:
            raise ValueError(f"begin and end at {self.to:%H:%M}: write off for no quiet hours")
        return self


class Digest(_Part):
    """When several prompts become one message."""

    at_least: int = Field(ge=2, le=100)
    gather_minutes: int = Field(ge=0, le=24 * 60)


class Reminders(_Part):
    """When a sponsor who has not answered is reminded."""

    days_before_close: tuple[Annotated[int, Field(ge=1, le=365)], ...] = ()
    urgent_days: int = Field(ge=0, le=365)


def _known_zone(name: str) -> str:
    if zone_of(name) is None:
        raise ValueError(f"{name!r} is no time zone: write an IANA name, as Europe/Berlin")
    return name


class HolidayCalendar(_Part):
    """Days off: a country's, and dates of the company's own."""

    country: str | None = None
    subdivision: str | None = None
    timezones: tuple[Annotated[str, AfterValidator(_known_zone)], ...] = ()
    also: tuple[date, ...] = ()
    except_: tuple[date, ...] = Field((), alias="except")

    @model_validator(mode="after")
    def _known(self) -> HolidayCalendar:
        if self.country is None:
            if self.subdivision is not None:
                raise ValueError("a subdivision without its country")
            return self
        known = holidays.list_supported_countries()
        if self.country not in known:
            raise ValueError(f"no calendar of a country {self.country!r}: write its code by ISO 3166-1, as DE")
        if self.subdivision is not None and self.subdivision not in known[self.country]:
            raise ValueError(f"{self.country} has no {self.subdivision!r}: it has {', '.join(known[self.country])}")
        return self

    def name_of(self, day: date) -> str | None:
        """Return the holiday's name if `day` is one."""
        if day in self.except_:
            return None
        if day in self.also:
            return "a day off of the company"
        if self.country is None:
            return None
        return _holidays_of(self.country, self.subdivision, day.year).get(day)


def _day_number(value: object) -> object:
    if isinstance(value, str):
        if value not in _DAYS:
            raise ValueError(f"{value!r} is no day of the week: write {', '.join(_DAYS)}")
        return _DAYS.index(value) + 1
    return value


def _off(value: object) -> object:
    return None if value == "off" else value


class Policy(_Part):
    """The company's defaults."""

    channels: tuple[ChannelName, ...] = Field(min_length=1)
    quiet_hours: Annotated[QuietHours | None, BeforeValidator(_off)]
    working_days: tuple[Annotated[Weekday, BeforeValidator(_day_number)], ...] = Field(min_length=1)
    messages_per_week: Annotated[Annotated[int, Field(ge=1, le=50)] | None, BeforeValidator(_off)]
    digest: Annotated[Digest | None, BeforeValidator(_off)]
    news: Literal["at_once", "with_reminder"]
    reminders: Annotated[Reminders | None, BeforeValidator(_off)]
    holidays: tuple[HolidayCalendar, ...] = ()
    language: Annotated[str, AfterValidator(known_language)] = "en"


@dataclass(frozen=True, slots=True)
class SponsorPolicy:
    """What holds for one sponsor: the company's defaults with their own choices above them."""

    company: Policy
    zone: ZoneInfo
    quiet: tuple[time, time] | None
    working_days: frozenset[int]
    messages_per_week: int | None
    leave: tuple[Leave, ...]
    channels: tuple[ChannelName, ...]
    language: str

    def day_off(self, day: date) -> tuple[Literal["day_off", "holiday", "leave"], str] | None:
        """Return why nothing is sent on this local day, as a code and in words; None if it is a working day."""
        for leave in self.leave:
            if leave.first <= day <= leave.last:
                return "leave", f"the sponsor is away until {leave.last}"
        if day.isoweekday() not in self.working_days:
            return "day_off", f"{_DAYS[day.weekday()].capitalize()} is not among the sponsor's working days"
        for calendar in self.company.holidays:
            if calendar.timezones and self.zone.key not in calendar.timezones:
                continue
            if (name := calendar.name_of(day)) is not None:
                return "holiday", f"{day} is a holiday: {name}"
        return None


def policy_of(
    company: Policy, chosen: PreferencesSet | None, timezone: str, locale: str | None = None
) -> SponsorPolicy:
    """Return what holds for a sponsor.

    Args:
        company: the company's defaults.
        chosen: the sponsor's own choices, if they have made any.
        timezone: theirs by the company's records, or its default.
        locale: theirs by the company's records, None where they name none.
    """
    zone = (zone_of(chosen.timezone) if chosen and chosen.timezone else None) or zone_of(timezone) or ZoneInfo("UTC")
    begin = end = None
    if company.quiet_hours is not None:
        begin, end = company.quiet_hours.from_, company.quiet_hours.to
    if chosen is not None:
        begin = chosen.quiet_from if chosen.quiet_from is not None else begin
        end = chosen.quiet_to if chosen.quiet_to is not None else end
    days = company.working_days if chosen is None or not chosen.working_days else chosen.working_days
    limits = (company.messages_per_week, chosen.prompts_per_week if chosen is not None else None)
    first = (chosen.channel,) if chosen is not None and chosen.channel is not None else ()
    return SponsorPolicy(
        company=company,
        zone=zone,
        quiet=(begin, end) if begin is not None and end is not None and begin != end else None,
        working_days=frozenset(days),
        messages_per_week=limits[1] or limits[0],
        leave=chosen.leave if chosen is not None else (),
        channels=tuple(dict.fromkeys((*first, *company.channels))),
        language=language_of(chosen.language if chosen is not None else None, locale, company.language),
    )


def read_policy(path: Path) -> Policy:
    """Return the policy that the file holds.

    Raises:
        BadFile: it can't be read, or is no policy.
    """
    return read_yaml(path, Policy)


def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of that IANA name; None if there is none: a source may say anything."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=512)
def _holidays_of(country: str, subdivision: str | None, year: int) -> Mapping[date, str]:
    return dict(holidays.country_holidays(country, subdiv=subdivision, years=year))
