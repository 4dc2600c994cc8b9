"""fal's queue as a function of time: no task runs behind a request.

Whoever looks first settles what has happened since the last look: ends of runs are popped from
a heap in order, and every end lets the next in line begin at that very instant. So a thousand
requests cost nothing while nobody asks, and O(log n) each in all.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from prefect_hailuo.emulator.clock import Clock
from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.emulator.outcomes import CANCELLED, NOT_STARTED_IN_TIME, Outcome
from prefect_hailuo.emulator.waiting import WaitingLine
from prefect_hailuo.fal.messages import Cancellation

_START_LIMIT = 0
"""Stands where events carry the number of a run (1 and up): this one is the limit to begin."""


class _Event(NamedTuple):
    instant: float
    order: int
    generation: Generation
    run: int


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
        """Let everything happen that is due; returns the present instant."""
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
        """Start a request past the queue."""
        with self._lock:
            self._start(generation, self.settle())
            self.settle()

    def plant(self, generation: Generation) -> None:
        """Put in a request that has ended already, outside the queue and the counts."""
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
            if generation.twists.stops_when_cancelled:
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


def _ring(generation: Generation) -> None:
    for alarm in tuple(generation.alarms):
        alarm.ring()
