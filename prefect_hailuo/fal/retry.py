"""The one retry loop, and who may retry what.

Everything but the POST is free to repeat. `retry` repeats a call on an injected clock; a function
decides after each failure how long to wait, or that it is over:

- `retry_read` repeats a question to fal until a deadline.
- `pause_until` is for anything else that goes on until a deadline.
- `pause_within` is for downloads: so many attempts, and only as long as there is time for another.
- `SubmissionRetry` is for submissions, and only for errors that cost nothing. Without it, a batch
  would lose hundreds of videos to a fal that wants fewer submissions a second, or thousands to a
  network that is away for a minute.
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
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    InputRefusedError,
    MalformedReplyError,
    NoCreditError,
    NotReadyError,
    RateLimitedError,
    RealmMismatchError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestRefusedError,
    UnreachableError,
    about,
)
from prefect_hailuo.fal.outage import UNWITNESSED, Witness
from prefect_hailuo.ticket import Ticket

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0

LONGEST_READ_PAUSE_SECONDS = 60.0
"""The longest pause between two questions, whatever one answer asks for: fal keeps a result for an
hour, and asking is free."""

ODD_ANSWERS = 3
"""How often a question that is about no request is repeated if a proxy may have answered."""

QUICK_SUBMISSIONS = 6
"""After this many attempts to submit, pauses are longer: each attempt is a row in the ledger."""

SLOW_PAUSE_SECONDS = 60.0
"""The shortest pause after that."""

# fal refused the question, not the request: what the request costs stays open.
QUESTION_REFUSED = (BadKeyError, NoCreditError, RateLimitedError, RealmMismatchError)

# How fal says, when it is asked for a result, that a request has ended, or has not.
ENDS = (
    *(FalFaultError, InputRefusedError, RequestCancelledError),
    *(NotReadyError, RequestNotFoundError, RealmMismatchError),
)

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
    of_cancelling: bool = False,
    witness: Witness = UNWITNESSED,
) -> T:
    """Repeat a read until it succeeds, fails for good, or the deadline passes.

    A question about a request, which is paid for, is repeated until fal's final answer or the
    deadline. A question about none is given up after a few odd answers.

    Args:
        read: The read; it may be called any number of times.
        deadline: When to give up.
        ticket: The request that it is about; every error carries it.
        of_result: Whether it reads a result.
        of_cancelling: Whether it asks fal to cancel: no paid video hangs on the answer, so that a
            refusal is told at once.
        witness: Told of each failure, and of the answer after one.

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
            paid = ticket is not None and not of_cancelling
            if is_final(error, of_result=of_result) if paid else not _is_odd(error, attempt):
                return None
        last = error
        seconds = min(LONGEST_READ_PAUSE_SECONDS, pause_seconds(attempt, error))
        witness.failed(error, seconds)
        return pause_until(deadline, seconds)

    async def read_in_time() -> T:
        if last and deadline.passed:
            raise last
        answer = await read()
        if last:
            witness.answered()
        return answer

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


def _is_odd(error: Exception, attempt: int) -> bool:
    """Whether a proxy may have answered instead of fal, so that asking again may help."""
    odd = isinstance(error, MalformedReplyError)
    odd = odd or (isinstance(error, FalError) and not error.in_fals_shape)
    return odd and attempt + 1 < ODD_ANSWERS


def is_final(error: Exception, *, of_result: bool = False) -> bool:
    """Whether an error of a read about a request is fal's final answer about it.

    A refusal of the question is not final: a key may be corrected, an account topped up, a proxy
    may recover in a minute, and the video is paid for.

    Args:
        error: How it failed.
        of_result: Whether a result was read, by which fal tells how a request has ended.
    """
    if not isinstance(error, FalError):
        return True
    if not error.in_fals_shape:
        return False
    if of_result and isinstance(error, RequestRefusedError):
        return error.error_type is not None
    return isinstance(error, ENDS if of_result else (RequestNotFoundError, RealmMismatchError))


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
    error = GenerationTimeoutError(message, ticket=ticket)
    if isinstance(last, BadKeyError | NoCreditError):  # which no waiting has cured
        error.cure = f"{last.cure} {error.cure}"
    return error


Note = Callable[[HailuoError], object]
"""Called with an error that is waited out."""


class SubmissionRetry:
    """Retries submissions while fal wants fewer, or, in a batch, cannot be reached for a while.

    Args:
        clock: What the pauses are spent with.
        deadline: When to give up; None: the batch ends the wait.
    """

    def __init__(self, clock: Clock, deadline: Deadline | None = None) -> None:
        self._clock = clock
        self._deadline = deadline
        self._reached = False

    def note_reached(self) -> None:
        """Note that a submission got through: fal's address is right, and an outage will pass."""
        self._reached = True

    async def run(self, submit: Callable[[], Awaitable[T]], note: Note) -> T:
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
            seconds = pause_seconds(attempt, error)
            if attempt >= QUICK_SUBMISSIONS:
                seconds = max(seconds, SLOW_PAUSE_SECONDS)
            if self._deadline is not None and seconds >= self._deadline.remaining:
                return None
            note(error)
            return seconds

        return await retry(submit, self._clock, pause)

    def _passes(self, error: HailuoError) -> bool:
        if error.billed is not Billed.NO:
            return False
        away = isinstance(error, UnreachableError) and self._reached
        return away or isinstance(error, RateLimitedError)
