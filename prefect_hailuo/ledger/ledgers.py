"""The ledgers that a process has open: one engine each, shared by all that run on its loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from prefect_hailuo.ledger.address import LedgerAddress

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

RENEWAL_SECONDS = 30.0
"""How often the leases of those who wait are prolonged; a quarter of a lease."""


class Ledgers:
    """Opens each ledger once."""

    def __init__(self) -> None:
        self._open: dict[LedgerAddress, Ledger] = {}

    def at(self, address: LedgerAddress) -> Ledger:
        """The ledger at an address; it is connected when it is first used."""
        # SQLAlchemy takes a while to load: whoever only imports the package does not wait for it.
        from prefect_hailuo.ledger.ledger import Ledger

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
