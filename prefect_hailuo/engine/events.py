"""The events of a generation, such as `Submitted` and `Stored`: what a run or a hook is told."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.messages import LogLine, Status
from prefect_hailuo.fal.outage import Outage
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Ticket


@dataclass(frozen=True)
class Reused:
    """The video was there already; nothing was bought."""

    video: Video


@dataclass(frozen=True)
class Attached:
    """The request was there already, at fal or on its way; nothing was bought."""

    ticket: Ticket


@dataclass(frozen=True)
class Searching:
    """The generation may have been bought, and is looked for in fal's request history."""

    key: str


@dataclass(frozen=True)
class LookingBack:
    """Before the first purchase of this ledger, fal's history is read, which takes a while."""

    account: str
    most_seconds: float


@dataclass(frozen=True)
class Adopted:
    """The request was found in fal's request history; nothing was bought."""

    ticket: Ticket


@dataclass(frozen=True)
class Cautioned:
    """About to be bought, although something in the input may not do what it was meant to."""

    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Hindered:
    """fal takes no more requests for now; it is tried again, and nothing was bought."""

    error: HailuoError


@dataclass(frozen=True)
class OutOfReach:
    """fal cannot be asked, and is asked again; or it answers again."""

    outage: Outage


@dataclass(frozen=True)
class Submitted:
    """fal accepted the request."""

    ticket: Ticket


@dataclass(frozen=True)
class Progress:
    """The request is waited for; seconds are counted from when the waiting began.

    `expected_seconds` is how long it usually takes; None where nobody knows.
    """

    ticket: Ticket
    status: Status
    elapsed_seconds: float
    expected_seconds: float | None


@dataclass(frozen=True)
class Logged:
    """The model said something new."""

    lines: list[LogLine]


@dataclass(frozen=True)
class Stored:
    """The video is in its place; `poster` is a small picture of it, as a data URI."""

    video: Video
    poster: str | None


Event = (
    Reused
    | Attached
    | Searching
    | LookingBack
    | Adopted
    | Cautioned
    | Hindered
    | OutOfReach
    | Submitted
    | Progress
    | Logged
    | Stored
)
