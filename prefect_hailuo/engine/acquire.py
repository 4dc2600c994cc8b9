"""From an order to a request at fal: found, adopted or bought, but only once.

The error that asks a person to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any

import anyio
import anyio.lowlevel
from typing_extensions import Self, assert_never

from prefect_hailuo.clock import Clock, Deadline
from prefect_hailuo.engine.events import Adopted, Attached, Cautioned, Searching, Submitted
from prefect_hailuo.engine.loop import Connections, Emit
from prefect_hailuo.engine.order import Gate, Order, body_to_send
from prefect_hailuo.errors import (
    Billed,
    FalError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    ParkedError,
    RealmMismatchError,
    RunCancelledError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.attempt import (
    Attach,
    Attempt,
    Buy,
    Decision,
    Prepare,
    Reconcile,
    Reuse,
    Wait,
    moment,
)
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.search import Reconciling
from prefect_hailuo.ledger.tables import NEVER_SENT
from prefect_hailuo.models.camera import check_camera_commands
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.ticket import Ticket


class Slot:
    """One purchase's slot: none at first, and none in the end.

    Args:
        gate: Where it comes from; None where nothing is capped.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._taken = False

    @property
    def taken(self) -> bool:
        """Whether it holds one."""
        return self._taken

    async def take(self, seconds: float) -> None:
        """Take one, unless it has one, or none is needed.

        Raises:
            HailuoError: None could be had; nothing was bought.
        """
        if self._gate is not None and not self._taken:
            await self._gate.enter(seconds)
            self._taken = True

    def free(self) -> None:
        """Give it back, if it has one."""
        if self._gate is not None and self._taken:
            self._taken = False
            self._gate.leave()

    def leave_to(self, watch: Coroutine[Any, Any, None]) -> None:
        """Keep it for a request that was submitted, and that nobody waits for yet.

        Args:
            watch: Ends when the request has ended at fal, or is to be watched no longer.
        """
        other, self._taken = Slot(self._gate), False
        other._taken = True
        task = asyncio.create_task(watch)
        _watches.add(task)
        task.add_done_callback(_watches.discard)
        task.add_done_callback(lambda _: other.free())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()


_watches: set[asyncio.Task[None]] = set()
"""The loop itself would forget them."""


def parked_error(one: Attempt, because: str) -> ParkedError:
    """The error of a generation that is parked: what is known, and every cure.

    Args:
        one: The attempt whose fate, or whose video, is not known.
        because: Why not.
    """
    key = shown_key(one.key)
    sent = moment(one.sent_at or one.intended_at)
    resolve = f"prefect-hailuo ledger resolve {key}"
    what = (
        f"Attempt {one.number} of {key}, sent to {one.endpoint} at {sent:%Y-%m-%d %H:%M:%S} UTC "
        f"with the account {one.account}, "
    )
    if one.ticket is None:
        what += f"may have been bought: {because}"
        cure = (
            f"Look for it at https://fal.ai/dashboard/requests. If it is there: {resolve} --adopt "
            f"REQUEST_ID. If it is surely not: {resolve} --allow-one-resubmit, or call with "
            "on_ambiguous='resubmit', which may pay twice."
        )
    else:
        what += f"may have cost money, and its video cannot be had: {because}"
        cure = (
            "Look for its video at https://fal.ai/dashboard/requests. To pay for another: "
            f"{resolve} --allow-one-resubmit, or pass another take."
        )
    error = ParkedError(
        what,
        cure=f"{cure} To give it up: {resolve} --abandon. A later run looks again by itself.",
        billed=Billed.UNKNOWN,
        ticket=one.ticket,
    )
    error.key = one.key
    return error


SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

RECORD_SECONDS = 30.0
"""How long a ticket in hand is tried to be written down, before the process gives up."""

CANCEL_SECONDS = 10.0
"""How long fal is asked to cancel what was cancelled while it was submitted."""


class NotOursError(Exception):
    """The attempt is not the caller's any more, or nobody wants it: nothing was sent."""


