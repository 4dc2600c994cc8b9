"""What a generation tells on its way."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_hailuo.fal.messages import LogLine, Status, Ticket
from prefect_hailuo.video import Video


@dataclass(frozen=True)
class Reused:
    """The video was there already; nothing was bought."""

    video: Video


@dataclass(frozen=True)
class Submitted:
    """fal accepted the request."""

    ticket: Ticket


@dataclass(frozen=True)
class Progress:
    """The request is waited for; seconds are counted from when the waiting began."""

    ticket: Ticket
    status: Status
    elapsed_seconds: float
    expected_seconds: float


@dataclass(frozen=True)
class Logged:
    """The model said something new."""

    lines: list[LogLine]


@dataclass(frozen=True)
class Stored:
    """The video is in its place; `poster` is a small picture of it, as a data URI."""

    video: Video
    poster: str | None


Event = Reused | Submitted | Progress | Logged | Stored
