"""The ledger's database: opened, brought up to date, and used in transactions.

A transaction is a plain function of a SQLAlchemy connection. `Database.write` and `Database.read`
run it; a method that is one transaction says so with `@writes` or `@reads`, and one that serves
many callers in one transaction with `@writes_together` or `@reads_together`.

On SQLite the statements of a transaction run on the event loop's own thread: each takes
microseconds, and handing each of them to another thread takes twenty times as long. Only what may
wait goes to a thread: to connect, to begin while another process writes, and to commit, which waits
for the disk. On PostgreSQL, SQLAlchemy lets asyncpg do the waiting.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

import anyio
import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import (
    Connection,
    Engine,
    QueuePool,
    column,
    create_engine,
    event,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.address import CURE, LedgerAddress
from prefect_hailuo.ledger.tables import VERSION_TABLE

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

BUSY_SECONDS = 60.0
"""How long a transaction waits for others before the ledger counts as out of reach."""

LOCKED_PAUSE_SECONDS = 0.05

SQLITE_CONNECTIONS = 1
"""One, so that a process never competes with itself: SQLite allows one writer."""

POSTGRESQL_CONNECTIONS = 5

LOCK_SECONDS = 50.0
"""How long PostgreSQL lets a statement wait for a lock: on a busy machine, fifty workers of one key
take half a minute one after another. Nobody holds one for long: see `IDLE_SECONDS`."""

IDLE_SECONDS = 15.0
"""After how long PostgreSQL ends a transaction whose client is silent: it may be frozen, and hold
locks that others wait for."""

DEADLOCKED = ("40P01", "40001")
"""PostgreSQL's codes for a deadlock, and for a transaction that cannot be ordered with others."""

# SQLAlchemy 2.0, which is the newest for Python 3.10, lets asyncpg's own errors through when no
# connection stands: too many connections, a server that starts up, a wrong password.
DRIVERS_OWN = (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError)

UNUSABLE = (TypeError, ValueError, OverflowError)
"""What asyncpg raises for parts of a URL that it does not know or that make no sense."""

UNREACHABLE = (SQLAlchemyError, *DRIVERS_OWN, OSError, TimeoutError)


