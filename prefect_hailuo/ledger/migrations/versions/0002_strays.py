"""Requests in fal's history that no attempt has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of strays."""
    op.create_table(
        "hailuo_stray",
        sa.Column("realm", sa.String(length=16), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=True),
        sa.Column("has_more", sa.Boolean(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("realm", "request_id"),
    )
    op.create_index("hailuo_stray_body", "hailuo_stray", ["body_digest"])
