"""From an order to a request at fal: found, adopted or bought, but only once.

`acquire_attempt` asks the ledger what is to be done, and does it, until there is a request. Money
moves in `_buy` alone. `parked_error` is the error that asks a person to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count

import anyio
import anyio.lowlevel
from typing_extensions import assert_never

from prefect_hailuo.clock import Deadline
from prefect_hailuo.engine.events import (
    Adopted,
    Attached,
    Cautioned,
    LookingBack,
    Searching,
    Submitted,
)
from prefect_hailuo.engine.job import Job
from prefect_hailuo.engine.order import body_to_send
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import (
    Billed,
    FalError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    ParkedError,
    RateLimitedError,
    RealmMismatchError,
    RunCancelledError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.outage import SILENT_SECONDS
from prefect_hailuo.fal.retry import pause_until, retry
from prefect_hailuo.ledger.attempt import (
    NEVER_SENT,
    Attach,
    Attempt,
    Buy,
    Decision,
    FindingKind,
    Prepare,
    Reconcile,
    Reuse,
    Wait,
    moment,
)
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.ticket import Ticket


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
        what += f"may have been bought: {_cause(one)} {because}"
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


def _cause(one: Attempt) -> str:
    """Why nobody knows what became of its POST, with the request's id if the answer named one."""
    if one.error is None:
        return "The process that sent it ended before fal's answer was written down."
    return str(one.error["message"])


SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

RECORD_SECONDS = 30.0
"""How long the process tries to write down a ticket, before it gives up."""

LOOK_SECONDS = 10.0
"""How long fal's history is looked into after a second 429, which a proxy may have answered."""

UNKNOWN_SECONDS = 300.0
"""How long a request is assumed to take, if that is not known."""

CANCEL_SECONDS = 10.0
"""How long fal is asked to cancel a request whose flow run was cancelled during the POST."""


class NotOursError(Exception):
    """The attempt is no longer the caller's, or no longer wanted: nothing was sent."""


async def acquire_attempt(job: Job) -> Attempt:
    """The attempt that has the order's request, or its stored video.

    While fal takes no more requests, it waits.

    Raises:
        ParkedError: It may have been bought, and nobody can say.
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.
    """
    return await job.retry.run(partial(_acquire, job), job.note)


async def _acquire(job: Job) -> Attempt:
    session = job.session
    deadline = Deadline(job.order.timeout_seconds, session.clock)
    while True:
        decision = await _decide(job, deadline)
        if isinstance(decision, Attempt):
            return decision
        if not isinstance(decision, Buy | Prepare):
            _give_way(job)
        match decision:
            case Buy():
                pass  # nobody knows yet whether it was bought: the next claim tells
            case Prepare():
                await _prepare(job, deadline)
            case Wait(other):
                await _outwait(job, other, deadline)
            case Reconcile(one):
                with _same_ledger():
                    await _reconcile(job, one, deadline)
            case Attach(one):
                session.emit(Attached(one.open_ticket()))
                return one
            case Reuse(one):
                return one
            case _:
                assert_never(decision)


async def _decide(job: Job, deadline: Deadline) -> Decision | Attempt:
    """Claim when its turn has come, and buy what is to be bought: then it is the attempt.

    An attempt that was void before its first byte was sent is followed by another claim.

    Raises:
        GenerationTimeoutError: There is no time left for another claim.
    """

    def pause(attempt: int, error: Exception) -> float | None:
        is_void = isinstance(error, NotOursError)
        return pause_until(deadline, _growing_seconds(attempt)) if is_void else None

    try:
        return await retry(partial(_claim_and_buy, job), deadline.clock, pause)
    except NotOursError:
        raise GenerationTimeoutError(
            f"It could not be sent in {deadline.seconds:g} seconds: each time, before its first "
            "byte, the ledger said that its time was over, or that every call which wanted it was "
            "cancelled. Nothing was bought.",
            cure="Run it again, on a machine and with a ledger that are less busy.",
            billed=Billed.NO,
        ) from None


async def _claim_and_buy(job: Job) -> Decision | Attempt:
    connections = job.session.connections
    async with connections.submissions:
        await connections.rate.turn()
        with _same_ledger(job.may_be_at_fal):
            decision = await _claim(job)
        if not isinstance(decision, Buy):
            return decision
        try:
            return await _buy(job, decision.attempt) or decision
        except RateLimitedError:  # while it is waited for, others may have the slot
            _give_way(job)
            raise


def _growing_seconds(attempt: int) -> float:
    """How many seconds to wait after an attempt; the first is 0."""
    return min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0 ** min(attempt, 4))


async def _claim(job: Job) -> Decision:
    """Claim, uninterrupted: a claim whose result is lost could not be taken back."""
    with anyio.CancelScope(shield=True):
        decision = await job.session.ledger.claims.claim(job.purchase)
    if isinstance(decision, Buy):
        await _queue_up(job, decision.attempt)
    return decision


