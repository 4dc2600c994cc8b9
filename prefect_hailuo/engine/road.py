"""The steps of one generation in their order: find or buy, wait, collect, keep.

`generate` is all of it: ask the ledger (and buy, where nothing else is left: `acquire`), wait and
fetch (`collect`), keep (`keep`). The other functions here are its parts, for those who take the
steps one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import anyio

from prefect_hailuo.engine.acquire import acquire_attempt
from prefect_hailuo.engine.collect import (
    ForgottenError,
    check_known,
    collect,
    fetch_result,
    fresh_file,
)
from prefect_hailuo.engine.events import LookingBack
from prefect_hailuo.engine.job import Job
from prefect_hailuo.engine.keep import enter_unrecorded, keep, reuse
from prefect_hailuo.engine.order import Order, settle
from prefect_hailuo.engine.session import Session
from prefect_hailuo.engine.wait import wait
from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    LedgerError,
    RequestNotFoundError,
)
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.messages import Cancellation, Completed, Output
from prefect_hailuo.fal.outage import SILENT_SECONDS
from prefect_hailuo.fal.retry import Note, SubmissionRetry
from prefect_hailuo.ledger.attempt import Attempt, Fate, Rerun, Run
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Ticket

CANCELLED_AT_ONCE = 20
"""A process that was cancelled has little time, and may have hundreds of requests."""

CANCEL_SECONDS = 20.0
"""How long fal is asked to cancel what nobody wants any more."""


async def generate(order: Order, session: Session) -> Video:
    """The video of an order: the one that is stored, the one that is on its way, or a new one.

    Args:
        order: What is wanted.
        session: The account that pays.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.
    """
    await order.place.check()
    return await bring(order, session)


async def bring(
    order: Order,
    session: Session,
    retry: SubmissionRetry | None = None,
    note: Note | None = None,
) -> Video:
    """The same for an order whose place was checked already: one place serves many.

    Args:
        order: What is wanted.
        session: The account that pays.
        retry: What many share that wait while fal takes no more requests.
        note: Called with each error that is waited out.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.
    """
    async with _job(order, session, retry, note) as job:
        one = await find(job)
        while (video := await _finish(job, one)) is None:
            job.begin_again()
            one = await acquire_attempt(job)
        return video


async def acquire(order: Order, session: Session) -> Ticket:
    """The ticket of an order's request: the one that there is, or that of a new one.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.
    """
    async with _job(order, session) as job:
        ticket = (await find(job)).open_ticket()
        if job.slot.taken:
            job.slot.leave_to(_watch(ticket, job))
        return ticket


@asynccontextmanager
async def _job(
    order: Order,
    session: Session,
    retry: SubmissionRetry | None = None,
    note: Note | None = None,
) -> AsyncIterator[Job]:
    """An order on its way; meanwhile its call counts as alive."""
    job = Job(await settle(order, session.connections.pictures), session, retry, note)
    with session.ledger.waiters.alive(job.waiter):
        async with job.slot:
            yield job


async def find(job: Job) -> Attempt:
    """The attempt to go on with: what is known to be stored needs no claim."""
    ledger = job.session.ledger
    latest = await ledger.claims.latest(job.order.key)
    if latest is not None and latest.fate is Fate.STORED:
        return latest
    # Before a key is bought: look where it may be though this ledger never saw it.
    is_new = latest is None and not await enter_unrecorded(job)
    if is_new or (latest is not None and latest.rerun is Rerun.BUY):
        seconds = job.order.reconcile_seconds
        with _telling_late(job.session, LookingBack(job.purchase.account, seconds)):
            await ledger.beginnings.look_back(job.purchase, job.session.platform, seconds)
    return await acquire_attempt(job)


async def _finish(job: Job, one: Attempt) -> Video | None:
    """The video of an attempt; None where it is to be had in another way, by a new claim."""
    with _bought(one.open_ticket()):
        if one.fate is Fate.STORED:
            return await reuse(job, one)
        order, session = job.order, job.session
        try:
            async with job.slot:  # freed before the download: fal has done its part
                await check_known(session, one)
                output, completed = await collect(session, one, order.timeout_seconds)
        except ForgottenError:
            return None
        return await keep(
            session.ledger,
            job.store,
            order.find_place,
            session.emit,
            order.named(one.open_ticket()),
            output,
            completed,
            one,
            partial(fresh_file, session, one, completed),
        )


async def wait_for(ticket: Ticket, session: Session, timeout_seconds: float) -> Completed:
    """Wait until a request has completed, one way or another.

    Raises:
        GenerationTimeoutError: It takes longer than `timeout_seconds`; it carries the ticket.
        FalError: fal refused to say how it stands.
    """
    one = await session.known(ticket)
    if one is not None and one.output is not None:
        return one.completed or Completed()
    if one is None:  # this ledger will not hear of its end
        ticket = ticket.model_copy(update={"webhook_url": None})
    return await wait(session, ticket, timeout_seconds)


async def fetch(
    ticket: Ticket,
    session: Session,
    completed: Completed | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Output:
    """The result of a completed request, written down if the ledger knows the request.

    Args:
        ticket: The request.
        session: Its account.
        completed: How it completed, if known: a failure is then reported at once.
        timeout_seconds: How long transient faults are waited out.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.
    """
    one = await session.known(ticket)
    if one is None:
        return await fetch_result(session, ticket, completed, timeout_seconds)
    try:
        with _bought(ticket):
            return (await collect(session, one, timeout_seconds, completed))[0]
    except ForgottenError as error:
        raise RequestNotFoundError(
            "The emulator was restarted, and knows the request no longer.",
            cure="Submit it again: the emulator makes it anew at no cost.",
            ticket=ticket,
        ) from error


async def cancel(ticket: Ticket, session: Session) -> Cancellation:
    """Ask fal to cancel a request, even if others want it, and write down what fal said.

    Raises:
        FalError: fal refused to.
    """
    answer = await session.client.cancel(ticket)
    if one := await session.known(ticket):
        await session.ledger.waiters.record_cancellation(one, answer)
    return answer


async def withdraw(run: Run, session: Session) -> None:
    """Note that a flow run was cancelled, and cancel at fal what nobody wants any more.

    Only requests of this account are cancelled; others are left to those who hold their keys. What
    fal refuses to cancel is left to the next time.
    """
    waiters, access = session.ledger.waiters, session.access
    limiter = anyio.CapacityLimiter(CANCELLED_AT_ONCE)

    async def cancel_unwanted(one: Attempt) -> None:
        async with limiter:
            with suppress(HailuoError):
                if not await waiters.is_unwanted(one.key):
                    return  # somebody wants it again
                ticket = one.open_ticket()
                answer = await session.client.cancel(ticket, timeout_seconds=CANCEL_SECONDS)
                await waiters.record_cancellation(one, answer)

    async with anyio.create_task_group() as tasks:
        for one in await waiters.withdraw(run.ids):
            if (one.account, one.realm) == (access.account, access.realm):
                tasks.start_soon(cancel_unwanted, one)


async def _watch(ticket: Ticket, job: Job) -> None:
    """Wait until a request has ended at fal, for nobody but its slot."""
    with suppress(Exception):  # the caller that wants the video is told
        await wait(job.session.unwatched(), ticket, job.order.timeout_seconds)


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


@contextmanager
def _bought(ticket: Ticket) -> Iterator[None]:
    """Let no fault of the ledger's say that nothing was bought, when something was."""
    try:
        yield
    except LedgerError as error:
        raise LedgerError(
            error.message,
            cure="Make the same ledger usable, and run again: nothing is bought twice, nothing is "
            "lost.",
            billed=Billed.UNKNOWN,
            ticket=ticket,
        ) from error
