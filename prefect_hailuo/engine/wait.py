"""Waiting for one request, and telling how it goes.

`wait` follows a request as `fal.follow` does. Where fal was asked to call a webhook, it waits for
the call to be recorded in the ledger instead, and asks fal only now and then, in case a call is
lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import anyio

from prefect_hailuo.clock import Deadline
from prefect_hailuo.engine.events import Logged, Progress
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    LedgerError,
    OtherAccountError,
    RequestNotFoundError,
    about,
)
from prefect_hailuo.fal.client import FRESH_SECONDS
from prefect_hailuo.fal.follow import LONGEST_UNHEARD_SECONDS, age_seconds, follow
from prefect_hailuo.fal.messages import (
    EMULATOR_PREFIX,
    Completed,
    InProgress,
    InQueue,
    LogLine,
    Status,
)
from prefect_hailuo.fal.retry import deadline_error, pause_until, retry
from prefect_hailuo.models.catalogue import expected_seconds_of
from prefect_hailuo.ticket import Ticket

UNTOLD_SECONDS = 600.0
"""How long fal is not asked at first, if it will call: nearly all requests take less."""

LAST_SECONDS = 5.0
"""How long before the deadline fal is asked a last time."""

PART_OF_AGE = 0.5
"""After what part of its age a request is asked about again: calls are rarely lost."""

PROGRESS_SECONDS = 5.0
"""How often a generation reports that it still waits; the more of them wait, the less often."""

TOLD_A_SECOND = 10.0
"""How many of these reports all generations of a process make in a second."""

FRESH_PAUSE_SECONDS = 2.0

SILENCE = nullcontext()


async def wait(session: Session, ticket: Ticket, timeout_seconds: float) -> Completed:
    """Wait until a request has completed, one way or another.

    Args:
        session: The account that the request belongs to. If it is not watched, only changes of
            its status are reported: neither the model's log, nor that nothing has changed.
        ticket: The request.
        timeout_seconds: How long to wait.

    Raises:
        GenerationTimeoutError: It takes longer than `timeout_seconds`; it carries the ticket.
        OtherAccountError: It is another account's.
        RequestNotFoundError: fal does not know it, though it had time to.
        FalError: fal refused to say how it stands.
    """
    check_mine(session, ticket)
    deadline = Deadline(timeout_seconds, session.clock)
    fresh = Deadline(_seconds_fresh(ticket), session.clock)
    supervisor = session.connections.supervisor
    news = _News(session, ticket, deadline)

    async def learn() -> Completed:
        if ticket.webhook_url:
            return await _listen(session, ticket, deadline, news.see)
        await _learn(session, ticket)
        return await follow(
            session.client, ticket, deadline, news.see, supervisor, logs=session.watched
        )

    def pause(attempt: int, error: Exception) -> float | None:
        if not isinstance(error, RequestNotFoundError) or is_forgotten(ticket, error):
            return None
        return None if deadline.passed else pause_until(fresh, FRESH_PAUSE_SECONDS)

    # A task for each of a thousand requests would cost more than their progress is worth.
    with news.ticking() if session.watched and not supervisor.crowded else SILENCE:
        try:
            return await retry(learn, session.clock, pause)
        except HailuoError as error:
            raise about(ticket, error)  # noqa: B904 - it is the same error


def check_mine(session: Session, ticket: Ticket) -> None:
    """Refuse another account's request: of that, fal would say that it is not there.

    Raises:
        OtherAccountError: It is another's.
    """
    mine = session.access.account
    if ticket.account not in (None, mine):
        raise OtherAccountError(
            f"The request {ticket.request_id} is the account {ticket.account!r}'s; these "
            f"credentials are of the account {mine!r}.",
            billed=Billed.UNKNOWN,
            ticket=ticket,
        )


def is_forgotten(ticket: Ticket, error: RequestNotFoundError) -> bool:
    """Whether an emulator does not know a request because another emulator accepted it."""
    if error.answered_by is None:
        return False
    return not ticket.request_id.startswith(f"{EMULATOR_PREFIX}{error.answered_by}-")


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
        return f"in progress ({status.word})" if status.word else "in progress"
    return f"failed ({status.error})" if status.error else "completed"


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


async def _learn(session: Session, ticket: Ticket) -> None:
    """Look up how long an endpoint's requests took, once for all that wait for it."""
    supervisor, access, clock = session.connections.supervisor, session.access, session.clock
    if not supervisor.is_news(access, ticket, clock) or access.realm != "fal":
        return  # an emulator's time may go faster
    with suppress(LedgerError):
        observed = await session.ledger.records.durations(ticket.endpoint)
        supervisor.learn(access, ticket, clock, observed)


async def _listen(
    session: Session, ticket: Ticket, deadline: Deadline, see: Callable[[Status], None]
) -> Completed:
    """Wait until the ledger says that a request is over; ask fal now and then, for lost calls."""
    with session.connections.supervisor.company():
        see(InQueue(queue_position=ticket.queue_position))
        while not deadline.passed:
            if completed := await _call_within(session, ticket, _pause(ticket, deadline)):
                see(completed)
                return completed
            if deadline.passed:
                break
            status = await session.client.status(ticket, timeout_seconds=deadline.remaining)
            see(status)
            if isinstance(status, Completed):
                return status
    raise deadline_error(deadline, ticket)


async def _call_within(session: Session, ticket: Ticket, seconds: float) -> Completed | None:
    """How a request completed, by fal's call, if it comes within that time."""
    heard: list[Completed] = []
    async with anyio.create_task_group() as tasks:

        async def hear() -> None:
            heard.append(await session.ledger.completions.hear((ticket.realm, ticket.request_id)))
            tasks.cancel_scope.cancel()

        tasks.start_soon(hear)
        await session.clock.sleep(seconds)
        tasks.cancel_scope.cancel()
    return heard[0] if heard else None


def _pause(ticket: Ticket, deadline: Deadline) -> float:
    left = deadline.remaining
    if left <= LAST_SECONDS:
        return left
    return min(untold_seconds(age_seconds(ticket)), left - LAST_SECONDS)


def _seconds_fresh(ticket: Ticket) -> float:
    """How long it may still be too early for fal to know the request."""
    if ticket.submitted_at is None:
        return 0.0
    return max(0.0, FRESH_SECONDS - age_seconds(ticket))


class _News:
    """Turns the statuses of a request into events, and reports now and then that it still waits."""

    __slots__ = ("_deadline", "_expected", "_known", "_session", "_status", "_ticket")

    def __init__(self, session: Session, ticket: Ticket, deadline: Deadline) -> None:
        self._session = session
        self._ticket = ticket
        self._deadline = deadline
        self._expected = expected_seconds_of(ticket)
        self._status: Status | None = None
        self._known: frozenset[LogLine] = frozenset()  # one for all, until something is logged

    def see(self, status: Status) -> None:
        lines = [line for line in status.logs or [] if line not in self._known]
        if lines:
            self._known |= set(lines)
            self._session.emit(Logged(lines))
        seen = status.model_copy(update={"logs": None})
        if seen != self._status:
            self._status = seen
            self._tell(seen)

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Meanwhile, report now and then that it still waits."""
        task = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            task.cancel()

    async def _tick(self) -> None:
        supervisor = self._session.connections.supervisor
        while True:
            await self._session.clock.sleep(max(PROGRESS_SECONDS, supervisor.seats / TOLD_A_SECOND))
            if self._status:
                self._tell(self._status)

    def _tell(self, status: Status) -> None:
        elapsed = self._deadline.elapsed
        self._session.emit(Progress(self._ticket, status, elapsed, self._expected))
