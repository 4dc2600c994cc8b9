"""What is known of the requests that wait together: of one account, for one app.

Each answer about one of them tells of the others: they stand in one queue, so that where one of
them moved up by ten, all that are behind it did. Nothing here asks, waits, or reads a clock: times
are given, and what is to be done is returned, so that a simulation can drive it.

When to ask how a request stands: decided from what is known, without a clock or a connection.

A stream tells the end at once and costs one request, but holds a connection; a question costs a
request and tells of one moment. So whoever is near its end listens, if a stream is to be had, and
whoever is far is left alone: of 2,000 requests in a queue only the first few dozen can end soon.
How near an end is, follows from how long others took and from how the queue moves.

How fast fal's queue moves, from the positions that it tells of single requests.

Positions are turned into numbers, as on tickets at a counter: a request's number stays, and what
moves is the head of the queue. So each answer about one request tells of all the others.

What is known of one request among those that wait together.

All requests that a process waits for, whoever asked: one pace, and streams for those near their
end.

Following one request to its end.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import count
from math import inf
from typing import Literal, NamedTuple

import anyio
from typing_extensions import assert_never

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import FalError, GenerationTimeoutError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status
from prefect_hailuo.fal.retry import deadline_error
from prefect_hailuo.models.catalogue import find_input_class
from prefect_hailuo.ticket import Ticket

CROWD = 64
"""How many wait for one account's app before requests are saved; fewer simply listen."""

FEW = 8
"""How many observed durations are worth more than the catalogue's word."""

MOST_SAMPLES = 256

PRIOR_SHAPE = (0.3, 0.5, 0.65, 0.8, 0.9, 1.0, 1.15, 1.35, 1.7, 2.5, 4.0)
"""What durations are taken to be while none has been observed, in expected ones: a long tail."""

SURE_SECONDS = 0.5
"""Ends that are known so closely are not listened for: one question right after is as good."""

OVERDUE_SECONDS = 10.0
"""How much longer what took longer than any before is taken to need at least."""

SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 10.0

PATIENCE = 5.0
"""What may end at any time is asked about again after this part of the time for which that is so:
what takes long is asked about seldom, and its end seen late by a small part of what it took."""

BEFORE_ITS_TURN = 0.9
"""At what part of the time until its turn a request far back in the queue is asked about, which may
not move as it is believed to: each question leaves a tenth of the time."""

FORESEEN_SECONDS = 60.0
"""Until when a queue is trusted to move as it is believed to."""

LONGEST_UNHEARD_SECONDS = 2700.0
"""How long nothing is asked about a request, wherever it stands: fal keeps results for an hour. One
that has been waited for for days is left alone until that has doubled."""

SETTLING_SECONDS = 2.0
"""How long a crowd is left alone right after it was submitted, while others still are."""


class Durations:
    """How long an endpoint's requests run: as the catalogue expects, then as observed.

    Args:
        expected_seconds: The catalogue's word.
        observed: Seconds that earlier requests took, the latest last.

    Attributes:
        learned: How many were observed, ever.

    Example:
        >>> durations = Durations(120, observed=[60.0] * 10)
        >>> durations.left(0, 0.5), durations.left(50, 0.5)
        (60.0, 10.0)
    """

    def __init__(self, expected_seconds: float, observed: Iterable[float] = ()):
        self._prior = [expected_seconds * each for each in PRIOR_SHAPE]
        self.learned = 0
        self._whole: dict[float, float] = {}
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []
        for seconds in observed:
            self.add(seconds)

    def add(self, seconds: float) -> None:
        """Learn how long one took."""
        self.learned += 1
        self._whole.clear()
        if len(self._latest) == MOST_SAMPLES:
            oldest = self._latest.popleft()
            del self._sorted[bisect_right(self._sorted, oldest) - 1]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    @property
    def observed(self) -> int:
        """How many observations are remembered."""
        return len(self._latest)

    def whole(self, share: float) -> float:
        """After how many seconds that share will have ended."""
        if share not in self._whole:
            self._whole[share] = self.left(0.0, share)
        return self._whole[share]

    def left(self, ran: float, share: float) -> float:
        """After how many seconds more that share of those will have ended that ran so long.

        Args:
            ran: Seconds that it has run.
            share: Between 0 and 1.
        """
        known = len(self._sorted) >= FEW
        samples = self._sorted if known else self._prior
        first = bisect_right(samples, ran)
        rest = len(samples) - first
        if rest < (
            FEW if known else 1
        ):  # longer than almost any: the longer it took, the longer it may still take
            return share * max(OVERDUE_SECONDS, ran / 2)
        return samples[first + min(rest - 1, int(share * rest))] - ran


