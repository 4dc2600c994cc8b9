"""A result that the queue has no longer is taken from the history, or parked; never rebought."""

from __future__ import annotations

from pathlib import Path

import pytest
from roads import FOX, OWL, Hundredfold, generate, order_of, timed

from prefect_hailuo.emulator import FalEmulator, ManualClock, expire_result, fail_inside, refuse
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, FalFaultError, ParkedError, RequestCancelledError
from prefect_hailuo.runs.execution import acquiring

GONE = {"status": "NOT_FOUND"}


def submits(emulator: FalEmulator) -> int:
    """How often something was POSTed."""
    return emulator.requests["submit"]


def test_the_history_has_it(tmp_path: Path, fal: FalEmulator) -> None:
    """fal drops results after an hour, and keeps what they were for a month."""
    fal.faults.add(expire_result(count=None))
    video = process_loop().run(timed(order_of(fal, tmp_path), Hundredfold()))
    assert video.is_there()
    assert (fal.charged, submits(fal)) == (1, 1)


def test_without_it_the_video_is_parked_and_found_later(tmp_path: Path, fal: FalEmulator) -> None:
    """Twice in a row, with one POST; and when the history shows it again, it is collected."""
    fal.faults.add(expire_result(count=None))
    fal.history.omits_payloads = True
    for _ in range(2):
        with pytest.raises(ParkedError, match="allow-one-resubmit"):
            process_loop().run(timed(order_of(fal, tmp_path), Hundredfold()))
    fal.history.omits_payloads = False
    assert process_loop().run(timed(order_of(fal, tmp_path), Hundredfold())).is_there()
    assert (fal.charged, submits(fal)) == (1, 1)


def test_a_failure_of_which_only_the_history_knows(tmp_path: Path, fal: FalEmulator) -> None:
    """It cost nothing, by fal's documentation of 5xx, so that a rerun buys."""
    fal.faults.add(fail_inside(), expire_result(count=None))
    with pytest.raises(FalFaultError, match="history"):
        process_loop().run(timed(order_of(fal, tmp_path), Hundredfold()))
    assert generate(fal, tmp_path, FOX).is_there()
    assert (fal.charged, submits(fal)) == (1, 2)


def test_a_cancellation_of_which_only_the_history_knows(tmp_path: Path) -> None:
    """It never left the queue, which is free: the run says so, and a rerun buys."""
    with FalEmulator(clock=ManualClock(), concurrency=1) as emulator:
        process_loop().run(acquiring(order_of(emulator, tmp_path, OWL)).job)
        ticket = process_loop().run(acquiring(order_of(emulator, tmp_path)).job)
        emulator.credentials().get_client().cancel(ticket)
        emulator.faults.add(expire_result(count=None))
        with pytest.raises(RequestCancelledError, match="history") as caught:
            process_loop().run(timed(order_of(emulator, tmp_path), Hundredfold()))
        assert caught.value.billed is Billed.NO
        process_loop().run(acquiring(order_of(emulator, tmp_path)).job)
        assert (emulator.charged, submits(emulator)) == (0, 3)


def test_an_unknown_request_right_after_its_submission(tmp_path: Path, fal: FalEmulator) -> None:
    """The queue may know it a moment later: that is no evidence of anything."""
    fal.faults.add(refuse("stream", 404, count=3), refuse("status", 404, count=3))
    video = process_loop().run(timed(order_of(fal, tmp_path), Hundredfold()))
    assert video.is_there()
    assert (fal.charged, submits(fal)) == (1, 1)
