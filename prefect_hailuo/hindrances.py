"""What keeps one of many from being bought, costs nothing, and passes: it is waited out.

One video's task run is tried again by Prefect. A batch would lose hundreds of its videos to a fal
that wants fewer submissions a second, or thousands to a network that is gone for a minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from prefect_hailuo.clock import Clock
from prefect_hailuo.errors import Billed, HailuoError, RateLimitedError, UnreachableError
from prefect_hailuo.fal.patience import pause_seconds

T = TypeVar("T")

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
