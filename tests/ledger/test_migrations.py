"""The ledger's tables: made and extended by themselves, once, beside whatever else is there."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from children import run_python
from databases import SQLITE_FIRST, address_of, run_sql
from ledger_ground import decided, ledger_at, purchase
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.engine import Connection, make_url

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.database import MIGRATIONS, REVISIONS
from prefect_hailuo.ledger.tables import VERSION_TABLE, metadata

PROCESSES = 20

MANY_PROCESSES = """
    import asyncio, os, sys, traceback
    import alembic.command, alembic.config
    import sqlalchemy.dialects.postgresql.asyncpg, sqlalchemy.dialects.sqlite.pysqlite
    from pydantic import SecretStr
    from prefect_hailuo.ledger.address import LedgerAddress
    from prefect_hailuo.ledger.ledger import Ledger
    from prefect_hailuo.ledger.attempt import Limits

    url, processes = sys.argv[1], int(sys.argv[2])

    async def work(number):
        ledger = Ledger(LedgerAddress(SecretStr(url), "fal"))
        await ledger.budgets.put("fal", f"scope {number}", Limits(total_usd=1))
        await ledger.close()

    def be_a_worker(number):
        try:
            asyncio.run(work(number))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    children = []
    for number in range(processes):
        child = os.fork()
        if not child:
            be_a_worker(number)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""

PREFECTS_OWN = """
    import anyio
    from prefect.server.database.alembic_commands import alembic_downgrade, alembic_upgrade
    from prefect.utilities.asyncutils import run_sync_in_worker_thread

    async def migrate():
        await run_sync_in_worker_thread(alembic_downgrade, "-2")
        await run_sync_in_worker_thread(alembic_upgrade)

    anyio.run(migrate)
"""


async def test_the_tables_are_what_the_code_thinks(each_ledger: str) -> None:
    """What the migrations make differs in nothing from what is declared in `tables`."""
    async with ledger_at(each_ledger) as ledger:
        assert await ledger.database.read(_differences) == []


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
    found: list[object] = compare_metadata(
        MigrationContext.configure(connection, opts=options), metadata
    )
    return found


def test_every_migration_is_known_in_its_order() -> None:
    """A release knows the revisions that it carries, and no others."""
    carried = sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("0*.py"))
    assert tuple(carried) == REVISIONS


async def test_the_version_is_in_a_table_of_its_own(each_ledger: str) -> None:
    """Whoever else uses Alembic in this database is not disturbed."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.claims.latest("any")
    assert run_sql(each_ledger, f"SELECT * FROM {VERSION_TABLE}") == [  # noqa: S608
        {"version_num": REVISIONS[-1]}
    ]
    assert all(name.startswith("hailuo_") for name in [*metadata.tables, VERSION_TABLE])


@SQLITE_FIRST
def test_many_processes_begin_at_once(each_ledger: str) -> None:
    """Twenty workers on an empty database: one makes the tables, and all of them work."""
    url = address_of(each_ledger).url.get_secret_value()
    if (file := address_of(each_ledger).file) is not None:
        file.parent.mkdir(parents=True)
    done = run_python(MANY_PROCESSES, url, PROCESSES)
    assert (done.code, done.stderr) == (0, "")
    assert len(run_sql(each_ledger, "SELECT scope FROM hailuo_budget")) == PROCESSES
    assert len(run_sql(each_ledger, "SELECT * FROM hailuo_origin")) == 1


async def test_two_ledgers_begin_at_once_in_one_process(
    tmp_path: Path, postgresql_url: str
) -> None:
    """Each gets its own tables: Alembic keeps the one that it works on in a global variable."""
    urls = [f"sqlite:///{tmp_path / str(number)}.db" for number in range(3)]
    urls.append(postgresql_url)

    async def begin(url: str) -> str:
        async with ledger_at(url) as ledger:
            return await decided(ledger, purchase())

    assert await asyncio.gather(*(begin(url) for url in urls)) == ["Buy"] * 4


async def test_a_newer_ledger_is_refused(each_ledger: str) -> None:
    """Its rules are not known here: nothing is bought, and the error says what to upgrade."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.claims.latest("any")
    run_sql(each_ledger, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608
    async with ledger_at(each_ledger) as ledger:
        with pytest.raises(LedgerError, match="newer release") as caught:
            await ledger.claims.claim(purchase())
        assert "pip install -U prefect-hailuo" in caught.value.cure
    assert run_sql(each_ledger, "SELECT * FROM hailuo_attempt") == []


async def test_what_is_there_survives_a_second_beginning(each_ledger: str) -> None:
    """Opened again, it is the same ledger, which began when it began."""
    origins = []
    for decision in ("Buy", "Wait"):
        async with ledger_at(each_ledger) as ledger:
            assert await decided(ledger, purchase()) == decision
        origins.append(run_sql(each_ledger, "SELECT began_at FROM hailuo_origin"))
    assert origins[0] == origins[1]


async def test_it_lives_in_prefects_own_database(prefect_server: None, tmp_path: Path) -> None:
    """In a copy of the server's: Prefect's migrations go down and up again, and disturb nothing."""
    prefects = make_url(str(PREFECT_API_DATABASE_CONNECTION_URL.value())).database
    copy = tmp_path / "prefect.db"
    with closing(sqlite3.connect(str(prefects))) as here, closing(sqlite3.connect(copy)) as there:
        here.backup(there)
    async with ledger_at(f"sqlite:///{copy}") as ledger:
        assert await decided(ledger, purchase()) == "Buy"
    before = _tables(copy)
    assert {"flow_run", "alembic_version", "hailuo_attempt", VERSION_TABLE} <= before
    setting = f"os.environ['PREFECT_API_DATABASE_CONNECTION_URL'] = 'sqlite+aiosqlite:///{copy}'"
    done = run_python(PREFECTS_OWN, before=f"import os\n{setting}\n")
    assert done.code == 0, done.stderr
    assert _tables(copy) == before
    async with ledger_at(f"sqlite:///{copy}") as ledger:
        assert await decided(ledger, purchase()) == "Wait"


def _tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in found}
