"""Waiting for a request whose end fal will tell: fal is asked only if nobody seems to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from prefect_hailuo.clock import Clock, Deadline
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.following import Seen, age_seconds
from prefect_hailuo.fal.messages import Completed, InQueue, Ticket
from prefect_hailuo.fal.pacing import LONGEST_UNHEARD_SECONDS
from prefect_hailuo.fal.patience import deadline_error
from prefect_hailuo.fal.supervising import Supervisor

if TYPE_CHECKING:
    from prefect_hailuo.ledger.told import Told

UNTOLD_SECONDS = 600.0
"""For how long nothing is asked at first: more than nearly all requests take."""

LAST_SECONDS = 5.0
"""How long before the deadline fal is asked a last time."""

PART_OF_AGE = 0.5
"""After what part of its age a request is asked about again: calls are seldom lost."""


async def hear_of(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    seen: Seen,
    supervisor: Supervisor,
    told: Told,
) -> Completed:
    """Wait until the ledger says that a request is over; now and then ask fal, for lost calls.

    Args:
        client: The client of the account that the request belongs to.
        ticket: The request.
        deadline: When to stop waiting.
        seen: Called with every status that is known.
        supervisor: Is told that somebody waits.
        told: Where fal's call will be written down.

    Raises:
        GenerationTimeoutError: The deadline passed; it carries the ticket.
        FalError: fal refused to say how the request stands.
    """
    with supervisor.company():
        seen(InQueue(queue_position=ticket.queue_position))
        while not deadline.passed:
            pause = _pause(ticket, deadline)
            if completed := await _told_within(told, ticket, pause, deadline.clock):
                seen(completed)
                return completed
            if deadline.passed:
                break
            status = await client.status(ticket, timeout_seconds=deadline.remaining)
            seen(status)
            if isinstance(status, Completed):
                return status
    raise deadline_error(deadline, ticket)


def _pause(ticket: Ticket, deadline: Deadline) -> float:
    left = deadline.remaining
    if left <= LAST_SECONDS:
        return left
    return min(untold_seconds(age_seconds(ticket)), left - LAST_SECONDS)


def untold_seconds(age: float) -> float:
    """How long to wait for a call before fal is asked about a request.

    Never longer than fal is sure to keep a result.

    Args:
        age: Seconds since it was submitted.

    Example:
        >>> untold_seconds(0), untold_seconds(3600), untold_seconds(86400)
        (600.0, 1800.0, 2700.0)
    """
    return min(LONGEST_UNHEARD_SECONDS, max(UNTOLD_SECONDS, age * PART_OF_AGE))


async def _told_within(
    told: Told, ticket: Ticket, seconds: float, clock: Clock
) -> Completed | None:
    heard: list[Completed] = []
    async with anyio.create_task_group() as tasks:

        async def hear() -> None:
            heard.append(await told.hear((ticket.realm, ticket.request_id)))
            tasks.cancel_scope.cancel()

        tasks.start_soon(hear)
        await clock.sleep(seconds)
        tasks.cancel_scope.cancel()
    return heard[0] if heard else None
