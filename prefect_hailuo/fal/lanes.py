"""What is known of the requests that wait together: of one account, for one app.

Each answer about one of them tells of the others: they stand in one queue, so that where one of
them moved up by ten, all that are behind it did. Nothing here asks, waits, or reads a clock: times
are given, and what is to be done is returned, so that a simulation can drive it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Literal

from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status
from prefect_hailuo.fal.pacing import CROWD, FEW, Durations, Known, Plan, near_seconds, plan

MOST_RUNNING = 40
"""How many requests of one account fal runs at once, at most; by its documentation as gathered
2026-08. While a queue has not been seen to move, it is taken to move as if so many ran."""

REMEMBERED_MOVES = 50
"""Over how many moves of a queue its pace is measured."""

CONTRADICTIONS = 3
"""After how many answers that say so a queue has gone back, and not single requests in it."""

ROUNDING_SECONDS = 0.5
"""By how much fal's word for how long a request ran may differ from what was seen."""

NEWS_SHARE = 0.2
"""By how much what is known of durations must change for those who wait to plan anew."""


class Queue:
    """How far a queue has moved: a number for its head, by which positions are counted."""

    def __init__(self) -> None:
        self.head = 0.0
        self._moves: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_MOVES)
        self._contradictions = 0

    def note(self, head: float, now: float) -> None:
        """Take note of where an answer puts the head."""
        if head > self.head:
            self._contradictions = 0
            self.head = head
            self._moves.append((now, head))
        elif head < self.head - 1:
            self._contradictions += 1
            if self._contradictions >= CONTRADICTIONS:  # it went back
                self._contradictions = 0
                self.head = head
                self._moves.clear()
        else:
            self._contradictions = 0

    def pace(self, now: float) -> float | None:
        """Places a second; None while too little of it has been seen to tell."""
        if len(self._moves) < 2:
            return None
        (began, first), (_, last) = self._moves[0], self._moves[-1]
        return (last - first) / max(now - began, 1e-3)


class Lane:
    """The requests of one account and app that this process waits for.

    Args:
        durations: How long they take.
    """

    def __init__(self, durations: Durations) -> None:
        self.durations = durations
        self._queue = Queue()
        self._spots: set[Spot] = set()
        self._line: list[tuple[float, int, Spot]] = []
        self._numbers = count()
        self._told = self._gist()

    def __len__(self) -> int:
        return len(self._spots)

    @property
    def crowded(self) -> bool:
        """Whether so many wait that requests are to be saved."""
        return len(self._spots) > CROWD

    def enter(self, now: float, position: int | None = None, age: float = 0.0) -> Spot:
        """A request begins to be waited for.

        Args:
            now: The time.
            position: Where it stood in the queue, if fal said so a moment ago.
            age: Seconds since it was submitted.
        """
        spot = Spot(self, now - age)
        self._spots.add(spot)
        if position is not None:
            spot.saw(InQueue(queue_position=position), now)
        return spot

    def leave(self, spot: Spot) -> None:
        """A request is not waited for any more."""
        self._spots.discard(spot)

    def stand(self, spot: Spot, position: int, now: float) -> None:
        """A request stands in the queue."""
        if spot.number is not None:
            self._queue.note(spot.number - position, now)
        number = self._queue.head + position
        moved, spot.number = number != spot.number, number
        if moved and self.until_turn(number, now) > near_seconds(self.durations):
            heapq.heappush(self._line, (number, next(self._numbers), spot))

    def reach(self, number: float, now: float) -> None:
        """The turn of a place in the queue has come, and of all before it."""
        self._queue.note(number, now)

    def until_turn(self, number: float, now: float) -> float:
        """Seconds until a place in the queue is at its head."""
        ahead = number - self._queue.head
        if ahead <= 0:
            return 0.0
        pace = self._queue.pace(now) or MOST_RUNNING / self.durations.left(0.0, 0.5)
        return ahead / pace

    def near(self, now: float) -> Iterator[Spot]:
        """Those whose turn has come near since this was last asked; they should plan anew."""
        margin = near_seconds(self.durations)
        while self._line:
            number, _, spot = self._line[0]
            stale = spot not in self._spots or spot.number != number or spot.state != "queued"
            if not stale:
                if self.until_turn(number, now) > margin:
                    return
                yield spot
            heapq.heappop(self._line)

    def learned(self) -> Iterator[Spot]:
        """All who wait, when what is known of durations has changed; none otherwise."""
        if self.durations.observed < FEW or not self.crowded:
            return
        gist = self._gist()
        pairs = zip(gist, self._told, strict=True)
        if any(abs(new - old) > NEWS_SHARE * old for new, old in pairs):
            self._told = gist
            yield from list(self._spots)

    def _gist(self) -> tuple[float, ...]:
        return tuple(self.durations.left(0.0, share) for share in (0.05, 0.5))


