"""Following requests until they have completed: all that a process waits for, by one rule.

fal tells how a request stands in two ways. A stream tells each change at once, for one request and
one connection. A question tells of one moment. Few requests simply have a stream each. Of many,
those have one that run or are about to, as far as connections go. The others are asked about: when
the first tenth of their kind may have ended, by their place in the queue and by how long others
took, and never later than `Waiting` says. So a request that is seen late is late by a small part
of the time that it took, whatever fal said of its place.

Answers about one request tell of the others, which stand in the same queue: see `Queue`. The rule
needs no connection and no clock; `benchmarks/pacing.py` drives it in a simulation.
"""

from __future__ import annotations

import heapq
import os
import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timezone
from itertools import count, islice
from math import inf
from typing import Literal, NamedTuple

import anyio

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import FalError, GenerationTimeoutError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status
from prefect_hailuo.fal.retry import deadline_error
from prefect_hailuo.models.catalogue import expected_seconds_of
from prefect_hailuo.ticket import Ticket

CROWD = 64
"""How many wait for one account's endpoint before requests are saved; fewer have a stream each."""

CROWDED_SECONDS = 60.0
"""For how long a process remembers that many waited at once."""

UNKNOWN_SECONDS = 120.0
"""How long a request is taken to run where nobody said anything of its endpoint."""

FEW = 8
"""How many observed durations are worth more than the catalogue's word."""

MOST_SAMPLES = 256
"""How many durations are remembered."""

PRIOR_SHAPE = (0.3, 0.5, 0.65, 0.8, 0.9, 1.0, 1.15, 1.35, 1.7, 2.5, 4.0)
"""What durations are taken to be while few were observed, in expected ones: a long tail."""

OVERDUE_SECONDS = 10.0
"""How much longer a request is taken to need, at least, that ran longer than all before."""

FIRST_ENDS = 0.1
"""A request is asked about when this share of its kind may have ended."""

SHORTEST_GAP_SECONDS = 1.0
"""The time between two questions about one request, at least."""

FEW_GAP_SECONDS = 10.0
"""And at most, if few wait."""

CROWD_GAP_SECONDS = 25.0
"""And at most, if many wait, for a request that did not take long yet."""

PART_OF_RUN = 0.09
"""And at most, for one that has run for long: this part of the time that it ran, so that its end is
seen late by less than a tenth of it."""

PART_OF_WAIT = 1 / 6
"""And at most, for one far back in the queue: this part of the time that it is expected to take in
all. The queue's moves, which others tell, call it earlier."""

LONGEST_UNHEARD_SECONDS = 2700.0
"""How long nothing is asked about a request, wherever it stands: fal keeps results for an hour. A
request that was waited for longer than that is left alone until that time has doubled."""

SPREAD = 0.618034
"""Multiples of it lie evenly between whole numbers, however many there are."""

MOST_RUNNING = 40
"""How many requests of one account fal runs at once, at most; by its documentation as gathered
2026-08. A queue that was not watched for long enough is taken to move as if so many ran."""

ASKED_A_SECOND = 500
"""How many questions a crowd asks in a second, at most: all that wait may have a reason at once."""

WOKEN_AT_ONCE = 100
"""How many plan anew after one answer, at most; the others after the next."""

NEWS_FACTOR = 1.5
"""By how much the usual duration must change before the requests that sleep by it plan anew."""

REMEMBERED_MOVES = 50
"""How many moves of a queue its pace is measured over."""

MOVES_A_DURATION = 16
"""How many of them, at most, are remembered of the time that one request runs."""

INSTANT_SECONDS = 0.05
"""A pause that is not worth it."""

ROUNDING_SECONDS = 0.5
"""By how much fal's word for how long a request ran may differ from what was seen."""

LONGEST_REST_SECONDS = 10.0
"""How long a request goes without a stream, at most, after one dropped: 1, 2, 4, 8, 10 seconds."""

LIVED_LONG = 10.0
"""A stream that lived for so many rests dropped by chance: the next rest is short again."""

REFUSALS = 3
"""After how many streams in a row that said nothing, fal has none to give to anybody."""

DEAF_SECONDS = 300.0
"""For how long nobody asks for a stream again where fal refused one."""

MOST_STREAMS = 512
"""Streams that one process holds open at most: each takes a connection of fal's too."""

