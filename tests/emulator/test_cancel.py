"""Cancelling, as fal documents it."""

from __future__ import annotations

from prefect_hailuo.emulator import FalEmulator, ManualClock, stop_when_cancelled

from .asking import Asking


def test_a_queued_request_is_removed(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """200 OK; it is over at once, its result is fal's 499, and nothing is charged for it."""
    fal.buy(), fal.buy()
    request_id = fal.buy()
    reply = fal.cancel(request_id)
    assert (reply.status_code, reply.json()) == (200, {"status": "OK"})
    assert fal.state(request_id) == "COMPLETED"
    result = fal.result(request_id)
    assert (result.status_code, result.json()["error_type"]) == (499, "client_cancelled")
    clock.advance(1000)
    assert emulator.charged == 2


def test_a_model_at_work_ignores_it_by_default(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """202; it completes and is charged all the same, the dearer of what fal leaves open."""
    request_id = fal.buy()
    reply = fal.cancel(request_id)
    assert (reply.status_code, reply.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert fal.state(request_id) == "IN_PROGRESS"
    clock.advance(100)
    assert fal.result(request_id).status_code == 200
    assert emulator.charged == 1


def test_a_model_at_work_may_heed_it(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """With the fault for it, the model stops, and nothing is charged."""
    emulator.faults.add(stop_when_cancelled())
    request_id = fal.buy()
    assert fal.cancel(request_id).status_code == 202
    assert fal.status(request_id).json()["error_type"] == "client_cancelled"
    clock.advance(100)
    assert emulator.charged == 0


def test_it_can_be_too_late(fal: Asking, clock: ManualClock) -> None:
    """400 ALREADY_COMPLETED once it is over, also by a cancellation."""
    request_id = fal.buy()
    clock.advance(100)
    reply = fal.cancel(request_id)
    assert (reply.status_code, reply.json()) == (400, {"status": "ALREADY_COMPLETED"})
