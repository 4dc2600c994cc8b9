"""The steps of the road as jobs for the loop, and how a Prefect run performs them."""

from __future__ import annotations

from typing import TypeVar

from prefect_hailuo.artifacts import Teller
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed, Output, Ticket
from prefect_hailuo.generation import Order, Road
from prefect_hailuo.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.places import Place
from prefect_hailuo.storing import Storing
from prefect_hailuo.video import Video

T = TypeVar("T")


def perform(job: Job[T]) -> T:
    """Run a job on the package's loop and wait for it, telling the run what it does."""
    return process_loop().run(job, Teller().tell)


async def aperform(job: Job[T]) -> T:
    """The asynchronous twin of `perform`."""
    return await process_loop().arun(job, Teller().atell)


def generating(order: Order) -> Job[Video]:
    """The whole road."""

    async def job(connections: Connections, emit: Emit) -> Video:
        return await Road(order.access, connections, emit).generate(order)

    return job


def submitting(order: Order) -> Job[Ticket]:
    """The purchase alone."""

    async def job(connections: Connections, emit: Emit) -> Ticket:
        return await Road(order.access, connections, emit).submit(order)

    return job


def triggering(order: Order) -> Job[Ticket]:
    """The purchase alone, of a video whose place is known to take it."""

    async def job(connections: Connections, emit: Emit) -> Ticket:
        await order.place.check()
        return await Road(order.access, connections, emit).submit(order)

    return job


def waiting(ticket: Ticket, access: Access, timeout_seconds: float) -> Job[Completed]:
    """Until the request has completed."""

    async def job(connections: Connections, emit: Emit) -> Completed:
        return await Road(access, connections, emit).wait(ticket, timeout_seconds)

    return job


def fetching(ticket: Ticket, access: Access, completed: Completed | None = None) -> Job[Output]:
    """The result of a completed request."""

    async def job(connections: Connections, emit: Emit) -> Output:
        return await Road(access, connections, emit).fetch(ticket, completed)

    return job


def storing(
    ticket: Ticket, output: Output, place: Place, completed: Completed | None = None
) -> Job[Video]:
    """The result, downloaded, verified and kept."""

    async def job(connections: Connections, emit: Emit) -> Video:
        return await Storing(connections.media, place, emit).store(ticket, output, completed)

    return job


def cancelling(ticket: Ticket, access: Access) -> Job[Cancellation]:
    """fal's answer to a cancellation."""

    async def job(connections: Connections, emit: Emit) -> Cancellation:
        return await AsyncFalClient(access, connections.http).cancel(ticket)

    return job
