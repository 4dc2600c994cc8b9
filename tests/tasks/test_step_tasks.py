"""The small steps, and when a task is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    Video,
    adownload_video,
    afetch_video,
    asubmit_video,
    await_for_video,
    download_video,
    fetch_video,
    generate_video,
    submit_video,
    wait_for_video,
)
from prefect_hailuo.emulator import (
    FalEmulator,
    cut,
    drop_after_accepting,
    refuse,
    refuse_content,
)
from prefect_hailuo.errors import ContentPolicyError, ParkedError

pytestmark = pytest.mark.usefixtures("prefect_server")

OWL = Hailuo02ProTextToVideo(prompt="An owl lands.")


def test_the_steps_make_a_video(credentials: FalCredentials, tmp_path: Path) -> None:
    """Submit, wait, fetch and download, composed in a flow of one's own."""

    @flow
    def road() -> Video:
        ticket = submit_video(OWL, credentials=credentials, take="b", labels={"shot": "7"})
        completed = wait_for_video(ticket, credentials=credentials, timeout_seconds=60)
        output = fetch_video(ticket, completed, credentials=credentials)
        return download_video(ticket, output, completed, storage=tmp_path)

    video = road()
    assert video.is_there()
    assert (video.input, video.take, video.labels) == (OWL.body(), "b", {"shot": "7"})


async def test_the_steps_make_a_video_in_a_coroutine(
    credentials: FalCredentials, tmp_path: Path
) -> None:
    """The asynchronous twins do the same."""

    @flow
    async def road() -> Video:
        ticket = await asubmit_video(OWL, credentials=credentials)
        completed = await await_for_video(ticket, credentials=credentials)
        output = await afetch_video(ticket, completed, credentials=credentials)
        return await adownload_video(ticket, output, completed, storage=tmp_path)

    assert (await road()).is_there()


def test_what_is_generated_later_is_found_from_the_steps(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """A video that the steps have stored is the one that generate_video would buy."""
    mine = emulator.credentials()
    ticket = submit_video(OWL, credentials=mine)
    completed = wait_for_video(ticket, credentials=mine)
    stored = download_video(
        ticket, fetch_video(ticket, credentials=mine), completed, storage=tmp_path
    )
    assert generate_video(OWL, credentials=mine, storage=tmp_path) == stored
    assert emulator.charged == 1


def test_a_refusal_that_may_pass_is_repeated(emulator: FalEmulator, tmp_path: Path) -> None:
    """With retries, a task that was told 429 tries again: nothing had been bought."""
    emulator.faults.add(refuse("submit", 429, count=2))
    patient = generate_video.with_options(retries=3, retry_delay_seconds=0)
    video = patient(OWL, credentials=emulator.credentials(), storage=tmp_path)
    assert video.is_there()
    assert (emulator.requests["submit"], emulator.charged) == (3, 1)


def test_what_a_rerun_would_only_attach_to_is_repeated(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """With retries, a deadline that passed is no end: the same request is waited for again."""
    emulator.faults.add(refuse("stream", 405, count=None), refuse("status", 401))
    patient = generate_video.with_options(retries=2, retry_delay_seconds=0)
    options: dict[str, Any] = {"storage": tmp_path, "timeout_seconds": 0.2}
    video = patient(OWL, credentials=emulator.credentials(), take=uuid4().hex, **options)
    assert video.is_there()
    assert emulator.charged == emulator.requests["submit"] == 1


@pytest.mark.parametrize("task", [generate_video, submit_video])
def test_a_request_whose_answer_was_lost_is_found(emulator: FalEmulator, task: Any) -> None:
    """It is in fal's request history, so the task goes on with it."""
    emulator.faults.add(drop_after_accepting("submit"))
    options: dict[str, Any] = {"credentials": emulator.credentials(), "take": uuid4().hex}
    found = task(OWL, **options)
    assert found.request_id == emulator.submissions[0].request_id
    assert emulator.requests["submit"] == 1


@pytest.mark.parametrize("task", [generate_video, submit_video])
def test_a_lost_answer_is_never_repeated(
    emulator: FalEmulator, monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    """Retries or not: a POST that may have bought a video is not sent again."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    emulator.history.omits_payloads = True
    emulator.faults.add(drop_after_accepting("submit"))
    patient = task.with_options(retries=3, retry_delay_seconds=0)
    with pytest.raises(ParkedError, match=r"https://fal.ai/dashboard/requests"):
        patient(OWL, credentials=emulator.credentials(), take=uuid4().hex)
    assert emulator.requests["submit"] == 1


def test_submitting_again_buys_nothing(emulator: FalEmulator, tmp_path: Path) -> None:
    """Another call has the same ticket; also after generate_video has stored the video."""
    mine = emulator.credentials()
    first, second = (submit_video(OWL, credentials=mine) for _ in range(2))
    video = generate_video(OWL, credentials=mine, storage=tmp_path)
    third = submit_video(OWL, credentials=mine)
    assert {each.request_id for each in (first, second, third, video)} == {first.request_id}
    assert emulator.requests["submit"] == 1


def test_a_refused_prompt_is_never_repeated(emulator: FalEmulator, tmp_path: Path) -> None:
    """What the content policy refuses once it refuses again, and may charge for."""
    emulator.faults.add(refuse_content())
    patient = generate_video.with_options(retries=3, retry_delay_seconds=0)
    with pytest.raises(ContentPolicyError, match=r"Rephrase the prompt"):
        patient(OWL, credentials=emulator.credentials(), storage=tmp_path)
    assert emulator.requests["submit"] == 1


def test_a_failed_download_is_repeated_and_not_the_purchase(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """A download that breaks off is repeated within the task."""
    emulator.faults.add(cut("media", at=1000, count=2))
    video = generate_video(OWL, credentials=emulator.credentials(), storage=tmp_path)
    assert video.is_there()
    assert (emulator.requests["media"], emulator.charged) == (3, 1)
