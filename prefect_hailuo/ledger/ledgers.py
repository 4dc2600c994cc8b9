"""The ledgers that a process has open: one engine each, shared by all that run on its loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

from prefect_hailuo.ledger.address import LedgerAddress

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger


class Ledgers:
    """Opens each ledger once; a context manager that closes them."""

    def __init__(self) -> None:
        self._open: dict[LedgerAddress, Ledger] = {}

    def at(self, address: LedgerAddress) -> Ledger:
        """The ledger at an address; it is connected when it is first used."""
        # SQLAlchemy takes a while to load: whoever only imports the package does not wait for it.
        from prefect_hailuo.ledger.ledger import Ledger

        if address not in self._open:
            self._open[address] = Ledger(address)
        return self._open[address]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for ledger in self._open.values():
            await ledger.close()
