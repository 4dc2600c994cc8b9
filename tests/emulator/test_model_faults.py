"""What goes wrong in the model, and what it costs."""

from __future__ import annotations

import pytest

from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    ManualClock,
    fail_inside,
    go_back_to_queue,
    refuse_content,
    time_out,
)

from .asking import Asking


@pytest.mark.parametrize(
    ("fault", "status", "kind", "retryable"),
    [
        (refuse_content(), 422, "content_policy_violation", "false"),
        (fail_inside(), 500, "internal_server_error", "true"),
        (time_out(), 504, "generation_timeout", "true"),
    ],
)
def test_failures(
    fault: Fault,
    status: int,
    kind: str,
    retryable: str,
    fal: Asking,
    emulator: FalEmulator,
    clock: ManualClock,
) -> None:
    """COMPLETED with an error; the result in fal's form; not charged."""
    emulator.faults.add(fault)
    request_id = fal.buy()
    clock.advance(100)
    over, result = fal.status(request_id).json(), fal.result(request_id)
    assert (over["status"], over["error"]) == ("COMPLETED", f"Invalid status code: {status}")
    assert (result.status_code, result.json()["detail"][0]["type"]) == (status, kind)
    assert (result.headers["x-fal-retryable"], over["error_type"]) == (retryable, kind)
    assert emulator.charged == 0


def test_a_refusal_of_content_may_be_charged(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """fal says that a 422 may cost money; the plan says whether it does."""
    emulator.faults.add(refuse_content(charged=True, prompt="blood"))
    refused, fine = fal.buy("much blood"), fal.buy("a fox")
    clock.advance(100)
    assert [fal.result(each).status_code for each in (refused, fine)] == [422, 200]
    assert fal.result(refused).headers["x-fal-billable-units"] == "1"
    assert emulator.charged == 2


def test_going_back_to_the_queue(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """From IN_PROGRESS back to IN_QUEUE, twice, then a video, charged once."""
    emulator.faults.add(go_back_to_queue(after_seconds=10, times=2))
    request_id = fal.buy()
    fal.buy()
    others = [fal.buy(), fal.buy()]
    clock.advance(10)
    assert fal.state(request_id) == "IN_QUEUE"
    clock.advance(1000)
    assert fal.state(request_id) == "COMPLETED"
    assert (emulator.charged, len(others)) == (4, 2)
