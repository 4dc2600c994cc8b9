"""The random walk's workers: each `yield` is a moment at which one may die or freeze."""

from __future__ import annotations

from ledger_ground import OUTPUT, video_for
from ledger_walk_bill import BrokenPromiseError
from ledger_walk_fal import DONE, REMOVED, Platform
from ledger_walk_ground import Actor, Ground, Steps

from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    LedgerError,
    RequestCancelledError,
    RunCancelledError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.ledger.attempt import (
    NEVER_SENT,
    Attach,
    Attempt,
    Buy,
    Decision,
    Fate,
    FindingKind,
    Prepare,
    Purchase,
    Reconcile,
    Reuse,
    Wait,
)
from prefect_hailuo.ticket import Ticket


class Worker(Actor):
    """A process that wants one video, and goes the way that `engine.road` goes.

    Args:
        ground: What it shares with the others.
        purchase: What it wants.
        resubmits: Whether it consents to another purchase of what is not found.
    """

    def __init__(self, ground: Ground, purchase: Purchase, resubmits: bool = False) -> None:
        super().__init__(ground, purchase)
        self.resubmits = resubmits

    async def _live(self) -> Steps:
        while self.end is None:
            decision = await self.ground.ledger.claims.claim(self.purchase)
            yield f"claims: {type(decision).__name__}"
            if isinstance(decision, Buy) and self.ground.happens(0.03):
                await self.ground.ledger.records.refused(decision.attempt, NEVER_SENT)
                self.end = "called off"
                return
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
            case Prepare():
                raise AssertionError("These have no pictures.")

    async def _buy(self, mine: Attempt) -> Steps:
        records = self.ground.ledger.records
        while self.ground.happens(0.4):
            yield "connects"
        try:
            sends = await self._begin(mine)
        except (LedgerError, RunCancelledError) as error:
            yield f"may not send attempt {mine.number}: {type(error).__name__}"
            await records.refused(mine, NEVER_SENT)
            raise
        if not sends:
            yield f"attempt {mine.number} is not its own any more"
            await records.refused(mine, NEVER_SENT)
            return
        yield f"begins to send attempt {mine.number}"
        async for step in self._post(mine):
            yield step

    async def _begin(self, mine: Attempt) -> bool:
        """The last thing before the POST; that it is written down may stay unknown."""
        run = self.purchase.run
        sends = await self.ground.ledger.claims.begin_sending(mine, SUBMIT_SECONDS, run)
        if sends and not self.ground.cancelled.isdisjoint(run.ids):
            raise BrokenPromiseError(f"{mine.key} is sent for a cancelled run")
        if self.ground.happens(0.03):
            raise LedgerError("The answer to the commit was lost.")
        return sends

    async def _post(self, mine: Attempt) -> Steps:
        records = self.ground.ledger.records
        try:
            ticket = self.ground.fal.post(mine)
            yield f"holds {ticket.request_id}"
        except SubmitUnknownError as error:
            yield "lost the answer"
            await records.answer_lost(mine, error)
        except HailuoError as error:
            yield "was refused"
            await records.refused(mine, error)
            raise
        else:
            async for step in self._keep(mine, ticket):
                yield step

    async def _keep(self, mine: Attempt, ticket: Ticket) -> Steps:
        ledger = self.ground.ledger
        holder = await ledger.records.accepted(mine, ticket)
        yield f"recorded {ticket.request_id}"
        if holder.key != mine.key:
            given = SubmitUnknownError(f"Its request was given to {holder.key}.")
            await ledger.records.answer_lost(mine, given)
            yield f"{ticket.request_id} was given to {holder.key}"
            return
        if await ledger.waiters.is_unwanted(mine.key):
            answer = self.ground.fal.cancel(ticket.request_id)
            yield f"cancelled {ticket.request_id}: {answer}"
            await ledger.waiters.record_cancellation(holder, answer)
        async for step in self._collect(holder):
            yield step

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
        if self.resubmits and finding.kind is FindingKind.NONE:
            self.resubmits = False  # the consent was to one more purchase
            await ground.consent(one)
            return
        if not await ground.ledger.records.parked(one, finding.because):
            yield f"attempt {one.number} was found meanwhile"
            return
        self.end = "parked"

    async def _collect(self, one: Attempt) -> Steps:
        request = self.ground.fal.requests[one.request_id or ""]
        if one.output is None:
            while request.counts and not request.charged:
                yield f"waits for {request.request_id}"
            yield f"sees {request.request_id} {request.state}"
            if request.state != DONE:
                await self._fail(one)
                return
            await self.ground.ledger.records.succeeded(one, OUTPUT, Completed())
        yield f"has the result of {request.request_id}"
        await self.ground.ledger.records.stored(one, video_for(one.key, request.request_id))
        self.end = "stored"

    async def _fail(self, one: Attempt) -> None:
        """Write a failure down, as `engine.collect` does."""
        request = self.ground.fal.requests[one.request_id or ""]
        removed = request.state == REMOVED
        error = RequestCancelledError("Gone.") if removed else self.ground.fal.failure(request)
        assert error is not None
        self.end = type(error).__name__
        if not (removed and one.fate is Fate.CANCELLED):
            await self.ground.ledger.records.failed(one, error)
        elif one.billed is not Billed.NO:
            await self.ground.ledger.records.parked(one, "Whether it was charged is not known.")
            self.end = "parked"

    async def _reuse(self) -> Steps:
        self.end = "stored"
        yield "takes the stored video"
