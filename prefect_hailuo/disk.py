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
    return await anyio.to_thread.run_sync(call, *arguments, limiter=_limiter())


def _limiter() -> anyio.CapacityLimiter:
    """The limiter of this event loop."""
    try:
        return _limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(DISK_THREADS)
        _limiters.set(limiter)
        return limiter
