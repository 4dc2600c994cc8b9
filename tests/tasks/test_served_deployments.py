"""Cancelling and crashing through Prefect itself: served flows, real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from deployments import Served, running, until
from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from served_flows import MAP_AT_ONCE

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import delay
from prefect_hailuo.tasks.sweep import sweep

pytestmark = pytest.mark.campaign

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


def test_a_cancelled_run_that_is_started_again_buys_again(
    served: Served, cancelled: Cancelled
) -> None:
    """Under its old id: what was cancelled for nothing is bought anew, and arrives."""
    run, prompts = cancelled.runs["called"], prompts_of("called")
    until("it is Cancelled", lambda: served.is_(StateType.CANCELLED, run))
    served.restart(run)
    until("it has bought again", lambda: served.accepted(prompts) == 2)
    served.finish()
    until("it is Completed", lambda: served.is_(StateType.COMPLETED, run))
    assert [each["fate"] for each in served.attempts(prompts)] == ["cancelled", "stored"]


def test_a_run_whose_process_dies_is_healed(served: Served, healing: None) -> None:
    """Killed or evicted while it waits, and run again by an automation: it pays once."""
    before = served.emulator.charged, served.emulator.requests["cancel"]
    deaths = {"killed": signal.SIGKILL, "evicted": signal.SIGTERM}
    runs = [served.start("called", [name], deployment="healed") for name in deaths]
    for name, how in deaths.items():
        until("it waits", partial(served.watched, [name]))
        served.kill(name, how)
    for name in deaths:
        served.pid(name)  # the next one
    served.finish()
    until("they are Completed", lambda: served.is_(StateType.COMPLETED, *runs))
    assert [served.accepted([name]) for name in deaths] == [1, 1]
    assert served.emulator.charged - before[0] == 2
    assert served.emulator.requests["cancel"] == before[1]


def test_a_crashed_run_still_wants_its_video(served: Served, same_ledger: FalCredentials) -> None:
    """Its companion is cancelled, and fal is not; the sweep collects the video."""
    crashed = served.start("called", ["shared"], name="crashing")
    until("it waits", lambda: served.watched(["shared"]))
    served.kill("crashing", signal.SIGKILL)
    until("it is Crashed", lambda: served.is_(StateType.CRASHED, crashed))
    companion = served.start("called", ["shared"], name="companion")
    until("they share a request", lambda: served.waiters("shared") == 2)
    served.cancel(companion)
    until("it is gone", lambda: served.is_gone("companion"))
    assert served.answers(["shared"]) == [None]
    served.finish()
    served.expire_waiters()
    assert "collected" in {row.outcome for row in sweep(credentials=[same_ledger]).rows}
    assert served.accepted(["shared"]) == 1


def test_the_hook_cancels_for_a_process_that_could_not(served: Served) -> None:
    """It froze, and was killed before it could hear of the cancellation."""
    run = served.start("hooked", ["hooked"])
    until("it waits", lambda: served.watched(["hooked"]))
    pid = served.pid("hooked")
    os.kill(pid, signal.SIGSTOP)
    served.cancel(run)
    until("its end is asked for", lambda: has_pending(pid, signal.SIGTERM))
    assert served.answers(["hooked"]) == [None]
    os.kill(pid, signal.SIGKILL)
    until("fal is told", lambda: served.answers(["hooked"]) == ["CANCELLATION_REQUESTED"])
    served.finish()


def test_a_workers_run_is_cancelled_from_the_command_line(served: Served, work_pool: str) -> None:
    """A process worker, and `prefect flow-run cancel`."""
    run = served.start("submitted", ["by a worker"], deployment=work_pool)
    until("it waits", lambda: served.watched(["by a worker"]))
    command = [sys.executable, "-m", "prefect", "flow-run", "cancel", str(run)]
    subprocess.run(command, env=served.environment, check=True, capture_output=True)
    until("it is gone", lambda: served.is_gone("by a worker"))
    assert len(served.answers(["by a worker"])) == 1
    assert None not in served.answers(["by a worker"])
    until("it is Cancelled", lambda: served.is_(StateType.CANCELLED, run))
    served.finish()


@pytest.fixture
def healing(served: Served) -> Iterator[None]:
    """The automation by which Prefect runs again what crashed."""
    deployment = served.client.read_deployment_by_name("called/healed")
    trigger = EventTrigger(
        expect={"prefect.flow-run.Crashed"},
        match_related={"prefect.resource.id": f"prefect.deployment.{deployment.id}"},
        posture=Posture.Reactive,
        threshold=1,
    )
    again = ChangeFlowRunState(state=StateType.SCHEDULED, name=None, message=None, force=False)
    automation = AutomationCore(name="Run again what crashed", trigger=trigger, actions=[again])
    made = served.client.create_automation(automation)
    yield
    served.client.delete_automation(made)


@pytest.fixture
def work_pool(served: Served) -> Iterator[str]:
    """A process worker, and a deployment for it of the same name as its pool."""
    name = "by-a-worker"
    command = ["-m", "prefect", "worker", "start", "--pool", name, "--type", "process"]
    log = served.folder / "worker.log"
    with running([sys.executable, *command], served.environment, log):
        until("the pool is there", partial(has_work_pool, served, name))
        like = served.client.read_deployment_by_name("submitted/served")
        served.client.create_deployment(
            like.flow_id,
            name,
            work_pool_name=name,
            path=str(Path(__file__).parent),
            entrypoint="served_flows.py:submitted",
        )
        yield name


def has_work_pool(served: Served, name: str) -> bool:
    """Whether there is a work pool."""
    try:
        return served.client.read_work_pool(name).name == name
    except ObjectNotFound:
        return False


def has_pending(pid: int, which: signal.Signals) -> bool:
    """Whether a signal waits for a process that is stopped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (which - 1) & 1 for mask in masks)