class Spot:
    """One request in its lane.

    Args:
        lane: Its lane.
        submitted: When it was submitted.
    """

    def __init__(self, lane: Lane, submitted: float) -> None:
        self.number: float | None = None
        self.state: Literal["unseen", "queued", "running"] = "unseen"
        self.may_listen = True
        self.wake: Callable[[], None] = _nothing
        self._lane = lane
        self._submitted = submitted
        self._heard = submitted
        self._seen_waiting = submitted
        self._began: float | None = None

    def plan(self, now: float, stream_free: bool) -> Plan:
        """What to do next about it."""
        return plan(self._known(now, stream_free), self._lane.durations)

    def saw(self, status: Status, now: float) -> None:
        """Take note of what fal says of it."""
        match status:
            case InQueue():
                self.state, self._began, self._seen_waiting = "queued", None, now
                self._lane.stand(self, status.queue_position or 0, now)
            case InProgress():
                self._begin(now)
            case Completed():
                self._end(status, now)
        self._heard = now

    def should_go_on_listening(self, now: float) -> bool:
        """Whether its end is near enough to hold a stream for it, when others need them."""
        if self.state != "queued" or not self._lane.crowded:
            return True
        return self._until_turn(now) <= 2 * near_seconds(self._lane.durations)

    def _begin(self, now: float) -> None:
        if self.state == "running":
            return
        if self.number is not None:
            # Its turn has come, and so has that of all before it.
            self._lane.reach(self.number, now)
        self.state, self._began = "running", now

    def _end(self, completed: Completed, now: float) -> None:
        seconds = self._ran(completed, now)
        if seconds is not None and not completed.error:
            self._lane.durations.add(seconds)

    def _ran(self, completed: Completed, now: float) -> float | None:
        """For how long it ran, if that is known closely enough."""
        least = 0.0 if self._began is None else now - self._began
        most = now - self._seen_waiting
        said = _inference_seconds(completed)
        # An emulator's time may go faster than ours.
        if said is not None and least - ROUNDING_SECONDS <= said <= most + ROUNDING_SECONDS:
            return said
        return (least + most) / 2 if most - least <= max(2.0, most / 10) else None

    def _known(self, now: float, stream_free: bool) -> Known:
        began = self._seen_waiting if self._began is None else self._began
        queued = self.state == "queued"
        until_turn = self._until_turn(now) if queued else 0.0
        return Known(
            state=self.state,
            until_turn=until_turn,
            ran=0.0 if queued else max(0.0, self._heard - began),
            unheard=max(0.0, now - self._heard),
            age=now - self._submitted,
            may_listen=stream_free and self.may_listen,
            crowded=self._lane.crowded,
        )

    def _until_turn(self, now: float) -> float:
        return 0.0 if self.number is None else self._lane.until_turn(self.number, now)


def _nothing() -> None:
    """Nobody sleeps."""


def _inference_seconds(completed: Completed) -> float | None:
    seconds = (completed.metrics or {}).get("inference_time")
    return float(seconds) if isinstance(seconds, int | float) else None
