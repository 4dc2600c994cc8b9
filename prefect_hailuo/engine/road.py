"""The road of one generation, end to end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from uuid import uuid4

import anyio

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.engine.acquire import Acquiring, Slot
from prefect_hailuo.engine.collect import Collecting, ForgottenError
from prefect_hailuo.engine.keep import Keeping, Reusing
from prefect_hailuo.engine.loop import Connections, Emit, ignore
from prefect_hailuo.engine.order import Order, settle
from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    LedgerError,
    RequestNotFoundError,
    VideoExpiredError,
)
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS, AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed, Output
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Attempt, Fate, Run
from prefect_hailuo.models.video import Video
from prefect_hailuo.storage.store import Storing
from prefect_hailuo.ticket import Ticket

CANCELLED_AT_ONCE = 20
"""A process that was cancelled has little time, and may have hundreds of requests."""


class Road:
    """One account's way from a prompt to a stored video, on the package's loop.

    Args:
        access: The account.
        ledger: Where its purchases are written down.
        connections: What the process shares.
        emit: Called with each event, as `prefect_hailuo.engine.events` lists them.
        clock: What waiting is measured with.
        watched: Whether somebody looks at each request by itself, and not at all of them together.
    """

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
        self._access = access
        self._connections = connections
        self._emit = emit
        self._clock: Clock = clock or SystemClock()
        self._ledger = connections.ledgers.at(ledger)
        self._collecting = Collecting(
            access, self._ledger, connections, emit, self._clock, watched=watched
        )

    async def generate(self, order: Order) -> Video:
        """The video of an order: the one that is stored, the one that is on its way, or a new one.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        await order.place.check()
        return await self.bring(order)

    async def bring(self, order: Order) -> Video:
        """The same, of an order whose place is known to take it: one place serves many.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        order = await settle(order, self._connections.pictures)
        reusing = self._reusing(order)
        async with self._waiter() as waiter, Slot(order.gate) as slot:
            one = await self._find(order, reusing, waiter, slot)
            while (video := await self._finish(order, one, reusing, slot)) is None:
                order = replace(order, on_lost="raise")  # the consent was to one more purchase
                reusing = self._reusing(order)
                one = await self._acquire(order, waiter, slot)
            return video

    async def acquire(self, order: Order) -> Ticket:
        """The ticket of an order's request: the one that there is, or that of a new one.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        order = await settle(order, self._connections.pictures)
        async with self._waiter() as waiter, Slot(order.gate) as slot:
            one = await self._find(order, self._reusing(order), waiter, slot)
            ticket = one.open_ticket()
            if slot.taken:
                slot.leave_to(self._watch(ticket, order.timeout_seconds))
            return ticket

    async def wait(self, ticket: Ticket, timeout_seconds: float) -> Completed:
        """Wait until a request has completed, one way or another.

        Raises:
            GenerationTimeoutError: It takes longer than `timeout_seconds`; it carries the ticket.
            FalError: fal refused to say how it stands.
        """
        one = await self._known(ticket)
        if one is not None and one.output is not None:
            return one.completed or Completed()
        if one is None:  # this ledger will not hear of its end
            ticket = ticket.model_copy(update={"webhook_url": None})
        return await self._collecting.wait(ticket, timeout_seconds)

    async def fetch(
        self,
        ticket: Ticket,
        completed: Completed | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Output:
        """The result of a completed request, written down if the ledger knows the request.

        Args:
            ticket: The request.
            completed: How it completed, if known: a failure is then reported at once.
            timeout_seconds: How long transient faults are waited out.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        one = await self._known(ticket)
        if one is None:
            return await self._collecting.fetch(ticket, completed, timeout_seconds)
        try:
            with _bought(ticket):
                return (await self._collecting.collect(one, timeout_seconds, completed))[0]
        except ForgottenError as error:
            raise _forgotten(ticket) from error

    async def cancel(self, ticket: Ticket) -> Cancellation:
        """Ask fal to cancel a request, whoever else wants it, and write down what fal said.

        Raises:
            FalError: fal refused to.
        """
        answer = await self._client().cancel(ticket)
        one = await self._known(ticket)
        if one is not None:
            await self._ledger.waiters.record_cancellation(one, answer)
        return answer

    async def withdraw(self, run: Run) -> None:
        """Note that a flow run was cancelled, and cancel at fal what nobody wants any more.

        Only requests of this account are; others are left to those who hold their keys. What fal
        refuses to cancel is left to the next time.
        """
        limiter = anyio.CapacityLimiter(CANCELLED_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for one in await self._ledger.waiters.withdraw(run.ids):
                if one.account == self._access.account and one.realm == self._access.realm:
                    tasks.start_soon(self._cancel_unwanted, one, limiter)

    async def _cancel_unwanted(self, one: Attempt, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            with suppress(HailuoError):
                if not await self._ledger.waiters.is_unwanted(one.key):
                    return  # somebody wants it again
                answer = await self._client().cancel(one.open_ticket(), timeout_seconds=20)
                await self._ledger.waiters.record_cancellation(one, answer)

    async def _watch(self, ticket: Ticket, seconds: float) -> None:
        """Wait until a request has ended at fal, for nobody but its slot."""
        collecting = Collecting(
            self._access, self._ledger, self._connections, ignore, self._clock, watched=False
        )
        with suppress(Exception):  # whoever wants the video is told
            await collecting.wait(ticket, seconds)

    def _client(self) -> AsyncFalClient:
        return self._connections.client(self._access, self._clock)

    def _storing(self, order: Order) -> Storing:
        downloads = self._connections.downloads
        downloads.allow(order.download_connections)
        # Nobody is shown the poster of one of many, and it takes longer than all the rest.
        poster = order.poster and not self._connections.supervisor.crowded
        return Storing(downloads, order.place, self._clock, poster)

    def _keeping(self, order: Order) -> Keeping:
        return Keeping(self._ledger, self._storing(order), order.find_place, self._emit)

    def _reusing(self, order: Order) -> Reusing:
        storing = self._storing(order)
        return Reusing(order, self._ledger, storing, self._collecting, self._emit)

    async def _known(self, ticket: Ticket) -> Attempt | None:
        return await self._ledger.records.of_request(ticket.realm, ticket.request_id)

    @asynccontextmanager
    async def _waiter(self) -> AsyncIterator[str]:
        """A name for a call, which counts as alive for as long as it is in use."""
        name = uuid4().hex
        with self._ledger.waiters.alive(name):
            yield name

    async def _find(self, order: Order, reusing: Reusing, waiter: str, slot: Slot) -> Attempt:
        """The attempt to go on with: one that is known to be stored needs no claim."""
        latest = await self._ledger.claims.latest(order.key)
        if latest is None:
            await self._look_around(order, reusing, waiter)
        elif latest.fate is Fate.STORED:
            return latest
        return await self._acquire(order, waiter, slot)

    async def _look_around(self, order: Order, reusing: Reusing, waiter: str) -> None:
        """Before a key is first bought: look where it may be though this ledger never saw it."""
        purchase = order.purchase(waiter)
        if not await reusing.enter_unrecorded(purchase):
            platform = PlatformClient(self._access, self._connections.http, self._clock)
            await self._ledger.beginnings.look_back(purchase, platform, order.reconcile_seconds)

    async def _acquire(self, order: Order, waiter: str, slot: Slot) -> Attempt:
        """The attempt; where it was bought, with a slot that is to be freed once it has ended."""
        acquiring = Acquiring(
            order, self._ledger, self._connections, self._emit, self._clock, waiter, slot
        )
        return await acquiring.acquire()

    async def _finish(
        self, order: Order, one: Attempt, reusing: Reusing, slot: Slot
    ) -> Video | None:
        """The video of an attempt; None where it is to be had in another way, by a new claim."""
        with _bought(one.open_ticket()):
            if one.fate is Fate.STORED:
                return await reusing.reuse(one)
            return await self._collect(order, one, slot)

    async def _collect(self, order: Order, one: Attempt, slot: Slot) -> Video | None:
        try:
            async with slot:  # freed before the download: fal has done its part
                await self._collecting.check_known(one)
                output, completed = await self._collecting.collect(one, order.timeout_seconds)
        except ForgottenError:
            return None
        ticket = order.named(one.open_ticket())
        try:
            return await self._keeping(order).keep(ticket, output, completed, one)
        except VideoExpiredError:
            if order.on_lost == "resubmit":
                await self._ledger.claims.consent(one.key, one.number)
                return None
            raise


@contextmanager
def _bought(ticket: Ticket) -> Iterator[None]:
    """Let no fault of the ledger's say that nothing was bought, when something was."""
    try:
        yield
    except LedgerError as error:
        raise LedgerError(
            error.message,
            cure="Make it usable, and run again: nothing is bought twice, nothing is lost.",
            billed=Billed.UNKNOWN,
            ticket=ticket,
        ) from error


def _forgotten(ticket: Ticket) -> RequestNotFoundError:
    return RequestNotFoundError(
        "The emulator was restarted, and knows the request no longer.",
        cure="Submit it again: the emulator makes it anew at no cost.",
        ticket=ticket,
    )
