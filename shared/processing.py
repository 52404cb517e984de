"""The record of processing: which data there are of people, why, on which legal basis, who reads them, for how long.

What the law asks a company to write down (GDPR, article 30), in a file that an administrator keeps, so that it can't be
forgotten for a new topic: the file has to speak of every one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from shared.streaming.topics import ALL_TOPICS, CAREER_EVENTS, GAPS, PROMPTS, SPONSOR_CHOICES, feed_topic
from shared.yaml_files import read_yaml

EVER: Final = "for ever"
READ_WHOLE: Final = frozenset({CAREER_EVENTS, PROMPTS, GAPS, SPONSOR_CHOICES})
"""Topics that insights and the portal are rebuilt from: at their beginning is who has not changed for long."""
_LEAST_DAYS: Final[Mapping[str, int]] = {feed_topic("endorsements"): 730}
"""Days. The portal learns from it which prompts have been answered, as long as their cycle may be asked about."""
_DAY_MS: Final = 24 * 3600 * 1000
_COMPACTED: Final = frozenset(spec.name for spec in ALL_TOPICS if spec.config.get("cleanup.policy") == "compact")


def _a_time(text: str) -> str:
    if text != EVER and (re.fullmatch(r"[1-9][0-9]{0,4} days?", text) is None):
        raise ValueError(f"{text!r} is neither '{EVER}' nor a number of days, as '90 days'")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(_Part):
    """One kind of data."""

    what: Annotated[str, Field(min_length=1)]
    purpose: Annotated[str, Field(min_length=1)]
    legal_basis: Annotated[str, Field(min_length=1)]
    readers: Annotated[str, Field(min_length=1)]
    keep: Annotated[str, AfterValidator(_a_time)]
    """`for ever`, or a number of days."""
    topics: tuple[str, ...] = ()
    """Names, or patterns of names with `*`."""
    tables: tuple[str, ...] = ()
    """Of insights' database; they hold what the topics say, and are emptied by a rebuild."""

    @property
    def keep_days(self) -> int | None:
        """How long its records stay in Kafka; None for ever."""
        return None if self.keep == EVER else int(self.keep.split()[0])


class Processing(_Part):
    """The record."""

    controller: Annotated[str, Field(min_length=1)]
    contact: Annotated[str, Field(min_length=1)]
    kinds: Mapping[str, Kind]

    @model_validator(mode="after")
    def _speaks_of_every_topic(self) -> Processing:
        for spec in ALL_TOPICS:
            of_it = self._kinds_with(spec.name)
            if not of_it:
                raise ValueError(f"no kind has the topic {spec.name}: say what is in it, why, and how long it stays")
            if len(of_it) > 1:
                raise ValueError(f"the topic {spec.name} is in several kinds: {', '.join(of_it)}")
            days = self.kinds[of_it[0]].keep_days
            if days is not None and (why := _why_not(spec.name, days)):
                raise ValueError(f"kinds.{of_it[0]}: {spec.name} can't be kept for {days} days: {why}")
        return self

    def retention_ms(self) -> Iterator[tuple[str, int]]:
        """Yield each topic that is not compacted with the `retention.ms` that it has to have; -1 is for ever."""
        for spec in ALL_TOPICS:
            if spec.name in _COMPACTED:
                continue
            days = self.kinds[self._kinds_with(spec.name)[0]].keep_days
            yield spec.name, -1 if days is None else days * _DAY_MS

    def _kinds_with(self, topic: str) -> list[str]:
        return [name for name, kind in self.kinds.items() if any(fnmatchcase(topic, of_it) for of_it in kind.topics)]


def read_processing(path: Path) -> Processing:
    """Return the record that the file holds.

    Raises:
        BadFile: it can't be read, or does not speak of every topic.
    """
    return read_yaml(path, Processing)


def _why_not(topic: str, days: int) -> str | None:
    if topic in _COMPACTED:
        return "it is compacted and keeps the newest of each key; erase a person to take theirs out"
    if topic in READ_WHOLE:
        return "insights and the portal are rebuilt from its beginning, where those are who have not changed for long"
    least = _LEAST_DAYS.get(topic, 1)
    return f"the portal learns from it what has been answered, for {least} days at least" if days < least else None
