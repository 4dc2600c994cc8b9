"""One request, as the emulator keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from prefect_hailuo.emulator.alarms import Alarm
from prefect_hailuo.emulator.outcomes import Outcome
from prefect_hailuo.endpoints import Endpoint, Picture, VideoInput

_UNIT_PLACES = 4


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
class Twists:
    """What a plan of faults has in store for one generation.

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
    """A request and its fate. Instants are in seconds of emulator time.

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
        twists: What befalls it on the way.
        start_within: Seconds within which work must begin, or it fails; None for no limit.
        webhook: Where to tell of its end.
        planted: Whether a test put it there as somebody else's.
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
    twists: Twists = field(default_factory=Twists)
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
        """The facts of its endpoint."""
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
        return (self.endpoint.variant(self.body) or self.endpoint.default).picture

    @property
    def billable_units(self) -> Decimal:
        """What `x-fal-billable-units` says: videos or seconds, 0 if nothing is charged.

        fal has one price a unit for an endpoint: where a setting makes a video dearer by other
        rules, it is taken to be more units.
        """
        unit = self.endpoint.default.price
        if not self.outcome.charged:
            return Decimal(0)
        if unit is None or self.price_usd is None:
            return Decimal(1)
        return round(self.price_usd / unit.usd, _UNIT_PLACES).normalize()

    def working_seconds(self) -> float:
        """How long the run that begins now will last, in seconds."""
        if self.runs < len(self.twists.back_to_queue_after):
            return self.twists.back_to_queue_after[self.runs]
        return self.duration if self.outcome.seconds is None else self.outcome.seconds

    def worked_seconds(self) -> float | None:
        """How long its last run lasted, in seconds; None if it has not ended, or never began."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at

    def goes_back(self) -> bool:
        """Whether the present run ends in the queue again."""
        return self.runs <= len(self.twists.back_to_queue_after)

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
