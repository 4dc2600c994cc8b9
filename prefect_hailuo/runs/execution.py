"""How a Prefect run performs a job on the package's loop: it waits, and gets the job's events."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from prefect_hailuo.engine.batch import Batch
from prefect_hailuo.engine.keep import keep
from prefect_hailuo.engine.loop import Connections, Emit, Job, StoppedError, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import VideoOutcomes
from prefect_hailuo.engine.road import acquire, cancel, fetch, generate, wait_for
from prefect_hailuo.engine.session import Account, Session
from prefect_hailuo.errors import HailuoError, RunCancelledError
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.hosts import FAL_HOSTS, Access, Hosts
from prefect_hailuo.fal.messages import Cancellation, Completed, Output
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.cancellation import (
    NOT_CANCELLED,
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
from prefect_hailuo.runs.tracebacks import (
    log_what_led_to,
    shorten_tracebacks,
    without_frames,
)
from prefect_hailuo.storage.place import Place
from prefect_hailuo.storage.store import VideoStore
from prefect_hailuo.ticket import Ticket

T = TypeVar("T")

shorten_tracebacks()


class Tells(Protocol):
    """Reports a job's events to its run, on the caller's side."""

    def tell(self, event: Any) -> None:
        """Tell of an event."""

    async def atell(self, event: Any) -> None:
        """The asynchronous twin of `tell`."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """What a run asks of the engine, and what reports on it.

    Args:
        job: What to do on the loop.
        account: The account and its ledger; None for a step that needs no key.
        teller: Makes what reports the job's events to the run.
        subject: The generation that it is about, if it is one.
    """

    job: Job[T]
    account: Account | None
    teller: Callable[[], Tells] = Teller
    subject: Subject | None = None


def perform(step: Step[T]) -> T:
    """Do a step on the package's loop and wait for it, reporting its events to the run.

    Raises:
        StoppedError: The flow run was cancelled, or the process is stopping.
    """
    watched = Watched(current_run(), step.account)
    with watcher().watching(watched):
        try:
            try:
                return process_loop().run(step.job, step.teller().tell, watched)
            except RunCancelledError as error:
                _reinstate(watched, error)
                return process_loop().run(step.job, step.teller().tell, watched)
        except (HailuoError, StoppedError) as error:
            if not was_cancelled(watched.run, error):
                raise _told(step, error) from error.__cause__
            threading.Event().wait(seconds_to_signal(watched.run))
            raise StoppedError("The flow run was cancelled.") from error


async def aperform(step: Step[T]) -> T:
    """The asynchronous twin of `perform`."""
    watched = Watched(current_run(), step.account)
    with watcher().watching(watched):
        try:
            try:
                return await process_loop().arun(step.job, step.teller().atell, watched)
            except RunCancelledError as error:
                await run_sync(_reinstate, watched, error)
                return await process_loop().arun(step.job, step.teller().atell, watched)
        except (HailuoError, StoppedError) as error:
            if not await run_sync(was_cancelled, watched.run, error):
                raise await run_sync(_told, step, error) from error.__cause__
            await anyio.sleep(seconds_to_signal(watched.run))
            raise StoppedError("The flow run was cancelled.") from error


def _told(step: Step[T], error: HailuoError | StoppedError) -> HailuoError | StoppedError:
    """The error to raise, of which the run is told."""
    if not isinstance(error, HailuoError):
        return error
    if step.subject:
        tell_error(step.subject, error, crowded=process_loop().crowded)
    log_what_led_to(error)
    return without_frames(error)


def _reinstate(watched: Watched, error: RunCancelledError) -> None:
    """Let a flow run buy again that was cancelled and has been started once more.

    Raises:
        RunCancelledError: It is still cancelled, as far as is known.
    """
    if watcher().ask(watched.run, time.monotonic()) != NOT_CANCELLED:
        raise error
    account = watched.account
    if account is None:
        return

    async def job(connections: Connections, emit: Emit) -> None:
        await connections.ledgers.at(account.ledger).waiters.reinstate(watched.run.ids)

    process_loop().run(job)


def _account(access: Access, ledger: LedgerAddress | None = None) -> Account:
    """Where to do something, by the settings; to be called on the caller's side."""
    settings = current_settings()
    ledger = ledger or settings.ledger_of(access.realm)
    return Account(access, ledger, settings.requests_per_second)


