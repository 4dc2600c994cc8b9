"""What a bare loop writes down: nothing, or what a purchase must not be without.

`Journal` is the least that keeps this package's promise through a power cut: five states of each
request in SQLite, each on the disk before the next step, and file and record on the disk before the
last one. It decides nothing: there are no claims, leases, budgets or waiters, and no way back from
any error.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

Row = tuple[str, str, str]

THREADS = 32


class Keeper(Protocol):
    """Keeps what there is to know of requests, and their videos."""

    async def note(self, key: str, state: str, what: str) -> None:
        """Write down how a request stands."""

    async def keep(self, key: str, content: bytes, record: str) -> None:
        """Keep a video, and what is known of it."""


class Forgetful:
    """Writes down nothing, and leaves the files to the operating system.

    Args:
        folder: Where the videos go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def note(self, key: str, state: str, what: str) -> None:
        """Do nothing."""

    async def keep(self, key: str, content: bytes, record: str) -> None:
        """Write the video into a file."""
        (self._folder / _name(key)).write_bytes(content)


class Journal:
    """Writes down everything before it goes on; what comes at once, in one transaction.

    Args:
        folder: Where all of it goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1)
        self._disk = ThreadPoolExecutor(THREADS)
        self._ledger = sqlite3.connect(
            folder / "ledger.db", isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._ledger.execute(f"PRAGMA {pragma}")
        self._ledger.execute(
            "CREATE TABLE IF NOT EXISTS attempt (key TEXT PRIMARY KEY, state TEXT, what TEXT)"
        )
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def note(self, key: str, state: str, what: str) -> None:
        """Write down how a request stands, with all others who want that in this moment."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(((key, state, what), done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await done

    async def keep(self, key: str, content: bytes, record: str) -> None:
        """Put record and video on the disk, and their names."""
        await asyncio.get_running_loop().run_in_executor(
            self._disk, self._keep, _name(key), content, record.encode()
        )

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            await loop.run_in_executor(self._writer, self._write, [row for row, _ in group])
            for _, done in group:
                done.set_result(None)
        self._writing = None

    def _write(self, rows: Sequence[Row]) -> None:
        self._ledger.execute("BEGIN IMMEDIATE")
        self._ledger.executemany("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?)", rows)
        self._ledger.execute("COMMIT")

    def _keep(self, name: str, content: bytes, record: bytes) -> None:
        for file, whole in ((f"{name}.json", record), (name, content)):
            draft = self._folder / f"{file}.part"
            with draft.open("wb", buffering=0) as made:
                made.write(whole)
                os.fsync(made.fileno())
            draft.replace(self._folder / file)
        names = os.open(self._folder, os.O_RDONLY)
        os.fsync(names)
        os.close(names)


def _name(key: str) -> str:
    return f"{key.replace('/', '-')}.mp4"
