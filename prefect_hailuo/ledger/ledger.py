"""One ledger, with all that can be asked of it."""

from __future__ import annotations

from sqlalchemy import false, update

from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.beginnings import Beginnings
from prefect_hailuo.ledger.budgets import Budgets
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.exchange import Exchange
from prefect_hailuo.ledger.files import Files
from prefect_hailuo.ledger.pruning import Pruning
from prefect_hailuo.ledger.reading import Reading
from prefect_hailuo.ledger.rebuilding import Rebuilding
from prefect_hailuo.ledger.records import Records
from prefect_hailuo.ledger.spending import Spending
from prefect_hailuo.ledger.tables import attempt
from prefect_hailuo.ledger.told import Told
from prefect_hailuo.ledger.unfinished import Unfinished
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
        async with self.database.writing() as connection:
            await connection.execute(nothing)

    async def close(self) -> None:
        """Close its connections."""
        await self.database.close()
