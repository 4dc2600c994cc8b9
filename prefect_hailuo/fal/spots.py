"""What is known of one request among those that wait together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Literal

from prefect_hailuo.fal.messages import Completed, InProgress, InQueue, Status
from prefect_hailuo.fal.pacing import Known, Plan, is_far, near_seconds, plan

if TYPE_CHECKING:
    from prefect_hailuo.fal.lanes import Lane

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