class Database:
    """One ledger's database, for the process's loop.

    Args:
        address: Where the ledger is.

    Attributes:
        connected: How often it was connected to. Afterwards, it may be an older copy of itself.
    """

    def __init__(self, address: LedgerAddress) -> None:
        self.address = address
        self.connected = 0
        self._opened: _Opened | None = None
        self._retired: list[_Sqlite | _Postgresql] = []
        self._had_file = False
        self._opening = anyio.Lock()
        self._failures = 0
        self._failure: Exception | None = None

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction of its own: all that it writes is committed, or nothing.

        No other writer comes between its statements. It is run to its end, also where the caller
        is cancelled.

        Args:
            work: What to do with the connection; it must not wait for anything else.
            args: Its further arguments.
            kwargs: Its further arguments by name.

        Raises:
            LedgerError: The ledger cannot be reached or written.
        """
        return await self.run(lambda connection: work(connection, *args, **kwargs), writes=True)

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction that waits for no writer; see `write`.

        Raises:
            LedgerError: The ledger cannot be reached.
        """
        return await self.run(lambda connection: work(connection, *args, **kwargs), writes=False)

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._retired.append(self._opened.engine)
            self._opened = None
        await self._close_retired()

    async def _close_retired(self) -> None:
        while self._retired:
            await self._retired.pop().close()

    async def run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Run a function in a transaction: see `write` and `read`."""
        try:
            # To its end, also where the caller is cancelled: an interrupted roll-back would leave
            # the database locked.
            with anyio.CancelScope(shield=True):
                opened = await self._open()

                def checked(connection: Connection) -> T:
                    self._check_file(opened)
                    return work(connection)

                async with opened.turns.turn():
                    result = await opened.engine.run(checked, writes=writes)
        except IntegrityError:
            raise  # the tables' own guard: the caller knows what it means
        except UNREACHABLE as error:
            raise self._unreachable(error) from error
        return result

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
            await self._close_retired()
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
        url = make_url(self.address.url.get_secret_value())
        own = self.address.has_own_folder
        engine = _Postgresql(url) if file is None else _Sqlite(file, url, own)
        event.listen(engine.sync_engine, "connect", self._count)
        try:
            await self._bring_up_to_date(engine)
        except UNUSABLE as error:
            await engine.close()
            raise self._unusable(error) from None
        except BaseException:
            await engine.close()
            raise
        self._had_file = file is not None
        places = SQLITE_CONNECTIONS if file else POSTGRESQL_CONNECTIONS
        return _Opened(engine, Turns(places, BUSY_SECONDS), _identity(file))

    def _count(self, *_: object) -> None:
        self.connected += 1

    async def _bring_up_to_date(self, engine: _Sqlite | _Postgresql) -> None:
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

    def _unusable(self, error: Exception) -> LedgerError:
        # Not its words: they may show the password.
        return LedgerError(
            f"The ledger's URL, {self.address.name}, cannot be used ({type(error).__name__}).",
            cure=f"Check its host, its port, and what follows a question mark. {CURE} Nothing was "
            "bought.",
        )

    def _unreachable(self, error: Exception) -> LedgerError:
        seen = getattr(error, "orig", None) or error
        return LedgerError(
            f"The ledger at {self.address.name} cannot be used ({type(seen).__name__}: {seen})."
        )


class _Opened(NamedTuple):
    """A database that is open.

    Args:
        engine: Runs the transactions.
        turns: Lets as many in at once as there are connections.
        file: Which file it writes to, on SQLite.
    """

    engine: _Sqlite | _Postgresql
    turns: Turns
    file: tuple[int, int] | None


class _Sqlite:
    """A file of SQLite's, with one connection.

    Args:
        file: The file; it is made if it is not there.
        url: Its URL.
        own_folder: Whether its folder is this package's own.
    """

    def __init__(self, file: Path, url: URL, own_folder: bool = False) -> None:
        # Made here, and only here: a connection that is opened anew, where the file was taken away
        # meanwhile, must not make an empty one, in which nothing was ever bought.
        _make_private(file, own_folder)
        self.sync_engine = create_engine(
            url.set(
                drivername="sqlite",
                database=file.as_uri(),
                query={**url.query, "mode": "rw", "uri": "true"},
            ),
            poolclass=QueuePool,
            pool_size=SQLITE_CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            connect_args={"check_same_thread": False},
        )
        event.listen(self.sync_engine, "connect", _prepare_sqlite)
        self._thread = _Thread()

    async def run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Run a function in a transaction."""
        with await self._connect() as connection:
            if writes:
                await self._begin_writing(connection)
            else:
                connection.exec_driver_sql("BEGIN")
            result = work(connection)
            if writes:
                await self._thread.run(connection.commit)
            else:
                connection.commit()
        return result

    async def _connect(self) -> Connection:
        pool = self.sync_engine.pool
        if isinstance(pool, QueuePool) and pool.checkedin():
            return self.sync_engine.connect()
        return await self._thread.run(self.sync_engine.connect)

    async def _begin_writing(self, connection: Connection) -> None:
        # With a plain BEGIN two claims read the same state, and one of them fails as "locked",
        # which no timeout prevents.
        try:
            _begin_writing(connection, 0)
        except OperationalError:
            # Somebody else writes, which the thread waits for; or it raises what else is wrong.
            await self._thread.run(lambda: _begin_writing(connection, BUSY_SECONDS))

    async def close(self) -> None:
        """Close the connection."""
        await self._thread.run(self.sync_engine.dispose)