class Acquiring:
    """Gets one order its request.

    Args:
        order: The order.
        ledger: Where it is written down.
        connections: What the process shares.
        emit: Called with events.
        clock: What waiting is measured with.
        waiter: This call's name in the ledger.
        slot: Taken for a purchase, where those at fal at once are capped.
    """

    def __init__(
        self,
        order: Order,
        ledger: Ledger,
        connections: Connections,
        emit: Emit,
        clock: Clock,
        waiter: str,
        slot: Slot,
    ) -> None:
        self._order = order
        self._waiter = waiter
        self._slot = slot
        self._purchase = order.purchase(waiter)
        self._ledger = ledger
        self._emit = emit
        self._clock = clock
        self._pictures = connections.pictures
        self._submissions = connections.submissions
        self._posts = connections.posts
        self._rate = connections.rate
        self._warnings = tuple(check_camera_commands(order.input.prompt))
        self._may_resubmit = order.on_ambiguous == "resubmit"
        self._may_be_at_fal = False
        self._client = connections.client(order.access, clock)
        self._platform = PlatformClient(order.access, connections.http, clock)

    async def acquire(self) -> Attempt:
        """The attempt that has the order's request, or its stored video.

        Raises:
            ParkedError: It may have been bought, and nobody can say.
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        deadline = Deadline(self._order.timeout_seconds, self._clock)
        while True:
            async with self._submissions:
                await self._rate.turn()
                decision = await self._decide()
                bought = await self._buy(decision.attempt) if isinstance(decision, Buy) else None
            if not isinstance(decision, Buy | Prepare):
                self._give_way()
            match decision:
                case Buy():
                    if bought is not None:
                        return bought
                case Prepare():
                    await self._prepare(deadline)
                case Wait(other):
                    await self._outwait(other, deadline)
                case Reconcile(one):
                    await self._find(one)
                case Attach(one):
                    self._emit(Attached(one.open_ticket()))
                    return one
                case Reuse(one):
                    return one
                case _:
                    assert_never(decision)

    async def _prepare(self, deadline: Deadline) -> None:
        """Before the intent, take a slot, and bring the pictures to fal: after it, only buy."""
        await self._slot.take(max(deadline.remaining, SHORTEST_PAUSE_SECONDS))
        body = await body_to_send(self._order, self._pictures)
        self._purchase = self._order.purchase(self._waiter, body)

    def _give_way(self) -> None:
        """What is not bought needs no slot; were it to be bought later, it needs one again."""
        if self._slot.taken and not self._may_be_at_fal:
            self._slot.free()
            self._purchase = self._order.purchase(self._waiter)

    async def _decide(self) -> Decision:
        """Claim, to the end: who knows of no claim that was made could not take it back."""
        with anyio.CancelScope(shield=True):
            decision = await self._ledger.claims.claim(self._purchase)
        if isinstance(decision, Buy):
            await self._queue_up(decision.attempt)
        return decision

    async def _queue_up(self, mine: Attempt) -> None:
        """Wait until a POST may be sent; what is cancelled before that buys nothing."""
        try:
            await anyio.lowlevel.checkpoint()
            await self._posts.acquire()
        except BaseException:
            # Where the ledger is out of reach, the intent dies with its lease.
            with anyio.CancelScope(shield=True), suppress(LedgerError):
                await self._ledger.records.refused(mine, NEVER_SENT)
            raise

    async def _buy(self, mine: Attempt) -> Attempt | None:
        """Buy. From the POST until its ticket is written down, nothing interrupts it."""
        bought = None
        with anyio.CancelScope(shield=True):
            try:
                ticket = await self._post(mine)
            except NotOursError:
                await self._ledger.records.refused(mine, NEVER_SENT)
            except (FalError, SubmitUnknownError) as error:
                await self._note(mine, error)
            except (LedgerError, RunCancelledError):
                # Whether the ledger says that it is being sent is open; that it was not, is known.
                with suppress(LedgerError):
                    await self._ledger.records.refused(mine, NEVER_SENT)
                raise
            else:
                bought = await self._keep(mine, ticket)
        return bought

    def _caution(self) -> None:
        """Say, before it is paid for, what the camera may not understand."""
        if self._warnings:
            self._emit(Cautioned(self._warnings))
        self._warnings = ()

    async def _post(self, mine: Attempt) -> Ticket:
        """Send it, and leave the turn to the next."""

        async def begin() -> None:
            if not await self._ledger.claims.begin_sending(
                mine, SUBMIT_SECONDS, self._purchase.run
            ):
                raise NotOursError

        order = self._order
        try:
            self._caution()
            bare = await self._client.submit(
                order.input.endpoint.id,
                dict(self._purchase.body),
                webhook_url=order.webhook_url,
                before_sending=begin,
            )
        finally:
            self._posts.release()
        return order.named(bare)

    async def _note(self, mine: Attempt, error: HailuoError) -> None:
        """Write down a POST without a ticket; it is an error only if that is certain.

        Raises:
            HailuoError: Nothing was bought.
        """
        lost = isinstance(error, SubmitUnknownError)
        if lost or (isinstance(error, RealmMismatchError) and error.billed is not Billed.NO):
            self._may_be_at_fal = True
            await self._ledger.records.answer_lost(mine, error)
            return
        await self._ledger.records.refused(mine, error)
        raise error

    async def _keep(self, mine: Attempt, ticket: Ticket) -> Attempt | None:
        """Write a ticket down, whatever it takes: it is paid for.

        Returns:
            None where it was given to an equal attempt of another take meanwhile.
        """
        self._emit(Submitted(ticket))
        holder = await self._write_down(mine, ticket)
        if holder.key != mine.key:
            given = SubmitUnknownError(
                f"Its request was given to {shown_key(holder.key)}, an equal one."
            )
            await self._ledger.records.answer_lost(mine, given)
            return None
        with suppress(HailuoError):  # what it misses, the sweep finds in the ledger
            # What no flow run asked for cannot have been cancelled with one.
            if self._purchase.run.ids and await self._ledger.waiters.is_unwanted(mine.key):
                answer = await self._client.cancel(ticket, timeout_seconds=CANCEL_SECONDS)
                await self._ledger.waiters.record_cancellation(holder, answer)
        return holder

    async def _write_down(self, mine: Attempt, ticket: Ticket) -> Attempt:
        deadline = Deadline(RECORD_SECONDS, self._clock)
        while not deadline.passed:
            with suppress(LedgerError):
                return await self._ledger.records.accepted(mine, ticket)
            await deadline.sleep(LONGEST_PAUSE_SECONDS)
        try:
            return await self._ledger.records.accepted(mine, ticket)
        except LedgerError as error:
            raise _unwritten(ticket, error) from error

    async def _outwait(self, other: Attempt, deadline: Deadline) -> None:
        """Wait until the owner has its ticket, or its lease has ended."""
        pauses = (SHORTEST_PAUSE_SECONDS * 2 ** min(n, 4) for n in count())
        while await self._ledger.claims.still_open(other):
            if deadline.passed:
                raise GenerationTimeoutError(
                    f"Somebody else is submitting it, and has no ticket after {deadline.seconds:g} "
                    "seconds.",
                    billed=Billed.NO,
                )
            await deadline.sleep(min(LONGEST_PAUSE_SECONDS, next(pauses)))

    async def _find(self, one: Attempt) -> None:
        """Find out what became of an attempt; if nobody can tell, park it.

        Raises:
            ParkedError: It is parked, and the order does not allow another purchase.
        """
        self._emit(Searching(one.key))
        search = Reconciling(self._ledger.database, self._platform, self._clock)
        finding = await search.search(one, self._order.reconcile_seconds)
        if finding.adopted:
            found = await self._ledger.claims.latest(one.key)
            if found is not None and found.ticket is not None:
                self._emit(Adopted(found.ticket))
            return
        if self._may_resubmit:
            self._may_resubmit = False  # the consent was to one more purchase
            # For this one attempt, and as long as its request is missing; if it has turned up
            # meanwhile, or there is another attempt, the next claim will see it.
            await self._ledger.claims.consent(one.key, one.number, unfound=True)
            return
        if not await self._ledger.records.parked(one, finding.because):
            return  # meanwhile it was found
        raise parked_error(one, finding.because)


def _unwritten(ticket: Ticket, error: LedgerError) -> LedgerError:
    return LedgerError(
        f"fal accepted the request, and it could not be written down: {error.message}",
        cure="Make the ledger writable, and run again: the request will be found in fal's history.",
        billed=Billed.UNKNOWN,
        ticket=ticket,
    )