FEWEST_STREAMS = 4

KEPT_DESCRIPTORS = 256
"""File descriptors that are left for everything else."""

STREAM_BYTES = 320 * 1024
"""What a stream takes under TLS, most of it asyncio's buffer."""

SHARE_OF_MEMORY = 0.1
"""The part of the free memory that streams may take."""

FRESH_POSITION_SECONDS = 30.0
"""For how long after the submission the position that fal then gave is good to go by."""


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
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []
        for seconds in observed:
            self.add(seconds)

    def add(self, seconds: float) -> None:
        """Learn how long one took."""
        self.learned += 1
        if len(self._latest) == MOST_SAMPLES:
            del self._sorted[bisect_right(self._sorted, self._latest.popleft()) - 1]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    @property
    def observed(self) -> int:
        """How many observations are remembered."""
        return len(self._latest)

    @property
    def usual(self) -> float:
        """Seconds that half of the requests need; never 0."""
        return max(0.001, self.left(0.0, 0.5))

    def left(self, ran: float, share: float) -> float:
        """After how many seconds more that share of those will have ended that ran so long.

        Args:
            ran: Seconds that it has run.
            share: Between 0 and 1.
        """
        known = self.observed >= FEW
        samples = self._sorted if known else self._prior
        first = bisect_right(samples, ran)
        rest = len(samples) - first
        if rest < (FEW if known else 1):  # the longer it took, the longer it may still take
            return share * max(OVERDUE_SECONDS, ran / 2)
        return samples[first + min(rest - 1, int(share * rest))] - ran


class Plan(NamedTuple):
    """What to do next about a request.

    Args:
        pause: Seconds to let pass before the plan is made anew, unless news of others come first;
            0: none.
        then: What is likely to be done after it; with no pause, what to do.
    """

    pause: float
    then: Literal["ask", "listen"]


