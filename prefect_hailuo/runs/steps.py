"""The steps of the road as jobs for the loop, and how a Prefect run performs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from prefect_hailuo.engine.loop import Connections, Emit, Job, StoppedError, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import VideoOutcomes
from prefect_hailuo.errors import HailuoError, RunCancelledError
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed, Output
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Run
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.cancellation import (
    NOT_CANCELLED,
    AccountLedger,
    Watched,
    current_run,
    seconds_to_signal,
    was_cancelled,
    watcher,
)
from prefect_hailuo.runs.cards import BatchTeller, Teller
from prefect_hailuo.runs.events import Subject, tell_error
from prefect_hailuo.runs.orders import find_place
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.storage.place import Place
from prefect_hailuo.storage.store import Storing
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.engine.road import Road

T = TypeVar("T")


class Tells(Protocol):
    """Tells a run of a job's events, on the caller's side."""

    def tell(self, event: Any) -> None:
        """Tell of an event."""

    async def atell(self, event: Any) -> None:
        """The asynchronous twin of `tell`."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """A job, and the account and ledger that it is about.

    Args:
        job: What to do on the loop.
        account: The account and its ledger; None for a step that needs no key.
        teller: Makes what tells the run of the job's events.
        subject: The generation that it is about, if it is one.
    """

    job: Job[T]
    account: AccountLedger | None
    teller: Callable[[], Tells] = Teller
    subject: Subject | None = None


def perform(step: Step[T]) -> T:
    """Do a step on the package's loop and wait for it, telling the run what it does.

    Raises:
        StoppedError: The flow run was cancelled, or the process is stopping.
    """
    watched = Watched(current_run(), step.account)
    with watcher().watching(watched):
        try:
            return _run(step, watched)
        except (HailuoError, StoppedError) as error:
            if not was_cancelled(watched.run, error):
                _tell_error(step, error)
                raise
            threading.Event().wait(seconds_to_signal(watched.run))
            raise StoppedError("The flow run was cancelled.") from error


async def aperform(step: Step[T]) -> T:
    """The asynchronous twin of `perform`."""
    watched = Watched(current_run(), step.account)
    with watcher().watching(watched):
        try:
            return await _arun(step, watched)
        except (HailuoError, StoppedError) as error:
            if not await run_sync(was_cancelled, watched.run, error):
                await run_sync(_tell_error, step, error)
                raise
            await anyio.sleep(seconds_to_signal(watched.run))
            raise StoppedError("The flow run was cancelled.") from error


def _tell_error(step: Step[T], error: BaseException) -> None:
    if step.subject and isinstance(error, HailuoError):
        tell_error(step.subject, error, crowded=process_loop().crowded)


def _run(step: Step[T], watched: Watched) -> T:
    try:
        return process_loop().run(step.job, step.teller().tell, watched)
    except RunCancelledError as error:
        _reinstate(watched, error)
        return process_loop().run(step.job, step.teller().tell, watched)


async def _arun(step: Step[T], watched: Watched) -> T:
    try:
        return await process_loop().arun(step.job, step.teller().atell, watched)
    except RunCancelledError as error:
        await run_sync(_reinstate, watched, error)
        return await process_loop().arun(step.job, step.teller().atell, watched)


def _reinstate(watched: Watched, error: RunCancelledError) -> None:
    """Let a flow run buy again that was cancelled and has been started once more.

    Raises:
        RunCancelledError: It still is cancelled, for all that is known.
    """
    if watcher().ask(watched.run, time.monotonic()) != NOT_CANCELLED:
        raise error
    if watched.account is not None:
        process_loop().run(_reinstating(watched.run, watched.account))


def _reinstating(run: Run, account: AccountLedger) -> Job[None]:
    async def job(connections: Connections, emit: Emit) -> None:
        await connections.ledgers.at(account.ledger).waiters.reinstate(run.ids)

    return job


def _account(access: Access, ledger: LedgerAddress | None = None) -> AccountLedger:
    """Where to do something, by the settings; to be called on the caller's side."""
    settings = current_settings()
    ledger = ledger or settings.ledger_of(access.realm)
    return AccountLedger(access, ledger, settings.requests_per_second)


