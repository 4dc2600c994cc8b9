"""The random walk's workers: each `yield` is a moment at which one may die or freeze."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ledger_ground import OUTPUT, video_for
from ledger_walk_fal import DONE, REMOVED, Fal, Platform
from ledger_walk_ledger import Rooms

from prefect_hailuo.errors import HailuoError, RequestCancelledError, SubmitUnknownError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.messages import Completed, Ticket
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.claims import NEVER_SENT
from prefect_hailuo.ledger.wishes import Attach, Buy, Decision, Reconcile, Reuse, Wait, Wish

Steps = AsyncIterator[str]


@dataclass
class Ground:
    """What all workers of a walk share."""

    ledger: Rooms
    fal: Fal
    consents: set[tuple[str, int]] = field(default_factory=set)
    """The attempts that somebody allowed to replace."""

    async def consent(self, one: Attempt) -> None:
        """Allow another purchase in place of one attempt, and remember it."""
        self.consents.add((one.key, one.number))
        await self.ledger.claims.consent(one.key, one.number)


class Worker:
    """A process that wants one video, and goes the way that `Acquiring` and `Road` go.

    Args:
        ground: What it shares with the others.
        wish: What it wants.
        resubmits: Whether it consents to another purchase of what is not found.
    """

    def __init__(self, ground: Ground, wish: Wish, resubmits: bool = False) -> None:
        self.ground = ground
        self.wish = wish
        self.resubmits = resubmits
        self.frozen = False
        self.end: str | None = None
        self._life = self._live()

    async def step(self) -> str:
        """Do what comes next."""
        try:
            return await anext(self._life)
        except StopAsyncIteration:
            self.end = self.end or "stopped"
        except HailuoError as error:
            self.end = type(error).__name__
        return self.end

    async def _live(self) -> Steps:
        while self.end is None:
            decision = await self.ground.ledger.claims.claim(self.wish)
            yield f"claims: {type(decision).__name__}"
            async for step in self._act(decision):
                yield step

    def _act(self, decision: Decision) -> Steps:
        match decision:
            case Buy(mine):
                return self._buy(mine)
            case Wait(other):
                return self._outwait(other)
            case Reconcile(one):
                return self._find(one)
            case Attach(one):
                return self._collect(one)
            case Reuse():
                return self._reuse()

    async def _buy(self, mine: Attempt) -> Steps:
        ledger = self.ground.ledger
        if not await ledger.claims.begin_sending(mine, SUBMIT_SECONDS):
            await ledger.records.refused(mine, NEVER_SENT)
            return
        yield f"begins to send attempt {mine.number}"
        try:
            ticket = self.ground.fal.post(mine)
            yield f"holds {ticket.request_id}"
        except SubmitUnknownError as error:
            yield "lost the answer"
            await ledger.records.answer_lost(mine, error)
        except HailuoError as error:
            yield "was refused"
            await ledger.records.refused(mine, error)
            raise
        else:
            async for step in self._keep(mine, ticket):
                yield step

    async def _keep(self, mine: Attempt, ticket: Ticket) -> Steps:
        ledger = self.ground.ledger
        holder = await ledger.records.accepted(mine, ticket)
        yield f"recorded {ticket.request_id}"
        if await ledger.waiters.is_unwanted(mine.key):
            answer = self.ground.fal.cancel(ticket.request_id)
            yield f"cancelled {ticket.request_id}: {answer}"
            await ledger.waiters.record_cancellation(holder, answer)

    async def _outwait(self, other: Attempt) -> Steps:
        while await self.ground.ledger.claims.still_open(other):
            yield f"waits for the owner of attempt {other.number}"

    async def _find(self, one: Attempt) -> Steps:
        ground = self.ground
        platform = Platform(ground.fal, one.account)
        finding = await ground.ledger.search(ground.ledger.database, platform).look(one)
        yield f"looked for attempt {one.number}: {finding.adopted} {finding.because}"
        if finding.adopted:
            return
        if self.resubmits:
            await ground.consent(one)
            return
        await ground.ledger.records.parked(one, finding.because)
        self.end = "parked"

    async def _collect(self, one: Attempt) -> Steps:
        ledger, fal = self.ground.ledger, self.ground.fal
        request = fal.requests[one.request_id or ""]
        while request.counts and not request.charged:
            yield f"waits for {request.request_id}"
        yield f"sees {request.request_id} {request.state}"
        if request.state == DONE:
            await ledger.records.succeeded(one, OUTPUT, Completed())
            yield f"has the result of {request.request_id}"
            await ledger.records.stored(one, video_for(one.key, request.request_id))
            self.end = "stored"
            return
        if request.state == REMOVED:
            error: HailuoError | None = RequestCancelledError("Cancelled.")
        else:
            error = fal.failure(request)
        assert error is not None
        await ledger.records.failed(one, error)
        self.end = type(error).__name__

    async def _reuse(self) -> Steps:
        self.end = "stored"
        yield "takes the stored video"


class Canceller:
    """A watcher that learned of a cancelled flow run.

    Args:
        ground: What it shares with the others.
        wish: One of the run's.
    """

    def __init__(self, ground: Ground, wish: Wish) -> None:
        self.ground = ground
        self.wish = wish
        self.frozen = False
        self.end: str | None = None
        self._life = self._cancel()

    async def step(self) -> str:
        """Do what comes next."""
        try:
            return await anext(self._life)
        except StopAsyncIteration:
            self.end = "cancelled"
        return self.end

    async def _cancel(self) -> Steps:
        waiters = self.ground.ledger.waiters
        for one in await waiters.withdraw(self.wish.run.ids):
            yield f"cancels {one.request_id}"
            answer = self.ground.fal.cancel(one.request_id or "")
            yield f"was told {answer}"
            await waiters.record_cancellation(one, answer)
