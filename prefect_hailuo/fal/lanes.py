"""What is known of the requests that wait together: of one account, for one app.

Each answer about one of them tells of the others: they stand in one queue, so that where one of
them moved up by ten, all that are behind it did. Nothing here asks, waits, or reads a clock: times
are given, and what is to be done is returned, so that a simulation can drive it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from math import inf
from typing import Literal

from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status
from prefect_hailuo.fal.pacing import (
    CROWD,
    FEW,
    MOST_SAMPLES,
    Durations,
    Known,
    Plan,
    is_far,
    near_seconds,
    plan,
)
from prefect_hailuo.fal.positions import Queue

MOST_RUNNING = 40
"""How many requests of one account fal runs at once, at most; by its documentation as gathered
2026-08. While a queue has not been seen to move, it is taken to move as if so many ran."""

ROUNDING_SECONDS = 0.5
"""By how much fal's word for how long a request ran may differ from what was seen."""

NEWS_FACTOR = 1.5
"""By how much what is known of durations must change for those who guess to plan anew."""

LOOKS_A_SECOND = 200
"""How many requests of a crowd are asked about for the first time in a second: all of a process
that was killed come back at once."""

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 10.0
"""How long a request is left alone whose stream has dropped, longer each time: the next may too."""

LIVED_LONG = 10.0
"""A stream that lived for so many rests dropped by chance."""

SHORTEST_SECONDS = 0.001

SPREAD = 0.618034
"""Multiples of it lie evenly between whole numbers, however many there are."""

REFUSALS = 3
"""After how many streams in a row that said nothing, fal has none to give."""

DEAF_SECONDS = 300.0
"""For how long it is not asked for one then."""


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
        self._guessing: set[Spot] = set()
        self._line: list[tuple[float, int, Spot]] = []
        self._pushed = count()
        self._entered = 0
        self._tells_positions = False
        self._next_look = -inf
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
        elif self.crowded:
            spot.look_at = self._next_look = max(now, self._next_look) + 1 / LOOKS_A_SECOND
        return spot

    def leave(self, spot: Spot) -> None:
        """A request is not waited for any more."""
        self._spots.discard(spot)
        self._guessing.discard(spot)

    def stand(self, spot: Spot, position: int | None, now: float) -> None:
        """A request stands in the queue."""
        if position is not None:
            self._tells_positions = True
            number = self._number(spot, position, now)
        elif self._tells_positions:
            return
        else:  # then they stand as they were submitted
            number = spot.serial if spot.number is None else spot.number
        moved, spot.number = number != spot.number, number
        if moved and is_far(self.until_turn(number, now), self.durations):
            heapq.heappush(self._line, (number, next(self._pushed), spot))

    def reach(self, number: float, now: float) -> None:
        """The turn of a place in the queue has come, and of all before it."""
        self._queue.note(number, now, self._usual_pace)

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
            if not stale:
                if self.until_turn(number, now) > margin:
                    return
                yield spot
            heapq.heappop(self._line)

    def guess(self, spot: Spot, guesses: bool) -> None:
        """Whether a request is waited for by how long others took, and no stream tells its end."""
        (self._guessing.add if guesses else self._guessing.discard)(spot)

    def learned(self) -> Iterator[Spot]:
        """Those who guess, when what is known of durations has changed; none otherwise."""
        if self.durations.learned < self._news_at:
            return
        self._news_at += min(self._news_at, MOST_SAMPLES)
        gist, first = self._gist(), self._news_at <= 2 * FEW
        change = gist / self._told
        if first or not 1 / NEWS_FACTOR < change < NEWS_FACTOR:
            self._told = gist
            yield from list(self._guessing)

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