def _road(account: AccountLedger, connections: Connections, emit: Emit) -> Road:
    # Here, for the road loads the ledger's database, and this module is loaded with the package.
    from prefect_hailuo.engine.road import Road

    _keep_to_rate(account, connections)
    return Road(account.access, account.ledger, connections, emit)


def _keep_to_rate(account: AccountLedger, connections: Connections) -> None:
    connections.rate.per_second = account.requests_per_second


def generating(order: Order) -> Step[Video]:
    """The whole road."""
    account = _account(order.access, order.ledger)

    async def job(connections: Connections, emit: Emit) -> Video:
        return await _road(account, connections, emit).generate(order)

    return _about(order, Step(job, account))


def batching(
    orders: Sequence[Order], teller: Callable[[], Tells] | None = None
) -> Step[VideoOutcomes]:
    """The whole road of any number of orders of one account, side by side.

    Args:
        orders: In the order of the outcomes; at least one.
        teller: Makes what tells the run of `BatchProgress`; by default, as every batch is told of.
    """

    async def job(connections: Connections, emit: Emit) -> VideoOutcomes:
        # Here, as in `_road`.
        from prefect_hailuo.engine.batch import Batch

        _keep_to_rate(account, connections)
        return await Batch(orders, connections, emit).run()

    account = _account(orders[0].access, orders[0].ledger)
    return Step(job, account, teller or partial(BatchTeller, orders))


def _about(order: Order, step: Step[T]) -> Step[T]:
    """A step that tells of one order's generation."""
    subject = Subject.of_order(order)
    return replace(step, teller=partial(Teller, subject, order.place), subject=subject)


def acquiring(order: Order) -> Step[Ticket]:
    """The request alone: the one that there is, or a new one."""
    account = _account(order.access, order.ledger)

    async def job(connections: Connections, emit: Emit) -> Ticket:
        return await _road(account, connections, emit).acquire(order)

    return _about(order, Step(job, account))


def triggering(order: Order) -> Step[Ticket]:
    """The request alone, of a video whose place is known to take it."""
    account = _account(order.access, order.ledger)

    async def job(connections: Connections, emit: Emit) -> Ticket:
        await order.place.check()
        return await _road(account, connections, emit).acquire(order)

    return _about(order, Step(job, account))


def waiting(ticket: Ticket, access: Access, timeout_seconds: float) -> Step[Completed]:
    """Until the request has completed."""
    account = _account(access)

    async def job(connections: Connections, emit: Emit) -> Completed:
        road = _road(account, connections, emit)
        return await road.wait(ticket, timeout_seconds)

    return Step(job, account, subject=Subject.of_ticket(ticket))


def fetching(
    ticket: Ticket,
    access: Access,
    completed: Completed | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Step[Output]:
    """The result of a completed request."""
    account = _account(access)

    async def job(connections: Connections, emit: Emit) -> Output:
        road = _road(account, connections, emit)
        return await road.fetch(ticket, completed, timeout_seconds)

    return Step(job, account, subject=Subject.of_ticket(ticket))


def storing(
    ticket: Ticket, output: Output, place: Place, completed: Completed | None = None
) -> Step[Video]:
    """The result, downloaded, verified and kept."""
    ledger = current_settings().ledger_of(ticket.realm)

    async def job(connections: Connections, emit: Emit) -> Video:
        # Here, as in `_road`.
        from prefect_hailuo.engine.keep import Keeping

        into = Storing(connections.downloads, place)
        keeping = Keeping(connections.ledgers.at(ledger), into, find_place, emit)
        return await keeping.keep(ticket, output, completed)

    subject = Subject.of_ticket(ticket)
    return Step(job, None, partial(Teller, subject, place), subject)


def cancelling(ticket: Ticket, access: Access) -> Step[Cancellation]:
    """fal's answer to a cancellation."""
    account = _account(access)

    async def job(connections: Connections, emit: Emit) -> Cancellation:
        return await _road(account, connections, emit).cancel(ticket)

    return Step(job, account)
