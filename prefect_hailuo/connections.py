"""What all jobs of a process share: clients, downloads, ledgers, and how much goes on at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
import httpx

from prefect_hailuo.clock import Clock
from prefect_hailuo.download import Downloads
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.supervising import Supervisor
from prefect_hailuo.fal.transport import FRESH, Rate, open_http, open_reading
from prefect_hailuo.ledger.ledgers import Ledgers, open_ledgers
from prefect_hailuo.pictures import Pictures

T = TypeVar("T")

SUBMISSIONS_AT_ONCE = 250
"""How many purchases are under way at once: enough to share the ledger's transactions, and few
enough for each to be over long before its lease is."""

POSTS_AT_ONCE = 48
"""How many of them are being sent: httpcore looks at all that are at every change of its pool."""


@dataclass(frozen=True)
class Connections:
    """What the jobs of a process share."""

    http: httpx.AsyncClient
    """For fal's API."""
    purchases: httpx.AsyncClient
    """For what is sent once, and only once."""
    downloads: Downloads
    """For what fal serves; apart, so that downloads and questions do not starve each other."""
    pictures: Pictures
    """What inputs name: read, checked, and brought to fal."""
    supervisor: Supervisor
    """Decides when fal is asked about each request that the process waits for."""
    rate: Rate
    """How many requests a second fal's API is sent."""
    submissions: anyio.Semaphore
    """Counts the purchases that may still be begun; who waits for it has claimed nothing yet."""
    till: anyio.Semaphore
    """Counts the POSTs that may still be sent at once."""
    ledgers: Ledgers
    """The ledgers that were opened."""

    def client(self, access: Access, clock: Clock | None = None) -> AsyncFalClient:
        """An account's client on these connections."""
        return AsyncFalClient(access, self.http, clock, self.purchases)


@asynccontextmanager
async def open_connections() -> AsyncIterator[Connections]:
    """All of them, on the running event loop."""
    rate = Rate()
    async with AsyncExitStack() as stack:
        yield Connections(
            http=await stack.enter_async_context(open_reading(rate)),
            purchases=await stack.enter_async_context(open_http(FRESH)),
            downloads=Downloads(await stack.enter_async_context(open_reading())),
            pictures=Pictures(await stack.enter_async_context(open_http())),
            supervisor=Supervisor(),
            rate=rate,
            submissions=anyio.Semaphore(SUBMISSIONS_AT_ONCE, fast_acquire=True),
            till=anyio.Semaphore(POSTS_AT_ONCE, fast_acquire=True),
            ledgers=await stack.enter_async_context(open_ledgers()),
        )


Emit = Callable[[object], None]
Job = Callable[[Connections, Emit], Awaitable[T]]


def ignore(event: object) -> None:
    """Handle an event by doing nothing."""
