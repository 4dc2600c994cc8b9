"""fal's queue as a function of time: no task runs behind a request.

The next question brings the queue up to date: it takes the ends of runs from a heap in order, and
at every end the next request begins, at that very instant. So a thousand requests cost nothing
while nobody asks, and O(log n) each in all.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from prefect_hailuo.emulator.clock import Alarm, Clock
from prefect_hailuo.emulator.outcome import CANCELLED, NOT_STARTED_IN_TIME, Outcome
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.models.catalogue import Endpoint, Picture, VideoInput

_UNIT_PLACES = 4

_START_LIMIT = 0
"""In place of an event's run, which is 1 or above: the time limit for a run to begin."""

Waiter = TypeVar("Waiter")


class State(str, Enum):
    """Where a request is; fal's words."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True)
class Submission:
    """What a test may know of a request that the emulator accepted.

    Args:
        number: Counts the accepted requests, from 1.
        request_id: Its id.
        endpoint: fal's endpoint id.
        body: The input as it came.
        headers: The headers that it came with, names in lower case.
        account: The API key that it came with.
        state: Where it was when this was asked.
    """

    number: int
    request_id: str
    endpoint: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    account: str
    state: State


Durations = float | int | Callable[[Submission], float] | None
"""Seconds of emulator time that a generation takes: fixed, by its submission, or the endpoint's."""


@dataclass(frozen=True)
class Disruptions:
    """What the faults do to one generation.

    Args:
        back_to_queue_after: Seconds of work after each of which it goes back to the queue.
        stops_when_cancelled: Whether the model heeds a cancellation while it works.
        webhook_deliveries: How often its webhook is delivered.
    """

    back_to_queue_after: tuple[float, ...] = ()
    stops_when_cancelled: bool = False
    webhook_deliveries: int = 1