async def _queue_up(job: Job, mine: Attempt) -> None:
    """Wait until a POST may be sent; what is cancelled before that buys nothing."""
    try:
        await anyio.lowlevel.checkpoint()
        await job.session.connections.posts.acquire()
    except BaseException:
        # Where the ledger is out of reach, the intent dies with its lease.
        with anyio.CancelScope(shield=True), suppress(LedgerError):
            await job.session.ledger.records.refused(mine, NEVER_SENT)
        raise


async def _prepare(job: Job, deadline: Deadline) -> None:
    """Before the intent, take a slot, and bring the images to fal: after it, only buy."""
    await job.slot.take(max(deadline.remaining, SHORTEST_PAUSE_SECONDS))
    body = await body_to_send(job.order, job.session.connections.pictures)
    job.purchase = job.order.purchase(job.waiter, body)


def _give_way(job: Job) -> None:
    """Give the slot back: nothing is bought now. A later purchase takes one again."""
    if job.slot.taken and not job.may_be_at_fal:
        job.slot.free()
        job.purchase = job.order.purchase(job.waiter)


async def _buy(job: Job, mine: Attempt) -> Attempt | None:
    """Buy. From the POST until its ticket is written down, nothing interrupts it.

    Returns:
        None where nobody knows yet whether it was bought: the next claim tells.

    Raises:
        NotOursError: It was not to be sent any more, and was not.
        HailuoError: fal refused, or the ledger could not be used.
    """
    records = job.session.ledger.records
    with anyio.CancelScope(shield=True):
        try:
            ticket = await _post(job, mine)
        except NotOursError:
            await records.refused(mine, NEVER_SENT)
            raise
        except (FalError, SubmitUnknownError) as error:
            if isinstance(error, RateLimitedError) and (found := await _forwarded(job, mine)):
                one = await _record(job, mine, found[0])
                for other in found[1:]:  # shown as duplicates
                    await _accepted(job, mine, other)
                return one
            lost = isinstance(error, SubmitUnknownError)
            if not lost and not (isinstance(error, RealmMismatchError) and _may_cost(error)):
                await records.refused(mine, error)
                raise
            job.may_be_at_fal = True
            with _same_ledger():
                await records.answer_lost(mine, error)
        except (LedgerError, RunCancelledError):
            # Whether the ledger says that it is being sent is open; that it was not, is known.
            with suppress(LedgerError):
                await records.refused(mine, NEVER_SENT)
            raise
        else:
            return await _record(job, mine, ticket)
    return None


async def _forwarded(job: Job, mine: Attempt) -> list[Ticket]:
    """After a key's second 429 in a row: the requests that fal has of it all the same.

    One 429 is fal's word. Two may be those of a proxy that speaks like fal, and sends each POST on.
    """
    ledger = job.session.ledger
    with anyio.move_on_after(LOOK_SECONDS), suppress(HailuoError):
        first = await ledger.claims.attempt(mine.key, mine.number - 1)
        before = await ledger.claims.attempt(mine.key, mine.number - 2)
        if first is None or not _was_limited(first) or (before and _was_limited(before)):
            return []
        search = ledger.reconciling(job.session.platform, job.session.clock)
        return [job.order.named(each) for each in await search.unclaimed(first, mine)]
    return []


def _was_limited(one: Attempt) -> bool:
    return one.error is not None and one.error["kind"] == RateLimitedError.__name__


@contextmanager
def _same_ledger(may_be_at_fal: bool = True) -> Iterator[None]:
    """After a POST, let no ledger error say that nothing was bought, or advise another ledger."""
    try:
        yield
    except LedgerError as error:
        if not may_be_at_fal or error.ticket is not None:
            raise
        raise LedgerError(
            error.message,
            cure="An earlier POST may have bought it, which this ledger knows: make the same "
            "ledger usable, and run again. In another one it might be bought again.",
            billed=Billed.UNKNOWN,
        ) from error


def _may_cost(error: HailuoError) -> bool:
    return error.billed is not Billed.NO


async def _post(job: Job, mine: Attempt) -> Ticket:
    """Send the POST, and give its turn to the next."""
    session, request = job.session, job.order.request

    async def begin() -> None:
        run = job.purchase.run
        if not await session.ledger.claims.begin_sending(mine, SUBMIT_SECONDS, run):
            raise NotOursError

    try:
        if request.cautions and not job.cautioned:  # before it is paid for
            job.cautioned = True
            session.emit(Cautioned(request.cautions))
        bare = await session.client.submit(
            request.endpoint,
            dict(job.purchase.body),
            webhook_url=job.order.webhook_url,
            before_sending=begin,
        )
    finally:
        session.connections.posts.release()
    session.witness.reach.answered()
    return job.order.named(bare)


async def _record(job: Job, mine: Attempt, ticket: Ticket) -> Attempt | None:
    """Write a ticket down: it is paid for.

    Returns:
        None where it was given to an equal attempt of another take meanwhile.
    """
    session = job.session
    ledger = session.ledger
    holder = await _accepted(job, mine, ticket)
    session.emit(Submitted(ticket))  # only now, so that who hears of it finds it in the ledger
    if holder.key != mine.key:
        given = SubmitUnknownError(
            f"Its request was given to {shown_key(holder.key)}, an equal one."
        )
        await ledger.records.answer_lost(mine, given)
        return None
    with suppress(HailuoError):  # what it misses, the sweep finds in the ledger
        # What no flow run asked for cannot have been cancelled with one.
        if job.purchase.run.ids and await ledger.waiters.is_unwanted(mine.key):
            answer = await session.client.cancel(ticket, timeout_seconds=CANCEL_SECONDS)
            await ledger.waiters.record_cancellation(holder, answer)
    return holder


