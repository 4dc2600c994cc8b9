"""Those who wait: as `fal.follow` does it, but without a connection."""

from __future__ import annotations

import random

from benchmarks.pacing_runs.figures import Tally
from benchmarks.pacing_runs.queue import Request, SimulatedQueue
from benchmarks.pacing_runs.scenarios import Scenario
from benchmarks.pacing_runs.timeline import Timeline
from prefect_hailuo.fal.follow import Queue, Waiting
from prefect_hailuo.fal.messages import Completed, Status

ANSWER_SECONDS = 0.05
"""How long a question takes."""


class Process:
    """What the waiters of a process share.

    Args:
        time: When it is.
        queue: fal.
        scenario: What it does.
        streams: How many may be open.
        chance: Where chance is needed.
    """

    def __init__(
        self,
        time: Timeline,
        queue: SimulatedQueue,
        scenario: Scenario,
        streams: int,
        chance: random.Random,
    ) -> None:
        self.time = time
        self.queue = queue
        self.scenario = scenario
        self.free_streams = streams
        self.chance = chance
        self.tally = Tally(streams)


class Waiter:
    """Waits for one request.

    Args:
        process: What it shares.
        waiting: What is known of it.
        queue: Those that it waits with.
        request: Its request.
    """

    __slots__ = (
        "_heard",
        "_listening",
        "_nap",
        "_process",
        "_queue",
        "_request",
        "_step",
        "_waiting",
    )

    def __init__(self, process: Process, waiting: Waiting, queue: Queue, request: Request) -> None:
        self._process = process
        self._waiting = waiting
        self._queue = queue
        self._request = request
        self._nap = 0
        self._step = 0
        self._listening = 0
        self._heard = False
        waiting.wake = self._wake
        process.time.after(0.0, self._plan)

    def _plan(self) -> None:
        process = self._process
        process.tally.plans += 1
        plan = self._waiting.plan(process.time.now, process.free_streams > 0)
        process.tally.check(self._request.number, plan, process.time.now)
        self._step += 1
        if plan.pause:
            self._nap = self._step
            process.time.after(plan.pause, self._rested, self._step)
        else:
            self._do(plan.then)

    def _rested(self, nap: int) -> None:
        if nap == self._nap:
            self._nap = 0
            self._plan()

    def _wake(self) -> None:
        if self._nap:
            self._nap = 0
            self._process.tally.wakings += 1
            self._process.time.after(0.0, self._plan)

    def _do(self, then: str) -> None:
        if then == "ask":
            turn = self._waiting.turn(self._process.time.now)
            self._process.tally.ask(self._process.time.now + turn)
            self._process.time.after(turn + ANSWER_SECONDS, self._answered)
        else:
            self._listen()

    def _answered(self) -> None:
        if not self._see(self._process.queue.status(self._request)):
            self._plan()

    def _see(self, status: Status) -> bool:
        """Take note; whether it is over."""
        now = self._process.time.now
        self._waiting.saw(status, now)
        for other in self._waiting.news(now):
            other.wake()
        if not isinstance(status, Completed):
            return False
        self._queue.leave(self._waiting)
        request = self._request
        self._process.tally.seen(now - request.ended_at, request.seconds)
        return True

    def _listen(self) -> None:
        process = self._process
        process.free_streams -= 1
        process.tally.stream(process.free_streams)
        self._waiting.listens(process.time.now)
        self._heard, self._listening = False, self._step
        if process.scenario.refused:
            process.time.after(ANSWER_SECONDS, self._drop, self._step)
            return
        if process.scenario.drop_seconds:
            wait = process.chance.expovariate(1 / process.scenario.drop_seconds)
            process.time.after(wait, self._drop, self._step)
        process.queue.listen(self._request, self._hear)

    def _hear(self, status: Status) -> None:
        self._heard = True
        if self._see(status):
            self._hang_up(dropped=False)
        elif not self._waiting.should_go_on_listening(self._process.time.now):
            self._hang_up(dropped=False)
            self._process.time.after(0.0, self._plan)

    def _drop(self, listening: int) -> None:
        if listening == self._listening:
            self._hang_up(dropped=True)
            self._plan()

    def _hang_up(self, *, dropped: bool) -> None:
        self._listening = 0
        self._process.free_streams += 1
        self._process.queue.hang_up(self._request)
        self._waiting.listened(self._process.time.now, heard=self._heard, dropped=dropped)
