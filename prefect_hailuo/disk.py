"""Worker threads for the disk alone, so that whoever waits for it holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from typing_extensions import TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

DISK_THREADS = 32
"""Many, for they mostly wait: what they write at the same time, a disk writes at once."""

_limiters: RunVar[anyio.CapacityLimiter] = RunVar("prefect_hailuo.disk")


async def on_disk(call: Callable[[Unpack[Arguments]], T], *arguments: Unpack[Arguments]) -> T:
    """Call something that waits for the disk, in one of the disk's worker threads.

    It is done to its end, also where the caller is cancelled meanwhile.
    """
    return await anyio.to_thread.run_sync(
        call, *arguments, limiter=limiter_of_loop(_limiters, DISK_THREADS)
    )


def limiter_of_loop(limiters: RunVar[anyio.CapacityLimiter], at_once: int) -> anyio.CapacityLimiter:
    """This event loop's limiter, made when it is first wanted.

    Args:
        limiters: Holds one for each loop.
        at_once: How many it lets in.
    """
    try:
        return limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(at_once)
        limiters.set(limiter)
        return limiter
