"""Tables for who has viewed a prompt, and for the ids of counted events; the log is projected anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)

FILLED = (
    "achievements",
    "clock",
    "cycles",
    "deliveries",
    "endorsements",
    "event_counts",
    "gap_history",
    "gaps",
    "measured",
    "measurements",
    "measurements_over_time",
    "profiles",
    "progress",
    "prompt_history",
    "prompts",
    "relationships",
)


def upgrade() -> None:
    """Create and empty them: which events were counted is in the log only, and an empty database is filled from it."""
    for name in FILLED:
        op.execute(sa.table(name).delete())
    # Without a default, which only rows would need; SQLite adds no such column, so the table is made anew.
    op.drop_table("event_counts")
    op.create_table(
        "event_counts",
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "type"),
        comment="records projected below next_offset, by type, and the distinct career events among them; 'unreadable' "
        "are those that became dead letters",
    )
    op.create_table(
        "counted_events",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("partition", "digest"),
        sqlite_with_rowid=False,
        comment="the first 64 bits of BLAKE2b of each career event's id: an event that was written twice counts once",
    )
    op.create_table(
        "prompt_views",
        sa.Column("event_id", ID, nullable=False),
        sa.Column("prompt_id", ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        comment="each time that the sponsor's page of a prompt was shown; by whom is in portal-audit only",
    )
    op.create_index("prompt_views_by_prompt", "prompt_views", ["prompt_id", "at"])
