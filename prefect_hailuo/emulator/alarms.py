"""Waking the coroutines that wait: for an instant, for news of a generation, or for the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from prefect_hailuo.emulator.clock import Clock


class Alarm:
    """What one coroutine sleeps on. Anybody may ring it, from any thread."""

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
    """All alarms that are set in one emulator, so that its end can ring them.

    Args:
        clock: The emulator's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: set[Alarm] = set()
        self.stopped = False

    @contextmanager
    def new(self) -> Iterator[Alarm]:
        """An alarm for as long as the block lasts."""
        alarm = Alarm(self._clock)
        self._set.add(alarm)
        try:
            yield alarm
        finally:
            self._set.discard(alarm)

    def stop(self) -> None:
        """Wake everybody for good: the emulator ends. Called on its loop."""
        self.stopped = True
        for alarm in self._set:
            alarm.ring()

    async def pause(self, seconds: float) -> None:
        """Sleep for seconds of the machine's time, or until the emulator ends."""
        with self.new() as alarm, anyio.move_on_after(seconds):
            while not self.stopped:
                await alarm.sleep()