class Queue:
    """One account's requests to one endpoint that this process waits for, and fal's queue of them.

    A place in the queue is a number, as on tickets at a counter: a request keeps its number, and
    the head of the queue moves. So each answer that tells a position tells where the head is, and
    with it how far all the others have come. A request that turns out to stand further back than
    its number says gets a new one; that tells nothing of the others.

    Args:
        durations: How long they run.

    Attributes:
        first: Of the requests that are far from their turn, the one that comes first.
        deaf_until: Until when fal is taken to have no streams.
    """

    def __init__(self, durations: Durations) -> None:
        self.durations = durations
        self._waiting: dict[Waiting, None] = {}  # in the order in which they came
        self._entered = 0
        self._head = 0.0
        self._seen_at = -inf
        self._moves: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_MOVES)
        self._far: list[tuple[float, int, Waiting]] = []
        self._pushed = count()
        self.first: Waiting | None = None
        self._to_wake: list[Waiting] = []
        self._news_at = FEW
        self._told = 0.0
        self._next_turn = -inf
        self._refusals = 0
        self.deaf_until = -inf

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def crowded(self) -> bool:
        """Whether so many wait that requests are to be saved."""
        return len(self._waiting) > CROWD

    @property
    def lead(self) -> float:
        """How many seconds before its turn a request counts as near its end: it may be short."""
        return max(SHORTEST_GAP_SECONDS, self.durations.left(0.0, 0.05) / 2)

    def enter(self, now: float, said: InQueue | None = None, age: float = 0.0) -> Waiting:
        """A request begins to be waited for.

        Args:
            now: The time.
            said: What fal said of it a moment ago, if it did.
            age: Seconds since it was submitted, by a clock that may have been set since.
        """
        waiting = Waiting(self, self._entered, now, age)
        self._entered += 1
        self._waiting[waiting] = None
        if said is not None:
            waiting.saw(said, now)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """A request is not waited for any more."""
        self._waiting.pop(waiting, None)
        if not self._waiting:
            self._far.clear()
            self.first = None

    def is_scout(self, waiting: Waiting) -> bool:
        """Whether others learn from a request: while nobody knows how long they take, the first few
        are asked about often."""
        return self.durations.observed < FEW and waiting in islice(self._waiting, FEW)

    def until_turn(self, number: float, now: float) -> float:
        """Seconds until the head of the queue is expected at a place."""
        ahead = number - self._head
        if ahead <= 0:
            return 0.0
        seconds = ahead / self._pace
        return seconds if self._seen_at == -inf else max(0.0, seconds - (now - self._seen_at))

    def stand(self, waiting: Waiting, position: int | None, now: float) -> None:
        """A request stands in the queue, behind as many as its position says, if fal said it."""
        number = waiting.number
        if position is None:  # then they stand as they came
            if number is None:
                waiting.number = float(waiting.serial)
            return
        if number is not None and number - position >= self._head:
            self._see_head(number - position, now)
        else:  # rather too near than too far: it will be asked, and tell
            waiting.number = self._head + position

    def reach(self, number: float, now: float, *, at_once: bool) -> None:
        """A place had its turn, and so had all before it.

        Args:
            number: The place.
            now: The time.
            at_once: Whether that was told when it happened, and not some time later.
        """
        if number >= self._head and (at_once or number > self._head_at(now)):
            self._see_head(number, now)

    def line_up(self, waiting: Waiting) -> None:
        """A request is far from its turn: `news` will name it when that comes near."""
        if waiting.number is not None and waiting.lined_up != waiting.number:
            waiting.lined_up = waiting.number
            heapq.heappush(self._far, (waiting.number, next(self._pushed), waiting))

    def news(self, now: float) -> Iterator[Waiting]:
        """The requests that should plan anew after an answer: their turn has come near, or what is
        known of durations has changed."""
        lead = self.lead if self._far else 0.0
        while self._far:
            number, _, waiting = self._far[0]
            is_meant = waiting.lined_up == number and waiting in self._waiting
            if is_meant and self.until_turn(number, now) > lead:
                if waiting is not self.first:
                    self.first = waiting
                    yield waiting
                break
            heapq.heappop(self._far)
            if is_meant:
                waiting.lined_up = None
                yield waiting
        if self.durations.learned >= self._news_at:
            self._news_at = self.durations.learned + min(self.durations.learned, MOST_SAMPLES)
            usual = self.durations.usual
            if not usual / NEWS_FACTOR < self._told < usual * NEWS_FACTOR:
                self._told = usual
                self._to_wake = [each for each in self._waiting if each.lined_up is None]
        for _ in range(min(WOKEN_AT_ONCE, len(self._to_wake))):
            yield self._to_wake.pop()

    def turn(self, now: float) -> float:
        """Seconds until one of a crowd may ask; it is counted as asking then."""
        if not self.crowded:
            return 0.0
        turn = max(now, self._next_turn)
        self._next_turn = turn + 1 / ASKED_A_SECOND
        return turn - now

    def note_stream(self, now: float, *, heard: bool) -> None:
        """A stream has ended. Several in a row that never said anything: fal has none to give."""
        self._refusals = 0 if heard else self._refusals + 1
        if self._refusals >= REFUSALS:
            self.deaf_until = now + DEAF_SECONDS

    @property
    def _pace(self) -> float:
        """Places a second that the queue moves."""
        usual = self.durations.usual
        if not self._moves:
            return MOST_RUNNING / usual
        began, first = self._moves[0]
        seconds = self._seen_at - began
        # Those that began together end together, and until then the queue seems to stand.
        if seconds < 2 * usual:
            return max(MOST_RUNNING / usual, (self._head - first) / max(1.0, seconds))
        return max(1 / usual, (self._head - first) / seconds)

    def _head_at(self, now: float) -> float:
        """Where the head is expected now."""
        unseen = 0.0 if self._seen_at == -inf else now - self._seen_at
        return self._head + unseen * self._pace

    def _see_head(self, head: float, now: float) -> None:
        """The head is at a place now."""
        self._head, self._seen_at = head, now
        apart = self.durations.usual / MOVES_A_DURATION
        if self._moves and now - self._moves[-1][0] < apart:
            self._moves[-1] = (self._moves[-1][0], head)
        else:
            self._moves.append((now, head))


