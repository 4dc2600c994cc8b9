"""One ledger with all its parts, and the ledgers that a process has open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import false, update

from prefect_hailuo.clock import Clock
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.beginning import Beginnings
from prefect_hailuo.ledger.budgets import Budgets, Spending
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.records import Completions, Files, Records
from prefect_hailuo.ledger.search import Reconciling
from prefect_hailuo.ledger.tables import attempt
from prefect_hailuo.ledger.waiters import Waiters

if TYPE_CHECKING:
    from prefect_hailuo.ledger.upkeep.exchange import Exchange
    from prefect_hailuo.ledger.upkeep.pruning import Pruning
    from prefect_hailuo.ledger.upkeep.reading import Reading, Unfinished
    from prefect_hailuo.ledger.upkeep.rebuild import Rebuilding


class Ledger:
    """A ledger. It is connected, and its tables are made, when it is first used.

    Args:
        address: Where it is.

    Attributes:
        claims: Decides what is to be bought.
        records: Records what became of each attempt.
        files: Knows where the videos are stored.
        waiters: Knows which calls wait for which key.
        completions: Waits for requests that another process records as completed.
        budgets: What scopes may spend.
        spending: Adds up what was spent.
        beginnings: Looks for purchases from before the ledger began.
    """

    def __init__(self, address: LedgerAddress) -> None:
        self.address = address
        self.database = Database(address)
        self.claims = Claims(self.database)
        self.records = Records(self.database)
        self.files = Files(self.database)
        self.waiters = Waiters(self.database)
        self.completions = Completions(self.database)
        self.budgets = Budgets(self.database)
        self.spending = Spending(self.database)
        self.beginnings = Beginnings(self.database)

    @cached_property
    def reading(self) -> Reading:
        """Answers people's questions."""
        from prefect_hailuo.ledger.upkeep.reading import Reading

        return Reading(self.database)

    @cached_property
    def unfinished(self) -> Unfinished:
        """Finds attempts that have not ended."""
        from prefect_hailuo.ledger.upkeep.reading import Unfinished

        return Unfinished(self.database)

    @cached_property
    def exchange(self) -> Exchange:
        """Exports the ledger, and merges an export into it."""
        from prefect_hailuo.ledger.upkeep.exchange import Exchange

        return Exchange(self.database)

    @cached_property
    def pruning(self) -> Pruning:
        """Deletes what can no longer matter."""
        from prefect_hailuo.ledger.upkeep.pruning import Pruning

        return Pruning(self.database)

    @cached_property
    def rebuilding(self) -> Rebuilding:
        """Rebuilds the ledger from fal's history."""
        from prefect_hailuo.ledger.upkeep.rebuild import Rebuilding

        return Rebuilding(self.database)

    async def try_out(self) -> None:
        """Check that the ledger can be written to; it changes nothing.

        Raises:
            LedgerError: It cannot.
        """
        nothing = update(attempt).where(false()).values(fate=attempt.c.fate)
        await self.database.write(lambda connection: connection.execute(nothing))

    def reconciling(self, platform: PlatformClient, clock: Clock) -> Reconciling:
        """The search for this ledger's lost requests in an account's history.

        Args:
            platform: The account's history.
            clock: What waiting is measured with.
        """
        return Reconciling(self.database, platform, clock)

    async def close(self) -> None:
        """Close its connections."""
        await self.database.close()


RENEWAL_SECONDS = 30.0
"""How often the leases of waiting calls are extended: a quarter of a lease."""


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
        """Close all open ledgers; one that is asked for again is opened anew."""
        while self._open:
            _, ledger = self._open.popitem()
            await ledger.close()

    async def keep_leases(self) -> None:
        """Extend the leases of this process's waiting calls, for ever."""
        while True:
            await anyio.sleep(RENEWAL_SECONDS)
            for ledger in list(self._open.values()):
                # The next time is soon enough, and an error here would end the loop with every job
                # on it.
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
