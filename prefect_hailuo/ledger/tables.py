"""The ledger's tables, and its way to write money, time and JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

MICRODOLLARS = Decimal(1_000_000)

VERSION_TABLE = "hailuo_alembic_version"


class Usd(TypeDecorator[Decimal]):
    """US dollars, kept as whole millionths: SQLite has no decimals, and sums must be exact."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Dollars to millionths."""
        return None if value is None else int((value * MICRODOLLARS).to_integral_value())

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Millionths to dollars, without trailing zeros."""
        return None if value is None else Decimal(int(value)) / MICRODOLLARS


class database_now(FunctionElement[float]):  # noqa: N801 - written like the SQL function it is
    """The database's clock, in seconds since 1970: the one clock that all workers share."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    # Not now(), which stands still while a transaction waits for a lock.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


Document = JSON(none_as_null=True)

metadata = MetaData()

generation = Table(
    "hailuo_generation",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    # How many attempts there were when one more purchase was allowed; 0 for no consent.
    Column("consented", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)

attempt = Table(
    "hailuo_attempt",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("realm", String(16), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("credentials", Text),
    Column("place", Text),
    Column("scope", Text, nullable=False),
    Column("take", Text, nullable=False),
    Column("body", Document),
    Column("body_digest", String(64), nullable=False),
    Column("labels", Document, nullable=False),
    Column("fate", String(16), nullable=False),
    Column("billed", String(8)),
    Column("owner", String(32)),
    Column("lease_until", Double, nullable=False),
    Column("intended_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("submitted_at", Double),
    Column("ended_at", Double),
    Column("request_id", Text),
    Column("ticket", Document),
    Column("completed", Document),
    Column("output", Document),
    Column("error", Document),
    Column("parked_at", Double),
    Column("parked_because", Text),
    Column("cancel_answer", String(32)),
    Column("estimated_usd", Usd),
    Column("cost_usd", Usd),
    Column("cost_basis", String(16)),
    Column("duplicate", Boolean, nullable=False),
    Column("adopted", Boolean, nullable=False),
    ForeignKeyConstraint(["key"], ["hailuo_generation.key"]),
    # One request is never given to two attempts.
    UniqueConstraint("realm", "request_id", name="hailuo_attempt_request"),
    Index("hailuo_attempt_fate", "realm", "fate"),
    Index("hailuo_attempt_body", "realm", "body_digest"),
    Index("hailuo_attempt_scope", "realm", "scope", "intended_at"),
)

file = Table(
    "hailuo_file",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("place", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("video", Document, nullable=False),
    Column("stored_at", Double, nullable=False),
    ForeignKeyConstraint(["key"], ["hailuo_generation.key"]),
)

waiter = Table(
    "hailuo_waiter",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("realm", String(16), nullable=False),
    Column("flow_run_id", String(36)),
    Column("root_flow_run_id", String(36)),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("cancelled_at", Double),
    Index("hailuo_waiter_key", "key"),
    Index("hailuo_waiter_flow_run", "flow_run_id"),
    Index("hailuo_waiter_root_flow_run", "root_flow_run_id"),
)

cancelled_run = Table(
    "hailuo_cancelled_run",
    metadata,
    Column("flow_run_id", String(36), primary_key=True),
    Column("cancelled_at", Double, nullable=False),
)

budget = Table(
    "hailuo_budget",
    metadata,
    Column("realm", String(16), primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("per_day_usd", Usd),
    Column("per_month_usd", Usd),
    Column("total_usd", Usd),
    Column("set_at", Double, nullable=False),
)

history = Table(
    # Whose request history is accounted for: by an import, or because somebody said so.
    "hailuo_history",
    metadata,
    Column("realm", String(16), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("read_at", Double, nullable=False),
)

origin = Table(
    # When this ledger began: what an account bought before, only fal's history knows.
    "hailuo_origin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", Double, nullable=False),
)
