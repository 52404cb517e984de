"""Tables for what was measured, who saw an achievement, what a prompt opened with; the log is projected anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)

PROJECTED = (
    "achievements",
    "clock",
    "cycles",
    "deliveries",
    "endorsements",
    "event_counts",
    "gap_history",
    "gaps",
    "profiles",
    "progress",
    "prompt_history",
    "prompts",
    "relationships",
)


def upgrade() -> None:
    """Create and empty them: what rows have not kept is in the log only, and an empty database is filled from it."""
    for name in PROJECTED:
        op.execute(sa.table(name).delete())
    op.add_column("achievements", sa.Column("witnesses", sa.Integer(), nullable=True))
    op.add_column("prompts", sa.Column("opened_evidence", sa.Integer(), nullable=True))
    op.create_table(
        "measured",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("clock", TIME, nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("only"),
        comment="one row: the log's clock and the records projected when the measures were taken, and the least group",
    )
    op.create_table(
        "measurements",
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("across_id", ID, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=True),
        sa.Column("whole", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("measure", "cycle_id", "dimension", "group_id", "across_id"),
        comment="what each measure comes to now, by cycle and group; groups that tell about few people are hidden",
    )
    op.create_table(
        "measurements_over_time",
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=True),
        sa.Column("whole", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("measure", "at"),
        comment="what a measure of the whole company came to at earlier moments, by what is known of them today",
    )
