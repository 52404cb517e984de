"""A column for how strong a prompt's evidence was when it was opened; prompts from before have never said so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    """Add it; there is nothing to fill it with."""
    op.add_column("prompts", sa.Column("opened_strength", sa.BigInteger(), nullable=True))
