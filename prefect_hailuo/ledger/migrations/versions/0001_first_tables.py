"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prefect_hailuo.ledger.tables import database_now

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, and note when this ledger began."""
    op.create_table(
        "hailuo_budget",
        sa.Column("realm", sa.String(length=16), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("per_day_usd", sa.BigInteger(), nullable=True),
        sa.Column("per_month_usd", sa.BigInteger(), nullable=True),
        sa.Column("total_usd", sa.BigInteger(), nullable=True),
        sa.Column("set_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("realm", "scope"),
    )
    op.create_table(
        "hailuo_cancelled_run",
        sa.Column("flow_run_id", sa.String(length=36), nullable=False),
        sa.Column("cancelled_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("flow_run_id"),
    )
    op.create_table(
        "hailuo_generation",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("consented", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "hailuo_history",
        sa.Column("realm", sa.String(length=16), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("read_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("realm", "account"),
    )
    op.create_table(
        "hailuo_origin",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "hailuo_waiter",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("realm", sa.String(length=16), nullable=False),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("root_flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("cancelled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("hailuo_waiter_flow_run", "hailuo_waiter", ["flow_run_id"], unique=False)
    op.create_index("hailuo_waiter_key", "hailuo_waiter", ["key"], unique=False)
    op.create_index(
        "hailuo_waiter_root_flow_run", "hailuo_waiter", ["root_flow_run_id"], unique=False
    )
    op.create_table(
        "hailuo_attempt",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("realm", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("credentials", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("take", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=True),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("fate", sa.String(length=16), nullable=False),
        sa.Column("billed", sa.String(length=8), nullable=True),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("intended_at", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("submitted_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ticket", sa.JSON(), nullable=True),
        sa.Column("completed", sa.JSON(), nullable=True),
        sa.Column("output", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("parked_at", sa.Double(), nullable=True),
        sa.Column("parked_because", sa.Text(), nullable=True),
        sa.Column("cancel_answer", sa.String(length=32), nullable=True),
        sa.Column("estimated_usd", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.BigInteger(), nullable=True),
        sa.Column("cost_basis", sa.String(length=16), nullable=True),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key"],
            ["hailuo_generation.key"],
        ),
        sa.PrimaryKeyConstraint("key", "number"),
        sa.UniqueConstraint("realm", "request_id", name="hailuo_attempt_request"),
    )
    op.create_index("hailuo_attempt_body", "hailuo_attempt", ["realm", "body_digest"], unique=False)
    op.create_index("hailuo_attempt_fate", "hailuo_attempt", ["realm", "fate"], unique=False)
    op.create_index(
        "hailuo_attempt_scope", "hailuo_attempt", ["realm", "scope", "intended_at"], unique=False
    )
    op.create_table(
        "hailuo_file",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("video", sa.JSON(), nullable=False),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key"],
            ["hailuo_generation.key"],
        ),
        sa.PrimaryKeyConstraint("key", "place"),
    )
    began = sa.table("hailuo_origin", sa.column("id"), sa.column("began_at"))
    op.execute(began.insert().values(id=1, began_at=database_now()))
