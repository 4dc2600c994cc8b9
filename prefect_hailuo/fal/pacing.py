"""When to ask how a request stands: decided from what is known, without a clock or a connection.

A stream tells the end at once and costs one request, but holds a connection; a question costs a
request and tells of one moment. So whoever is near its end listens, if a stream is to be had, and
whoever is far is left alone: of 2,000 requests in a queue only the first few dozen can end soon.
How near an end is, follows from how long others took and from how the queue moves.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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

BEFORE_ITS_TURN = 0.8
"""At what part of the time until its turn a request far back in the queue is asked about: the
queue may not move as it is believed to, and each question leaves a fifth of the time."""

SETTLING_SECONDS = 2.0
"""How long a crowd is left alone right after it was submitted, while others still are."""


class Durations:
    """How long an endpoint's requests run: as the catalogue expects, then as observed.

    Args:
        expected_seconds: The catalogue's word.
        observed: Seconds that earlier requests took, the latest last.

    Example:
        >>> durations = Durations(120, observed=[60.0] * 10)
        >>> durations.left(0, 0.5), durations.left(50, 0.5)
        (60.0, 10.0)
    """

    def __init__(self, expected_seconds: float, observed: Iterable[float] = ()):
        self._prior = [expected_seconds * each for each in PRIOR_SHAPE]
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []
        for seconds in observed:
            self.add(seconds)

    def add(self, seconds: float) -> None:
        """Learn how long one took."""
        if len(self._latest) == MOST_SAMPLES:
            oldest = self._latest.popleft()
            del self._sorted[bisect_right(self._sorted, oldest) - 1]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    @property
    def observed(self) -> int:
        """How many observations are remembered."""
        return len(self._latest)

    def left(self, ran: float, share: float) -> float:
        """After how many seconds more that share of those will have ended that ran so long.

        Args:
            ran: Seconds that it has run.
            share: Between 0 and 1.
        """
        samples = self._sorted if len(self._sorted) >= FEW else self._prior
        first = bisect_right(samples, ran)
        rest = len(samples) - first
        if not rest:  # longer than any: the longer it took, the longer it may still take
            return share * max(OVERDUE_SECONDS, ran / 5)
        return samples[first + min(rest - 1, int(share * rest))] - ran


@dataclass(frozen=True)
class Known:
    """What is known of one request.

    Args:
        state: What fal last said of it.
        until_turn: Seconds until it is expected to begin, if it has not.
        ran: Seconds that it had run, at most, when it was last heard of.
        unheard: Seconds since then.
        age: Seconds since it was submitted.
        may_listen: Whether a stream is to be had.
        crowded: Whether many wait.
    """

    state: Literal["unseen", "queued", "running"]
    until_turn: float
    ran: float
    unheard: float
    age: float
    may_listen: bool
    crowded: bool


@dataclass(frozen=True)
class Plan:
    """What to do next.

    Args:
        pause: Seconds until then; news may come between.
        then: What to do after it.
    """

    pause: float
    then: Literal["ask", "listen", "plan"]


LISTEN = Plan(0.0, "listen")
ASK = Plan(0.0, "ask")


def plan(known: Known, durations: Durations) -> Plan:
    """What to do next about a request.

    Example:
        >>> alone = Known("unseen", 0, 0, 0, 0, may_listen=True, crowded=False)
        >>> plan(alone, Durations(120))
        Plan(pause=0.0, then='listen')
        >>> far = Known("queued", 600, 0, 0, 0, may_listen=True, crowded=True)
        >>> plan(far, Durations(120))
        Plan(pause=480.0, then='ask')
    """
    if known.may_listen and not known.crowded:
        return LISTEN
    if known.state == "unseen":
        return ASK
    if not known.crowded:
        return _after(_gap((known.age - known.unheard) / 10) - known.unheard, "ask")
    if known.until_turn > near_seconds(durations):
        whole = known.unheard + known.until_turn
        return _after(BEFORE_ITS_TURN * whole - known.unheard, "ask")
    return _near_its_end(known, durations)


def near_seconds(durations: Durations) -> float:
    """How long before its turn a request counts as running: it may be over soon after."""
    return max(SHORTEST_GAP_SECONDS, durations.left(0.0, 0.05) / 2)


def _near_its_end(known: Known, durations: Durations) -> Plan:
    """It runs, or is about to: for how long, those before it tell."""
    soon, likely, late = (
        known.until_turn + durations.left(known.ran, share) for share in (0.05, 0.25, 0.95)
    )
    if late - soon <= SURE_SECONDS:
        return _after(max(late, SURE_SECONDS) - known.unheard, "ask")
    if known.may_listen:
        return _after(min(SETTLING_SECONDS, soon / 10) - known.unheard, "listen")
    if soon - known.unheard > SHORTEST_GAP_SECONDS:
        return _after(soon - known.unheard, "plan")
    return _after(_gap(likely) - known.unheard, "ask")


def _gap(seconds: float) -> float:
    """How long to wait between two questions."""
    return min(LONGEST_GAP_SECONDS, max(SHORTEST_GAP_SECONDS, seconds))


def _after(pause: float, then: Literal["ask", "listen", "plan"]) -> Plan:
    return Plan(max(0.0, pause), then)
