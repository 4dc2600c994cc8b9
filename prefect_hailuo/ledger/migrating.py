"""Bringing a ledger's tables up to date, safely when many workers start at once."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from sqlalchemy import column, inspect, select, table, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.tables import VERSION_TABLE

MIGRATIONS = Path(__file__).parent / "migrations"

REVISIONS = ("0001",)
"""Every revision that this release knows, the newest last."""

ADVISORY_LOCK = 0x4841494C554F
"""PostgreSQL's lock for those who migrate: the name, in ASCII."""

PAUSE_SECONDS = 0.01
"""Between two looks whether another migration of this process is over."""


async def bring_up_to_date(engine: AsyncEngine, name: str) -> None:
    """Make or extend the ledger's tables, if that is needed.

    It happens in one transaction which only one worker can be in: whoever comes second finds it
    done. The version is kept in a table of the ledger's own, so that it may live in a database
    with others, also in Prefect's.

    Raises:
        LedgerError: The ledger is of a newer release.
    """
    async with engine.connect() as connection:
        await connection.execution_options(hailuo_reads=True)
        if await connection.run_sync(_version, name) == REVISIONS[-1]:
            return
    async with _alone(), engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        await connection.run_sync(_upgrade, name)


_migrating = threading.Lock()


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """One migration at a time in a process: Alembic keeps in global variables what it works on."""
    mine = _migrating
    while not mine.acquire(blocking=False):  # noqa: ASYNC110 - it may be another thread's loop
        await anyio.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        mine.release()


def _forget_parents_lock() -> None:
    """In a forked child: whoever held it is not here."""
    global _migrating
    _migrating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_lock)


def _version(connection: Connection, name: str) -> str | None:
    """The revision that the tables are of; None where there are none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(
        select(column("version_num")).select_from(table(VERSION_TABLE))
    ).scalar()
    if version is not None and version not in REVISIONS:
        raise LedgerError(
            f"The ledger at {name} is of a newer release (its revision is {version}; this one "
            f"knows {REVISIONS[-1]}).",
            cure="Upgrade prefect-hailuo here: pip install -U prefect-hailuo. Nothing was bought.",
        )
    return None if version is None else str(version)


def _upgrade(connection: Connection, name: str) -> None:
    if _version(connection, name) == REVISIONS[-1]:
        return
    # Loading Alembic takes a while, and is seldom needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
