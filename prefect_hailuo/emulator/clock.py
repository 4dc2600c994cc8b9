"""Time in the emulator: it runs as fast as the machine's, faster, slower, or only when advanced.

An instant is a number of seconds of emulator time since the clock was made. Alarms wake the
coroutines that wait for an instant, for news of a generation, or for the emulator's end.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio

Wake = Callable[[], None]


class Clock(Protocol):
    """What the emulator needs of time."""

    @property
    def speed(self) -> float:
        """Seconds of emulator time to a second of the machine's."""

    def now(self) -> float:
        """The present instant, in seconds of emulator time."""

    def wake_at(self, instant: float, wake: Wake) -> Wake:
        """Have `wake` called, from any thread, once `instant` has come; returns how to revoke it.

        Called on the emulator's event loop.
        """


class RunningClock:
    """A clock that runs by itself.

    Args:
        speed: Seconds of emulator time to a second of the machine's.

    Raises:
        ValueError: The speed is not above zero.

    Example:
        >>> RunningClock(speed=100).speed
        100
    """

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._speed = speed
        self._started = time.monotonic()

    @property
    def speed(self) -> float:
        """Seconds of emulator time to a second of the machine's."""
        return self._speed

    def now(self) -> float:
        """The present instant, in seconds of emulator time."""
        return (time.monotonic() - self._started) * self._speed

    def wake_at(self, instant: float, wake: Wake) -> Wake:
        """Have `wake` called once `instant` has come; returns how to revoke it."""
        seconds = max(0.0, (instant - self.now()) / self._speed)
        return asyncio.get_running_loop().call_later(seconds, wake).cancel


class ManualClock:
    """A clock that stands still until it is advanced: tests need not wait.

    Example:
        >>> clock = ManualClock()
        >>> clock.advance(110)
        >>> clock.now()
        110.0
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()
        self._sequence = itertools.count()
        self._instants: list[tuple[float, int]] = []
        self._sleepers: dict[int, Wake] = {}

    @property
    def speed(self) -> float:
        """Always 1: the test decides how fast this clock goes."""
        return 1.0

    def now(self) -> float:
        """The present instant, in seconds of emulator time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; all that waited for an instant up to then are woken.

        Args:
            seconds: How much emulator time passes; not below zero.

        Raises:
            ValueError: The seconds are negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        with self._lock:
            self._now += seconds
            due = self._take_due()
        for wake in due:
            wake()

    def wake_at(self, instant: float, wake: Wake) -> Wake:
        """Have `wake` called once `instant` has come; returns how to revoke it."""
        with self._lock:
            number = next(self._sequence)
            heapq.heappush(self._instants, (instant, number))
            self._sleepers[number] = wake
            due = self._take_due()
        for waking in due:
            waking()
        return lambda: self._revoke(number)

    def _revoke(self, number: int) -> None:
        self._sleepers.pop(number, None)

    def _take_due(self) -> list[Wake]:
        due = []
        while self._instants and self._instants[0][0] <= self._now:
            _, number = heapq.heappop(self._instants)
            wake = self._sleepers.pop(number, None)
            if wake is not None:
                due.append(wake)
        return due


class Alarm:
    """Wakes one coroutine. It may be rung from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Wake the sleeper, or keep it from falling asleep."""
        # The loop is closed when the emulator was stopped while a test still advances its clock.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._rung.set()

    async def sleep(self, until: float | None = None) -> None:
        """Sleep until it rings, or until an instant of emulator time."""
        revoke = None if until is None else self._clock.wake_at(until, self.ring)
        try:
            await self._rung.wait()
        finally:
            if revoke is not None:
                revoke()
        self._rung = anyio.Event()


class Alarms:
    """All alarms of one emulator, so that it can ring them when it ends.

    Args:
        clock: The emulator's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: set[Alarm] = set()
        self.stopped = False

    @contextmanager
    def new(self) -> Iterator[Alarm]:
        """An alarm that exists as long as the block runs."""
        alarm = Alarm(self._clock)
        self._set.add(alarm)
        try:
            yield alarm
        finally:
            self._set.discard(alarm)

    def stop(self) -> None:
        """Wake all sleepers, because the emulator ends. Called on its loop."""
        self.stopped = True
        for alarm in self._set:
            alarm.ring()

    async def pause(self, seconds: float) -> None:
        """Sleep for seconds of the machine's time, or until the emulator ends."""
        with self.new() as alarm, anyio.move_on_after(seconds):
            while not self.stopped:
                await alarm.sleep()
