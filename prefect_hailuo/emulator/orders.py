"""From a request that is about to be accepted to the generation that it becomes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from prefect_hailuo.emulator.generations import Durations, Generation, Twists
from prefect_hailuo.emulator.mishaps import (
    BackToQueue,
    Fail,
    Happening,
    RepeatWebhook,
    StopWhenCancelled,
)
from prefect_hailuo.emulator.outcomes import Outcome, validate
from prefect_hailuo.endpoints import Endpoint, VideoInput

_START_TIMEOUT_HEADERS = ("x-fal-request-start-timeout", "x-fal-request-timeout")
_GOLDEN_RATIO = 0.6180339887
_JITTER_SHARE = 0.2


@dataclass(frozen=True)
class Order:
    """A request that is about to be accepted.

    Args:
        input_class: Of its endpoint.
        body: The input as it came.
        headers: Names in lower case.
        account: The API key that it came with.
        webhook: Where to tell of its end.
        planted: Whether a test puts it there as somebody else's.
    """

    input_class: type[VideoInput]
    body: dict[str, Any]
    headers: Mapping[str, str]
    account: str
    webhook: str | None = None
    planted: bool = False


def make_generation(
    order: Order,
    *,
    number: int,
    now: float,
    prefix: str,
    durations: Durations,
    happenings: Sequence[Happening],
    flaw: Outcome | None = None,
) -> Generation:
    """Decide a request's fate.

    Args:
        order: What was ordered.
        number: Which request it is, counted from 1.
        now: The instant, in emulator time.
        prefix: How request ids of this emulator begin.
        durations: How long generations take.
        happenings: What the plan of faults has in store for it.
        flaw: What is wrong with its pictures.
    """
    generation = Generation(
        number=number,
        request_id=f"{prefix}{uuid.uuid4()}",
        input_class=order.input_class,
        body=order.body,
        headers=order.headers,
        account=order.account,
        submitted_at=now,
        sent_at=datetime.now(timezone.utc),
        outcome=_outcome(order, happenings, flaw),
        twists=_twists(happenings),
        start_within=_start_within(order.headers),
        webhook=order.webhook,
        planted=order.planted,
    )
    generation.duration = _duration(generation, durations)
    return generation


def _outcome(order: Order, happenings: Sequence[Happening], flaw: Outcome | None) -> Outcome:
    outcome = validate(order.input_class, order.body)
    if outcome.is_video and flaw:
        return replace(flaw, seconds=0)
    failures = [what.outcome for what in happenings if isinstance(what, Fail)]
    return failures[0] if failures and outcome.is_video else outcome


def _twists(happenings: Sequence[Happening]) -> Twists:
    back: list[float] = []
    deliveries = 1
    for what in happenings:
        if isinstance(what, BackToQueue):
            back += [what.after_seconds] * what.times
        elif isinstance(what, RepeatWebhook):
            deliveries = what.times
    stops = any(isinstance(what, StopWhenCancelled) for what in happenings)
    return Twists(tuple(back), stops, deliveries)


def _start_within(headers: Mapping[str, str]) -> float | None:
    for name in _START_TIMEOUT_HEADERS:
        try:
            return float(headers[name])
        except (KeyError, ValueError):
            continue
    return None


def _duration(generation: Generation, durations: Durations) -> float:
    if durations is None:
        return usual_duration(generation.endpoint, generation.number)
    if callable(durations):
        return float(durations(generation.submission()))
    return float(durations)


def usual_duration(endpoint: Endpoint, number: int) -> float:
    """About what the endpoint usually takes, in seconds; the same for the same number each time.

    Example:
        >>> from prefect_hailuo.endpoints import Hailuo23ProTextToVideo
        >>> 99 <= usual_duration(Hailuo23ProTextToVideo.endpoint, 7) <= 121
        True
    """
    share = number * _GOLDEN_RATIO % 1
    return endpoint.expected_seconds * (1 - _JITTER_SHARE / 2 + _JITTER_SHARE * share)
