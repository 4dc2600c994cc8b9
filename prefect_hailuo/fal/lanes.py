"""What is known of the requests that wait together: of one account, for one app.

Each answer about one of them tells of the others: they stand in one queue, so that where one of
them moved up by ten, all that are behind it did. Nothing here asks, waits, or reads a clock: times
are given, and what is to be done is returned, so that a simulation can drive it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from math import inf

from prefect_hailuo.fal.messages import InQueue
from prefect_hailuo.fal.pacing import (
    CROWD,
    FEW,
    MOST_SAMPLES,
    Durations,
    is_far,
    near_seconds,
)
from prefect_hailuo.fal.positions import Queue
from prefect_hailuo.fal.spots import DEAF_SECONDS, Spot

MOST_RUNNING = 40
"""How many requests of one account fal runs at once, at most; by its documentation as gathered
2026-08. While a queue has not been seen to move, it is taken to move as if so many ran."""

NEWS_FACTOR = 1.5
"""By how much what is known of durations must change for those who guess to plan anew."""

ASKED_A_SECOND = 500
"""How many questions a crowd asks in a second, at most: all of a process that was killed come back
at once, and may all have ended at once."""

WOKEN_AT_ONCE = 100
"""How many plan anew after one answer, at most; the others after the next."""

SHORTEST_SECONDS = 0.001

REFUSALS = 3
"""After how many streams in a row that said nothing, fal has none to give."""


class Streams:
    """Whether streams are to be had: fal may refuse all of them."""

    def __init__(self) -> None:
        self._refusals = 0
        self._deaf_until = -inf

    def note(self, now: float, *, heard: bool) -> None:
        """Take note of how a stream ended: whether it ever said anything."""
        self._refusals = 0 if heard else self._refusals + 1
        if self._refusals >= REFUSALS:
            self._deaf_until = now + DEAF_SECONDS

    def listen_in(self, now: float) -> float:
        """Seconds until one is worth asking for."""
        return self._deaf_until - now


class Lane:
    """The requests of one account and app that this process waits for.

    Args:
        durations: How long they take.
    """

    def __init__(self, durations: Durations) -> None:
        self.durations = durations
        self.streams = Streams()
        self.listening = 0
        self._queue = Queue()
        self._spots: set[Spot] = set()
        self._scouts: set[Spot] = set()
        self._guessing: dict[Spot, None] = {}  # in the order in which they began to
        self._line: list[tuple[float, int, Spot]] = []
        self._pushed = count()
        self._entered = 0
        self._tells_positions = False
        self._next_turn = -inf
        self._to_tell: list[Spot] = []
        self._news_at = FEW
        self._told = self._gist()

    def __len__(self) -> int:
        return len(self._spots)

    @property
    def crowded(self) -> bool:
        """Whether so many wait that requests are to be saved."""
        return len(self._spots) > CROWD

    @property
    def taught(self) -> bool:
        """Whether those who listen will tell how long it takes, which nobody knows yet."""
        return self.durations.observed < FEW <= self.listening

    def enter(self, now: float, said: InQueue | None = None, age: float = 0.0) -> Spot:
        """A request begins to be waited for.

        Args:
            now: The time.
            said: What fal said of it a moment ago, if it did.
            age: Seconds since it was submitted.
        """
        spot = Spot(self, self._entered, now, now - age)
        self._entered += 1
        self._spots.add(spot)
        if said is not None:
            spot.saw(said, now)
        return spot

    def leave(self, spot: Spot) -> None:
        """A request is not waited for any more."""
        self._spots.discard(spot)
        self._scouts.discard(spot)
        self._guessing.pop(spot, None)
        if not self._spots:
            self._line.clear()  # those who have left

    def stand(self, spot: Spot, position: int | None, now: float) -> None:
        """A request stands in the queue."""
        known = spot.anchor is not None
        if position is not None:
            self._tells_positions = True
            number = self._number(spot, position, now)
        elif self._tells_positions:
            return
        else:  # then they stand as they were submitted
            number = spot.serial if spot.number is None else spot.number
        spot.number = number
        if position == 0 and known:
            self.reach(number, now)  # nothing stands before it, whatever the queue's pace is
        if is_far(self.until_turn(number, now), self.durations):
            self.line_up(spot)

    def line_up(self, spot: Spot) -> None:
        """A request is far from its turn: `near` will tell when that comes near."""
        if spot.number is not None and spot.lined_up != spot.number:
            spot.lined_up = spot.number
            heapq.heappush(self._line, (spot.number, next(self._pushed), spot))

    def reach(self, number: float, now: float, *, witnessed: bool = True) -> None:
        """The turn of a place in the queue has come, and of all before it.

        Args:
            number: The place.
            now: The time.
            witnessed: Whether it came this moment. Otherwise it says only that the head is no
                longer before it, and nothing where that was believed already.
        """
        usual = self._usual_pace
        if witnessed or not self._tells_positions or number > self._queue.head(now, usual):
            self._queue.note(number, now, usual)

    def until_turn(self, number: float, now: float) -> float:
        """Seconds until a place in the queue is at its head."""
        usual = self._usual_pace
        ahead = number - self._queue.head(now, usual)
        return ahead / self._queue.pace(usual) if ahead > 0 else 0.0

    def near(self, now: float) -> Iterator[Spot]:
        """Those whose turn has come near since this was last asked; they should plan anew."""
        margin = near_seconds(self.durations) if self._line else 0.0
        while self._line:
            number, _, spot = self._line[0]
            stale = spot not in self._spots or spot.number != number or spot.state != "queued"
            if not stale and self.until_turn(number, now) > margin:
                return
            heapq.heappop(self._line)
            if spot.lined_up == number:
                spot.lined_up = None
            if not stale:
                yield spot

    def turn(self, now: float) -> float:
        """Seconds until one of a crowd may ask; it is counted as asking then."""
        if not self.crowded:
            return 0.0
        turn = max(now, self._next_turn)
        self._next_turn = turn + 1 / ASKED_A_SECOND
        return turn - now

    def guess(self, spot: Spot, guesses: bool) -> None:
        """Whether a request is waited for by how long others took, and no stream tells its end."""
        if guesses:
            self._guessing[spot] = None
        else:
            self._guessing.pop(spot, None)

    def enlists(self, spot: Spot) -> bool:
        """Whether a request near its end is one of the few that are asked about often: where nobody
        knows how long it takes, and no stream is to be had, others learn it from these."""
        if self.durations.observed >= FEW:
            return False
        if len(self._scouts) < FEW:
            self._scouts.add(spot)
        return spot in self._scouts

    def next_to_learn(self) -> Iterator[Spot]:
        """Who should plan anew when a stream is free, or a request has left: as long as nobody
        knows how long it takes, all that is learned is learned by those who listen or ask."""
        if self.durations.observed < FEW and self._guessing:
            yield min(self._guessing, key=lambda spot: spot.serial)

    def learned(self) -> Iterator[Spot]:
        """Those who guess, when what is known of durations has changed; none otherwise."""
        if self.durations.learned >= self._news_at:
            self._news_at += min(self._news_at, MOST_SAMPLES)
            gist, first = self._gist(), self._news_at <= 2 * FEW
            if first or not 1 / NEWS_FACTOR < gist / self._told < NEWS_FACTOR:
                self._told = gist
                self._to_tell = list(self._guessing)
        for _ in range(min(WOKEN_AT_ONCE, len(self._to_tell))):
            yield self._to_tell.pop()

    def _number(self, spot: Spot, position: int, now: float) -> float:
        """The number of a place that a position was said of."""
        usual = self._usual_pace
        before = spot.anchor
        believed = before is None or self._queue.note(before - position, now, usual)
        number = self._queue.head(now, usual) + position
        if before is None or believed or spot.doubted:
            spot.anchor, spot.doubted = number, False
            return number
        spot.doubted = True  # either it has gone elsewhere, or the whole queue has
        return min(before, number)

    @property
    def _usual_pace(self) -> float:
        return MOST_RUNNING / max(SHORTEST_SECONDS, self.durations.whole(0.5))

    def _gist(self) -> float:
        return max(SHORTEST_SECONDS, self.durations.whole(0.25))
