"""The synchronous run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from prefect_hailuo.emulator import FalEmulator, refuse_content

from .asking import HAILUO_23, Asking


def test_input_in_output_out() -> None:
    """It waits, answers with the output and fal's headers, and is charged."""
    with FalEmulator(speed=1000, clip="plain") as emulator:
        fal = Asking(emulator)
        with fal.http:
            reply = fal.submit(endpoint=f"run/{HAILUO_23}")
        assert reply.json()["video"]["content_type"] == "video/mp4"
        assert reply.headers["x-fal-request-id"] == emulator.submissions[0].request_id
        assert (reply.headers["x-fal-billable-units"], emulator.charged) == ("1", 1)


def test_bad_input_is_refused_at_once(fal: Asking, emulator: FalEmulator) -> None:
    """422 without waiting, and no billable units."""
    reply = fal.submit("", endpoint=f"run/{HAILUO_23}")
    assert (reply.status_code, reply.headers["x-fal-billable-units"]) == (422, "0")
    assert emulator.charged == 0


def test_direct_calls_over_the_limit_are_refused(fal: Asking, emulator: FalEmulator) -> None:
    """429 while every runner is busy, and the refused call counts as nothing."""
    fal.buy(), fal.buy()
    assert fal.submit(endpoint=f"run/{HAILUO_23}").status_code == 429
    assert emulator.stats()["submitted"] == 2


def test_a_refused_run_uses_up_no_fault(fal: Asking, emulator: FalEmulator) -> None:
    """A fault of the model waits for a generation that there is."""
    fal.buy(), fal.buy()
    fault = refuse_content()
    emulator.faults.add(fault)
    fal.submit(endpoint=f"run/{HAILUO_23}")
    assert emulator.faults.struck(fault) == 0


def test_two_at_once() -> None:
    """Runs up to the concurrency limit go side by side."""
    with FalEmulator(durations=0.3, clip="plain") as emulator, ThreadPoolExecutor(2) as pool:
        fal = Asking(emulator)
        with fal.http:
            paths = [f"run/{HAILUO_23}"] * 2
            replies = list(pool.map(lambda path: fal.submit(endpoint=path), paths))
    assert [reply.status_code for reply in replies] == [200, 200]


def test_a_run_needs_a_key(emulator: FalEmulator) -> None:
    """401 without a good one."""
    stranger = Asking(emulator, "wrong")
    with stranger.http:
        assert stranger.submit(endpoint=f"run/{HAILUO_23}").status_code == 401
