"""The read model's tables: what each holds, and which statement about a thing holds when there are several.

Times are aware and in UTC on both databases; ids compare by code point on both (PostgreSQL: collation C), as they do
in Python, so that the same statement wins everywhere and a page's cursor means the same.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from shared.database import Json, UtcTime

MAX_ID_CHARACTERS: Final = 400
"""Longest id that is stored: ids are indexed, and PostgreSQL's index entries end at 2,704 bytes (the widest key here
is one id and a short word, and a character may take four bytes)."""


def _id_type() -> String:
    return String().with_variant(String(collation="C"), "postgresql")


def _id(name: str, *, key: bool = False, nullable: bool = True) -> Column[str]:
    return Column(name, _id_type(), primary_key=key, nullable=nullable and not key)


metadata = MetaData()

profiles = Table(
    "profiles",
    metadata,
    _id("employee_id", key=True),
    Column("effective_at", UtcTime, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    _id("said_by", nullable=False),
    Column("name", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("level_since", Date, nullable=False),
    _id("unit_id"),
    Column("unit_path", Json, nullable=False),
    _id("manager_id"),
    Column("location", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    comment="every profile known of an employee, by when it begins to hold; the one in force depends on the clock",
)

relationships = Table(
    "relationships",
    metadata,
    _id("relationship_id", key=True),
    Column("said_at", UtcTime),
    _id("said_by"),
    _id("employee_id"),
    _id("other_id"),
    Column("kind", String),
    Column("started_at", UtcTime),
    Column("start_said_at", UtcTime),
    _id("start_said_by"),
    Column("ended_at", UtcTime),
    Column("end_said_at", UtcTime),
    _id("end_said_by"),
    Index("relationships_by_employee", "employee_id", "kind"),
    comment="who is tied to whom; start and end are known apart from each other, in either order",
)

achievements = Table(
    "achievements",
    metadata,
    _id("achievement_id", key=True),
    Column("said_at", UtcTime, nullable=False),
    _id("said_by", nullable=False),
    _id("employee_id", nullable=False),
    Column("retracted", Boolean, nullable=False),
    Column("title", Text),
    Column("outcome", Text),
    Column("impact", Integer),
    Column("occurred_on", Date),
    Column("competencies", Json),
    Column("link", Text),
    Column("witnesses", Integer),
    Index("achievements_by_employee", "employee_id"),
    comment="the newest statement about each achievement; of a retracted one only that it was retracted",
)

cycles = Table(
    "cycles",
    metadata,
    _id("cycle_id", key=True),
    Column("said_at", UtcTime),
    _id("said_by"),
    Column("kind", String),
    Column("title", Text),
    Column("unit_ids", Json),
    Column("levels", Json),
    Column("min_months_in_level", Integer),
    Column("competencies", Json),
    Column("evidence_from", Date),
    Column("evidence_to", Date),
    Column("opens_at", UtcTime),
    Column("closes_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("close_said_at", UtcTime),
    _id("close_said_by"),
    Column("cancelled_because", Text),
    Column("cancel_said_at", UtcTime),
    _id("cancel_said_by"),
    comment="each cycle once, however many copies of its events the log holds; its status depends on the clock",
)

endorsements = Table(
    "endorsements",
    metadata,
    _id("endorsement_id", key=True),
    Column("said_at", UtcTime),
    _id("said_by"),
    _id("employee_id"),
    _id("sponsor_id"),
    _id("cycle_id"),
    Column("given_at", UtcTime),
    Column("give_said_at", UtcTime),
    _id("give_said_by"),
    Column("withdraw_said_at", UtcTime),
    _id("withdraw_said_by"),
    Index("endorsements_by_employee", "employee_id"),
    comment="who spoke for whom and when; the words stay in the log",
)

prompts = Table(
    "prompts",
    metadata,
    _id("prompt_id", key=True),
    Column("version", BigInteger),
    Column("status", String),
    _id("cycle_id"),
    _id("sponsor_id"),
    _id("employee_id"),
    Column("changed_at", UtcTime),
    _id("because_of"),
    Column("withdrawn_because", String),
    _id("endorsement_id"),
    Column("body_version", BigInteger),
    Column("body", Json),
    Column("sponsor_timezone", String),
    Column("snoozed_until", UtcTime),
    Column("opened_version", BigInteger),
    Column("opened_at", UtcTime),
    Column("opened_evidence", Integer),
    Column("opened_strength", BigInteger),
    Index("prompts_by_cycle", "cycle_id", "status"),
    Index("prompts_by_sponsor", "sponsor_id", "status"),
    Index("prompts_by_employee", "employee_id", "status"),
    comment="each prompt as it stands, with the last body that its sponsor was shown",
)

prompt_history = Table(
    "prompt_history",
    metadata,
    _id("event_id", key=True),
    _id("prompt_id", nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("type", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    # With the type, for SQLite would otherwise take the index by type to count one prompt's updates.
    Index("prompt_history_by_prompt", "prompt_id", "type", "version"),
    Index("prompt_history_by_type", "type"),
    comment="one row for each distinct prompt event, so that counting rows counts events",
)

prompt_views = Table(
    "prompt_views",
    metadata,
    _id("event_id", key=True),
    _id("prompt_id", nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("prompt_views_by_prompt", "prompt_id", "at"),
    comment="each time that the sponsor's page of a prompt was shown; by whom is in portal-audit only",
)

gaps = Table(
    "gaps",
    metadata,
    _id("gap_id", key=True),
    Column("version", BigInteger),
    Column("status", String),
    _id("cycle_id"),
    _id("employee_id"),
    Column("changed_at", UtcTime),
    _id("because_of"),
    Column("closed_because", String),
    Column("suggestions_version", BigInteger),
    Column("suggestions", Json),
    Column("opened_version", BigInteger),
    Column("opened_at", UtcTime),
    Index("gaps_by_cycle", "cycle_id", "status"),
    Index("gaps_by_employee", "employee_id", "status"),
    comment="each gap as it stands, with the last suggestions made",
)

gap_history = Table(
    "gap_history",
    metadata,
    _id("event_id", key=True),
    _id("gap_id", nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("type", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("gap_history_by_gap", "gap_id", "version"),
    Index("gap_history_by_type", "type"),
    comment="one row for each distinct gap event",
)

deliveries = Table(
    "deliveries",
    metadata,
    _id("delivery_id", key=True),
    Column("outcome", String, primary_key=True),
    _id("prompt_id", nullable=False),
    Column("version", BigInteger, nullable=False),
    _id("sponsor_id", nullable=False),
    Column("channel", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("status_code", BigInteger),
    Column("attempts", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("deliveries_by_prompt", "prompt_id", "version"),
    Index("deliveries_by_outcome", "outcome"),
    comment="what became of each prompt version that was to be sent, one row an outcome",
)

clock = Table(
    "clock",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("now", UtcTime, nullable=False),
    comment="one row: the greatest time that the log has told",
)

progress = Table(
    "progress",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    comment="how far each partition is projected; written with its rows in one transaction, and never goes back",
)

event_counts = Table(
    "event_counts",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("type", String, primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    comment="records projected below next_offset, by type, and the distinct career events among them; 'unreadable' are "
    "those that became dead letters",
)

counted_events = Table(
    "counted_events",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("digest", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,  # the key is all there is: one tree to keep instead of two
    comment="the first 64 bits of BLAKE2b of each career event's id: an event that was written twice counts once",
)

attributes = Table(
    "attributes",
    metadata,
    _id("subject", key=True),
    Column("log_offset", BigInteger, nullable=False),
    _id("employee_id"),
    Column("said_at", UtcTime),
    Column("said", Json),
    Index("attributes_by_employee", "employee_id"),
    comment="protected attributes that a company compares by, as each subject last stated them",
)

attribute_names = Table(
    "attribute_names",
    metadata,
    Column("name", String, primary_key=True),
    comment="the attributes that `attributes` was filled for",
)

measured = Table(
    "measured",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("clock", UtcTime),
    Column("records", BigInteger, nullable=False),
    Column("k", Integer, nullable=False),
    comment="one row: the log's clock and the records projected when the measures were taken, and the least group",
)

measurements = Table(
    "measurements",
    metadata,
    Column("measure", String, primary_key=True),
    _id("cycle_id", key=True),
    Column("dimension", String, primary_key=True),
    _id("group_id", key=True),
    _id("across_id", key=True),
    Column("place", Integer, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("part", BigInteger),
    Column("whole", BigInteger),
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    comment="what each measure comes to now, by cycle and group; groups that tell about few people are hidden",
)

measurements_over_time = Table(
    "measurements_over_time",
    metadata,
    Column("measure", String, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("part", BigInteger),
    Column("whole", BigInteger),
    Column("value", Float),
    comment="what a measure of the whole company came to at earlier moments, by what is known of them today",
)

comparisons = Table(
    "comparisons",
    metadata,
    Column("attribute", String, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("measure", String, primary_key=True),
    _id("cycle_id", key=True),
    Column("dimension", String, primary_key=True),
    _id("group_id", key=True),
    Column("value_id", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("value", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    comment="what was told by protected attributes, by quarter; what was told before decides what may be told next",
)

compared = Table(
    "compared",
    metadata,
    Column("attribute", String, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("k", Integer, nullable=False),
    Column("hidden", Integer, nullable=False),
    comment="the quarters in which an attribute was compared by, and how many views were not told",
)

TOLD: Final = (comparisons, compared)
"""What has been told stays so when the read model is made anew."""

MEASURED: Final = (measured, measurements, measurements_over_time)
"""What is worked out from the other tables, in a transaction of its own."""
