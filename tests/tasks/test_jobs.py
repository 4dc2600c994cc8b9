"""Generations as Prefect jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    HailuoVideoJob,
    HailuoVideoRun,
    Ticket,
)
from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.errors import GenerationTimeoutError, RequestCancelledError
from prefect_hailuo.fal.messages import Cancellation

OWL = Hailuo02ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)


def make_job(credentials: FalCredentials, storage: Path, take: int = 3) -> HailuoVideoJob:
    """A job of one and the same input."""
    return HailuoVideoJob.model_validate(
        {"input": OWL, "credentials": credentials, "storage": storage, "take": take}
    )


def test_a_job_runs_from_trigger_to_video(credentials: FalCredentials, tmp_path: Path) -> None:
    """Trigger, wait, fetch: a stored video that knows where it came from."""
    run = make_job(credentials, tmp_path).trigger()
    run.wait_for_completion()
    video = run.fetch_result()
    assert video.path is not None
    assert video.path.parent == tmp_path
    assert (video.input, video.take) == (OWL.body(), "3")
    assert video.request_id == run.ticket.request_id


async def test_a_job_runs_in_a_coroutine(credentials: FalCredentials, tmp_path: Path) -> None:
    """The asynchronous twins do the same; fetching waits if nobody has."""
    run = await make_job(credentials, tmp_path).atrigger()
    await run.await_for_completion()
    video = await run.afetch_result()
    assert video.is_there()


def test_a_job_that_is_triggered_twice_buys_once(emulator: FalEmulator, tmp_path: Path) -> None:
    """While it is under way, and when the video is stored: both runs are of one request."""
    job = make_job(emulator.credentials(), tmp_path)
    first, second = job.trigger(), job.trigger()
    video = first.fetch_result()
    third = job.trigger()
    assert first.ticket.request_id == second.ticket.request_id == third.ticket.request_id
    assert second.fetch_result() == third.fetch_result() == video
    assert (emulator.requests["submit"], emulator.requests["media"]) == (1, 1)


def test_another_process_goes_on_from_a_ticket(credentials: FalCredentials, tmp_path: Path) -> None:
    """A ticket that went through JSON collects the video, and nothing is bought again."""
    written = make_job(credentials, tmp_path).trigger().ticket.model_dump_json()
    run = HailuoVideoRun(Ticket.model_validate_json(written), credentials, tmp_path)
    assert run.fetch_result().input == OWL.body()


def test_goes_on_from_a_request_id(emulator: FalEmulator, tmp_path: Path) -> None:
    """A request that is known by its id alone is collected; what was asked is not known."""
    credentials = emulator.credentials()
    request_id = make_job(credentials, tmp_path).trigger().ticket.request_id
    run = HailuoVideoRun.from_request_id("hailuo-02-pro", request_id, credentials, storage=tmp_path)
    video = run.fetch_result()
    assert (video.request_id, video.input, video.key) == (request_id, None, None)
    assert video.is_there()
    assert emulator.charged == 1


def test_passing_the_deadline_loses_nothing(tmp_path: Path) -> None:
    """A run that took too long is fetched later with the error's own ticket."""
    clock = ManualClock()
    with FalEmulator(clock=clock, clip="plain") as emulator:
        ticket = make_job(emulator.credentials(), tmp_path).trigger().ticket
        impatient = HailuoVideoRun(ticket, emulator.credentials(), tmp_path, timeout_seconds=0.3)
        with pytest.raises(GenerationTimeoutError, match=ticket.request_id) as caught:
            impatient.wait_for_completion()
        clock.advance(3600)
        assert caught.value.ticket is not None
        run = HailuoVideoRun(caught.value.ticket, emulator.credentials(), tmp_path)
        assert run.fetch_result().is_there()
        assert emulator.charged == 1


def test_cancelling_says_what_fal_said(tmp_path: Path) -> None:
    """A queued request is removed, its result says so, and cancelling again is told."""
    with FalEmulator(clock=ManualClock(), concurrency=1, clip="plain") as emulator:
        running = make_job(emulator.credentials(), tmp_path, take=1).trigger()
        queued = make_job(emulator.credentials(), tmp_path, take=2).trigger()
        assert queued.cancel() is Cancellation.REMOVED
        with pytest.raises(RequestCancelledError, match=r"Run it again"):
            queued.fetch_result()
        assert asyncio.run(running.acancel()) is Cancellation.REQUESTED


def test_a_job_can_be_made_of_plain_values(tmp_path: Path) -> None:
    """As Prefect's UI makes it: a model's name, and its input as JSON."""
    job = HailuoVideoJob(endpoint="hailuo-02-pro", input={"prompt": "An owl lands."})
    assert job.video_input() == Hailuo02ProTextToVideo(prompt="An owl lands.")
    with pytest.raises(ValidationError, match=r"prompt_optimiser"):
        HailuoVideoJob(input={"prompt": "An owl.", "prompt_optimiser": False})
    with pytest.raises(ValidationError, match=r"Use one of: hailuo-2\.3-pro, "):
        HailuoVideoJob(endpoint="hailuo-03", input={"prompt": "An owl."})


@pytest.mark.usefixtures("prefect_server")
def test_a_job_survives_being_saved(credentials: FalCredentials, tmp_path: Path) -> None:
    """A saved job comes back with its input and its credentials, and runs."""
    name = f"owl-{uuid4().hex[:8]}"
    job = make_job(credentials, tmp_path)
    credentials.save(name)
    job.save(name)
    loaded = HailuoVideoJob.load(name)
    assert isinstance(loaded, HailuoVideoJob)
    assert loaded.video_input() == OWL
    assert loaded.trigger().fetch_result().take == "3"