class Waiting:
    """One request that is waited for: what is known of it, and what to do next.

    Nothing is asked about it for at most 30 seconds or, if that is longer, a tenth of the time that
    it ran; while it is far from its turn, a sixth of the time that it is expected to take in all.

    Args:
        queue: Its queue.
        serial: How many had come before it.
        entered: When its waiting began.
        age: Seconds for which it had been submitted then.

    Attributes:
        number: The place in the queue that it is taken to have.
        lined_up: The number by which the queue will call it, if it is far from its turn.
        wake: Called when its plan is to be made anew.
    """

    __slots__ = (
        "_began",
        "_dropped",
        "_drops",
        "_entered",
        "_heard",
        "_listens",
        "_queue",
        "_rest_until",
        "_seen_running",
        "_seen_waiting",
        "_state",
        "_turn_at",
        "lined_up",
        "number",
        "serial",
        "wake",
    )  # fmt: skip

    def __init__(self, queue: Queue, serial: int, entered: float, age: float) -> None:
        self.serial = serial
        self.number: float | None = None
        self.lined_up: float | None = None
        self.wake: Callable[[], None] = _nothing
        self._queue = queue
        self._state: Literal["unseen", "queued", "running"] = "unseen"
        self._entered = entered
        self._heard = self._seen_waiting = self._turn_at = self._began = entered - age
        self._seen_running: float | None = None
        self._listens: float | None = None
        self._rest_until = -inf
        self._drops = 0
        self._dropped = False

    def plan(self, now: float, stream_free: bool) -> Plan:
        """What to do next.

        Args:
            now: The time.
            stream_free: Whether a stream may be opened.
        """
        queue = self._queue
        if self._dropped or (self._state == "unseen" and queue.crowded):
            return Plan(0.0, "ask")
        turn = self._until_turn(now)
        self._turn_at = now + turn if turn > 0 else min(now, self._turn_at)
        asks_in = 0.0
        if self._state != "unseen":
            asks_in = max(0.0, self._heard + self._gap() - now)
        listens_in = max(0.0, self._rest_until - now, queue.deaf_until - now)
        if queue.crowded and turn > queue.lead:
            queue.line_up(self)
            listens_in = max(listens_in, turn - queue.lead)
        if not stream_free:
            return _plan(asks_in, "ask")
        is_better = listens_in <= max(asks_in, LONGEST_REST_SECONDS)
        return _plan(listens_in, "listen") if is_better else _plan(asks_in, "ask")

    def turn(self, now: float) -> float:
        """Seconds until it may be asked about, when that is planned."""
        return self._queue.turn(now)

    def saw(self, status: Status, now: float) -> None:
        """Take note of what fal says of it."""
        match status:
            case InQueue():
                if self._state == "running":
                    self.number = None  # it was broken off, and stands elsewhere now
                self._state, self._seen_running, self._seen_waiting = "queued", None, now
                self._queue.stand(self, status.queue_position, now)
                self._turn_at = now + self._until_turn(now)
            case InProgress():
                self._begin(now)
            case Completed():
                self._end(status, now)
        self._heard = now
        self._dropped = False

    def news(self, now: float) -> Iterator[Waiting]:
        """The others that should plan anew after what was seen of this one."""
        return self._queue.news(now)

    def listens(self, now: float) -> None:
        """A stream of its statuses is opened."""
        self._listens = now

    def listened(self, now: float, *, heard: bool, dropped: bool) -> None:
        """The stream is at its end.

        Args:
            now: The time.
            heard: Whether it said anything.
            dropped: Whether it broke off.
        """
        began, self._listens = self._listens or now, None
        if heard or dropped:
            self._queue.note_stream(now, heard=heard)
        if not dropped:
            return
        self._dropped = True
        if now - began > LIVED_LONG * self._rest:
            self._drops = 0
        self._rest_until = now + (self._rest if heard else DEAF_SECONDS)
        self._drops += 1

    def should_go_on_listening(self, now: float) -> bool:
        """Whether its end is near enough to hold a stream for it, when others need them."""
        return not self._queue.crowded or self._until_turn(now) <= 2 * self._queue.lead

    def _gap(self) -> float:
        """How long after it was last heard of it is asked about."""
        queue, waited = self._queue, self._heard - self._entered
        ran = turn = 0.0
        if self._state == "running":
            ran = self._heard - self._began
        else:
            turn = max(0.0, self._turn_at - self._heard)
        if not queue.crowded or queue.is_scout(self):
            longest = min(FEW_GAP_SECONDS, waited / 5)
        elif self._state == "running":
            longest = max(CROWD_GAP_SECONDS, ran * PART_OF_RUN)
        else:
            part = (waited + turn + queue.durations.usual) * PART_OF_WAIT
            # Each a little else, so that not all of a crowd are asked about at once.
            most = max(LONGEST_UNHEARD_SECONDS, waited) * (1 + SPREAD * self.serial % 1) / 2
            longest = min(turn + CROWD_GAP_SECONDS, max(CROWD_GAP_SECONDS, min(part, most)))
        ends = turn + queue.durations.left(ran, FIRST_ENDS)
        if self is queue.first:  # if nobody is nearer its turn, only this one can tell
            ends = min(ends, max(turn / 2, queue.lead))
        return max(SHORTEST_GAP_SECONDS, ran * PART_OF_RUN, min(ends, longest))

    def _until_turn(self, now: float) -> float:
        if self._state == "running" or self.number is None:
            return 0.0
        return self._queue.until_turn(self.number, now)

    @property
    def _rest(self) -> float:
        return min(LONGEST_REST_SECONDS, 2.0**self._drops)

    @property
    def _is_told_at_once(self) -> bool:
        """Whether a stream tells its changes; what a stream says first may be so for long."""
        return self._listens is not None and self._heard >= self._listens

    def _begin(self, now: float) -> None:
        if self._state == "running":
            return
        self._reach(now)
        self._state, self._seen_running = "running", now
        # How long ago it began, a clock that was set, or a wait of days, must not say alone.
        likely = max(self._turn_at, now - self._queue.durations.usual)
        self._began = now if self._is_told_at_once else min(now, likely)

    def _end(self, completed: Completed, now: float) -> None:
        if self._state == "queued":
            self._reach(now)
        seconds = self._ran(completed, now)
        if seconds is not None and not completed.error:
            self._queue.durations.add(seconds)

    def _reach(self, now: float) -> None:
        if self.number is not None:
            self._queue.reach(self.number, now, at_once=self._is_told_at_once)

    def _ran(self, completed: Completed, now: float) -> float | None:
        """For how long it ran, if that is known closely enough."""
        least = 0.0 if self._seen_running is None else now - self._seen_running
        most = now - self._seen_waiting
        said = completed.inference_seconds
        # An emulator's time may go faster than ours.
        if said is not None and least - ROUNDING_SECONDS <= said <= most + ROUNDING_SECONDS:
            return said
        return (least + most) / 2 if most - least <= max(2.0, most / 10) else None


