"""Time that can be handed in: a clock, and deadlines on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import anyio


class Clock(Protocol):
    """Measures all waiting, and does it."""

    def now(self) -> float:
        """Seconds on a scale that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


@dataclass(frozen=True)
class SystemClock:
    """The machine's monotonic clock, which ignores changes of the time of day."""

    def now(self) -> float:
        """Seconds since an arbitrary moment in the past."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await anyio.sleep(seconds)


class Deadline:
    """An absolute moment on a clock.

    Args:
        seconds: How far away it is from now.
        clock: The clock; by default, the system's.

    Example:
        >>> Deadline(60).passed
        False
        >>> Deadline(0).passed
        True
    """

    def __init__(self, seconds: float, clock: Clock | None = None) -> None:
        self.seconds = seconds
        self.clock: Clock = clock or SystemClock()
        self._start = self.clock.now()

    @property
    def remaining(self) -> float:
        """Seconds until the moment, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return self.clock.now() - self._start

    @property
    def passed(self) -> bool:
        """Whether the moment has come."""
        return self.remaining <= 0

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, or the time that is left if that is less."""
        await self.clock.sleep(min(seconds, self.remaining))
