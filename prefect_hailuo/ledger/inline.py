"""SQLite's statements run where they are asked for; only what waits is left to a thread.

aiosqlite hands each step to a thread of its own: a cursor, a statement, its rows, the cursor's end.
A transaction of a dozen statements was fifty ways to the thread and back, each through a loop that
thousands of others are on, and took twenty times as long as the statements. Within a transaction
that has begun nothing waits for anybody: a statement takes microseconds. What may wait is to
begin, for other processes that write, and to commit, for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

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
