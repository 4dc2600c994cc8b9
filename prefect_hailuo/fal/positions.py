"""How fast fal's queue moves, from the positions that it tells of single requests.

Positions are turned into numbers, as on tickets at a counter: a request's number stays, and what
moves is the head of the queue. So each answer about one request tells of all the others.
"""

from __future__ import annotations

from collections import deque
from math import inf

REMEMBERED_MOVES = 50
"""Over how many moves of a queue its pace is measured."""

WHOLE_MOVE = 80
"""By how many places a queue moves, at its usual pace, while two requests are made one after the
other: for so long it is watched, before it is believed to be slower than that."""

MOMENT_SECONDS = 1.0

DOUBTFUL_PLACES = 5

DOUBTS = 3
"""After how many answers that say so a queue has jumped, and not single requests in it."""


class Queue:
    """How far a queue has moved: a number for its head, by which positions are counted."""

    def __init__(self) -> None:
        self._seen_at = -inf
        self._head = 0.0
        self._moves: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_MOVES)
        self._doubts = 0

    def note(self, head: float, now: float, usual: float) -> bool:
        """Take note of where an answer puts the head.

        Returns:
            Whether that is believed: single requests may have gone elsewhere in it.
        """
        expected = self.head(now, usual)
        doubtful = abs(head - expected) > max(DOUBTFUL_PLACES, (expected - self._head) / 2)
        self._doubts = self._doubts + 1 if doubtful and self._seen_at != -inf else 0
        if 0 < self._doubts < DOUBTS:
            return False
        if self._doubts:
            self._doubts = 0
            self._step_back(max(0.0, self._head - head))
        self._seen_at = now
        if head > self._head:
            self._head = head
            self._remember(now)
        return True

    def head(self, now: float, usual: float) -> float:
        """Where it is by now.

        Args:
            now: The time.
            usual: Places a second that it is taken to move while it has not been seen to.
        """
        if self._seen_at == -inf:
            return self._head
        return self._head + (now - self._seen_at) * self.pace(usual)

    def pace(self, usual: float) -> float:
        """Places a second."""
        if len(self._moves) < 2:
            return usual
        began, first = self._moves[0]
        seconds = self._seen_at - began
        seen = (self._head - first) / seconds
        # Those that began together end together, and until then the queue seems to stand.
        is_whole = len(self._moves) == REMEMBERED_MOVES or seconds * usual >= WHOLE_MOVE
        return seen if is_whole else max(seen, usual)

    def _step_back(self, places: float) -> None:
        """It went back; how fast it moves is as it was."""
        self._head -= places
        self._moves = deque(((at, each - places) for at, each in self._moves), REMEMBERED_MOVES)

    def _remember(self, now: float) -> None:
        # Those of one moment are one: a queue moves at once by as many as may run at first.
        if self._moves and now - self._moves[-1][0] < MOMENT_SECONDS:
            self._moves[-1] = (self._moves[-1][0], self._head)
        else:
            self._moves.append((now, self._head))
