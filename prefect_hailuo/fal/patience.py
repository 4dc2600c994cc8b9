"""Reading is free: transient faults are waited out until a deadline."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import anyio
import httpx

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import (
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    RateLimitedError,
)
from prefect_hailuo.fal.messages import Ticket

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


def is_transient(error: Exception) -> bool:
    """Whether a read that failed so may succeed if it is repeated.

    A fault that fal gives a type is an answer about the request itself, and stays.
    """
    if isinstance(error, FalFaultError):
        return error.error_type is None
    return isinstance(error, RateLimitedError | httpx.TransportError)


def pause_seconds(attempt: int, error: Exception) -> float:
    """How long to wait after a failed read: what fal asked for, or longer each time.

    The spread keeps many waiters from coming back at once.
    """
    asked = error.retry_after if isinstance(error, HailuoError) else None
    if asked is not None:
        return asked
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret depends on it


async def read_patiently(
    read: Callable[[], Awaitable[T]], deadline: Deadline, ticket: Ticket | None = None
) -> T:
    """Repeat a read until it succeeds, fails for good, or the deadline passes.

    Args:
        read: The read; it may be called any number of times.
        deadline: When to give up.
        ticket: What it is about; carried by the error.

    Raises:
        GenerationTimeoutError: The deadline passed; its cause is the last fault.
        HailuoError: What is not transient, as it came.
    """
    last: Exception | None = None
    for attempt in count():
        # The scope ends an answer that trickles in for ever.
        with anyio.move_on_after(deadline.remaining):
            try:
                return await read()
            except (HailuoError, httpx.TransportError) as error:
                if not is_transient(error):
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
    seen = f" The last fault was: {type(last).__name__}: {last}." if last else ""
    return GenerationTimeoutError(
        f"No result within {deadline.seconds:g} seconds.{seen}", ticket=ticket
    )