@dataclass(frozen=True)
class Known:
    """What is known of one request.

    Args:
        state: What fal last said of it.
        until_turn: Seconds until it is expected to begin, if it has not.
        ran: Seconds that it had run when it was last heard of.
        unheard: Seconds since then.
        waited: Seconds for which it has been waited for here.
        within_reach: Seconds for which it may have run, by its turn, when it was last heard of.
        listen_in: Seconds until a stream is to be had; infinite where none is.
        spread: Between 0 and 1, for each another, so that not all do the same at once.
        dropped: Whether its stream has just dropped.
        crowded: Whether many wait.
        taught: Whether others listen, and will tell how long it takes, which nobody knows yet.
        scout: Whether it is one of the few that others learn from while no stream is to be had.
    """

    state: Literal["unseen", "queued", "running"]
    until_turn: float = 0.0
    ran: float = 0.0
    unheard: float = 0.0
    waited: float = 0.0
    within_reach: float = 0.0
    listen_in: float = inf
    spread: float = 1.0
    dropped: bool = False
    crowded: bool = False
    taught: bool = False
    scout: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do next.

    Args:
        pause: Seconds until then; news may come between.
        then: What to do after it.
    """

    pause: float
    then: Literal["ask", "listen", "plan"]


def plan(known: Known, durations: Durations) -> Plan:
    """What to do next about a request.

    Example:
        >>> plan(Known("unseen", listen_in=0), Durations(120))
        Plan(pause=0.0, then='listen')
        >>> plan(Known("queued", until_turn=600, crowded=True), Durations(120))
        Plan(pause=540.0, then='ask')
    """
    if known.dropped:
        return Plan(0.0, "ask")
    if not known.crowded:
        return _among_few(known)
    if known.state == "unseen":
        return Plan(0.0, "ask")
    if is_far(known.until_turn, durations):
        return _far_from_its_turn(known, durations)
    return _near_its_end(known, durations)


def is_far(until_turn: float, durations: Durations) -> bool:
    """Whether a turn is so far away that nothing can end soon."""
    return until_turn > near_seconds(durations)


def near_seconds(durations: Durations) -> float:
    """How long before its turn a request counts as running: it may be over soon after."""
    return max(SHORTEST_GAP_SECONDS, durations.whole(0.05) / 2)


def _among_few(known: Known) -> Plan:
    """Listen; or ask now and then, where no stream is to be had."""
    if known.listen_in <= 0:
        return Plan(0.0, "listen")
    if known.state == "unseen":
        return Plan(0.0, "ask")
    if known.listen_in <= LONGEST_GAP_SECONDS:
        return Plan(known.listen_in, "listen")
    return _now_and_then(known)


def _now_and_then(known: Known) -> Plan:
    heard_at = known.waited - known.unheard
    gap = max(SHORTEST_GAP_SECONDS, min(LONGEST_GAP_SECONDS, heard_at / PATIENCE))
    return _after(gap - known.unheard, "ask")


def _far_from_its_turn(known: Known, durations: Durations) -> Plan:
    """Leave it alone: that its turn comes near, those before it will tell."""
    whole = known.unheard + known.until_turn
    if whole <= FORESEEN_SECONDS:
        rest = known.until_turn - near_seconds(durations)
        return Plan(max(SHORTEST_GAP_SECONDS, rest), "plan")
    return _after(min(BEFORE_ITS_TURN * whole, _longest_unheard(known)) - known.unheard, "ask")


def _near_its_end(known: Known, durations: Durations) -> Plan:
    """It runs, or is about to: for how long, those before it tell."""
    soon, likely, late = (
        known.until_turn + durations.left(known.ran, share) for share in (0.05, 0.25, 0.95)
    )
    if late - soon <= SURE_SECONDS:
        return _after(max(late, SURE_SECONDS) - known.unheard, "ask")
    settled = min(SETTLING_SECONDS, soon / 10) - known.unheard
    if known.listen_in <= max(SETTLING_SECONDS, settled):
        return _after(max(settled, known.listen_in), "listen")
    if known.taught and known.unheard < _longest_unheard(known):
        return Plan(FORESEEN_SECONDS, "plan")
    if known.scout:
        return _now_and_then(known)
    if soon - known.unheard > SHORTEST_GAP_SECONDS:
        return Plan(soon - known.unheard, "plan")
    patience = known.within_reach / PATIENCE
    gap = max(SHORTEST_GAP_SECONDS, patience / 2, min(likely, max(LONGEST_GAP_SECONDS, patience)))
    return _after(gap - known.unheard, "ask")


def _longest_unheard(known: Known) -> float:
    whole = max(LONGEST_UNHEARD_SECONDS, known.waited - known.unheard)
    return whole * (1 + known.spread) / 2


def _after(pause: float, then: Literal["ask", "listen", "plan"]) -> Plan:
    return Plan(max(0.0, pause), then)


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


ROUNDING_SECONDS = 0.5
"""By how much fal's word for how long a request ran may differ from what was seen."""

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 10.0
"""How long a request is left alone whose stream has dropped, longer each time: the next may too."""