def _job(account: Account, do: Callable[[Session], Awaitable[T]]) -> Job[T]:
    """Something that is done as an account, as a job for the loop."""

    async def job(connections: Connections, emit: Emit) -> T:
        connections.rate.per_second = account.requests_per_second
        return await do(Session(account.access, account.ledger, connections, emit))

    return job


def _of_order(order: Order, do: Callable[[Session], Awaitable[T]]) -> Step[T]:
    subject = Subject.of_order(order)
    account = _account(order.access, order.ledger)
    return Step(_job(account, do), account, partial(Teller, subject, order.place), subject)


def _of_ticket(ticket: Ticket, access: Access, do: Callable[[Session], Awaitable[T]]) -> Step[T]:
    account = _account(access)
    return Step(_job(account, do), account, subject=Subject.of_ticket(ticket))


def generating(order: Order) -> Step[Video]:
    """All steps of a generation: the video is stored in the end."""
    return _of_order(order, partial(generate, order))


def acquiring(order: Order) -> Step[Ticket]:
    """Only the request: the existing one, or a new one."""
    return _of_order(order, partial(acquire, order))


def triggering(order: Order) -> Step[Ticket]:
    """Only the request, after its place was checked."""

    async def do(session: Session) -> Ticket:
        await order.place.check()
        return await acquire(order, session)

    return _of_order(order, do)


def batching(
    orders: Sequence[Order], teller: Callable[[], Tells] | None = None
) -> Step[VideoOutcomes]:
    """All steps of any number of orders of one account, side by side.

    Args:
        orders: In the order of the outcomes; at least one.
        teller: Makes what reports `BatchProgress` to the run; by default, a `BatchTeller`.
    """

    async def do(session: Session) -> VideoOutcomes:
        return await Batch(orders, session.connections, session.emit).run()

    account = _account(orders[0].access, orders[0].ledger)
    return Step(_job(account, do), account, teller or partial(BatchTeller, orders))


def waiting(ticket: Ticket, access: Access, timeout_seconds: float) -> Step[Completed]:
    """Until the request has completed."""

    async def do(session: Session) -> Completed:
        return await wait_for(ticket, session, timeout_seconds)

    return _of_ticket(ticket, access, do)


def fetching(
    ticket: Ticket,
    access: Access,
    completed: Completed | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Step[Output]:
    """The result of a completed request."""

    async def do(session: Session) -> Output:
        return await fetch(ticket, session, completed, timeout_seconds)

    return _of_ticket(ticket, access, do)


def storing(
    ticket: Ticket,
    output: Output,
    place: Place,
    completed: Completed | None = None,
    hosts: Hosts = FAL_HOSTS,
) -> Step[Video]:
    """The result, downloaded, verified and kept. No key is needed."""

    settings = current_settings()
    address = settings.ledger_of(ticket.realm)

    async def job(connections: Connections, emit: Emit) -> Video:
        ledger = connections.ledgers.at(address)
        connections.downloads.trust(settings.file_hosts)
        store = VideoStore(connections.downloads, place, hosts=hosts)
        return await keep(ledger, store, find_place, emit, ticket, output, completed)

    subject = Subject.of_ticket(ticket)
    return Step(job, None, partial(Teller, subject, place), subject)


def cancelling(ticket: Ticket, access: Access) -> Step[Cancellation]:
    """fal's answer to a cancellation."""
    account = _account(access)
    return Step(_job(account, partial(cancel, ticket)), account)
