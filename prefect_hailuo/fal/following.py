"""Following one request to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timezone

import anyio
from typing_extensions import assert_never

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import FalError, GenerationTimeoutError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Completed, Status, Ticket
from prefect_hailuo.fal.patience import deadline_error
from prefect_hailuo.fal.supervising import Seat, Supervisor

Seen = Callable[[Status], None]


async def follow(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    seen: Seen,
    supervisor: Supervisor | None = None,
    *,
    logs: bool = True,
) -> Completed:
    """Wait until a request has completed, one way or another.

    By itself it listens to fal's stream of statuses, which costs one request and tells the end at
    once; when the stream drops, it asks for the status, and listens again. Among many it does what
    the supervisor's plan says, so that all of them together cost little.

    Args:
        client: The client of the account that the request belongs to.
        ticket: The request.
        deadline: When to stop waiting.
        seen: Called with every status, whether or not it is news.
        supervisor: Knows the others that the process waits for; by default there are none.
        logs: Whether to ask for the model's log lines.

    Raises:
        GenerationTimeoutError: The deadline passed; it carries the ticket.
        FalError: fal refused to say how the request stands.
    """
    supervisor = supervisor or Supervisor()
    with supervisor.seat(client.access, ticket, deadline.clock, age_seconds(ticket)) as seat:
        following = _Following(client, ticket, deadline, seen, seat, logs)
        while not deadline.passed:
            if completed := await following.step():
                return completed
    raise deadline_error(deadline, ticket)


def age_seconds(ticket: Ticket) -> float:
    """How long ago a request was submitted; none, where that is not known, or is yet to come."""
    if ticket.submitted_at is None:
        return 0.0
    age = datetime.now(timezone.utc) - ticket.submitted_at
    return max(0.0, age.total_seconds())


class _Following:
    """One request, step by step."""

    def __init__(
        self,
        client: AsyncFalClient,
        ticket: Ticket,
        deadline: Deadline,
        seen: Seen,
        seat: Seat,
        logs: bool,
    ) -> None:
        self._client = client
        self._ticket = ticket
        self._deadline = deadline
        self._seen = seen
        self._seat = seat
        self._logs = logs

    async def step(self) -> Completed | None:
        """Do what is planned; the completion, if it is known then."""
        plan = self._seat.plan()
        if plan.pause > 0:
            rested = await self._seat.sleep(min(plan.pause, self._deadline.remaining))
            if not rested or self._deadline.passed:
                return None
        match plan.then:
            case "plan":
                return None
            case "ask":
                await self._seat.turn(self._deadline)
                return None if self._deadline.passed else await self._ask()
            case "listen":
                # Others may have taken the last stream during the pause: then it is planned anew.
                return await self._listen() if self._seat.stream_is_free else None
            case _:
                assert_never(plan.then)

    def _see(self, status: Status) -> None:
        self._seat.saw(status)
        self._seen(status)

    async def _ask(self) -> Completed | None:
        """Ask; if there is no answer in time, the error tells of the whole wait."""
        left = self._deadline.remaining
        try:
            status = await self._client.status(self._ticket, logs=self._logs, timeout_seconds=left)
        except GenerationTimeoutError as error:
            last = error.__cause__ if isinstance(error.__cause__, Exception) else None
            raise deadline_error(self._deadline, self._ticket, last) from last
        self._see(status)
        return status if isinstance(status, Completed) else None

    async def _listen(self) -> Completed | None:
        """Listen to one stream, for as long as that is worth while."""
        with self._seat.stream() as listening, anyio.move_on_after(self._deadline.remaining):
            try:
                async with aclosing(self._client.stream(self._ticket, logs=self._logs)) as statuses:
                    async for status in statuses:
                        listening.heard = True
                        self._see(status)
                        if isinstance(status, Completed):
                            return status
                        if not self._seat.should_go_on_listening():
                            return None
            except FalError:
                pass  # what is wrong with the request itself, the question for its status will tell
            listening.dropped = True
        return None
