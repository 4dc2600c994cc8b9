"""One ledger, with all that can be asked of it.

The ledgers that a process has open: one engine each, shared by all that run on its loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from sqlalchemy import false, update

from prefect_hailuo.clock import Clock
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.beginning import Beginnings
from prefect_hailuo.ledger.budgets import Budgets, Spending
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.records import Files, Records, Told
from prefect_hailuo.ledger.search import Reconciling
from prefect_hailuo.ledger.tables import attempt
from prefect_hailuo.ledger.upkeep.exchange import Exchange, Pruning
from prefect_hailuo.ledger.upkeep.reading import Reading, Unfinished
from prefect_hailuo.ledger.upkeep.rebuild import Rebuilding
from prefect_hailuo.ledger.waiters import Waiters


class Ledger:
    """A ledger; it is connected, and its tables made, when it is first used.

    Args:
        address: Where it is.

    Attributes:
        claims: Decides whether anything is bought.
        records: Writes down what became of it.
        files: Knows where the videos are.
        waiters: Knows who waits.
        told: Hears of what fal's calls told.
        unfinished: Finds what was begun and not ended.
        budgets: Knows what may be spent.
        beginnings: Knows what this ledger cannot know.
        reading: Answers people's questions.
        spending: Adds up what was spent.
        exchange: Writes all of it out, and takes it in again.
        rebuilding: Writes it anew from fal's history.
        pruning: Drops what can matter no more.
    """

    def __init__(self, address: LedgerAddress) -> None:
        self.address = address
        self.database = Database(address)
        self.claims = Claims(self.database)
        self.records = Records(self.database)
        self.files = Files(self.database)
        self.waiters = Waiters(self.database)
        self.told = Told(self.database)
        self.unfinished = Unfinished(self.database)
        self.budgets = Budgets(self.database)
        self.beginnings = Beginnings(self.database)
        self.reading = Reading(self.database)
        self.spending = Spending(self.database)
        self.exchange = Exchange(self.database)
        self.rebuilding = Rebuilding(self.database)
        self.pruning = Pruning(self.database)

    async def try_out(self) -> None:
        """Make sure that it can be written to; it changes nothing.

        Raises:
            LedgerError: It cannot.
        """
        nothing = update(attempt).where(false()).values(fate=attempt.c.fate)
        await self.database.write(lambda connection: connection.execute(nothing))

    def reconciling(self, platform: PlatformClient, clock: Clock) -> Reconciling:
        """What looks for lost requests of this ledger's in an account's history.

        Args:
            platform: The account's history.
            clock: What waiting is measured with.
        """
        return Reconciling(self.database, platform, clock)

    async def close(self) -> None:
        """Close its connections."""
        await self.database.close()


RENEWAL_SECONDS = 30.0
"""How often the leases of those who wait are prolonged; a quarter of a lease."""


class Ledgers:
    """Opens each ledger once."""

    def __init__(self) -> None:
        self._open: dict[LedgerAddress, Ledger] = {}

    def at(self, address: LedgerAddress) -> Ledger:
        """The ledger at an address; it is connected when it is first used."""
        if address not in self._open:
            self._open[address] = Ledger(address)
        return self._open[address]

    async def close(self) -> None:
        """Close those that are open; whoever wants one again opens it anew."""
        while self._open:
            _, ledger = self._open.popitem()
            await ledger.close()

    async def keep_leases(self) -> None:
        """Prolong the leases of this process's waiters, for ever."""
        while True:
            await anyio.sleep(RENEWAL_SECONDS)
            for ledger in list(self._open.values()):
                # The next time is soon enough; and what went wrong here would end the loop, with
                # every job on it.
                with suppress(Exception):
                    await ledger.waiters.renew()


@asynccontextmanager
async def open_ledgers() -> AsyncIterator[Ledgers]:
    """The ledgers of a process; they are closed at the end."""
    ledgers = Ledgers()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledgers.keep_leases)
        try:
            yield ledgers
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await ledgers.close()
