"""Following one request to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import anyio

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import FalError, GenerationTimeoutError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Completed, Status, Ticket
from prefect_hailuo.fal.patience import deadline_error

SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0

MOST_STREAMS = 200
"""Streams that one process holds open; whoever finds them taken asks now and then instead."""

Seen = Callable[[Status], None]


async def follow(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    seen: Seen,
    streams: anyio.Semaphore | None = None,
) -> Completed:
    """Wait until a request has completed, one way or another.

    It listens to fal's stream of statuses, which costs one request and tells the end at once.
    When the stream drops, it asks for the status, and listens again.

    Args:
        client: The client of the account that the request belongs to.
        ticket: The request.
        deadline: When to stop waiting.
        seen: Called with every status, whether or not it is news.
        streams: Counts the streams that may still be opened.

    Raises:
        GenerationTimeoutError: The deadline passed; it carries the ticket.
        FalError: fal refused to say how the request stands.
    """
    listening = True
    while not deadline.passed:
        if listening and _take(streams):
            try:
                completed, listening = await _listen(client, ticket, deadline, seen)
            finally:
                _give_back(streams)
            if completed:
                return completed
        status = await _ask(client, ticket, deadline)
        seen(status)
        if isinstance(status, Completed):
            return status
        await deadline.sleep(pause_seconds(deadline.elapsed))
    raise deadline_error(deadline, ticket)


def pause_seconds(elapsed: float) -> float:
    """How long to wait between two questions: the longer it has taken, the longer."""
    return min(LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, elapsed / 10))


async def _ask(client: AsyncFalClient, ticket: Ticket, deadline: Deadline) -> Status:
    """The status; if it cannot be had in time, the error tells of the whole wait."""
    try:
        return await client.status(ticket, timeout_seconds=deadline.remaining)
    except GenerationTimeoutError as error:
        last = error.__cause__ if isinstance(error.__cause__, Exception) else None
        raise deadline_error(deadline, ticket, last) from last


async def _listen(
    client: AsyncFalClient, ticket: Ticket, deadline: Deadline, seen: Seen
) -> tuple[Completed | None, bool]:
    """Listen to one stream: the completion, if it came, and whether listening is worth it."""
    heard = False
    with anyio.move_on_after(deadline.remaining):
        try:
            async with aclosing(client.stream(ticket)) as statuses:
                async for status in statuses:
                    heard = True
                    seen(status)
                    if isinstance(status, Completed):
                        return status, True
        except FalError:
            # What is wrong with the request itself, the next question for its status will tell.
            return None, heard
    return None, heard


def _take(streams: anyio.Semaphore | None) -> bool:
    if streams is None:
        return True
    try:
        streams.acquire_nowait()
    except anyio.WouldBlock:
        return False
    return True


def _give_back(streams: anyio.Semaphore | None) -> None:
    if streams is not None:
        streams.release()