@dataclass(eq=False)
class Generation:
    """A request, and how it goes. Instants are in seconds of emulator time.

    Args:
        number: Counts the accepted requests, from 1.
        request_id: Its id.
        input_class: The endpoint's input class.
        body: The input as it came.
        headers: The headers that it came with, names in lower case.
        account: The API key that it came with.
        submitted_at: When it was accepted.
        sent_at: The same by the world's calendar.
        outcome: How it ends, unless it is cancelled.
        duration: Seconds of work that it takes.
        disruptions: What the faults do to it.
        start_within: Seconds within which work must begin, or it fails; None for no limit.
        webhook: Where to tell of its end.
        planted: Whether a test put it there as another client's.
    """

    number: int
    request_id: str
    input_class: type[VideoInput]
    body: dict[str, Any]
    headers: Mapping[str, str]
    account: str
    submitted_at: float
    sent_at: datetime
    outcome: Outcome
    duration: float = 0.0
    disruptions: Disruptions = field(default_factory=Disruptions)
    start_within: float | None = None
    webhook: str | None = None
    planted: bool = False
    state: State = State.IN_QUEUE
    place: int = -1
    runs: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    alarms: set[Alarm] = field(default_factory=set)

    @property
    def endpoint(self) -> Endpoint:
        """Its endpoint."""
        return self.input_class.endpoint

    @property
    def prompt(self) -> str:
        """Its prompt, or nothing if the input has none."""
        prompt = self.body.get("prompt")
        return prompt if isinstance(prompt, str) else ""

    @property
    def price_usd(self) -> Decimal | None:
        """What fal charges for a video of it, in US dollars; None where that is not known."""
        return self.endpoint.price_usd(self.body)

    @property
    def picture(self) -> Picture:
        """What its video looks like; for a body that the model refuses, what its defaults give."""
        return self.endpoint.picture(self.body)

    @property
    def billable_units(self) -> Decimal:
        """What `x-fal-billable-units` says: videos or seconds, 0 if nothing is charged.

        fal has one price a unit for an endpoint: where a setting makes a video dearer by other
        rules, it is taken to be more units.
        """
        unit = self.endpoint.unit_price
        if not self.outcome.charged:
            return Decimal(0)
        if unit is None or self.price_usd is None:
            return Decimal(1)
        return round(self.price_usd / unit.usd, _UNIT_PLACES).normalize()

    def working_seconds(self) -> float:
        """How long the run that begins now will last, in seconds."""
        if self.runs < len(self.disruptions.back_to_queue_after):
            return self.disruptions.back_to_queue_after[self.runs]
        return self.duration if self.outcome.seconds is None else self.outcome.seconds

    def worked_seconds(self) -> float | None:
        """How long its last run lasted, in seconds; None if it has not ended, or never began."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at

    def goes_back(self) -> bool:
        """Whether the request goes back to the queue after the present run."""
        return self.runs <= len(self.disruptions.back_to_queue_after)

    def submission(self) -> Submission:
        """What a test may know of it."""
        return Submission(
            number=self.number,
            request_id=self.request_id,
            endpoint=self.endpoint.id,
            body=self.body,
            headers=self.headers,
            account=self.account,
            state=self.state,
        )


class Simulation:
    """The queue and the runners behind it.

    Args:
        clock: Tells the present.
        concurrency: How many generations are worked on at once.
        on_event: Called when something is to happen earlier than was known; from any thread.

    Every method settles the present first, and any thread may call it.
    """

    def __init__(
        self, clock: Clock, concurrency: int, on_event: Callable[[], None] = lambda: None
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self.clock = clock
        self._concurrency = concurrency
        self._on_event = on_event
        self._lock = threading.RLock()
        self._line: WaitingLine[Generation] = WaitingLine()
        self._events: list[_Event] = []
        self._order = itertools.count()
        self.running = 0
        self.completed = 0
        self.charged = 0
        self.charged_usd = Decimal(0)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        self.settle()
        return len(self._line)

    def settle(self) -> float:
        """Bring the queue up to the present; returns the present instant."""
        with self._lock:
            now = self.clock.now()
            while self._events and self._events[0].instant <= now:
                event = heapq.heappop(self._events)
                self._happen(event)
                self._fill_runners(event.instant)
            return now

    def next_event(self) -> float | None:
        """The instant of the next thing to happen, if there is any."""
        with self._lock:
            return self._events[0].instant if self._events else None

    def accept(self, generation: Generation) -> int:
        """Take a request into the queue; returns its position there, before anything runs."""
        with self._lock:
            now = self.settle()
            generation.place = self._line.join(generation)
            position = self._line.position(generation.place)
            if generation.start_within is not None:
                self._schedule(now + generation.start_within, generation, _START_LIMIT)
            self._fill_runners(now)
            self.settle()
            return position

    def has_free_runner(self) -> bool:
        """Whether a request could start at once."""
        with self._lock:
            self.settle()
            return self.running < self._concurrency

    def run_now(self, generation: Generation) -> None:
        """Start a request at once, without the queue."""
        with self._lock:
            self._start(generation, self.settle())
            self.settle()

    def plant(self, generation: Generation) -> None:
        """Add a request that has ended already. It takes no runner, and is not counted."""
        with self._lock:
            now = self.settle()
            generation.state = State.COMPLETED
            generation.started_at = generation.ended_at = now

    def position(self, generation: Generation) -> int:
        """How many wait before one that is in the queue."""
        with self._lock:
            return self._line.position(generation.place)

    def cancel(self, generation: Generation) -> Cancellation:
        """Cancel as fal does: at once in the queue, by request while the model works."""
        with self._lock:
            now = self.settle()
            if generation.state is State.COMPLETED:
                return Cancellation.TOO_LATE
            if generation.state is State.IN_QUEUE:
                self._line.leave(generation.place)
                self._complete(generation, now, CANCELLED)
                return Cancellation.REMOVED
            if generation.disruptions.stops_when_cancelled:
                self.running -= 1
                self._complete(generation, now, CANCELLED)
                self._fill_runners(now)
            return Cancellation.REQUESTED

    def _happen(self, event: _Event) -> None:
        generation = event.generation
        if event.run == _START_LIMIT:
            if generation.state is State.IN_QUEUE and not generation.runs:
                self._line.leave(generation.place)
                self._complete(generation, event.instant, NOT_STARTED_IN_TIME)
        elif generation.state is State.IN_PROGRESS and event.run == generation.runs:
            self._end_run(generation, event.instant)

    def _end_run(self, generation: Generation, instant: float) -> None:
        self.running -= 1
        if generation.goes_back():
            generation.state = State.IN_QUEUE
            generation.place = self._line.join(generation)
            _ring(generation)
        else:
            self._complete(generation, instant, generation.outcome)

    def _fill_runners(self, instant: float) -> None:
        while self.running < self._concurrency and self._line:
            self._start(self._line.pop(), instant)

    def _start(self, generation: Generation, instant: float) -> None:
        seconds = generation.working_seconds()
        generation.state = State.IN_PROGRESS
        generation.started_at = instant
        generation.runs += 1
        self.running += 1
        self._schedule(instant + seconds, generation, generation.runs)
        _ring(generation)

    def _complete(self, generation: Generation, instant: float, outcome: Outcome) -> None:
        generation.state = State.COMPLETED
        generation.ended_at = instant
        generation.outcome = outcome
        self.completed += 1
        if outcome.charged:
            self.charged += 1
            self.charged_usd += generation.price_usd or 0
        _ring(generation)

    def _schedule(self, instant: float, generation: Generation, run: int) -> None:
        event = _Event(instant, next(self._order), generation, run)
        heapq.heappush(self._events, event)
        if self._events[0] is event:
            self._on_event()


class _Event(NamedTuple):
    instant: float
    order: int
    generation: Generation
    run: int


def _ring(generation: Generation) -> None:
    for alarm in tuple(generation.alarms):
        alarm.ring()


class WaitingLine(Generic[Waiter]):
    """A waiting line whose members know their position, and may leave early.

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
        """Join at the end; returns the number to ask with and to leave with."""
        number = self._next_number
        self._next_number += 1
        self._waiting[number] = waiter
        return number

    def leave(self, number: int) -> None:
        """Leave before the turn has come."""
        del self._waiting[number]
        insort(self._left_early, number)

    def position(self, number: int) -> int:
        """How many wait before this one; 0 is next."""
        gone = bisect_left(self._left_early, number) - bisect_left(self._left_early, self._head)
        return number - self._head - gone

    def pop(self) -> Waiter:
        """Take the first out of the line."""
        while self._head not in self._waiting:
            self._head += 1
        del self._left_early[: bisect_left(self._left_early, self._head)]
        waiter = self._waiting.pop(self._head)
        self._head += 1
        return waiter