LIVED_LONG = 10.0
"""A stream that lived for so many rests dropped by chance."""

SPREAD = 0.618034
"""Multiples of it lie evenly between whole numbers, however many there are."""

DEAF_SECONDS = 300.0
"""For how long nobody asks for a stream again where fal refused one."""


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
        lined_up: The number by which it is in the lane's line of those who are far.
        doubted: Whether what it last said of the queue was not believed.
    """

    def __init__(self, lane: Lane, serial: int, entered: float, submitted: float) -> None:
        self.serial = serial
        self.number: float | None = None
        self.anchor: float | None = None
        self.lined_up: float | None = None
        self.doubted = False
        self.state: Literal["unseen", "queued", "running"] = "unseen"
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
        if far:
            self._lane.line_up(self)
        elif self._lane.enlists(self):
            known = replace(known, scout=True)
        planned = plan(known, self._lane.durations)
        self._lane.guess(self, not far and planned.then != "listen")
        return planned

    def turn(self, now: float) -> float:
        """Seconds until it may be asked about, when that is planned."""
        return self._lane.turn(now)

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
        if heard or dropped:
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
            self._lane.reach(self.number, now, witnessed=self._is_told_at_once)
        self.state, self._seen_running = "running", now
        if self._listened is not None:
            self._turn_at = now
        elif self._within_reach_since is None:
            # How long ago it began, a clock that was set, or a wait of days, must not say alone.
            self._turn_at = max(self._turn_at, now - self._lane.durations.whole(0.5))

    def _end(self, completed: Completed, now: float) -> None:
        if self.number is not None and self.state == "queued":
            self._lane.reach(self.number, now, witnessed=self._is_told_at_once)
        seconds = self._ran(completed, now)
        if seconds is not None and not completed.error:
            self._lane.durations.add(seconds)

    @property
    def _is_told_at_once(self) -> bool:
        """Whether a stream tells of its changes; what one says first, may be so for long."""
        return self._listened is not None and self._heard >= self._listened

    def _ran(self, completed: Completed, now: float) -> float | None:
        """For how long it ran, if that is known closely enough."""
        least = 0.0 if self._seen_running is None else now - self._seen_running
        most = now - self._seen_waiting
        said = completed.inference_seconds
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
            dropped=self._dropped,
            crowded=self._lane.crowded,
            taught=self._lane.taught,
        )

    def _until_turn(self, now: float) -> float:
        return 0.0 if self.number is None else self._lane.until_turn(self.number, now)


def _nothing() -> None:
    """Nobody sleeps."""


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


MOST_STREAMS = 512
"""Streams that one process holds open at most; more save no requests, for whoever is near its end
is among them, and each takes a connection of fal's too."""

FEWEST_STREAMS = 4

KEPT_DESCRIPTORS = 256
"""File descriptors that are left for everything else."""

STREAM_BYTES = 320 * 1024
"""What a stream takes under TLS, most of it asyncio's buffer."""

SHARE_OF_MEMORY = 0.1
"""The part of the free memory that streams may take."""

FRESH_POSITION_SECONDS = 30.0
"""For how long after the submission the position that fal then gave is good to go by."""


CROWDED_SECONDS = 60.0
"""For how long many are remembered to have waited at once."""


class LaneName(NamedTuple):
    """What requests have in common that wait in one queue and take equally long."""

    queue_url: str
    account: str
    endpoint: str
    clock: Clock