def _plan(pause: float, then: Literal["ask", "listen"]) -> Plan:
    return Plan(pause if pause > INSTANT_SECONDS else 0.0, then)


def _nothing() -> None:
    """Nobody sleeps."""


class Supervisor:
    """All requests that a process waits for, and the streams that they may have.

    Args:
        streams: How many streams there may be; by default, what descriptors and memory allow.

    Attributes:
        free_streams: How many may still be opened.
        seats: How many requests are waited for.
    """

    def __init__(self, streams: int | None = None) -> None:
        self.free_streams = affordable_streams() if streams is None else streams
        self.seats = 0
        self._queues: dict[tuple[str, str, str, Clock], Queue] = {}
        self._crowded_at = -inf

    @property
    def crowded(self) -> bool:
        """Whether many wait, or did a moment ago: then there is nothing special about each."""
        return time.monotonic() - self._crowded_at < CROWDED_SECONDS

    def disperse(self) -> None:
        """Nobody waits any more: the next one is not one of many."""
        self._crowded_at = -inf

    def is_news(self, access: Access, ticket: Ticket, clock: Clock) -> bool:
        """Whether this endpoint's requests are waited for here for the first time.

        Then somebody may `learn` how long they take.
        """
        known = _name(access, ticket.endpoint, clock) in self._queues
        self._queue(access, ticket, clock)
        return not known

    def learn(
        self, access: Access, ticket: Ticket, clock: Clock, observed: Sequence[float]
    ) -> None:
        """Take over how long earlier requests of it took, in seconds, the latest last."""
        durations = self._queue(access, ticket, clock).durations
        for seconds in observed:
            durations.add(seconds)

    @contextmanager
    def seat(self, access: Access, ticket: Ticket, clock: Clock, age: float) -> Iterator[Waiting]:
        """A place among those who wait, for as long as it is in use.

        Args:
            access: The request's account.
            ticket: The request.
            clock: What its waiting is measured with.
            age: Seconds since it was submitted.
        """
        queue = self._queue(access, ticket, clock)
        fresh = age <= FRESH_POSITION_SECONDS and ticket.submitted_at is not None
        said = InQueue(queue_position=ticket.queue_position) if fresh else None
        with self.company():
            waiting = queue.enter(clock.now(), said, age)
            try:
                yield waiting
            finally:
                queue.leave(waiting)
                if not len(queue) and not isinstance(clock, SystemClock):
                    # Nobody else has that clock.
                    self._queues.pop(_name(access, ticket.endpoint, clock), None)

    @contextmanager
    def company(self) -> Iterator[None]:
        """Somebody waits, who may ask nothing: nothing is planned for that."""
        self.seats += 1
        if self.seats > CROWD:
            self._crowded_at = time.monotonic()
        try:
            yield
        finally:
            self.seats -= 1
            if self.seats > CROWD:
                self._crowded_at = time.monotonic()

    def _queue(self, access: Access, ticket: Ticket, clock: Clock) -> Queue:
        name = _name(access, ticket.endpoint, clock)
        if name not in self._queues:
            expected = expected_seconds_of(ticket) or UNKNOWN_SECONDS
            self._queues[name] = Queue(Durations(expected))
        return self._queues[name]


