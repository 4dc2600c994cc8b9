"""A few connections for many who want one: first come, first served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """Lets so many in at once.

    A connection pool's own patience is too short for thousands who wait in line, and each of whom
    is served soon: here, whoever waits does so for as long as others come through.

    Args:
        places: How many may be in.
        patience_seconds: How long nobody comes through before those who wait give up.
    """

    def __init__(self, places: int, patience_seconds: float) -> None:
        self._places = anyio.Semaphore(places, fast_acquire=True)
        self._patience_seconds = patience_seconds
        self._served_at = anyio.current_time()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, once it is the caller's.

        Raises:
            TimeoutError: Nobody came through for too long.
        """
        await self._wait()
        try:
            yield
            self._served_at = anyio.current_time()
        finally:
            self._places.release()

    async def _wait(self) -> None:
        while True:
            since = anyio.current_time()
            with anyio.move_on_after(self._patience_seconds):
                return await self._places.acquire()
            if self._served_at < since:
                raise TimeoutError("it is too busy")
