"""The line in front of the models: first come, first served."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class WaitingLine(Generic[Waiter]):
    """A line whose members know their position, and may leave from the middle.

    Joining costs O(1), a position O(log n), and leaving early little more.

    Example:
        >>> line = WaitingLine[str]()
        >>> fox, owl, elk = line.join("fox"), line.join("owl"), line.join("elk")
        >>> line.leave(owl)
        >>> line.position(elk), line.pop(), line.position(elk), len(line)
        (1, 'fox', 0, 1)
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Waiter] = {}
        self._left_early: list[int] = []
        self._next_number = 0
        self._head = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiter: Waiter) -> int:
        """Stand at the end; returns the number by which to ask and to leave."""
        number = self._next_number
        self._next_number += 1
        self._waiting[number] = waiter
        return number

    def leave(self, number: int) -> None:
        """Leave without having been served."""
        del self._waiting[number]
        insort(self._left_early, number)

    def position(self, number: int) -> int:
        """How many wait before this one; 0 is next."""
        gone = bisect_left(self._left_early, number) - bisect_left(self._left_early, self._head)
        return number - self._head - gone

    def pop(self) -> Waiter:
        """Serve the one whose turn it is."""
        while self._head not in self._waiting:
            self._head += 1
        del self._left_early[: bisect_left(self._left_early, self._head)]
        waiter = self._waiting.pop(self._head)
        self._head += 1
        return waiter
