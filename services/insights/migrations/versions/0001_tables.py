"""The tables as they were before there were migrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# As `services.insights.tables` has them today; copied, for a step must go on meaning what it meant.
ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "achievements",
        sa.Column("achievement_id", ID, nullable=False),
        sa.Column("said_at", TIME, nullable=False),
        sa.Column("said_by", ID, nullable=False),
        sa.Column("employee_id", ID, nullable=False),
        sa.Column("retracted", sa.Boolean(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("impact", sa.Integer(), nullable=True),
        sa.Column("occurred_on", sa.Date(), nullable=True),
        sa.Column("competencies", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("achievement_id"),
        comment="the newest statement about each achievement; of a retracted one only that it was retracted",
    )
    op.create_index("achievements_by_employee", "achievements", ["employee_id"], unique=False)
    op.create_table(
        "clock",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now", TIME, nullable=False),
        sa.PrimaryKeyConstraint("only"),
        comment="one row: the greatest time that the log has told",
    )
    op.create_table(
        "cycles",
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("said_at", TIME, nullable=True),
        sa.Column("said_by", ID, nullable=True),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("unit_ids", sa.Text(), nullable=True),
        sa.Column("levels", sa.Text(), nullable=True),
        sa.Column("min_months_in_level", sa.Integer(), nullable=True),
        sa.Column("competencies", sa.Text(), nullable=True),
        sa.Column("evidence_from", sa.Date(), nullable=True),
        sa.Column("evidence_to", sa.Date(), nullable=True),
        sa.Column("opens_at", TIME, nullable=True),
        sa.Column("closes_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("close_said_at", TIME, nullable=True),
        sa.Column("close_said_by", ID, nullable=True),
        sa.Column("cancelled_because", sa.Text(), nullable=True),
        sa.Column("cancel_said_at", TIME, nullable=True),
        sa.Column("cancel_said_by", ID, nullable=True),
        sa.PrimaryKeyConstraint("cycle_id"),
        comment="each cycle once, however many copies of its events the log holds; its status depends on the clock",
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("prompt_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sponsor_id", ID, nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("status_code", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "outcome"),
        comment="what became of each prompt version that was to be sent, one row an outcome",
    )
    op.create_index("deliveries_by_outcome", "deliveries", ["outcome"], unique=False)
    op.create_index("deliveries_by_prompt", "deliveries", ["prompt_id", "version"], unique=False)
    op.create_table(
        "endorsements",
        sa.Column("endorsement_id", ID, nullable=False),
        sa.Column("said_at", TIME, nullable=True),
        sa.Column("said_by", ID, nullable=True),
        sa.Column("employee_id", ID, nullable=True),
        sa.Column("sponsor_id", ID, nullable=True),
        sa.Column("cycle_id", ID, nullable=True),
        sa.Column("given_at", TIME, nullable=True),
        sa.Column("give_said_at", TIME, nullable=True),
        sa.Column("give_said_by", ID, nullable=True),
        sa.Column("withdraw_said_at", TIME, nullable=True),
        sa.Column("withdraw_said_by", ID, nullable=True),
        sa.PrimaryKeyConstraint("endorsement_id"),
        comment="who spoke for whom and when; the words stay in the log",
    )
    op.create_index("endorsements_by_employee", "endorsements", ["employee_id"], unique=False)
    op.create_table(
        "event_counts",
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "type"),
        comment="records projected below next_offset, by type; 'unreadable' are those that became dead letters",
    )
    op.create_table(
        "gap_history",
        sa.Column("event_id", ID, nullable=False),
        sa.Column("gap_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        comment="one row for each distinct gap event",
    )
    op.create_index("gap_history_by_gap", "gap_history", ["gap_id", "version"], unique=False)
    op.create_index("gap_history_by_type", "gap_history", ["type"], unique=False)
    op.create_table(
        "gaps",
        sa.Column("gap_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("cycle_id", ID, nullable=True),
        sa.Column("employee_id", ID, nullable=True),
        sa.Column("changed_at", TIME, nullable=True),
        sa.Column("because_of", ID, nullable=True),
        sa.Column("closed_because", sa.String(), nullable=True),
        sa.Column("suggestions_version", sa.BigInteger(), nullable=True),
        sa.Column("suggestions", sa.Text(), nullable=True),
        sa.Column("opened_version", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("gap_id"),
        comment="each gap as it stands, with the last suggestions made",
    )
    op.create_index("gaps_by_cycle", "gaps", ["cycle_id", "status"], unique=False)
    op.create_index("gaps_by_employee", "gaps", ["employee_id", "status"], unique=False)
    op.create_table(
        "profiles",
        sa.Column("employee_id", ID, nullable=False),
        sa.Column("effective_at", TIME, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("said_by", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("level_since", sa.Date(), nullable=False),
        sa.Column("unit_id", ID, nullable=True),
        sa.Column("unit_path", sa.Text(), nullable=False),
        sa.Column("manager_id", ID, nullable=True),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("employee_id", "effective_at"),
        comment="every profile known of an employee, by when it begins to hold; the one in force depends on the clock",
    )
    op.create_table(
        "progress",
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
        comment="how far each partition is projected; written with its rows in one transaction, and never goes back",
    )
    op.create_table(
        "prompt_history",
        sa.Column("event_id", ID, nullable=False),
        sa.Column("prompt_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        comment="one row for each distinct prompt event, so that counting rows counts events",
    )
    op.create_index("prompt_history_by_prompt", "prompt_history", ["prompt_id", "type", "version"], unique=False)
    op.create_index("prompt_history_by_type", "prompt_history", ["type"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("prompt_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("cycle_id", ID, nullable=True),
        sa.Column("sponsor_id", ID, nullable=True),
        sa.Column("employee_id", ID, nullable=True),
        sa.Column("changed_at", TIME, nullable=True),
        sa.Column("because_of", ID, nullable=True),
        sa.Column("withdrawn_because", sa.String(), nullable=True),
        sa.Column("endorsement_id", ID, nullable=True),
        sa.Column("body_version", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("sponsor_timezone", sa.String(), nullable=True),
        sa.Column("snoozed_until", TIME, nullable=True),
        sa.Column("opened_version", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("prompt_id"),
        comment="each prompt as it stands, with the last body that its sponsor was shown",
    )
    op.create_index("prompts_by_cycle", "prompts", ["cycle_id", "status"], unique=False)
    op.create_index("prompts_by_employee", "prompts", ["employee_id", "status"], unique=False)
    op.create_index("prompts_by_sponsor", "prompts", ["sponsor_id", "status"], unique=False)
    op.create_table(
        "relationships",
        sa.Column("relationship_id", ID, nullable=False),
        sa.Column("said_at", TIME, nullable=True),
        sa.Column("said_by", ID, nullable=True),
        sa.Column("employee_id", ID, nullable=True),
        sa.Column("other_id", ID, nullable=True),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("start_said_at", TIME, nullable=True),
        sa.Column("start_said_by", ID, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("end_said_at", TIME, nullable=True),
        sa.Column("end_said_by", ID, nullable=True),
        sa.PrimaryKeyConstraint("relationship_id"),
        comment="who is tied to whom; start and end are known apart from each other, in either order",
    )
    op.create_index("relationships_by_employee", "relationships", ["employee_id", "kind"], unique=False)
