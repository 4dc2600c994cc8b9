"""The one retry loop, and who may retry what.

Everything but the POST is free to repeat. `retry` repeats a call on an injected clock; a function
decides after each failure how long to wait, or that it is over:

- `retry_read` repeats a question to fal until a deadline.
- `pause_until` is for anything else that goes on until a deadline.
- `pause_within` is for downloads: so many attempts, and only as long as there is time for another.
- `SubmissionRetry` is for a batch's submissions, and only for errors that cost nothing. A task run
  for one video is retried by Prefect; a batch would lose hundreds of videos to a fal that wants
  fewer submissions a second, or thousands to a network that is away for a minute.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import anyio
import httpx

from prefect_hailuo.clock import Clock, Deadline
from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    E,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    NoCreditError,
    RateLimitedError,
    RealmMismatchError,
    UnreachableError,
    about,
)
from prefect_hailuo.ticket import Ticket

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0

QUICK_SUBMISSIONS = 6
"""After this many attempts to submit, pauses are longer: each attempt is a row in the ledger."""

SLOW_PAUSE_SECONDS = 60.0
"""The shortest pause after that."""

# fal refused the question, not the request: what the request costs stays open.
QUESTION_REFUSED = (BadKeyError, NoCreditError, RateLimitedError, RealmMismatchError)

Pause = Callable[[int, Exception], float | None]
"""Seconds to wait after an attempt (the first is 0) that failed with an error; None: give up."""


async def retry(call: Callable[[], Awaitable[T]], clock: Clock, pause: Pause) -> T:
    """Repeat a call until it succeeds or `pause` gives up; then its last error is raised.

    Args:
        call: What to do; it must be free to repeat.
        clock: What the pauses are spent with.
        pause: How long to wait after a failure, or None to raise the error.

    Example:
        >>> import anyio
        >>> from prefect_hailuo.clock import SystemClock
        >>> replies = iter([OSError("not yet"), "here"])
        >>> async def ask() -> str:
        ...     reply = next(replies)
        ...     if isinstance(reply, Exception):
        ...         raise reply
        ...     return reply
        >>> anyio.run(retry, ask, SystemClock(), lambda attempt, error: 0.01)
        'here'
    """
    for attempt in count():
        try:
            return await call()
        except Exception as error:
            seconds = pause(attempt, error)
            if seconds is None:
                raise
        await clock.sleep(seconds)
    raise AssertionError("The attempts never run out.")


def pause_seconds(attempt: int, error: Exception) -> float:
    """How long to wait after a failure: what fal asked for, or longer each time.

    The pauses are random within limits, so that many waiters do not come back at once.

    Args:
        attempt: Which attempt failed; the first is 0.
        error: How it failed.
    """
    asked = error.retry_after if isinstance(error, HailuoError) else None
    if asked is not None:
        return max(asked, FIRST_PAUSE_SECONDS)
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret depends on it


def pause_until(deadline: Deadline, seconds: float) -> float | None:
    """A pause that ends with the deadline; None once the deadline has passed.

    With it, the last attempt is made at the deadline.

    Args:
        deadline: When to give up.
        seconds: How long to wait if there is time.
    """
    return None if deadline.passed else min(seconds, deadline.remaining)


def pause_within(deadline: Deadline, attempts: int, attempt: int, error: Exception) -> float | None:
    """The pause after a failed attempt; None where another cannot help or has no time left.

    Args:
        deadline: When to give up.
        attempts: How many attempts there may be.
        attempt: Which one failed; the first is 0.
        error: How it failed; only an error that calls itself retryable is retried.
    """
    if not (isinstance(error, HailuoError) and error.retryable) or attempt + 1 >= attempts:
        return None
    seconds = pause_seconds(attempt, error)
    return seconds if seconds < deadline.remaining else None


async def retry_read(
    read: Callable[[], Awaitable[T]],
    deadline: Deadline,
    ticket: Ticket | None = None,
    *,
    of_result: bool = False,
) -> T:
    """Repeat a read until it succeeds, fails for good, or the deadline passes.

    Args:
        read: The read; it may be called any number of times.
        deadline: When to give up.
        ticket: The request that it is about; every error carries it.
        of_result: Whether it reads a result.

    Raises:
        GenerationTimeoutError: The deadline passed; its cause is the last fault.
        HailuoError: A fault that is not transient.
    """
    last: Exception | None = None

    def pause(attempt: int, error: Exception) -> float | None:
        nonlocal last
        if isinstance(error, HailuoError):
            of_reading(ticket, error, of_result=of_result)
        if not is_transient(error, of_result=of_result):
            return None
        last = error
        return pause_until(deadline, pause_seconds(attempt, error))

    async def read_in_time() -> T:
        if last and deadline.passed:
            raise last
        return await read()

    # The scope ends an answer that trickles in for ever.
    with anyio.move_on_after(deadline.remaining):
        try:
            return await retry(read_in_time, deadline.clock, pause)
        except Exception as error:
            if error is not last:
                raise
    raise deadline_error(deadline, ticket, last) from last


def is_transient(error: Exception, *, of_result: bool = False) -> bool:
    """Whether a read that failed with this error may succeed when it is repeated.

    Args:
        error: How it failed.
        of_result: Whether a result was read. The result itself may be a fault, to which fal gives
            a type: then that is the answer. Without a type, the fault says nothing of the request.
    """
    if isinstance(error, FalFaultError):
        return not (of_result and error.error_type)
    return isinstance(error, RateLimitedError | httpx.RequestError)


def of_reading(ticket: Ticket | None, error: E, *, of_result: bool = False) -> E:
    """The error of a read, with the request that was read about.

    Only a result tells what the request cost; any other failure leaves that open.
    """
    if ticket and (isinstance(error, QUESTION_REFUSED) or not of_result):
        error.billed = Billed.UNKNOWN
    return about(ticket, error)


def deadline_error(
    deadline: Deadline, ticket: Ticket | None, last: Exception | None = None
) -> GenerationTimeoutError:
    """The error that says that time is up."""
    # The last fault's message only: its cure would be the wrong advice here.
    said = last.message if isinstance(last, HailuoError) else last
    seen = f" The last fault was: {type(last).__name__}: {said}" if last else ""
    message = f"No result within {deadline.seconds:g} seconds.{seen}"
    if ticket is None:  # nothing was bought, so there is nothing to collect
        cure = "Try again later; https://status.fal.ai may know more."
        return GenerationTimeoutError(message, cure=cure, billed=Billed.NO, retryable=True)
    return GenerationTimeoutError(message, ticket=ticket)


class SubmissionRetry:
    """Retries the submissions of one batch while fal wants fewer, or cannot be reached.

    There is no deadline: the batch ends the wait.

    Args:
        clock: What the pauses are spent with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reached = False

    def note_reached(self) -> None:
        """One submission got through: so fal's address is right, and an outage will pass."""
        self._reached = True

    async def run(
        self, submit: Callable[[], Awaitable[T]], note: Callable[[HailuoError], object]
    ) -> T:
        """Submit until it works or fails for another reason.

        Args:
            submit: What to do; it is repeated only after an error that bought nothing.
            note: Called with each error that is waited out.

        Raises:
            HailuoError: An error that waiting does not cure, or that may have cost money.
        """

        def pause(attempt: int, error: Exception) -> float | None:
            if not isinstance(error, HailuoError) or not self._passes(error):
                return None
            note(error)
            seconds = pause_seconds(attempt, error)
            return seconds if attempt < QUICK_SUBMISSIONS else max(seconds, SLOW_PAUSE_SECONDS)

        return await retry(submit, self._clock, pause)

    def _passes(self, error: HailuoError) -> bool:
        if error.billed is not Billed.NO:
            return False
        away = isinstance(error, UnreachableError) and self._reached
        return away or isinstance(error, RateLimitedError)
