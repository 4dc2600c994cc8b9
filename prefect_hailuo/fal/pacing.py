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
from math import inf
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
