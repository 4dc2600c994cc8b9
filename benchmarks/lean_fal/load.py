"""How long the generations of a run take, and how soon all of them could be done."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Load:
    """What the server makes of the requests that it gets.

    Args:
        seconds: How long a generation takes; the median, where durations differ.
        spread: The sigma of the logarithm of the durations (log-normal); 0: all are equal.
        at_once: How many the account runs at once; None: all.
        seed: The same seed gives every contender the same durations, in the order of arrival.
    """

    seconds: float = 10.0
    spread: float = 0.0
    at_once: int | None = None
    seed: int = 1

    def durations(self) -> Iterator[float]:
        """Seconds of the first request, of the second, and so on for ever."""
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        while True:
            yield chance.lognormvariate(math.log(self.seconds), self.spread)

    def ideal_seconds(self, count: int) -> float:
        """When the last of so many requests ends that were all submitted in the first instant.

        Example:
            >>> Load(seconds=10).ideal_seconds(1000), Load(10, at_once=4).ideal_seconds(10)
            (10.0, 30.0)
        """
        ends: list[float] = []
        last = 0.0
        for seconds in islice(self.durations(), count):
            free = heapq.heappop(ends) if len(ends) == (self.at_once or count) else 0.0
            heapq.heappush(ends, free + seconds)
            last = max(last, free + seconds)
        return round(last, 6)
