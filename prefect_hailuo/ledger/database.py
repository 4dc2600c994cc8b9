"""The ledger's database: opened, brought up to date, and closed to whoever cannot write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.inline import BEGIN_READING, BEGIN_WRITING, IN_ANY_THREAD, run_inline
from prefect_hailuo.ledger.migrating import bring_up_to_date
from prefect_hailuo.ledger.turns import Turns

BUSY_SECONDS = 60.0
"""How long a transaction waits for others before the ledger counts as out of reach."""

LOCKED_PAUSE_SECONDS = 0.05

SQLITE_CONNECTIONS = 1
POSTGRESQL_CONNECTIONS = 5

LOCK_SECONDS = 50.0
"""How long PostgreSQL lets a statement wait for a lock: on a busy machine, fifty workers of one key
take half a minute one after another. Nobody holds one for long: see `IDLE_SECONDS`."""

IDLE_SECONDS = 15.0
"""After how long PostgreSQL ends a transaction whose client says nothing: it may be frozen, and
those who wait for its locks then go on."""

DEADLOCKED = ("40P01", "40001")
"""What PostgreSQL calls a deadlock, and what could not be put in one order with others."""

# SQLAlchemy 2.0, which is the newest for Python 3.10, lets asyncpg's own errors through when no
# connection stands: too many connections, a server that starts up, a wrong password.
DRIVERS_OWN = (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError)

UNREACHABLE = (SQLAlchemyError, *DRIVERS_OWN, OSError, TimeoutError)


class _Opened(NamedTuple):
    """An engine, whose turn it is, and which file it writes to, on SQLite."""

    engine: AsyncEngine
    turns: Turns
    file: tuple[int, int] | None


class Database:
    """One ledger's engine, for the process's loop.

    On SQLite there is one connection, so that this process never competes with itself for the
    one writer that SQLite allows.

    Args:
        address: Where the ledger is.
    """

    def __init__(self, address: LedgerAddress) -> None:
        self.address = address
        self._opened: _Opened | None = None
        self._retired: list[AsyncEngine] = []
        self._had_file = False
        self._opening = anyio.Lock()
        self._failures = 0
        self._failure: Exception | None = None

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that nobody else's can come between: it is committed, or nothing of it.

        Raises:
            LedgerError: The ledger cannot be reached or written.
        """
        async with self._transaction({}) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that waits for no writer.

        Raises:
            LedgerError: The ledger cannot be reached.
        """
        async with self._transaction({"hailuo_reads": True}) as connection:
            yield connection

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.engine.dispose()
        await self._dispose_retired()

    async def _dispose_retired(self) -> None:
        while self._retired:
            await self._retired.pop().dispose()

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            # To its end, also where the caller is cancelled: an interrupted roll-back would leave
            # the database locked.
            with anyio.CancelScope(shield=True):
                opened = await self._open()
                async with opened.turns.turn(), opened.engine.connect() as connection:
                    await connection.execution_options(**options)
                    async with connection.begin():
                        self._check_file(opened)
                        yield connection
        except IntegrityError:
            raise  # the tables' own guard: whoever asked knows what it means
        except UNREACHABLE as error:
            raise self._unreachable(error) from error

    def _check_file(self, opened: _Opened) -> None:
        """Refuse to write into a file that others no longer see: they would buy the same again.

        Raises:
            LedgerError: It was deleted, or replaced; the next use opens what is there then.
        """
        if opened.file is None or opened.file == _identity(self.address.file):
            return
        if self._opened is opened:
            self._opened = None
            self._retired.append(opened.engine)
        raise self._gone("was deleted or replaced while it was in use")

    async def _open(self) -> _Opened:
        failures = self._failures
        async with self._opening:
            await self._dispose_retired()
            if self._opened is None:
                # One attempt for all who wait for it: each may take a minute.
                if self._failure is not None and self._failures != failures:
                    raise self._failure
                try:
                    self._opened = await self._connect()
                except Exception as error:
                    self._failure, self._failures = error, self._failures + 1
                    raise
                self._failure = None
        return self._opened

    async def _connect(self) -> _Opened:
        file = self.address.file
        if self._had_file and _identity(file) is None:
            raise self._gone("is not there any more")
        engine = self._create()
        try:
            await self._bring_up_to_date(engine)
        except BaseException:
            await engine.dispose()
            raise
        self._had_file = file is not None
        places = SQLITE_CONNECTIONS if file else POSTGRESQL_CONNECTIONS
        return _Opened(engine, Turns(places, BUSY_SECONDS), _identity(file))

    async def _bring_up_to_date(self, engine: AsyncEngine) -> None:
        """Wait for others who open the same new file: SQLite's busy timeout does not cover WAL."""
        deadline = anyio.current_time() + BUSY_SECONDS
        while True:
            try:
                return await bring_up_to_date(engine, self.address.name)
            except OperationalError as error:
                if "locked" not in str(error.orig) or anyio.current_time() > deadline:
                    raise
            await anyio.sleep(LOCKED_PAUSE_SECONDS)

    def _gone(self, how: str) -> LedgerError:
        return LedgerError(
            f"The ledger at {self.address.name} {how}.",
            cure="Put it back, or the process would not know what was bought; if a new ledger is "
            "wanted, start the process anew. Nothing was bought now.",
        )

    def _create(self) -> AsyncEngine:
        url = self.address.url.get_secret_value()
        if self.address.file is None:
            engine = create_async_engine(
                url,
                pool_size=POSTGRESQL_CONNECTIONS,
                max_overflow=0,
                pool_timeout=BUSY_SECONDS,
                pool_pre_ping=True,
                connect_args={"timeout": BUSY_SECONDS, "command_timeout": BUSY_SECONDS},
                # Whatever the server's default: each statement after a lock must see what was
                # committed while it was waited for, or two claims share one budget.
                isolation_level="READ COMMITTED",
            )
            event.listen(engine.sync_engine, "connect", _prepare_postgresql)
            return engine
        self.address.file.parent.mkdir(parents=True, exist_ok=True)
        # Made here, and only here: a connection that is opened anew, where the file was taken away
        # meanwhile, must not make an empty one, in which nothing was ever bought.
        self.address.file.touch()
        engine = create_async_engine(
            _of_existing(self.address.file, make_url(url)),
            pool_size=SQLITE_CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            connect_args=IN_ANY_THREAD,
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _unreachable(self, error: Exception) -> LedgerError:
        seen = getattr(error, "orig", None) or error
        return LedgerError(
            f"The ledger at {self.address.name} cannot be used ({type(seen).__name__}: {seen})."
        )


def _of_existing(file: Path, url: URL) -> URL:
    """SQLite's URL of a file that has to be there."""
    return url.set(database=file.as_uri(), query={**url.query, "mode": "rw", "uri": "true"})


def was_deadlocked(error: LedgerError) -> bool:
    """Whether PostgreSQL ended a transaction because it and others waited for each other."""
    seen = getattr(error.__cause__, "orig", None)
    return getattr(seen, "sqlstate", None) in DEADLOCKED


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        found = file.stat() if file is not None else None
    except FileNotFoundError:
        return None
    return found and (found.st_dev, found.st_ino)


def _prepare_postgresql(connection: Any, _: Any) -> None:
    # Not among the connection's parameters, which a pooler in between may refuse.
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {int(LOCK_SECONDS * 1000)}")
    cursor.execute(f"SET idle_in_transaction_session_timeout = {int(IDLE_SECONDS * 1000)}")
    cursor.close()
    connection.commit()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # The driver's own transactions begin too late: see `_begin_sqlite`.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "journal_mode = WAL",
        # An intent must survive a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    run_inline(connection.driver_connection, int(BUSY_SECONDS * 1000))


def _begin_sqlite(connection: Connection) -> None:
    # With a plain BEGIN two claims read the same state, and one of them fails as "locked", which
    # no timeout prevents.
    reads = connection.get_execution_options().get("hailuo_reads")
    connection.exec_driver_sql(BEGIN_READING if reads else BEGIN_WRITING)
