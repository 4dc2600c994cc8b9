"""Clocks that a caller can pass in, and deadlines on them."""

from __future__ import annotations

import time
from collections.abc import Callable
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


def _seconds_since_boot() -> float:
    """The machine's seconds since it was started, those in which it slept too, where it says so."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


READINGS: tuple[Callable[[], float], ...] = (time.monotonic, _seconds_since_boot, time.time)
"""Clocks that disagree where a machine slept or was stopped: the first does not count its sleep,
the second does not count how long a virtual machine was stopped, and the third is set by people."""


class RealTime:
    """The time since it was made, by the clock that says most.

    For what must not happen too late: another machine's clock went on while this one slept.

    Example:
        >>> 0 <= RealTime().elapsed < 60
        True
    """

    def __init__(self) -> None:
        self._starts = [each() for each in READINGS]

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return max(each() - start for each, start in zip(READINGS, self._starts, strict=True))


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
