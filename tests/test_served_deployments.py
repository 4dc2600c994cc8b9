"""Cancelling and crashing through Prefect itself: served flows, real processes, real signals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from deployments import Served, until
from prefect.client.schemas.objects import StateType
from served_flows import MAP_AT_ONCE

from prefect_hailuo.emulator import delay

pytest_plugins = ["served_fixtures"]

WAYS = {
    "called": 1,
    "in_a_subflow": 1,
    "submitted": 3,
    "mapped": 2 * MAP_AT_ONCE,
    "awaited": 1,
    "gathered": 3,
}
"""How flows call the task, and for how many videos."""

SLOWLY = "fal answers late"


def prompts_of(way: str) -> list[str]:
    """What a flow that calls in this way asks for."""
    return [f"{way} {number}" for number in range(WAYS[way])]


def deployed(way: str) -> str:
    """The name that Prefect gives the flow."""
    return way.replace("_", "-")


@dataclass(frozen=True)
class Cancelled:
    """Flow runs that were all cancelled while fal had requests of theirs in the queue.

    Args:
        runs: By way.
        expected: How many requests they had.
        took_seconds: How long it took until all processes were gone.
    """

    runs: dict[str, UUID]
    expected: int
    took_seconds: float


@pytest.fixture(scope="module")
def cancelled(served: Served) -> Iterator[Cancelled]:
    """One flow run for each way, cancelled while it waits."""
    served.emulator.faults.add(delay("submit", 6.0, prompt=SLOWLY))
    fal = served.emulator.credentials().get_client()
    for number in range(2):  # so that all that follow stay in the queue
        fal.submit("fal-ai/minimax/hailuo-02/pro/text-to-video", {"prompt": f"Ahead {number}"})
    runs = {way: served.start(deployed(way), prompts_of(way)) for way in WAYS}
    everything = [each for way in WAYS for each in prompts_of(way)]
    expected = len(everything) - MAP_AT_ONCE
    until("they wait", lambda: served.accepted(everything) == expected)
    runs[SLOWLY] = served.start("called", [SLOWLY])
    until("the last is being submitted", lambda: served.accepted([SLOWLY]))
    begun = time.monotonic()
    for run in runs.values():
        served.cancel(run)
    until("all processes are gone", lambda: all(served.is_gone(each) for each in names(runs)))
    took = time.monotonic() - begun
    yield Cancelled(runs, expected + 1, took)
    served.finish()


def names(runs: dict[str, UUID]) -> list[str]:
    """The names of some flow runs' processes."""
    return [prompts_of(way)[0] if way in WAYS else way for way in runs]


@pytest.mark.parametrize("way", WAYS)
def test_a_cancelled_run_cancels_its_requests(
    served: Served, cancelled: Cancelled, way: str
) -> None:
    """However the task was called, fal is told, and what it said is in the ledger."""
    prompts = prompts_of(way)
    at_fal = MAP_AT_ONCE if way == "mapped" else len(prompts)
    assert served.answers(prompts) == ["OK"] * at_fal
    assert {each["fate"] for each in served.attempts(prompts)} == {"cancelled"}


def test_nothing_is_submitted_after_the_cancel(served: Served, cancelled: Cancelled) -> None:
    """Neither what was retried nor what had waited for its turn."""
    assert len(served.emulator.submissions) - 2 == cancelled.expected
    assert served.emulator.requests["cancel"] == cancelled.expected


def test_a_cancel_during_the_submission_is_sent_with_the_ticket(
    served: Served, cancelled: Cancelled
) -> None:
    """fal had accepted and not yet answered; it hears of the cancellation once it has."""
    assert served.answers([SLOWLY]) == ["OK"]


def test_cancelled_processes_end_by_themselves(served: Served, cancelled: Cancelled) -> None:
    """They are not killed, which Prefect would do after 30 s, and their runs are Cancelled."""
    assert cancelled.took_seconds < 25
    runs = cancelled.runs.values()
    until("they are Cancelled", lambda: served.is_(StateType.CANCELLED, *runs), 25)


def _unused(_: Any) -> None: ...
