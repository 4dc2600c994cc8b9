"""The ledger that the random walk goes over: the real one, in a file that need not last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from databases import address_of
from sqlalchemy import event

from prefect_hailuo.ledger.budgets import Budgets
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.ledger.database import Database, _Opened
from prefect_hailuo.ledger.records import Records
from prefect_hailuo.ledger.search import Reconciling
from prefect_hailuo.ledger.waiters import Waiters


class Hurried(Database):
    """A database that waits for no disk: nobody cuts the power in a walk, and it goes far."""

    async def _connect(self) -> _Opened:
        opened = await super()._connect()
        event.listen(opened.engine.sync_engine, "connect", _hurry)
        opened.engine.sync_engine.dispose()  # the next connection hurries
        return opened


def _hurry(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")


@dataclass(frozen=True)
class Rooms:
    """The parts of a ledger that a walk goes through."""

    database: Database
    claims: Claims
    records: Records
    waiters: Waiters
    budgets: Budgets
    search: type[Reconciling]

    @property
    def file(self) -> str:
        """SQLite's file."""
        return str(self.database.address.file)


@asynccontextmanager
async def walked_ledger(
    url: str,
    claims: type[Claims] = Claims,
    records: type[Records] = Records,
    search: type[Reconciling] = Reconciling,
) -> AsyncIterator[Rooms]:
    """A ledger in an SQLite file.

    Args:
        url: Where it is.
        claims: Decides whether anything is bought.
        records: Writes down what became of it.
        search: Looks for lost requests.
    """
    database = Hurried(address_of(url))
    rooms = (claims(database), records(database), Waiters(database), Budgets(database))
    try:
        yield Rooms(database, *rooms, search)
    finally:
        await database.close()