class Spot:
    """One request in its lane.

    Args:
        lane: Its lane.
        serial: How many had entered before it.
        entered: When its waiting began.
        submitted: When it was submitted, by a clock that may have been set since.

    Attributes:
        number: The place in the queue that it is taken to have.
        anchor: The one by which its next position tells how far the queue has moved.
        doubted: Whether what it last said of the queue was not believed.
    """

    def __init__(self, lane: Lane, serial: int, entered: float, submitted: float) -> None:
        self.serial = serial
        self.number: float | None = None
        self.anchor: float | None = None
        self.doubted = False
        self.state: Literal["unseen", "queued", "running"] = "unseen"
        self.look_at = submitted
        self.wake: Callable[[], None] = _nothing
        self._lane = lane
        self._entered = entered
        self._heard = submitted
        self._seen_waiting = submitted
        self._seen_running: float | None = None
        self._turn_at = submitted
        self._within_reach_since: float | None = None
        self._listened: float | None = None
        self._rest_until = -inf
        self._rest = FIRST_REST_SECONDS
        self._dropped = False

    def plan(self, now: float, stream_free: bool) -> Plan:
        """What to do next about it."""
        known = self._known(now, stream_free)
        far = is_far(known.until_turn, self._lane.durations)
        planned = plan(known, self._lane.durations)
        self._lane.guess(self, not far and planned.then != "listen")
        return planned

    def saw(self, status: Status, now: float) -> None:
        """Take note of what fal says of it."""
        match status:
            case InQueue():
                if self.state == "running":
                    self.number = self.anchor = None  # it was broken off, and stands elsewhere now
                self.state, self._seen_running, self._seen_waiting = "queued", None, now
                self._lane.stand(self, status.queue_position, now)
                until_turn = self._until_turn(now)
                self._turn_at = now + until_turn
                if is_far(until_turn, self._lane.durations):
                    self._within_reach_since = None
                elif self._within_reach_since is None:
                    self._within_reach_since = now
            case InProgress():
                self._begin(now)
            case Completed():
                self._end(status, now)
        self._heard = now
        self._dropped = False

    def listens(self, now: float) -> None:
        """A stream of its statuses is opened."""
        self._listened = now
        self._lane.listening += 1

    def listened(self, now: float, *, heard: bool, dropped: bool) -> None:
        """The stream is at its end.

        Args:
            now: The time.
            heard: Whether it said anything.
            dropped: Whether it broke off.
        """
        began, self._listened = self._listened or now, None
        self._lane.listening -= 1
        self._lane.streams.note(now, heard=heard)
        if not dropped:
            return
        self._dropped = True
        if now - began > LIVED_LONG * self._rest:
            self._rest = FIRST_REST_SECONDS
        self._rest_until = now + (self._rest if heard else DEAF_SECONDS)
        self._rest = min(LONGEST_REST_SECONDS, 2 * self._rest)

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
        self.state, self._seen_running = "running", now
        if self._listened is not None:
            self._turn_at = now
        elif self._within_reach_since is None:
            # How long ago it began, a clock that was set, or a wait of days, must not say alone.
            self._turn_at = max(self._turn_at, now - self._lane.durations.whole(0.5))

    def _end(self, completed: Completed, now: float) -> None:
        if self.number is not None and self.state == "queued":
            self._lane.reach(self.number, now)
        seconds = self._ran(completed, now)
        if seconds is not None and not completed.error:
            self._lane.durations.add(seconds)

    def _ran(self, completed: Completed, now: float) -> float | None:
        """For how long it ran, if that is known closely enough."""
        least = 0.0 if self._seen_running is None else now - self._seen_running
        most = now - self._seen_waiting
        said = _inference_seconds(completed)
        # An emulator's time may go faster than ours.
        if said is not None and least - ROUNDING_SECONDS <= said <= most + ROUNDING_SECONDS:
            return said
        return (least + most) / 2 if most - least <= max(2.0, most / 10) else None

    def _known(self, now: float, stream_free: bool) -> Known:
        began = min(self._heard, max(self._seen_waiting, self._turn_at))
        queued = self.state == "queued"
        resting = max(self._rest_until - now, self._lane.streams.listen_in(now), 0.0)
        return Known(
            state=self.state,
            until_turn=self._until_turn(now) if queued else 0.0,
            ran=0.0 if queued else self._heard - began,
            unheard=max(0.0, now - self._heard),
            waited=now - self._entered,
            spread=SPREAD * self.serial % 1.0,
            within_reach=self._heard - min(began, self._within_reach_since or began),
            listen_in=resting if stream_free else inf,
            look_in=self.look_at - now,
            dropped=self._dropped,
            crowded=self._lane.crowded,
            taught=self._lane.taught,
        )

    def _until_turn(self, now: float) -> float:
        return 0.0 if self.number is None else self._lane.until_turn(self.number, now)


def _nothing() -> None:
    """Nobody sleeps."""


def _inference_seconds(completed: Completed) -> float | None:
    seconds = (completed.metrics or {}).get("inference_time")
    return float(seconds) if isinstance(seconds, int | float) else None
