"""The queue: who waits, who runs, who is done, by the clock of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.lean_fal.load import Load

QUEUED = "IN_QUEUE"
RUNNING = "IN_PROGRESS"
COMPLETED = "COMPLETED"


class Listener(Protocol):
    """Told whenever a request's state changes."""

    def tell(self, request: Request) -> None: ...


@dataclass(eq=False)
class Request:
    """One request.

    Args:
        id: Its id.
        place: How many had joined the line before it.
        seconds: How long it will run.
    """

    id: str
    place: int
    seconds: float
    state: str = QUEUED
    cancelled: bool = False
    completed_at: float = 0.0
    told_at: float | None = None
    collected_at: float | None = None
    listeners: list[Listener] = field(default_factory=list)


class Line:
    """The requests of one run.

    Args:
        load: How long they take, and how many run at once.
    """

    def __init__(self, load: Load) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_once = load.at_once
        self._durations = load.durations()
        self._waiting: deque[Request] = deque()
        self._joined = 0
        self._left = 0
        self._running: dict[Request, asyncio.TimerHandle] = {}
        self._closed = False

    def join(self, name: str) -> tuple[Request, int]:
        """Take a request in; also how many waited before it when it came."""
        request = Request(name, self._joined, next(self._durations))
        self._joined += 1
        self._waiting.append(request)
        position = self.before(request)
        self._fill()
        return request, position

    def before(self, request: Request) -> int:
        """How many wait before one that waits."""
        return request.place - self._left

    def cancel(self, request: Request) -> None:
        """End one at once, whether it waits or runs."""
        request.cancelled = True
        if request.state == QUEUED:
            self._waiting.remove(request)
            self._joined -= 1
            for behind in self._waiting:
                behind.place -= behind.place > request.place
        timer = self._running.get(request)
        if timer is not None:
            timer.cancel()
        self._complete(request)

    def close(self) -> None:
        """End of the run: nothing happens any more."""
        self._closed = True
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()
        self._waiting.clear()

    def _fill(self) -> None:
        while self._waiting and (self._at_once is None or len(self._running) < self._at_once):
            request = self._waiting.popleft()
            self._left += 1
            self._running[request] = self._loop.call_later(request.seconds, self._complete, request)
            self._change(request, RUNNING)

    def _complete(self, request: Request) -> None:
        self._running.pop(request, None)
        request.completed_at = time.monotonic()
        self._change(request, COMPLETED)
        if not self._closed:
            self._fill()

    def _change(self, request: Request, state: str) -> None:
        request.state = state
        for listener in tuple(request.listeners):
            listener.tell(request)
