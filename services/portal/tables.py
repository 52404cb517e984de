"""The tables of the portal's read model: a copy of what it needs of the log, in a SQLite file of each process's own.

Each row is one statement; of two about the same thing the one that is greater by `NEWER_BY` holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Boolean, Column, Date, Index, Integer, MetaData, String, Table, Text

from shared.database import Json, UtcTime

SCHEMA: Final = 5
"""Goes up with each change of the tables: a file of another number is filled anew from the log."""

metadata = MetaData()

prompts = Table(
    "prompts",
    metadata,
    Column("prompt_id", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("sponsor_id", String, nullable=False),
    Column("employee_id", String, nullable=False),
    Column("cycle_id", String, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("opened_by", Integer),
    Column("withdrawn_because", String),
    Column("endorsement_id", String),
    Column("body", Json),
    Column("timezone", String),
    Column("snoozed_until", UtcTime),
    Index("prompts_by_sponsor", "sponsor_id"),
    comment="each prompt as it stands or stood last; the body of one that has ended is the last that was shown",
)

tellings = Table(
    "tellings",
    metadata,
    Column("prompt_id", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("employee_id", String, nullable=False),
    Column("cycle_id", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("body", Json, nullable=False),
    Index("tellings_by_employee", "employee_id"),
    comment="all that a sponsor could see of somebody: a row for each version of a prompt, in which it stood",
)

achievements = Table(
    "achievements",
    metadata,
    Column("employee_id", String, primary_key=True),
    Column("achievement_id", String, primary_key=True),
    Column("said_at", UtcTime, nullable=False),
    Column("said_by", String, nullable=False),
    Column("source", String, nullable=False),
    Column("retracted", Boolean, nullable=False),
    Column("title", Text),
    Column("outcome", Text),
    Column("impact", Integer),
    Column("occurred_on", Date),
    Column("competencies", Json),
    Column("link", Text),
    Column("witnesses", Json),
    comment="the newest statement about each achievement",
)

owners_words = Table(
    "owners_words",
    metadata,
    Column("employee_id", String, primary_key=True),
    Column("achievement_id", String, primary_key=True),
    Column("said_at", UtcTime, nullable=False),
    Column("said_by", String, nullable=False),
    Column("hidden", Boolean, nullable=False),
    comment="whether the person whose achievement it is has hidden it",
)

disowned = Table(
    "disowned",
    metadata,
    Column("event_id", String, primary_key=True),
    comment="statements about achievements that turned out to be about somebody else",
)

own_statements = Table(
    "own_statements",
    metadata,
    Column("event_id", String, primary_key=True),
    comment="what people said of themselves here, as far as it has reached their logs",
)

answers = Table(
    "answers",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("prompt_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("words", Text, nullable=False),
    Index("answers_by_prompt", "prompt_id"),
    comment="what was answered here, as it lies in feeds.endorsements",
)

taken_back = Table(
    "taken_back",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("at", UtcTime, nullable=False),
    comment="what took an answer back, by the id that `projection.taking_back` makes of that answer's",
)

choices = Table(
    "choices",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("sponsor_id", String, nullable=False),
    Column("about", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("choice", Json, nullable=False),
    Index("choices_by_sponsor", "sponsor_id", "about"),
    comment="what sponsors chose; of those about the same thing the latest holds",
)

people = Table(
    "people",
    metadata,
    Column("employee_id", String, primary_key=True),
    Column("effective_at", UtcTime, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("unit_id", String),
    Column("active", Boolean, nullable=False),
    comment="profiles, each from the time on from which it holds",
)

tie_starts = Table(
    "tie_starts",
    metadata,
    Column("relationship_id", String, primary_key=True),
    Column("said_at", UtcTime, nullable=False),
    Column("said_by", String, nullable=False),
    Column("employee_id", String, nullable=False),
    Column("sponsor_id", String, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Index("ties_by_sponsor", "sponsor_id"),
    comment="who sponsors whom, since when",
)

tie_ends = Table(
    "tie_ends",
    metadata,
    Column("relationship_id", String, primary_key=True),
    Column("said_at", UtcTime, nullable=False),
    Column("said_by", String, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    comment="the ends of those; may be known before the start is",
)

claims = Table(
    "claims",
    metadata,
    Column("ref", String, primary_key=True),
    Column("employee_id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("claim", Json, nullable=False),
    comment="who claims a name in another system, from when to when",
)

merges = Table(
    "merges",
    metadata,
    Column("employee_id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("into_id", String),
    comment="who turned out to be whom; nobody else after all where into_id is null",
)

clock = Table(
    "clock",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("now", UtcTime, nullable=False),
    comment="the time, as the log tells it",
)

progress = Table(
    "progress",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", Integer, nullable=False),
)

origin = Table(
    "origin",
    metadata,
    Column("schema_number", Integer, primary_key=True),
    Column("cluster", String, nullable=False),
    comment="of which Kafka this is a copy",
)

NEWER_BY: Final[Mapping[Table, tuple[str, ...]]] = {
    prompts: ("version",),
    tellings: (),
    achievements: ("said_at", "said_by"),
    owners_words: ("said_at", "said_by"),
    own_statements: (),
    disowned: (),
    answers: (),
    taken_back: (),
    choices: (),
    people: ("revision",),
    tie_starts: ("said_at", "said_by"),
    tie_ends: ("said_at", "said_by"),
    claims: ("revision",),
    merges: ("revision",),
    clock: ("now",),
}
"""The columns by which a statement is newer than another of the same key; none where the first is as good as any."""