class Supervisor:
    """Decides when each request is asked about, and which are listened to.

    Args:
        streams: How many streams there may be; by default, what descriptors and memory allow.
    """

    def __init__(self, streams: int | None = None) -> None:
        self._free_streams = affordable_streams() if streams is None else streams
        self._lanes: dict[LaneName, Lane] = {}
        self._seats = 0
        self._crowded_at = -math.inf

    @property
    def crowded(self) -> bool:
        """Whether many wait, or did a moment ago: then there is nothing special about each."""
        return time.monotonic() - self._crowded_at < CROWDED_SECONDS

    def disperse(self) -> None:
        """Nobody is there any more: whoever comes next is not one of many."""
        self._crowded_at = -math.inf

    @property
    def free_streams(self) -> int:
        """How many streams may still be opened."""
        return self._free_streams

    @property
    def seats(self) -> int:
        """How many requests are waited for."""
        return self._seats

    def is_news(self, access: Access, endpoint: str, clock: Clock) -> bool:
        """Whether requests of an endpoint are waited for, and asked about here, for the first time:
        then somebody may `learn` how long they take."""
        known = _name(access, endpoint, clock) in self._lanes
        self._lane(access, endpoint, clock)
        return not known

    def learn(self, access: Access, endpoint: str, clock: Clock, observed: Sequence[float]) -> None:
        """Take over how long earlier requests of an endpoint took, in seconds, the latest last."""
        durations = self._lane(access, endpoint, clock).durations
        for seconds in observed:
            durations.add(seconds)

    @contextmanager
    def seat(self, access: Access, ticket: Ticket, clock: Clock, age: float) -> Iterator[Seat]:
        """A place among those who wait, for as long as it is in use.

        Args:
            access: The request's account.
            ticket: The request.
            clock: What its waiting is measured with.
            age: Seconds since it was submitted.
        """
        lane = self._lane(access, ticket.endpoint, clock)
        fresh = age <= FRESH_POSITION_SECONDS and ticket.submitted_at is not None
        said = InQueue(queue_position=ticket.queue_position) if fresh else None
        seat = Seat(self, lane, lane.enter(clock.now(), said, age), clock)
        self._count(1)
        try:
            yield seat
        finally:
            self._count(-1)
            lane.leave(seat.spot)
            for spot in lane.next_to_learn():
                spot.wake()
            if not len(lane) and not isinstance(clock, SystemClock):  # nobody else has that clock
                self._lanes.pop(_name(access, ticket.endpoint, clock), None)

    @contextmanager
    def company(self) -> Iterator[None]:
        """Somebody waits who asks nothing, and for whom nothing is to be planned."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def count_stream(self, change: int) -> None:
        """A stream is opened, +1, or at its end, -1."""
        self._free_streams -= change

    def _count(self, change: int) -> None:
        self._seats += change
        if self._seats > CROWD:
            self._crowded_at = time.monotonic()

    def _lane(self, access: Access, endpoint: str, clock: Clock) -> Lane:
        name = _name(access, endpoint, clock)
        if name not in self._lanes:
            expected = find_input_class(endpoint).endpoint.expected_seconds
            self._lanes[name] = Lane(Durations(expected))
        return self._lanes[name]


@dataclass
class Listening:
    """How a stream goes: whether it said anything, and whether it broke off."""

    heard: bool = False
    dropped: bool = False


class Seat:
    """One request among those who wait: when to do what about it, and what that gave.

    Args:
        supervisor: Counts the streams.
        lane: The requests that it waits with.
        spot: What is known of it.
        clock: What its waiting is measured with.
    """

    def __init__(self, supervisor: Supervisor, lane: Lane, spot: Spot, clock: Clock) -> None:
        self.spot = spot
        self._supervisor = supervisor
        self._lane = lane
        self._clock = clock
        self._nap: anyio.CancelScope | None = None
        spot.wake = self._wake

    @property
    def stream_is_free(self) -> bool:
        """Whether one more stream may be opened."""
        return self._supervisor.free_streams > 0

    def plan(self) -> Plan:
        """What to do next."""
        return self.spot.plan(self._clock.now(), self.stream_is_free)

    async def turn(self, deadline: Deadline) -> None:
        """Wait until it may be asked about: one of a crowd after another."""
        pause = self.spot.turn(self._clock.now())
        if pause > 0:
            await deadline.sleep(pause)

    async def sleep(self, seconds: float) -> bool:
        """Let time pass; whether all of it did: news of others may end it."""
        with anyio.CancelScope() as self._nap:
            await self._clock.sleep(seconds)
            return True
        return False

    def saw(self, status: Status) -> None:
        """Take note of what fal says, and wake those whom it is news to."""
        now = self._clock.now()
        self.spot.saw(status, now)
        for spot in [*self._lane.near(now), *self._lane.learned()]:
            spot.wake()

    @contextmanager
    def stream(self) -> Iterator[Listening]:
        """A stream is open."""
        listening = Listening()
        self._supervisor.count_stream(1)
        self.spot.listens(self._clock.now())
        try:
            yield listening
        finally:
            self._supervisor.count_stream(-1)
            self.spot.listened(self._clock.now(), heard=listening.heard, dropped=listening.dropped)
            for spot in self._lane.next_to_learn():
                spot.wake()

    def should_go_on_listening(self) -> bool:
        """Whether its stream is worth what it takes."""
        return self.spot.should_go_on_listening(self._clock.now())

    def _wake(self) -> None:
        if self._nap is not None:
            self._nap.cancel()


def affordable_streams() -> int:
    """How many streams this process may hold, by its file descriptors and the free memory."""
    by_memory = SHARE_OF_MEMORY * _free_bytes() / STREAM_BYTES
    return int(max(FEWEST_STREAMS, min(MOST_STREAMS, descriptors() - KEPT_DESCRIPTORS, by_memory)))


def descriptors() -> float:
    """How many file descriptors the process may have."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return MOST_STREAMS + KEPT_DESCRIPTORS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft


