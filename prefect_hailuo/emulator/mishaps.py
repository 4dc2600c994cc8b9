"""The kinds of things that go wrong, on the wire and in the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_hailuo.emulator.outcomes import Outcome


@dataclass(frozen=True)
class Delay:
    """The answer comes late.

    Args:
        seconds: Of the machine's time.
        after_accepting: Whether the emulator has done its part before the delay, or only after.
    """

    seconds: float
    after_accepting: bool = True


@dataclass(frozen=True)
class Answer:
    """Another answer than the true one.

    Args:
        status: HTTP status.
        body: A JSON value, or raw bytes.
        headers: Such as `{"Retry-After": "2"}`.
        after_accepting: Whether the request was carried out all the same.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_accepting: bool = False


@dataclass(frozen=True)
class Drop:
    """The connection is closed without an answer.

    Args:
        after_accepting: Whether the request was carried out all the same.
        reset: Whether the client sees a reset (RST) instead of an orderly end.
    """

    after_accepting: bool
    reset: bool = False


@dataclass(frozen=True)
class Cut:
    """The answer breaks off.

    Args:
        at: How many bytes of the body arrive.
        with_length: Whether the answer had announced the length of the whole; else it is chunked.
        looks_whole: Whether a chunked answer ends as if it were complete.
    """

    at: int
    with_length: bool = True
    looks_whole: bool = False


@dataclass(frozen=True)
class Edit:
    """The true JSON answer, changed.

    Args:
        change: Is given the decoded body, returns what to send instead.
    """

    change: Callable[[Any], Any]


@dataclass(frozen=True)
class Fail:
    """The model fails, in place of making a video.

    Args:
        outcome: How it ends.
    """

    outcome: Outcome


@dataclass(frozen=True)
class BackToQueue:
    """fal loses the runner and queues the request again.

    Args:
        after_seconds: Emulator seconds of work before that.
        times: How often it happens to a request.
    """

    after_seconds: float
    times: int = 1


@dataclass(frozen=True)
class StopWhenCancelled:
    """The model heeds a cancellation while it works. By default it ignores it, completes and is
    charged: the dearer of the two readings that fal's documentation leaves open."""


@dataclass(frozen=True)
class RepeatWebhook:
    """The webhook is delivered more than once.

    Args:
        times: How often in all.
    """

    times: int = 2


WireMishap = Delay | Answer | Drop | Cut | Edit
ModelMishap = Fail | BackToQueue | StopWhenCancelled | RepeatWebhook
Happening = WireMishap | ModelMishap


@dataclass
class HistoryRules:
    """How the request history misbehaves; a test sets what it wants.

    Args:
        lag_seconds: After how long a request is listed at all, in the reader's seconds.
        omits_queued: Whether a request is listed only once work on it has begun.
        omits_payloads: Whether inputs and outputs are left out although they were asked for.
        page_size: How many items a page has at most, whatever was asked for.
        skew_seconds: By how much fal's clock is ahead, in the history and in every `Date` header.
    """

    lag_seconds: float = 0.0
    omits_queued: bool = False
    omits_payloads: bool = False
    page_size: int | None = None
    skew_seconds: float = 0.0
