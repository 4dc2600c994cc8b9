"""fal's queue: who waits, who runs, who is done; and its streams."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import cache

from benchmarks.pacing_runs.scenarios import Scenario
from benchmarks.pacing_runs.timeline import Timeline
from prefect_hailuo.fal.follow import MOST_RUNNING
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status

FRAME_SECONDS = 1.0
"""How often, at most, a stream tells a new position."""

INSERTED = 200

RUNNING = InProgress()

Hear = Callable[[Status], None]


@cache
def _in_queue(position: int | None) -> InQueue:
    return InQueue(queue_position=position)


class Request:
    """One request."""

    __slots__ = ("completed", "ended_at", "framed_at", "framing", "hear", "number", "ours",
                 "place", "seconds", "told")  # fmt: skip

    def __init__(self, number: int, seconds: float, ours: bool = True) -> None:
        self.number = number
        self.seconds = seconds
        self.ours = ours
        self.place: int | None = None
        self.completed: Completed | None = None
        self.ended_at = 0.0
        self.hear: Hear | None = None
        self.told: Status | None = None
        self.framed_at = 0.0
        self.framing = False


class SimulatedQueue:
    """Runs what was submitted.

    Args:
        time: When it is.
        scenario: What it does to those who wait.
        chance: Where chance is needed.
    """

    def __init__(self, time: Timeline, scenario: Scenario, chance: random.Random) -> None:
        self._time = time
        self._scenario = scenario
        self._chance = chance
        self._waiting: deque[Request] = deque()
        self._inserted = 0
        self._joined = self._left = self._running = 0
        self._listeners: dict[Request, None] = {}  # in an order that is always the same
        self.frames = 0
        self.ended = 0

    def submit(self, request: Request) -> int:
        """Take a request in; its position."""
        for _ in range(self._others()):
            self._join(Request(-1, request.seconds, ours=False))
        self._join(request)
        position = self._position(request)
        self._fill()
        return position

    def step_back(self) -> None:
        """Let others in at the head of the queue."""
        self._inserted += INSERTED
        self._tell_positions()

    def status(self, request: Request) -> Status:
        """How a request stands."""
        if request.completed:
            return request.completed
        if request.place is None:
            return RUNNING
        position = self._position(request) if self._scenario.positions else None
        return _in_queue(position)

    def listen(self, request: Request, hear: Hear) -> None:
        """Open a stream."""
        request.hear, request.told = hear, None
        self._listeners[request] = None
        self._tell(request)

    def hang_up(self, request: Request) -> None:
        """Close it."""
        request.hear = None
        self._listeners.pop(request, None)

    def _others(self) -> int:
        whole = int(self._scenario.others)
        return whole + (self._chance.random() < self._scenario.others - whole)

    def _join(self, request: Request) -> None:
        request.place = self._joined
        self._joined += 1
        self._waiting.append(request)

    def _position(self, request: Request) -> int:
        return self._inserted + (request.place or 0) - self._left

    def _fill(self) -> None:
        most = self._scenario.at_once
        if 0 < self._scenario.more_after <= self._time.now:
            most = MOST_RUNNING
        moved = False
        while self._waiting and (most is None or self._running < most):
            self._running += 1
            moved = True
            if self._inserted:
                self._inserted -= 1
                self._time.after(self._scenario.median_seconds, self._end_inserted)
                continue
            request = self._waiting.popleft()
            self._left += 1
            self._begin(request)
        if moved:
            self._tell_positions()

    def _begin(self, request: Request) -> None:
        request.place = None
        breaks = self._chance.random() < self._scenario.requeued
        share = self._chance.random() if breaks else 1.0
        self._time.after(request.seconds * share, self._requeue if breaks else self._end, request)
        self._tell(request)

    def _end(self, request: Request) -> None:
        request.completed = Completed.model_construct(
            metrics={"inference_time": request.seconds}, logs=None, error=None, error_type=None
        )
        request.ended_at = self._time.now
        self.ended += request.ours
        self._running -= 1
        self._tell(request)
        self._fill()

    def _end_inserted(self) -> None:
        self._running -= 1
        self._fill()

    def _requeue(self, request: Request) -> None:
        self._running -= 1
        self._join(request)
        self._tell(request)
        self._fill()

    def _tell_positions(self) -> None:
        for request in self._listeners:
            if request.place is not None and not request.framing:
                request.framing = True
                wait = request.framed_at + FRAME_SECONDS - self._time.now
                self._time.after(wait, self._frame, request)

    def _frame(self, request: Request) -> None:
        request.framing = False
        if request.place is not None:
            self._tell(request)

    def _tell(self, request: Request) -> None:
        status = self.status(request)
        if request.hear is None or status == request.told:
            return
        request.told, request.framed_at = status, self._time.now
        self.frames += 1
        request.hear(status)