def _name(access: Access, endpoint: str, clock: Clock) -> tuple[str, str, str, Clock]:
    """What requests have in common that wait in one queue and take equally long."""
    return access.hosts.queue_url, access.account, endpoint, clock


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
    return inf if soft == resource.RLIM_INFINITY else soft


def _free_bytes() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # not every system tells
        return inf


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
    its plan says, so that all of them together cost little.

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
    with supervisor.seat(client.access, ticket, deadline.clock, age_seconds(ticket)) as waiting:
        following = _Following(client, ticket, deadline, seen, supervisor, waiting, logs)
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

    __slots__ = ("_client", "_deadline", "_logs", "_nap", "_seen", "_supervisor", "_ticket",
                 "_waiting")  # fmt: skip

    def __init__(
        self,
        client: AsyncFalClient,
        ticket: Ticket,
        deadline: Deadline,
        seen: Seen,
        supervisor: Supervisor,
        waiting: Waiting,
        logs: bool,
    ) -> None:
        self._client = client
        self._ticket = ticket
        self._deadline = deadline
        self._seen = seen
        self._supervisor = supervisor
        self._waiting = waiting
        self._logs = logs
        self._nap: anyio.CancelScope | None = None
        waiting.wake = self._wake

    async def step(self) -> Completed | None:
        """Do what is planned; the completion, if it is known then."""
        plan = self._waiting.plan(self._now, self._supervisor.free_streams > 0)
        if plan.pause > 0:
            await self._sleep(plan.pause)
            return None
        if plan.then == "listen":
            return await self._listen()
        turn = self._waiting.turn(self._now)
        if turn > 0:
            await self._deadline.sleep(turn)
        return None if self._deadline.passed else await self._ask()

    @property
    def _now(self) -> float:
        return self._deadline.clock.now()

    async def _sleep(self, seconds: float) -> None:
        """Let time pass, until the deadline or news of others at the latest: then plan anew."""
        with anyio.CancelScope() as self._nap:
            await self._deadline.sleep(seconds)

    def _wake(self) -> None:
        if self._nap is not None:
            self._nap.cancel()

    def _see(self, status: Status) -> None:
        now = self._now
        self._waiting.saw(status, now)
        for other in self._waiting.news(now):
            other.wake()
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
        heard, dropped = False, False
        self._supervisor.free_streams -= 1
        self._waiting.listens(self._now)
        try:
            with anyio.move_on_after(self._deadline.remaining):
                try:
                    stream = self._client.stream(self._ticket, logs=self._logs)
                    async with aclosing(stream) as statuses:
                        async for status in statuses:
                            heard = True
                            self._see(status)
                            if isinstance(status, Completed):
                                return status
                            if not self._waiting.should_go_on_listening(self._now):
                                return None
                except FalError:
                    pass  # if it is the request that is wrong, the question will tell
                dropped = True
            return None
        finally:
            self._supervisor.free_streams += 1
            self._waiting.listened(self._now, heard=heard, dropped=dropped)
