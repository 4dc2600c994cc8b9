"""What automations are told in Prefect's events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batches import shots
from happenings import events_of, roles_of
from prefect import flow
from prefect.runtime import flow_run
from roads import FOX

from prefect_hailuo import (
    Budget,
    HailuoVideoJob,
    agenerate_video,
    generate_video,
    generate_videos,
)
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting, refuse_content
from prefect_hailuo.errors import BudgetError, ContentPolicyError, HailuoError, ParkedError
from prefect_hailuo.runs.events import MOST_FAILURES

pytestmark = pytest.mark.usefixtures("prefect_server")


def in_a_flow(do: Callable[[], Any], expected: type[HailuoError] | None = None) -> str:
    """Does it in a flow run, whose id is returned."""

    @flow
    def one() -> str:
        if expected is None:
            do()
        else:
            with pytest.raises(expected):
                do()
        return str(flow_run.id)

    return one()


def make(emulator: FalEmulator, folder: Path, **options: Any) -> Any:
    """One video of the fox."""
    mine = emulator.credentials()
    return generate_video(FOX, credentials=mine, storage=folder, **options)


def test_a_video_is_told_when_submitted_and_when_completed(
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """Both events are about the generation's key, and name the flow run and the task run."""
    made: list[Any] = []
    run_id = in_a_flow(lambda: made.append(make(tiny, tmp_path)))
    names = ("prefect-hailuo.video.submitted", "prefect-hailuo.video.completed")
    submitted, completed = events_of(run_id, *names)
    [video] = made
    resource = completed["resource"]
    assert resource["prefect.resource.id"] == f"prefect-hailuo.video.{video.key}"
    assert resource["prefect-hailuo.model"] == "hailuo-02-pro"
    assert resource["prefect-hailuo.realm"] == "emulator"
    assert submitted["resource"] == resource
    assert {"flow-run", "task-run", "flow"} <= roles_of(completed)
    assert submitted["payload"]["request_id"] == completed["payload"]["request_id"]
    assert completed["payload"]["place"] == str(video.path)
    assert completed["payload"]["price_usd"] == "0.48"


async def test_the_twin_tells_the_same(tiny: FalEmulator, tmp_path: Path) -> None:
    """From a thread, so that the caller's loop goes on."""

    @flow
    async def one() -> str:
        await agenerate_video(FOX, credentials=tiny.credentials(), storage=tmp_path)
        return str(flow_run.id)

    run_id = await one()
    events_of(run_id, "prefect-hailuo.video.submitted", "prefect-hailuo.video.completed")


def test_a_video_that_was_there_is_no_news(tiny: FalEmulator, tmp_path: Path) -> None:
    """Nothing was submitted nor completed; the flow run's later events are none of ours."""
    in_a_flow(lambda: make(tiny, tmp_path))
    run_id = in_a_flow(lambda: make(tiny, tmp_path))
    events_of(run_id, "prefect.flow-run.Completed", prefix="prefect.flow-run.")
    assert events_of(run_id) == []


