"""All requests that a process waits for, whoever asked: one pace, and streams for those near their
end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.endpoints import find_input_class
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.lanes import Lane
from prefect_hailuo.fal.messages import InQueue, Status, Ticket
from prefect_hailuo.fal.pacing import CROWD, Durations, Plan
from prefect_hailuo.fal.spots import Spot

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