async def _accepted(job: Job, mine: Attempt, ticket: Ticket) -> Attempt:
    """Write down that fal accepted it; try again for a while where the ledger is out of reach."""
    deadline = Deadline(RECORD_SECONDS, job.session.clock)

    def pause(attempt: int, error: Exception) -> float | None:
        passes = isinstance(error, LedgerError)
        return pause_until(deadline, LONGEST_PAUSE_SECONDS) if passes else None

    write = partial(job.session.ledger.records.accepted, mine, ticket)
    try:
        return await retry(write, deadline.clock, pause)
    except LedgerError as error:
        raise _unwritten(ticket, error) from error


async def _outwait(job: Job, other: Attempt, deadline: Deadline) -> None:
    """Wait until the owner has its ticket, or its lease has ended."""
    looks = count()
    while await job.session.ledger.claims.still_open(other):
        if deadline.passed:
            raise GenerationTimeoutError(
                f"Somebody else is submitting it, and has no ticket after {deadline.seconds:g} "
                "seconds.",
                billed=Billed.NO,
            )
        await deadline.sleep(_growing_seconds(next(looks)))


async def _reconcile(job: Job, one: Attempt, deadline: Deadline) -> None:
    """Find out what became of an attempt; if that cannot be found out, park it.

    A consent covers only a request that was looked for to the end and not found. fal may list a
    request only once it has begun, so the search lasts as long as such a request usually takes.

    Raises:
        ParkedError: It is parked, and the order does not allow another purchase.
    """
    session, ledger = job.session, job.session.ledger
    session.emit(Searching(one.key))
    search = ledger.reconciling(session.platform, session.clock)
    seconds = job.order.reconcile_seconds
    if job.may_resubmit:
        seconds = max(seconds, usual_seconds(job))
    finding = await search.search(one, seconds, deadline)
    if finding.adopted:
        found = await ledger.claims.latest(one.key)
        if found is not None and found.ticket is not None:
            session.emit(Adopted(found.ticket))
        return
    kind, because = finding.kind, finding.because
    if job.may_resubmit and kind is FindingKind.NONE and not deadline.passed:
        try:
            await look_back(job, instead_of=one)
        except (FalError, GenerationTimeoutError) as error:
            kind = FindingKind.UNREADABLE
            because = f"fal's history could not be read: {error}"
        else:
            job.may_resubmit = False  # the consent was to one more purchase
            # For this one attempt, and as long as its request is missing; if it has turned up
            # meanwhile, or there is another attempt, the next claim will see it.
            await ledger.claims.consent(one.key, one.number, unfound=True)
            return
    if job.may_resubmit:
        because = f"{because} {_not_covered(kind)}"
    if not await ledger.records.parked(one, because):
        return  # meanwhile it was found
    raise parked_error(one, because)


async def look_back(job: Job, instead_of: Attempt | None = None) -> None:
    """Before a key is bought: see whether it was, and this ledger does not know of it.

    Args:
        job: What is about to be bought.
        instead_of: The attempt that the purchase is to replace, if any.

    Raises:
        HailuoError: Nobody can say; nothing was bought.
    """
    seconds, session = job.order.reconcile_seconds, job.session
    with _telling_late(session, LookingBack(job.purchase.account, seconds)):
        await session.ledger.beginnings.look_back(
            job.purchase, session.platform, seconds, instead_of
        )


@contextmanager
def _telling_late(session: Session, event: LookingBack) -> Iterator[None]:
    """Tell what is waited for, if it is not over soon."""

    async def tell() -> None:
        await session.clock.sleep(SILENT_SECONDS)
        if session.witness.reach.outage is None:  # which is told by itself
            session.emit(event)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()


def usual_seconds(job: Job) -> float:
    """How long such a request usually takes at fal; an emulator's cost nothing, and are quicker."""
    if job.purchase.realm == "emulator":
        return 0.0
    return job.order.request.expected_seconds or UNKNOWN_SECONDS


def _not_covered(kind: FindingKind) -> str:
    """Why a consent to another purchase was not used."""
    if kind is FindingKind.NONE:
        return (
            "It is not bought again yet, though on_ambiguous='resubmit' would allow it: such a "
            "request may usually take longer to show than this call may wait."
        )
    return (
        "It is not bought again, for on_ambiguous='resubmit' allows that only where the history "
        "was read to its end and shows no such request."
    )


def _unwritten(ticket: Ticket, error: LedgerError) -> LedgerError:
    return LedgerError(
        f"fal accepted the request, and it could not be written down: {error.message}",
        cure="Make the same ledger writable, and run again: the request will be found in fal's "
        "history.",
        billed=Billed.UNKNOWN,
        ticket=ticket,
    )