def test_a_failure_says_what_failed_and_whether_money_was_spent(
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """With the cure, and nothing that is secret."""
    tiny.faults.add(refuse_content())
    run_id = in_a_flow(lambda: make(tiny, tmp_path), ContentPolicyError)
    failed = events_of(run_id, "prefect-hailuo.video.failed")[-1]
    told = failed["payload"]
    assert (told["error"], told["billed"]) == ("ContentPolicyError", "no")
    assert told["retryable"] is False
    assert "Rephrase" in told["cure"]
    assert told["request_id"] == tiny.submissions[0].request_id
    assert tiny.api_key not in str(failed)


def test_what_waits_for_a_decision_is_parked(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event is another than a failure's, for somebody has to act."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    tiny.history.lag_seconds = 1e9
    tiny.faults.add(drop_after_accepting("submit"))
    run_id = in_a_flow(lambda: make(tiny, tmp_path), ParkedError)
    [parked] = events_of(run_id, "prefect-hailuo.video.parked")
    assert "ledger resolve" in parked["payload"]["cure"]


def test_a_budget_is_reached_once_in_a_flow_run(tiny: FalEmulator, tmp_path: Path) -> None:
    """However many videos meet its limit; the event is about the scope."""
    penny = Budget(scope="pennies", total_usd=Decimal("0.01"))

    def meet_it_thrice() -> None:
        for take in range(3):
            with pytest.raises(BudgetError):
                make(tiny, tmp_path, take=take, budget=penny)

    run_id = in_a_flow(meet_it_thrice)
    [reached] = events_of(run_id, "prefect-hailuo.budget.reached")
    assert reached["resource"]["prefect.resource.id"] == "prefect-hailuo.budget.pennies"
    assert "video" in roles_of(reached)
    assert reached["payload"]["error"] == "BudgetError"


def test_a_batch_is_told_in_sum(tiny: FalEmulator, tmp_path: Path) -> None:
    """One event with the counts, and no more failures than a few."""
    tiny.faults.add(refuse_content(prompt="Shot 1", count=None))

    def batch() -> None:
        mine = tiny.credentials()
        generate_videos([*shots(70), *shots(5, "Owl")], credentials=mine, storage=tmp_path)

    run_id = in_a_flow(batch)
    events = events_of(run_id, "prefect-hailuo.batch.ended", "prefect-hailuo.video.failed")
    told = [each["event"].rpartition(".")[2] for each in events]
    assert (told.count("failed"), told.count("ended")) == (MOST_FAILURES, 1)
    assert len(told) == MOST_FAILURES + 1
    payload = next(each["payload"] for each in events if each["event"].endswith("ended"))
    assert (payload["total"], payload["done"], payload["failed"]) == (75, 64, 11)


def test_a_small_batch_tells_of_each_video(tiny: FalEmulator, tmp_path: Path) -> None:
    """Of those that were made: a rerun tells of the batch alone."""

    def batch() -> None:
        generate_videos(shots(3), credentials=tiny.credentials(), storage=tmp_path)

    ended = "prefect-hailuo.batch.ended"
    first, again = (events_of(in_a_flow(batch), ended) for _ in range(2))
    assert len(first) == 4
    assert [each["event"] for each in again] == [ended]


def test_a_batch_tells_of_its_budget_once(tiny: FalEmulator, tmp_path: Path) -> None:
    """What it does not allow, is no failure of a video's."""
    pennies = Budget(scope="batch-pennies", total_usd=Decimal("0.01"))

    def batch() -> None:
        mine = tiny.credentials()
        generate_videos(shots(5), credentials=mine, storage=tmp_path, budget=pennies)

    ended = "prefect-hailuo.batch.ended"
    names = sorted(each["event"] for each in events_of(in_a_flow(batch), ended))
    assert names == [ended, "prefect-hailuo.budget.reached"]


def test_a_job_tells_of_the_same_video(tiny: FalEmulator, tmp_path: Path) -> None:
    """Triggered and collected apart, both events are about one generation."""

    def job() -> None:
        mine = tiny.credentials()
        run = HailuoVideoJob(
            endpoint=FOX.endpoint.name, input=FOX.body(), credentials=mine, storage=str(tmp_path)
        ).trigger()
        run.fetch_result()

    names = ("prefect-hailuo.video.submitted", "prefect-hailuo.video.completed")
    submitted, completed = events_of(in_a_flow(job), *names)
    assert (
        submitted["resource"]["prefect.resource.id"]
        == (completed["resource"]["prefect.resource.id"])
    )


def test_events_can_be_switched_off(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one setting."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EVENTS", "false")
    run_id = in_a_flow(lambda: make(tiny, tmp_path))
    events_of(run_id, "prefect.flow-run.Completed", prefix="prefect.flow-run.")
    assert events_of(run_id) == []


def test_a_video_is_not_lost_over_an_event(
    tiny: FalEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What Prefect cannot send is let go with a warning."""

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError("no events today")

    monkeypatch.setattr("prefect_hailuo.runs.events.emit_event", refuse)
    made: list[Any] = []
    with caplog.at_level(logging.WARNING):
        in_a_flow(lambda: made.append(make(tiny, tmp_path)))
    assert made[0].is_there()
    assert "no events today" in caplog.text


def test_outside_of_a_run_nothing_is_sent(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For that, Prefect would start a server."""
    sent: list[object] = []
    monkeypatch.setattr("prefect_hailuo.runs.events.emit_event", sent.append)
    mine = tiny.credentials()
    assert generate_video.fn(FOX, credentials=mine, storage=tmp_path).is_there()
    assert not sent