def _free_bytes() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # not every system tells
        return float("inf")


def _name(access: Access, endpoint: str, clock: Clock) -> LaneName:
    return LaneName(access.hosts.queue_url, access.account, endpoint, clock)


Seen = Callable[[Status], None]


async def follow(
    client: AsyncFalClient,
    ticket: Ticket,
    deadline: Deadline,
    seen: Seen,
    supervisor: Supervisor | None = None,
    *,
    logs: bool = True,
) -> Completed:
    """Wait until a request has completed, one way or another.

    By itself it listens to fal's stream of statuses, which costs one request and tells the end at
    once; when the stream drops, it asks for the status, and listens again. Among many it does what
    the supervisor's plan says, so that all of them together cost little.

    Args:
        client: The client of the account that the request belongs to.
        ticket: The request.
        deadline: When to stop waiting.
        seen: Called with every status, whether or not it is news.
        supervisor: Knows the others that the process waits for; by default there are none.
        logs: Whether to ask for the model's log lines.

    Raises:
        GenerationTimeoutError: The deadline passed; it carries the ticket.
        FalError: fal refused to say how the request stands.
    """
    supervisor = supervisor or Supervisor()
    with supervisor.seat(client.access, ticket, deadline.clock, age_seconds(ticket)) as seat:
        following = _Following(client, ticket, deadline, seen, seat, logs)
        while not deadline.passed:
            if completed := await following.step():
                return completed
    raise deadline_error(deadline, ticket)


def age_seconds(ticket: Ticket) -> float:
    """How long ago a request was submitted; none, where that is not known, or is yet to come."""
    if ticket.submitted_at is None:
        return 0.0
    age = datetime.now(timezone.utc) - ticket.submitted_at
    return max(0.0, age.total_seconds())


class _Following:
    """One request, step by step."""

    def __init__(
        self,
        client: AsyncFalClient,
        ticket: Ticket,
        deadline: Deadline,
        seen: Seen,
        seat: Seat,
        logs: bool,
    ) -> None:
        self._client = client
        self._ticket = ticket
        self._deadline = deadline
        self._seen = seen
        self._seat = seat
        self._logs = logs

    async def step(self) -> Completed | None:
        """Do what is planned; the completion, if it is known then."""
        plan = self._seat.plan()
        if plan.pause > 0:
            rested = await self._seat.sleep(min(plan.pause, self._deadline.remaining))
            if not rested or self._deadline.passed:
                return None
        match plan.then:
            case "plan":
                return None
            case "ask":
                await self._seat.turn(self._deadline)
                return None if self._deadline.passed else await self._ask()
            case "listen":
                # Others may have taken the last stream during the pause: then it is planned anew.
                return await self._listen() if self._seat.stream_is_free else None
            case _:
                assert_never(plan.then)

    def _see(self, status: Status) -> None:
        self._seat.saw(status)
        self._seen(status)

    async def _ask(self) -> Completed | None:
        """Ask; if there is no answer in time, the error tells of the whole wait."""
        left = self._deadline.remaining
        try:
            status = await self._client.status(self._ticket, logs=self._logs, timeout_seconds=left)
        except GenerationTimeoutError as error:
            last = error.__cause__ if isinstance(error.__cause__, Exception) else None
            raise deadline_error(self._deadline, self._ticket, last) from last
        self._see(status)
        return status if isinstance(status, Completed) else None

    async def _listen(self) -> Completed | None:
        """Listen to one stream, for as long as that is worth while."""
        with self._seat.stream() as listening, anyio.move_on_after(self._deadline.remaining):
            try:
                async with aclosing(self._client.stream(self._ticket, logs=self._logs)) as statuses:
                    async for status in statuses:
                        listening.heard = True
                        self._see(status)
                        if isinstance(status, Completed):
                            return status
                        if not self._seat.should_go_on_listening():
                            return None
            except FalError:
                pass  # what is wrong with the request itself, the question for its status will tell
            listening.dropped = True
        return None
