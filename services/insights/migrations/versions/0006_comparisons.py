"""Tables for protected attributes and for what was told by them; empty where a company has not turned that on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "attributes",
        sa.Column("subject", ID, nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("employee_id", ID, nullable=True),
        sa.Column("said_at", TIME, nullable=True),
        sa.Column("said", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("subject"),
        comment="protected attributes that a company compares by, as each subject last stated them",
    )
    op.create_index("attributes_by_employee", "attributes", ["employee_id"])
    op.create_table(
        "attribute_names",
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="the attributes that `attributes` was filled for",
    )
    op.create_table(
        "comparisons",
        sa.Column("attribute", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("value_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("attribute", "at", "measure", "cycle_id", "dimension", "group_id", "value_id"),
        comment="what was told by protected attributes, by quarter; what was told before decides what may be told next",
    )
    op.create_table(
        "compared",
        sa.Column("attribute", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("hidden", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("attribute", "at"),
        comment="the quarters in which an attribute was compared by, and how many views were not told",
    )
