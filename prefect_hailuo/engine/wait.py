"""Waiting for one request, and telling how it goes.

Waiting for a request whose end fal will tell: fal is asked only if nobody seems to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from prefect_hailuo.clock import Clock, Deadline
from prefect_hailuo.engine.events import Logged, Progress
from prefect_hailuo.engine.loop import Emit
from prefect_hailuo.errors import HailuoError, RequestNotFoundError, about
from prefect_hailuo.fal.client import FRESH_SECONDS, AsyncFalClient
from prefect_hailuo.fal.follow import LONGEST_UNHEARD_SECONDS, Seen, Supervisor, age_seconds, follow
from prefect_hailuo.fal.messages import (
    EMULATOR_PREFIX,
    Completed,
    InProgress,
    InQueue,
    LogLine,
    Status,
)
from prefect_hailuo.fal.retry import deadline_error
from prefect_hailuo.models.catalogue import find_input_class
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.records import Completions

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
    told: Completions,
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
    told: Completions, ticket: Ticket, seconds: float, clock: Clock
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


PROGRESS_SECONDS = 5.0
"""How often a waiting generation tells that it still waits; each the more seldom, the more wait."""

TOLD_A_SECOND = 10.0
"""How often all of a process tell that, together."""

FRESH_PAUSE_SECONDS = 2.0


async def wait_for(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    supervisor: Supervisor,
    emit: Emit,
    *,
    watched: bool = True,
    told: Completions | None = None,
) -> Completed:
    """Wait until a request has completed, one way or another.

    Args:
        client: The client of the request's account.
        ticket: The request.
        deadline: When to stop waiting.
        supervisor: Knows the others that the process waits for.
        emit: Called with `Progress` and `Logged`.
        watched: Whether somebody looks at this request by itself. Otherwise only changes of its
            status are told: neither what the model logs, nor that nothing has changed.
        told: Where fal's own call will be written down; None where fal was asked for none.

    Raises:
        GenerationTimeoutError: The deadline passed; it carries the ticket.
        RequestNotFoundError: fal does not know it, though it had time to.
        FalError: fal refused to say how it stands.
    """
    fresh = Deadline(_seconds_fresh(ticket), deadline.clock)
    while True:
        try:
            return await _follow(client, ticket, deadline, supervisor, emit, watched, told)
        except RequestNotFoundError as error:
            if is_forgotten(ticket, error) or fresh.passed or deadline.passed:
                raise
        await fresh.sleep(FRESH_PAUSE_SECONDS)


def is_forgotten(ticket: Ticket, error: RequestNotFoundError) -> bool:
    """Whether an emulator does not know a request because another one took it."""
    if error.answered_by is None:
        return False
    return not ticket.request_id.startswith(f"{EMULATOR_PREFIX}{error.answered_by}-")


async def _follow(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    supervisor: Supervisor,
    emit: Emit,
    watched: bool,
    told: Completions | None,
) -> Completed:
    watch = _Watch(ticket, deadline, supervisor, emit)
    if told is None:
        waiting = partial(follow, client, ticket, deadline, watch.see, supervisor, logs=watched)
    else:
        waiting = partial(hear_of, client, ticket, deadline, watch.see, supervisor, told)
    try:
        if watched and not supervisor.crowded:
            return await _wait_ticking(watch, waiting)
        return await waiting()
    except HailuoError as error:
        raise about(ticket, error)  # noqa: B904 - it is the same error


async def _wait_ticking(watch: _Watch, waiting: Callable[[], Awaitable[Completed]]) -> Completed:
    """The same, in company: not worth a task for each of a thousand, at whom nobody looks."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.tick)
        try:
            return await waiting()
        except HailuoError as error:
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    raise failure  # here, for the group would wrap it


def _seconds_fresh(ticket: Ticket) -> float:
    """How long it may still be too early for fal to know the request."""
    if ticket.submitted_at is None:
        return 0.0
    return max(0.0, FRESH_SECONDS - age_seconds(ticket))


def describe_status(status: Status) -> str:
    """A status in words.

    Example:
        >>> describe_status(InQueue(queue_position=2))
        'in the queue, 2 before it'
    """
    if isinstance(status, InQueue):
        before = status.queue_position
        return "in the queue" if before is None else f"in the queue, {before} before it"
    if isinstance(status, InProgress):
        return "in progress"
    return f"failed ({status.error})" if status.error else "completed"


class _Watch:
    """Turns the statuses of a request into events, and tells now and then that it still waits."""

    def __init__(
        self, ticket: Ticket, deadline: Deadline, supervisor: Supervisor, emit: Emit
    ) -> None:
        self.ticket = ticket
        self.deadline = deadline
        self._supervisor = supervisor
        self._emit = emit
        self._expected = find_input_class(ticket.endpoint).endpoint.expected_seconds
        self._status: Status | None = None
        self._known: frozenset[LogLine] = frozenset()  # one for all, until something is logged

    def see(self, status: Status) -> None:
        news = [line for line in status.logs or [] if line not in self._known]
        if news:
            self._known |= set(news)
            self._emit(Logged(news))
        seen = status.model_copy(update={"logs": None})
        if seen != self._status:
            self._status = seen
            self._tell(seen)

    async def tick(self) -> None:
        while True:
            pause = max(PROGRESS_SECONDS, self._supervisor.seats / TOLD_A_SECOND)
            await self.deadline.clock.sleep(pause)
            if self._status:
                self._tell(self._status)

    def _tell(self, status: Status) -> None:
        elapsed = self.deadline.elapsed
        self._emit(Progress(self.ticket, status, elapsed, self._expected))