def _make_private(file: Path, own_folder: bool) -> None:
    """Make a ledger's file, and its folder, for this user alone: it names prompts and requests.

    SQLite makes its other files with the same mode. A file that is there already is closed to those
    who may only read it, unless somebody lets others write into it, which is no accident.
    """
    file.parent.parent.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    is_new = not file.exists()
    file.touch(mode=0o600)
    with suppress(OSError):  # they may be another user's
        if is_new and own_folder:  # made before, with the videos' folder in it
            file.parent.chmod(0o700)
        for each in (file, *(file.with_name(f"{file.name}-{kind}") for kind in ("wal", "shm"))):
            if each.exists() and stat.S_IMODE(each.stat().st_mode) & 0o066 in (0o044, 0o040, 0o004):
                each.chmod(0o600)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own transactions begin too late: see `_Sqlite.run`.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "journal_mode = WAL",
        # An intent must survive a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_writing(connection: Connection, busy_seconds: float) -> None:
    _wait_for_others(connection, busy_seconds)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        _wait_for_others(connection, BUSY_SECONDS)


def _wait_for_others(connection: Connection, seconds: float) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


class _Thread:
    """A thread that does one thing after another, as long as this object exists.

    It is a daemon thread of our own: a pool's threads take no more work once the interpreter
    begins to exit, and a ticket may still have to be written down then.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        name = "prefect-hailuo-ledger"
        threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True).start()
        # Not at exit: what is on its way is written down to the end.
        weakref.finalize(self, self._calls.put, None).atexit = False

    async def run(self, call: Callable[[], T]) -> T:
        """Do something there, and wait for its end, even if the caller is cancelled."""
        future: Future[T] = Future()
        self._calls.put(lambda: _settle(future, call))
        ended = asyncio.wrap_future(future)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            ended.exception()  # seen: else asyncio complains
            raise cancelled
        return ended.result()


def _work(calls: SimpleQueue[Callable[[], object] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # it may hold what ends this thread


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


class _Postgresql:
    """A PostgreSQL database.

    Args:
        url: Its URL.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(
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
        event.listen(self.sync_engine, "connect", _prepare_postgresql)

    @property
    def sync_engine(self) -> Engine:
        """The engine that events are listened to on."""
        return self._engine.sync_engine

    async def run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Run a function in a transaction."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


def _prepare_postgresql(connection: Any, _: object) -> None:
    # Not among the connection's parameters, which a pooler in between may refuse.
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {int(LOCK_SECONDS * 1000)}")
    cursor.execute(f"SET idle_in_transaction_session_timeout = {int(IDLE_SECONDS * 1000)}")
    # Where the server's default is off, a crash would forget the intent of a POST that was sent.
    cursor.execute("SET synchronous_commit = on")
    cursor.close()
    connection.commit()


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None if there is no file."""
    try:
        found = file.stat() if file is not None else None
    except FileNotFoundError:
        return None
    return found and (found.st_dev, found.st_ino)


class Turns:
    """Lets a number of callers in at once, and the others wait.

    A connection pool's own timeout is too short for thousands of waiting callers: here, all wait
    for as long as others are served.

    Args:
        places: How many may be in.
        patience_seconds: After how long without anybody being served the waiting callers give up.
    """

    def __init__(self, places: int, patience_seconds: float) -> None:
        self._places = anyio.Semaphore(places, fast_acquire=True)
        self._patience_seconds = patience_seconds
        self._served_at = anyio.current_time()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, once it is the caller's.

        Raises:
            TimeoutError: Nobody was served for too long.
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


MIGRATIONS = Path(__file__).parent / "migrations"

REVISIONS = ("0001", "0002")
"""Every revision that this release knows, the newest last."""

ADVISORY_LOCK = 0x4841494C554F
"""PostgreSQL's advisory lock for migrations: a name in ASCII."""

PAUSE_SECONDS = 0.01
"""Between two looks whether another migration of this process is over."""


async def bring_up_to_date(engine: _Sqlite | _Postgresql, name: str) -> None:
    """Make or extend the ledger's tables, if that is needed.

    It happens in one transaction that only one worker can be in: a second one finds it done. The
    version is kept in a table of the ledger's own, so that the ledger may live in a database with
    others, also in Prefect's.

    Args:
        engine: The ledger's.
        name: The ledger's address, for people.

    Raises:
        LedgerError: The ledger is of a newer release.
    """
    if await engine.run(lambda each: _version(each, name), writes=False) == REVISIONS[-1]:
        return
    async with _alone():
        await engine.run(lambda each: _upgrade(each, name), writes=True)


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
    """In a forked child: the thread that held it is not here."""
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
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
    if _version(connection, name) == REVISIONS[-1]:
        return
    # Loading Alembic takes a while, and is seldom needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


class Answers(list[Answer | Exception]):
    """The answers of callers that are served together: an answer or an error for each."""


class Part:
    """A part of the ledger, whose methods are transactions on its database.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups: dict[object, Group[Any, Any]] = {}


PartT = TypeVar("PartT", bound=Part)

Work = Callable[Concatenate[PartT, Connection, P], T]
Method = Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]]


def writes(work: Work[PartT, P, T]) -> Method[PartT, P, T]:
    """Let a method be a transaction: it gets the connection, and its callers await it."""
    return _transaction(work, writes=True)


def reads(work: Work[PartT, P, T]) -> Method[PartT, P, T]:
    """The same for a method that changes nothing."""
    return _transaction(work, writes=False)


def _transaction(work: Work[PartT, P, T], *, writes: bool) -> Method[PartT, P, T]:
    @wraps(work)
    async def method(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = self._database.run
        return await run(lambda each: work(self, each, *args, **kwargs), writes=writes)

    return method


Together = Callable[[PartT, Connection, Sequence[Item]], Answers[Answer]]
One = Callable[[PartT, Item], Coroutine[Any, Any, Answer]]


def writes_together(work: Together[PartT, Item, Answer]) -> One[PartT, Item, Answer]:
    """Let a method serve all who call it at once in one transaction.

    The method gets the items of all callers. Each caller passes one item, and awaits one answer.
    """
    return _together(work, writes=True)


def reads_together(work: Together[PartT, Item, Answer]) -> One[PartT, Item, Answer]:
    """The same for a method that changes nothing."""
    return _together(work, writes=False)


def _together(work: Together[PartT, Item, Answer], *, writes: bool) -> One[PartT, Item, Answer]:
    @wraps(work)
    async def method(self: PartT, item: Item, /) -> Answer:
        if work not in self._groups:
            run = self._database.run
            self._groups[work] = Group(
                lambda items: run(lambda each: work(self, each, items), writes=writes)
            )
        group: Group[Item, Answer] = self._groups[work]
        return await group(item)

    return method


Serve = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]
"""Does something for all of some items, in one transaction: an answer or an error for each. What it
raises means that nothing was done: a LedgerError is for all of them, and any other may be one's."""

MOST = 250
"""How many are served at once: while these wait for a lock, the next ones wait for them."""

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

    While one group is served, the next one gathers: nobody waits for a timer, and a single caller
    is served at once. A caller that is cancelled meanwhile does not affect the others.

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
            # A task of its own, so that a cancelled caller does not interrupt the others'
            # transaction.
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
        except LedgerError as error:
            for call in calls:
                call.end(_own(error) if len(calls) > 1 else error)
        except Exception as error:  # of one's row: the others are not to suffer for it
            if len(calls) == 1:
                return calls[0].end(error)
            for call in calls:
                await self._serve_group([call])
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


def _own(error: LedgerError) -> LedgerError:
    """A caller's own copy of an error: callers add to it what they know."""
    own = copy(error)
    own.__cause__ = error
    return own


def was_deadlocked(error: LedgerError) -> bool:
    """Whether PostgreSQL ended a transaction because it and others waited for each other."""
    seen = getattr(error.__cause__, "orig", None)
    return getattr(seen, "sqlstate", None) in DEADLOCKED
