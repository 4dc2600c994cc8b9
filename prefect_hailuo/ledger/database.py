"""The ledger's database: opened, brought up to date, and closed to whoever cannot write to it.

SQLite's statements run where they are asked for; only what waits is left to a thread.

aiosqlite hands each step to a thread of its own: a cursor, a statement, its rows, the cursor's end.
A transaction of a dozen statements was fifty ways to the thread and back, each through a loop that
thousands of others are on, and took twenty times as long as the statements. Within a transaction
that has begun nothing waits for anybody: a statement takes microseconds. What may wait is to
begin, for other processes that write, and to commit, for the disk.

Bringing a ledger's tables up to date, safely when many workers start at once.

A few connections for many who want one: first come, first served.

Many calls at once, served together: one transaction for all who came while another one ran.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import column, event, inspect, select, table, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.tables import VERSION_TABLE

IN_ANY_THREAD = {"check_same_thread": False}
"""What to tell sqlite3 when it connects."""


def run_inline(driver: Any, busy_milliseconds: int) -> None:
    """Let a connection of aiosqlite's run in place what waits for nobody.

    Args:
        driver: The connection, opened with `IN_ANY_THREAD`, and used by one task at a time.
        busy_milliseconds: How long it waits for other processes.
    """
    # Private, and the one place that all of a connection's and its cursors' calls go through; a
    # release of aiosqlite that has none such stays as it is, and is only slower.
    in_its_thread = getattr(driver, "_execute", None)
    connection = getattr(driver, "_connection", None)
    if in_its_thread is not None and isinstance(connection, sqlite3.Connection):
        driver._execute = _Inline(connection, in_its_thread, busy_milliseconds)


class _Inline:
    """A connection's calls, in place or in its thread."""

    def __init__(
        self, connection: sqlite3.Connection, in_its_thread: Any, busy_milliseconds: int
    ) -> None:
        self._connection = connection
        self._in_its_thread = in_its_thread
        self._busy_milliseconds = busy_milliseconds
        self._writes = False

    async def __call__(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        name = getattr(call, "__name__", "")
        if getattr(call, "__self__", None) is self._connection:
            waits = not (name == "cursor" or (name in ENDING and self._ends_at_once()))
        elif name in EXECUTING and not self._connection.in_transaction:
            waits = not self._begins_at_once(call, *arguments)
            if not waits:
                return None
        else:
            waits = name not in (*READING, *EXECUTING)
        if waits:
            return await self._in_its_thread(call, *arguments, **options)
        return call(*arguments, **options)

    def _ends_at_once(self) -> bool:
        """Whether there is nothing that the disk must have before this is over."""
        return not (self._writes and self._connection.in_transaction)

    def _begins_at_once(self, call: Callable[..., Any], *arguments: Any) -> bool:
        """Begin a transaction, if nobody is in the way."""
        if arguments[0] not in BEGINNING:
            return False
        self._writes = arguments[0] == BEGIN_WRITING
        self._wait_for_others(0)
        try:
            call(*arguments)
        except sqlite3.OperationalError:
            return False  # its thread waits for them, and tells what else may be wrong
        finally:
            self._wait_for_others(self._busy_milliseconds)
        return True

    def _wait_for_others(self, milliseconds: int) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")


BEGIN_READING = "BEGIN"
BEGIN_WRITING = "BEGIN IMMEDIATE"
BEGINNING = (BEGIN_READING, BEGIN_WRITING)
ENDING = ("commit", "rollback")
READING = ("fetchone", "fetchmany", "fetchall", "close")
EXECUTING = ("execute", "executemany")


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


class Turns:
    """Lets so many in at once.

    A connection pool's own patience is too short for thousands who wait in line, and each of whom
    is served soon: here, whoever waits does so for as long as others come through.

    Args:
        places: How many may be in.
        patience_seconds: How long nobody comes through before those who wait give up.
    """

    def __init__(self, places: int, patience_seconds: float) -> None:
        self._places = anyio.Semaphore(places, fast_acquire=True)
        self._patience_seconds = patience_seconds
        self._served_at = anyio.current_time()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, once it is the caller's.

        Raises:
            TimeoutError: Nobody came through for too long.
        """
        await self._wait()
        try:
            yield
            self._served_at = anyio.current_time()
        finally:
            self._places.release()

    async def _wait(self) -> None:
        while True:
            since = anyio.current_time()
            with anyio.move_on_after(self._patience_seconds):
                return await self._places.acquire()
            if self._served_at < since:
                raise TimeoutError("it is too busy")


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


Item = TypeVar("Item")
Answer = TypeVar("Answer")

Serve = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]
"""Does something for all of some items, in one transaction: an answer or an error for each. What it
raises is for all of them, and means that nothing was done."""

MOST = 250
"""How many are served at once: who waits for a lock makes so many others wait."""

TRIES = 3
"""How often a group is tried that others locked out, or that a row which just came in stopped."""


@dataclass
class _Call(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]

    def end(self, answer: Answer | Exception) -> None:
        """Give the caller its answer, if it still waits."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Group(Generic[Item, Answer]):
    """Serves calls together that come at once.

    While one group is served, the next one gathers: nobody waits for a timer, and who comes alone
    is served at once. A caller that is cancelled meanwhile takes nothing from the others.

    Args:
        serve: Serves a group; items that are alike may be in one.
        most: How many are served at once.

    Example:
        >>> async def double(numbers):
        ...     return [2 * number for number in numbers]
        >>> async def main():
        ...     doubled = Group(double)
        ...     return await asyncio.gather(doubled(1), doubled(2))
        >>> asyncio.run(main())
        [2, 4]
    """

    def __init__(self, serve: Serve[Item, Answer], most: int = MOST) -> None:
        self._serve = serve
        self._most = most
        self._waiting: deque[_Call[Item, Answer]] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Have an item served, to the end: also where the caller is cancelled."""
        call: _Call[Item, Answer] = _Call(item, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._serving is None:
            # A task of its own: whoever is cancelled does not interrupt the others' transaction.
            self._serving = asyncio.create_task(self._serve_all())
        with anyio.CancelScope(shield=True):
            await call.answer
        return call.answer.result()

    async def _serve_all(self) -> None:
        calls: list[_Call[Item, Answer]] = []
        try:
            while self._waiting:
                count = min(self._most, len(self._waiting))
                calls = [self._waiting.popleft() for _ in range(count)]
                await self._serve_group([call for call in calls if not call.answer.done()])
        finally:
            self._serving = None
            # None are left, but where the loop ends in the middle of it.
            for call in (*calls, *self._waiting):
                call.answer.cancel()
            self._waiting.clear()

    async def _serve_group(self, calls: Sequence[_Call[Item, Answer]]) -> None:
        try:
            answers = await self._try([call.item for call in calls])
        except IntegrityError as error:
            if len(calls) == 1:
                return calls[0].end(error)
            for call in calls:
                await self._serve_group([call])
        except Exception as error:
            for call in calls:
                call.end(_own(error) if len(calls) > 1 else error)
        else:
            for call, answer in zip(calls, answers, strict=True):
                call.end(answer)

    async def _try(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        for _ in range(TRIES - 1):
            try:
                return await self._serve(items)
            except IntegrityError:
                if len(items) > 1:
                    raise
            except LedgerError as error:
                if not was_deadlocked(error):
                    raise
        return await self._serve(items)


def _own(error: Exception) -> Exception:
    """A caller's own copy of an error: callers add to it what they know."""
    own = copy(error)
    own.__cause__ = error
    return own
