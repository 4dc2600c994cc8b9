"""A session: one account's client and ledger, and what all jobs on the package's loop share."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.engine.events import OutOfReach
from prefect_hailuo.engine.loop import Connections, Emit, ignore
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.outage import Witness
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.attempt import Attempt
    from prefect_hailuo.ledger.ledger import Ledger


@dataclass(frozen=True)
class Account:
    """An account, and the ledger that its purchases are written in.

    Args:
        access: The account's key and hosts.
        ledger: Where its purchases are written down.
        requests_per_second: How many requests the process may send, from now on; None: any number.
    """

    access: Access
    ledger: LedgerAddress
    requests_per_second: float | None = None


class Session:
    """What every step of a generation needs, whichever account it is of.

    Args:
        access: The account's key and hosts.
        ledger: Where its purchases are written down.
        connections: What the process shares.
        emit: Called with each event, as `prefect_hailuo.engine.events` lists them.
        clock: What waiting is measured with.
        watched: Whether each request is shown by itself, and not as one of many.
    """

    __slots__ = (
        *("access", "client", "clock", "connections", "emit"),
        *("ledger", "platform", "watched", "witness"),
    )

    def __init__(
        self,
        access: Access,
        ledger: LedgerAddress,
        connections: Connections,
        emit: Emit = ignore,
        clock: Clock | None = None,
        *,
        watched: bool = True,
    ) -> None:
        self.access = access
        self.connections = connections
        self.emit = emit
        self.clock: Clock = clock or SystemClock()
        self.watched = watched
        self.ledger: Ledger = connections.ledgers.at(ledger)
        reach = connections.reach(access.hosts)
        self.witness = Witness(reach, lambda outage: emit(OutOfReach(outage)))
        self.client: AsyncFalClient = connections.client(access, self.clock, self.witness)
        self.platform = PlatformClient(access, connections.http, self.clock, self.witness)

    async def known(self, ticket: Ticket) -> Attempt | None:
        """The attempt that a request belongs to, if the ledger knows it."""
        return await self.ledger.records.of_request(ticket.realm, ticket.request_id)

    def unwatched(self) -> Session:
        """The same session without events."""
        other = copy(self)
        other.emit, other.watched = ignore, False
        other.client = self.connections.client(self.access, self.clock)
        return other
