"""Reading is free: transient faults are waited out until a deadline.

What keeps one of many from being bought, costs nothing, and passes: it is waited out.

One video's task run is tried again by Prefect. A batch would lose hundreds of its videos to a fal
that wants fewer submissions a second, or thousands to a network that is gone for a minute.
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

# These refuse the question, even of a result; what the request costs they leave open.
OF_THE_QUESTION = (BadKeyError, NoCreditError, RateLimitedError, RealmMismatchError)


def is_transient(error: Exception, *, of_result: bool = False) -> bool:
    """Whether a read that failed so may succeed if it is repeated.

    Args:
        error: How it failed.
        of_result: Whether a result was read, which may itself be a fault: one that fal gives a
            type is then the answer. Of anything else, a fault says nothing of the request.
    """
    if isinstance(error, FalFaultError):
        return not (of_result and error.error_type)
    return isinstance(error, RateLimitedError | httpx.RequestError)


def pause_seconds(attempt: int, error: Exception) -> float:
    """How long to wait after a failed read: what fal asked for, or longer each time.

    The spread keeps many waiters from coming back at once.
    """
    asked = error.retry_after if isinstance(error, HailuoError) else None
    if asked is not None:
        return max(asked, FIRST_PAUSE_SECONDS)
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret depends on it


def of_reading(ticket: Ticket | None, error: E, *, of_result: bool = False) -> E:
    """The error of a read, with the request that was read about.

    Only a result tells what the request cost; that no other answer came leaves it open.
    """
    if ticket and (isinstance(error, OF_THE_QUESTION) or not of_result):
        error.billed = Billed.UNKNOWN
    return about(ticket, error)


async def read_patiently(
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
        ticket: What it is about; carried by every error.
        of_result: Whether it reads a result.

    Raises:
        GenerationTimeoutError: The deadline passed; its cause is the last fault.
        HailuoError: What is not transient.
    """
    last: Exception | None = None
    for attempt in count():
        # The scope ends an answer that trickles in for ever.
        with anyio.move_on_after(deadline.remaining):
            try:
                return await read()
            except (HailuoError, httpx.RequestError) as error:
                if isinstance(error, HailuoError):
                    of_reading(ticket, error, of_result=of_result)
                if not is_transient(error, of_result=of_result):
                    raise
                last = error
                await deadline.sleep(pause_seconds(attempt, error))
        if deadline.passed:
            break
    raise deadline_error(deadline, ticket, last) from last


def deadline_error(
    deadline: Deadline, ticket: Ticket | None, last: Exception | None = None
) -> GenerationTimeoutError:
    """The error that says that time is up."""
    # Of the last fault no more than its message: its cure would be the wrong advice here.
    said = last.message if isinstance(last, HailuoError) else last
    seen = f" The last fault was: {type(last).__name__}: {said}" if last else ""
    message = f"No result within {deadline.seconds:g} seconds.{seen}"
    if ticket is None:  # nothing was bought, so there is nothing to collect
        cure = "Try again later; https://status.fal.ai may know more."
        return GenerationTimeoutError(message, cure=cure, billed=Billed.NO, retryable=True)
    return GenerationTimeoutError(message, ticket=ticket)


TRIES_APART = 6
"""After how many tries the pauses are longer: each try is an attempt in the ledger."""

LONG_PAUSE_SECONDS = 60.0


class Hindrances:
    """What a batch waits out: that fal wants fewer at once, or is out of reach for a while.

    Args:
        clock: What waiting is measured with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrived = False

    def note_arrival(self) -> None:
        """One has come through: fal can be reached, and an address is not simply wrong."""
        self._arrived = True

    async def outlast(
        self, bring: Callable[[], Awaitable[T]], note: Callable[[HailuoError], object]
    ) -> T:
        """Do something, again and again, until nothing hinders it; the batch's patience ends that.

        Args:
            bring: What to do; after an error by which nothing was bought, it may be done again.
            note: Called with each error that is waited out.

        Raises:
            HailuoError: What does not pass.
        """
        for attempt in count():
            try:
                return await bring()
            except (RateLimitedError, UnreachableError) as error:
                if not self._passes(error):
                    raise
                note(error)
                await self._clock.sleep(_pause_seconds(attempt, error))
        raise AssertionError("It is counted for ever.")

    def _passes(self, error: HailuoError) -> bool:
        if error.billed is not Billed.NO:
            return False
        return isinstance(error, RateLimitedError) or self._arrived


def _pause_seconds(attempt: int, error: HailuoError) -> float:
    pause = pause_seconds(attempt, error)
    return pause if attempt < TRIES_APART else max(pause, LONG_PAUSE_SECONDS)
