"""What fails on the road: by kind, at once, and never cheaper than it may have been."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from raw_server import HurriedClock
from roads import FOX, OWL, Hundredfold, generate, names, order_of, timed

from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    ManualClock,
    fail_inside,
    refuse,
    refuse_content,
    time_out,
)
from prefect_hailuo.engine import road
from prefect_hailuo.engine.events import Progress
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import (
    Billed,
    ContentPolicyError,
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    RequestCancelledError,
)
from prefect_hailuo.fal.messages import Completed, InQueue
from prefect_hailuo.runs.execution import acquiring


@pytest.mark.parametrize(
    ("fault", "kind", "error_type", "billed"),
    [
        (refuse_content(), ContentPolicyError, "content_policy_violation", Billed.NO),
        (refuse_content(charged=True), ContentPolicyError, "content_policy_violation", Billed.YES),
        (fail_inside(), FalFaultError, "internal_server_error", Billed.NO),
        (time_out(), FalFaultError, "generation_timeout", Billed.NO),
    ],
    ids=["content", "content, charged", "500", "504"],
)
def test_a_failure_is_told_by_kind_and_at_once(
    tmp_path: Path,
    tiny: FalEmulator,
    fault: Fault,
    kind: type[FalError],
    error_type: str,
    billed: Billed,
) -> None:
    """What failed, whether it was charged, and which request it was; no file is left behind."""
    tiny.faults.add(fault)
    began = time.monotonic()
    with pytest.raises(FalError) as caught:
        generate(tiny, tmp_path / "videos")
    error = caught.value
    assert (type(error), error.error_type, error.billed) == (kind, error_type, billed)
    assert error.ticket and error.ticket.request_id == tiny.submissions[0].request_id
    assert names(tmp_path / "videos") == [] and time.monotonic() - began < 15


def test_a_cancelled_request_is_told_at_once(tmp_path: Path) -> None:
    """Whoever cancels it, at fal or in another process: the one who waits hears of it."""
    with FalEmulator(clock=ManualClock(), concurrency=1) as emulator:
        client = emulator.credentials().get_client()
        process_loop().run(acquiring(order_of(emulator, tmp_path, OWL)).job)

        def cancel_once_queued(event: object) -> None:
            if isinstance(event, Progress) and isinstance(event.status, InQueue):
                client.cancel(event.ticket)

        with pytest.raises(RequestCancelledError) as caught:
            generate(emulator, tmp_path, handle=cancel_once_queued)
        assert caught.value.ticket and emulator.charged == 0


def test_a_failure_without_a_reason_is_not_waited_for_half_an_hour(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """fal said that it failed and keeps answering 500: that is the failure, no passing fault."""
    clock, order = HurriedClock(), order_of(tiny, tmp_path)
    ticket = process_loop().run(acquiring(order).job)
    tiny.faults.add(refuse("result", 500, count=None))

    async def fetch(connections: Connections, emit: Emit) -> object:
        session = Session(order.access, order.ledger, connections, emit, clock)
        return await road.fetch(ticket, session, Completed(error="Invalid status code: 500"))

    with pytest.raises(FalFaultError) as caught:
        process_loop().run(fetch)
    assert (caught.value.ticket, sum(clock.slept) <= 20) == (ticket, True)


def test_a_bare_fault_never_speaks_for_a_failed_request(tmp_path: Path, tiny: FalEmulator) -> None:
    """Where the reason of a failure cannot be had, nobody says that nothing was spent."""
    tiny.faults.add(refuse_content(charged=True), refuse("result", 502, count=None))
    with pytest.raises(FalFaultError) as caught:
        process_loop().run(timed(order_of(tiny, tmp_path), Hundredfold()))
    assert (caught.value.billed, tiny.charged) == (Billed.UNKNOWN, 1)


def test_a_fault_after_success_does_not_claim_that_nothing_was_spent(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """Of a request that completed without an error, a typed fault leaves the cost open."""
    typed = {"X-Fal-Error-Type": "runner_server_error"}
    tiny.faults.add(refuse("result", 500, headers=typed, count=None))
    tiny.history.omits_payloads = True
    with pytest.raises(FalFaultError) as caught:
        generate(tiny, tmp_path)
    assert caught.value.ticket is not None
    assert (caught.value.billed, tiny.charged) == (Billed.UNKNOWN, 1)


def test_a_result_is_not_waited_for_beyond_the_deadline(tmp_path: Path, tiny: FalEmulator) -> None:
    """One deadline covers waiting and fetching; a completed request is given a little more."""
    tiny.faults.add(refuse("result", 503, count=None))
    order = order_of(tiny, tmp_path, FOX, timeout_seconds=30)
    with pytest.raises(GenerationTimeoutError, match="within 60 seconds") as caught:
        process_loop().run(timed(order, Hundredfold()))
    assert caught.value.ticket is not None
