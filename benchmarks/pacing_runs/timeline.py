"""Virtual time: what is to happen, in its order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """Calls what is due, and jumps from one instant to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._numbers = count()

    def after(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Have something called later."""
        due = self.now + max(0.0, seconds)
        heapq.heappush(self._due, (due, next(self._numbers), call, arguments))

    def run(self, until: float = float("inf")) -> None:
        """Let everything happen that is due until an instant."""
        while self._due and self._due[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(self._due)
            call(*arguments)
        if until != float("inf"):
            self.now = until
